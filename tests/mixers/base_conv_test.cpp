// BaseConv's long filter has a length.
#include <gtest/gtest.h>

#include "tests/mixers/support.h"

namespace recallbench::testing {
namespace {

TEST(BaseConvOptions, SequencesBeyondTheImplicitFilterAreRefused) {
  const MadeMixer made = make({"", "base_conv", {{"kernel_size", -1L}, {"l_max", 8L}}, false, 4});
  expect_sequence_refused(made, 9);
}

// An explicit filter has l_max taps, and any sequence may go through it.
TEST(BaseConvOptions, SequencesBeyondTheExplicitFilterAreNot) {
  const MadeMixer made = make({"",
                               "base_conv",
                               {{"kernel_size", -1L}, {"implicit_long_conv", false}, {"l_max", 8L}},
                               false,
                               4});
  expect_forward_is_the_fold(made, random_parameters(made.specs, 3, 0.3), {8, 9, 20});
}

}  // namespace
}  // namespace recallbench::testing
