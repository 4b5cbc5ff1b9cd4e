// Floor: each share read once: those of tokens are 2 N numbers a head, 67 MB at B = 256, L = 256,
// H = 4, N = 16, 16 us at 4.2 TB/s, and partly still in L2.
#include "kernels/cuda/partial_sums.h"
#include "kernels/ssd/shares.cuh"

namespace recallbench {
namespace {

/// db and dc of the columns of `states`: the shares of a group's heads and their parts, in order.
__global__ void ssd_token_gradients(SsdSize s, SsdStates states, Index parts, Index count,
                                    const float* tokens, Gradient<float> db, Gradient<float> dc) {
  const Index i = blockIdx.x * Index{kSsdThreads} + threadIdx.x, replica = blockIdx.y;
  if (i >= count) return;
  const Index rows = s.examples * s.length, width = 2 * states.width;
  const Index row = i / width / s.groups, group = i / width % s.groups, e = i % width;
  const Gradient<float>& to = e < states.width ? db : dc;
  if (!to.wanted) return;
  const Index each = s.heads / s.groups * parts;
  const float* from =
      tokens + ((replica * s.heads * parts + group * each) * rows + row) * width + e;
  float sum = 0;
  for (Index h = 0; h < each; ++h)
    sum += from[h * rows * width];
  ssd_store(to, replica, row, group * s.states + states.first + e % states.width, to.accumulate,
            sum);
}

/// ddt, or ddt += : the shares of the parts of each head.
__global__ void ssd_step_gradients(SsdSize s, Index parts, const float* steps, Gradient<float> dt,
                                   bool accumulate) {
  const Index i = blockIdx.x * Index{kSsdThreads} + threadIdx.x, replica = blockIdx.y;
  const Index count = s.examples * s.length * s.heads;
  if (i >= count) return;
  float sum = 0;
  for (Index part = 0; part < parts; ++part)
    sum += steps[(replica * parts + part) * count + i];
  ssd_store(dt, replica, i / s.heads, i % s.heads, accumulate, sum);
}

dim3 blocks_of(Index count, Index replicas) {
  return dim3(static_cast<unsigned>((count + kSsdThreads - 1) / kSsdThreads),
              static_cast<unsigned>(replicas));
}

}  // namespace

void ssd_add_shares_cuda(const CudaCall& call, Index replicas, const SsdSize& s,
                         const SsdStates& states, const SsdGradients<float>& out,
                         const SsdShares& shares) {
  const Index parts = ssd_parts(s), rows = s.examples * s.length;
  if (out.b.wanted || out.c.wanted) {
    const Index count = rows * s.groups * 2 * states.width;
    ssd_token_gradients<<<blocks_of(count, replicas), kSsdThreads, 0, call.stream>>>(
        s, states, parts, count, shares.tokens, out.b, out.c);
    cuda_check_launch("ssd_token_gradients");
  }
  const auto adding = [&](Gradient<float> to) {
    to.accumulate = to.accumulate || states.first > 0;
    return to;
  };
  if (parts > 1 && out.dt.wanted) {
    ssd_step_gradients<<<blocks_of(rows * s.heads, replicas), kSsdThreads, 0, call.stream>>>(
        s, parts, shares.steps, out.dt, adding(out.dt).accumulate);
    cuda_check_launch("ssd_step_gradients");
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
