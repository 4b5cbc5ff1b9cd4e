#include "kernels/base/options.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/base/expect_error.h"

namespace recallbench {
namespace {

constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();

Options with(const std::string& key, Value value) {
  Options options("mixer 'based'");
  options.set(key, std::move(value), "recipe.toml:12:3");
  return options;
}

TEST(Options, DefaultsAndValues) {
  Options options("mixer 'based'", {{"d", std::int64_t{64}}, {"eps", 0.5}, {"name", "x"}});
  options.set("flag", true);
  EXPECT_EQ(options.integer("d", 32, 1, 100), 64);
  EXPECT_EQ(options.integer("heads", 2, 1, 100), 2);
  EXPECT_EQ(options.number("eps", 1.0), 0.5);
  EXPECT_EQ(options.number("scale", 1.0), 1.0);
  EXPECT_EQ(options.text("name", "y"), "x");
  EXPECT_EQ(options.text("other", "y"), "y");
  EXPECT_TRUE(options.boolean("flag", false));
  EXPECT_FALSE(options.boolean("off", false));
  EXPECT_EQ(options.integers("sizes", std::vector<std::int64_t>{1, 2}, 1, 9),
            (std::vector<std::int64_t>{1, 2}));
  options.finish();
  EXPECT_EQ(options.resolved().size(), 9u);
  EXPECT_EQ(options.described().size(), 9u);
  EXPECT_EQ(options.described().front().key, "d");
  EXPECT_EQ(options.described().front().default_value, "32");
}

TEST(Options, ALengthIsAnIntegerOfItsOwnKind) {
  Options options = with("l_max", std::int64_t{9});
  EXPECT_EQ(options.length("l_max", 5, 10), 9);
  EXPECT_EQ(options.described()[0].kind, OptionKind::length);
  Options zero = with("l_max", std::int64_t{0});
  EXPECT_ERROR(zero.length("l_max", 5, 10), ErrorKind::usage, "must lie in [1, 10] (it is 0)");
  Options unbounded = with("l_max", std::int64_t{0});
  EXPECT_EQ(unbounded.length("l_max", 0, 10), 0);
}

TEST(Options, ASourceSuppliesWhatIsNotSetByItsDeclaration) {
  Options options("mixer 'based'", {{"set", std::int64_t{7}}});
  std::vector<OptionInfo> asked;
  options.supply([&](const OptionInfo& info) -> std::optional<Value> {
    asked.push_back(info);
    if (info.kind == OptionKind::text) return info.allowed.back();
    if (info.kind == OptionKind::boolean) return std::nullopt;
    return static_cast<std::int64_t>(info.max);
  });
  EXPECT_EQ(options.integer("set", 1, 0, 9), 7);
  EXPECT_EQ(options.integer("drawn", 1, 0, 9), 9);
  EXPECT_EQ(options.integer("required", std::nullopt, 0, 5), 5);
  EXPECT_EQ(options.text("map", "a", {"a", "b"}), "b");
  EXPECT_TRUE(options.boolean("left", true));
  EXPECT_EQ(options.resolved().at("map"), Value(std::string("b")));
  ASSERT_EQ(asked.size(), 4u);
  EXPECT_EQ(asked[0].fallback, Value(std::int64_t{1}));
  EXPECT_EQ(asked[1].fallback, std::nullopt);
  options.supply([](const OptionInfo&) { return Value(std::int64_t{11}); });
  EXPECT_ERROR(options.integer("beyond", 1, 0, 9), ErrorKind::usage, "must lie in [0, 9]");
}

TEST(Options, TypesAreCoercedOnlyWhereNothingIsLost) {
  Options number = with("lr", std::int64_t{3});
  EXPECT_EQ(number.number("lr", 1.0), 3.0);
  EXPECT_EQ(std::get<double>(number.resolved().at("lr")), 3.0);
  Options list = with("sizes", std::int64_t{3});
  EXPECT_EQ(list.integers("sizes", {}, 1, 9), (std::vector<std::int64_t>{3}));
}

TEST(Options, WrongTypes) {
  Options real = with("d", 3.0);
  EXPECT_ERROR(real.integer("d", 1, 1, 9), ErrorKind::usage,
               "[mixer 'based'] recipe.toml:12:3: key 'd' must be an integer (it is 3.0)");
  Options text = with("d", std::string("3"));
  EXPECT_ERROR(text.integer("d", 1, 1, 9), ErrorKind::usage, "(it is \"3\")");
  EXPECT_ERROR(text.number("d", 1), ErrorKind::usage, "must be a number");
  EXPECT_ERROR(text.boolean("d", true), ErrorKind::usage, "must be true or false");
  EXPECT_ERROR(text.integers("d", {}, 1, 9), ErrorKind::usage, "must be an integer or a list");
  Options flag = with("d", true);
  EXPECT_ERROR(flag.text("d", "x"), ErrorKind::usage, "must be a string (it is true)");
  EXPECT_ERROR(flag.integer("d", 1, 0, 1), ErrorKind::usage, "must be an integer");
}

TEST(Options, Bounds) {
  for (const std::int64_t bad : {std::int64_t{0}, std::int64_t{10}, -kLargest}) {
    Options options = with("d", bad);
    EXPECT_ERROR(options.integer("d", 1, 1, 9), ErrorKind::usage, "must lie in [1, 9]");
  }
  Options low = with("d", std::int64_t{0});
  EXPECT_ERROR(low.integer("d", 1, 1, kLargest), ErrorKind::usage, "must be at least 1 (it is 0)");
  for (const double bad : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN(),
                           std::numeric_limits<double>::infinity()}) {
    Options options = with("p", bad);
    EXPECT_ERROR(options.number("p", 0.5, 0, 1), ErrorKind::usage, "must be a finite number");
  }
  Options infinite = with("p", std::numeric_limits<double>::infinity());
  EXPECT_ERROR(infinite.number("p", 0.5), ErrorKind::usage, "must be a finite number");
  Options list = with("sizes", std::vector<std::int64_t>{1, 10});
  EXPECT_ERROR(list.integers("sizes", {}, 1, 9), ErrorKind::usage, "must have entries in [1, 9]");
  Options empty = with("sizes", std::vector<std::int64_t>{});
  EXPECT_ERROR(empty.integers("sizes", {}, 1, 9), ErrorKind::usage, "must not be empty");
}

TEST(Options, ChoicesNameTheNearest) {
  Options options = with("map", std::string("rellu"));
  EXPECT_ERROR(options.text("map", "relu", {"relu", "square"}), ErrorKind::usage,
               "must be one of relu, square; did you mean 'relu'? (it is \"rellu\")");
}

TEST(Options, RequiredKeys) {
  Options options("task 'mqar'");
  EXPECT_ERROR(options.integer("vocab_size", std::nullopt, 1, 9), ErrorKind::usage,
               "[task 'mqar'] key 'vocab_size' is missing; give it an integer");
}

TEST(Options, UnknownKeysNameTheNearestAndTheirPlace) {
  Options options = with("num_head", std::int64_t{1});
  options.integer("num_heads", 1, 1, 9);
  options.integer("feature_dim", 1, 1, 9);
  EXPECT_ERROR(options.finish(), ErrorKind::usage,
               "recipe.toml:12:3: unknown key 'num_head'; did you mean 'num_heads'?");
  Options far = with("zzzzzz", std::int64_t{1});
  far.integer("num_heads", 1, 1, 9);
  EXPECT_ERROR(far.finish(), ErrorKind::usage, "unknown key 'zzzzzz'");
}

TEST(Options, TextOfValues) {
  EXPECT_EQ(to_string(Value(true)), "true");
  EXPECT_EQ(to_string(Value(std::int64_t{-3})), "-3");
  EXPECT_EQ(to_string(Value(3.0)), "3.0");
  EXPECT_EQ(to_string(Value(0.1)), "0.1");
  EXPECT_EQ(to_string(Value(std::string("relu"))), "\"relu\"");
  EXPECT_EQ(to_string(Value(std::vector<double>{0.01, 1})), "[0.01, 1.0]");
}

}  // namespace
}  // namespace recallbench
