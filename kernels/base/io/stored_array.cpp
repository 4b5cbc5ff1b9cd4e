#include "kernels/base/io/stored_array.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/base/text.h"

namespace recallbench {
namespace {

static_assert(std::endian::native == std::endian::little, "array files are little-endian");

struct TypeInfo {
  std::string_view name;
  std::uint64_t size;
};

/// In the order of StoredType.
constexpr std::array<TypeInfo, 15> kTypes{{{"BOOL", 1},
                                           {"U8", 1},
                                           {"I8", 1},
                                           {"F8_E5M2", 1},
                                           {"F8_E4M3", 1},
                                           {"I16", 2},
                                           {"U16", 2},
                                           {"F16", 2},
                                           {"BF16", 2},
                                           {"I32", 4},
                                           {"U32", 4},
                                           {"F32", 4},
                                           {"F64", 8},
                                           {"I64", 8},
                                           {"U64", 8}}};

template <class T>
T element(std::string_view bytes, std::size_t i) {
  T x;
  std::memcpy(&x, bytes.data() + i * sizeof(T), sizeof(T));
  return x;
}

/// IEEE 754 binary16: 1 sign bit, 5 exponent bits (bias 15), 10 fraction bits.
double from_half(std::uint16_t bits) {
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  if (exponent == 31) {
    return fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(fraction + 1024, exponent - 25);
}

/// The upper half of a float.
double from_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// Calls take(i, element i) in the type of the file; false if that is no integer type.
template <class Take>
bool for_each_integer(const StoredArray& array, Take take) {
  const std::size_t n = static_cast<std::size_t>(array.size());
  const auto all = [&]<class T>(T) {
    for (std::size_t i = 0; i < n; ++i)
      take(i, element<T>(array.bytes, i));
    return true;
  };
  switch (array.type) {
    case StoredType::boolean:
    case StoredType::u8:
      return all(std::uint8_t{});
    case StoredType::i8:
      return all(std::int8_t{});
    case StoredType::i16:
      return all(std::int16_t{});
    case StoredType::u16:
      return all(std::uint16_t{});
    case StoredType::i32:
      return all(std::int32_t{});
    case StoredType::u32:
      return all(std::uint32_t{});
    case StoredType::i64:
      return all(std::int64_t{});
    case StoredType::u64:
      return all(std::uint64_t{});
    default:
      return false;
  }
}

template <class T>
StoredArray view_of(StoredType type, std::string name, std::vector<std::int64_t> shape,
                    std::span<const T> values) {
  StoredArray array;
  array.name = std::move(name);
  array.type = type;
  array.shape = std::move(shape);
  array.bytes = {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
  check_size("stored_array", array);
  return array;
}

}  // namespace

std::string_view name_of(StoredType type) {
  return kTypes[static_cast<std::size_t>(type)].name;
}

std::optional<StoredType> stored_type_from(std::string_view name) {
  for (std::size_t i = 0; i < kTypes.size(); ++i)
    if (kTypes[i].name == name) return static_cast<StoredType>(i);
  return std::nullopt;
}

std::uint64_t size_of(StoredType type) {
  return kTypes[static_cast<std::size_t>(type)].size;
}

std::optional<std::uint64_t> bytes_of(std::span<const std::int64_t> shape, StoredType type) {
  std::int64_t product = static_cast<std::int64_t>(size_of(type));
  bool empty = false;
  for (const std::int64_t dimension : shape) {
    if (dimension < 0) return std::nullopt;
    empty = empty || dimension == 0;
    if (dimension != 0 && __builtin_mul_overflow(product, dimension, &product)) return std::nullopt;
  }
  return empty ? 0 : static_cast<std::uint64_t>(product);
}

std::string shape_text(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::int64_t StoredArray::size() const {
  return static_cast<std::int64_t>(bytes.size() / size_of(type));
}

void StoredArray::reject(const std::string& problem) const {
  const std::string place = source.empty() ? "" : in_quotes(source) + ": ";
  fail(kind, "array", "{}{} {}", place, name.empty() ? "the array" : in_quotes(name), problem);
}

std::vector<std::int64_t> StoredArray::to_int64() const {
  std::vector<std::int64_t> result(static_cast<std::size_t>(size()));
  const bool integers = for_each_integer(*this, [&](std::size_t i, auto x) {
    if (!std::in_range<std::int64_t>(x))
      reject(
          fmt::format("has {} at element {}, which is beyond int64; store smaller numbers", x, i));
    result[i] = static_cast<std::int64_t>(x);
  });
  if (!integers)
    reject(fmt::format("must hold integers, has {}; store it as int64", name_of(type)));
  return result;
}

std::vector<std::int32_t> StoredArray::to_int32(std::int32_t min, std::int32_t max) const {
  std::vector<std::int32_t> result(static_cast<std::size_t>(size()));
  const bool integers = for_each_integer(*this, [&](std::size_t i, auto x) {
    if (std::cmp_less(x, min) || std::cmp_greater(x, max))
      reject(fmt::format("must have values in [{}, {}], has {} at element {}", min, max, x, i));
    result[i] = static_cast<std::int32_t>(x);
  });
  if (!integers)
    reject(fmt::format("must hold integers, has {}; store it as int64", name_of(type)));
  return result;
}

std::vector<double> StoredArray::to_double() const {
  const std::size_t n = static_cast<std::size_t>(size());
  std::vector<double> result(n);
  switch (type) {
    case StoredType::f16:
      for (std::size_t i = 0; i < n; ++i)
        result[i] = from_half(element<std::uint16_t>(bytes, i));
      break;
    case StoredType::bf16:
      for (std::size_t i = 0; i < n; ++i)
        result[i] = from_bfloat16(element<std::uint16_t>(bytes, i));
      break;
    case StoredType::f32:
      for (std::size_t i = 0; i < n; ++i)
        result[i] = element<float>(bytes, i);
      break;
    case StoredType::f64:
      for (std::size_t i = 0; i < n; ++i)
        result[i] = element<double>(bytes, i);
      break;
    default:
      reject(fmt::format("must hold floating point numbers, has {}; store it as float32",
                         name_of(type)));
  }
  return result;
}

std::vector<float> StoredArray::to_float() const {
  const std::size_t n = static_cast<std::size_t>(size());
  std::vector<float> result(n);
  if (type == StoredType::f32) {
    if (n != 0) std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
  }
  const std::vector<double> wide = to_double();
  for (std::size_t i = 0; i < n; ++i) {
    result[i] = static_cast<float>(wide[i]);
    if (std::isfinite(wide[i]) && !std::isfinite(result[i]))
      reject(fmt::format("has {} at element {}, which is beyond float32", wide[i], i));
  }
  return result;
}

StoredArray stored_array(std::string name, std::vector<std::int64_t> shape,
                         std::span<const float> values) {
  return view_of(StoredType::f32, std::move(name), std::move(shape), values);
}
StoredArray stored_array(std::string name, std::vector<std::int64_t> shape,
                         std::span<const double> values) {
  return view_of(StoredType::f64, std::move(name), std::move(shape), values);
}
StoredArray stored_array(std::string name, std::vector<std::int64_t> shape,
                         std::span<const std::int32_t> values) {
  return view_of(StoredType::i32, std::move(name), std::move(shape), values);
}
StoredArray stored_array(std::string name, std::vector<std::int64_t> shape,
                         std::span<const std::int64_t> values) {
  return view_of(StoredType::i64, std::move(name), std::move(shape), values);
}

void check_size(const Who& who, const StoredArray& array) {
  const auto expected = bytes_of(array.shape, array.type);
  check(expected == array.bytes.size(), who, "'{}': shape {} of {} does not have {} bytes",
        array.name, shape_text(array.shape), name_of(array.type), array.bytes.size());
}

}  // namespace recallbench
