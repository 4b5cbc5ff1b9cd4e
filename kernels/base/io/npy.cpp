#include "kernels/base/io/npy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/npy_header.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
/// NumPy refuses longer ones too: they are evaluated as source text there.
constexpr std::size_t kLongestHeader = 10000;
/// The data of a file written by NumPy start at a multiple of this.
constexpr std::size_t kAlignment = 64;
/// NumPy leaves room for the first dimension to grow to this many digits.
constexpr std::size_t kGrowthDigits = 21;

struct NpyType {
  std::string_view code;
  StoredType type;
};
constexpr std::array<NpyType, 12> kNpyTypes{{{"b1", StoredType::boolean},
                                             {"i1", StoredType::i8},
                                             {"u1", StoredType::u8},
                                             {"i2", StoredType::i16},
                                             {"i4", StoredType::i32},
                                             {"i8", StoredType::i64},
                                             {"u2", StoredType::u16},
                                             {"u4", StoredType::u32},
                                             {"u8", StoredType::u64},
                                             {"f2", StoredType::f16},
                                             {"f4", StoredType::f32},
                                             {"f8", StoredType::f64}}};

[[noreturn]] void refuse(const NpyArray& array, const std::string& problem) {
  fail(array.kind, "npy", "{}: {}", in_quotes(array.source), problem);
}

std::uint64_t little_endian(std::string_view bytes) {
  std::uint64_t x = 0;
  for (std::size_t i = bytes.size(); i-- > 0;)
    x = x << 8 | static_cast<unsigned char>(bytes[i]);
  return x;
}

/// Where header text and data begin.
struct Layout {
  std::size_t header, data;
};

Layout find_header(const NpyArray& array) {
  const std::string_view bytes = array.bytes;
  if (bytes.substr(0, kMagic.size()) != kMagic)
    refuse(array, "does not begin as an .npy file does; write it with numpy.save");
  if (bytes.size() < 10) refuse(array, "ends within its first 10 bytes; write it again");
  const int major = static_cast<unsigned char>(bytes[6]);
  const int minor = static_cast<unsigned char>(bytes[7]);
  if (major < 1 || major > 3 || minor != 0)
    refuse(array, fmt::format("has version {}.{}; 1.0, 2.0 and 3.0 can be read", major, minor));
  const std::size_t header = major == 1 ? 10 : 12;
  if (bytes.size() < header) refuse(array, "ends within its header's length; write it again");
  const std::uint64_t length = little_endian(bytes.substr(8, header - 8));
  if (length > kLongestHeader)
    refuse(array,
           fmt::format("has a header of {} bytes; {} are read at most", length, kLongestHeader));
  if (length > bytes.size() - header)
    refuse(array, fmt::format("ends within its header of {} bytes; write it again", length));
  return {header, header + static_cast<std::size_t>(length)};
}

/// True if the elements have to be swapped.
bool parse_type(NpyArray& array, const std::string& descr) {
  const char order = descr.empty() ? '\0' : descr[0];
  for (const NpyType& known : kNpyTypes) {
    if (descr.substr(std::min<std::size_t>(1, descr.size())) != known.code) continue;
    array.type = known.type;
    const bool single = size_of(known.type) == 1;
    if (single ? order == '|' : order == '<' || order == '>') return order == '>';
  }
  refuse(array,
         fmt::format("has elements of type {}; |b1, |i1, |u1 and <i2 to <i8, <u2 to <u8, <f2 "
                     "to <f8 (or >) can be read: convert it with astype",
                     in_quotes(descr)));
}

void swap_bytes(std::string& bytes, std::size_t element) {
  for (std::size_t i = 0; i < bytes.size(); i += element)
    std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(i),
                 bytes.begin() + static_cast<std::ptrdiff_t>(i + element));
}

/// From column-major to row-major order.
std::string row_major(const std::string& bytes, const std::vector<std::int64_t>& shape,
                      std::size_t element) {
  std::vector<std::size_t> stride(shape.size()), index(shape.size(), 0);
  std::size_t product = element;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    stride[d] = product;
    product *= static_cast<std::size_t>(shape[d]);
  }
  std::string result(bytes.size(), '\0');
  std::size_t from = 0;
  for (std::size_t to = 0; to < bytes.size(); to += element) {
    std::memcpy(result.data() + to, bytes.data() + from, element);
    for (std::size_t d = shape.size(); d-- > 0;) {
      from += stride[d];
      if (++index[d] < static_cast<std::size_t>(shape[d])) break;
      from -= stride[d] * index[d];
      index[d] = 0;
    }
  }
  return result;
}

/// Everything before the data.
std::string header_bytes(const StoredArray& array) {
  const auto known = std::find_if(kNpyTypes.begin(), kNpyTypes.end(),
                                  [&](const NpyType& t) { return t.type == array.type; });
  check(known != kNpyTypes.end(), "npy_bytes", "{} cannot be written", name_of(array.type));
  const std::string dimensions =
      fmt::format("({}{})", fmt::join(array.shape, ", "), array.shape.size() == 1 ? "," : "");
  std::string text = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': {}, }}",
                                 size_of(array.type) == 1 ? '|' : '<', known->code, dimensions);
  if (!array.shape.empty())
    text.append(kGrowthDigits - std::to_string(array.shape.front()).size(), ' ');
  // NumPy pads by 1 to 64, never by 0.
  text.append(kAlignment - (10 + text.size() + 1) % kAlignment, ' ');
  text += '\n';
  std::string result(kMagic);
  result.append(
      {'\1', '\0', static_cast<char>(text.size() & 255), static_cast<char>(text.size() >> 8)});
  return result + text;
}

}  // namespace

StoredArray NpyArray::view() const {
  return {"", type, shape, bytes, source, kind};
}

NpyArray parse_npy(std::string bytes, const std::string& source, ErrorKind kind) {
  NpyArray array{StoredType::f32, {}, std::move(bytes), source, kind};
  const Layout layout = find_header(array);
  const std::string_view text =
      std::string_view(array.bytes).substr(layout.header, layout.data - layout.header);
  NpyHeader header = parse_npy_header(text, source, kind);
  const bool swapped = parse_type(array, header.descr);
  array.shape = std::move(header.shape);
  const auto expected = bytes_of(array.shape, array.type);
  if (!expected) refuse(array, fmt::format("has an impossible shape {}", shape_text(array.shape)));
  array.bytes.erase(0, layout.data);
  if (array.bytes.size() != *expected)
    refuse(array, fmt::format(
                      "should have {} bytes of data for shape {} of {}, has {}; write it again",
                      *expected, shape_text(array.shape), name_of(array.type), array.bytes.size()));
  const std::size_t element = size_of(array.type);
  if (swapped) swap_bytes(array.bytes, element);
  if (array.type == StoredType::boolean &&
      std::any_of(array.bytes.begin(), array.bytes.end(), [](char x) { return x != 0 && x != 1; }))
    refuse(array, "has truth values that are neither 0 nor 1; write it again");
  if (header.fortran_order && array.shape.size() > 1)
    array.bytes = row_major(array.bytes, array.shape, element);
  return array;
}

NpyArray read_npy(const std::string& path, std::uint64_t max_bytes, ErrorKind kind) {
  return parse_npy(read_file(path, max_bytes, kind), path, kind);
}

std::string npy_bytes(const StoredArray& array) {
  check_size("npy_bytes", array);
  return header_bytes(array) + std::string(array.bytes);
}

template <class T>
void write_npy(const std::string& path, std::vector<std::int64_t> shape,
               std::span<const T> values) {
  const StoredArray array = stored_array("", std::move(shape), values);
  const std::string header = header_bytes(array);
  const std::array<std::string_view, 2> pieces{header, array.bytes};
  publish(path, pieces);
}
template void write_npy(const std::string&, std::vector<std::int64_t>,
                        std::span<const std::int32_t>);
template void write_npy(const std::string&, std::vector<std::int64_t>,
                        std::span<const std::int64_t>);
template void write_npy(const std::string&, std::vector<std::int64_t>, std::span<const float>);
template void write_npy(const std::string&, std::vector<std::int64_t>, std::span<const double>);

}  // namespace recallbench
