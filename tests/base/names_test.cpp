#include "kernels/base/names.h"

#include <gtest/gtest.h>

#include "kernels/base/registry.h"
#include "tests/base/expect_error.h"

namespace recallbench {
namespace {

const std::vector<std::string> kMixers{"attention", "based", "identity", "mamba"};

TEST(Names, NearestWithinAThirdOfTheLength) {
  EXPECT_EQ(nearest_name("atention", kMixers), "attention");
  EXPECT_EQ(nearest_name("attentoin", kMixers), "attention");
  EXPECT_EQ(nearest_name("bsed", kMixers), "based");
  EXPECT_EQ(nearest_name("mpl", {"glu", "mlp"}), "mlp");
  EXPECT_EQ(nearest_name("mamba", kMixers), "mamba");
  EXPECT_EQ(nearest_name("mamba22", kMixers), "mamba");
  EXPECT_EQ(nearest_name("mamba222", kMixers), "");
  EXPECT_EQ(nearest_name("hyena", kMixers), "");
  EXPECT_EQ(nearest_name("", kMixers), "");
  EXPECT_EQ(nearest_name("x", {}), "");
  EXPECT_EQ(nearest_name("ab", {"lr"}), "") << "no letter is the same";
  EXPECT_EQ(nearest_name("mlp", {"lr"}), "") << "one is";
}

TEST(Names, OfPathsTheLastPartCountsToo) {
  const std::vector<std::string> paths{"model.layers.1.num_heads", "train.max_epochs"};
  EXPECT_EQ(nearest_name("max_epoch", paths), "train.max_epochs");
  EXPECT_EQ(nearest_name("num_head", paths), "model.layers.1.num_heads");
  EXPECT_EQ(nearest_name("heads", paths), "model.layers.1.num_heads");
  EXPECT_EQ(nearest_name("train.max_epoch", paths), "train.max_epochs");
  EXPECT_EQ(nearest_name("layers.1.num_heads", paths), "model.layers.1.num_heads");
}

TEST(Names, ElseTheShortestWithItsWordsOrInitials) {
  const std::vector<std::string> keys{"num_key_value_heads", "num_heads", "train.lr", "vocab_size"};
  EXPECT_EQ(nearest_name("heads", keys), "num_heads");
  EXPECT_EQ(nearest_name("learning_rate", keys), "train.lr");
  EXPECT_EQ(nearest_name("vocab", keys), "vocab_size");
  EXPECT_EQ(nearest_name("voc", keys), "vocab_size");
  EXPECT_EQ(nearest_name("head", {"headdim", "seed", "num_heads"}), "num_heads");
  EXPECT_EQ(nearest_name("figure2", {"demo", "based-figure2"}), "based-figure2");
  EXPECT_EQ(nearest_name("vo", keys), "");
  EXPECT_EQ(nearest_name("ead", keys), "");
  EXPECT_EQ(nearest_name("____", keys), "");
}

TEST(Names, LongNamesAreNoWork) {
  EXPECT_EQ(nearest_name(std::string(1 << 20, 'a'), {"b"}), "");
}

TEST(Names, Hints) {
  EXPECT_EQ(hint_for("atention", kMixers), "; did you mean 'attention'?");
  EXPECT_EQ(hint_for("hyena", kMixers), "; known: attention, based, identity, mamba");
  const std::vector<std::string> many(27, "attention");
  EXPECT_TRUE(hint_for("hyena", many).ends_with(", attention and 15 more"));
  EXPECT_LT(hint_for("hyena", many).size(), 160u);
  EXPECT_EQ(hint_for("hyena", {}), "; none are known here");
}

TEST(Registry, FindsListsAndRefuses) {
  Registry<int> registry("mixer");
  registry.add("mamba", 2);
  registry.add("based", 1);
  EXPECT_EQ(registry.find("based"), 1);
  EXPECT_TRUE(registry.contains("mamba"));
  EXPECT_FALSE(registry.contains("mamba2"));
  EXPECT_EQ(registry.names(), (std::vector<std::string>{"based", "mamba"}));
  EXPECT_ERROR(registry.add("based", 3), ErrorKind::usage, "'based' is registered twice");
  EXPECT_EQ(registry.find("based"), 1);
  EXPECT_ERROR(registry.find("bsed"), ErrorKind::usage, "no mixer 'bsed'; did you mean 'based'?");
  EXPECT_ERROR(registry.find("hyena"), ErrorKind::usage, "known: based, mamba");
}

TEST(Errors, InternalOnesNameTheirPlace) {
  EXPECT_ERROR(check(1 == 2, "matmul", "expected {}, got {}", 3, 4), ErrorKind::internal,
               "[matmul] expected 3, got 4 (names_test.cpp:");
  EXPECT_NO_THROW(check(true, "matmul", "never"));
}

}  // namespace
}  // namespace recallbench
