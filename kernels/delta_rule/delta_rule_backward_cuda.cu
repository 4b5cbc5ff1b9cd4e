// Floor: reads q, k, v, dy and the kept states, writes four gradients: 0.3 GB at B = 256, L = 256,
// dk = dv = 128, 0.07 ms; a token needs about 2 (8 dk dv + 32 (5 dk + 4 dv)) FLOPs a head, 22
// GFLOP, 0.4 ms in float32. On tensor cores shared memory bounds it: a chunk of dk = dv = 64 reads
// it about 6500 times (a warp, 32 numbers), the same in a block of fewer columns. Chunks go from
// the last to the first with the gradient of the state in shared memory; products that share a
// factor are taken together, and what the next chunk needs is copied as soon as its place is free.
// What sums over all values (dq, dk, dβ, dg) is a share of each block of columns; a second kernel
// adds the shares where there are several.
#include "kernels/cuda/column_shares.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/delta_rule/solve.cuh"

namespace recallbench {
namespace {

struct Shares {
  ColumnShare q, k, beta, log_decay;
};

template <int Cols>
struct Memory : DeltaMemory<Cols> {
  static constexpr int kSystems = Cols / 8;  // warps that solve

  float* changes;         // X, then P = dA ⊙ A + dN ⊙ N [32, 32]
  float *dy, *dvalues;    // [32, Cols]; the latter begins as dU
  float* dstate;          // G [dk, Cols]
  float *early, *late;    // [dk / 8, 32]: <q, dq> + <k, dk> through S, <k, dk> through G
  float* strengths;       // [kSystems, 32]: shares of <E, W>
  float *states, *tiles;  // [warps]: shares of e^(Γ_C) <S, G>; [32]: dg of the tiles

  __device__ Memory(float* memory, const DeltaPlace& at) : DeltaMemory<Cols>(memory, at) {
    this->inverse = changes = this->take(kDeltaRows * kDeltaTileStride);
    dy = this->take(kDeltaRows * this->kStride);
    dvalues = this->take(kDeltaRows * this->kStride);
    dstate = this->take(at.padded * this->kStride);
    early = this->take(at.padded / 8 * kDeltaRows);
    late = this->take(at.padded / 8 * kDeltaRows);
    strengths = this->take(kSystems * kDeltaRows);
    states = this->take(kDeltaWarps);
    tiles = this->take(kDeltaRows);
  }
  static int numbers(Index keys) {
    const int stride = DeltaMemory<Cols>::kStride, padded = static_cast<int>(keys + 15) / 16 * 16;
    return DeltaMemory<Cols>::numbers(keys) +
           kDeltaRows * (kDeltaTileStride + 2 * stride + padded / 4 + kSystems + 1) +
           padded * stride + kDeltaWarps;
  }
};

/// E before its triangular system, e = V - e^Γ K S, and dU = Aᵀ dY + e^(Γ_C - Γ) K G.
template <Product P, int Cols>
__device__ void before_solving(const DeltaPlace& at, const Memory<Cols>& m) {
  constexpr int kFragments = Cols / 32;
  const int row = delta_warp_row(), column = delta_warp_column(Cols / 4), stride = at.key_stride;
  float c[kFragments][4], d[kFragments][4];
  clear(c);
  clear(d);
  delta_twin_right<P>(c, m.state + column, d, m.dstate + column, m.kStride, m.k + row * stride,
                      stride, at.padded);
  delta_fragments<kFragments>(row, column, [&](int n, int e, int i, int j) {
    m.updates[i * m.kStride + j] -= m.since[i] * c[n][e];
    d[n][e] *= m.until[i];
  });
  columns_product<P>(d, m.scores + row * (kDeltaTileStride + 1), kDeltaTileStride,
                     m.dy + row * m.kStride + column, m.kStride, kDeltaRows - row);
  delta_fragments<kFragments>(
      row, column, [&](int n, int e, int i, int j) { m.dvalues[i * m.kStride + j] = d[n][e]; });
}

/// E and, from the last row to the first, W = dU + Nᵀ dV, dV = β W: eight columns a warp. `updates`
/// becomes U, `dvalues` dV; <E, W> of a row is what dβ sums.
template <Product P, int Cols>
__device__ void solve_both_ways(const Memory<Cols>& m) {
  const int column = 8 * delta_warp();
  if (column >= Cols) return;
  using Side = DeltaSide<Cols>;
  const float *first = m.inverse, *second = m.inverse + kDeltaSecondBlock;
  const float* between = m.overlaps + kDeltaHalf * kDeltaTileStride;
  Side e0(m, m.updates, 0, column), e1(m, m.updates, kDeltaHalf, column);
  Side w0(m, m.dvalues, 0, column), w1(m, m.dvalues, kDeltaHalf, column);
  e0.put_scaled();
  w1.put_scaled();
  __syncwarp();
  e0.template add<P>(first, e0);
  w1.template add_transposed<P>(second, w1);
  __syncwarp();
  e0.put_scaled();
  w1.put_scaled();
  __syncwarp();
  e1.template add<P>(between, e0);
  w0.template add_transposed<P>(between, w1);
  e1.put_scaled();
  w0.put_scaled();
  __syncwarp();
  e1.template add<P>(second, e1);
  w0.template add_transposed<P>(first, w0);
  __syncwarp();
  e1.put_scaled();
  w0.put_scaled();
#pragma unroll
  for (int part = 0; part < 4; ++part) {
    const float *e = (part < 2 ? e0 : e1).c[0], *w = (part < 2 ? w0 : w1).c[0];
    const int x = part % 2 * 2;
    const float sum = warp_sum<4>(e[x] * w[x] + e[x + 1] * w[x + 1]);
    if (lane_column() == 0) m.strengths[delta_warp() * kDeltaRows + 8 * part + lane_row()] = sum;
  }
}

/// dv and dβ of the chunk; then d(Q Kᵀ) in place of A, d(K Kᵀ) + d(K Kᵀ)ᵀ in place of N, and P.
template <Product P, int Cols>
__device__ void tile_gradients(const DeltaRuleCuda& rule, const DeltaPlace& at,
                               const Memory<Cols>& m, int first, const Gradient<float>& dv,
                               const ColumnShare& dbeta) {
  if (dv.wanted)
    delta_store(m.dvalues, m.kStride,
                at.at(dv.view, first, at.head * rule.values + at.first_column), dv.view.stride,
                at.count(first), at.columns, dv.accumulate);
  if (const int i = static_cast<int>(threadIdx.x); dbeta.to.wanted && i < at.count(first)) {
    float sum = 0;
#pragma unroll
    for (int part = 0; part < m.kSystems; ++part)
      sum += m.strengths[part * kDeltaRows + i];
    dbeta.write(at.at(dbeta.to.view, first + i, at.head), at.tile, rule.beta_scale * sum);
  }
  const int row = delta_warp_row(), column = delta_warp_column(8);
  if (column >= row + 16) {
    delta_fragments<1>(row, column, [&](int, int, int i, int j) {
      m.scores[i * kDeltaTileStride + j] = m.changes[i * kDeltaTileStride + j] = 0;
    });
    return;
  }
  float scores[1][4], overlaps[1][4];
  clear(scores);
  clear(overlaps);
  delta_twin_rows<P, P>(scores, m.dy + row * m.kStride, overlaps, m.dvalues + row * m.kStride,
                        m.kStride, m.updates + column * m.kStride, m.kStride, Cols);
  delta_fragments<1>(row, column, [&](int, int e, int i, int j) {
    const int place = i * kDeltaTileStride + j;
    const float decay = j <= i ? m.decay(i, j) : 0.0f;
    m.changes[place] =
        j < i ? scores[0][e] * m.scores[place] + overlaps[0][e] * m.overlaps[place] : 0.0f;
    m.scores[place] = j <= i ? rule.scale * decay * scores[0][e] : 0.0f;
    if (j <= i)
      m.overlaps[place] = m.overlaps[j * kDeltaTileStride + i] =
          j < i ? -decay * overlaps[0][e] : 0.0f;
  });
}

/// Shares of dg: e^(Γ_C) <S, G>, and what goes from a token j < t to an i >= t of the chunk: Σ over
/// j < t of a sum over i >= t of P[i][j]. Ends with P spent.
template <int Cols>
__device__ void decay_shares(const DeltaPlace& at, const Memory<Cols>& m) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < at.padded * (Cols / 4); i += kDeltaThreads) {
    const int place = i / (Cols / 4) * m.kStride + i % (Cols / 4) * 4;
    const float4 s = *reinterpret_cast<const float4*>(m.state + place);
    const float4 g = *reinterpret_cast<const float4*>(m.dstate + place);
    sum += s.x * g.x + s.y * g.y + s.z * g.z + s.w * g.w;
  }
  sum = warp_sum(sum);
  if (lane == 0) m.states[delta_warp()] = m.whole() * sum;
  if (delta_warp() != kDeltaWarps - 1) return;
  float column[kDeltaRows];
#pragma unroll
  for (int t = 0; t < kDeltaRows; ++t)
    column[t] = m.changes[t * kDeltaTileStride + lane];
#pragma unroll
  for (int t = kDeltaRows - 2; t >= 0; --t)
    column[t] += column[t + 1];
#pragma unroll
  for (int t = 0; t < kDeltaRows; ++t)
    m.changes[t * kDeltaTileStride + lane] = lane < t ? column[t] : 0.0f;
  __syncwarp();
  float tile = 0;
#pragma unroll
  for (int j = 0; j < kDeltaRows; j += 4) {
    const float4 x = *reinterpret_cast<const float4*>(m.changes + lane * kDeltaTileStride + j);
    tile += x.x + x.y + x.z + x.w;
  }
  m.tiles[lane] = tile;
}

/// c[n][e] ← scale factor_i c[n][e]; its products with rows of `with`, summed over the columns of
/// the fragments, are added to dots: of the lane's rows g and g + 8.
template <int N>
__device__ void scale_and_dot(float (&c)[N][4], int row, int column, float scale,
                              const float* factors, const float* with, int stride,
                              float (&dots)[2]) {
  delta_fragments<N>(row, column, [&](int n, int e, int i, int j) {
    c[n][e] *= scale * factors[i];
    dots[e / 2] += c[n][e] * with[i * stride + j];
  });
}

/// dq and dk of the chunk, and what their parts through S and G add to dg: 8 N keys of 16 tokens
/// at a time.
template <Product P, int N, int Cols>
__device__ void row_gradients(const DeltaRuleCuda& rule, const DeltaPlace& at,
                              const Memory<Cols>& m, int first, const Shares& out) {
  constexpr int kTile = kDeltaTileStride;
  const int stride = at.key_stride;
  for (int job = delta_warp(); job < at.padded / (4 * N); job += kDeltaWarps) {
    const int row = job % 2 * 16, column = job / 2 * 8 * N, rows = row * m.kStride;
    const float *state = m.state + column * m.kStride, *dstate = m.dstate + column * m.kStride;
    const float *q = m.q + column, *k = m.k + column;
    float c[N][4], d[N][4], f[N][4], early[2] = {}, late[2] = {};
    clear(c);
    clear(d);
    clear(f);
    delta_twin_rows<P, P>(c, m.dy + rows, d, m.dvalues + rows, m.kStride, state, m.kStride, Cols);
    scale_and_dot(c, row, column, rule.scale, m.since, m.q, stride, early);
    scale_and_dot(d, row, column, -1, m.since, m.k, stride, early);
    rows_product<P>(f, m.updates + rows, m.kStride, dstate, m.kStride, Cols);
    scale_and_dot(f, row, column, 1, m.until, m.k, stride, late);
    delta_fragments<N>(0, 0, [&](int n, int e, int, int) { d[n][e] += f[n][e]; });
    delta_twin_left<P>(c, m.scores + row * kTile, d, m.overlaps + row * kTile, kTile, k, stride,
                       kDeltaRows);
    columns_product<P>(d, m.scores + row * (kTile + 1), kTile, q + row * stride, stride,
                       kDeltaRows - row);
    const auto write = [&](const ColumnShare& to, const float(&x)[N][4]) {
      if (to.to.wanted)
        delta_write(x,
                    at.at(to.to.view, first, Index{at.head} * at.keys) + at.tile * to.tile_stride,
                    to.to.view.stride, row, column, at.count(first), at.keys, to.to.accumulate);
    };
    write(out.q, c);
    write(out.k, d);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int i = job / 2 * kDeltaRows + row + half * 8 + lane_row();
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
  float early = 0, late = 0, states = 0;
  for (int group = 0; group < at.padded / (at.few_keys() ? 8 : 16); ++group) {
    early += m.early[group * kDeltaRows + t];
    late += m.late[group * kDeltaRows + t];
  }
#pragma unroll
  for (int warp = 0; warp < kDeltaWarps; ++warp)
    states += m.states[warp];
  late = __shfl_sync(0xffffffffu, late, (t - 1) & 31);
  if (t == 0) late = 0;
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const float after = __shfl_sync(0xffffffffu, early, (t + offset) & 31);
    const float before = __shfl_sync(0xffffffffu, late, (t - offset) & 31);
    if (t + offset < 32) early += after;
    if (t >= offset) late += before;
  }
  if (t < at.count(first))
    to.write(at.at(to.to.view, first + t, at.head), at.tile, m.tiles[t] + states + early + late);
}

/// G ← e^(Γ_C) G + (scale e^Γ Q)ᵀ dY - (e^Γ K)ᵀ dV: 16 keys and 8 N columns at a time.
template <Product P, int N, int Cols>
__device__ void next_dstate(const DeltaPlace& at, const Memory<Cols>& m, float scale) {
  constexpr int kParts = Cols / (8 * N);
  const float whole = m.whole();
  for (int job = delta_warp(); job < at.padded / 16 * kParts; job += kDeltaWarps) {
    const int key = job / kParts * 16, column = job % kParts * 8 * N;
    float c[N][4];
    clear(c);
    delta_scaled_columns<P>(c, m.q + key, at.key_stride, scale, m.since, m.dy + column, m.kStride,
                            kDeltaRows);
    delta_scaled_columns<P>(c, m.k + key, at.key_stride, -1, m.since, m.dvalues + column, m.kStride,
                            kDeltaRows);
    delta_fragments<N>(key, column, [&](int n, int e, int i, int j) {
      float& place = m.dstate[i * m.kStride + j];
      place = whole * place + c[n][e];
    });
  }
}

/// Starts to copy V and the state before the chunk from token `first`: zeros before the first.
template <int Cols>
__device__ void copy_early(const DeltaRuleCuda& rule, const DeltaPlace& at, const Memory<Cols>& m,
                           int first) {
  delta_copy_values<Cols>(rule, at, m.updates, rule.v, first);
  const float* kept = first == 0 ? nullptr : at.kept(rule, first / kDeltaRows - 1);
  delta_copy(m.state, m.kStride, at.padded, Cols, kept, rule.values, first == 0 ? 0 : at.keys,
             at.columns);
}

template <Product P, Product Exact, int Cols>
__global__ void __launch_bounds__(kDeltaThreads, Cols == 32 ? 3 : 2)
    delta_backward(DeltaRuleCuda rule, Index tiles, Batched<float> dy, Gradient<float> dv,
                   Shares out) {
  extern __shared__ float4 memory[];
  const DeltaPlace at(rule, tiles, Cols);
  const Memory<Cols> m(reinterpret_cast<float*>(memory), at);
  const int last = (at.length - 1) / kDeltaRows * kDeltaRows;
  copy_early(rule, at, m, last);
  DeltaScalars scalars(rule, at, last);
  for (int i = static_cast<int>(threadIdx.x); i < at.padded * m.kStride; i += kDeltaThreads)
    m.dstate[i] = 0;
  for (int first = last; first >= 0; first -= kDeltaRows) {
    delta_copy_keys(at, m.q, rule.q, first);
    delta_copy_keys(at, m.k, rule.k, first);
    delta_copy_values<Cols>(rule, at, m.dy, dy, first);
    copies_end_group();
    scalars.spread(m);
    copies_wait<0>();
    __syncthreads();
    delta_tiles_of_chunk<P, Exact>(at, m, rule.scale);
    __syncthreads();
    if (delta_warp() == 0) delta_invert(m);
    before_solving<P>(at, m);
    __syncthreads();
    solve_both_ways<Exact>(m);
    __syncthreads();
    tile_gradients<P>(rule, at, m, first, dv, out.beta);
    __syncthreads();
    if (out.log_decay.to.wanted) decay_shares(at, m);
    if (at.few_keys())
      row_gradients<P, 1>(rule, at, m, first, out);
    else
      row_gradients<P, 2>(rule, at, m, first, out);
    __syncthreads();
    if (first > 0) {
      copy_early(rule, at, m, first - kDeltaRows);
      scalars = DeltaScalars(rule, at, first - kDeltaRows);
    }
    if (out.log_decay.to.wanted && delta_warp() == 0) write_decays(at, m, first, out.log_decay);
    if (first == 0) break;
    if (at.few_keys())
      next_dstate<P, Cols / 32>(at, m, rule.scale);
    else
      next_dstate<P, Cols / 16>(at, m, rule.scale);
    __syncthreads();
  }
}

template <Product P, int Cols>
void launch(const CudaCall& call, const DeltaRuleCuda& rule, const Batched<float>& dy,
            const Gradient<float>& dv, const Shares& out) {
  const auto kernel = delta_backward < P, P == Product::fp32 ? P : Product::split, Cols > ;
  const int bytes = Memory<Cols>::numbers(rule.keys) * static_cast<int>(sizeof(float));
  cuda_allow_shared(kernel, bytes, "delta_backward");
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
