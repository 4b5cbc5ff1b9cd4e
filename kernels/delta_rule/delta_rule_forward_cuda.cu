// Floor: reads q, k, v and writes y and the kept states once. A token needs about
// 2 (3 dk dv + 32 (2 dk + dv)) FLOPs a head: at B = 256, L = 256, dk = dv = 128 that is 8 GFLOP,
// 0.13 ms in float32, and 0.1 ms to write 117 MB of states and the rest. The state stays in shared
// memory from chunk to chunk; all but the inverses of blocks of 16 tokens is products of warps, on
// tensor cores where the precision allows, that read shared memory about 2600 times (a warp, 32
// numbers) a chunk of dk = dv = 64: that bounds it then. Blocks are small, three to a
// multiprocessor, so that one's systems hide behind another's products; those of 128 keys and 128
// columns have 16 warps instead and make N and A once for all columns, those of 32 keys and 32
// columns 4, each with work in every step, and four blocks to a multiprocessor.
#include "kernels/cuda/launch.cuh"
#include "kernels/delta_rule/solve.cuh"

namespace recallbench {
namespace {

/// With two places for keys and two for values where shapes are known: the next chunk's are copied
/// while this one is computed.
template <class Shape>
struct Memory : DeltaMemory<Shape> {
  static constexpr bool kTwoPlaces = Shape::kKeys > 0;

  float *next_k, *next_updates;

  __device__ Memory(float* memory, const DeltaPlace<Shape>& at) : DeltaMemory<Shape>(memory, at) {
    next_k = kTwoPlaces ? this->take(kDeltaRows * at.key_stride) : this->k;
    next_updates = kTwoPlaces ? this->take(kDeltaRows * Shape::kStride) : this->updates;
  }
  static int numbers(Index keys) {
    return DeltaMemory<Shape>::numbers(keys) +
           (kTwoPlaces ? kDeltaRows * (Shape::kKeys + 4 + Shape::kStride) : 0);
  }

  __device__ void copy_next(const DeltaRuleCuda& rule, const DeltaPlace<Shape>& at,
                            int first) const {
    delta_copy_keys(at, next_k, rule.k, first);
    delta_copy_values(rule, at, next_updates, rule.v, first);
  }
  __device__ void turn() {
    float *const k = this->k, *const updates = this->updates;
    this->k = next_k, this->updates = next_updates;
    next_k = k, next_updates = updates;
  }
};

/// S ← e^(Γ_C) S + (e^(Γ_C - Γ) K)ᵀ U; `kept`, unless null, gets it: 16 keys and 8 N
/// columns at a time.
template <Product P, int N, class Shape>
__device__ void next_state(const DeltaRuleCuda& rule, const DeltaPlace<Shape>& at,
                           const DeltaMemory<Shape>& m, float* kept) {
  constexpr int kParts = Shape::kCols / (8 * N);
  const float whole = m.whole();
  for (int job = delta_warp(); job < at.padded / 16 * kParts; job += Shape::kWarps) {
    const int key = job / kParts * 16, column = job % kParts * 8 * N;
    float c[N][4];
    clear(c);
    delta_scaled_columns<P>(c, m.k + key, at.key_stride, 1, m.until, m.updates + column, m.kStride,
                            kDeltaRows);
    delta_fragments<N>(key, column, [&](int n, int e, int i, int j) {
      float& place = m.state[i * m.kStride + j];
      place = c[n][e] += whole * place;
    });
    if (kept != nullptr) delta_write(c, kept, rule.values, key, column, at.keys, at.columns, false);
  }
}

template <Product P, Product Exact, class Shape>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kForwardBlocks)
    delta_forward(DeltaRuleCuda rule, Index tiles, Batched<float> y) {
  after_previous();
  extern __shared__ float4 memory[];
  constexpr int kFragments = Shape::kFragments;
  const DeltaPlace<Shape> at(rule, tiles);
  Memory<Shape> m(reinterpret_cast<float*>(memory), at);
  const int row = delta_warp_row<Shape>(), column = delta_warp_column<Shape>();
  const int stride = at.key_stride;
  delta_copy_keys(at, m.q, rule.q, 0);
  if (m.kTwoPlaces) m.copy_next(rule, at, 0);
  DeltaScalars scalars(rule, at, 0);
  for (int i = static_cast<int>(threadIdx.x); i < at.padded * m.kStride; i += Shape::kThreads)
    m.state[i] = 0;
  for (int first = 0; first < at.length; first += kDeltaRows) {
    const int next = first + kDeltaRows;
    m.turn();
    if (!m.kTwoPlaces) m.copy_next(rule, at, first);
    copies_end_group();
    scalars.spread(m);
    copies_wait<0>();
    __syncthreads();
    if (m.kTwoPlaces && next < at.length) m.copy_next(rule, at, next);
    delta_tiles_of_chunk<P, Exact>(at, m, rule.scale);
    __syncthreads();
    if (delta_warp() == 0) delta_invert(m);
    float e[kFragments][4], read[kFragments][4];
    clear(e);
    clear(read);
    if (first > 0) {
      delta_twin_left<P>(e, m.k + row * stride, read, m.q + row * stride, stride, m.state + column,
                         m.kStride, at.padded);
      delta_fragments<kFragments>(row, column, [&](int n, int k, int i, int j) {
        m.updates[i * m.kStride + j] -= m.since[i] * e[n][k];
        read[n][k] *= rule.scale * m.since[i];
      });
    }
    __syncthreads();
    if (next < at.length) {
      delta_copy_keys(at, m.q, rule.q, next);
      scalars = DeltaScalars(rule, at, next);
    }
    delta_solve<Exact>(m);
    __syncthreads();
    delta_product<P>(read, m.scores + row * kDeltaTileStride, kDeltaTileStride, m.updates + column,
                     m.kStride, row + kDeltaHalf);
    delta_write(read, at.at(y, first, at.head * rule.values + at.first_column), y.stride, row,
                column, at.count(first), at.columns, false);
    if (next >= at.length) break;
    float* kept = rule.states.data == nullptr ? nullptr : at.kept(rule, first / kDeltaRows);
    if (at.few_keys())
      next_state<P, Shape::kCols / 32>(rule, at, m, kept);
    else
      next_state<P, Shape::kCols / 16>(rule, at, m, kept);
    __syncthreads();
  }
}

template <Product P>
void launch(const CudaCall& call, const DeltaRuleCuda& rule, const Batched<float>& y) {
  delta_with_shape(rule, [&](auto shape) {
    using Shape = decltype(shape);
    const auto kernel = delta_forward < P, P == Product::fp32 ? P : Product::split, Shape > ;
    const std::size_t bytes = Memory<Shape>::numbers(rule.keys) * sizeof(float);
    cuda_allow_shared(kernel, bytes, "delta_forward");
    cuda_prefer_shared(kernel);
    const Index tiles = delta_tiles(rule), blocks = y.replicas * rule.examples * rule.heads * tiles;
    cuda_launch("delta_forward", kernel,
                {static_cast<unsigned>(blocks), Shape::kThreads, bytes, call.stream}, rule, tiles,
                y);
  });
}

}  // namespace

void delta_rule_forward_cuda(const CudaCall& call, const DeltaRuleCuda& rule,
                             const Batched<float>& y) {
  check(rule.keys <= kDeltaMostKeys, "delta_rule", "heads of more than 256 keys on a GPU");
  switch (product_of(call.precision)) {
    case Product::tf32:
      return launch<Product::tf32>(call, rule, y);
    case Product::bf16:
      return launch<Product::bf16>(call, rule, y);
    default:
      return launch<Product::fp32>(call, rule, y);
  }
}

}  // namespace recallbench
