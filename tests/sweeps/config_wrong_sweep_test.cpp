#include <gtest/gtest.h>

#include "tests/sweeps/config_support.h"

namespace recallbench {
namespace {

/// A mistake in what follows the plain recipe (whose last line is 21), or in overrides.
struct Mistake {
  const char* name;
  const char* sweep;
  std::vector<std::string> overrides;
  std::vector<const char*> says;
};

class WrongSweep : public testing::TestWithParam<Mistake> {};

TEST_P(WrongSweep, IsRefusedWithPlaceAndHint) {
  const Mistake& mistake = GetParam();
  const std::string message = message_of(kPlainRecipe + mistake.sweep, mistake.overrides);
  ASSERT_FALSE(message.empty());
  EXPECT_LT(message.size(), 500u) << message;
  for (const char* words : mistake.says)
    EXPECT_NE(message.find(words), std::string::npos) << message << "\nlacks: " << words;
}

const std::vector<Mistake> kSweep = {
    {"UnknownKey",
     "[sweep]\ngrids = {}\n",
     {},
     {"f.toml:23:1", "unknown key 'grids' in [sweep]", "did you mean 'grid'?"}},
    {"SweepIsANumber", "[[sweep]]\n", {}, {"f.toml:22:1", "[sweep] must be a table"}},
    {"ScalarAxis",
     "[sweep.grid]\nseed = 3\n",
     {},
     {"f.toml:23:8", "a list of values, such as [3]"}},
    {"EmptyAxis",
     "[sweep.grid]\nseed = []\n",
     {},
     {"f.toml:23:8", "'seed' in [sweep.grid] is empty"}},
    {"GridIsAList",
     "[sweep]\ngrid = [1]\n",
     {},
     {"f.toml:23:8", "'grid' in [sweep] must be a table"}},
    {"BadVariableName", "[sweep.grid]\na-b = [1]\n", {}, {"f.toml:23:1", "rename 'a-b'"}},
    {"UnusedVariable",
     "[sweep.grid]\nwidth = [1]\n",
     {},
     {"f.toml:23:1", "variable 'width' is never used", "\"$width\""}},
    {"UndeclaredVariable",
     "[sweep.grid]\nseed = [\"$sed\"]\n",
     {},
     {"f.toml:23:9", "variable 'sed' is not declared", "did you mean 'seed'?"}},
    {"MalformedVariable", "[sweep.grid]\nseed = [\"$a+1\"]\n", {}, {"f.toml:23:9", "\"$name/4\""}},
    {"LoneDollar", "[sweep.grid]\nseed = [\"$\"]\n", {}, {"f.toml:23:9", "no variable"}},
    {"DivisionByZero",
     "[sweep.grid]\na = [4]\nseed = [\"$a/0\"]\n",
     {},
     {"f.toml:24:9", "positive"}},
    {"InexactDivision",
     "[sweep.grid]\na = [4, 6]\nseed = [\"$a/4\"]\n",
     {},
     {"f.toml:24:9", "must divide exactly", "6 is not a multiple of 4"}},
    {"Overflow",
     "[sweep.grid]\na = [4611686018427387904]\nseed = [\"$a*2\"]\n",
     {},
     {"f.toml:24:9", "beyond 64 bits"}},
    {"ArithmeticOnText",
     "[sweep.grid]\na = [\"x\"]\nseed = [\"$a*2\"]\n",
     {},
     {"f.toml:24:9", "needs a number", "'a' is a string"}},
    {"Cycle", "[sweep.grid]\na = [\"$seed\"]\nseed = [\"$a\"]\n", {}, {"refers to itself"}},
    {"Explosion",
     "[sweep.grid]\na = [[0,0,0,0,0,0,0,0,0,0]]\n"
     "b = [[\"$a\",\"$a\",\"$a\",\"$a\",\"$a\",\"$a\",\"$a\",\"$a\",\"$a\",\"$a\"]]\n"
     "c = [[\"$b\",\"$b\",\"$b\",\"$b\",\"$b\",\"$b\",\"$b\",\"$b\",\"$b\",\"$b\"]]\n"
     "d = [[\"$c\",\"$c\",\"$c\",\"$c\",\"$c\",\"$c\",\"$c\",\"$c\",\"$c\",\"$c\"]]\n"
     "seed = [[\"$d\",\"$d\",\"$d\",\"$d\",\"$d\",\"$d\",\"$d\",\"$d\",\"$d\",\"$d\"]]\n",
     {},
     {"more than 100000 values"}},
    {"SameRunTwice",
     "[sweep.grid]\nseed = [2, 2]\n",
     {},
     {"f.toml:22:", "two of the runs are the same"}},
    {"SameModelTwice",
     "[[sweep.models]]\nname = \"a\"\n[[sweep.models]]\nname = \"b\"\n",
     {},
     {"model 'a' and model 'b'"}},
    {"DeclaredTwice",
     "[sweep.grid]\nseed = [2]\n[[sweep.cases]]\nseed = 3\n",
     {},
     {"f.toml:25:1", "'seed' is declared twice"}},
    {"DeclaredTwiceByModel",
     "[sweep.grid]\nseed = [2]\n[[sweep.models]]\nname = \"a\"\ngrid = {seed = [1]}\n",
     {},
     {"f.toml:26:9", "'seed' is declared twice"}},
    {"CaseLacksAVariable",
     "[[sweep.cases]]\nseed = 3\n[[sweep.cases]]\n",
     {},
     {"f.toml:24:1", "this case lacks 'seed'"}},
    {"CaseHasOneMore",
     "[[sweep.cases]]\n[[sweep.cases]]\nseed = 3\n",
     {},
     {"f.toml:24:1", "the first case does not give 'seed'"}},
    {"CaseVariableUnused",
     "[[sweep.cases]]\nwidth = 3\n",
     {},
     {"f.toml:23:1", "'width' is never used"}},
    {"CaseWithUnknownKey",
     "[[sweep.cases]]\n[sweep.cases.task]\nbatchsize = 3\n",
     {},
     {"f.toml:24:1", "unknown key 'batchsize' in [task]"}},
    {"CasesIsATable", "[sweep.cases]\nseed = 3\n", {}, {"'cases' in [sweep] must be a list"}},
    {"ModelWithoutName",
     "[[sweep.models]]\nd_model = 8\n",
     {},
     {"f.toml:22:1", "needs the key 'name'"}},
    {"ModelNameEmpty",
     "[[sweep.models]]\nname = \"\"\n",
     {},
     {"f.toml:23:8", "1 to 100 printable"}},
    {"ModelNameThatTurnsTheLine",
     "[[sweep.models]]\nname = \"a\\u202eb\"\n",
     {},
     {"f.toml:23:8", "1 to 100 printable"}},
    {"ModelNameWithALateControl",
     "[[sweep.models]]\nname = \"a\\u0085b\"\n",
     {},
     {"f.toml:23:8", "1 to 100 printable", "a\\xc2\\x85b"}},
    {"ModelWithUnknownKey",
     "[[sweep.models]]\nname = \"a\"\nd_modle = 8\n",
     {},
     {"f.toml:24:1", "unknown key 'd_modle' in [[sweep.models]]", "did you mean 'd_model'?"}},
    {"ModelWithAKeyOfItsMixer",
     "[[sweep.models]]\nname = \"a\"\nfeature_dim = 8\nlayers = [{mixer = \"based\"}]\n",
     {},
     {"f.toml:24:1", "unknown key 'feature_dim' in [[sweep.models]]",
      "layers = [{mixer = \"based\", feature_dim = ...}]"}},
    {"ModelWithWrongValue",
     "[[sweep.models]]\nname = \"a\"\nd_model = -8\n",
     {},
     {"f.toml:24:11", "-8"}},
    {"ModelGridUnused",
     "[[sweep.models]]\nname = \"a\"\ngrid = {f = [1]}\n",
     {},
     {"f.toml:24:9", "variable 'f' is never used"}},
    {"VariableOfAnotherModel",
     "[[sweep.models]]\nname = \"a\"\ngrid = {f = [8]}\nd_model = \"$f\"\n"
     "[[sweep.models]]\nname = \"b\"\nd_model = \"$f\"\n",
     {},
     {"f.toml:28:11", "'f' is not declared"}},
    {"VariableUnusedByOneModel",
     "[sweep.grid]\nf = [8]\n[[sweep.models]]\nname = \"a\"\nd_model = \"$f\"\n"
     "[[sweep.models]]\nname = \"b\"\nd_model = 4\n",
     {},
     {"f.toml:23:1", "not used by model 'b'", "grids of the models"}},
    {"OverrideOfOneModelOnly",
     "[[sweep.models]]\nname = \"a\"\n[[sweep.models]]\nname = \"b\"\n"
     "layers = [{mixer = \"attention\"}]\n",
     {"model.layers.1.num_heads=1"},
     {"override 'model.layers.1.num_heads=1'", "list of 1", "(model 'b')"}},
    {"WrongValueInGrid",
     "[sweep.grid]\nseed = [1, -2]\n",
     {},
     {"f.toml:23:12", "'seed'", "it is -2"}},
};

const std::vector<Mistake> kOverride = {
    {"NoEquals", "", {"train.lr"}, {"override 'train.lr'", "key=value"}},
    {"NoKey", "", {"=3"}, {"override '=3'", "no dotted path"}},
    {"EmptyPart", "", {"train..lr=3"}, {"no dotted path"}},
    {"NoValue", "", {"train.lr="}, {"override 'train.lr='", "a value is missing"}},
    {"TrailingComma", "", {"train.lr=1e-3,"}, {"a value is missing"}},
    {"UnknownKey",
     "",
     {"train.lrr=1e-3"},
     {"override 'train.lrr=1e-3'", "unknown key 'lrr' in [train]", "did you mean 'lr'?"}},
    {"UnknownTable", "", {"trian.lr=1e-3"}, {"there is no table 'trian'", "did you mean 'train'?"}},
    {"UnknownName", "", {"sed=3"}, {"no variable or key 'sed'", "did you mean 'seed'?"}},
    {"BareKey",
     "",
     {"d_model=32"},
     {"no variable or key 'd_model'", "did you mean 'model.d_model'?"}},
    {"PartOfAMixersKey",
     "",
     {"heads=2"},
     {"no variable or key 'heads'", "did you mean 'model.layers.1.num_heads'?"}},
    {"MixersKey", "", {"kernel_size=4"}, {"did you mean 'model.layers.0.kernel_size'?"}},
    {"MixersKeyOfAModel",
     "[[sweep.models]]\nname = \"a\"\nlayers = [{mixer = \"based\"}]\n",
     {"feature_dims=8"},
     {"did you mean 'model.layers.0.feature_dim'?"}},
    {"TasksKey", "", {"kv_pairs=8"}, {"did you mean 'task.train.0.num_kv_pairs'?"}},
    {"MisspeltBareKey", "", {"max_epoch=3"}, {"did you mean 'train.max_epochs'?"}},
    {"MixersKeyOfTheModel",
     "",
     {"model.num_heads=2"},
     {"override 'model.num_heads=2'", "an option of mixer 'attention'",
      "write model.layers.1.num_heads"}},
    {"PartOfAMixersKeyOfTheModel",
     "",
     {"model.heads=2"},
     {"unknown key 'heads' in [model]", "write model.layers.1.num_heads"}},
    {"KeyOfAMixerThatIsNotThere",
     "",
     {"model.block_size=16"},
     {"an option of mixer 'sliding_window'", "no layer here has that mixer"}},
    {"PathWithoutItsTable",
     "",
     {"layers.1.num_heads=2"},
     {"there is no table 'layers'", "did you mean 'model.layers.1.num_heads'?"}},
    {"FarFromAllNames",
     "[sweep.grid]\nseed = [1]\n",
     {"frobnication=3"},
     {"no variable or key 'frobnication'", "known: seed, name", "more"}},
    {"UnknownVariable", "[sweep.grid]\nseed = [1]\n", {"sede=3"}, {"did you mean 'seed'?"}},
    {"WrongType",
     "",
     {"train.lr=fast"},
     {"override 'train.lr=fast'", "a finite number", "\"fast\""}},
    {"WrongValueOfAnAxis",
     "",
     {"train.lr=0.1,-1"},
     {"override 'train.lr=0.1,-1'", "greater than 0"}},
    {"IndexTooLarge",
     "",
     {"model.layers.2.num_heads=1"},
     {"'model.layers' is a list of 2", "'2' must be an index from 0 to 1"}},
    {"IndexIsText", "", {"model.layers.one.num_heads=1"}, {"'one' must be an index"}},
    {"IntoANumber", "", {"train.lr.max=1"}, {"'train.lr' is a number (0.01)", "no 'max' in it"}},
    {"UnknownMixerKey",
     "",
     {"model.layers.1.num_head=1"},
     {"override 'model.layers.1.num_head=1'", "did you mean 'num_heads'?"}},
    {"Schema", "", {"schema=2"}, {"'schema' cannot be overridden"}},
    {"Sweep", "", {"sweep.grid.lr=2"}, {"'sweep' cannot be overridden", "lr=1e-3,1e-2"}},
    {"Twice", "", {"train.lr=1", "train.lr=2"}, {"'train.lr' is overridden twice"}},
    {"VariableTwice",
     "[sweep.grid]\nseed = [1]\n",
     {"seed=1", "seed=2"},
     {"override 'seed=2'", "'seed' is overridden twice"}},
    {"NameTwice", "", {"name=a", "name=b"}, {"'name' is overridden twice"}},
    {"TwiceByAnotherIndex",
     "",
     {"model.layers.0.kernel_size=3", "model.layers.00.kernel_size=4"},
     {"'00' must be an index"}},
    {"BadName", "", {"name=a/b"}, {"override 'name=a/b'", "names a directory"}},
    {"NameIsANumber", "", {"name=3"}, {"'name' must be a string"}},
    {"UnclosedBracket", "", {"train.lr=[1"}, {"no TOML value"}},
    {"UnclosedQuote", "", {"name=\"a"}, {"no TOML value"}},
    {"LineBreak", "", {"train.lr=1\nseed=2"}, {"control characters"}},
    {"EmptyAxis", "[sweep.grid]\nseed = [1]\n", {"seed=[]"}, {"at least one value"}},
    {"ListForACase", "[[sweep.cases]]\nseed = 1\n", {"seed=1,2"}, {"[[sweep.cases]]", "one value"}},
    {"UndeclaredVariable", "", {"train.lr=$lr"}, {"variable 'lr' is not declared"}},
    {"NoAxisOfNames", "", {"name=a,b"}, {"'name' must be a string"}},
};

const auto kNameOf = [](const testing::TestParamInfo<Mistake>& info) {
  return std::string(info.param.name);
};
INSTANTIATE_TEST_SUITE_P(Sweep, WrongSweep, testing::ValuesIn(kSweep), kNameOf);
INSTANTIATE_TEST_SUITE_P(Override, WrongSweep, testing::ValuesIn(kOverride), kNameOf);

TEST(WrongRecipeFile, MissingTablesAreNamed) {
  const std::string task = "task.train = [{task = \"mqar\"}]\ntask.test = [{task = \"mqar\"}]\n";
  const std::string head = "schema = 1\nname = \"a\"\n";
  EXPECT_NE(message_of(head).find("needs a [task] table"), std::string::npos);
  EXPECT_NE(message_of(head + task).find("needs a [model] table"), std::string::npos);
  EXPECT_NE(message_of(head + task + "model.d_model = 8\n").find("needs the key 'layers'"),
            std::string::npos);
  EXPECT_NE(message_of(head + "task.test = []\n").find("needs the key 'train'"), std::string::npos);
}

TEST(WrongRecipeFile, ControlCharactersDoNotReachTheTerminal) {
  const std::string message = message_of(kPlainRecipe + "\"a\\u001b[31mb\" = 1\n");
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
  EXPECT_NE(message.find("f.toml:22:1: unknown key"), std::string::npos) << message;
}

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i)
    all += text;
  return all;
}

TEST(WrongRecipeFile, KeysOfManyPartsAreRefusedWhereverTheyStand) {
  const std::string deep = repeated("a.", 100'000) + "a";
  for (const std::string& toml :
       {deep + " = 1\n", "[" + deep + "]\n", "[[" + deep + "]]\n", "a = {" + deep + " = 1}\n",
        "a = [{b = \"\"\"\"x\"\"\"\", " + deep + " = 1}]\n",
        "a = ['''x''''', {" + deep + " = 1}]\n", "a = \"\\\"\" # '\n" + deep + " = 1\n",
        "a = 'x\\'\n" + repeated("'a' . \"a\".", 50'000) + "a = 1\n"})
    EXPECT_NE(message_of(toml).find("a key has at most 8 parts"), std::string::npos)
        << message_of(toml);
  EXPECT_NE(message_of("\n\n [" + deep + "]").find("f.toml:3:18: "), std::string::npos);
  const std::string dots(1000, '.');
  EXPECT_EQ(message_of("description = \"\"\"" + dots + "\n\"" + dots + "\"\"\" # " + dots + "\n" +
                       kPlainRecipe),
            "");
}

TEST(WrongRecipeFile, BracketsThatAreNotTomlAreRefusedWithTheirPlace) {
  for (const char* toml : {"[=a]\n", "[.train]\n", "[$rain]\n", "[[=a]]\n", "[{a]\n", "[", "[\n",
                           "a = [1, }]\n", "a = [1, }", "a = [{b = 1}, }c = 2}]\n"}) {
    const std::string message = message_of(toml);
    EXPECT_NE(message.find("f.toml:1:"), std::string::npos) << toml << message;
    EXPECT_NE(message.find("this is not TOML"), std::string::npos) << toml << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST(WrongRecipeFile, APathOfManyPartsIsRefused) {
  const std::string message = message_of(kPlainRecipe, {"train." + repeated("a.", 50'000) + "a=1"});
  EXPECT_NE(message.find("at most 8 parts"), std::string::npos) << message;
}

TEST(WrongRecipeFile, DeepNestingAndLargeFilesAreRefused) {
  EXPECT_NE(message_of("a = " + std::string(5000, '[')).find("f.toml:1:"), std::string::npos);
  const std::string large = kPlainRecipe + std::string((1 << 20) + 1, '#');
  EXPECT_NE(message_of(large).find("at most 1048576 bytes"), std::string::npos);
}

}  // namespace
}  // namespace recallbench
