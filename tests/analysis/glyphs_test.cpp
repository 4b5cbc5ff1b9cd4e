// Names in scripts that the installed fonts may lack.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "analysis/glyphs.h"
#include "analysis/gnuplot.h"
#include "analysis/report.h"
#include "tests/analysis/support.h"

namespace recallbench {
namespace {

#define NEEDS_GNUPLOT() \
  if (!gnuplot_available()) GTEST_SKIP() << "gnuplot is not installed (gnuplot-nox)"

/// Two families on one task, drawn as SVG, PNG and PDF.
ReportFiles draw(const TemporaryFolder& folder, const std::string& first, const std::string& second,
                 const std::string& title) {
  FigureOptions options;
  options.title = title;
  options.formats = {"svg", "png", "pdf"};
  SummaryRow other = make_run(second, 0.01, 1, 0.5);
  other.state_bytes = 4096;
  return write_frontier_and_figure(
      folder.path(), compute_frontier({make_run(first, 0.01, 1, 0.25), other}), options);
}

TEST(Glyphs, CharactersThatNoFontHasAreDrawnAsTheirNumbers) {
  NEEDS_GNUPLOT();
  const std::string dejavu = "/usr/share/fonts/truetype/dejavu";
  if (!std::filesystem::exists(dejavu)) GTEST_SKIP() << dejavu << " is not there";
  const TemporaryFolder fonts, named, numbered;
  const FontFolder only_dejavu(fonts, dejavu);
  const ReportFiles report = draw(named, "模型 A", "Größe", "長い");
  draw(numbered, "[U+6A21 U+578B] A", "Größe", "[U+9577 U+3044]");
  EXPECT_EQ(report.figure_problem, "");
  ASSERT_EQ(report.notes.size(), 1u);
  EXPECT_NE(report.notes[0].find("no installed font has い型模長: PNG and PDF"), std::string::npos)
      << report.notes[0];
  for (const char* file : {"frontier.png", "frontier.pdf"})
    EXPECT_TRUE(read_text(named / file) == read_text(numbered / file)) << file;
  const std::string svg = read_text(named / "frontier.svg");
  EXPECT_NE(svg.find("<text>模型 A</text>"), std::string::npos);
  EXPECT_NE(svg.find("長い"), std::string::npos);
}

TEST(Glyphs, WithoutAnyFontThereIsTheSvgAlone) {
  NEEDS_GNUPLOT();
  const TemporaryFolder fonts, folder;
  const FontFolder none(fonts, fonts / "none");
  const ReportFiles report = draw(folder, "a", "b", "title");
  EXPECT_NE(report.figure_problem.find("apt-get install fonts-dejavu-core"), std::string::npos)
      << report.figure_problem;
  EXPECT_TRUE(std::filesystem::exists(folder / "frontier.svg"));
  EXPECT_FALSE(std::filesystem::exists(folder / "frontier.png"));
  EXPECT_TRUE(report.notes.empty());
}

TEST(Glyphs, AreThoseOfAllFonts) {
  const TemporaryFolder folder;
  write_text(folder / "fc-list",
             "#!/bin/sh\nprintf 'TrueType 20-7e\\nCFF 9577 3041-3096\\nPCF 578b\\nTrueType \\n'\n");
  std::filesystem::permissions(folder / "fc-list", std::filesystem::perms::owner_all);
  const Environment path("PATH", folder.path());
  const Glyphs glyphs = Glyphs::installed();
  EXPECT_EQ(glyphs.drawable("A 長い 型"), "A 長い [U+578B]");
  EXPECT_EQ(glyphs.drawable("型型A\u200D"), "[U+578B U+578B]A\u200D");
}

TEST(Glyphs, WithoutFontconfigThoseOfUsualFonts) {
  const TemporaryFolder folder;
  const Environment path("PATH", folder.path());
  for (const char* program : {"", "not a program", "#!/bin/sh\nexit 1\n"}) {
    if (program[0] != 0) {
      write_text(folder / "fc-list", program);
      std::filesystem::permissions(folder / "fc-list", std::filesystem::perms::owner_all);
    }
    const Glyphs glyphs = Glyphs::installed();
    EXPECT_FALSE(glyphs.are_known() || glyphs.empty()) << program;
    EXPECT_EQ(glyphs.drawable("Größe λ Ж\u2026"), "Größe λ Ж\u2026");
    EXPECT_EQ(glyphs.drawable("長"), "[U+9577]");
  }
}

TEST(Glyphs, WhereFontconfigHangsThoseOfUsualFonts) {
  const TemporaryFolder folder;
  write_text(folder / "fc-list", "#!/bin/sh\necho 'TrueType 20-7e'\nexec sleep 100\n");
  std::filesystem::permissions(folder / "fc-list", std::filesystem::perms::owner_all);
  const Environment path("PATH", folder.path() + ":" + std::getenv("PATH"));
  const Glyphs glyphs = Glyphs::installed(std::chrono::milliseconds(300));
  EXPECT_FALSE(glyphs.are_known());
  EXPECT_EQ(glyphs.drawable("Größe"), "Größe");
}

TEST(Glyphs, WithoutFontconfigTheNoteSaysThatItIsMissing) {
  if (!std::filesystem::exists("/usr/bin/gnuplot")) GTEST_SKIP() << "gnuplot is not there";
  const TemporaryFolder programs, folder;
  std::filesystem::create_symlink("/usr/bin/gnuplot", programs / "gnuplot");
  const Environment path("PATH", programs.path());
  const ReportFiles report = draw(folder, "模型", "b", "title");
  ASSERT_EQ(report.notes.size(), 1u);
  EXPECT_NE(report.notes[0].find("fc-list was not found or failed"), std::string::npos)
      << report.notes[0];
  EXPECT_EQ(report.notes[0].find("no installed font has"), std::string::npos) << report.notes[0];
}

TEST(Glyphs, CharsetsAreReadAsFontconfigWritesThem) {
  using Ranges = std::vector<std::pair<char32_t, char32_t>>;
  EXPECT_EQ(parse_charset("20-7e a0 1f600-1f64f"),
            (Ranges{{0x20, 0x7E}, {0xA0, 0xA0}, {0x1F600, 0x1F64F}}));
  EXPECT_EQ(parse_charset("x 9-1 - 41- 42"), (Ranges{{0x41, 0x41}, {0x42, 0x42}}));
}

}  // namespace
}  // namespace recallbench
