#include "kernels/bench/attention_products.h"

#include <algorithm>

#include "kernels/cuda/runtime.h"
#include "kernels/graph/probe.h"
#ifdef RECALLBENCH_CUDA
#include "kernels/matmul/gemm_cuda.h"
#endif

namespace recallbench {

AttentionProducts::AttentionProducts(Device device, Precision precision, Index batch, Index length,
                                     Index width)
    : precision_(precision), batch_(batch), length_(length), width_(width), memory_(device) {
  const auto row_numbers = static_cast<std::size_t>(batch * length * width);
  const auto square_numbers = static_cast<std::size_t>(batch * length * length);
  memory_.reserve((7 * row_numbers + 2 * square_numbers) * sizeof(float));
  auto* next = reinterpret_cast<float*>(memory_.data());
  const std::vector<double> numbers = normal_numbers(static_cast<Index>(square_numbers), 1, 1);
  const std::vector<float> values(numbers.begin(), numbers.end());
  const auto take = [&](Index cols) {
    const Operand taken{next, length, cols};
    const auto count = static_cast<std::size_t>(batch * length * cols);
    for (std::size_t i = 0; i < count; i += values.size()) {
      const std::size_t some = std::min(values.size(), count - i);
      if (device == Device::cpu)
        std::copy_n(values.begin(), some, next + i);
      else if constexpr (kCudaBuild)
        cuda_copy_to_device(next + i, values.data(), some * sizeof(float));
    }
    next += count;
    return taken;
  };
  for (Operand& operand : rows_)
    operand = take(width);
  for (Operand& operand : out_)
    operand = take(width);
  for (Operand& operand : square_)
    operand = take(length);
}

void AttentionProducts::multiply(Transpose ta, Transpose tb, const Operand& a, const Operand& b,
                                 const Operand& c) {
  if (memory_.device() == Device::cpu) {
    for (Index i = 0; i < batch_; ++i) {
      const auto at = [i](const Operand& m) {
        return Matrix<float>{m.data + i * m.rows * m.cols, m.rows, m.cols, m.cols};
      };
      gemm<float>(ta, tb, 1.0f, at(a), at(b), false, at(c));
    }
    return;
  }
#ifdef RECALLBENCH_CUDA
  const auto operand = [](const Operand& m) {
    return GemmOperand{m.data, m.rows, m.cols, m.cols, m.rows * m.cols};
  };
  gemm_cuda({cuda_stream(), precision_, nullptr, nullptr},
            {ta, tb, 1.0f, operand(a), operand(b), false, c.data, c.cols, c.rows * c.cols, batch_});
#endif
}

void AttentionProducts::forward() {
  multiply(Transpose::no, Transpose::yes, rows_[0], rows_[1], square_[0]);
  multiply(Transpose::no, Transpose::no, square_[1], rows_[2], out_[0]);
}

void AttentionProducts::backward() {
  multiply(Transpose::yes, Transpose::no, square_[1], rows_[3], out_[2]);
  multiply(Transpose::no, Transpose::yes, rows_[3], rows_[2], square_[0]);
  multiply(Transpose::no, Transpose::no, square_[1], rows_[1], out_[0]);
  multiply(Transpose::yes, Transpose::no, square_[1], rows_[0], out_[1]);
}

double AttentionProducts::flops() const {
  return 4.0 * static_cast<double>(batch_ * length_ * length_ * width_);
}

}  // namespace recallbench
