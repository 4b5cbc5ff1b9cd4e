// Floor: reads q, k, v, dy and the kept states, writes four gradients: 0.3 GB at B = 256, L = 256,
// dk = dv = 128, 0.07 ms; a token needs about 2 (8 dk dv + 32 (5 dk + 4 dv)) FLOPs a head, 22
// GFLOP, 0.4 ms in float32. On tensor cores shared memory bounds it: a chunk of dk = dv = 64 reads
// it about 6500 times (a warp, 32 numbers), one of 128 keys and 128 columns 20000 times, where two
// halves of 64 columns would take 26000 and write dq and dk twice: so long keys get blocks of 16
// warps that fill a multiprocessor, shorter ones blocks of 8, of which it holds two, or of 4, of
// which it holds four, where keys and columns are 32. Chunks go from the last to the first with the
// gradient of the state in shared memory; products that share a factor are taken together, and what
// the next chunk needs is copied as soon as its place is free. What sums over all values (dq, dk,
// dβ, dg) is a share of each block of columns; a second kernel adds the shares where there are
// several.
#include "kernels/cuda/column_shares.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/delta_rule/backward_memory.cuh"
#include "kernels/delta_rule/solve.cuh"

namespace recallbench {
namespace {

struct Shares {
  ColumnShare q, k, beta, log_decay;
};

/// E before its triangular system, e = V - e^Γ K S, and dU = Aᵀ dY + e^(Γ_C - Γ) K G.
template <Product P, class Shape>
__device__ void before_solving(const DeltaPlace<Shape>& at, const DeltaBackwardMemory<Shape>& m) {
  constexpr int kFragments = Shape::kFragments;
  const int row = delta_warp_row<Shape>(), column = delta_warp_column<Shape>();
  const int stride = at.key_stride;
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
template <Product P, class Shape>
__device__ void solve_both_ways(const DeltaBackwardMemory<Shape>& m) {
  const int column = 8 * delta_warp();
  if (column >= Shape::kCols) return;
  using Side = DeltaSide<Shape>;
  const float *first = m.first, *second = m.second;
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
    if (lane_column() == 0) m.strength(delta_warp(), 8 * part + lane_row()) = sum;
  }
}

/// dv and dβ of the chunk; then d(Q Kᵀ) in place of A, d(K Kᵀ) + d(K Kᵀ)ᵀ in place of N, and P.
template <Product P, class Shape>
__device__ void tile_gradients(const DeltaRuleCuda& rule, const DeltaPlace<Shape>& at,
                               const DeltaBackwardMemory<Shape>& m, int first,
                               const Gradient<float>& dv, const ColumnShare& dbeta) {
  // The last eight warps write, the first have the tiles.
  constexpr int kSpare = std::max(Shape::kWarps - 8, 0), kWriters = Shape::kThreads - 32 * kSpare;
  if (const int mine = static_cast<int>(threadIdx.x) - 32 * kSpare; mine >= 0) {
    if (dv.wanted)
      delta_store<kWriters>(mine, m.dvalues, m.kStride,
                            at.at(dv.view, first, at.head * rule.values + at.first_column),
                            dv.view.stride, at.count(first), at.columns, dv.accumulate);
    if (dbeta.to.wanted && mine < at.count(first)) {
      float sum = 0;
#pragma unroll
      for (int part = 0; part < m.kSystems; ++part)
        sum += m.strength(part, mine);
      dbeta.write(at.at(dbeta.to.view, first + mine, at.head), at.tile, rule.beta_scale * sum);
    }
  }
  if (delta_warp() >= 8) return;
  constexpr int kTiles = Shape::kTiles;
  const int row = delta_tile_row<Shape>(), column = delta_tile_column<Shape>();
  if (column >= row + 16) {
    delta_fragments<kTiles>(
        row, column, [&](int, int, int i, int j) { m.scores[i * kDeltaTileStride + j] = 0; });
    return;
  }
  float scores[kTiles][4], overlaps[kTiles][4];
  clear(scores);
  clear(overlaps);
  delta_twin_rows<P, P>(scores, m.dy + row * m.kStride, overlaps, m.dvalues + row * m.kStride,
                        m.kStride, m.updates + column * m.kStride, m.kStride, Shape::kCols);
  delta_fragments<kTiles>(row, column, [&](int f, int e, int i, int j) {
    const int place = i * kDeltaTileStride + j;
    const float decay = j <= i ? m.decay(i, j) : 0.0f;
    if (j < i)
      m.changes[i * (i - 1) / 2 + j] =
          scores[f][e] * m.scores[place] + overlaps[f][e] * m.overlaps[place];
    m.scores[place] = j <= i ? rule.scale * decay * scores[f][e] : 0.0f;
    if (j <= i)
      m.overlaps[place] = m.overlaps[j * kDeltaTileStride + i] =
          j < i ? -decay * overlaps[f][e] : 0.0f;
  });
}

/// Shares of dg: e^(Γ_C) <S, G>, and what goes from a token j < t to an i >= t of the chunk: Σ over
/// j < t of a sum over i >= t of P[i][j], a lane a j.
template <class Shape>
__device__ void decay_shares(const DeltaPlace<Shape>& at, const DeltaBackwardMemory<Shape>& m) {
  constexpr int kQuads = Shape::kCols / 4, kTokens = kDeltaRows / Shape::kWarps;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < at.padded * kQuads; i += Shape::kThreads) {
    const int place = i / kQuads * m.kStride + i % kQuads * 4;
    const float4 s = *reinterpret_cast<const float4*>(m.state + place);
    const float4 g = *reinterpret_cast<const float4*>(m.dstate + place);
    sum += s.x * g.x + s.y * g.y + s.z * g.z + s.w * g.w;
  }
  sum = warp_sum(sum);
  if (lane == 0) m.states[delta_warp()] = m.whole() * sum;
  const int first = delta_warp() * kTokens;
  float column = 0;
#pragma unroll 4
  for (int i = kDeltaRows - 1; i >= first + kTokens; --i)
    column += lane < i ? m.changes[i * (i - 1) / 2 + lane] : 0.0f;
#pragma unroll
  for (int t = first + kTokens - 1; t >= first; --t) {
    column = lane < t ? column + m.changes[t * (t - 1) / 2 + lane] : 0.0f;
    const float tile = warp_sum(column);
    if (lane == 0) m.tiles[t] = tile;
  }
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
template <Product P, int N, class Shape>
__device__ void row_gradients(const DeltaRuleCuda& rule, const DeltaPlace<Shape>& at,
                              const DeltaBackwardMemory<Shape>& m, int first, const Shares& out) {
  constexpr int kTile = kDeltaTileStride;
  const int stride = at.key_stride;
  for (int job = delta_warp(); job < at.padded / (4 * N); job += Shape::kWarps) {
    const int row = job % 2 * 16, column = job / 2 * 8 * N, rows = row * m.kStride;
    const float *state = m.state + column * m.kStride, *dstate = m.dstate + column * m.kStride;
    const float *q = m.q + column, *k = m.k + column;
    float c[N][4], d[N][4], f[N][4], early[2] = {}, late[2] = {};
    clear(c);
    clear(d);
    clear(f);
    delta_twin_rows<P, P>(c, m.dy + rows, d, m.dvalues + rows, m.kStride, state, m.kStride,
                          Shape::kCols);
    scale_and_dot(c, row, column, rule.scale, m.since, m.q, stride, early);
    scale_and_dot(d, row, column, -1, m.since, m.k, stride, early);
    rows_product<P>(f, m.updates + rows, m.kStride, dstate, m.kStride, Shape::kCols);
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
      const int group = job / 2, i = row + half * 8 + lane_row();
      early[half] = warp_sum<4>(early[half]);
      late[half] = warp_sum<4>(late[half]);
      if (lane_column() == 0) m.early(group, i) = early[half], m.late(group, i) = late[half];
    }
  }
}

/// dg of the chunk's tokens, by a warp. Token t decays what goes from S to an i >= t, from a j < t
/// to the next state, from state to state, and within the tiles. Nothing is subtracted.
template <class Shape>
__device__ void write_decays(const DeltaPlace<Shape>& at, const DeltaBackwardMemory<Shape>& m,
                             int first, const ColumnShare& to) {
  const int t = static_cast<int>(threadIdx.x);
  float early = 0, late = 0, states = 0;
  for (int group = 0; group < at.padded / (at.few_keys() ? 8 : 16); ++group) {
    early += m.early(group, t);
    late += m.late(group, t);
  }
#pragma unroll
  for (int warp = 0; warp < Shape::kWarps; ++warp)
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
template <Product P, int N, class Shape>
__device__ void next_dstate(const DeltaPlace<Shape>& at, const DeltaBackwardMemory<Shape>& m,
                            float scale) {
  constexpr int kParts = Shape::kCols / (8 * N);
  const float whole = m.whole();
  for (int job = delta_warp(); job < at.padded / 16 * kParts; job += Shape::kWarps) {
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

template <Product P, Product Exact, class Shape>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBackwardBlocks)
    delta_backward(DeltaRuleCuda rule, Index tiles, Batched<float> dy, Gradient<float> dv,
                   Shares out) {
  after_previous();
  extern __shared__ float4 memory[];
  const DeltaPlace<Shape> at(rule, tiles);
  const DeltaBackwardMemory<Shape> m(reinterpret_cast<float*>(memory), at);
  const int last = (at.length - 1) / kDeltaRows * kDeltaRows;
  delta_copy_early(rule, at, m, last);
  DeltaScalars scalars(rule, at, last);
  for (int i = static_cast<int>(threadIdx.x); i < at.padded * m.kStride; i += Shape::kThreads)
    m.dstate[i] = 0;
  for (int first = last; first >= 0; first -= kDeltaRows) {
    delta_copy_keys(at, m.q, rule.q, first);
    delta_copy_keys(at, m.k, rule.k, first);
    delta_copy_values(rule, at, m.dy, dy, first);
    copies_end_group();
    scalars.spread(m);
    copies_wait<0>();
    __syncthreads();
    if constexpr (Shape::kKeys > 0)
      if (first > 0) delta_prefetch_next(rule, at, dy, first - kDeltaRows);
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
      delta_copy_early(rule, at, m, first - kDeltaRows);
      scalars = DeltaScalars(rule, at, first - kDeltaRows);
    }
    if (out.log_decay.to.wanted && delta_warp() == 0) write_decays(at, m, first, out.log_decay);
    if (first == 0) break;
    if (at.few_keys())
      next_dstate<P, Shape::kCols / 32>(at, m, rule.scale);
    else
      next_dstate<P, Shape::kCols / 16>(at, m, rule.scale);
    __syncthreads();
  }
}

template <Product P>
void launch(const CudaCall& call, const DeltaRuleCuda& rule, const Batched<float>& dy,
            const Gradient<float>& dv, const Shares& out) {
  delta_with_shape(rule, [&](auto shape) {
    using Shape = decltype(shape);
    const auto kernel = delta_backward < P, P == Product::fp32 ? P : Product::split, Shape > ;
    const std::size_t bytes = DeltaBackwardMemory<Shape>::numbers(rule.keys) * sizeof(float);
    cuda_allow_shared(kernel, bytes, "delta_backward");
    cuda_prefer_shared(kernel);
    const Index tiles = delta_tiles(rule),
                blocks = dy.replicas * rule.examples * rule.heads * tiles;
    cuda_launch("delta_backward", kernel,
                {static_cast<unsigned>(blocks), Shape::kThreads, bytes, call.stream}, rule, tiles,
                dy, dv, out);
  });
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
