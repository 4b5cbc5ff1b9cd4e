#include "kernels/graph/plan.h"

#include <algorithm>
#include <numeric>

#include "kernels/tensor/arena.h"

namespace recallbench {

MemoryPlan plan_memory(const std::vector<Lifetime>& pieces) {
  MemoryPlan plan;
  plan.offsets.resize(pieces.size());
  std::vector<std::size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return pieces[a].bytes > pieces[b].bytes; });
  std::vector<std::size_t> placed;  // by ascending offset
  for (const std::size_t piece : order) {
    const std::size_t bytes = align_up(pieces[piece].bytes);
    std::size_t offset = 0;
    for (const std::size_t other : placed) {
      const bool together =
          pieces[other].first <= pieces[piece].last && pieces[piece].first <= pieces[other].last;
      if (!together) continue;
      if (offset + bytes <= plan.offsets[other]) break;
      offset = std::max(offset, plan.offsets[other] + align_up(pieces[other].bytes));
    }
    plan.offsets[piece] = offset;
    plan.bytes = std::max(plan.bytes, offset + bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), piece,
                                   [&](std::size_t a, std::size_t b) {
                                     return plan.offsets[a] < plan.offsets[b];
                                   }),
                  piece);
  }
  return plan;
}

}  // namespace recallbench
