#include "kernels/base/io/safetensors.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/temporary_folder.h"
#include "tests/base/expect_error.h"

namespace recallbench {
namespace {

using Shape = std::vector<std::int64_t>;

/// A file of this header text and data.
std::string file_of(const std::string& header, const std::string& data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i)
    bytes += static_cast<char>(static_cast<std::uint64_t>(header.size()) >> (8 * i) & 255);
  return bytes + header + data;
}

TEST(Safetensors, GoldenBytesOfNoTensors) {
  const std::string golden("\x08\0\0\0\0\0\0\0{}      ", 16);
  EXPECT_EQ(safetensors_bytes({}), golden);
  EXPECT_TRUE(Safetensors::parse(golden, "x").names().empty());
}

TEST(Safetensors, GoldenBytesOfTwoTensors) {
  const std::vector<float> a{1, -2};
  const std::vector<std::int64_t> b{3};
  const std::vector<StoredArray> tensors{stored_array("a", {2}, std::span(a)),
                                         stored_array("b", {}, std::span(b))};
  std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})";
  header.append((8 - header.size() % 8) % 8, ' ');
  const std::string data("\3\0\0\0\0\0\0\0\0\0\x80\x3F\0\0\0\xC0", 16);
  EXPECT_EQ(safetensors_bytes(tensors, {{"format", "pt"}}), file_of(header, data));
}

TEST(Safetensors, ReadsBackWhatItWrote) {
  const TemporaryFolder folder;
  const std::vector<float> f32{0.1f, -3e38f, 1e-45f, std::nanf("")};
  const std::vector<double> f64{0.1, 5e-324};
  const std::vector<std::int32_t> i32{INT32_MIN, 7};
  const std::vector<std::int64_t> i64{INT64_MIN, 7};
  const std::vector<StoredArray> tensors{
      stored_array("layers.0.weight", {2, 2}, std::span(f32)),
      stored_array("f64", {1, 2}, std::span(f64)),
      stored_array("i32", {2}, std::span(i32)),
      stored_array("i64", {2}, std::span(i64)),
      stored_array("empty", {0, 3}, std::span<const float>()),
      stored_array("n\"\\\n\xE2\x82\xAC", {1}, std::span(f32).first(1))};
  const Metadata metadata{{"step", "12"}, {"text", "line\nbreak \"quoted\""}};
  write_safetensors(folder / "w.safetensors", tensors, metadata);
  EXPECT_EQ(read_file(folder / "w.safetensors", 1 << 20), safetensors_bytes(tensors, metadata));
  const Safetensors file = Safetensors::read(folder / "w.safetensors", 1 << 20);
  EXPECT_EQ(file.metadata(), metadata);
  EXPECT_EQ(file.names().size(), tensors.size());
  for (const StoredArray& tensor : tensors) {
    const StoredArray back = file.at(tensor.name);
    EXPECT_EQ(back.type, tensor.type);
    EXPECT_EQ(back.shape, tensor.shape);
    EXPECT_EQ(back.bytes, tensor.bytes);
  }
  EXPECT_EQ(file.at("f64").to_double(), f64);
  EXPECT_EQ(file.at("i32").to_int32(), i32);
  EXPECT_EQ(file.at("i64").to_int64(), i64);
  EXPECT_EQ(file.at("layers.0.weight").to_float()[1], -3e38f);
  EXPECT_TRUE(file.at("empty").to_float().empty());
}

TEST(Safetensors, LargerElementsComeFirstSoThatAllAreAligned) {
  const std::vector<double> f64{1};
  const std::vector<float> f32{1};
  StoredArray byte = stored_array("a", {1}, std::span(f32));
  byte.type = StoredType::u8;
  byte.bytes = byte.bytes.substr(0, 1);
  const std::vector<std::int64_t> i64{1};
  const std::vector<StoredArray> tensors{byte, stored_array("b", {1}, std::span(f32)),
                                         stored_array("y", {1}, std::span(f64)),
                                         stored_array("z", {1}, std::span(i64))};
  const std::string bytes = safetensors_bytes(tensors);
  const Safetensors file = Safetensors::parse(bytes, "x");
  EXPECT_LT(bytes.find("\"z\""), bytes.find("\"y\""));
  EXPECT_LT(bytes.find("\"y\""), bytes.find("\"b\""));
  EXPECT_LT(bytes.find("\"b\""), bytes.find("\"a\""));
  EXPECT_EQ(file.at("y").bytes.data() + 8, file.at("b").bytes.data());
}

TEST(Safetensors, ReducedPrecisionsWiden) {
  const std::string header = R"({"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},)"
                             R"("b":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]},)"
                             R"("q":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[8,9]}})";
  const Safetensors file = Safetensors::parse(
      file_of(header, std::string("\x00\x3C\x00\xC0\x80\x3F\x20\xC1\x01", 9)), "x");
  EXPECT_EQ(file.at("h").to_float(), (std::vector<float>{1, -2}));
  EXPECT_EQ(file.at("b").to_double(), (std::vector<double>{1, -10}));
  EXPECT_ERROR(file.at("q").to_float(), ErrorKind::io, "'x': 'q' must hold floating point numbers");
}

TEST(Safetensors, ReadsWhatOthersMayWrite) {
  // Header neither padded nor in the order of the data; whitespace; another order of keys.
  const Safetensors file = Safetensors::parse(
      file_of("{ \"b\": {\"data_offsets\": [1, 2], \"shape\": [1], \"dtype\": \"U8\"},\n"
              "\"a\": {\"dtype\": \"I8\", \"shape\": [1], \"data_offsets\": [0, 1]}, "
              "\"__metadata__\": {} }  ",
              "\xFF\x02"),
      "x");
  EXPECT_EQ(file.at("a").to_int64(), (Shape{-1}));
  EXPECT_EQ(file.at("b").to_int64(), (Shape{2}));
}

TEST(Safetensors, UnknownNamesListTheNearest) {
  const std::vector<float> x{1};
  const std::vector<StoredArray> tensors{stored_array("lm_head.weight", {1}, std::span(x))};
  const Safetensors file =
      Safetensors::parse(safetensors_bytes(tensors), "w.safetensors", ErrorKind::usage);
  EXPECT_TRUE(file.contains("lm_head.weight"));
  EXPECT_FALSE(file.contains("lm_head"));
  EXPECT_ERROR(file.at("lm_haed.weight"), ErrorKind::usage,
               "'w.safetensors': has no tensor 'lm_haed.weight'; did you mean 'lm_head.weight'?");
  EXPECT_ERROR(file.at("lm_head.weight").to_int64(), ErrorKind::usage,
               "must hold integers, has F32");
}

TEST(Safetensors, TheWriterKeepsItsCallersHonest) {
  const std::vector<float> x{1, 2};
  EXPECT_ERROR(stored_array("a", {3}, std::span(x)), ErrorKind::internal, "shape [3] of F32");
  const StoredArray a = stored_array("a", {2}, std::span(x));
  const StoredArray reserved = stored_array("__metadata__", {2}, std::span(x));
  EXPECT_ERROR(safetensors_bytes(std::array{a, a}), ErrorKind::internal, "'a' is taken");
  EXPECT_ERROR(safetensors_bytes(std::array{reserved}), ErrorKind::internal, "is taken");
}

}  // namespace
}  // namespace recallbench
