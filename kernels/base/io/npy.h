#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/io/stored_array.h"

namespace recallbench {

/// The content of an .npy file (NumPy's format, versions 1.0, 2.0 and 3.0), brought into row-major
/// order and this machine's byte order.
struct NpyArray {
  StoredType type = StoredType::f32;
  std::vector<std::int64_t> shape;  ///< () is a scalar
  std::string bytes;
  std::string source;              ///< the file, for messages
  ErrorKind kind = ErrorKind::io;  ///< of errors about it

  /// Its getters convert to int64, int32, float and double; valid while this lives unmoved.
  StoredArray view() const;
};

/// Reads b1, i1 to i8, u1 to u8 and f2 to f8, of either byte order, row-major or column-major.
/// Throws Error(kind) on anything else (objects, structures, headers over 10000 bytes) and where
/// shape and file size disagree. Takes the bytes of the file, so that they are not held twice.
NpyArray parse_npy(std::string bytes, const std::string& source, ErrorKind kind = ErrorKind::io);

/// read_file and parse_npy.
NpyArray read_npy(const std::string& path, std::uint64_t max_bytes, ErrorKind kind = ErrorKind::io);

/// The file of a row-major int32, int64, float32 or float64 array, byte for byte as NumPy 2 writes
/// it (version 1.0).
std::string npy_bytes(const StoredArray& array);

/// Publishes npy_bytes of `values` [shape...].
template <class T>
void write_npy(const std::string& path, std::vector<std::int64_t> shape, std::span<const T> values);
extern template void write_npy(const std::string&, std::vector<std::int64_t>,
                               std::span<const std::int32_t>);
extern template void write_npy(const std::string&, std::vector<std::int64_t>,
                               std::span<const std::int64_t>);
extern template void write_npy(const std::string&, std::vector<std::int64_t>,
                               std::span<const float>);
extern template void write_npy(const std::string&, std::vector<std::int64_t>,
                               std::span<const double>);

}  // namespace recallbench
