#include "analysis/published.h"

#include <gtest/gtest.h>

#include "tests/analysis/support.h"

namespace recallbench {
namespace {

TEST(Published, TheFileInTheTreeIsRead) {
  const std::vector<PublishedPoint> points = load_published(default_published_file());
  ASSERT_EQ(points.size(), 56u);
  EXPECT_EQ(points[4].series, "Based");
  EXPECT_EQ(points[4].state_bytes, 40455);
  EXPECT_EQ(points[4].accuracy, 0.912);
}

TEST(Published, FamiliesMatchWithoutCaseSpacesAndDashes) {
  const std::vector<std::string> ours = {"attention", "sliding_window", "based", "mamba", "mamba2"};
  EXPECT_EQ(family_of("Based", ours), 2u);
  EXPECT_EQ(family_of("Mamba-2", ours), 4u);
  EXPECT_EQ(family_of("MAMBA", ours), 3u);
  EXPECT_EQ(family_of("Attention/Sliding window", ours), 1u);
  EXPECT_EQ(family_of("Attention/Sliding window", {"attention"}), 0u);
  EXPECT_EQ(family_of("Gated DeltaNet", {"delta_net", "gated_delta_net"}), 1u);
  EXPECT_FALSE(family_of("Hyena", ours).has_value());
  EXPECT_FALSE(family_of("/", {"", "-"}).has_value());
}

TEST(Published, RefusesOtherFiles) {
  const struct {
    const char *text, *what;
  } cases[] = {
      {"", "p.csv:1: a header and published points"},
      {"series,accuracy\nA,1\n", "column 'state_size_bytes' is missing"},
      {"series,state_size_bytes,accuracy\nA,12,1.5\n", "p.csv:2: a state in bytes"},
      {"series,state_size_bytes,accuracy\nA,-12,1\n", "not '-12' and '1'"},
      {"series,state_size_bytes,accuracy\nA,many,1\n", "'many'"},
  };
  for (const auto& c : cases) {
    const std::string message = message_of(ErrorKind::io, [&] { read_published(c.text, "p.csv"); });
    EXPECT_NE(message.find(c.what), std::string::npos) << message;
  }
  message_of(ErrorKind::io, [] { load_published("/does/not/exist.csv"); });
}

}  // namespace
}  // namespace recallbench
