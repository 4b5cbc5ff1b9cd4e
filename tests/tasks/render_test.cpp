#include "tasks/render.h"

#include <gtest/gtest.h>

#include <regex>

#include "tests/tasks/support.h"

namespace recallbench::testing {
namespace {

const std::vector<std::int32_t> kInputs = {8, 15, 3, 11, 8, 0, 3, 0, 0, 0, 0, 7};
const std::vector<std::int32_t> kLabels = {-100, -100, -100, -100, 15,   -100,
                                           11,   -100, -100, -100, -100, -100};

std::vector<Role> roles_of(const std::vector<std::int32_t>& inputs,
                           const std::vector<std::int32_t>& labels) {
  const auto length = static_cast<std::int64_t>(inputs.size());
  return make_task("mqar", mqar_values(20, length, 2, 0.01, "zero"))->roles(inputs, labels);
}

TEST(Render, MarksByBracketsWithoutColor) {
  const auto roles = roles_of(kInputs, kLabels);
  EXPECT_EQ(render_example(kInputs, kLabels, roles, {}),
            " 0: <8> {15} <3> {11} [8->15] 0 [3->11] 0*4 7\n");
  EXPECT_EQ(render_legend({}), "<key> {value} [query->answer] filler");
}

TEST(Render, WrapsAtTheWidthAndNumbersLines) {
  const auto roles = roles_of(kInputs, kLabels);
  EXPECT_EQ(render_example(kInputs, kLabels, roles, {false, 20}),
            " 0: <8> {15} <3>\n 3: {11} [8->15] 0\n 6: [3->11] 0*4 7\n");
}

TEST(Render, ColorsTheSameText) {
  const auto roles = roles_of(kInputs, kLabels);
  const std::string colored = render_example(kInputs, kLabels, roles, {true, 96});
  const std::string bare = std::regex_replace(colored, std::regex("\x1b\\[[0-9;]*m"), "");
  EXPECT_EQ(bare, " 0: 8 15 3 11 8->15 0 3->11 0*4 7\n");
  EXPECT_NE(colored.find("\x1b[1;36m8\x1b[0m"), std::string::npos);  // a key
  EXPECT_NE(colored.find("\x1b[1;33m8\x1b[0m->\x1b[32m15\x1b[0m"), std::string::npos);
  EXPECT_EQ(render_example(kInputs, kLabels, roles, {}).find('\x1b'), std::string::npos);
}

TEST(Render, ShowsEveryTokenOfALongExample) {
  const auto task = make_task("mqar", mqar_values(8192, 512, 64));
  const Examples data(*task, 1, 0, 1);
  const std::string text = render_example(data.input(0), data.label(0),
                                          task->roles(data.input(0), data.label(0)), {false, 80});
  std::size_t queries = 0, start = 0;
  for (char c : text)
    queries += c == '[' ? 1 : 0;
  EXPECT_EQ(queries, 64u);
  while (start < text.size()) {
    const std::size_t end = text.find('\n', start);
    ASSERT_NE(end, std::string::npos);
    EXPECT_LE(end - start, 80u);
    start = end + 1;
  }
}

TEST(Render, RefusesUnequalLengths) {
  EXPECT_THROW(render_example(kInputs, kLabels, {}, {}), Error);
}

}  // namespace
}  // namespace recallbench::testing
