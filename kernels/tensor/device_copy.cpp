#include "kernels/tensor/device_copy.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/runtime.h"

namespace recallbench {
namespace {

/// Numbers from the first of the matrix to its last, padding between rows included.
template <class T>
std::size_t extent(const Matrix<T>& m) {
  return m.rows == 0 ? 0 : static_cast<std::size_t>((m.rows - 1) * m.stride + m.cols);
}

}  // namespace

void copy_to_host(Device device, void* to, const void* from, std::size_t bytes) {
  if (device == Device::cpu) std::memcpy(to, from, bytes);
  if constexpr (kCudaBuild)
    if (device == Device::cuda) cuda_copy_to_host(to, from, bytes);
}

void copy_to_device(Device device, void* to, const void* from, std::size_t bytes) {
  if (device == Device::cpu) std::memcpy(to, from, bytes);
  if constexpr (kCudaBuild)
    if (device == Device::cuda) cuda_copy_to_device(to, from, bytes);
}

template <class T>
std::vector<double> read_matrix(Device device, const Matrix<T>& m) {
  std::vector<T> copy(extent(m));
  copy_to_host(device, copy.data(), m.data, copy.size() * sizeof(T));
  std::vector<double> numbers;
  numbers.reserve(static_cast<std::size_t>(m.rows * m.cols));
  for (Index i = 0; i < m.rows; ++i)
    numbers.insert(numbers.end(), copy.begin() + i * m.stride,
                   copy.begin() + i * m.stride + m.cols);
  return numbers;
}

template <class T>
void write_matrix(Device device, std::span<const double> numbers, const Matrix<T>& m) {
  std::vector<T> copy(extent(m));
  if (m.stride != m.cols)  // what lies between the rows stays
    copy_to_host(device, copy.data(), m.data, copy.size() * sizeof(T));
  for (Index i = 0; i < m.rows; ++i)
    std::transform(numbers.begin() + i * m.cols, numbers.begin() + (i + 1) * m.cols,
                   copy.begin() + i * m.stride, [](double x) { return static_cast<T>(x); });
  copy_to_device(device, m.data, copy.data(), copy.size() * sizeof(T));
}

template std::vector<double> read_matrix(Device, const Matrix<float>&);
template std::vector<double> read_matrix(Device, const Matrix<double>&);
template void write_matrix(Device, std::span<const double>, const Matrix<float>&);
template void write_matrix(Device, std::span<const double>, const Matrix<double>&);

}  // namespace recallbench
