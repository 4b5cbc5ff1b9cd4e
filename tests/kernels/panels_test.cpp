// Products over packed panels against plain loops: edges of panels, parts of the range, both
// orders of the left operand.
#include "kernels/matmul/panels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/support/run_case.h"

namespace recallbench::testing {
namespace {

struct Sizes {
  Index rows, k, cols;
};

std::size_t at(Index i) {
  return static_cast<std::size_t>(i);
}

template <class T>
std::vector<T> numbers(Index count, std::uint64_t seed) {
  const std::vector<double> from = normal_numbers(count, seed, 1.0);
  return {from.begin(), from.end()};
}

/// Largest |c - expected| over the columns that were asked for; infinity where others changed.
template <class T>
double error_of(const Sizes& s, bool left_transposed, bool pack_transposed, bool accumulate) {
  const Index stride = s.cols + 3, first_k = s.k > 2 ? 1 : 0, last_k = s.k > 4 ? s.k - 1 : s.k;
  const Index first_panel = s.cols > 2 * kPanelCols ? 1 : 0;
  const std::vector<T> a = numbers<T>(s.rows * s.k, 1), b = numbers<T>(s.k * s.cols, 2);
  std::vector<T> c = numbers<T>(s.rows * stride, 3), flipped(b.size());
  for (Index k = 0; k < s.k; ++k)
    for (Index j = 0; j < s.cols; ++j)
      flipped[at(j * s.k + k)] = b[at(k * s.cols + j)];
  std::vector<T> packed(at(panel_numbers(s.k, s.cols)), std::nan(""));
  const Panels<T> panels{packed.data(), s.k, s.cols};
  std::vector<T> source = pack_transposed ? flipped : b;
  if (pack_transposed)
    pack_transposed_panels(Matrix<T>{source.data(), s.cols, s.k, s.k}, panels);
  else
    pack_panels(Matrix<T>{source.data(), s.k, s.cols, s.cols}, panels);
  const PanelOperand<T> left =
      left_transposed ? PanelOperand<T>{a.data(), 1, s.rows} : PanelOperand<T>{a.data(), s.k, 1};
  const std::vector<T> before = c;
  multiply_panels(s.rows, T(0.5), left, panels, {first_k, last_k, first_panel, panel_count(s.cols)},
                  accumulate, c.data() + first_panel * kPanelCols, stride);
  double worst = 0;
  for (Index i = 0; i < s.rows; ++i)
    for (Index j = 0; j < stride; ++j) {
      double expected = before[at(i * stride + j)];
      if (j >= first_panel * kPanelCols && j < s.cols) {
        if (!accumulate) expected = 0;
        for (Index k = first_k; k < last_k; ++k)
          expected += 0.5 *
                      static_cast<double>(left.data[i * left.row_stride + k * left.col_stride]) *
                      static_cast<double>(b[at(k * s.cols + j)]);
      }
      const double error = std::abs(expected - static_cast<double>(c[at(i * stride + j)]));
      if (!(error <= worst)) worst = error;
    }
  return worst;
}

TEST(Panels, ProductsEqualPlainLoops) {
  for (const Sizes& s : {Sizes{1, 1, 1}, Sizes{2, 3, 16}, Sizes{3, 7, 17}, Sizes{4, 16, 5},
                         Sizes{5, 20, 49}, Sizes{6, 33, 48}, Sizes{6, 64, 31}})
    for (const bool left_transposed : {false, true})
      for (const bool pack_transposed : {false, true})
        for (const bool accumulate : {false, true}) {
          const double in_double =
              error_of<double>(s, left_transposed, pack_transposed, accumulate);
          const double in_float = error_of<float>(s, left_transposed, pack_transposed, accumulate);
          if (!(in_double <= 1e-13 && in_float <= 2e-5))
            ADD_FAILURE() << s.rows << " x " << s.k << " x " << s.cols << ": " << in_double << ", "
                          << in_float;
        }
}

TEST(Panels, RefuseWhatLiesOutside) {
  std::vector<float> packed(at(panel_numbers(4, 4))), c(64);
  const Panels<float> panels{packed.data(), 4, 4};
  const auto multiply = [&](Index rows, Index last_k, Index last_panel) {
    multiply_panels(rows, 1.0f, PanelOperand<float>{c.data(), 4, 1}, panels,
                    {0, last_k, 0, last_panel}, false, c.data(), 4);
  };
  EXPECT_THROW(multiply(7, 4, 1), Error);
  EXPECT_THROW(multiply(1, 5, 1), Error);
  EXPECT_THROW(multiply(1, 4, 2), Error);
  EXPECT_NO_THROW(multiply(6, 4, 1));
}

}  // namespace
}  // namespace recallbench::testing
