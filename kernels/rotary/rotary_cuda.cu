// Floor: x read and y written once (B = 256, L = 256, 128 columns: 67 MB, 16 us); the gradient of
// the frequencies reads x and dy once more. Angles are computed in float64, once for each position
// and pair, into a table that stays in the cache (L = 256, 16 pairs: 32 KB).
#include "kernels/rotary/rotary_cuda.h"

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.h"

namespace recallbench {
namespace {

constexpr unsigned kThreads = 256;
constexpr int kPairs = 32, kLanes = 8;  // of a block of the frequencies' gradient
constexpr Index kChunkRows = 64;        // that it adds up

Index chunks_of(Index rows) {
  return (rows + kChunkRows - 1) / kChunkRows;
}

/// Cosines and sines, [R, positions, 2, pairs]; R = 1 where all replicas have the same
/// frequencies.
struct Turns {
  float* data;
  Index replica_stride;

  __device__ float* at(Index replica, Index position, Index pairs) const {
    return data + replica * replica_stride + 2 * position * pairs;
  }
};

__global__ void fill_turns(RotaryCuda rotary, Index count, Turns turns) {
  after_previous();
  const Index i = blockIdx.x * Index{blockDim.x} + threadIdx.x, replica = blockIdx.y;
  if (i >= count) return;
  const Index pairs = rotary.rows.pairs, position = i / pairs, pair = i % pairs;
  const Batched<float>& given = rotary.frequencies;
  const double frequency =
      given.data != nullptr
          ? static_cast<double>(given.data[replica * given.replica_stride + pair])
          : pow(rotary.theta, -static_cast<double>(pair) / static_cast<double>(pairs));
  const double angle = static_cast<double>(position) * frequency;
  float* to = turns.at(replica, position, pairs) + pair;
  to[0] = static_cast<float>(cos(angle));
  to[pairs] = static_cast<float>(sin(angle));
}

/// Where a row of a replica stands among the turns of the table.
__device__ inline Index position_of(const RotaryRows& s, Index replica, Index row, Index rows) {
  const Index t = s.at == nullptr ? row % s.length : s.at[replica * rows + row];
  return t % s.positions;
}

/// kVec pairs that follow each other; `apart` from the first number of a pair to its second.
/// Neighbours are read four numbers at a time where kVec is 2, halves where it is 4.
template <int kVec>
__device__ void load_pairs(const float* from, Index apart, float (&a)[kVec], float (&b)[kVec]) {
  if constexpr (kVec == 2) {
    float both[4];
    load_numbers(from, both);
    a[0] = both[0], b[0] = both[1], a[1] = both[2], b[1] = both[3];
  } else {
    load_numbers(from, a);
    load_numbers(from + apart, b);
  }
}

template <int kVec>
__device__ void store_pairs(const float (&a)[kVec], const float (&b)[kVec], Index apart,
                            float* to) {
  if constexpr (kVec == 2) {
    const float both[4] = {a[0], b[0], a[1], b[1]};
    store_numbers(both, to);
  } else {
    store_numbers(a, to);
    store_numbers(b, to + apart);
  }
}

/// A thread turns kVec pairs of a row, by the angle times `sign`; blockIdx.y is the replica.
template <int kVec>
__global__ void __launch_bounds__(kThreads)
    turn_pairs(RotaryRows s, std::uint32_t per_row, std::uint32_t count, Turns turns, float sign,
               Batched<float> x, Gradient<float> to) {
  after_previous();
  const std::uint32_t i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= count) return;
  const Index replica = blockIdx.y, row = i / per_row;
  const std::uint32_t j = i % per_row * kVec, pair = j % static_cast<std::uint32_t>(s.pairs);
  const float* turn = turns.at(replica, position_of(s, replica, row, x.rows), s.pairs) + pair;
  float cosine[kVec], sine[kVec], a[kVec], b[kVec], first[kVec], second[kVec];
  load_numbers(turn, cosine);
  load_numbers(turn + s.pairs, sine);
  const Index column = s.halves ? 2 * Index{j} - pair : 2 * Index{j};
  const Index apart = s.halves ? s.pairs : 1;
  load_pairs(x.data + replica * x.replica_stride + row * x.stride + column, apart, a, b);
#pragma unroll
  for (int k = 0; k < kVec; ++k) {
    first[k] = a[k] * cosine[k] - sign * sine[k] * b[k];
    second[k] = b[k] * cosine[k] + sign * sine[k] * a[k];
  }
  float* place = to.view.data + replica * to.view.replica_stride + row * to.view.stride + column;
  if (to.accumulate) {
    load_pairs(place, apart, a, b);
#pragma unroll
    for (int k = 0; k < kVec; ++k) {
      first[k] += a[k];
      second[k] += b[k];
    }
  }
  store_pairs(first, second, apart, place);
}

/// parts[R, chunks, pairs]: Σ t (dy_1 y_0 - dy_0 y_1) over a chunk's rows and their heads, where
/// (y_0, y_1) is the turned pair: each lane its own rows, then the lanes in order. blockIdx is
/// (chunk, 32 pairs, replica).
__global__ void __launch_bounds__(kPairs* kLanes)
    sum_turned(RotaryRows s, Turns turns, Batched<float> x, Batched<float> dy, float* parts) {
  after_previous();
  __shared__ float lanes[kLanes][kPairs];
  const int lane = threadIdx.y;
  const Index pair = blockIdx.y * Index{kPairs} + threadIdx.x, replica = blockIdx.z;
  const Index first = blockIdx.x * kChunkRows, last = min(first + kChunkRows, x.rows);
  const Index step = 2 * s.pairs, apart = s.halves ? s.pairs : 1;
  float sum = 0;
  for (Index row = first + lane; pair < s.pairs && row < last; row += kLanes) {
    const Index t = position_of(s, replica, row, x.rows);
    const float* turn = turns.at(replica, t, s.pairs) + pair;
    const float cosine = turn[0], sine = turn[s.pairs];
    const Index column = s.halves ? pair : 2 * pair;
    const float* from = x.data + replica * x.replica_stride + row * x.stride + column;
    const float* d = dy.data + replica * dy.replica_stride + row * dy.stride + column;
    float in_row = 0;
    for (Index head = 0; head < s.heads; ++head, from += step, d += step) {
      const float a = from[0], b = from[apart];
      in_row += d[apart] * (a * cosine - b * sine) - d[0] * (b * cosine + a * sine);
    }
    sum += static_cast<float>(t) * in_row;
  }
  lanes[lane][threadIdx.x] = sum;
  __syncthreads();
  if (lane != 0 || pair >= s.pairs) return;
#pragma unroll
  for (int k = 1; k < kLanes; ++k)
    sum += lanes[k][threadIdx.x];
  parts[(replica * gridDim.x + blockIdx.x) * s.pairs + pair] = sum;
}

/// `scratch` moves on beyond the table.
Turns make_turns(const CudaCall& call, const RotaryCuda& rotary, Index replicas, float*& scratch) {
  const Index count = rotary.rows.positions * rotary.rows.pairs;
  const bool given = rotary.frequencies.data != nullptr;
  const Turns turns{scratch, given ? 2 * count : 0};
  const dim3 blocks(static_cast<unsigned>((count + kThreads - 1) / kThreads),
                    static_cast<unsigned>(given ? replicas : 1));
  cuda_launch("rotary_turns", fill_turns, {blocks, kThreads, 0, call.stream}, rotary, count, turns);
  scratch += 2 * count * replicas;
  return turns;
}

void turn(const CudaCall& call, const RotaryRows& s, const Turns& turns, float sign,
          const Batched<float>& x, const Gradient<float>& to) {
  const Index at_once = s.halves ? 4 : 2;
  const bool quads = s.pairs % at_once == 0 && in_quads(x) && in_quads(to.view);
  const Index per_row = s.heads * s.pairs / (quads ? at_once : 1), count = x.rows * per_row;
  check(count < Index{1} << 31, "rotary", "more pairs than a GPU kernel counts");
  const auto kernel = !quads ? turn_pairs<1> : s.halves ? turn_pairs<4> : turn_pairs<2>;
  const dim3 blocks(static_cast<unsigned>((count + kThreads - 1) / kThreads),
                    static_cast<unsigned>(x.replicas));
  cuda_launch("rotary", kernel, {blocks, kThreads, 0, call.stream}, s,
              static_cast<std::uint32_t>(per_row), static_cast<std::uint32_t>(count), turns, sign,
              x, to);
}

}  // namespace

Index rotary_cuda_scratch(Index replicas, Index positions, Index rows, Index pairs) {
  return replicas * (2 * positions + chunks_of(rows)) * pairs;
}

void rotary_forward_cuda(const CudaCall& call, const RotaryCuda& rotary, const Batched<float>& x,
                         const Batched<float>& y, float* scratch) {
  const Turns turns = make_turns(call, rotary, x.replicas, scratch);
  turn(call, rotary.rows, turns, 1, x, {y, true, false});
}

void rotary_backward_cuda(const CudaCall& call, const RotaryCuda& rotary, const Batched<float>& x,
                          const Batched<float>& dy, const Gradient<float>& dx,
                          const Gradient<float>& dfrequencies, float* scratch) {
  const RotaryRows& s = rotary.rows;
  const Turns turns = make_turns(call, rotary, dy.replicas, scratch);
  if (dx.wanted) turn(call, s, turns, -1, dy, dx);
  if (!dfrequencies.wanted) return;
  const dim3 blocks(static_cast<unsigned>(chunks_of(x.rows)),
                    static_cast<unsigned>((s.pairs + kPairs - 1) / kPairs),
                    static_cast<unsigned>(x.replicas));
  cuda_launch("rotary_frequencies", sum_turned, {blocks, dim3(kPairs, kLanes), 0, call.stream}, s,
              turns, x, dy, scratch);
  sum_partials_cuda(call, x.replicas, {scratch, chunks_of(x.rows), s.pairs, 0, dfrequencies, {}});
}

}  // namespace recallbench
