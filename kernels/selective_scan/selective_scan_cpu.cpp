#include "kernels/selective_scan/selective_scan_cpu.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/elementwise/softplus.h"
#include "kernels/selective_scan/exp2.h"
#include "kernels/tensor/matrix_gradient.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// A block of work is one example and kLanes channels. It goes through the sequence in chunks of
// kChunk tokens and, within one, kGroup states at a time, so that the decays and states of a chunk,
// which backward needs, stay in the cache. Channels and states are padded with zeros: all loops
// over lanes have one constant length.
constexpr Index kChunk = 32;
constexpr Index kLanes = 32;
constexpr Index kGroup = 4;

template <class T>
using Lanes = T[kLanes];

Index ceil_div(Index a, Index b) {
  return (a + b - 1) / b;
}
Index padded_states(const ScanSize& s) {
  return ceil_div(s.states, kGroup) * kGroup;
}
Index channel_blocks(const ScanSize& s) {
  return ceil_div(s.channels, kLanes);
}
/// Numbers of one state [N padded, kLanes].
Index block_state(const ScanSize& s) {
  return padded_states(s) * kLanes;
}
/// Of one block in backward: the state's gradient, shares of da [N padded, kLanes], of dd [kLanes]
/// and of db, dc [L, 2, N padded].
Index backward_block(const ScanSize& s) {
  return 2 * block_state(s) + kLanes + s.length * 2 * padded_states(s);
}

/// What a block of work reads and writes: its rows, first channel and channels.
struct Block {
  Index example, number, first, width;
  Block(const ScanSize& s, Index index)
      : example(index / channel_blocks(s)),
        number(index % channel_blocks(s)),
        first(number * kLanes),
        width(std::min(kLanes, s.channels - first)) {}
};

/// A log2(e), laid out [channel block][N padded][kLanes]; so exp(Δ A) = 2^(Δ a2).
template <class T>
void load_a2(const ScanSize& s, const Matrix<T>& a_log, T* a2) {
  std::fill_n(a2, channel_blocks(s) * block_state(s), T(0));
  for (Index c = 0; c < s.channels; ++c)
    for (Index n = 0; n < s.states; ++n)
      a2[c / kLanes * block_state(s) + n * kLanes + c % kLanes] =
          -std::exp(a_log.row(c)[n]) * std::numbers::log2e_v<T>;
}

/// Rows of a chunk, `width` columns from `first`, padded.
template <class T>
void load_lanes(const Matrix<T>& from, Index row, Index rows, const Block& block, Lanes<T>* to) {
  for (Index t = 0; t < rows; ++t) {
    std::copy_n(from.row(row + t) + block.first, block.width, to[t]);
    std::fill(to[t] + block.width, to[t] + kLanes, T(0));
  }
}

/// One chunk of one block, as both directions use it.
template <class T>
struct Chunk {
  Index rows;
  alignas(64) Lanes<T> x[kChunk], dt[kChunk], delta[kChunk], u[kChunk];  // u = Δ x
  alignas(64) T b[kChunk][kGroup], c[kChunk][kGroup];

  void load(const ScanViews<T>& in, Index r, Index row, Index count, const Block& block) {
    rows = count;
    load_lanes(in.x.replica(r), row, rows, block, x);
    load_lanes(in.dt.replica(r), row, rows, block, dt);
    const Index n = rows * kLanes;
    softplus(dt[0], delta[0], n);
    VectorMap<T>(u[0], n) = ConstRow<T>(delta[0], n) * ConstRow<T>(x[0], n);
  }

  /// b and c of states [n, n + kGroup).
  void load_group(const ScanViews<T>& in, const ScanSize& s, Index r, Index row, Index n) {
    const Matrix<T> from_b = in.b.replica(r), from_c = in.c.replica(r);
    for (Index t = 0; t < rows; ++t)
      for (Index k = 0; k < kGroup; ++k) {
        const bool exists = n + k < s.states;
        b[t][k] = exists ? from_b.row(row + t)[n + k] : T(0);
        c[t][k] = exists ? from_c.row(row + t)[n + k] : T(0);
      }
  }
};

/// kGroup states of a chunk: h moves on, y grows by their share.
template <class T>
void scan_group(const Chunk<T>& chunk, const T* __restrict a2, T* __restrict h, Lanes<T>* y) {
  for (Index t = 0; t < chunk.rows; ++t) {
    const T *b = chunk.b[t], *c = chunk.c[t];
    const T *delta = chunk.delta[t], *u = chunk.u[t];
    T* __restrict to = y[t];
#pragma omp simd
    for (Index i = 0; i < kLanes; ++i) {
      T sum = to[i];
#pragma GCC unroll 4
      for (Index k = 0; k < kGroup; ++k) {
        const Index at = k * kLanes + i;
        const T state = exp2_of_nonpositive(delta[i] * a2[at]) * h[at] + u[i] * b[k];
        h[at] = state;
        sum += c[k] * state;
      }
      to[i] = sum;
    }
  }
}

/// Decays and states of kGroup states over a chunk: h[0] is the state before it.
template <class T>
struct History {
  alignas(64) T a[kChunk][kGroup * kLanes];
  alignas(64) T h[kChunk + 1][kGroup * kLanes];

  void fill(const Chunk<T>& chunk, const T* __restrict a2) {
    for (Index t = 0; t < chunk.rows; ++t) {
      const T *b = chunk.b[t], *delta = chunk.delta[t], *u = chunk.u[t], *before = h[t];
      T* __restrict after = h[t + 1], * __restrict decay = a[t];
#pragma omp simd
      for (Index i = 0; i < kLanes; ++i) {
#pragma GCC unroll 4
        for (Index k = 0; k < kGroup; ++k) {
          const Index at = k * kLanes + i;
          decay[at] = exp2_of_nonpositive(delta[i] * a2[at]);
          after[at] = decay[at] * before[at] + u[i] * b[k];
        }
      }
    }
  }
};

/// Gradients over a chunk: r = Σ_n g b, and q = Σ_n m a2, with g the gradient of h_t and
/// m = g ⊙ (the part of h_t that h_{t-1} brings).
template <class T>
struct ChunkGradients {
  alignas(64) Lanes<T> dy[kChunk], r[kChunk], q[kChunk];
};

/// One step back of one state: g is the gradient of h_t, without y_t's share at first, and becomes
/// that of h_{t-1}. Sums over the lanes go to db and dc.
template <class T>
void step_back(const T* __restrict delta, const T* __restrict u, const T* __restrict dy,
               const T* __restrict a2, const T* __restrict a, const T* __restrict before,
               const T* __restrict after, T b, T c, T* __restrict g, T* __restrict da,
               T* __restrict r, T* __restrict q, T& db, T& dc) {
  T sum_b = 0, sum_c = 0;
#pragma omp simd reduction(+ : sum_b, sum_c)
  for (Index i = 0; i < kLanes; ++i) {
    const T gradient = g[i] + dy[i] * c;
    const T moved = gradient * a[i];
    const T m = moved * before[i];
    r[i] += gradient * b;
    q[i] += m * a2[i];
    da[i] += delta[i] * m;
    sum_b += gradient * u[i];
    sum_c += after[i] * dy[i];
    g[i] = moved;
  }
  db = sum_b;
  dc = sum_c;
}

/// kGroup states of a chunk backward; dbc is [rows of the chunk][2][stride].
template <class T>
void scan_group_back(const Chunk<T>& chunk, const History<T>& past, const T* a2, T* g, T* da,
                     ChunkGradients<T>& grads, T* dbc, Index stride) {
  for (Index t = chunk.rows - 1; t >= 0; --t)
    for (Index k = 0; k < kGroup; ++k) {
      const Index at = k * kLanes;
      step_back(chunk.delta[t], chunk.u[t], grads.dy[t], a2 + at, past.a[t] + at, past.h[t] + at,
                past.h[t + 1] + at, chunk.b[t][k], chunk.c[t][k], g + at, da + at, grads.r[t],
                grads.q[t], dbc[2 * t * stride + k], dbc[(2 * t + 1) * stride + k]);
    }
}

/// dx = Δ r + d dy and ddt = softplus'(dt) (x r + ln 2 q) of a chunk; dd grows by Σ_t dy x.
template <class T>
void finish_chunk(const Chunk<T>& chunk, ChunkGradients<T>& grads, const T* d, const Block& block,
                  Index r, Index row, const ScanGradients<T>& out, T* dd) {
  using Array = Eigen::Array<T, kLanes, 1>;
  using In = Eigen::Map<const Array, Eigen::Aligned64>;
  alignas(64) Lanes<T> slopes;
  for (Index t = 0; t < chunk.rows; ++t) {
    softplus_slope(chunk.dt[t], slopes, kLanes);
    const In x(chunk.x[t]), delta(chunk.delta[t]), slope(slopes), dy(grads.dy[t]), skip(d);
    Eigen::Map<Array, Eigen::Aligned64> rs(grads.r[t]), qs(grads.q[t]);
    Eigen::Map<Array>(dd, kLanes) += dy * x;
    qs = slope * (x * rs + std::numbers::ln2_v<T> * qs);
    rs = delta * rs + skip * dy;
    gradient_of(out.dt, r).columns(block.first, block.width).write_row(row + t, grads.q[t]);
    gradient_of(out.x, r).columns(block.first, block.width).write_row(row + t, grads.r[t]);
  }
}

/// One block's whole backward pass. `own` holds backward_block numbers.
template <class T>
void block_back(const ScanSize& s, const ScanViews<T>& in, const Matrix<T>& checkpoints,
                const Matrix<T>& dy, const ScanGradients<T>& out, Index r, const Block& block,
                const T* a2, T* own) {
  const Index padded = padded_states(s), first_row = block.example * s.length;
  T *g = own, *da = g + block_state(s), *dd = da + block_state(s), *dbc = dd + kLanes;
  std::fill_n(own, 2 * block_state(s) + kLanes, T(0));
  Chunk<T> chunk;
  History<T> past;
  ChunkGradients<T> grads;
  alignas(64) Lanes<T> d = {};
  std::copy_n(in.d.replica(r).data + block.first, block.width, d);
  for (Index k = ceil_div(s.length, kChunk) - 1; k >= 0; --k) {
    const Index t = k * kChunk, row = first_row + t;
    chunk.load(in, r, row, std::min(kChunk, s.length - t), block);
    load_lanes(dy, row, chunk.rows, block, grads.dy);
    std::fill_n(grads.r[0], kChunk * kLanes, T(0));
    std::fill_n(grads.q[0], kChunk * kLanes, T(0));
    for (Index n = 0; n < padded; n += kGroup) {
      const Index at = n * kLanes;
      chunk.load_group(in, s, r, row, n);
      if (k == 0)
        std::fill_n(past.h[0], kGroup * kLanes, T(0));
      else
        std::copy_n(checkpoints.row(block.example * scan_checkpoints(s) + k - 1) +
                        block.number * block_state(s) + at,
                    kGroup * kLanes, past.h[0]);
      past.fill(chunk, a2 + at);
      scan_group_back(chunk, past, a2 + at, g + at, da + at, grads, dbc + 2 * t * padded + n,
                      padded);
    }
    finish_chunk(chunk, grads, d, block, r, row, out, dd);
  }
}

/// db and dc: the blocks' shares, in the order of the channels.
template <class T>
void sum_token_gradients(const ScanSize& s, const T* blocks, Index r, const ScanGradients<T>& out) {
  const Index padded = padded_states(s), count = channel_blocks(s);
  parallel_for(s.examples, [&](Index example) {
    T* own = const_cast<T*>(blocks) + example * count * backward_block(s);
    T* sum = own + 2 * block_state(s) + kLanes;
    for (Index k = 1; k < count; ++k) {
      const T* share = sum + k * backward_block(s);
      for (Index i = 0; i < s.length * 2 * padded; ++i)
        sum[i] += share[i];
    }
    for (Index t = 0; t < s.length; ++t) {
      gradient_of(out.b, r).write_row(example * s.length + t, sum + 2 * t * padded);
      gradient_of(out.c, r).write_row(example * s.length + t, sum + (2 * t + 1) * padded);
    }
  });
}

/// da_log = da ⊙ A and dd: the examples' shares, in order.
template <class T>
void sum_channel_gradients(const ScanSize& s, T* blocks, const T* a2, Index r,
                           const ScanGradients<T>& out) {
  const Index numbers = block_state(s) + kLanes, count = channel_blocks(s);
  parallel_for(count, [&](Index k) {
    T* sum = blocks + k * backward_block(s) + block_state(s);
    for (Index example = 1; example < s.examples; ++example) {
      const T* share = sum + example * count * backward_block(s);
      for (Index i = 0; i < numbers; ++i)
        sum[i] += share[i];
    }
    const Block block(s, k);
    gradient_of(out.d, r).columns(block.first, block.width).write_row(0, sum + block_state(s));
    const T* a = a2 + k * block_state(s);
    for (Index i = 0; out.a_log.wanted && i < block.width; ++i) {
      T* to = out.a_log.view.replica(r).row(block.first + i);
      for (Index n = 0; n < s.states; ++n) {
        const T value = sum[n * kLanes + i] * a[n * kLanes + i] * std::numbers::ln2_v<T>;
        to[n] = out.a_log.accumulate ? to[n] + value : value;
      }
    }
  });
}

}  // namespace

Index scan_checkpoints(const ScanSize& s) {
  return ceil_div(s.length, kChunk) - 1;
}
Index scan_state_numbers(const ScanSize& s) {
  return channel_blocks(s) * block_state(s);
}
Index scan_forward_scratch(const ScanSize& s) {
  return (1 + s.examples) * scan_state_numbers(s);
}
Index scan_backward_scratch(const ScanSize& s) {
  return scan_state_numbers(s) + s.examples * channel_blocks(s) * backward_block(s);
}

template <class T>
void selective_scan_forward_cpu(const ScanSize& s, const ScanViews<T>& in, const Batched<T>& y,
                                const Batched<T>& checkpoints, T* scratch) {
  T* const states = scratch + scan_state_numbers(s);
  const Index saved = scan_checkpoints(s);
  for (Index r = 0; r < y.replicas; ++r) {
    load_a2(s, in.a_log.replica(r), scratch);
    parallel_for(s.examples * channel_blocks(s), [&](Index index) {
      const Block block(s, index);
      const T* a2 = scratch + block.number * block_state(s);
      T* h = states + index * block_state(s);
      std::fill_n(h, block_state(s), T(0));
      Chunk<T> chunk;
      alignas(64) Lanes<T> sums[kChunk];
      const T* d = in.d.replica(r).data + block.first;
      for (Index k = 0; k <= saved; ++k) {
        const Index row = block.example * s.length + k * kChunk;
        chunk.load(in, r, row, std::min(kChunk, s.length - k * kChunk), block);
        for (Index t = 0; t < chunk.rows; ++t)
          for (Index i = 0; i < kLanes; ++i)
            sums[t][i] = i < block.width ? d[i] * chunk.x[t][i] : T(0);
        for (Index n = 0; n < padded_states(s); n += kGroup) {
          chunk.load_group(in, s, r, row, n);
          scan_group(chunk, a2 + n * kLanes, h + n * kLanes, sums);
        }
        for (Index t = 0; t < chunk.rows; ++t)
          std::copy_n(sums[t], block.width, y.replica(r).row(row + t) + block.first);
        if (checkpoints.data != nullptr && k < saved)
          std::copy_n(h, block_state(s),
                      checkpoints.replica(r).row(block.example * saved + k) +
                          block.number * block_state(s));
      }
    });
  }
}

template <class T>
void selective_scan_backward_cpu(const ScanSize& s, const ScanViews<T>& in,
                                 const Batched<T>& checkpoints, const Batched<T>& dy,
                                 const ScanGradients<T>& out, T* scratch) {
  T* const blocks = scratch + scan_state_numbers(s);
  for (Index r = 0; r < dy.replicas; ++r) {
    load_a2(s, in.a_log.replica(r), scratch);
    const Matrix<T> kept = checkpoints.data == nullptr ? Matrix<T>{} : checkpoints.replica(r);
    parallel_for(s.examples * channel_blocks(s), [&](Index index) {
      const Block block(s, index);
      block_back(s, in, kept, dy.replica(r), out, r, block, scratch + block.number * block_state(s),
                 blocks + index * backward_block(s));
    });
    sum_channel_gradients(s, blocks, scratch, r, out);
    sum_token_gradients(s, blocks, r, out);
  }
}

template void selective_scan_forward_cpu(const ScanSize&, const ScanViews<float>&,
                                         const Batched<float>&, const Batched<float>&, float*);
template void selective_scan_backward_cpu(const ScanSize&, const ScanViews<float>&,
                                          const Batched<float>&, const Batched<float>&,
                                          const ScanGradients<float>&, float*);
template void selective_scan_forward_cpu(const ScanSize&, const ScanViews<double>&,
                                         const Batched<double>&, const Batched<double>&, double*);
template void selective_scan_backward_cpu(const ScanSize&, const ScanViews<double>&,
                                          const Batched<double>&, const Batched<double>&,
                                          const ScanGradients<double>&, double*);

}  // namespace recallbench
