// Floor: reads q, k, v, g and do and writes four gradients once; the states before the chunks,
// which a first pass over k, v and g makes, are written to scratch and read again (B = 256, L =
// 256, 4 replicas, 2 heads of 32 keys and 64 values: 0.8 + 0.8 GB, 0.38 ms). Then chunks go from
// the last to the first with the gradient of the state in shared memory, its columns with one warp;
// three barriers a step, loads for the next one under way. What sums over all values (dq, dk, dg)
// is a share of each block of columns. Within a chunk four lanes share a key, of which each has
// four queries, chosen so that all have 34 pairs of tokens: nothing is divided, nothing cancels.
#include "kernels/cuda/column_shares.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/gated_linear_attention/chunk.cuh"

namespace recallbench {
namespace {

struct Shares {
  ColumnShare q, k, log_decay;
};

/// Two stages do not fit where keys are long.
template <class Tile>
constexpr int kStages = Tile::kKeys > 128 ? 1 : 2;

/// In `stages` the values are do, and v in the first pass.
template <class Tile>
struct Memory : GatedMemory<Tile> {
  float *v, *dweights;           // [16, Cols], dA [16, 16], zero above the diagonal
  float* dstate;                 // G [K, Cols]
  float *from_state, *to_state;  // P, then P ⊙ do Sᵀ; U, then U ⊙ v Gᵀ [16, K]
  float* through;                // Σ of G ⊙ S by key, faded over the chunk [K]

  __device__ explicit Memory(float* memory) : GatedMemory<Tile>(memory, kStages<Tile>) {
    v = this->take(kGatedRows * Tile::kStride);
    dweights = this->take(kGatedRows * kGatedTileStride);
    dstate = this->take(Tile::kKeys * Tile::kStride);
    from_state = this->take(this->kRows);
    to_state = this->take(this->kRows);
    through = this->take(Tile::kKeys);
  }
  static constexpr int numbers() {
    using Base = GatedMemory<Tile>;
    return Base::numbers(kStages<Tile>) + 2 * Base::kRows +
           kGatedRows * (Tile::kStride + kGatedTileStride) + Tile::kKeys * (Tile::kStride + 1);
  }
};

template <class Tile>
__device__ void copy_v(const GatedLinearAttentionCuda& in, const GatedPlace& at, float* to,
                       int first) {
  gated_copy<Tile, kGatedRows, Tile::kCols>(to, at.at(in.v, first, at.value_column()), in.v.stride,
                                            at.count(first), at.columns);
}

/// The states before the chunks, to `kept` but for that before the last one, which stays in shared
/// memory.
template <Product P, class Tile>
__device__ void make_states(const GatedLinearAttentionCuda& in, const GatedPlace& at,
                            const Memory<Tile>& m, float* kept, Index state_numbers) {
  const int column = gated_warp() * 8 * Tile::kFragments, last = at.chunks() - 1;
  const bool wide = reinterpret_cast<std::uintptr_t>(kept) % 8 == 0 && at.values % 2 == 0;
  const auto load = [&](int chunk) {
    const GatedStage to = m.stage(chunk % kStages<Tile>);
    gated_begin_load<Tile, false>(in, at, to, chunk * kGatedRows, 0);
    copy_v<Tile>(in, at, to.values, chunk * kGatedRows);
    copies_end_group();
  };
  if (kStages<Tile> == 2 && last > 0) load(0);
  for (int chunk = 0; chunk < last; ++chunk) {
    const GatedStage s = m.stage(chunk % kStages<Tile>);
    if (kStages<Tile> == 1) {
      __syncthreads();
      load(chunk);
    }
    gated_end_load<Tile, false>(in, at, s, chunk * kGatedRows);
    __syncthreads();
    if (kStages<Tile> == 2 && chunk + 1 < last) load(chunk + 1);
    gated_fades<Tile>(s.a, m.last, [&](int place, float, float suffix) {
      m.faded_k[place] = s.k[place] * suffix;
    });
    __syncthreads();
    if (column >= Tile::kCols) continue;
    float* const to = kept + chunk * state_numbers;
    gated_advance<P, Tile>(m.state, m.last, m.faded_k, s.values, column,
                           [&](int i, int j, float x, float y) {
                             if (chunk + 1 == last || i >= at.keys || j >= at.columns) return;
                             float* const place = to + Index{i} * at.values + j;
                             if (wide && j + 1 < at.columns) {
                               *reinterpret_cast<float2*>(place) = make_float2(x, y);
                               return;
                             }
                             place[0] = x;
                             if (j + 1 < at.columns) place[1] = y;
                           });
  }
  __syncthreads();
}

/// Products over the block's columns, by warps: from_state = P ⊙ do Sᵀ, dA = tril(do vᵀ) and, with
/// the first query head, to_state = U ⊙ v Gᵀ and `through`.
template <Product P, class Tile>
__device__ void through_columns(const Memory<Tile>& m, const float* dy, bool first_head) {
  constexpr int kTiles = Tile::kKeys / 16;
  for (int job = gated_warp(); job < (first_head ? 2 : 1) * kTiles + 1; job += Tile::kWarps) {
    float c[2][4];
    clear(c);
    if (job == 0) {
      rows_product<P>(c, dy, Tile::kStride, m.v, Tile::kStride, Tile::kCols);
      delta_fragments<2>(0, 0, [&](int n, int e, int i, int j) {
        m.dweights[i * kGatedTileStride + j] = j <= i ? c[n][e] : 0.0f;
      });
      continue;
    }
    const bool is_from = job <= kTiles;
    const int key = (job - 1 - (is_from ? 0 : kTiles)) * 16;
    float* const result = is_from ? m.from_state : m.to_state;
    rows_product<P>(c, is_from ? dy : m.v, Tile::kStride,
                    (is_from ? m.state : m.dstate) + key * Tile::kStride, Tile::kStride,
                    Tile::kCols);
    delta_fragments<2>(
        0, key, [&](int n, int e, int i, int j) { result[i * Tile::kKeyStride + j] *= c[n][e]; });
  }
  if (!first_head) return;
  const int lane = gated_lane() % 8;  // of a key's eight
  gated_strided<Tile::kKeys, Tile::kThreads / 8>(static_cast<int>(threadIdx.x) / 8, [&](int i) {
    float sum = 0;
#pragma unroll
    for (int j = 4 * lane; j < Tile::kCols; j += 32) {
      const float4 g = *reinterpret_cast<const float4*>(m.dstate + i * Tile::kStride + j);
      const float4 s = *reinterpret_cast<const float4*>(m.state + i * Tile::kStride + j);
      sum += g.x * s.x + g.y * s.y + g.z * s.z + g.w * s.w;
    }
    sum = warp_sum<8>(sum);
    if (lane == 0) m.through[i] = m.last[i] * sum;
  });
}

/// The pairs of tokens of one key and four queries: dq, which is written, and what they add to dk
/// and dg of all tokens.
template <class Tile, class Write>
__device__ void add_pairs(const Memory<Tile>& m, const GatedStage& s, int c, int part,
                          float (&dk)[kGatedRows], float (&dg)[kGatedRows], const Write& write_dq) {
  float a[kGatedRows], k[kGatedRows];
#pragma unroll
  for (int j = 0; j < kGatedRows; ++j) {
    a[j] = s.a[j * Tile::kKeyStride + c];
    k[j] = s.k[j * Tile::kKeyStride + c];
    dk[j] = dg[j] = 0;
  }
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int first = 4 * r, i = first + (r % 2 == 0 ? part : 3 - part);
    const float q = s.q[i * Tile::kKeyStride + c];
    float path[kGatedRows], sum = 0;  // scale q_i ⊙ W_ij; Σ_{m <= j} dA_im W_mj k_m
#pragma unroll
    for (int j = kGatedRows - 1; j >= 0; --j) {
      path[j] = j >= first + 3 ? 0.0f : path[j + 1] * a[j + 1];
      if (j >= first && j == i) path[j] = q;
    }
#pragma unroll
    for (int quad = 0; quad <= first; quad += 4) {
      const float4 four =
          *reinterpret_cast<const float4*>(m.dweights + i * kGatedTileStride + quad);
      const float d[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int j = quad + e;
        const float faded = sum * a[j];
        dg[j] += path[j] * faded;
        dk[j] += d[e] * path[j];
        if (j < first || j <= i) sum = faded + d[e] * k[j];
      }
    }
    write_dq(i, sum);
  }
}

/// dq, dk and dg of one step, by lanes: eight keys a warp, four lanes a key.
template <class Tile>
__device__ void through_keys(const GatedLinearAttentionCuda& in, const GatedPlace& at,
                             const Memory<Tile>& m, const GatedStage& s, int first, int h,
                             const Shares& out) {
  const int count = at.count(first), lane = gated_lane(), part = lane / 8;
  const auto write = [&](const ColumnShare& to, int token, Index column, float x, bool add) {
    if (!to.to.wanted || token >= count) return;
    float* const place = at.at(to.to.view, first + token, column) + at.tile * to.tile_stride;
    *place = to.to.accumulate || add ? *place + x : x;
  };
  gated_strided<Tile::kKeys, 8 * Tile::kWarps>(gated_warp() * 8 + lane % 8, [&](int c) {
    const bool exists = c < at.keys;
    float dk[kGatedRows], dg[kGatedRows];
    add_pairs(m, s, c, part, dk, dg, [&](int i, float sum) {
      if (exists)
        write(out.q, i, at.query_column(h) + c,
              in.scale * (m.from_state[i * Tile::kKeyStride + c] + sum), false);
    });
    gated_spread_sums<4, 8>(dk, part);
    gated_spread_sums<4, 8>(dg, part);
    // Of tokens 4 part + e: what their queries read from S, what their keys give to the state.
    float read[4], given[4], all_read = 0, all_given = 0;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int place = (4 * part + e) * Tile::kKeyStride + c;
      read[e] = s.q[place] * m.from_state[place];
      given[e] = h == 0 ? m.to_state[place] : 0.0f;
      dk[e] += given[e];
      given[e] *= s.k[place];
      all_read += read[e];
      all_given += given[e];
    }
    float before = h == 0 ? m.through[c] : 0.0f, after = 0;
#pragma unroll
    for (int other = 0; other < 4; ++other) {
      const int from = other * 8 + lane % 8;
      const float earlier = __shfl_sync(0xffffffffu, all_given, from);
      const float later = __shfl_sync(0xffffffffu, all_read, from);
      before += other < part ? earlier : 0.0f;
      after += other > part ? later : 0.0f;
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      dg[e] += before;
      before += given[e];
    }
#pragma unroll
    for (int e = 3; e >= 0; --e) {
      after += read[e];
      dg[e] += after;
      if (!exists) continue;
      write(out.k, 4 * part + e, at.key_column() + c, dk[e], h > 0);
      write(out.log_decay, 4 * part + e, at.key_column() + c, dg[e], h > 0);
    }
  });
}

/// `states` [items, chunks - 1, K, V]: those before each chunk but the first.
template <Product P, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kKeys <= 32   ? 4
                                                  : Tile::kKeys <= 64 ? 2
                                                                      : 1)
    gated_backward(GatedLinearAttentionCuda in, Index tiles, Batched<float> dy, Gradient<float> dv,
                   Shares out, float* states) {
  after_previous();
  extern __shared__ float4 memory[];
  constexpr int N = Tile::kFragments;
  const GatedPlace at(in, tiles, Tile::kCols);
  const int last = at.chunks() - 1;
  const Memory<Tile> m(reinterpret_cast<float*>(memory));
  const Index state_numbers = Index{at.keys} * at.values;
  float* const kept = states + at.item * last * state_numbers + at.first_column;
  const int column = gated_warp() * 8 * N;
  const bool computes = column < Tile::kCols;
  const auto load = [&](int chunk, int h, int step) {
    const int first = chunk * kGatedRows;
    const GatedStage to = m.stage(step % kStages<Tile>);
    gated_begin_load<Tile, true>(in, at, to, first, h);
    gated_copy<Tile, kGatedRows, Tile::kCols>(to.values, at.at(dy, first, at.output_column(h)),
                                              dy.stride, at.count(first), at.columns);
    copies_end_group();
  };
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kKeys * Tile::kStride; i += Tile::kThreads)
    m.state[i] = 0, m.dstate[i] = 0;
  make_states<P, Tile>(in, at, m, kept, state_numbers);
  copy_v<Tile>(in, at, m.v, last * kGatedRows);
  load(last, 0, 0);
  float values[N][4];  // dv
  for (int step = 0, chunk = last, h = 0; chunk >= 0; ++step) {
    const int first = chunk * kGatedRows, head = h;
    if (kStages<Tile> == 1 && step > 0) {
      __syncthreads();
      load(chunk, h, step);
    }
    const bool ends_chunk = ++h == at.group;
    if (ends_chunk) h = 0, --chunk;
    const GatedStage s = m.stage(step % kStages<Tile>);
    gated_end_load<Tile, true>(in, at, s, first);
    __syncthreads();
    if (kStages<Tile> == 2 && chunk >= 0) load(chunk, h, step + 1);
    gated_fades<Tile>(s.a, m.last, [&](int place, float prefix, float suffix) {
      m.from_state[place] = prefix;
      m.to_state[place] = suffix;
      m.faded_q[place] = s.q[place] * prefix;
      m.faded_k[place] = s.k[place] * suffix;
    });
    gated_weights<Tile>(s, m.weights);
    __syncthreads();
    through_columns<P>(m, s.values, head == 0);
    if (head == 0 && computes) {
      clear(values);
      delta_product<P>(values, m.faded_k, Tile::kKeyStride, m.dstate + column, Tile::kStride,
                       Tile::kKeys);
    }
    __syncthreads();
    if (ends_chunk && chunk >= 0) {
      copy_v<Tile>(in, at, m.v, first - kGatedRows);
      gated_copy<Tile, Tile::kKeys, Tile::kCols>(m.state,
                                                 kept + (chunk > 0 ? chunk - 1 : 0) * state_numbers,
                                                 at.values, chunk > 0 ? at.keys : 0, at.columns);
      copies_end_group();
    }
    if (computes) {
      columns_product<P>(values, m.weights, kGatedTileStride, s.values + column, Tile::kStride,
                         kGatedRows);
      gated_advance<P, Tile>(m.dstate, head == 0 ? m.last : nullptr, m.faded_q, s.values, column,
                             [](int, int, float, float) {});
      if (ends_chunk && dv.wanted)
        gated_store(values, column, at.at(dv.view, first, at.value_column()), dv.view.stride,
                    at.count(first), at.columns, dv.accumulate);
    }
    through_keys(in, at, m, s, first, head, out);
  }
}

template <Product P>
void launch(const CudaCall& call, const GatedLinearAttentionCuda& in, const Batched<float>& dy,
            const Gradient<float>& dv, const Shares& out, float* states) {
  gated_dispatch(in, [&](auto tile) {
    using Tile = decltype(tile);
    const auto bytes = static_cast<int>(sizeof(float)) * Memory<Tile>::numbers();
    cuda_allow_shared(gated_backward<P, Tile>, bytes, "gated_linear_attention_backward");
    const Index tiles = gated_tiles(in),
                blocks = dy.replicas * in.examples * in.state_heads * tiles;
    cuda_launch("gated_linear_attention_backward", gated_backward<P, Tile>,
                {static_cast<unsigned>(blocks), Tile::kThreads, bytes, call.stream}, in, tiles, dy,
                dv, out, states);
  });
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
