#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/error.h"

namespace recallbench {

/// Element types of the array files, by their names in safetensors (boolean = BOOL, i64 = I64), in
/// that format's order, which never falls in size.
enum class StoredType {
  boolean,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  f64,
  i64,
  u64,
};

/// "F32".
std::string_view name_of(StoredType type);
std::optional<StoredType> stored_type_from(std::string_view name);
/// Bytes of one element.
std::uint64_t size_of(StoredType type);

/// Most dimensions that an array file may give.
inline constexpr std::size_t kMaxDimensions = 64;

/// Bytes of an array of this shape; none where a dimension is negative or where the product (zeros
/// left out) exceeds an int64.
std::optional<std::uint64_t> bytes_of(std::span<const std::int64_t> shape, StoredType type);

/// "[2, 3]".
std::string shape_text(std::span<const std::int64_t> shape);

/// A view of one array of a file: row-major, packed, little-endian. The getters copy into a type,
/// and throw Error(kind) about `source` and `name` for an element type or value that does not fit.
struct StoredArray {
  std::string name;
  StoredType type = StoredType::f32;
  std::vector<std::int64_t> shape;  ///< {} is a scalar
  std::string_view bytes;           ///< owned by another
  std::string source;               ///< the file, for messages
  ErrorKind kind = ErrorKind::io;   ///< of its errors

  /// Elements.
  std::int64_t size() const;

  /// From any integer or bool.
  std::vector<std::int64_t> to_int64() const;
  /// The same, with every value in [min, max].
  std::vector<std::int32_t> to_int32(std::int32_t min = INT32_MIN,
                                     std::int32_t max = INT32_MAX) const;
  /// From F16, BF16, F32 and F64, rounded to nearest; a finite number beyond float is an error.
  std::vector<float> to_float() const;
  /// From F16, BF16, F32 and F64, exactly.
  std::vector<double> to_double() const;

  /// Throws Error(kind): `[array] 'source': 'name' PROBLEM`.
  [[noreturn]] void reject(const std::string& problem) const;
};

/// A view of the caller's numbers, to be written.
StoredArray stored_array(std::string name, std::vector<std::int64_t> shape,
                         std::span<const float> values);
StoredArray stored_array(std::string name, std::vector<std::int64_t> shape,
                         std::span<const double> values);
StoredArray stored_array(std::string name, std::vector<std::int64_t> shape,
                         std::span<const std::int32_t> values);
StoredArray stored_array(std::string name, std::vector<std::int64_t> shape,
                         std::span<const std::int64_t> values);

/// A promise of the caller: as many bytes as shape and type say; throws Error(internal).
void check_size(const Who& who, const StoredArray& array);

}  // namespace recallbench
