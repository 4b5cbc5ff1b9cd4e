// The second half of the backward pass: the gradients of all but v, from r, dr, S and its gradient
// G at the chunks' ends. A block has one chunk and walks nowhere: it multiplies the chunk's rows of
// values by each other and by S and G, on tensor cores where the precision allows; then a thread
// has one key of one reader, q or κ, and what the chunk's tokens write and read of each other
// there, in float32. As on the CPU, decays are only multiplied, and a decay's gradient is a sum
// over what passes its token, no difference of sums. Floor: reads q, k, v, g, κ, a, r, dr, do, S, G
// and writes five gradients once (B = 256, L = 256, H = 2 heads of 64: 0.72 GB, 170 us). S and G go
// straight to the fragments of their products, 16 bytes a lane, and are on their way with the rows;
// of the rest a token and head takes 14 C K multiply-adds, C = 16 (0.9 G of them as half of the
// pairs meet, 30 us).
#include "kernels/cuda/launch.cuh"
#include "kernels/generalized_delta_rule/keys.cuh"
#include "kernels/linear_attention/products.cuh"

namespace recallbench {
namespace {

constexpr int kKeysOfWarp = 16;  // two fragments of a product

/// Its rows: of values [16, span], with weights of (i, j) [16, 16, 2] two by two for each reader,
/// and of keys [16, width].
struct KeyMemory {
  int stride;  ///< of rows of values: 4 numbers more, so that 8 rows at a column are in 32 banks
  float *v, *removed, *dy, *dremoved;
  float *weights, *passing;  // do and dr times v and r; Σ of G ⊙ S by key [width]
  float *q, *k, *decay, *kappa, *rate;
  float *dq, *dkappa, *dk, *db;

  __device__ KeyMemory(float* memory, int span, int width) : stride(span + 4), v(memory) {
    removed = v + kWalkChunk * stride;
    dy = removed + kWalkChunk * stride;
    dremoved = dy + kWalkChunk * stride;
    weights = dremoved + kWalkChunk * stride;
    passing = weights + 4 * kWalkChunk * kWalkChunk;
    float* next = passing + width;
    for (float** rows : {&q, &k, &decay, &kappa, &rate, &dq, &dkappa, &dk, &db}) {
      *rows = next;
      next += kWalkChunk * width;
    }
  }
  static int numbers(int span, int width) {
    return kWalkChunk * (4 * (span + 4) + 4 * kWalkChunk + 9 * width) + width;
  }
};

/// A warp's rows of a matrix [keys, values], sixteen values at a time: of the keys g and g + 8, g =
/// lane / 4, the four values from 4 (lane % 4) on.
template <int Quads>
using KeyRows = float[Quads][2][4];

/// Values from `first` on; 0 where there is none.
template <int Quads>
__device__ inline void load_matrix(const GeneralizedDeltaRulePlan& p, const WalkPlace& at,
                                   const float* from, int first, KeyRows<Quads>& to, bool quads) {
  const int row = static_cast<int>(threadIdx.x) / 32 * kKeysOfWarp + lane_row();
#pragma unroll
  for (int n = 0; n < Quads; ++n)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int column = first + 16 * n + 4 * lane_column();
      const int count =
          from != nullptr && row + 8 * h < at.count ? static_cast<int>(p.values) - column : 0;
      const float* place = from + (at.first + row + 8 * h) * p.values + column;
      float x[4] = {};
      if (quads) {
        if (count > 0) load_numbers(place, x);
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (i < count) x[i] = place[i];
      }
#pragma unroll
      for (int i = 0; i < 4; ++i)
        to[n][h][i] = x[i];
    }
}

/// Of two matrices of the chunk's rows, `x` and `y` at sixteen values: their products with a warp's
/// rows b of a matrix, added to c, two fragments each.
template <Product P>
__device__ __forceinline__ void add_products(float (&c)[2][2][4], const float* x, const float* y,
                                             int stride, const float (&b)[2][4]) {
  const int g = lane_row(), t = lane_column();
  if constexpr (P == Product::fp32) {
#pragma unroll
    for (int from = 0; from < 4; ++from) {  // the lane of four that has the values
      float rows[2][2][4];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        load_numbers(x + (g + 8 * h) * stride + 4 * from, rows[0][h]);
        load_numbers(y + (g + 8 * h) * stride + 4 * from, rows[1][h]);
      }
#pragma unroll
      for (int tile = 0; tile < 2; ++tile)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float left = __shfl_sync(0xffffffffu, b[tile][i], 8 * t + from);
          const float right = __shfl_sync(0xffffffffu, b[tile][i], 8 * t + 4 + from);
#pragma unroll
          for (int m = 0; m < 2; ++m)
#pragma unroll
            for (int h = 0; h < 2; ++h) {
              c[m][tile][2 * h] += rows[m][h][i] * left;
              c[m][tile][2 * h + 1] += rows[m][h][i] * right;
            }
        }
    }
  } else {
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      float upper[4], lower[4];
      load_numbers((m == 0 ? x : y) + g * stride + 4 * t, upper);
      load_numbers((m == 0 ? x : y) + (g + 8) * stride + 4 * t, lower);
      const LeftFactor<P> left(upper, lower);
#pragma unroll
      for (int tile = 0; tile < 2; ++tile)
        left.add_to(c[m][tile], b[tile]);
    }
  }
}

/// Products of the chunk's rows with S before it and G after it, and of these two, over a group of
/// values and over all.
struct KeySums {
  float readers[2][2][4], writers[2][2][4];  // dq, dκ and dk, db [16, 16]: fragments
  float passing[2];                          // of keys g and g + 8: a lane's share

  __device__ KeySums() : readers{}, writers{}, passing{} {}

  template <Product P, int Quads>
  __device__ __forceinline__ void add(const KeyMemory& m, int first, const KeyRows<Quads>& state,
                                      const KeyRows<Quads>& g) {
#pragma unroll
    for (int n = 0; n < Quads; ++n) {
      const int column = first + 16 * n;
      add_products<P>(readers, m.dy + column, m.dremoved + column, m.stride, state[n]);
      add_products<P>(writers, m.v + column, m.removed + column, m.stride, g[n]);
#pragma unroll
      for (int h = 0; h < 2; ++h)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          passing[h] += state[n][h][i] * g[n][h][i];
    }
  }
  /// A warp beyond the block's keys has sums of zeros, and leaves none.
  __device__ __forceinline__ void leave(const KeyMemory& m, int width) {
    const int g = lane_row(), t = lane_column();
    const int key = static_cast<int>(threadIdx.x) / 32 * kKeysOfWarp;
#pragma unroll
    for (float& sum : passing)
      sum = warp_sum<4>(sum);
    if (key >= width) return;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      if (t == 0) m.passing[key + 8 * h + g] = passing[h];
#pragma unroll
      for (int below = 0; below < 2; ++below) {
        const int place = (g + 8 * below) * width + key + 8 * h + 2 * t, i = 2 * below;
        store_numbers<2>({readers[0][h][i], readers[0][h][i + 1]}, m.dq + place);
        store_numbers<2>({readers[1][h][i], readers[1][h][i + 1]}, m.dkappa + place);
        store_numbers<2>({writers[0][h][i], writers[0][h][i + 1]}, m.dk + place);
        store_numbers<2>({writers[1][h][i], writers[1][h][i + 1]}, m.db + place);
      }
    }
  }
};

/// do_i · v_j, do_i · r_j, dr_i · v_j, dr_i · r_j: a warp takes one of the four at a time.
template <Product P>
__device__ __forceinline__ void make_weights(const KeyMemory& m, int span) {
  const int warps = static_cast<int>(blockDim.x) / 32;
  for (int which = static_cast<int>(threadIdx.x) / 32; which < 4; which += warps) {
    float c[2][4] = {};
    rows_product<P>(c, which < 2 ? m.dy : m.dremoved, m.stride, which % 2 == 0 ? m.v : m.removed,
                    m.stride, span);
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int i = lane_row() + e / 2 * 8, j = 8 * n + 2 * lane_column() + e % 2;
        m.weights[2 * ((which / 2 * kWalkChunk + i) * kWalkChunk + j) + which % 2] = c[n][e];
      }
  }
}

enum class Reader { query, removal };

/// What one reader, q or κ, has of the gradients of one key of a chunk.
struct KeyShare {
  float dk[kWalkChunk], db[kWalkChunk], dg[kWalkChunk];
};

/// By way of S before the chunk, where the reader is of weight dreader, and of G after it, where
/// queries take what k writes, removals what b does.
template <Reader kReader>
__device__ __forceinline__ void key_through_states(const KeyMemory& m, int width, int key,
                                                   const float (&e)[kWalkChunk],
                                                   const float* reader, float* dreader,
                                                   const float (&writer)[kWalkChunk],
                                                   const float* dwriter, float (&d)[kWalkChunk],
                                                   float (&dg)[kWalkChunk]) {
  float faded = 1, sum = 0;
#pragma unroll
  for (int t = 0; t < kWalkChunk; ++t) {
    if constexpr (kReader == Reader::query) faded *= e[t];
    dreader[t * width + key] *= faded;
    if constexpr (kReader == Reader::removal) faded *= e[t];
  }
#pragma unroll
  for (int t = kWalkChunk - 1; t >= 0; --t) {
    const float product = reader[t * width + key] * dreader[t * width + key];
    dg[t] = kReader == Reader::query ? sum + product : sum;
    sum += product;
  }
  sum = kReader == Reader::query ? faded * m.passing[key] : 0.0f;
  faded = 1;
#pragma unroll
  for (int t = kWalkChunk - 1; t >= 0; --t) {
    d[t] = dwriter[t * width + key] * faded;
    faded *= e[t];
  }
#pragma unroll
  for (int t = 0; t < kWalkChunk; ++t) {
    dg[t] += sum;
    sum += writer[t] * d[t];
  }
}

/// One key, one reader: of each token, back to each that wrote before it (or, for a query, then).
template <Reader kReader>
__device__ __forceinline__ void key_gradients(const KeyMemory& m, int width, int key,
                                              KeyShare& share) {
  constexpr bool kQuery = kReader == Reader::query;
  constexpr int kLag = kQuery ? 0 : 1;
  const float* reader = kQuery ? m.q : m.kappa;
  float* dreader = kQuery ? m.dq : m.dkappa;
  const float* weights = m.weights + (kQuery ? 0 : 2 * kWalkChunk * kWalkChunk);
  float e[kWalkChunk], k[kWalkChunk], b[kWalkChunk];
#pragma unroll
  for (int t = 0; t < kWalkChunk; ++t) {
    const int place = t * width + key;
    e[t] = m.decay[place];
    k[t] = m.k[place];
    b[t] = -m.kappa[place] * m.rate[place];
    share.dk[t] = 0;
    share.db[t] = 0;
  }
  if constexpr (kQuery)
    key_through_states<kReader>(m, width, key, e, reader, dreader, k, m.dk, share.dk, share.dg);
  else
    key_through_states<kReader>(m, width, key, e, reader, dreader, b, m.db, share.db, share.dg);
#pragma unroll
  for (int i = kLag; i < kWalkChunk; ++i) {
    float path[kWalkChunk],
        sum = 0;  // the reader faded back to j; what it reads of those before j
    path[i - kLag] = reader[i * width + key];
#pragma unroll
    for (int j = i - kLag; j > 0; --j)
      path[j - 1] = path[j] * e[j];
    float w[4];  // of j and the next
#pragma unroll
    for (int j = 0; j <= i - kLag; ++j) {
      if (j % 2 == 0) load_numbers(weights + 2 * (i * kWalkChunk + j), w);
      const float wk = w[j % 2 * 2], wb = w[j % 2 * 2 + 1], faded = sum * e[j];
      share.dg[j] += path[j] * faded;
      share.dk[j] += wk * path[j];
      share.db[j] += wb * path[j];
      sum = faded + wk * k[j] + wb * b[j];
    }
    dreader[i * width + key] += sum;
  }
}

/// Both readers' shares of all gradients: half of the threads each, a key a thread. b = -κ ⊙ a:
/// dκ = S dr - a ⊙ db, da = -κ ⊙ db. Leaves dg in place of the decays, da of db.
__device__ __forceinline__ void all_keys(const KeyMemory& m, int width) {
  const int half = static_cast<int>(blockDim.x) / 2, mine = static_cast<int>(threadIdx.x);
  const bool queries = mine < half;
  const int key = queries ? mine : mine - half;
  KeyShare share;
  if (key < width)
    queries ? key_gradients<Reader::query>(m, width, key, share)
            : key_gradients<Reader::removal>(m, width, key, share);
  __syncthreads();
  if (key < width && !queries)
#pragma unroll
    for (int t = 0; t < kWalkChunk; ++t) {
      const int place = t * width + key;
      m.dk[place] = share.dk[t];
      m.db[place] = share.db[t];
      m.decay[place] = share.dg[t];
    }
  __syncthreads();
  if (key < width && queries)
#pragma unroll
    for (int t = 0; t < kWalkChunk; ++t) {
      const int place = t * width + key;
      const float db = m.db[place] + share.db[t];
      m.dk[place] += share.dk[t];
      m.decay[place] += share.dg[t];
      m.dkappa[place] -= m.rate[place] * db;
      m.db[place] = -m.kappa[place] * db;
    }
  __syncthreads();
}

template <Product P, int Quads>
__global__ void __launch_bounds__(kWalkThreads, 3)
    generalized_delta_keys(GeneralizedDeltaRulePlan p, WalkShape shape, int span,
                           GeneralizedDeltaRuleViews<float> in, KeyTensors x, bool quads) {
  after_previous();
  extern __shared__ float4 memory[];
  constexpr int kGroup = 16 * Quads;  // values of S and G in registers
  const WalkPlace at(p, shape, p.keys, (p.length - 1) / kWalkChunk + 1, kWalkChunk);
  const KeyMemory m(reinterpret_cast<float*>(memory), span, at.width);
  const int token = at.chunk * kWalkChunk;
  const auto of_keys = [&](const Batched<float>& tensor) {
    return WalkRows(tensor, at, token, at.head * p.keys + at.first, at.count, quads);
  };
  const auto load_values = [&](float* to, const Batched<float>& tensor) {
    walk_load(to, m.stride, span,
              {tensor, at, token, at.head * p.values, static_cast<int>(p.values), quads});
  };
  const float* before = at.chunk == 0 ? nullptr : at.matrix(p, x.states, at.chunk - 1);
  const float* after =
      token + kWalkChunk >= at.length ? nullptr : at.matrix(p, x.dstates, at.chunk);
  load_values(m.v, in.v);
  load_values(m.removed, x.removed);
  load_values(m.dy, x.dy);
  load_values(m.dremoved, x.dremoved);
  walk_load(m.q, at.width, of_keys(in.q));
  walk_load(m.k, at.width, of_keys(in.k));
  walk_load(m.decay, at.width, of_keys(in.log_decay));
  walk_load(m.kappa, at.width, of_keys(in.removal));
  walk_load(m.rate, at.width, of_keys(in.rate));
  KeyRows<Quads> state, g;
  const auto load_matrices = [&](int first) {
    load_matrix<Quads>(p, at, before, first, state, quads);
    load_matrix<Quads>(p, at, after, first, g, quads);
  };
  load_matrices(0);
  walk_wait();
  walk_make_decays(m.decay, kWalkChunk, at.width);
  __syncthreads();
  KeySums sums;
  for (int first = 0; first < span; first += kGroup) {
    if (first > 0) load_matrices(first);
    sums.add<P, Quads>(m, first, state, g);
  }
  sums.leave(m, at.width);
  make_weights<P>(m, span);
  __syncthreads();
  all_keys(m, at.width);
  const auto store = [&](const float* from, const Gradient<float>& to) {
    if (to.wanted) walk_store(from, at.width, of_keys(to.view), to.accumulate);
  };
  store(m.dq, x.out.dq);
  store(m.dk, x.out.dk);
  store(m.decay, x.out.dlog_decay);
  store(m.dkappa, x.out.dremoval);
  store(m.db, x.out.drate);
}

template <Product P>
void launch_keys(const CudaCall& call, const GeneralizedDeltaRulePlan& plan,
                 const GeneralizedDeltaRuleViews<float>& in, const KeyTensors& x, bool quads) {
  int span = 32, width = kKeysOfWarp;
  while (span < plan.values)
    span *= 2;
  while (width < plan.keys && width < kWalkThreads / 2)
    width *= 2;
  const WalkShape shape{std::max(2 * width, span / 4), width, (plan.keys + width - 1) / width};
  const auto kernel = span == 32 ? generalized_delta_keys<P, 2> : generalized_delta_keys<P, 4>;
  walk_launch(call, "generalized_delta_keys", kernel, x.dy.replicas * plan.items() * plan.chunks(),
              shape, KeyMemory::numbers(span, width), plan, shape, span, in, x, quads);
}

}  // namespace

void generalized_delta_keys_cuda(const CudaCall& call, const GeneralizedDeltaRulePlan& plan,
                                 const GeneralizedDeltaRuleViews<float>& in, const KeyTensors& x,
                                 bool quads) {
  switch (call.precision) {
    case Precision::fp32:
      return launch_keys<Product::fp32>(call, plan, in, x, quads);
    case Precision::tf32:
      return launch_keys<Product::tf32>(call, plan, in, x, quads);
    case Precision::bf16:
      return launch_keys<Product::bf16>(call, plan, in, x, quads);
  }
}

}  // namespace recallbench
