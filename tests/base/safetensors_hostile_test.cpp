#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/base/io/safetensors.h"
#include "tests/base/expect_error.h"

namespace recallbench {
namespace {

std::string length_of(std::uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i)
    bytes += static_cast<char>(length >> (8 * i) & 255);
  return bytes;
}

std::string file_of(const std::string& header, const std::string& data = "") {
  return length_of(header.size()) + header + data;
}

/// {"a": {...}} with these members, and 4 bytes of data.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets,
                const std::string& data = "1234") {
  return file_of(
      "{\"a\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}",
      data);
}

/// Two tensors of one byte each, at these offsets.
std::string two(const std::string& a, const std::string& b, const std::string& data) {
  return file_of("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":" + a +
                     "},\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":" + b + "}}",
                 data);
}

std::string repeated(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i)
    result += text;
  return result;
}

/// [1,1,...,1]
std::string ones(int count) {
  return fmt::format("[{}1]", repeated("1,", count - 1));
}

struct Case {
  const char* name;
  std::string bytes, part;
};

void expect_refused(const std::vector<Case>& cases) {
  for (const Case& hostile : cases) {
    SCOPED_TRACE(hostile.name);
    EXPECT_ERROR(Safetensors::parse(hostile.bytes, "x.st", ErrorKind::usage), ErrorKind::usage,
                 hostile.part);
    const std::string text = error_of([&] { Safetensors::parse(hostile.bytes, "x.st"); });
    EXPECT_NE(text.find("x.st"), std::string::npos) << text;
    EXPECT_EQ(text.find_first_of("\x1b\n"), std::string::npos) << text;
  }
}

const std::string kGood = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";

TEST(SafetensorsHostile, TheUnspoiltFileIsFine) {
  EXPECT_EQ(Safetensors::parse(file_of(kGood, "1234"), "x").names().size(), 1u);
  EXPECT_EQ(Safetensors::parse(two("[0,1]", "[1,2]", "ab"), "x").names().size(), 2u);
}

TEST(SafetensorsHostile, LengthAndEncoding) {
  const std::uint64_t n = kGood.size();
  expect_refused({
      {"empty", "", "first 8 bytes"},
      {"7 bytes", "\1\0\0\0\0\0\0", "first 8 bytes"},
      {"no header", length_of(0), "does not begin with '{'"},
      {"header of 0 bytes and data", length_of(0) + "{}", "does not begin with '{'"},
      {"length 2^63", length_of(1ull << 63) + kGood, "allowed are 100000000"},
      {"length 2^64 - 1", length_of(~0ull) + kGood, "allowed are 100000000"},
      {"length 2^64 - 8", length_of(~0ull - 7) + kGood, "allowed are 100000000"},
      {"length 100000001", length_of(100'000'001) + kGood, "allowed are 100000000"},
      {"length 100000000", length_of(100'000'000) + kGood, "ends within its header"},
      {"length one too many", length_of(n + 1) + kGood, "ends within its header"},
      {"length takes a byte of the data", length_of(n + 1) + kGood + "1234", "x.st (header):1:"},
      {"length one too few", length_of(n - 1) + kGood + "1234", "x.st (header):1:"},
      {"begins with a space", file_of(" " + kGood, "1234"), "does not begin with '{'"},
      {"byte order mark", file_of("\xEF\xBB\xBF" + kGood, "1234"), "does not begin with '{'"},
      {"an array", file_of("[]"), "does not begin with '{'"},
      {"not UTF-8", file_of("{\"\xFF\":{}}"), "UTF-8"},
      {"overlong UTF-8", file_of("{\"\xC0\xAF\":{}}"), "UTF-8"},
      {"UTF-16", file_of(std::string("{\0}\0", 4)), "(header):1:2"},
      {"NUL behind the header", file_of(kGood + std::string(1, '\0'), "1234"), "(header):1:"},
      {"text behind the header", file_of(kGood + " x", "1234"), "(header):1:"},
      {"second object", file_of(kGood + "{}", "1234"), "(header):1:"},
      {"comment", file_of("{/**/}"), "(header):1:2"},
      {"single quotes", file_of("{'a':1}"), "(header):1:2"},
      {"no closing brace", file_of(kGood.substr(0, n - 1), "1234"), "(header):1:"},
      {"pickle", "\x80\x02}q\x01.      ", "allowed are"},
      {"zip", "PK\x03\x04 and so on, and so on", "allowed are"},
  });
}

TEST(SafetensorsHostile, Structure) {
  const std::string a = kGood.substr(1, kGood.size() - 2);
  expect_refused({
      {"duplicate name", file_of("{" + a + "," + a + "}", "1234"), "the key 'a' comes twice"},
      {"duplicate dtype", one("\"F32\",\"dtype\":\"F32\"", "[1]", "[0,4]"), "comes twice"},
      {"duplicate by escape", file_of("{" + a + ",\"\\u0061\":{}}", "1234"), "comes twice"},
      {"depth 10^6", file_of(fmt::format("{{\"a\":{:[>{}}", "", 1000000)), "levels of nesting"},
      {"depth 10^6 of objects", file_of(repeated("{\"a\":", 1000000)), "levels of nesting"},
      {"tensor is null", file_of("{\"a\":null}"), "'a' must be an object"},
      {"tensor is an array", file_of("{\"a\":[]}"), "'a' must be an object"},
      {"tensor is empty", file_of("{\"a\":{}}"), "'a' lacks the key 'dtype'"},
      {"no dtype", file_of("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", "1234"), "'dtype'"},
      {"no shape", file_of("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", "1234"),
       "'shape'"},
      {"no offsets", file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", "1234"),
       "'data_offsets'"},
      {"extra key", one("\"F32\",\"x\":1", "[1]", "[0,4]"), "unknown key 'x'"},
      {"metadata is null", file_of("{\"__metadata__\":null}"), "must be an object"},
      {"metadata is text", file_of("{\"__metadata__\":\"x\"}"), "must be an object"},
      {"metadata holds a number", file_of("{\"__metadata__\":{\"x\":1}}"), "'x' must be a string"},
      {"metadata nests", file_of("{\"__metadata__\":{\"x\":{}}}"), "'x' must be a string"},
      {"metadata twice", file_of("{\"__metadata__\":{},\"__metadata__\":{}}"), "comes twice"},
      {"metadata as a tensor",
       file_of(fmt::format("{{\"__metadata__\":{}", kGood.substr(5)), "1234"), "must be a string"},
      {"more values than are read", file_of(fmt::format("{{\"a\":{}}}", ones(200001))),
       "more than 150000 values"},
      {"name obeyed by a terminal", file_of("{\"\\u001b[2J\\n\":{}}"), "lacks the key"},
      {"NaN", one("\"F32\"", "[NaN]", "[0,4]"), "(header):1:"},
      {"number overflow", one("\"F32\"", "[1e400]", "[0,4]"), "overflow"},
  });
}

TEST(SafetensorsHostile, TypeAndShape) {
  expect_refused({
      {"unknown dtype", one("\"F33\"", "[1]", "[0,4]"),
       "must be a type of the format (it is \"F33\")"},
      {"dtype in lower case", one("\"f32\"", "[1]", "[0,4]"), "must be a type"},
      {"dtype is empty", one("\"\"", "[1]", "[0,4]"), "must be a type"},
      {"dtype is a number", one("7", "[1]", "[0,4]"), "'dtype' must be a string"},
      {"shape is a number", one("\"F32\"", "1", "[0,4]"), "'shape' must be an array"},
      {"shape is an object", one("\"F32\"", "{}", "[0,4]"), "'shape' must be an array"},
      {"negative", one("\"F32\"", "[-1]", "[0,4]"), "must be at least 0"},
      {"negative twice", one("\"F32\"", "[-1,-1]", "[0,4]"), "must be at least 0"},
      {"fraction", one("\"F32\"", "[1.0]", "[0,4]"), "must be an integer"},
      {"exponent", one("\"F32\"", "[1e0]", "[0,4]"), "must be an integer"},
      {"text", one("\"F32\"", "[\"1\"]", "[0,4]"), "must be an integer"},
      {"true", one("\"F32\"", "[true]", "[0,4]"), "must be an integer"},
      {"2^63", one("\"F32\"", "[9223372036854775808]", "[0,4]"), "below 2^63"},
      {"2^64", one("\"F32\"", "[18446744073709551616]", "[0,4]"), "must be an integer"},
      {"2^32 x 2^32", one("\"F32\"", "[4294967296,4294967296]", "[0,4]"), "does not have 4 bytes"},
      {"2^32 x 2^32 bytes", one("\"U8\"", "[4294967296,4294967296]", "[0,0]", ""), "does not have"},
      {"2^62 + 1 floats", one("\"F32\"", "[4611686018427387905]", "[0,4]"),
       "does not have 4 bytes"},
      {"0 x 2^32 x 2^32", one("\"U8\"", "[0,4294967296,4294967296]", "[0,0]", ""), "does not have"},
      {"65 dimensions", one("\"F32\"", ones(65), "[0,4]"), "65 dimensions"},
      {"10^5 dimensions", one("\"F32\"", ones(100000), "[0,4]"), "100000 dimensions"},
      {"too small a shape", one("\"U8\"", "[3]", "[0,4]"), "does not have 4 bytes"},
      {"too large a shape", one("\"F32\"", "[2]", "[0,4]"), "does not have 4 bytes"},
      {"scalar of 4 bytes as U8", one("\"U8\"", "[]", "[0,4]"), "does not have 4 bytes"},
  });
}

TEST(SafetensorsHostile, Offsets) {
  expect_refused({
      {"a number", one("\"F32\"", "[1]", "4"), "must be an array"},
      {"one", one("\"F32\"", "[1]", "[4]"), "must have two entries"},
      {"three", one("\"F32\"", "[1]", "[0,4,4]"), "must have two entries"},
      {"none", one("\"F32\"", "[1]", "[]"), "must have two entries"},
      {"reversed", one("\"F32\"", "[1]", "[4,0]"), "ends at 0, before it begins at 4"},
      {"negative", one("\"F32\"", "[1]", "[-4,0]"), "at least 0"},
      {"fraction", one("\"F32\"", "[1]", "[0,4.0]"), "at least 0"},
      {"2^64", one("\"F32\"", "[1]", "[0,18446744073709551616]"), "at least 0"},
      {"wraps around", one("\"F32\"", "[1]", "[18446744073709551612,0]"), "before it begins"},
      {"far away", one("\"F32\"", "[1]", "[18446744073709551608,18446744073709551612]"),
       "begins at"},
      {"begins at 1", one("\"F32\"", "[1]", "[1,5]", "12345"), "begins at 1 where 0 ends"},
      {"beyond the file", one("\"F32\"", "[1]", "[0,4]", "123"), "has 3 bytes of data"},
      {"trailing byte", one("\"F32\"", "[1]", "[0,4]", "12345"), "has 5 bytes of data"},
      {"data without tensors", file_of("{}", "1"), "has 1 bytes of data, its tensors cover 0"},
      {"hole", two("[0,1]", "[2,3]", "abc"), "'b' begins at 2 where 1 ends"},
      {"overlap", two("[0,1]", "[0,1]", "a"), "begins at 0 where 1 ends"},
      {"not to the end", two("[0,1]", "[1,2]", "abc"), "has 3 bytes of data, its tensors cover 2"},
      {"second beyond the file", two("[0,1]", "[1,2]", "a"), "has 1 bytes of data"},
      {"first beyond the file", two("[1,2]", "[0,1]", "a"), "has 1 bytes of data"},
  });
}

/// All or nothing, at every length of a file of about 2 KB.
TEST(SafetensorsHostile, TruncatedAtEveryByte) {
  const std::vector<float> values(100, 1.5f);
  std::vector<StoredArray> tensors;
  for (int i = 0; i < 4; ++i)
    tensors.push_back(
        stored_array(fmt::format("backbone.layers.{}.weight", i), {20, 5}, std::span(values)));
  const std::string whole = safetensors_bytes(tensors, {{"format", "pt"}});
  ASSERT_GE(whole.size(), 1900u);
  for (std::size_t n = 0; n < whole.size(); ++n)
    EXPECT_ERROR(Safetensors::parse(whole.substr(0, n), "x.st"), ErrorKind::io, "x.st");
  EXPECT_EQ(Safetensors::parse(whole, "x.st").names().size(), 4u);
}

/// One flipped bit in the header may leave a file valid (another name, say), but whatever is then
/// accepted covers exactly the bytes that are there.
TEST(SafetensorsHostile, FlippedBitsNeverReachBeyondTheFile) {
  const std::vector<float> values(6, 1.5f);
  const std::vector<StoredArray> tensors{stored_array("a", {2, 3}, std::span(values)),
                                         stored_array("b", {6}, std::span(values))};
  const std::string whole = safetensors_bytes(tensors);
  int accepted = 0, refused = 0;
  for (std::size_t bit = 0; bit < 8 * (whole.size() - 48); ++bit) {
    std::string bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    try {
      const Safetensors file = Safetensors::parse(bytes, "x");
      std::size_t covered = 0;
      for (const std::string& name : file.names())
        covered += file.at(name).bytes.size();
      EXPECT_EQ(covered, 48u);
      ++accepted;
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 10 * accepted);
}

}  // namespace
}  // namespace recallbench
