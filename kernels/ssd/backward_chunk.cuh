#pragma once

#include "kernels/cuda/reduce.cuh"
#include "kernels/ssd/products.cuh"
#include "kernels/ssd/shares.cuh"

// The gradients of one chunk of ssd, of which a warp has 16 tokens: as those that enter the state
// and are seen by later tokens (x, b), and as those that see (c). Pairs are computed once, with the
// tokens that are seen as rows: gradients of scores go to those that see through shared memory.

namespace recallbench {

/// What a launch of ssd's backward knows.
struct SsdBackward {
  SsdSize s;
  SsdStates states;
  SsdAligned aligned;
  Index parts;
  SsdViews<float> in;
  Batched<float> dy, kept;  // kept: states before chunks
  SsdGradients<float> out;
  SsdShares shares;
};

/// Gradients of the scores' transpose: rows s, columns t >= s, in blocks of 16 rows, each as long
/// as it must be and four numbers more.
struct SsdPairs {
  float numbers[16 * (68 + 52 + 36 + 20)];

  static __device__ int stride(int block) { return kSsdChunk + kSsdPad - 16 * block; }
  /// Where column t of the block's first row lies, t >= 16 block.
  __device__ float* column(int block, int t) {
    return numbers + 16 * block * (kSsdChunk + kSsdPad) - 128 * block * (block - 1) + t -
           16 * block;
  }
};

/// Shared memory of a block. Sums that make the gradients of ln a and Δ: of those that see, by each
/// block of 16 seen, of those seen, and of the state.
template <int N>
struct SsdBackwardChunk {
  SsdTokens x, dy;
  SsdStateRows<N> b[2], c;    // b: of even and odd chunks
  SsdState<N> state, dstate;  // before the chunk; the gradient after it
  SsdPairs dscores;
  SsdSteps steps[2];
  float row_log[kSsdWarps][kSsdChunk], column_log[kSsdChunk], column_delta[kSsdChunk];
  float output_log[kSsdChunk], products[kSsdChunk];
  float dots[kSsdWarps];
};

/// The lane's part of <state, other>.
template <int N>
__device__ inline float ssd_state_dot(const SsdStateFragments<N>& state, const SsdState<N>& other) {
  float dot = 0;
  ssd_for_state<N>([&](int m, int j, int e, int n, int p) {
    const float2 pair = *reinterpret_cast<const float2*>(&other[n][p]);
    dot += state[m][j][e] * pair.x + state[m][j][e + 1] * pair.y;
  });
  return dot;
}

/// The sums over the rows of two neighbouring fragments; the lane gets that of column
/// 8 (g / 4) + 2t + g / 2 % 2.
__device__ inline float ssd_row_sums(const float (&c)[2][4]) {
  const int g = lane_row();
  float two[2];
#pragma unroll
  for (int e = 0; e < 2; ++e) {
    const float a = c[0][e] + c[0][e + 2], b = c[1][e] + c[1][e + 2];
    const float other = __shfl_xor_sync(0xffffffffu, g & 4 ? a : b, 16);
    two[e] = (g & 4 ? b : a) + other;
  }
  const float other = __shfl_xor_sync(0xffffffffu, g & 2 ? two[0] : two[1], 8);
  const float sum = (g & 2 ? two[1] : two[0]) + other;
  return sum + __shfl_xor_sync(0xffffffffu, sum, 4);
}

/// The 16 tokens of a warp in chunk k, from 16 block on.
template <Precision P, int N>
struct SsdWarpTokens {
  static constexpr Product kProduct = ssd_product(P);
  static constexpr int kStates = N + kSsdPad;  // numbers between rows of b and c

  const SsdBackward& f;
  const SsdPlace& at;
  SsdBackwardChunk<N>& chunk;
  Index k;
  int block;

  __device__ int first() const { return 16 * block; }
  __device__ int row(int e) const { return first() + lane_row() + e / 2 * 8; }
  __device__ Index token(int t) const { return k * kSsdChunk + t; }
  __device__ bool first_states() const { return f.states.first == 0; }
  __device__ const SsdSteps& steps() const { return chunk.steps[k % 2]; }
  __device__ const SsdStateRows<N>& b() const { return chunk.b[k % 2]; }

  /// dx, db and dd, what the pairs add to the gradients of ln a and Δ, and those of scores.
  /// `later`: whether there are chunks after this.
  __device__ void inputs_back(bool later, float (&dd)[kSsdChannels / 8][2]) const {
    float dx[kSsdChannels / 8][4], db[N / 8][4];
    clear(dx);
    clear(db);
    float products[2] = {};
    const SsdRows<kProduct, kSsdChannels> x(chunk.x[first()], kSsdStride);
    if (later) {
      ssd_mixed_product<kProduct>(dx, b()[first()], kStates, chunk.dstate[0], kSsdStride, N);
      x.add_product(db, chunk.dstate[0], kSsdStride);
      dot_rows(db, b(), products);
      scale_rows(dx, steps().entering);
      scale_rows(db, steps().entering);
    }
    store_rows(products, chunk.products);
    pairs_back(x, dx, db);
    store_inputs(dx, dd);
    store_share(0, db);
  }

  /// dc += that through y_t = a_0 ... a_t Sᵀ c_t.
  __device__ void outputs_back(float (&dc)[N / 8][4]) const {
    float logs[2] = {};
    if (k > 0) {
      const SsdRows<kProduct, kSsdChannels> dy(chunk.dy[first()], kSsdStride);
      dy.add_product(dc, chunk.state[0], kSsdStride);
      scale_rows(dc, steps().since_start);
      dot_rows(dc, chunk.c, logs);
    }
    store_rows(logs, chunk.output_log);
  }

  /// dc += that through the scores, and its share.
  __device__ void scores_back(float (&dc)[N / 8][4]) const {
    for (int seen = 0; seen <= block; ++seen)
      columns_product<kProduct>(dc, chunk.dscores.column(seen, first()), SsdPairs::stride(seen),
                                b()[16 * seen], kStates, 16);
    store_share(1, dc);
  }

  /// To dt, dt_bias and a_log: ln a_r = -exp(a_log) Δ_r acts on all that crosses token r, `since`.
  /// The lane has two neighbouring tokens; da_log and dbias are its.
  __device__ void steps_back(float rate, float& da_log, float& dbias) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    float crossing[2], entering[2], ddelta[2], over = 0;
    for (int w = 0; w < kSsdWarps; ++w)
      over += chunk.dots[w];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int t = 2 * lane + j;
      entering[j] = steps().entering[t] * chunk.products[t];
      ddelta[j] = chunk.column_delta[t] + steps().to_end(t) * chunk.products[t];
      crossing[j] = chunk.column_log[t] + chunk.output_log[t];
      for (int w = 0; w <= t / 16; ++w)
        crossing[j] += chunk.row_log[w][t];
    }
    float since = crossing[0] + crossing[1], earlier = entering[0] + entering[1];
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
      const float after = __shfl_down_sync(0xffffffffu, since, offset);
      const float before = __shfl_up_sync(0xffffffffu, earlier, offset);
      if (lane + offset < 32) since += after;
      if (lane >= offset) earlier += before;
    }
    float after = __shfl_down_sync(0xffffffffu, since, 1);
    float before = __shfl_up_sync(0xffffffffu, earlier, 1);
    if (lane == 31) after = 0;
    if (lane == 0) before = 0;
    over *= steps().over_chunk();
    step_back(2 * lane, since + before + over, ddelta[0], rate, da_log, dbias);
    step_back(2 * lane + 1, crossing[1] + after + before + entering[0] + over, ddelta[1], rate,
              da_log, dbias);
  }

 private:
  __device__ void pairs_back(const SsdRows<kProduct, kSsdChannels>& x,
                             float (&dx)[kSsdChannels / 8][4], float (&db)[N / 8][4]) const {
    const SsdSteps& st = steps();
    const int g = lane_row(), column = 2 * lane_column(), end = first() + 15;
    float column_log[2] = {}, column_delta[2] = {}, later[2] = {};
    const SsdRows<kProduct, N> rows(b()[first()], kStates);
    const float delta[2] = {st.delta[row(0)], st.delta[row(2)]};
    // Of later blocks: decays by way of the last token of these 16.
    const float leaving[2] = {st.leaving[row(0)], st.leaving[row(2)]};
    const float leaving_delta[2] = {leaving[0] * delta[0], leaving[1] * delta[1]};
    const auto add_pairs = [&](auto diagonal, int seeing) {
      float w[2][4], ds[2][4], change[2][4];
      clear(w);
      clear(ds);
      rows.add_product(w, chunk.c[seeing], kStates);
      x.add_product(ds, chunk.dy[seeing], kSsdStride);
      float* const pairs = chunk.dscores.column(block, seeing + column);
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const int t = seeing + 8 * n + column;
        if constexpr (diagonal) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            const int r = e / 2, distance = t + e % 2 - row(e);
            const float power = st.between(row(e), t + e % 2);
            const float decay = distance >= 0 ? power : 0.0f, through = ds[n][e] * decay;
            column_delta[r] += through * w[n][e];
            // The diagonal has no decay: what it would add and take away cancels.
            change[n][e] = distance > 0 ? through * w[n][e] * delta[r] : 0.0f;
            column_log[r] -= change[n][e];
            w[n][e] *= decay * delta[r];
            ds[n][e] = through * delta[r];
          }
        } else {
          const float since[2] = {st.between(end, t), st.between(end, t + 1)};
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            const int r = e / 2;
            const float through = ds[n][e] * since[e % 2], both = through * w[n][e];
            later[r] += both;
            change[n][e] = both * leaving_delta[r];
            w[n][e] *= since[e % 2] * leaving_delta[r];
            ds[n][e] = through * leaving_delta[r];
          }
        }
#pragma unroll
        for (int e = 0; e < 4; e += 2)
          *reinterpret_cast<float2*>(pairs + (g + 4 * e) * SsdPairs::stride(block) + 8 * n) =
              make_float2(ds[n][e], ds[n][e + 1]);
      }
      const float sum = ssd_row_sums(change);
      if (g % 2 == 0) chunk.row_log[block][seeing + g / 4 * 8 + column + g / 2 % 2] = sum;
      fragment_product<kProduct>(dx, w[0], w[1], chunk.dy[seeing], kSsdStride);
      fragment_product<kProduct>(db, ds[0], ds[1], chunk.c[seeing], kStates);
    };
    add_pairs(std::true_type{}, first());
#pragma unroll 1
    for (int seeing = first() + 16; seeing < kSsdChunk; seeing += 16)
      add_pairs(std::false_type{}, seeing);
    for (int r = 0; r < 2; ++r) {
      column_delta[r] += leaving[r] * later[r];
      column_log[r] -= leaving_delta[r] * later[r];
    }
    for (int r = 0; r < 2; ++r) {
      column_log[r] = warp_sum<4>(column_log[r]);
      column_delta[r] = warp_sum<4>(column_delta[r]);
    }
    store_rows(column_log, chunk.column_log);
    store_rows(column_delta, chunk.column_delta);
  }

  __device__ void store_inputs(const float (&dx)[kSsdChannels / 8][4],
                               float (&dd)[kSsdChannels / 8][2]) const {
#pragma unroll
    for (int n = 0; n < kSsdChannels / 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; e += 2) {
        const int p = 8 * n + 2 * lane_column();
        const float2 dy = *reinterpret_cast<const float2*>(&chunk.dy[row(e)][p]);
        const float2 x = *reinterpret_cast<const float2*>(&chunk.x[row(e)][p]);
        dd[n][0] += dy.x * x.x;
        dd[n][1] += dy.y * x.y;
      }
    if (f.out.x.wanted)
      SsdOutput{f.out.x.view, f.out.x.accumulate || !first_states(), f.aligned.output,
                first_states()}
          .store(f.s, at, f.in.d, k * kSsdChunk, first(), dx, chunk.dy);
  }

  /// The block's share of the gradient of b (which = 0) or c (1).
  __device__ void store_share(int which, const float (&d)[N / 8][4]) const {
    const int width = f.states.share();
#pragma unroll
    for (int e = 0; e < 4; e += 2) {
      if (token(row(e)) >= f.s.length) continue;
      const Index to =
          (at.replica * f.s.heads * at.parts + at.head_part()) * f.s.examples * f.s.length +
          at.row + token(row(e));
      float* const share = f.shares.tokens + (2 * to + which) * width + 2 * lane_column();
#pragma unroll
      for (int n = 0; n < N / 8; ++n)
        if (8 * n + 2 * lane_column() < width)
          *reinterpret_cast<float2*>(share + 8 * n) = make_float2(d[n][e], d[n][e + 1]);
    }
  }

  template <int M>
  __device__ void scale_rows(float (&c)[M][4], const float* factors) const {
    const float upper = factors[row(0)], lower = factors[row(2)];
#pragma unroll
    for (int n = 0; n < M; ++n) {
      c[n][0] *= upper;
      c[n][1] *= upper;
      c[n][2] *= lower;
      c[n][3] *= lower;
    }
  }

  /// <c, other> of the lane's two rows.
  __device__ void dot_rows(const float (&c)[N / 8][4], const SsdStateRows<N>& other,
                           float (&dots)[2]) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float dot = 0;
#pragma unroll
      for (int n = 0; n < N / 8; ++n) {
        const float2 two =
            *reinterpret_cast<const float2*>(&other[row(2 * r)][8 * n + 2 * lane_column()]);
        dot += c[n][2 * r] * two.x + c[n][2 * r + 1] * two.y;
      }
      dots[r] = warp_sum<4>(dot);
    }
  }

  __device__ void store_rows(const float (&values)[2], float* to) const {
    if (lane_column() != 0) return;
    to[row(0)] = values[0];
    to[row(2)] = values[1];
  }

  __device__ void step_back(int t, float since, float ddelta, float rate, float& da_log,
                            float& dbias) const {
    if (token(t) >= f.s.length) return;
    const float delta = steps().delta[t];
    // Nothing crosses a decay to 0: a rounding error times a large rate would be left.
    if (ssd_power(ssd_log_decay(rate, delta)) == 0.0f) since = 0;
    da_log -= since * rate * delta;
    const float slope = -expm1f(-delta);  // of softplus, whose value is Δ
    const float step = slope * (ddelta - rate * since);
    dbias += step;
    const Index to = at.row + token(t);
    if (at.parts == 1)
      ssd_store(f.out.dt, at.replica, to, at.head, f.out.dt.accumulate || !first_states(), step);
    else
      f.shares
          .steps[((at.replica * at.parts + at.part) * f.s.examples * f.s.length + to) * f.s.heads +
                 at.head] = step;
  }
};

/// The block's shares of da_log and ddt_bias, of which each lane has a part.
template <int N>
__device__ void ssd_store_rates(const SsdBackward& f, const SsdPlace& at, float da_log, float dbias,
                                SsdBackwardChunk<N>& chunk) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  da_log = warp_sum(da_log);
  dbias = warp_sum(dbias);
  __syncthreads();  // all of the last chunk is read
  if (threadIdx.x % 32 == 0) {
    chunk.column_log[warp] = da_log;
    chunk.column_delta[warp] = dbias;
  }
  __syncthreads();
  if (threadIdx.x > 1) return;
  const float* const warps = threadIdx.x == 0 ? chunk.column_log : chunk.column_delta;
  float sum = 0;
  for (int w = 0; w < kSsdWarps; ++w)
    sum += warps[w];
  f.shares
      .rates[(((at.replica * f.s.examples + at.example) * at.parts + at.part) * 2 + threadIdx.x) *
                 f.s.heads +
             at.head] = sum;
}

/// The block's shares of dd, after those of the rates.
template <int N>
__device__ void ssd_store_skips(const SsdBackward& f, const SsdPlace& at,
                                const float (&dd)[kSsdChannels / 8][2],
                                SsdBackwardChunk<N>& chunk) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
  for (int n = 0; n < kSsdChannels / 8; ++n)
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      float sum = dd[n][e];
#pragma unroll
      for (int offset = 4; offset < 32; offset *= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, offset);
      if (lane_row() == 0) chunk.row_log[warp][8 * n + 2 * lane_column() + e] = sum;
    }
  __syncthreads();
  if (warp > 0) return;
  float sums[2] = {};
#pragma unroll
  for (int j = 0; j < 2; ++j)
    for (int w = 0; w < kSsdWarps; ++w)
      sums[j] += chunk.row_log[w][threadIdx.x + 32 * j];
  if (f.s.skips == f.s.heads) {
    const float sum = warp_sum(sums[0] + sums[1]);
    if (threadIdx.x == 0)
      f.shares.skips[((at.replica * f.s.examples + at.example) * at.parts + at.part) * f.s.heads +
                     at.head] = sum;
    return;
  }
  for (int j = 0; j < 2; ++j) {
    const int p = static_cast<int>(threadIdx.x) + 32 * j;
    if (p < at.channels)
      f.shares.skips[(at.replica * f.s.examples + at.example) * f.s.skips + at.channel + p] =
          sums[j];
  }
}

}  // namespace recallbench
