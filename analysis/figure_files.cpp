#include <algorithm>
#include <charconv>
#include <filesystem>

#include "analysis/characters.h"
#include "analysis/figure.h"
#include "analysis/gnuplot.h"
#include "kernels/base/error.h"
#include "kernels/base/io/atomic_file.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

constexpr std::string_view kHandler = "<g onmousemove=\"gnuplot_svg.showHypertext(evt,'@@";
constexpr std::string_view kHandlerEnd =
    "@@')\" onmouseout=\"gnuplot_svg.hideHypertext()\"><title> </title>";

/// Text for the inside of an XML element; line ends stay.
std::string xml_escaped(std::string_view text) {
  std::string escaped;
  for (const std::string_view line : split(text, '\n')) {
    if (line.data() != text.data()) escaped += '\n';
    for (const char c : plain_text(line)) {
      if (c == '&')
        escaped += "&amp;";
      else if (c == '<')
        escaped += "&lt;";
      else if (c == '>')
        escaped += "&gt;";
      else
        escaped += c;
    }
  }
  return escaped;
}

/// Removes the titles that gnuplot makes up for unnamed plots, which viewers would show.
std::string without_default_titles(std::string svg) {
  constexpr std::string_view kTitle = "<title>gnuplot_plot_";
  constexpr std::string_view kEnd = "</title>";
  for (std::size_t at = svg.find(kTitle); at != std::string::npos; at = svg.find(kTitle, at))
    svg.erase(at, svg.find(kEnd, at) + kEnd.size() - at);
  return svg;
}

/// Puts the figure's title where gnuplot puts its own name, which browsers show.
std::string with_title(std::string svg, const std::string& title) {
  constexpr std::string_view kOwn = "<title>Gnuplot</title>";
  if (const auto at = svg.find(kOwn); at != std::string::npos)
    svg.replace(at, kOwn.size(), "<title>" + xml_escaped(title) + "</title>");
  return svg;
}

/// gnuplot names the one family that it measures by, with a bold face in the family's name where no
/// browser looks for it. Where a viewer lacks that family Verdana takes as much room. Texts that
/// look like this stay as they are: they stand outside of elements.
std::string with_font_families(const std::string& svg) {
  constexpr std::string_view kFamily = "font-family=\"DejaVu Sans", kBold = ":Bold";
  std::string result;
  std::size_t copied = 0;
  for (std::size_t at = svg.find(kFamily); at != std::string::npos;
       at = svg.find(kFamily, copied)) {
    const std::size_t end = at + kFamily.size();
    result.append(svg, copied, end - copied);
    copied = end;
    const std::size_t bracket = svg.find_last_of("<>", at);
    if (bracket == std::string::npos || svg[bracket] != '<') continue;
    const bool bold = svg.compare(end, kBold.size(), kBold) == 0;
    const std::size_t quote = end + (bold ? kBold.size() : 0);
    if (svg.compare(quote, 1, "\"") != 0) continue;
    copied = quote + 1;
    result += bold ? ",Verdana,sans-serif\" font-weight=\"bold\"" : ",Verdana,sans-serif\"";
  }
  return result + svg.substr(copied);
}

/// Throws if some element runs code. Texts cannot look like elements: their '<' is escaped.
void check_no_script(std::string_view svg) {
  for (std::size_t at = svg.find('<'); at != std::string_view::npos; at = svg.find('<', at + 1)) {
    const std::string_view element = svg.substr(at, svg.find('>', at) - at);
    const bool runs = element.substr(0, 7) == "<script" || element.find(" on") != element.npos ||
                      element.find("javascript:") != element.npos;
    check(!runs, "figure", "gnuplot's SVG still has {}", element);
  }
}

/// Throws where the drawing breaks off: a program in gnuplot's place may end well all the same.
void check_whole(std::string_view bytes, const std::string& format) {
  struct Frame {
    const char *format, *begin, *end, *name;
  };
  constexpr Frame kFrames[] = {{"svg", "<", "</svg>", "SVG"},
                               {"png", "\x89PNG", "IEND\xAE\x42\x60\x82", "PNG"},
                               {"pdf", "%PDF-", "%%EOF", "PDF"}};
  for (const Frame& frame : kFrames) {
    if (format != frame.format) continue;
    const std::string_view begin = frame.begin, end = frame.end;
    const std::size_t last = bytes.find_last_not_of(" \r\n");
    const bool whole = bytes.substr(0, begin.size()) == begin && last != bytes.npos &&
                       last + 1 >= begin.size() + end.size() &&
                       bytes.substr(last + 1 - end.size(), end.size()) == end;
    if (!whole)
      fail(ErrorKind::io, "figure",
           "gnuplot ended before the {} was whole ({} bytes); look at what `gnuplot` on the PATH "
           "is, then run 'recallbench plot' on the same folder",
           frame.name, bytes.size());
  }
}

}  // namespace

std::string finish_svg(const std::string& svg, const std::string& title,
                       const std::vector<std::string>& hovers) {
  std::string result;
  std::size_t copied = 0;
  for (std::size_t at = svg.find(kHandler); at != std::string::npos;
       at = svg.find(kHandler, copied)) {
    result.append(svg, copied, at - copied);
    std::size_t number = 0;
    const char* digits = svg.data() + at + kHandler.size();
    const auto [end, error] = std::from_chars(digits, svg.data() + svg.size(), number);
    const auto behind = static_cast<std::size_t>(end - svg.data());
    check(error == std::errc() && number < hovers.size() &&
              svg.compare(behind, kHandlerEnd.size(), kHandlerEnd) == 0,
          "figure", "gnuplot's SVG has a hypertext of another form at byte {}", at);
    result += "<g><title>" + xml_escaped(hovers[number]) + "</title>";
    copied = behind + kHandlerEnd.size();
  }
  result.append(svg, copied);
  result = with_font_families(with_title(without_default_titles(std::move(result)), title));
  check_no_script(result);
  return result;
}

std::string finish_pdf(std::string pdf) {
  constexpr std::string_view kDate = "/CreationDate (D:";
  if (const auto at = pdf.find(kDate); at != std::string::npos) {
    constexpr std::string_view kFixed = "20000101000000";
    for (std::size_t i = at + kDate.size(), k = 0; k < kFixed.size() && i < pdf.size(); ++i, ++k) {
      if (pdf[i] < '0' || pdf[i] > '9') break;
      pdf[i] = kFixed[k];
    }
  }
  return pdf;
}

std::vector<std::string> write_figure_source(const Figure& figure, const std::string& directory,
                                             const std::string& base, const Glyphs& glyphs) {
  const std::filesystem::path folder = directory;
  publish((folder / (base + ".gp")).string(), figure_script(figure, base, glyphs));
  publish((folder / (base + ".tsv")).string(), figure_data(figure));
  return {base + ".gp", base + ".tsv"};
}

std::vector<std::string> draw_figure(const Figure& figure, const std::string& directory,
                                     const std::string& base,
                                     const std::vector<std::string>& formats,
                                     std::chrono::milliseconds limit) {
  std::vector<std::string> files;
  for (const std::string& format : formats) {
    check(std::count(kFigureFormats.begin(), kFigureFormats.end(), format) == 1, "figure",
          "format '{}'", format);
    const std::string options = "FORMAT='" + format + "'; STREAM=1; HOVER=1";
    std::string bytes = run_gnuplot(directory, {"-e", options, base + ".gp"}, limit);
    check_whole(bytes, format);
    if (format == "svg") bytes = finish_svg(bytes, figure.title, hover_texts(figure));
    if (format == "pdf") bytes = finish_pdf(std::move(bytes));
    files.push_back(base + "." + format);
    publish((std::filesystem::path(directory) / files.back()).string(), bytes);
  }
  return files;
}

}  // namespace recallbench
