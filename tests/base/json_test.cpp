#include "kernels/base/io/json.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "kernels/base/io/temporary_folder.h"
#include "kernels/base/philox.h"
#include "kernels/base/text.h"
#include "tests/base/expect_error.h"

namespace recallbench {
namespace {

Json parse(std::string_view text) {
  return parse_json(text, "x.json", ErrorKind::usage);
}

TEST(Json, ReadsEveryType) {
  const Json json = parse(R"({"a": [1, -2, 3.5, "x\u00e9\n", true, false, null], "b": {}})");
  const Json& a = json.at("a");
  ASSERT_EQ(a.size(), 7u);
  EXPECT_EQ(a.at(0).as_int(), 1);
  EXPECT_EQ(a.at(1).as_int(), -2);
  EXPECT_EQ(a.at(2).as_double(), 3.5);
  EXPECT_EQ(a.at(3).as_string(), "x\xC3\xA9\n");
  EXPECT_TRUE(a.at(4).as_bool());
  EXPECT_FALSE(a.at(5).as_bool());
  EXPECT_TRUE(a.at(6).is_null());
  EXPECT_EQ(json.at("b").size(), 0u);
  EXPECT_EQ(json.find("c"), nullptr);
  EXPECT_EQ(parse(" 7 \n").as_int(), 7);
}

TEST(Json, NumbersKeepTheirKind) {
  EXPECT_EQ(parse("9223372036854775807").as_int(), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(parse("-9223372036854775808").as_int(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(parse("18446744073709551615").as_uint(), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(parse("9223372036854775808").compact(), "9223372036854775808");
  EXPECT_ERROR(parse("9223372036854775808").as_int(), ErrorKind::usage, "below 2^63");
  EXPECT_ERROR(parse("3.0").as_int(), ErrorKind::usage, "must be an integer (it is 3.0)");
  EXPECT_EQ(parse("3").as_double(), 3.0);
  EXPECT_EQ(parse("1e3").as_double(), 1000.0);
  EXPECT_FALSE(parse("1e3").is_integer());
  EXPECT_TRUE(std::signbit(parse("-0.0").as_double()));
  EXPECT_TRUE(std::isnan(parse("null").as_double_or_nan()));
  EXPECT_EQ(parse("2.5").as_double_or_nan(), 2.5);
}

TEST(Json, GettersNameFileLineKeyAndValue) {
  const Json json =
      parse("{\n \"lr\": \"fast\",\n \"model\":\n  {\"d_model\": 3}\n,\"seeds\": [1]}");
  EXPECT_ERROR(json.at("lr").as_double(), ErrorKind::usage,
               "[json] x.json:2: 'lr' must be a number (it is \"fast\")");
  EXPECT_ERROR(json.at("model").at("d_model").as_string(), ErrorKind::usage,
               "x.json:4: 'd_model' must be a string (it is 3)");
  EXPECT_ERROR(json.at("model").at("d_modl"), ErrorKind::usage,
               "x.json:4: 'model' lacks the key 'd_modl'; did you mean 'd_model'?");
  EXPECT_ERROR(json.at("seeds").at(1), ErrorKind::usage, "must have more than 1 entries");
  EXPECT_ERROR(json.at("seeds").as_object(), ErrorKind::usage,
               "must be an object (it is an array)");
  EXPECT_ERROR(json.at("model").as_array(), ErrorKind::usage, "must be an array");
  EXPECT_ERROR(json.at("model").at("d_model").as_int(4, 9), ErrorKind::usage, "must lie in [4, 9]");
  EXPECT_ERROR(json.at("model").at("d_model").as_int(4), ErrorKind::usage, "must be at least 4");
  EXPECT_ERROR(json.at("model").at("d_model").as_bool(), ErrorKind::usage, "true or false");
  EXPECT_ERROR(json.at("lr").as_uint(), ErrorKind::usage, "at least 0");
  EXPECT_ERROR(json.at("lr").size(), ErrorKind::usage, "an array or an object");
  EXPECT_ERROR(json.at("lr").as_double_or_nan(), ErrorKind::usage, "a number or null");
  EXPECT_ERROR(json.allow_keys({"lr", "models", "seeds"}), ErrorKind::usage,
               "unknown key 'model'; did you mean 'models'?");
  EXPECT_NO_THROW(json.allow_keys({"lr", "model", "seeds", "more"}));
}

TEST(Json, ValuesOutliveTheirDocument) {
  Json inner;
  {
    const Json json = parse(R"({"a": {"b": "c"}})");
    inner = json.at("a").at("b");
  }
  EXPECT_ERROR(inner.as_int(), ErrorKind::usage, "x.json:1: 'b' must be an integer");
}

TEST(Json, BuiltInCodeItsErrorsAreInternal) {
  Json json;
  json["a"] = 3;
  EXPECT_ERROR(json.at("a").as_string(), ErrorKind::internal, "must be a string (it is 3)");
  EXPECT_ERROR(json.push_back(1), ErrorKind::internal, "must be an array");
  EXPECT_ERROR(json["a"]["b"], ErrorKind::internal, "must be an object");
}

TEST(Json, RefusesWithLineAndColumn) {
  struct Case {
    std::string text, part;
  };
  const std::vector<Case> cases{
      {"", "x.json:1:1: "},
      {"{\"a\": 1,}", "x.json:1:9: "},
      {"[1,\n 2,\n ,3]", "x.json:3:2: "},
      {"{\n\"a\": 1,\n  \"a\": 2}", "x.json:3:5: the key 'a' comes twice"},
      {"{\"a\": 1} x", "x.json:1:10: "},
      {"[1] [2]", "x.json:1:5: "},
      {"[NaN]", "x.json:1:2: "},
      {"[Infinity]", "x.json:1:2: "},
      {"[-Infinity]", "x.json:1:3: "},
      {"[1e400]", "number overflow"},
      {"[-1e400]", "number overflow"},
      {"[01]", "x.json:1:4: "},
      {"[+1]", "x.json:1:2: "},
      {"[.5]", "x.json:1:2: "},
      {"[1.]", "x.json:1:4: "},
      {"['a']", "x.json:1:2: "},
      {"{a: 1}", "x.json:1:2: "},
      {"[1] // c", "x.json:1:5: "},
      {"[/* c */ 1]", "x.json:1:2: "},
      {"[\"a\nb\"]", "control character"},
      {"[\"\\x\"]", "x.json:1:4: "},
      {"[\"\\ud800\"]", "surrogate"},
      {"[\"\xFF\"]", "ill-formed UTF-8"},
      {"[\"\xC0\x80\"]", "ill-formed UTF-8"},
      {"[\"\xED\xA0\x80\"]", "ill-formed UTF-8"},
      {"[\"abc", "missing closing quote"},
      {"{\"a\"", "x.json:1:"},
      {"[[", "x.json:1:"},
      {"tru", "x.json:1:"},
      {std::string("\0", 1), "x.json:1:1: a NUL byte"},
      {std::string("[1]\0", 4), "x.json:1:4: "},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(printable(one.text));
    EXPECT_ERROR(parse(one.text), ErrorKind::usage, one.part);
    EXPECT_ERROR(parse_json(one.text, "x.json", ErrorKind::io), ErrorKind::io, "[json] x.json:");
  }
}

TEST(Json, MessagesObeyNoTerminal) {
  const std::string text = error_of([] { parse("[\"\x1b[31m\"]"); });
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
  const std::string key = error_of([] { parse("{\"\\u001b[2J\": 1}").at("x"); });
  EXPECT_EQ(key.find('\x1b'), std::string::npos) << key;
}

TEST(Json, DepthIsBounded) {
  const auto nested = [](std::size_t n) { return std::string(n, '[') + std::string(n, ']'); };
  EXPECT_EQ(parse(nested(64)).compact(), nested(64));
  EXPECT_ERROR(parse(nested(65)), ErrorKind::usage, "x.json:1:65: more than 64 levels of nesting");
  EXPECT_ERROR(parse(nested(200000)), ErrorKind::usage, "more than 64 levels");
  std::string objects;
  for (int i = 0; i < 200000; ++i)
    objects += "{\"a\":";
  EXPECT_ERROR(parse(objects), ErrorKind::usage, "more than 64 levels");
}

TEST(Json, SizesAreBounded) {
  EXPECT_ERROR(parse_json("[1, 2, 3]", "x", ErrorKind::io, {8, 64, 100}), ErrorKind::io,
               "9 bytes are more than the 8");
  EXPECT_ERROR(parse_json("[1, 2, 3]", "x", ErrorKind::io, {9, 64, 3}), ErrorKind::io,
               "more than 3 values");
  EXPECT_EQ(parse_json("[1, 2, 3]", "x", ErrorKind::io, {9, 64, 4}).size(), 3u);
}

TEST(Json, CanonicalText) {
  Json json;
  json["b"] = 0.1;
  json["a"] = Json::list(std::vector<int>{1, 2});
  json["c"]["x"] = Json();
  json["c"]["nan"] = std::nan("");
  json["c"]["inf"] = std::numeric_limits<double>::infinity();
  json["d"] = true;
  json["e"] = 3.0;
  json["f"] = std::numeric_limits<std::uint64_t>::max();
  json["g"] = Json::Array{};
  json["h"] = "q\"\\\n\t\x01/\xC3\xA9\xC2\x9B\xFF";
  EXPECT_EQ(json.compact(),
            "{\"a\":[1,2],\"b\":0.1,\"c\":{\"inf\":null,\"nan\":null,\"x\":null},\"d\":true,"
            "\"e\":3.0,\"f\":18446744073709551615,\"g\":[],"
            "\"h\":\"q\\\"\\\\\\n\\t\\u0001/\xC3\xA9\\u009b\xEF\xBF\xBD\"}");
  EXPECT_EQ(parse("{\"b\":[1,{\"c\":2}],\"a\":{}}").indented(),
            "{\n  \"a\": {},\n  \"b\": [\n    1,\n    {\n      \"c\": 2\n    }\n  ]\n}\n");
}

TEST(Json, CanonicalTextReadsBackToItself) {
  RandomStream stream(8, Purpose::test_values, 0, 0);
  Json::Array entries;
  for (int i = 0; i < 1000; ++i) {
    const double x = std::bit_cast<double>(stream.next64());
    if (std::isfinite(x)) entries.emplace_back(x);
    entries.emplace_back(stream.next64());
    entries.emplace_back(static_cast<std::int64_t>(stream.next64()));
    entries.emplace_back(number_text(x) + "\x7f\xE2\x82\xAC");
  }
  const Json json(entries);
  EXPECT_EQ(parse(json.compact()), json);
  EXPECT_EQ(parse(json.indented()), json);
  EXPECT_EQ(parse(json.compact()).compact(), json.compact());
}

TEST(Json, ReadsFiles) {
  const TemporaryFolder folder;
  EXPECT_ERROR(read_json(folder / "missing.json", ErrorKind::io), ErrorKind::io, "missing.json");
  EXPECT_ERROR(read_json(folder / "missing.json", ErrorKind::usage), ErrorKind::usage, "No such");
}

}  // namespace
}  // namespace recallbench
