// Floor: reads q, k, v, g and do and writes four gradients once; the states before the chunks,
// which a first pass makes, are written to scratch and read again (B = 256, L = 256, K = 64,
// V = 128 in all, 4 heads: 0.13 GB). Then chunks go from the last to the first with the gradient of
// the state in shared memory. What sums over all values (dq, dk, dg) is a share of each block of
// columns. Within a chunk a thread has one key: nothing is divided and nothing cancels.
#include "kernels/cuda/column_shares.h"
#include "kernels/gated_linear_attention/chunk.cuh"

namespace recallbench {
namespace {

struct Shares {
  ColumnShare q, k, log_decay;
};

template <int Cols>
struct Memory : GatedMemory<Cols> {
  float *dweights, *dy;  // dA [16, 16], do [16, Cols]
  float* dstate;         // G [K, Cols]
  float *dq, *dk, *dg;   // [16, K]
  float* through;        // Σ of G ⊙ S by key, faded over the chunk [K]

  __device__ Memory(float* memory, const GatedPlace& at) : GatedMemory<Cols>(memory, at) {
    dweights = this->take(kGatedRows * kGatedTileStride);
    dy = this->take(kGatedRows * this->kStride);
    dstate = this->take(at.padded * this->kStride);
    dk = this->take(kGatedRows * at.stride);
    dg = this->take(kGatedRows * at.stride);
    through = this->take(at.padded);
    dq = this->faded_k;  // which is needed only before the query heads
  }
  static int numbers(Index keys) {
    const int padded = GatedMemory<Cols>::padded(keys), stride = GatedMemory<Cols>::kStride;
    return GatedMemory<Cols>::numbers(keys) +
           kGatedRows * (kGatedTileStride + stride + 2 * (padded + 4)) + padded * (stride + 1);
  }
};

/// S from scratch or to it: the item's columns of this block, key after key.
template <bool kStore, int Cols>
__device__ void move_state(const GatedPlace& at, const Memory<Cols>& m, float* kept) {
  constexpr int kEach = Cols / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x) / 32; i < at.padded; i += kGatedWarps) {
    float numbers[kEach];
    const float* from = kStore ? m.state + i * m.kStride : kept + Index{i} * at.values;
    const int rows = kStore ? at.padded : kept == nullptr ? 0 : at.keys;
#pragma unroll
    for (int n = 0; n < kEach; ++n) {
      const int j = lane + 32 * n;
      numbers[n] = i < rows && (kStore || j < at.columns) ? from[j] : 0.0f;
    }
#pragma unroll
    for (int n = 0; n < kEach; ++n) {
      const int j = lane + 32 * n;
      if constexpr (kStore) {
        if (i < at.keys && j < at.columns) kept[Index{i} * at.values + j] = numbers[n];
      } else {
        m.state[i * m.kStride + j] = numbers[n];
      }
    }
  }
}

/// c[n][e] of 16 rows, `job`-th 16 keys: a [16, Cols] times rows of `state`.
template <Product P, int Cols, class Body>
__device__ void through_state(const GatedPlace& at, const Memory<Cols>& m, const float* a,
                              const float* state, const Body& body) {
  for (int job = static_cast<int>(threadIdx.x) / 32; job < at.padded / 16; job += kGatedWarps) {
    float c[2][4];
    clear(c);
    rows_product<P>(c, a, m.kStride, state + job * 16 * m.kStride, m.kStride, Cols);
    delta_fragments<2>(0, job * 16,
                       [&](int n, int e, int i, int j) { body(i * at.stride + j, c[n][e]); });
  }
}

/// G fades to before the chunk; `through` gets its products with S.
template <int Cols>
__device__ void fade_dstate(const GatedPlace& at, const Memory<Cols>& m) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = static_cast<int>(threadIdx.x) / 32; i < at.padded; i += kGatedWarps) {
    const float last = m.prefix[(kGatedRows - 1) * at.stride + i];
    float sum = 0;
    for (int j = lane; j < Cols; j += 32) {
      float& place = m.dstate[i * m.kStride + j];
      place *= last;
      sum += place * m.state[i * m.kStride + j];
    }
    sum = warp_sum(sum);
    if (lane == 0) m.through[i] = sum;
  }
}

/// What every query head shares of dg: from S, and from earlier keys, to the state after.
template <int Cols>
__device__ void begin_decays(const GatedPlace& at, const Memory<Cols>& m) {
  const int c = static_cast<int>(threadIdx.x);
  if (c >= at.padded) return;
  float sum = m.through[c];
  for (int t = 0; t < kGatedRows; ++t) {
    const int place = t * at.stride + c;
    m.dg[place] = sum;
    sum += m.k[place] * m.dk[place];
  }
}

/// One key of one query head, through A: dq, and what it adds to dk and dg. dq holds the part by
/// way of S, of which `q` (scaled) has the products that pass all tokens up to the query's.
template <int Cols>
__device__ void through_weights(const GatedPlace& at, const Memory<Cols>& m, float scale) {
  const int c = static_cast<int>(threadIdx.x);
  if (c >= at.padded) return;
  float a[kGatedRows], k[kGatedRows], dk[kGatedRows] = {}, dg[kGatedRows], passed = 0;
#pragma unroll
  for (int t = kGatedRows - 1; t >= 0; --t) {
    const int place = t * at.stride + c;
    a[t] = m.a[place];
    k[t] = m.k[place];
    passed += m.q[place] * m.dq[place];
    dg[t] = passed;
  }
#pragma unroll
  for (int i = 0; i < kGatedRows; ++i) {
    float path[kGatedRows], sum = 0;  // Σ_{m <= j} dA_im W_mj k_m
    path[i] = m.q[i * at.stride + c];
#pragma unroll
    for (int j = i; j > 0; --j)
      path[j - 1] = path[j] * a[j];
#pragma unroll
    for (int j = 0; j <= i; ++j) {
      const float faded = sum * a[j], d = m.dweights[i * kGatedTileStride + j];
      dg[j] += path[j] * faded;
      dk[j] += d * path[j];
      sum = faded + d * k[j];
    }
    m.dq[i * at.stride + c] = scale * (m.dq[i * at.stride + c] + sum);
  }
#pragma unroll
  for (int t = 0; t < kGatedRows; ++t) {
    m.dk[t * at.stride + c] += dk[t];
    m.dg[t * at.stride + c] += dg[t];
  }
}

template <int Cols>
__device__ void write_rows(const GatedPlace& at, const Memory<Cols>&, const float* from, int first,
                           Index column, const ColumnShare& to) {
  if (!to.to.wanted) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = static_cast<int>(threadIdx.x) / 32; i < at.count(first); i += kGatedWarps)
    for (int c = lane; c < at.keys; c += 32)
      to.write(at.at(to.to.view, first + i, column + c), at.tile, from[i * at.stride + c]);
}

/// One chunk back; dv in fragments of 8 columns a warp.
template <Product P, int Cols>
__device__ void chunk_back(const GatedLinearAttentionCuda& in, const GatedPlace& at,
                           const Memory<Cols>& m, int first, const Batched<float>& dy,
                           const Gradient<float>& dv, const Shares& out) {
  constexpr int N = Cols / 16;  // half the columns
  const int warp = static_cast<int>(threadIdx.x) / 32, column = warp * 8;
  const int count = at.count(first);
  float values[1][4];
  clear(values);
  through_state<P>(at, m, m.v, m.dstate,
                   [&](int place, float x) { m.dk[place] = x * m.suffix[place]; });
  if (column < Cols)
    delta_product<P>(values, m.faded_k, at.stride, m.dstate + column, m.kStride, at.padded);
  __syncthreads();
  fade_dstate(at, m);
  __syncthreads();
  begin_decays(at, m);
  for (int h = 0; h < at.group; ++h) {
    gated_load_queries(in, at, m, first, h);
    gated_load(m.dy, m.kStride, Cols, at.at(dy, first, at.output_column(h)), dy.stride, count,
               at.columns);
    __syncthreads();
    gated_weights(at, m);
    through_state<P>(at, m, m.dy, m.state,
                     [&](int place, float x) { m.dq[place] = x * m.prefix[place]; });
    if (column < kGatedRows) {
      float c[1][4];
      clear(c);
      rows_product<P>(c, m.dy, m.kStride, m.v + column * m.kStride, m.kStride, Cols);
      delta_fragments<1>(0, column, [&](int, int e, int i, int j) {
        m.dweights[i * kGatedTileStride + j] = c[0][e];
      });
    }
    __syncthreads();
    through_weights(at, m, in.scale);
    if (column < Cols)
      columns_product<P>(values, m.weights, kGatedTileStride, m.dy + column, m.kStride, kGatedRows);
    for (int job = warp; job < at.padded / 8; job += kGatedWarps) {
      const int key = job / 2 * 16, half = job % 2 * (Cols / 2);
      float c[N][4];
      clear(c);
      columns_product<P>(c, m.faded_q + key, at.stride, m.dy + half, m.kStride, kGatedRows);
      delta_fragments<N>(
          key, half, [&](int n, int e, int i, int j) { m.dstate[i * m.kStride + j] += c[n][e]; });
    }
    __syncthreads();
    write_rows(at, m, m.dq, first, at.query_column(h), out.q);
    __syncthreads();
  }
  write_rows(at, m, m.dk, first, Index{at.head} * at.keys, out.k);
  write_rows(at, m, m.dg, first, Index{at.head} * at.keys, out.log_decay);
  if (!dv.wanted || column >= Cols) return;
  float* to = at.at(dv.view, first, Index{at.head} * at.values + at.first_column);
  delta_fragments<1>(0, column, [&](int, int e, int i, int j) {
    if (i >= count || j >= at.columns) return;
    float* place = to + i * dv.view.stride + j;
    *place = dv.accumulate ? *place + values[0][e] : values[0][e];
  });
}

/// `states` [items, chunks - 1, K, V]: those before each chunk but the first.
template <Product P, int Cols>
__global__ void __launch_bounds__(kGatedThreads, 2)
    gated_backward(GatedLinearAttentionCuda in, Index tiles, Batched<float> dy, Gradient<float> dv,
                   Shares out, float* states) {
  extern __shared__ float4 memory[];
  const GatedPlace at(in, tiles, Cols);
  const Memory<Cols> m(reinterpret_cast<float*>(memory), at);
  const int last = (at.length - 1) / kGatedRows;
  const Index state_numbers = Index{at.keys} * at.values;
  float* kept = states + at.item * last * state_numbers + at.first_column;
  for (int i = static_cast<int>(threadIdx.x); i < at.padded * m.kStride; i += kGatedThreads)
    m.state[i] = 0, m.dstate[i] = 0;
  for (int chunk = 0; chunk < last; ++chunk) {
    gated_load_chunk(in, at, m, chunk * kGatedRows);
    __syncthreads();
    gated_advance<P>(at, m);
    __syncthreads();
    move_state<true>(at, m, kept + chunk * state_numbers);
  }
  for (int chunk = last; chunk >= 0; --chunk) {
    __syncthreads();
    move_state<false>(at, m, chunk == 0 ? nullptr : kept + (chunk - 1) * state_numbers);
    gated_load_chunk(in, at, m, chunk * kGatedRows);
    __syncthreads();
    chunk_back<P>(in, at, m, chunk * kGatedRows, dy, dv, out);
  }
}

template <Product P, int Cols>
void launch(const CudaCall& call, const GatedLinearAttentionCuda& in, const Batched<float>& dy,
            const Gradient<float>& dv, const Shares& out, float* states) {
  const int bytes = Memory<Cols>::numbers(in.keys) * static_cast<int>(sizeof(float));
  cuda_check(cudaFuncSetAttribute(gated_backward<P, Cols>,
                                  cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
             "cudaFuncSetAttribute");
  const Index tiles = gated_tiles(in), blocks = dy.replicas * in.examples * in.state_heads * tiles;
  gated_backward<P, Cols><<<static_cast<unsigned>(blocks), kGatedThreads, bytes, call.stream>>>(
      in, tiles, dy, dv, out, states);
  cuda_check_launch("gated_linear_attention_backward");
}

template <Product P>
void launch(const CudaCall& call, const GatedLinearAttentionCuda& in, const Batched<float>& dy,
            const Gradient<float>& dv, const Shares& out, float* states) {
  gated_columns(in) == 32 ? launch<P, 32>(call, in, dy, dv, out, states)
                          : launch<P, 64>(call, in, dy, dv, out, states);
}

}  // namespace

Index gated_linear_attention_cuda_scratch(const GatedLinearAttentionCuda& in, Index replicas) {
  const Index tiles = gated_tiles(in), rows = replicas * in.examples * in.length;
  const Index states =
      replicas * in.examples * in.state_heads * (gated_chunks(in.length) - 1) * in.keys * in.values;
  return states + (tiles == 1 ? 0 : tiles * rows * in.keys * (in.heads + 2 * in.state_heads));
}

void gated_linear_attention_backward_cuda(const CudaCall& call, const GatedLinearAttentionCuda& in,
                                          const Batched<float>& dy,
                                          const GatedLinearAttentionCudaGradients& gradients,
                                          float* scratch) {
  const Index tiles = gated_tiles(in);
  const Shares out{column_share(gradients.q, tiles, scratch),
                   column_share(gradients.k, tiles, scratch),
                   column_share(gradients.log_decay, tiles, scratch)};
  switch (product_of(call.precision)) {
    case Product::tf32:
      launch<Product::tf32>(call, in, dy, gradients.v, out, scratch);
      break;
    case Product::bf16:
      launch<Product::bf16>(call, in, dy, gradients.v, out, scratch);
      break;
    default:
      launch<Product::fp32>(call, in, dy, gradients.v, out, scratch);
  }
  add_column_shares(call, out.q, tiles, gradients.q);
  add_column_shares(call, out.k, tiles, gradients.k);
  add_column_shares(call, out.log_decay, tiles, gradients.log_decay);
}

}  // namespace recallbench
