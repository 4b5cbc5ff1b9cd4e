#include "kernels/base/io/npy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/temporary_folder.h"
#include "kernels/base/text.h"
#include "tests/base/expect_error.h"

namespace recallbench {
namespace {

/// A file with this header text (newline added), version and data.
std::string file_of(std::string header, const std::string& data, int major = 1) {
  header += '\n';
  std::string bytes = "\x93NUMPY";
  bytes += static_cast<char>(major);
  bytes += '\0';
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i)
    bytes += static_cast<char>(header.size() >> (8 * i) & 255);
  return bytes + header + data;
}

std::string header_of(const std::string& descr, const std::string& shape,
                      const std::string& order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }";
}

NpyArray parse(const std::string& bytes) {
  return parse_npy(bytes, "x.npy", ErrorKind::usage);
}

template <class T>
std::string raw(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

using Ints = std::vector<std::int64_t>;

TEST(Npy, WritesTheBytesOfNumpy) {
  const std::vector<float> values{1, 2, 3};
  std::string expected("\x93NUMPY\x01\x00\x76\x00", 10);
  expected += "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
  expected.append(127 - expected.size(), ' ');
  expected += '\n';
  EXPECT_EQ(npy_bytes(stored_array("", {3}, std::span(values))), expected + raw(values));
}

TEST(Npy, HeadersPadAsNumpyDoes) {
  const std::vector<double> one{1};
  EXPECT_EQ(npy_bytes(stored_array("", {}, std::span(one))).size(), 128u + 8);
  const std::string many = npy_bytes(stored_array("", Ints(20, 1), std::span(one)));
  EXPECT_EQ(many.size() % 64, 8u);
  EXPECT_EQ(parse(many).shape, Ints(20, 1));
}

TEST(Npy, EveryWrittenTypeReadsBack) {
  const std::vector<std::int32_t> i32{-1, INT32_MAX, INT32_MIN};
  const std::vector<std::int64_t> i64{-1, INT64_MAX, INT64_MIN};
  const std::vector<float> f32{-1.5f, 3e38f, 1e-45f};
  const std::vector<double> f64{-1.5, 1e308, 5e-324};
  const auto back = [](const auto& values) {
    const NpyArray array = parse(npy_bytes(stored_array("", {3, 1}, std::span(values))));
    EXPECT_EQ(array.shape, (Ints{3, 1}));
    return array;
  };
  EXPECT_EQ(back(i32).view().to_int32(), i32);
  EXPECT_EQ(back(i64).view().to_int64(), i64);
  EXPECT_EQ(back(f32).view().to_float(), f32);
  EXPECT_EQ(back(f64).view().to_double(), f64);
}

TEST(Npy, ReadsEveryTypeOfEitherByteOrder) {
  struct Case {
    std::string descr, little;
    double value;
  };
  const std::vector<Case> cases{{"<i2", raw<std::int16_t>({-300}), -300},
                                {"<i4", raw<std::int32_t>({-70000}), -70000},
                                {"<i8", raw<std::int64_t>({-5000000000}), -5e9},
                                {"<u2", raw<std::uint16_t>({65535}), 65535},
                                {"<u4", raw<std::uint32_t>({4000000000u}), 4e9},
                                {"<u8", raw<std::uint64_t>({1ull << 40}), 0x1p40},
                                {"<f2", raw<std::uint16_t>({0xC500}), -5.0},
                                {"<f4", raw<float>({2.5f}), 2.5},
                                {"<f8", raw<double>({-0.1}), -0.1}};
  for (const Case& one : cases) {
    std::string big = one.descr;
    big[0] = '>';
    const std::string swapped(one.little.rbegin(), one.little.rend());
    for (const auto& [descr, data] : {std::pair(one.descr, one.little), std::pair(big, swapped)}) {
      SCOPED_TRACE(descr);
      const NpyArray array = parse(file_of(header_of(descr, "(1,)"), data));
      const bool real = descr[1] == 'f';
      const double value = real ? array.view().to_double().at(0)
                                : static_cast<double>(array.view().to_int64().at(0));
      EXPECT_EQ(value, one.value);
    }
  }
  const std::string bytes("\x01\x00\xFF", 3);
  EXPECT_EQ(parse(file_of(header_of("|i1", "(3,)"), bytes)).view().to_int64(), (Ints{1, 0, -1}));
  EXPECT_EQ(parse(file_of(header_of("|u1", "(3,)"), bytes)).view().to_int64(), (Ints{1, 0, 255}));
  EXPECT_EQ(parse(file_of(header_of("|b1", "(2,)"), bytes.substr(0, 2))).view().to_int64(),
            (Ints{1, 0}));
}

TEST(Npy, HalfPrecision) {
  const std::vector<std::uint16_t> bits{0x0000, 0x8000, 0x0001, 0x03FF, 0x0400,
                                        0x3C00, 0x7BFF, 0x7C00, 0xFC00, 0x7E00};
  const std::vector<float> x =
      parse(file_of(header_of("<f2", "(10,)"), raw(bits))).view().to_float();
  EXPECT_TRUE(x[0] == 0 && !std::signbit(x[0]) && x[1] == 0 && std::signbit(x[1]));
  EXPECT_EQ(x[2], 0x1p-24f);
  EXPECT_EQ(x[3], 1023 * 0x1p-24f);
  EXPECT_EQ(x[4], 0x1p-14f);
  EXPECT_EQ(x[5], 1.0f);
  EXPECT_EQ(x[6], 65504.0f);
  EXPECT_TRUE(std::isinf(x[7]) && x[7] > 0 && std::isinf(x[8]) && x[8] < 0 && std::isnan(x[9]));
}

TEST(Npy, VersionsKeyOrderAndQuotes) {
  const std::string data = raw<std::int32_t>({1, 2});
  for (const int major : {1, 2, 3})
    EXPECT_EQ(parse(file_of(header_of("<i4", "(2,)"), data, major)).view().to_int64(),
              (Ints{1, 2}));
  EXPECT_EQ(parse(file_of("{\"shape\":(2,),'descr':\"<i4\",'fortran_order':False}   ", data))
                .view()
                .to_int64(),
            (Ints{1, 2}));
  EXPECT_EQ(parse(file_of(header_of("<i4", "(1, 2,)"), data)).shape, (Ints{1, 2}));
  EXPECT_EQ(parse(file_of(header_of("<i4", "()"), data.substr(0, 4))).view().to_int64(), (Ints{1}));
  EXPECT_EQ(parse(file_of(header_of("<i4", "(0, 7)"), "")).view().size(), 0);
}

TEST(Npy, ColumnMajorBecomesRowMajor) {
  // Element (i, j, k) of [2, 3, 2] is 100 i + 10 j + k, stored with i fastest.
  std::vector<std::int32_t> stored;
  Ints expected;
  for (int k = 0; k < 2; ++k)
    for (int j = 0; j < 3; ++j)
      for (int i = 0; i < 2; ++i)
        stored.push_back(100 * i + 10 * j + k);
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 2; ++k)
        expected.push_back(100 * i + 10 * j + k);
  const NpyArray array = parse(file_of(header_of("<i4", "(2, 3, 2)", "True"), raw(stored)));
  EXPECT_EQ(array.shape, (Ints{2, 3, 2}));
  EXPECT_EQ(array.view().to_int64(), expected);
  EXPECT_EQ(parse(file_of(header_of("<i4", "(0, 2)", "True"), "")).bytes, "");
}

TEST(Npy, HostileFiles) {
  const std::string four(4, '\1'), good = header_of("<i4", "(1,)");
  const std::string f4 = "{'descr': '<f4', 'fortran_order': False, 'shape': ";
  const auto header_only = [&](const std::string& text) { return file_of(text, four); };
  std::string long_header = file_of(good, four), huge = file_of(good, four, 2);
  long_header[8] = '\xff';
  huge.replace(8, 4, "\xff\xff\xff\xff");
  std::string version4 = file_of(good, four), minor = version4, magic = version4,
              no_newline = version4;
  version4[6] = 4;
  minor[7] = 1;
  magic[0] = 'N';
  no_newline[no_newline.size() - 5] = ' ';
  struct Case {
    const char* name;
    std::string bytes, part;
  };
  const std::vector<Case> cases{
      {"empty", "", "does not begin"},
      {"magic", magic, "does not begin"},
      {"magic alone", "\x93NUMPY", "ends within"},
      {"version 4", version4, "version 4.0"},
      {"version 0", std::string("\x93NUMPY\0\0\0\0", 10), "version 0.0"},
      {"minor version", minor, "version 1.1"},
      {"length cut", std::string("\x93NUMPY\2\0\1\0", 10), "ends within"},
      {"header beyond the file", long_header, "ends within its header"},
      {"header of 4 GiB", huge, "has a header of 4294967295 bytes"},
      {"header of 10001 bytes", header_only(good + std::string(10000 - good.size(), ' ')),
       "has a header of 10001 bytes"},
      {"no newline", no_newline, "no newline"},
      {"empty header", header_only(""), "expected '{'"},
      {"no dict", header_only("('descr', '<i4')"), "expected '{'"},
      {"dict not closed", header_only("{'descr': '<i4'"), "expected '}'"},
      {"code", header_only("__import__('os').system('id')"), "expected '{'"},
      {"code as a value", header_only(f4 + "__import__('os'), }"), "expected '('"},
      {"expression", header_only(f4 + "(1+0,), }"), "expected ',' or ')'"},
      {"rest after the dict", header_only(good + "; x"), "unexpected"},
      {"two dicts", header_only(good + good), "unexpected"},
      {"tab", header_only("\t" + good), "expected '{'"},
      {"inner newline", header_only("\n" + good), "expected '{'"},
      {"NUL", header_only(std::string(1, '\0') + good), "expected '{'"},
      {"escape byte", header_only("\x1b[31m"), "\\x1b"},
      {"no descr", header_only("{'fortran_order': False, 'shape': (1,), }"), "'descr' is missing"},
      {"no order", header_only("{'descr': '<i4', 'shape': (1,), }"), "'fortran_order' is missing"},
      {"no shape", header_only("{'descr': '<i4', 'fortran_order': False, }"), "'shape' is missing"},
      {"extra key", header_only("{'x': 1, " + good.substr(1)), "unknown key 'x'"},
      {"double key", header_only("{'descr': '<i8', " + good.substr(1)), "comes twice"},
      {"key without quotes", header_only("{descr: '<i4'}"), "expected '\"'"},
      {"endless string", header_only("{'descr"), "does not end"},
      {"backslash", header_only(header_of("<\\x694", "(1,)")), "backslash"},
      {"objects", header_only(header_of("|O", "(1,)")), "elements of type '|O'"},
      {"object alias", header_only(header_of("|O8", "(1,)")), "elements of type"},
      {"strings", header_only(header_of("|S4", "(1,)")), "elements of type"},
      {"unicode", header_only(header_of("<U1", "(1,)")), "elements of type"},
      {"void", header_only(header_of("|V4", "(1,)")), "elements of type"},
      {"complex", header_only(header_of("<c8", "(1,)")), "elements of type"},
      {"dates", header_only(header_of("<M8[ns]", "(1,)")), "elements of type"},
      {"long double", header_only(header_of("<f16", "(1,)")), "elements of type"},
      {"i3", header_only(header_of("<i3", "(1,)")), "elements of type"},
      {"no byte order", header_only(header_of("i4", "(1,)")), "elements of type"},
      {"byte order of i4", header_only(header_of("|i4", "(1,)")), "elements of type"},
      {"byte order of b1", header_only(header_of("<b1", "(4,)")), "elements of type"},
      {"empty type", header_only(header_of("", "(1,)")), "elements of type ''"},
      {"structure", header_only("{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (1,)}"),
       "structured"},
      {"order 0", header_only(header_of("<i4", "(1,)", "0")), "expected True or False"},
      {"order in lower case", header_only(header_of("<i4", "(1,)", "false")),
       "expected True or False"},
      {"shape is a number", header_only(f4 + "1, }"), "expected '('"},
      {"shape is a list", header_only(f4 + "[1], }"), "expected '('"},
      {"missing comma", header_only(f4 + "(1), }"), "needs a comma"},
      {"comma alone", header_only(f4 + "(,), }"), "expected a dimension"},
      {"two commas", header_only(f4 + "(1,,), }"), "expected a dimension"},
      {"no comma between", header_only(f4 + "(1 1), }"), "expected ',' or ')'"},
      {"negative", header_only(f4 + "(-1,), }"), "negative"},
      {"fraction", header_only(f4 + "(1.0,), }"), "expected ',' or ')'"},
      {"leading zero", header_only(f4 + "(01,), }"), "begins with 0"},
      {"Python 2 long", header_only(f4 + "(1L,), }"), "expected ',' or ')'"},
      {"None", header_only(f4 + "(None,), }"), "expected a dimension"},
      {"dimension over 2^63", header_only(f4 + "(99999999999999999999,), }"), "exceeds int64"},
      {"product over 2^63", header_only(f4 + "(4294967296, 4294967296), }"), "impossible shape"},
      {"bytes over 2^63", header_only(f4 + "(4611686018427387904,), }"), "impossible shape"},
      {"0 x huge", header_only(f4 + "(0, 4294967296, 4294967296), }"), "impossible shape"},
      {"huge", header_only(f4 + "(1000000000000,), }"), "should have 4000000000000 bytes"},
      {"65 dimensions",
       header_only(f4 + "(" +
                   [] {
                     std::string ones;
                     for (int i = 0; i < 65; ++i)
                       ones += "1, ";
                     return ones;
                   }() +
                   "), }"),
       "more than 64 dimensions"},
      {"no data", file_of(good, ""), "should have 4 bytes"},
      {"a byte short", file_of(good, "abc"), "has 3"},
      {"a byte too many", file_of(good, "abcde"), "has 5"},
      {"data in an empty array", file_of(header_of("<i4", "(0,)"), four), "should have 0 bytes"},
      {"bool of 2", file_of(header_of("|b1", "(1,)"), "\2"), "neither 0 nor 1"},
  };
  EXPECT_GE(cases.size(), 40u);
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    EXPECT_ERROR(parse(one.bytes), ErrorKind::usage, one.part);
    EXPECT_ERROR(parse(one.bytes), ErrorKind::usage, "[npy] 'x.npy': ");
  }
}

TEST(Npy, TruncatedAtEveryByte) {
  const std::vector<std::int32_t> values(30, 7);
  const std::string whole = npy_bytes(stored_array("", {5, 6}, std::span(values)));
  for (std::size_t n = 0; n < whole.size(); ++n)
    EXPECT_ERROR(parse(whole.substr(0, n)), ErrorKind::usage, "[npy]");
  EXPECT_EQ(parse(whole).view().to_int32(), values);
}

TEST(Npy, ValuesThatDoNotFit) {
  const auto view = [](const std::string& descr, const std::string& data) {
    return parse(file_of(header_of(descr, "(1,)"), data));
  };
  EXPECT_ERROR(view("<u8", raw<std::uint64_t>({1ull << 63})).view().to_int64(), ErrorKind::usage,
               "9223372036854775808 at element 0");
  EXPECT_ERROR(view("<i8", raw<std::int64_t>({1ll << 31})).view().to_int32(), ErrorKind::usage,
               "'x.npy': the array must have values in [-2147483648, 2147483647]");
  EXPECT_ERROR(view("<i8", raw<std::int64_t>({-1})).view().to_int32(0, 8191), ErrorKind::usage,
               "in [0, 8191], has -1 at element 0");
  EXPECT_ERROR(view("<f4", raw<float>({1})).view().to_int64(), ErrorKind::usage,
               "store it as int64");
  EXPECT_ERROR(view("<f4", raw<float>({1})).view().to_int32(), ErrorKind::usage,
               "store it as int64");
  EXPECT_ERROR(view("<i4", raw<std::int32_t>({1})).view().to_float(), ErrorKind::usage,
               "store it as float32");
  EXPECT_ERROR(view("<f8", raw<double>({1e39})).view().to_float(), ErrorKind::usage,
               "beyond float32");
  EXPECT_TRUE(std::isinf(view("<f8", raw<double>({INFINITY})).view().to_float().at(0)));
}

TEST(Npy, FilesAndTheirBound) {
  const TemporaryFolder folder;
  const std::vector<std::int64_t> values{1, 2, 3, 4};
  write_npy(folder / "x.npy", {2, 2}, std::span<const std::int64_t>(values));
  EXPECT_EQ(read_npy(folder / "x.npy", 1000).view().to_int64(), values);
  EXPECT_EQ(read_npy(folder / "x.npy", 160).shape, (Ints{2, 2}));
  EXPECT_ERROR(read_npy(folder / "x.npy", 159), ErrorKind::io, "159 bytes");
  EXPECT_ERROR(read_npy(folder / "y.npy", 159, ErrorKind::usage), ErrorKind::usage, "y.npy");
  EXPECT_ERROR(write_npy(folder / "x.npy", {5}, std::span<const std::int64_t>(values)),
               ErrorKind::internal, "shape [5]");
}

}  // namespace
}  // namespace recallbench
