// Floor: x read and y written once (B = 256, L = 256, 128 columns: 67 MB, 16 us). A thread has one
// pair of one position, whose angle it computes once, in float64, for all heads of eight examples.
#include "kernels/rotary/rotary_cuda.h"

#include "kernels/cuda/runtime.h"

namespace recallbench {
namespace {

constexpr unsigned kThreads = 128;
constexpr Index kExamples = 8;  // of a block

/// Blocks: (pieces of the position's pairs, then groups of examples) in x; blockIdx.y is the
/// replica.
__global__ void __launch_bounds__(kThreads)
    turn_pairs(Index length, Index pairs, double base, Batched<float> x, double sign,
               Gradient<float> to) {
  const Index per_group = (length * pairs + kThreads - 1) / kThreads;
  const Index at = blockIdx.x % per_group * kThreads + threadIdx.x;
  if (at >= length * pairs) return;
  const Index t = at / pairs, pair = at % pairs, replica = blockIdx.y;
  const double angle =
      static_cast<double>(t) * pow(base, -static_cast<double>(pair) / static_cast<double>(pairs));
  double sine_of, cosine_of;
  sincos(angle, &sine_of, &cosine_of);
  const float cosine = static_cast<float>(cosine_of), sine = static_cast<float>(sign * sine_of);
  const Index first = blockIdx.x / per_group * kExamples;
  for (Index row = first * length + t; row < min((first + kExamples) * length, x.rows);
       row += length) {
    const float* from = x.data + replica * x.replica_stride + row * x.stride;
    float* into = to.view.data + replica * to.view.replica_stride + row * to.view.stride;
    for (Index i = pair; i < x.cols; i += 2 * pairs) {
      const float a = from[i], b = from[i + pairs];
      const float turned_a = a * cosine - b * sine, turned_b = b * cosine + a * sine;
      into[i] = to.accumulate ? into[i] + turned_a : turned_a;
      into[i + pairs] = to.accumulate ? into[i + pairs] + turned_b : turned_b;
    }
  }
}

}  // namespace

void rotary_cuda(const CudaCall& call, Index length, Index pairs, double base,
                 const Batched<float>& x, bool back, const Gradient<float>& to) {
  if (!to.wanted) return;
  const Index groups = (x.rows / length + kExamples - 1) / kExamples;
  const dim3 blocks(static_cast<unsigned>((length * pairs + kThreads - 1) / kThreads * groups),
                    static_cast<unsigned>(x.replicas));
  turn_pairs<<<blocks, kThreads, 0, call.stream>>>(length, pairs, base, x, back ? -1.0 : 1.0, to);
  cuda_check_launch("rotary");
}

}  // namespace recallbench
