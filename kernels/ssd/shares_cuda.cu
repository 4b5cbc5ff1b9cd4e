// Floor: each share read once, in quads: those of tokens are 2 N numbers a head, 34 MB at B = 256,
// L = 256, H = 4, N = 16, and a quarter of that written: 10 us at 4.2 TB/s, less from L2.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.h"
#include "kernels/ssd/shares.cuh"

namespace recallbench {
namespace {

constexpr int kSumThreads = 256;

/// db and dc of the columns of `states`, four neighbours a thread: the shares of a group's heads
/// and their parts, in order.
__global__ void ssd_token_gradients(SsdSize s, SsdStates states, int each, std::uint32_t count,
                                    bool quads, const float* tokens, Gradient<float> db,
                                    Gradient<float> dc) {
  after_previous();
  const std::uint32_t i = blockIdx.x * std::uint32_t{kSumThreads} + threadIdx.x;
  if (i >= count) return;
  const std::uint32_t width = 2 * states.share(), groups = static_cast<std::uint32_t>(s.groups);
  const std::uint32_t place = i / (width / 4), e = i % (width / 4) * 4;
  const Index row = place / groups, group = place % groups, replica = blockIdx.y;
  const bool of_b = e < width / 2;
  if (!(of_b ? db.wanted : dc.wanted)) return;
  const Index rows = s.examples * s.length, head = rows * width;
  const float* from = tokens + (replica * groups + group) * each * head + row * width + e;
  float sum[4] = {};
#pragma unroll 4
  for (int h = 0; h < each; ++h) {
    float share[4];
    load_numbers(from + h * head, share);
#pragma unroll
    for (int k = 0; k < 4; ++k)
      sum[k] += share[k];
  }
  const int n = static_cast<int>(of_b ? e : e - width / 2);
  const bool accumulate = of_b ? db.accumulate : dc.accumulate;
  float* const to = (of_b ? ssd_row(db.view, replica, row) : ssd_row(dc.view, replica, row)) +
                    group * s.states + states.first + n;
  if (quads) return write_numbers(sum, accumulate, to);
#pragma unroll
  for (int k = 0; k < 4; ++k)
    if (n + k < states.width) to[k] = accumulate ? to[k] + sum[k] : sum[k];
}

/// ddt, or ddt += : the shares of the parts of each head.
__global__ void ssd_step_gradients(SsdSize s, Index parts, const float* steps, Gradient<float> dt,
                                   bool accumulate) {
  after_previous();
  const Index i = blockIdx.x * Index{kSumThreads} + threadIdx.x, replica = blockIdx.y;
  const Index count = s.examples * s.length * s.heads;
  if (i >= count) return;
  float sum = 0;
  for (Index part = 0; part < parts; ++part)
    sum += steps[(replica * parts + part) * count + i];
  ssd_store(dt, replica, i / s.heads, i % s.heads, accumulate, sum);
}

dim3 blocks_of(Index count, Index replicas) {
  return dim3(static_cast<unsigned>((count + kSumThreads - 1) / kSumThreads),
              static_cast<unsigned>(replicas));
}

}  // namespace

void ssd_add_shares_cuda(const CudaCall& call, Index replicas, const SsdSize& s,
                         const SsdStates& states, const SsdGradients<float>& out,
                         const SsdShares& shares) {
  const Index parts = ssd_parts(s), rows = s.examples * s.length;
  if (out.b.wanted || out.c.wanted) {
    const Index count = rows * s.groups * (2 * states.share() / 4);
    check(count < Index{1} << 31, "ssd", "more gradients of b and c than a GPU kernel counts");
    const bool quads = s.states % 4 == 0 && in_quads(out.b.view) && in_quads(out.c.view);
    cuda_launch("ssd_token_gradients", ssd_token_gradients,
                {blocks_of(count, replicas), kSumThreads, 0, call.stream}, s, states,
                static_cast<int>(s.heads / s.groups * parts), static_cast<std::uint32_t>(count),
                quads, shares.tokens, out.b, out.c);
  }
  const auto adding = [&](Gradient<float> to) {
    to.accumulate = to.accumulate || states.first > 0;
    return to;
  };
  if (parts > 1 && out.dt.wanted) {
    cuda_launch("ssd_step_gradients", ssd_step_gradients,
                {blocks_of(rows * s.heads, replicas), kSumThreads, 0, call.stream}, s, parts,
                shares.steps, out.dt, adding(out.dt).accumulate);
  }
  sum_partials_cuda(
      call, replicas,
      {shares.rates, s.examples * parts, s.heads, s.heads, adding(out.a_log), adding(out.dt_bias)});
  if (states.first == 0)
    sum_partials_cuda(call, replicas,
                      {shares.skips,
                       s.skips == s.heads ? s.examples * parts : s.examples,
                       s.skips,
                       0,
                       out.d,
                       {}});
}

}  // namespace recallbench
