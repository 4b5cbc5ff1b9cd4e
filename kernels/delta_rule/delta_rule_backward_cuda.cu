// Floor: reads q, k, v, dy and the kept states, writes four gradients: 0.3 GB at B = 256, L = 256,
// dk = dv = 128, 0.07 ms; a token needs about 2 (8 dk dv + 32 (5 dk + 4 dv)) FLOPs a head, 22
// GFLOP, 0.4 ms in float32. Chunks go from the last to the first with the gradient of the state in
// shared memory. What sums over all values (dq, dk, dβ, dg) is a share of each block of columns; a
// second kernel adds the shares where there are several.
#include "kernels/cuda/column_shares.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/delta_rule/chunk.cuh"

namespace recallbench {
namespace {

constexpr int kKeyColumns = 32;  // of dq and dk that a warp computes at a time
constexpr int kMostGroups = static_cast<int>(kDeltaMostKeys) / kKeyColumns;

struct Shares {
  ColumnShare q, k, beta, log_decay;
};

__device__ void write(const ColumnShare& to, const DeltaPlace& at, int token, Index column,
                      float value) {
  to.write(at.at(to.to.view, token, column), at.tile, value);
}

template <int Cols>
struct Memory : DeltaMemory<Cols> {
  float* changes;         // P = dA ⊙ A + dN ⊙ N [32, 32]
  float *dy, *dvalues;    // [32, Cols]; the latter begins as dU
  float* dstate;          // G [dk, Cols]
  float *early, *late;    // [groups, 32]: <q, dq> + <k, dk> through S, <k, dk> through G
  float *states, *tiles;  // [warps]: shares of e^(Γ_C) <S, G>; [32]: dg of the tiles

  __device__ Memory(float* memory, const DeltaPlace& at) : DeltaMemory<Cols>(memory, at) {
    changes = this->take(kDeltaRows * kDeltaTileStride);
    dy = this->take(kDeltaRows * this->kStride);
    dvalues = this->take(kDeltaRows * this->kStride);
    dstate = this->take(at.padded * this->kStride);
    early = this->take(kMostGroups * kDeltaRows);
    late = this->take(kMostGroups * kDeltaRows);
    states = this->take(kDeltaWarps);
    tiles = this->take(kDeltaRows);
  }
  static int numbers(Index keys) {
    const int stride = DeltaMemory<Cols>::kStride, padded = static_cast<int>(keys + 15) / 16 * 16;
    return DeltaMemory<Cols>::numbers(keys) +
           kDeltaRows * (kDeltaTileStride + 2 * stride + 2 * kMostGroups + 1) + padded * stride +
           kDeltaWarps;
  }
};

/// E before its triangular system (S is nothing before the first chunk) and
/// dU = Aᵀ dY + e^(Γ_C - Γ) K G (G is nothing after the last). Calls __syncthreads between.
template <Product P, Product Exact, int Cols>
__device__ void before_solving(const DeltaRuleCuda& rule, const DeltaPlace& at,
                               const Memory<Cols>& m, bool first, bool last) {
  constexpr int kFragments = Cols / 32;
  const int row = delta_warp_row(), column = delta_warp_column(Cols / 4), stride = at.key_stride;
  delta_tiles_of_chunk<P, Exact>(at, m, rule.scale);
  float c[kFragments][4];
  if (!first) {
    clear(c);
    delta_product<P>(c, m.k + row * stride, stride, m.state + column, m.kStride, at.padded);
    delta_fragments<kFragments>(row, column, [&](int n, int e, int i, int j) {
      m.errors[i * m.kStride + j] -= m.since[i] * c[n][e];
    });
  }
  clear(c);
  if (!last) {
    delta_product<P>(c, m.k + row * stride, stride, m.dstate + column, m.kStride, at.padded);
    delta_fragments<kFragments>(row, column,
                                [&](int n, int e, int i, int) { c[n][e] *= m.until[i]; });
  }
  __syncthreads();
  columns_product<P>(c, m.scores + row, kDeltaTileStride, m.dy + column, m.kStride, kDeltaRows);
  delta_fragments<kFragments>(
      row, column, [&](int n, int e, int i, int j) { m.dvalues[i * m.kStride + j] = c[n][e]; });
}

/// One column of U, then from the last row to the first W = dU + Nᵀ dV, dV = β W. `errors` becomes
/// E ⊙ W, which dβ is the sum of.
template <int Cols>
__device__ void solve_both_ways(const Memory<Cols>& m, int column) {
  delta_solve(m, column, [&](int j, float e, float u) {
    m.errors[j * m.kStride + column] = e;
    m.updates[j * m.kStride + column] = u;
  });
  float w[kDeltaRows];
#pragma unroll
  for (int i = 0; i < kDeltaRows; ++i)
    w[i] = m.dvalues[i * m.kStride + column];
#pragma unroll
  for (int i = kDeltaRows - 1; i >= 0; --i) {
    const float dv = m.beta[i] * w[i];
    m.errors[i * m.kStride + column] *= w[i];
    m.dvalues[i * m.kStride + column] = dv;
#pragma unroll
    for (int j = 0; j < i; ++j)
      w[j] += m.overlaps[i * kDeltaTileStride + j] * dv;
  }
}

/// dv and dβ of the chunk; then d(Q Kᵀ) in place of A, d(K Kᵀ) in place of N, and P.
template <Product P, int Cols>
__device__ void tile_gradients(const DeltaRuleCuda& rule, const DeltaPlace& at,
                               const Memory<Cols>& m, int first, const Gradient<float>& dv,
                               const ColumnShare& dbeta) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = warp; i < at.count(first); i += kDeltaWarps) {
    float sum = 0;
    float* to =
        dv.wanted ? at.at(dv.view, first + i, at.head * rule.values + at.first_column) : nullptr;
    for (int j = lane; j < Cols; j += 32) {
      sum += m.errors[i * m.kStride + j];
      if (dv.wanted && j < at.columns) {
        const float value = m.dvalues[i * m.kStride + j];
        to[j] = dv.accumulate ? to[j] + value : value;
      }
    }
    sum = warp_sum(sum);
    if (dbeta.to.wanted && lane == 0) write(dbeta, at, first + i, at.head, rule.beta_scale * sum);
  }
  const int row = delta_warp_row(), column = delta_warp_column(8);
  float scores[1][4], overlaps[1][4];
  clear(scores);
  clear(overlaps);
  if (column < row + 16) {
    const float* u = m.updates + column * m.kStride;
    rows_product<P, 1>(scores, m.dy + row * m.kStride, m.kStride, u, m.kStride, Cols);
    rows_product<P, 1>(overlaps, m.dvalues + row * m.kStride, m.kStride, u, m.kStride, Cols);
  }
  delta_fragments<1>(row, column, [&](int, int e, int i, int j) {
    const int place = i * kDeltaTileStride + j;
    const float decay = j <= i ? m.decay(i, j) : 0.0f;
    m.changes[place] =
        j < i ? scores[0][e] * m.scores[place] + overlaps[0][e] * m.overlaps[place] : 0.0f;
    m.scores[place] = j <= i ? rule.scale * decay * scores[0][e] : 0.0f;
    m.overlaps[place] = j < i ? -decay * overlaps[0][e] : 0.0f;
  });
}

/// Shares of dg: e^(Γ_C) <S, G>, and what goes from a token j < t to an i >= t of the chunk.
template <int Cols>
__device__ void decay_shares(const DeltaPlace& at, const Memory<Cols>& m) {
  float sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < at.padded * Cols; i += kDeltaThreads) {
    const int place = i / Cols * m.kStride + i % Cols;
    sum += m.state[place] * m.dstate[place];
  }
  sum = warp_sum(sum);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (lane == 0) m.states[threadIdx.x / 32] = m.whole() * sum;
  if (threadIdx.x >= 32) return;
  float column = 0;  // Σ over i >= t of P[i][lane]
  for (int t = kDeltaRows - 1; t >= 0; --t) {
    column += m.changes[t * kDeltaTileStride + lane];
    const float before = warp_sum(lane < t ? column : 0.0f);
    if (lane == 0) m.tiles[t] = before;
  }
}

/// c[n][e] ← factor_i c[n][e]; its products with rows of `with`, summed over the columns of the
/// fragments, are added to dots: of the lane's rows g and g + 8.
template <int N>
__device__ void scale_and_dot(float (&c)[N][4], int row, int column, float scale,
                              const float* factors, const float* with, int stride, int tiles,
                              float (&dots)[2]) {
  delta_fragments<N>(row, column, [&](int n, int e, int i, int j) {
    if (n >= tiles) return;
    c[n][e] *= scale * factors[i];
    dots[e / 2] += c[n][e] * with[i * stride + j];
  });
}

template <int N>
__device__ void write_rows(const float (&c)[N][4], const DeltaPlace& at, int row, int column,
                           int first, const ColumnShare& to) {
  if (!to.to.wanted) return;
  const int count = at.count(first);
  delta_fragments<N>(row, column, [&](int n, int e, int i, int j) {
    if (i < count && j < at.keys) write(to, at, first + i, Index{at.head} * at.keys + j, c[n][e]);
  });
}

/// dq and dk of the chunk, and what their parts through S and G add to dg.
template <Product P, int Cols>
__device__ void row_gradients(const DeltaRuleCuda& rule, const DeltaPlace& at,
                              const Memory<Cols>& m, int first, const Shares& out) {
  constexpr int N = kKeyColumns / 8;
  const int stride = at.key_stride, groups = (at.padded + kKeyColumns - 1) / kKeyColumns;
  for (int job = static_cast<int>(threadIdx.x) / 32; job < 2 * groups; job += kDeltaWarps) {
    const int row = job % 2 * 16, group = job / 2, column = group * kKeyColumns;
    const int tiles = min(N, (at.padded - column) / 8), rows = row * m.kStride;
    const int tile = row * kDeltaTileStride;
    const float *state = m.state + column * m.kStride, *dstate = m.dstate + column * m.kStride;
    float c[N][4], d[N][4], early[2] = {}, late[2] = {};
    clear(c);
    rows_product<P>(c, m.dy + rows, m.kStride, state, m.kStride, Cols, tiles);
    scale_and_dot(c, row, column, rule.scale, m.since, m.q, stride, tiles, early);
    delta_product<P>(c, m.scores + tile, kDeltaTileStride, m.k + column, stride, kDeltaRows, tiles);
    write_rows(c, at, row, column, first, out.q);
    clear(c);
    clear(d);
    rows_product<P>(c, m.dvalues + rows, m.kStride, state, m.kStride, Cols, tiles);
    scale_and_dot(c, row, column, -1, m.since, m.k, stride, tiles, early);
    rows_product<P>(d, m.updates + rows, m.kStride, dstate, m.kStride, Cols, tiles);
    scale_and_dot(d, row, column, 1, m.until, m.k, stride, tiles, late);
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        c[n][e] += d[n][e];
    delta_product<P>(c, m.overlaps + tile, kDeltaTileStride, m.k + column, stride, kDeltaRows,
                     tiles);
    columns_product<P>(c, m.overlaps + row, kDeltaTileStride, m.k + column, stride, kDeltaRows,
                       tiles);
    columns_product<P>(c, m.scores + row, kDeltaTileStride, m.q + column, stride, kDeltaRows,
                       tiles);
    write_rows(c, at, row, column, first, out.k);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int i = group * kDeltaRows + row + half * 8 + lane_row();
      early[half] = warp_sum<4>(early[half]);
      late[half] = warp_sum<4>(late[half]);
      if (lane_column() == 0) m.early[i] = early[half], m.late[i] = late[half];
    }
  }
}

/// dg of the chunk's tokens, by a warp. Token t decays what goes from S to an i >= t, from a j < t
/// to the next state, from state to state, and within the tiles. Nothing is subtracted.
template <int Cols>
__device__ void write_decays(const DeltaPlace& at, const Memory<Cols>& m, int first,
                             const ColumnShare& to) {
  const int t = static_cast<int>(threadIdx.x);
  float early = 0, late = 0, sum = 0;
  for (int group = 0; group < (at.padded + kKeyColumns - 1) / kKeyColumns; ++group) {
    early += m.early[group * kDeltaRows + t];
    late += m.late[group * kDeltaRows + t];
  }
  for (int warp = 0; warp < kDeltaWarps; ++warp)
    sum += m.states[warp];
  for (int i = 0; i < kDeltaRows; ++i) {
    const float before = __shfl_sync(0xffffffffu, late, i);
    const float after = __shfl_sync(0xffffffffu, early, i);
    sum += i < t ? before : after;
  }
  if (t < at.count(first)) write(to, at, first + t, at.head, m.tiles[t] + sum);
}

/// G ← e^(Γ_C) G + (scale e^Γ Q)ᵀ dY - (e^Γ K)ᵀ dV, of rows that are scaled already.
template <Product P, int Cols>
__device__ void next_dstate(const DeltaPlace& at, const Memory<Cols>& m) {
  constexpr int kFragments = Cols / 16;  // half the columns
  const float whole = m.whole();
  for (int job = static_cast<int>(threadIdx.x) / 32; job < at.padded / 8; job += kDeltaWarps) {
    const int key = job / 2 * 16, column = job % 2 * (Cols / 2);
    float c[kFragments][4];
    clear(c);
    columns_product<P>(c, m.q + key, at.key_stride, m.dy + column, m.kStride, kDeltaRows);
    columns_product<P>(c, m.k + key, at.key_stride, m.dvalues + column, m.kStride, kDeltaRows);
    delta_fragments<kFragments>(key, column, [&](int n, int e, int i, int j) {
      float& place = m.dstate[i * m.kStride + j];
      place = whole * place + c[n][e];
    });
  }
}

template <Product P, Product Exact, int Cols>
__global__ void __launch_bounds__(kDeltaThreads, 2)
    delta_backward(DeltaRuleCuda rule, Index tiles, Batched<float> dy, Gradient<float> dv,
                   Shares out) {
  extern __shared__ float4 memory[];
  const DeltaPlace at(rule, tiles, Cols);
  const Memory<Cols> m(reinterpret_cast<float*>(memory), at);
  const int mine = static_cast<int>(threadIdx.x);
  for (int i = mine; i < at.padded * m.kStride; i += kDeltaThreads)
    m.dstate[i] = 0;
  const int last = (at.length - 1) / kDeltaRows * kDeltaRows;
  for (int first = last; first >= 0; first -= kDeltaRows) {
    delta_load_chunk(rule, at, m, first);
    delta_copy(m.dy, m.kStride, kDeltaRows, Cols,
               at.at(dy, first, at.head * rule.values + at.first_column), dy.stride,
               at.count(first), at.columns);
    const float* kept = first == 0 ? nullptr : at.kept(rule, first / kDeltaRows - 1);
    delta_copy(m.state, m.kStride, at.padded, Cols, kept, rule.values, first == 0 ? 0 : at.keys,
               at.columns);
    copies_end_group();
    copies_wait<0>();
    __syncthreads();
    before_solving<P, Exact>(rule, at, m, first == 0, first == last);
    __syncthreads();
    if (mine < Cols) solve_both_ways(m, mine);
    __syncthreads();
    tile_gradients<P>(rule, at, m, first, dv, out.beta);
    __syncthreads();
    if (out.log_decay.to.wanted) decay_shares(at, m);
    row_gradients<P>(rule, at, m, first, out);
    __syncthreads();
    if (out.log_decay.to.wanted && mine < 32) write_decays(at, m, first, out.log_decay);
    if (first == 0) break;
    for (int i = mine; i < kDeltaRows * Cols; i += kDeltaThreads) {
      const int place = i / Cols * m.kStride + i % Cols;
      m.dy[place] *= rule.scale * m.since[i / Cols];
      m.dvalues[place] *= -m.since[i / Cols];
    }
    __syncthreads();
    next_dstate<P>(at, m);
    __syncthreads();
  }
}

template <Product P, int Cols>
void launch(const CudaCall& call, const DeltaRuleCuda& rule, const Batched<float>& dy,
            const Gradient<float>& dv, const Shares& out) {
  const auto kernel = delta_backward < P, P == Product::fp32 ? P : Product::split, Cols > ;
  const int bytes = Memory<Cols>::numbers(rule.keys) * static_cast<int>(sizeof(float));
  cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
             "cudaFuncSetAttribute");
  const Index tiles = delta_tiles(rule), blocks = dy.replicas * rule.examples * rule.heads * tiles;
  kernel<<<static_cast<unsigned>(blocks), kDeltaThreads, bytes, call.stream>>>(rule, tiles, dy, dv,
                                                                               out);
  cuda_check_launch("delta_backward");
}

template <Product P>
void launch(const CudaCall& call, const DeltaRuleCuda& rule, const Batched<float>& dy,
            const Gradient<float>& dv, const Shares& out) {
  delta_columns(rule) == 32 ? launch<P, 32>(call, rule, dy, dv, out)
                            : launch<P, 64>(call, rule, dy, dv, out);
}

}  // namespace

Index delta_rule_cuda_scratch(const DeltaRuleCuda& rule, Index replicas) {
  const Index tiles = delta_tiles(rule);
  if (tiles == 1) return 0;
  return replicas * tiles * rule.examples * rule.length * rule.heads * 2 * (rule.keys + 1);
}

void delta_rule_backward_cuda(const CudaCall& call, const DeltaRuleCuda& rule,
                              const Batched<float>& dy, const DeltaRuleCudaGradients& gradients,
                              float* scratch) {
  const Index tiles = delta_tiles(rule);
  const Shares out{column_share(gradients.q, tiles, scratch),
                   column_share(gradients.k, tiles, scratch),
                   column_share(gradients.beta, tiles, scratch),
                   column_share(gradients.log_decay, tiles, scratch)};
  switch (product_of(call.precision)) {
    case Product::tf32:
      launch<Product::tf32>(call, rule, dy, gradients.v, out);
      break;
    case Product::bf16:
      launch<Product::bf16>(call, rule, dy, gradients.v, out);
      break;
    default:
      launch<Product::fp32>(call, rule, dy, gradients.v, out);
  }
  add_column_shares(call, out.q, tiles, gradients.q);
  add_column_shares(call, out.k, tiles, gradients.k);
  add_column_shares(call, out.beta, tiles, gradients.beta);
  add_column_shares(call, out.log_decay, tiles, gradients.log_decay);
}

}  // namespace recallbench
