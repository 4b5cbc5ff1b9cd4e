#include "kernels/dropout/dropout_cpu.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/philox.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

constexpr Index kLanes = 16;          // counters at a time: fills the vector registers
constexpr Index kChunk = 4 * kLanes;  // elements that they decide

/// words[w][lane] = word w of Philox at counter (first + lane, step, random_id, dropout).
void philox_lanes(const DropoutMask& mask, std::uint32_t first, std::uint32_t (&words)[4][kLanes]) {
  for (Index lane = 0; lane < kLanes; ++lane) {
    words[0][lane] = first + static_cast<std::uint32_t>(lane);
    words[1][lane] = mask.step;
    words[2][lane] = mask.random_id;
    words[3][lane] = static_cast<std::uint32_t>(Purpose::dropout);
  }
  std::uint32_t k0 = static_cast<std::uint32_t>(mask.seed);
  std::uint32_t k1 = static_cast<std::uint32_t>(mask.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (Index lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * words[0][lane];
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * words[2][lane];
      words[0][lane] = static_cast<std::uint32_t>(p1 >> 32) ^ words[1][lane] ^ k0;
      words[1][lane] = static_cast<std::uint32_t>(p1);
      words[2][lane] = static_cast<std::uint32_t>(p0 >> 32) ^ words[3][lane] ^ k1;
      words[3][lane] = static_cast<std::uint32_t>(p0);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

template <class T>
void apply_chunk(const T* scale, const T* from, T* to, Index count, bool accumulate) {
  if (accumulate)
    for (Index i = 0; i < count; ++i)
      to[i] += from[i] * scale[i];
  else
    for (Index i = 0; i < count; ++i)
      to[i] = from[i] * scale[i];
}

}  // namespace

template <class T>
void dropout_cpu(const DropoutMask& mask, const Matrix<T>& from, const Matrix<T>& to,
                 bool accumulate) {
  const T kept = static_cast<T>(1 / (1 - mask.p));
  const auto threshold =
      static_cast<std::uint32_t>(std::min(std::floor((1 - mask.p) * 0x1p32), 0x1p32 - 1));
  const Index total = from.rows * from.cols;
  parallel_ranges(total, 256 * kChunk, [&](Index begin, Index count) {
    std::uint32_t words[4][kLanes];
    T scale[kChunk];
    for (Index e = begin; e < begin + count; e += kChunk) {
      philox_lanes(mask, static_cast<std::uint32_t>(e / 4), words);
      for (Index lane = 0; lane < kLanes; ++lane)
        for (Index w = 0; w < 4; ++w)
          scale[4 * lane + w] = words[w][lane] < threshold ? kept : T(0);
      const Index end = std::min(e + kChunk, begin + count);
      for (Index i = e; i < end;) {  // row by row: rows may lie apart
        const Index row = i / from.cols, col = i % from.cols;
        const Index n = std::min(end - i, from.cols - col);
        apply_chunk(scale + (i - e), from.row(row) + col, to.row(row) + col, n, accumulate);
        i += n;
      }
    }
  });
}

template void dropout_cpu(const DropoutMask&, const Matrix<float>&, const Matrix<float>&, bool);
template void dropout_cpu(const DropoutMask&, const Matrix<double>&, const Matrix<double>&, bool);

}  // namespace recallbench
