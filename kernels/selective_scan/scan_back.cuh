#pragma once

#include "kernels/selective_scan/scan.cuh"

// A chunk of selective_scan backward, of one thread.

namespace recallbench {

inline constexpr int kScanPiece = 4;  // tokens whose states are in registers
inline constexpr int kScanPieces = kScanChunk / kScanPiece;

/// A thread's place, where it reads of b and c, and where it leaves shares of db and dc: both from
/// the beginning of a token's.
template <int P>
struct ScanBackPlace : ScanPlace<P, true> {
  static constexpr int kHalf = P % 2 == 0 ? P / 2 : P;              // after a sum over two lanes
  static constexpr int kLast = kHalf % 2 == 0 ? kHalf / 2 : kHalf;  // the states of one's shares
  int reads, leaves, slot;

  __device__ explicit ScanBackPlace(const ScanSize& s) : ScanPlace<P, true>(s) {
    constexpr int kWidth = ScanTile<P>::kWidth;
    const int place = this->place, first = kHalf % 2 == 0 && place & 1 ? kLast : 0;
    reads = scan_keep((this->swapped() ? kWidth : 0) + this->group * P);
    leaves = scan_keep(place / 2 % 2 * kWidth + this->state(first));
    slot = scan_keep(threadIdx.x / 32 * kScanPieces);
  }
};

/// Shared memory of a block.
template <int P>
struct alignas(16) ScanBackChunk {
  static constexpr int kWidth = ScanTile<P>::kWidth, kValues = ScanTile<P>::kValues;
  static constexpr int kWarps = ScanTile<P>::kWarps;
  /// Of a warp and a piece: the states before it, until they are read; then the warp's shares of db
  /// and dc.
  union Slot {
    float4 states[kValues / 4][32];
    float tokens[kScanPiece][2][kWidth];
  };

  float2 delta_u[kScanChunk][kScanChannels];  // Δ and Δ x
  // b and c; where P is even a second copy, as ScanPlace::swapped has it
  static constexpr int kCopies = P % 2 == 0 ? 2 : 1;
  alignas(16) float b[kScanChunk][kCopies][kWidth];
  alignas(16) float c[kScanChunk][kCopies][kWidth];
  Slot slots[kWarps][kScanPieces];
  float dy[kScanChunk][kScanChannels];
};

/// v[i] += the partner's, of the lane 4 kBit away. With N even: each gets one half of the sums, the
/// upper lane the upper.
template <int N, int kBit>
__device__ void scan_sum_of_two(int place, float (&v)[N], float (&to)[N % 2 == 0 ? N / 2 : N]) {
  if constexpr (N % 2 != 0) {
#pragma unroll
    for (int i = 0; i < N; ++i)
      to[i] = v[i] + __shfl_xor_sync(kScanLanes, v[i], kBit * kScanGroups);
  } else {
    const bool upper = place & kBit;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      const float keep = upper ? v[i + N / 2] : v[i], send = upper ? v[i] : v[i + N / 2];
      to[i] = keep + __shfl_xor_sync(kScanLanes, send, kBit * kScanGroups);
    }
  }
}

/// The warp's shares of db and dc of one token, v: the thread's of all its states, in its order.
/// The sums over the eight places are first shared by halves of the states, of which the lower half
/// in a lane's order is its own; then by db and dc; then by halves again.
template <int P>
__device__ void scan_store_token(float (&v)[2][P], const ScanBackPlace<P>& at,
                                 float (*to)[kScanGroups * P]) {
  constexpr int kHalf = ScanBackPlace<P>::kHalf, kLast = ScanBackPlace<P>::kLast;
  float half[2 * kHalf], mine[kHalf], last[kLast];
#pragma unroll
  for (int i = 0; i < 2; ++i)
#pragma unroll
    for (int p = 0; p < kHalf; ++p) {
      const float send = v[i][P % 2 == 0 ? p + kHalf : p];
      half[i * kHalf + p] = v[i][p] + __shfl_xor_sync(kScanLanes, send, 4 * kScanGroups);
    }
  scan_sum_of_two<2 * kHalf, 2>(at.place, half, mine);
  scan_sum_of_two<kHalf, 1>(at.place, mine, last);
  if ((P % 2 != 0 && at.place & 4) || (kHalf % 2 != 0 && at.place & 1)) return;  // another's sums
#pragma unroll
  for (int m = 0; m < kLast; ++m)
    to[0][at.leaves + m] = last[m];
}

/// What a thread reads of a token for its channels and states.
template <int P>
struct ScanToken {
  static constexpr int kChannels = ScanTile<P>::kChannels;
  float delta[kChannels], u[kChannels], b[P];

  __device__ ScanToken(const ScanBackChunk<P>& chunk, const ScanBackPlace<P>& at, int i) {
    scan_read(chunk.b[i][0] + at.reads, b);
#pragma unroll
    for (int k = 0; k < kChannels; ++k) {
      const float2 v = chunk.delta_u[i][at.column[k]];
      delta[k] = v.x, u[k] = v.y;
    }
  }
};

/// A chunk's rows of dx and ddt at a thread's column[0], whose sums over states it gets.
struct ScanBackRows {
  float *dx, *ddt;
  unsigned x_stride, dt_stride;
  int column, count;  // rows that exist
  bool store_x, store_dt, add_x, add_dt;
  float d;  // 0 after the first launch

  template <int P>
  __device__ ScanBackRows(const ScanSize& s, const ScanBackPlace<P>& at, Index t, float skip,
                          const ScanGradients<float>& out, bool first_states)
      : dx(scan_keep(at.channels(out.x.view, at.row + t) + at.column[0])),
        ddt(scan_keep(at.channels(out.dt.view, at.row + t) + at.column[0])),
        x_stride(static_cast<unsigned>(out.x.view.stride)),
        dt_stride(static_cast<unsigned>(out.dt.view.stride)),
        column(at.column[0]),
        count(at.channel(0) < s.channels ? static_cast<int>(min(s.length - t, Index{kScanChunk}))
                                         : 0),
        store_x(out.x.wanted),
        store_dt(out.dt.wanted),
        add_x(out.x.wanted && (out.x.accumulate || !first_states)),
        add_dt(out.dt.wanted && (out.dt.accumulate || !first_states)),
        d(skip) {}

  /// What row i of dx and ddt is added to.
  __device__ float2 before(int i) const {
    return make_float2(add_x && i < count ? dx[i * x_stride] : 0.0f,
                       add_dt && i < count ? ddt[i * dt_stride] : 0.0f);
  }

  /// dx = Δ r + d dy and ddt = softplus'(dt) (x r + ln 2 q) = softplus'(dt) / Δ (u r + ln 2 Δ q) of
  /// row i, where it exists, upon `before`.
  __device__ void store(int i, float2 before, float2 delta_u, float dy, float r, float q) const {
    const float dx_i = before.x + delta_u.x * r + d * dy;
    const float ddt_i = before.y + scan_slope(delta_u.x) * (delta_u.y * r + kLn2 * delta_u.x * q);
    if (store_x && i < count) dx[i * x_stride] = dx_i;
    if (store_dt && i < count) ddt[i * dt_stride] = ddt_i;
  }
};

/// A thread's states on their way back: number k P + p is state p of channel k.
template <int P>
struct ScanBackLane {
  static constexpr int kChannels = ScanTile<P>::kChannels, kTokens = ScanTile<P>::kTokens;
  static constexpr int kValues = ScanTile<P>::kValues;
  float a2[kValues], g[kValues] = {}, da[kValues] = {};

  __device__ void step(const ScanToken<P>& token, const float (&h)[kValues], float (&a)[kValues],
                       float (&next)[kValues]) const {
#pragma unroll
    for (int k = 0; k < kChannels; ++k)
#pragma unroll
      for (int p = 0; p < P; ++p) {
        const int e = k * P + p;
        a[e] = scan_exp2(token.delta[k] * a2[e]);
        next[e] = a[e] * h[e] + token.u[k] * token.b[p];
      }
  }

  /// The states before each piece from h, that before the chunk; h to that before the last piece.
  __device__ void fill_starts(ScanBackChunk<P>& chunk, const ScanBackPlace<P>& at,
                              float (&h)[kValues]) const {
    for (int piece = 0; piece + 1 < kScanPieces; ++piece) {
      auto& to = chunk.slots[0][at.slot + piece].states;
#pragma unroll
      for (int e = 0; e < kValues; e += 4)
        to[e / 4][threadIdx.x % 32] = make_float4(h[e], h[e + 1], h[e + 2], h[e + 3]);
#pragma unroll
      for (int j = 0; j < kScanPiece; ++j) {
        float a[kValues];
        step(ScanToken<P>(chunk, at, piece * kScanPiece + j), h, a, h);
      }
    }
  }

  /// Token i back: `before` and `after` it are the states, `a` the decays. r = Σ_n g b and
  /// q = Σ_n m a2, with m = g ⊙ (what h_{t-1} brings to h_t), are the thread's shares.
  __device__ void step_back(const ScanBackChunk<P>& chunk, const ScanBackPlace<P>& at, int i,
                            const float (&a)[kValues], const float (&before)[kValues],
                            const float (&after)[kValues], float (&r)[kChannels],
                            float (&q)[kChannels], float (*tokens)[kScanGroups * P]) {
    const ScanToken<P> token(chunk, at, i);
    float c[P], shares[2][P] = {};  // of db and dc
    scan_read(chunk.c[i][0] + at.reads, c);
#pragma unroll
    for (int k = 0; k < kChannels; ++k) {
      const float dy = chunk.dy[i][at.column[k]];
      r[k] = 0, q[k] = 0;
#pragma unroll
      for (int p = 0; p < P; ++p) {
        const int e = k * P + p;
        const float gradient = g[e] + dy * c[p];
        g[e] = gradient * a[e];
        const float m = g[e] * before[e];
        r[k] += gradient * token.b[p];
        q[k] += m * a2[e];
        da[e] += token.delta[k] * m;
        shares[0][p] += gradient * token.u[k];
        shares[1][p] += after[e] * dy;
      }
    }
    scan_store_token<P>(shares, at, tokens);
  }

  /// A piece back, from the state before it.
  __device__ void piece_back(ScanBackChunk<P>& chunk, const ScanBackPlace<P>& at, int piece,
                             const ScanBackRows& rows, const float (&h)[kValues]) {
    const int first = piece * kScanPiece;
    float a[kScanPiece][kValues], states[kScanPiece + 1][kValues];
    float2 earlier[kScanPiece / kTokens];
#pragma unroll
    for (int e = 0; e < kValues; ++e)
      states[0][e] = h[e];
#pragma unroll
    for (int j = 0; j < kScanPiece / kTokens; ++j) {
      earlier[j] = rows.before(first + j * kTokens + at.token());
    }
#pragma unroll
    for (int j = 0; j < kScanPiece; ++j)
      step(ScanToken<P>(chunk, at, first + j), states[j], a[j], states[j + 1]);
    __syncwarp();  // all have read the slot
    auto& tokens = chunk.slots[0][at.slot + piece].tokens;
#pragma unroll
    for (int j = kScanPiece / kTokens - 1; j >= 0; --j) {
      float r[kTokens][kChannels], q[kTokens][kChannels];
#pragma unroll
      for (int n = kTokens - 1; n >= 0; --n) {
        const int i = j * kTokens + n;
        step_back(chunk, at, first + i, a[i], states[i], states[i + 1], r[n], q[n], tokens[i]);
      }
      const float sum_r = scan_sum_states(at.group, r), sum_q = scan_sum_states(at.group, q);
      const int i = first + j * kTokens + at.token();
      rows.store(i, earlier[j], chunk.delta_u[i][rows.column], chunk.dy[i][rows.column], sum_r,
                 sum_q);
    }
  }

  /// A whole chunk back, from the state `h` before it.
  __device__ void chunk_back(ScanBackChunk<P>& chunk, const ScanBackPlace<P>& at,
                             const ScanBackRows& rows, float (&h)[kValues]) {
    fill_starts(chunk, at, h);
    for (int piece = kScanPieces - 1; piece >= 0; --piece) {
      if (piece + 1 < kScanPieces) {
        const auto& from = chunk.slots[0][at.slot + piece].states;
#pragma unroll
        for (int e = 0; e < kValues; e += 4) {
          const float4 v = from[e / 4][threadIdx.x % 32];
          h[e] = v.x, h[e + 1] = v.y, h[e + 2] = v.z, h[e + 3] = v.w;
        }
      }
      piece_back(chunk, at, piece, rows, h);
    }
  }
};

}  // namespace recallbench
