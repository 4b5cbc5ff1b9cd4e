#pragma once

#include "kernels/ssd/backward_block.cuh"

// The gradients of one chunk of ssd, of which a warp has 16 tokens: as those that enter the state
// and are seen by later tokens (x, b), and as those that see (c). Pairs are computed once, with the
// tokens that are seen as rows: gradients of scores go to those that see through shared memory.

namespace recallbench {

/// The 16 tokens of a warp in chunk k, from 16 block on.
template <Precision P, int N>
struct SsdWarpTokens {
  static constexpr Product kProduct = ssd_product(P);
  static constexpr int kStates = N + kSsdPad;  // numbers between rows of b and c

  const SsdBackward& f;
  const SsdPlace& at;
  SsdBackwardChunk<N>& chunk;
  int k, block;

  __device__ int first() const { return 16 * block; }
  __device__ int row(int e) const { return first() + lane_row() + e / 2 * 8; }
  __device__ int token(int t) const { return k * kSsdChunk + t; }
  __device__ bool inside(int t) const { return token(t) < static_cast<int>(f.s.length); }
  __device__ bool first_states() const { return f.states.first == 0; }
  __device__ const SsdSteps& steps() const { return chunk.steps[k % 2]; }
  __device__ const SsdStateRows<N>& b() const { return chunk.b[k % 2]; }

  /// dx, db += and dd +=, what the pairs add to the gradients of ln a and Δ, and those of scores.
  /// `later`: whether there are chunks after this.
  __device__ void inputs_back(bool later, float (&db)[N / 8][4],
                              float (&dd)[kSsdChannels / 16][2]) const {
    SsdSums dx = {};
    float products[2] = {};
    const SsdRows<kProduct, kSsdChannels> x(chunk.x[first()], kSsdStride);
    if (later) {
      const float passing = steps().to_end(first() + 15);
      ssd_state_product<kProduct, N>(dx, passing, b()[first()], chunk.dstate);
      x.add_product(db, chunk.dstate[0], kSsdStride);
      dot_rows(db, b(), products);
#pragma unroll
      for (int n = 0; n < N / 8; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          db[n][e] *= passing;
    }
    pairs_back(x, dx, db);
    store_rows(products, chunk.products);
    store_inputs(dx, dd);
  }

  /// dc += that through y_t = a_0 ... a_t Sᵀ c_t, of a chunk after the first, and what that adds to
  /// the gradient of ln a of the lane's two rows.
  __device__ void outputs_back(float (&dc)[N / 8][4], float (&logs)[2]) const {
    const SsdRows<kProduct, kSsdChannels> dy(chunk.dy[first()], kSsdStride);
    dy.add_product(dc, chunk.state[0], kSsdStride);
    scale_rows(dc, steps().since_start);
    dot_rows(dc, chunk.c, logs);
  }

  /// What all lanes of a row have.
  __device__ void store_rows(const float (&values)[2], float* to) const {
    if (lane_column() != 0) return;
    to[row(0)] = values[0];
    to[row(2)] = values[1];
  }

  /// dc += that through the scores.
  __device__ void scores_back(float (&dc)[N / 8][4]) const {
    for (int seen = 0; seen <= block; ++seen)
      chunk.dscores.template add_product<kProduct>(dc, seen, first(), b()[16 * seen], kStates);
  }

  /// The block's shares of the gradients of b and c.
  __device__ void store_shares(const float (&db)[N / 8][4], const float (&dc)[N / 8][4]) const {
    store_share(0, db);
    store_share(1, dc);
  }

  /// To dt, dt_bias and a_log: ln a_r = -exp(a_log) Δ_r acts on all that crosses token r, `since`.
  /// The lane has two neighbouring tokens; da_log and dbias are its.
  __device__ void steps_back(float& da_log, float& dbias) const {
    const int lane = static_cast<int>(threadIdx.x) % 32, t = 2 * lane;
    float crossing[2], entering[2], ddelta[2], over = 0;
#pragma unroll
    for (int w = 0; w < kSsdWarps; ++w)
      over += chunk.dots[w];
    const auto two = [t](const float* from, float(&to)[2]) {
      const float2 both = *reinterpret_cast<const float2*>(from + t);
      to[0] = both.x;
      to[1] = both.y;
    };
    float products[2], of_column[2], of_output[2], of_entering[2], of_delta[2];
    two(chunk.products, products);
    two(chunk.column_sums[0], of_column);
    two(chunk.output_log, of_output);
    two(steps().entering, of_entering);
    two(chunk.column_sums[1], of_delta);
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      entering[j] = of_entering[j] * products[j];
      ddelta[j] = of_delta[j] + steps().to_end(t + j) * products[j];
      crossing[j] = of_column[j] + of_output[j];
    }
#pragma unroll
    for (int w = 0; w < kSsdWarps; ++w)
      if (w <= t / 16) {
        float of_row[2];
        two(chunk.row_log[w], of_row);
        crossing[0] += of_row[0];
        crossing[1] += of_row[1];
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
    const float steps_of[2] = {step_back(t, since + before + over, ddelta[0], da_log, dbias),
                               step_back(t + 1, crossing[1] + after + before + entering[0] + over,
                                         ddelta[1], da_log, dbias)};
#pragma unroll
    for (int j = 0; j < 2; ++j)
      if (inside(t + j)) store_step(t + j, steps_of[j]);
  }

 private:
  /// dx and db: those from later chunks, by way of the last of these 16 tokens; then all.
  __device__ void pairs_back(const SsdRows<kProduct, kSsdChannels>& x, SsdSums& dx,
                             float (&db)[N / 8][4]) const {
    const SsdSteps& st = steps();
    const int g = lane_row(), column = 2 * lane_column();
    float column_log[2], column_delta[2], later[2] = {};
    const SsdRows<kProduct, N> rows(b()[first()], kStates);
    const float delta[2] = {st.delta[row(0)], st.delta[row(2)]};
    const float leaving_delta[2] = {st.leaving_delta[row(0)], st.leaving_delta[row(2)]};
    const auto add_pairs = [&](auto diagonal, int seeing, float passing) {
      float w[2][4], ds[2][4], seen[2][4], change[2][2] = {};  // change: of the lane's two rows
      clear(w);
      clear(ds);
      rows.add_product(w, chunk.c[seeing], kStates);
      x.add_product(ds, chunk.dy[seeing], kSsdStride);
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const int t = seeing + 8 * n + column;
        const float2 arriving = *reinterpret_cast<const float2*>(&st.arriving[t]);
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int r = e / 2;
          if constexpr (!diagonal) {
            const float since = passing * (e % 2 == 0 ? arriving.x : arriving.y);
            ds[n][e] *= since;
            later[r] += ds[n][e] * w[n][e];
            seen[n][e] = ds[n][e] * leaving_delta[r];
            change[n][e % 2] += seen[n][e] * w[n][e];
            w[n][e] *= since;
          } else if (n < r) {
            w[n][e] = ds[n][e] = seen[n][e] = 0;
          } else {
            const int distance = t + e % 2 - row(e);
            const float power = st.between(row(e), t + e % 2);
            const float decay = n > r || distance >= 0 ? power : 0.0f;
            const float through = ds[n][e] * decay, both = through * w[n][e];
            column_delta[r] += both;
            // The diagonal has no decay: what it would add and take away cancels.
            const float crossing = n > r || distance > 0 ? both * delta[r] : 0.0f;
            column_log[r] -= crossing;
            change[n][e % 2] += crossing;
            w[n][e] *= decay * delta[r];
            ds[n][e] = seen[n][e] = through * delta[r];
          }
        }
      }
      chunk.dscores.store(block, seeing, seen);
      const float sum = ssd_row_sums(change);
      SsdWeights<kProduct>(w).add_product(dx, chunk.dy[seeing]);
      fragment_product<kProduct>(db, ds[0], ds[1], chunk.c[seeing], kStates);
      if (g % 2 == 0) chunk.row_log[block][seeing + g / 4 * 8 + column + g / 2 % 2] = sum;
    };
    float passing = 1;  // over the blocks between
#pragma unroll 1
    for (int seeing = first() + 16; seeing < kSsdChunk; seeing += 16) {
      add_pairs(std::false_type{}, seeing, passing);
      passing *= st.over_block(seeing);
    }
    ssd_scale(dx, st.leaving_delta + first());
    scale_rows(db, st.leaving_delta);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      column_delta[r] = st.leaving[row(2 * r)] * later[r];
      column_log[r] = -leaving_delta[r] * later[r];
    }
    add_pairs(std::true_type{}, first(), 1);
    const float sum =
        ssd_column_sums({column_log[0], column_log[1], column_delta[0], column_delta[1]});
    chunk.column_sums[lane_column() / 2][row(lane_column() % 2 * 2)] = sum;
  }

  __device__ void store_inputs(const SsdSums& dx, float (&dd)[kSsdChannels / 16][2]) const {
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e)
#pragma unroll
        for (int m = 0; m < kSsdChannels / 16; ++m) {
          const int t = first() + 8 * n + 2 * lane_column() + e, p = 16 * m + 2 * lane_row();
          const float2 dy = *reinterpret_cast<const float2*>(&chunk.dy[t][p]);
          const float2 x = *reinterpret_cast<const float2*>(&chunk.x[t][p]);
          dd[m][0] += dy.x * x.x;
          dd[m][1] += dy.y * x.y;
        }
    if (f.out.x.wanted)
      SsdOutput{chunk.places.dx, f.out.x.accumulate || !first_states(), f.aligned.output}.store(
          f.s, at, token(0), first(), dx, chunk.skips, chunk.dy);
  }

  /// The block's share of the gradient of b (which = 0) or c (1).
  __device__ void store_share(int which, const float (&d)[N / 8][4]) const {
    const int width = f.states.share();
#pragma unroll
    for (int e = 0; e < 4; e += 2) {
      if (!inside(row(e))) continue;
      float* const share =
          chunk.places.share.token(token(row(e))) + which * width + 2 * lane_column();
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

  /// The gradient of token t's step before softplus; tokens beyond the sequence have Δ = 0.
  __device__ float step_back(int t, float since, float ddelta, float& da_log, float& dbias) const {
    const float delta = steps().delta[t], rate = chunk.places.from.rate;
    // Nothing crosses a decay to 0: a rounding error times a large rate would be left.
    if (ssd_power(ssd_log_decay(rate, delta)) == 0.0f) since = 0;
    da_log -= since * rate * delta;
    const float slope = -expm1f(-delta);  // of softplus, whose value is Δ
    const float step = slope * (ddelta - rate * since);
    dbias += step;
    return step;
  }

  __device__ void store_step(int t, float step) const {
    if (at.parts == 1) {
      if (!f.out.dt.wanted) return;
      float* const to = chunk.places.ddt.token(token(t));
      *to = f.out.dt.accumulate || !first_states() ? *to + step : step;
    } else {
      const Index rows = f.s.examples * f.s.length;
      f.shares.steps[((at.replica * at.parts + at.part) * rows + at.row + token(t)) * f.s.heads +
                     at.head] = step;
    }
  }
};

}  // namespace recallbench
