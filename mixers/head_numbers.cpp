#include "mixers/head_numbers.h"

#include <cmath>

namespace recallbench {

Index head_numbers(Options& options, const std::string& what, double expand, Index d_model,
                   Index heads) {
  const double all = expand * static_cast<double>(d_model);
  const Index of_head = std::llround(all / static_cast<double>(heads));
  if (of_head < 1 || std::abs(static_cast<double>(of_head * heads) - all) > 1e-6)
    options.reject("num_heads", fmt::format("must divide {}, which is {}", what, all));
  return of_head;
}

}  // namespace recallbench
