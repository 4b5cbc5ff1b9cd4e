#include "sweeps/store/checksum.h"

#include "kernels/base/hash.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

constexpr const char* kKey = "checksum";

Json parse(const std::string& text, const std::string& source, const std::string& remedy,
           const JsonLimits& limits) {
  try {
    return parse_json(text, source, ErrorKind::io, limits);
  } catch (const Error& error) {
    throw Error(ErrorKind::io, std::string(error.what()) + "; " + remedy);
  }
}

}  // namespace

std::string with_checksum(Json json) {
  const std::string sum = xxh3_128_hex(json.compact());
  json[kKey] = sum;
  return json.indented();
}

Json parse_with_checksum(const std::string& text, const std::string& source,
                         const std::string& remedy, const JsonLimits& limits) {
  const Json json = parse(text, source, remedy, limits);
  Json::Object rest = json.as_object();
  const auto sum = rest.extract(kKey);
  if (sum.empty())
    fail(ErrorKind::io, "results",
         "{}: it has no key 'checksum', so it is not what was written; {}", in_quotes(source),
         remedy);
  Json content(std::move(rest));
  const std::string found = xxh3_128_hex(content.compact());
  if (sum.mapped().as_string() != found)
    fail(ErrorKind::io, "results",
         "{}: its content was changed after it was written (checksum {}, content {}); {}",
         in_quotes(source), sum.mapped().as_string(), found, remedy);
  return content;
}

}  // namespace recallbench
