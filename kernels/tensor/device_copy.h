#pragma once

#include <span>
#include <vector>

#include "kernels/tensor/device.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Between the host and a device's memory; on the CPU plain copies. Over when they return, after
/// all that was enqueued before.
void copy_to_host(Device device, void* to, const void* from, std::size_t bytes);
void copy_to_device(Device device, void* to, const void* from, std::size_t bytes);

/// The matrix on the host, in double, row after row.
template <class T>
std::vector<double> read_matrix(Device device, const Matrix<T>& m);
/// The other way round; `numbers` are rows · cols.
template <class T>
void write_matrix(Device device, std::span<const double> numbers, const Matrix<T>& m);

}  // namespace recallbench
