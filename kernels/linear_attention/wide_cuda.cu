// Linear attention of any sizes, in tiles of weights of 64 queries against 64 keys; features and
// values pass through shared memory 32 and 64 columns at a time. Sums over tiles that do not fit
// the registers are carried in the output itself, each number by one thread. Floor: 2 (f + dh)
// operations for each pair that sees each other forward, 2 (3 f + 2 dh) backward, at the rate of
// `precision`; here every tile's columns come from the second-level cache, so narrow heads have
// kernels of their own (narrow_forward_cuda.cu, narrow_backward_cuda.cu).
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/linear_attention/forms_cuda.h"
#include "kernels/linear_attention/item.cuh"

namespace recallbench {
namespace {

constexpr int kFeatures = 32, kValues = 64;  // columns of a tile
constexpr int kFeatureStride = kFeatures + 4, kValueStride = kValues + 4;
constexpr int kExactFeatures = 32;  // scores of at most so many features are taken as float32

using Tile = float[kTile / 8][4];  // a warp's 16 rows against kTile columns

/// products += a · b of 16 rows of `a` and kTile rows of `b`, of kFeatures columns each.
template <Precision P>
__device__ inline void add_scores(Tile& products, const float* a, const float* b, bool exact) {
  if (exact)
    rows_product<exact_product(P)>(products, a, kFeatureStride, b, kFeatureStride, kFeatures);
  else
    rows_product<product_of(P)>(products, a, kFeatureStride, b, kFeatureStride, kFeatures);
}

/// y of a block's kTile queries; a warp has 16 of them. y and the denominators grow tile by tile.
template <Precision P>
__global__ __launch_bounds__(kThreads) void wide_forward(LinearAttentionCuda c, int query_tiles) {
  after_previous();
  __shared__ __align__(16) float q[kTile * kFeatureStride];
  __shared__ __align__(16) float k[kTile * kFeatureStride];
  __shared__ __align__(16) float v[kTile * kValueStride];
  const ItemOnDevice it(c, blockIdx.x / query_tiles);
  const int first = static_cast<int>(blockIdx.x % query_tiles) * kTile;
  const int warp = threadIdx.x / 32, row = first + 16 * warp, g = lane_row(), t = lane_column();
  const Weight weight(c.plan);
  const int positions[2] = {it.position(row + g), it.position(row + g + 8)};
  const int keys = it.visible(first);
  float sums[2] = {0, 0};
  for (int key = 0; key < keys; key += kTile) {
    Tile w;
    clear(w);
    for (int f = 0; f < it.features; f += kFeatures) {
      const int cols = it.features - f;
      __syncthreads();
      load_tile<kFeatures>(q, kFeatureStride, it.query_row(c.tensors.q, it.features, first) + f,
                           c.tensors.q.stride, it.queries - first, cols);
      load_tile<kFeatures>(k, kFeatureStride, it.key_row(c.tensors.k, it.features, key) + f,
                           c.tensors.k.stride, it.length - key, cols);
      __syncthreads();
      add_scores<P>(w, q + 16 * warp * kFeatureStride, k, it.features <= kExactFeatures);
    }
#pragma unroll
    for (int n = 0; n < kTile / 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const bool sees = key + 8 * n + 2 * t + e % 2 <= positions[e / 2];
        w[n][e] = sees ? weight(w[n][e]) : 0.0f;
        sums[e / 2] += w[n][e];
      }
    const bool last = key + kTile >= keys;
    float inverse[2] = {1, 1};
    if (last) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float denominator = static_cast<float>(c.plan.options.eps) + warp_sum<4>(sums[e]);
        inverse[e] = 1 / denominator;
        const int i = row + g + 8 * e;
        if (t == 0 && i < it.queries) *it.query_row(c.tensors.denominators, 1, i) = denominator;
      }
    }
    for (int d = 0; d < it.values; d += kValues) {
      __syncthreads();
      load_tile<kValues>(v, kValueStride, it.key_row(c.tensors.v, it.values, key) + d,
                         c.tensors.v.stride, it.length - key, it.values - d);
      __syncthreads();
      float y[kValues / 8][4];
      clear(y);
#pragma unroll
      for (int s = 0; s < kTile / 16; ++s)
        fragment_product<product_of(P)>(y, w[2 * s], w[2 * s + 1], v + 16 * s * kValueStride,
                                        kValueStride);
      float* to = it.query_row(c.tensors.y, it.values, row) + d;
#pragma unroll
      for (int n = 0; n < kValues / 8; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int i = g + e / 2 * 8, j = 8 * n + 2 * t + e % 2;
          if (row + i >= it.queries || d + j >= it.values) continue;
          float* place = to + i * c.tensors.y.stride + j;
          *place = ((key > 0 ? *place : 0.0f) + y[n][e]) * inverse[e / 2];
        }
    }
  }
}

/// dots[r, row, head] = -<dy, y> / denominator: a warp each.
__global__ __launch_bounds__(kThreads) void output_dots(LinearAttentionCuda c, Batched<float> dy,
                                                        Index count, float* dots) {
  after_previous();
  const Index at = blockIdx.x * Index{kWarps} + threadIdx.x / 32;
  if (at >= count) return;
  const Index heads = c.plan.options.heads, rows = c.tensors.y.rows, h = at % heads;
  const Index r = at / heads / rows, row = at / heads % rows;
  const Batched<float>&y = c.tensors.y, &denominators = c.tensors.denominators;
  const float* a = dy.data + r * dy.replica_stride + row * dy.stride + h * c.plan.values;
  const float* b = y.data + r * y.replica_stride + row * y.stride + h * c.plan.values;
  float sum = 0;
  for (Index j = threadIdx.x % 32; j < c.plan.values; j += 32)
    sum += a[j] * b[j];
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0)
    dots[at] =
        -sum / denominators.data[r * denominators.replica_stride + row * denominators.stride + h];
}

struct WideBackward {
  LinearAttentionCuda c;
  LinearAttentionGradients<float> to;
  const float* dots;     ///< [R, B·n, H]
  Gradient<float> dq;    ///< dq, or the parts of its first slice
  std::uint32_t slices;  ///< KeySlices
  Index keys;
};

/// Shared memory of wide_backward.
struct WideTiles {
  float q[kTile * kFeatureStride], k[kTile * kFeatureStride];
  float n[kTile * kValueStride], v[kTile * kValueStride];
  float ds[kTile * (kTile + 4)];  // [key][query]
  float inverse[kTile], dots[kTile];
  int positions[kTile];
};

/// A block has one slice of one item's keys; a warp has 16 keys of a tile against kTile queries.
/// With n = dy / denominator and d = -<dy, y> / denominator: dw = n vᵀ + d on what is visible,
/// dv = wᵀ n, ds = dw · w'(s), dq = ds k, dk = dsᵀ q.
template <Precision P>
__global__ __launch_bounds__(kThreads) void wide_backward(WideBackward b) {
  after_previous();
  extern __shared__ __align__(16) unsigned char memory[];
  WideTiles& m = *reinterpret_cast<WideTiles*>(memory);
  constexpr int kQueryStride = kTile + 4;
  const LinearAttentionTensors<float>& in = b.c.tensors;
  const ItemOnDevice it(b.c, blockIdx.x / b.slices);
  const Weight weight(b.c.plan);
  const int slice = static_cast<int>(blockIdx.x % b.slices);
  const int slice_first = slice * static_cast<int>(b.keys);
  const int slice_end = min(slice_first + static_cast<int>(b.keys), it.length);
  const int warp = threadIdx.x / 32, g = lane_row(), t = lane_column();
  const bool exact = it.features <= kExactFeatures;
  const auto load_values = [&](int key, int query, int d) {
    load_tile<kValues>(m.v, kValueStride, it.key_row(in.v, it.values, key) + d, in.v.stride,
                       it.length - key, it.values - d);
    load_tile<kValues>(m.n, kValueStride, it.query_row(b.to.dy, it.values, query) + d,
                       b.to.dy.stride, it.queries - query, it.values - d,
                       [&](int i) { return m.inverse[i]; });
  };
  const auto load_features = [&](int key, int query, int f) {
    load_tile<kFeatures>(m.q, kFeatureStride, it.query_row(in.q, it.features, query) + f,
                         in.q.stride, it.queries - query, it.features - f);
    load_tile<kFeatures>(m.k, kFeatureStride, it.key_row(in.k, it.features, key) + f, in.k.stride,
                         it.length - key, it.features - f);
  };
  for (int key = slice_first; key < slice_end; key += kTile) {
    bool first = true;  // of the query tiles that see this one
    for (int query = 0; query < it.queries; query += kTile) {
      if (it.visible(query) <= key) continue;
      __syncthreads();
      if (threadIdx.x < kTile) {
        const int i = query + static_cast<int>(threadIdx.x);
        m.positions[threadIdx.x] = it.position(i);
        m.inverse[threadIdx.x] = i < it.queries ? 1 / *it.query_row(in.denominators, 1, i) : 0.0f;
        m.dots[threadIdx.x] =
            i < it.queries
                ? b.dots[((it.replica * in.y.rows + it.first_query + i) * b.c.plan.options.heads) +
                         it.head]
                : 0.0f;
      }
      Tile w, ds;
      clear(w);
      clear(ds);
      for (int f = 0; f < it.features; f += kFeatures) {
        __syncthreads();
        load_features(key, query, f);
        __syncthreads();
        add_scores<P>(w, m.k + 16 * warp * kFeatureStride, m.q, exact);
      }
      for (int d = 0; d < it.values; d += kValues) {
        __syncthreads();
        load_values(key, query, d);
        __syncthreads();
        rows_product<product_of(P)>(ds, m.v + 16 * warp * kValueStride, kValueStride, m.n,
                                    kValueStride, kValues);
      }
#pragma unroll
      for (int n = 0; n < kTile / 8; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int i = 8 * n + 2 * t + e % 2, j = 16 * warp + g + e / 2 * 8;
          const bool sees = key + j <= m.positions[i];
          ds[n][e] = sees ? (ds[n][e] + m.dots[i]) * weight.slope(w[n][e]) : 0.0f;
          w[n][e] = sees ? weight(w[n][e]) : 0.0f;
          m.ds[j * kQueryStride + i] = ds[n][e];
        }
      const int keys_left = it.length - key - 16 * warp;
      for (int d = 0; b.to.dv.wanted && d < it.values; d += kValues) {
        __syncthreads();
        load_values(key, query, d);
        __syncthreads();
        float dv[kValues / 8][4];
        clear(dv);
#pragma unroll
        for (int s = 0; s < kTile / 16; ++s)
          fragment_product<product_of(P)>(dv, w[2 * s], w[2 * s + 1], m.n + 16 * s * kValueStride,
                                          kValueStride);
        store_fragments(dv, it.key_row(b.to.dv.view, it.values, key + 16 * warp) + d,
                        b.to.dv.view.stride, keys_left, it.values - d,
                        !first || b.to.dv.accumulate);
      }
      for (int f = 0; f < it.features; f += kFeatures) {
        __syncthreads();
        load_features(key, query, f);
        __syncthreads();
        float sum[kFeatures / 8][4];
        if (b.to.dk.wanted) {
          clear(sum);
#pragma unroll
          for (int s = 0; s < kTile / 16; ++s)
            fragment_product<product_of(P)>(sum, ds[2 * s], ds[2 * s + 1],
                                            m.q + 16 * s * kFeatureStride, kFeatureStride);
          store_fragments(sum, it.key_row(b.to.dk.view, it.features, key + 16 * warp) + f,
                          b.to.dk.view.stride, keys_left, it.features - f,
                          !first || b.to.dk.accumulate);
        }
        if (b.dq.wanted) {
          clear(sum);
          columns_product<product_of(P)>(sum, m.ds + 16 * warp, kQueryStride, m.k, kFeatureStride,
                                         kTile);
          const int row = query + 16 * warp;
          store_fragments(sum,
                          it.query_row(b.dq.view, it.features, row) + f +
                              slice * b.dq.view.replicas * b.dq.view.replica_stride,
                          b.dq.view.stride, it.queries - row, it.features - f,
                          key > slice_first || b.dq.accumulate);
        }
      }
      first = false;
    }
    if (!first) continue;
    const int rows = min(kTile, it.length - key);
    const auto zero = [&](const Gradient<float>& to, int cols) {
      if (!to.wanted || to.accumulate) return;
      for (int at = threadIdx.x; at < rows * cols; at += kThreads)
        it.key_row(to.view, cols, key + at / cols)[at % cols] = 0;
    };
    zero(b.to.dv, it.values);
    zero(b.to.dk, it.features);
  }
}

template <Precision P>
void launch_forward(const CudaCall& call, const LinearAttentionCuda& c) {
  const Index tiles = (c.plan.queries + kTile - 1) / kTile;
  const Index blocks = c.tensors.q.replicas * c.plan.items() * tiles;
  cuda_launch("linear_attention wide_forward", wide_forward<P>,
              {static_cast<unsigned>(blocks), kThreads, 0, call.stream}, c,
              static_cast<int>(tiles));
}

template <Precision P>
void launch_backward(const CudaCall& call, const WideBackward& b) {
  const Index blocks = b.c.tensors.q.replicas * b.c.plan.items() * b.slices;
  cuda_allow_shared(wide_backward<P>, sizeof(WideTiles), "linear_attention wide_backward");
  cuda_launch("linear_attention wide_backward", wide_backward<P>,
              {static_cast<unsigned>(blocks), kThreads, sizeof(WideTiles), call.stream}, b);
}

Index dots_count(const LinearAttentionPlan& plan, Index replicas) {
  return replicas * plan.items() * plan.queries;
}

}  // namespace

Index wide_backward_scratch(const LinearAttentionPlan& plan, Index replicas) {
  return dots_count(plan, replicas) + KeySlices(plan).scratch(plan, replicas);
}

void wide_forward_cuda(const CudaCall& call, const LinearAttentionCuda& c) {
  switch (call.precision) {
    case Precision::fp32:
      return launch_forward<Precision::fp32>(call, c);
    case Precision::tf32:
      return launch_forward<Precision::tf32>(call, c);
    case Precision::bf16:
      return launch_forward<Precision::bf16>(call, c);
  }
}

void wide_backward_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                        const LinearAttentionGradients<float>& gradients) {
  const KeySlices slices(c.plan);
  const Index count = dots_count(c.plan, c.tensors.q.replicas);
  float *const dots = c.tensors.scratch, *const parts = dots + count;
  cuda_launch("linear_attention output_dots", output_dots,
              {static_cast<unsigned>((count + kWarps - 1) / kWarps), kThreads, 0, call.stream}, c,
              gradients.dy, count, dots);
  const WideBackward b{c,
                       gradients,
                       dots,
                       slices.count > 1 ? query_parts(c, parts, gradients.dq) : gradients.dq,
                       static_cast<std::uint32_t>(slices.count),
                       slices.keys};
  switch (call.precision) {
    case Precision::fp32:
      launch_backward<Precision::fp32>(call, b);
      break;
    case Precision::tf32:
      launch_backward<Precision::tf32>(call, b);
      break;
    case Precision::bf16:
      launch_backward<Precision::bf16>(call, b);
      break;
  }
  if (slices.count > 1) add_query_parts_cuda(call, c, slices, parts, gradients.dq);
}

}  // namespace recallbench
