// The second half of the backward pass: the gradients of all but v, from r, dr, S and its gradient
// G at the chunks' ends. A block has one chunk and walks nowhere: rows of S and G apart, it
// multiplies them by the chunk's rows of values; then a thread has one key of one reader, q or κ,
// and what the chunk's tokens write and read of each other there. As on the CPU, decays are only
// multiplied, and a decay's gradient is a sum over what passes its token, no difference of sums.
// Floor: reads q, k, v, g, κ, a, r, dr, do, S, G and writes five gradients once (B = 256, L = 256,
// H = 2 heads of 64: 0.72 GB); a token and head takes 4 K V + 4 C (2 K + V) multiply-adds, C = 16
// (3.8 G of them).
#include "kernels/generalized_delta_rule/keys.cuh"

namespace recallbench {
namespace {

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

/// Rows of a matrix [keys, values] that lanes share along its values; 0 where there is none.
template <int Quads, int Lanes>
__device__ inline void load_matrix(const GeneralizedDeltaRulePlan& p, const WalkPlace& at,
                                   const float* from, float (&to)[kWalkAcross][4 * Quads],
                                   bool quads) {
  const int lane = static_cast<int>(threadIdx.x) % Lanes, values = static_cast<int>(p.values);
#pragma unroll
  for (int h = 0; h < kWalkAcross; ++h)
#pragma unroll
    for (int n = 0; n < Quads; ++n) {
      float x[4] = {};
      const int column = 4 * (n * Lanes + lane);
      if (from != nullptr && at.across + h < at.count) {
        const float* place = from + (at.first + at.across + h) * p.values + column;
        if (quads) {
          if (column < values) load_numbers<4>(place, x);
        } else {
#pragma unroll
          for (int i = 0; i < 4; ++i)
            if (column + i < values) x[i] = place[i];
        }
      }
#pragma unroll
      for (int i = 0; i < 4; ++i)
        to[h][4 * n + i] = x[i];
    }
}

/// Products of the chunk's rows with S before it and G after it, and of these two.
template <int Quads, int Lanes>
__device__ __forceinline__ void through_states(const KeyMemory& m, const WalkPlace& at,
                                               const float (&state)[kWalkAcross][4 * Quads],
                                               const float (&g)[kWalkAcross][4 * Quads]) {
  float passing[kWalkAcross] = {};
#pragma unroll
  for (int h = 0; h < kWalkAcross; ++h)
#pragma unroll
    for (int n = 0; n < 4 * Quads; ++n)
      passing[h] += state[h][n] * g[h][n];
  walk_sum<Lanes>(passing);
#pragma unroll
  for (int h = 0; h < kWalkAcross; ++h)
    if (at.writes) m.passing[at.across + h] = passing[h];
  for (int t = 0; t < kWalkChunk; ++t) {
    const int row = t * m.stride;
    float dq[kWalkAcross] = {}, dkappa[kWalkAcross] = {}, dk[kWalkAcross] = {};
    float db[kWalkAcross] = {};
#pragma unroll
    for (int n = 0; n < Quads; ++n) {
      const float4 v = walk_quad<Lanes>(m.v + row, n), r = walk_quad<Lanes>(m.removed + row, n);
      const float4 dy = walk_quad<Lanes>(m.dy + row, n), dr = walk_quad<Lanes>(m.dremoved + row, n);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int h = 0; h < kWalkAcross; ++h) {
          dq[h] += walk_number(dy, i) * state[h][4 * n + i];
          dkappa[h] += walk_number(dr, i) * state[h][4 * n + i];
          dk[h] += walk_number(v, i) * g[h][4 * n + i];
          db[h] += walk_number(r, i) * g[h][4 * n + i];
        }
    }
    walk_sum<Lanes>(dq);
    walk_sum<Lanes>(dkappa);
    walk_sum<Lanes>(dk);
    walk_sum<Lanes>(db);
    if (!at.writes) continue;
#pragma unroll
    for (int h = 0; h < kWalkAcross; ++h) {
      const int place = t * at.width + at.across + h;
      m.dq[place] = dq[h];
      m.dkappa[place] = dkappa[h];
      m.dk[place] = dk[h];
      m.db[place] = db[h];
    }
  }
}

/// do_i · v_j, do_i · r_j, dr_i · v_j, dr_i · r_j.
template <int Span>
__device__ __forceinline__ void make_weights(const KeyMemory& m) {
  constexpr int kPairs = kWalkChunk * kWalkChunk;
  for (int pair = static_cast<int>(threadIdx.x); pair < kPairs; pair += blockDim.x) {
    const int i = pair / kWalkChunk * m.stride, j = pair % kWalkChunk * m.stride;
    float sums[4] = {};
#pragma unroll 4
    for (int n = 0; n < Span / 4; ++n) {
      const float4 dy = walk_quad<1>(m.dy + i, n), dr = walk_quad<1>(m.dremoved + i, n);
      const float4 v = walk_quad<1>(m.v + j, n), r = walk_quad<1>(m.removed + j, n);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        sums[0] += walk_number(dy, c) * walk_number(v, c);
        sums[1] += walk_number(dy, c) * walk_number(r, c);
        sums[2] += walk_number(dr, c) * walk_number(v, c);
        sums[3] += walk_number(dr, c) * walk_number(r, c);
      }
    }
    store_numbers<2>({sums[0], sums[1]}, m.weights + 2 * pair);
    store_numbers<2>({sums[2], sums[3]}, m.weights + 2 * (kPairs + pair));
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
#pragma unroll
    for (int j = 0; j <= i - kLag; ++j) {
      float w[2];
      load_numbers<2>(weights + 2 * (i * kWalkChunk + j), w);
      const float faded = sum * e[j];
      share.dg[j] += path[j] * faded;
      share.dk[j] += w[0] * path[j];
      share.db[j] += w[1] * path[j];
      sum = faded + w[0] * k[j] + w[1] * b[j];
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

template <int Quads, int Lanes>
__global__ void __launch_bounds__(kWalkThreads, 3)
    generalized_delta_keys(GeneralizedDeltaRulePlan p, WalkShape shape,
                           GeneralizedDeltaRuleViews<float> in, KeyTensors x, bool quads) {
  extern __shared__ float4 memory[];
  constexpr int kSpan = 4 * Quads * Lanes;
  const WalkPlace at(p, shape, p.keys, Lanes, (p.length - 1) / kWalkChunk + 1, kWalkChunk);
  const KeyMemory m(reinterpret_cast<float*>(memory), kSpan, at.width);
  const int token = at.chunk * kWalkChunk;
  const auto of_keys = [&](const Batched<float>& tensor) {
    return WalkRows(tensor, at, token, at.head * p.keys + at.first, at.count, quads);
  };
  const auto load_values = [&](float* to, const Batched<float>& tensor) {
    walk_load(to, m.stride, kSpan,
              {tensor, at, token, at.head * p.values, static_cast<int>(p.values), quads});
  };
  float state[kWalkAcross][4 * Quads], g[kWalkAcross][4 * Quads];
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
  load_matrix<Quads, Lanes>(p, at, before, state, quads);
  load_matrix<Quads, Lanes>(p, at, after, g, quads);
  walk_wait();
  walk_make_decays(m.decay, kWalkChunk, at.width);
  __syncthreads();
  through_states<Quads, Lanes>(m, at, state, g);
  make_weights<kSpan>(m);
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

}  // namespace

void generalized_delta_keys_cuda(const CudaCall& call, const GeneralizedDeltaRulePlan& plan,
                                 const GeneralizedDeltaRuleViews<float>& in, const KeyTensors& x,
                                 bool quads) {
  walk_dispatch(plan.values, plan.keys, [&](const WalkShape& shape, auto n, auto lanes) {
    constexpr int kQuads = decltype(n)::value, kLanes = decltype(lanes)::value;
    walk_launch(call, "generalized_delta_keys", generalized_delta_keys<kQuads, kLanes>,
                x.dy.replicas * plan.items() * plan.chunks(), shape,
                KeyMemory::numbers(4 * kQuads * kLanes, shape.width), plan, shape, in, x, quads);
  });
}

}  // namespace recallbench
