#include "kernels/base/io/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/json.h"
#include "kernels/base/names.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

constexpr std::uint64_t kLengthBytes = 8;
/// The format's own limit.
constexpr std::uint64_t kLongestHeader = 100'000'000;
/// Bounds memory: about 16 000 tensors.
constexpr std::int64_t kMostValues = 150'000;
constexpr const char* kMetadataKey = "__metadata__";

std::string length_bytes(std::uint64_t length) {
  std::string bytes;
  for (std::uint64_t i = 0; i < kLengthBytes; ++i)
    bytes += static_cast<char>(length >> (8 * i) & 255);
  return bytes;
}

}  // namespace

class SafetensorsParser {
 public:
  SafetensorsParser(std::string bytes, const std::string& source, ErrorKind kind) {
    file_.bytes_ = std::move(bytes);
    file_.source_ = source;
    file_.kind_ = kind;
  }

  Safetensors parse() {
    const std::string_view text = header();
    const Json json = parse_json(text, file_.source_ + " (header)", file_.kind_,
                                 {kLongestHeader, 8, kMostValues});
    for (const auto& [name, entry] : json.as_object()) {
      if (name == kMetadataKey) {
        for (const auto& [key, value] : entry.as_object())
          file_.metadata_[key] = value.as_string();
      } else {
        file_.entries_[name] = tensor(name, entry);
      }
    }
    check_cover();
    return std::move(file_);
  }

 private:
  [[noreturn]] void refuse(const std::string& problem) const {
    fail(file_.kind_, "safetensors",
         "{}: {}; the file is damaged or of another format: make it again",
         in_quotes(file_.source_), problem);
  }

  std::string_view header() {
    const std::string_view bytes = file_.bytes_;
    if (bytes.size() < kLengthBytes) refuse("ends within its first 8 bytes");
    std::uint64_t length = 0;
    for (std::uint64_t i = kLengthBytes; i-- > 0;)
      length = length << 8 | static_cast<unsigned char>(bytes[i]);
    if (length > kLongestHeader)
      refuse(fmt::format("has a header of {} bytes, allowed are {}", length, kLongestHeader));
    if (length > bytes.size() - kLengthBytes)
      refuse(fmt::format("ends within its header of {} bytes", length));
    const std::string_view text = bytes.substr(kLengthBytes, length);
    if (text.empty() || text.front() != '{') refuse("has a header that does not begin with '{'");
    file_.data_ = kLengthBytes + length;
    return text;
  }

  Safetensors::Entry tensor(const std::string& name, const Json& json) const {
    json.allow_keys({"dtype", "shape", "data_offsets"});
    const std::string& dtype = json.at("dtype").as_string();
    const auto type = stored_type_from(dtype);
    if (!type) json.at("dtype").reject("must be a type of the format");
    Safetensors::Entry entry{*type, {}, 0, 0};
    const Json::Array& shape = json.at("shape").as_array();
    if (shape.size() > kMaxDimensions)
      refuse(fmt::format("tensor {} has {} dimensions, allowed are {}", in_quotes(name),
                         shape.size(), kMaxDimensions));
    for (const Json& dimension : shape)
      entry.shape.push_back(dimension.as_int(0));
    const Json& offsets = json.at("data_offsets");
    if (offsets.as_array().size() != 2) offsets.reject("must have two entries");
    entry.begin = offsets.at(0).as_uint();
    entry.end = offsets.at(1).as_uint();
    if (entry.begin > entry.end)
      refuse(fmt::format("tensor {} ends at {}, before it begins at {}", in_quotes(name), entry.end,
                         entry.begin));
    const auto expected = bytes_of(entry.shape, entry.type);
    if (expected != entry.end - entry.begin)
      refuse(fmt::format("tensor {}, shape {} of {}, does not have {} bytes", in_quotes(name),
                         shape_text(entry.shape), dtype, entry.end - entry.begin));
    return entry;
  }

  /// The tensors in the order of their data must follow each other from the first byte to the last.
  void check_cover() const {
    std::vector<std::pair<std::string_view, const Safetensors::Entry*>> order;
    for (const auto& [name, entry] : file_.entries_)
      order.emplace_back(name, &entry);
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
      return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
    });
    std::uint64_t end = 0;
    for (const auto& [name, entry] : order) {
      if (entry->begin != end)
        refuse(fmt::format("tensor {} begins at {} where {} ends the one before it",
                           in_quotes(name), entry->begin, end));
      end = entry->end;
    }
    const std::uint64_t size = file_.bytes_.size() - file_.data_;
    if (end != size) refuse(fmt::format("has {} bytes of data, its tensors cover {}", size, end));
  }

  Safetensors file_;
};

Safetensors Safetensors::parse(std::string bytes, const std::string& source, ErrorKind kind) {
  return SafetensorsParser(std::move(bytes), source, kind).parse();
}

Safetensors Safetensors::read(const std::string& path, std::uint64_t max_bytes, ErrorKind kind) {
  return parse(read_file(path, max_bytes, kind), path, kind);
}

std::vector<std::string> Safetensors::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_)
    names.push_back(name);
  return names;
}

StoredArray Safetensors::at(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end())
    fail(kind_, "safetensors", "{}: has no tensor {}{}", in_quotes(source_), in_quotes(name),
         hint_for(name, names()));
  const Entry& entry = found->second;
  return {
      name,        entry.type,
      entry.shape, std::string_view(bytes_).substr(data_ + entry.begin, entry.end - entry.begin),
      source_,     kind_};
}

namespace {

/// The order in the file, and everything before the data.
std::string write_header(std::vector<const StoredArray*>& order, const Metadata& metadata) {
  std::sort(order.begin(), order.end(), [](const StoredArray* a, const StoredArray* b) {
    return a->type != b->type ? a->type > b->type : a->name < b->name;
  });
  std::vector<std::string> entries;
  if (!metadata.empty()) {
    std::vector<std::string> pairs;
    for (const auto& [key, value] : metadata)
      pairs.push_back(json_quoted(key) + ":" + json_quoted(value));
    entries.push_back(fmt::format("\"{}\":{{{}}}", kMetadataKey, fmt::join(pairs, ",")));
  }
  std::uint64_t end = 0;
  for (const StoredArray* tensor : order) {
    const std::uint64_t begin = end;
    end += tensor->bytes.size();
    entries.push_back(fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                                  json_quoted(tensor->name), name_of(tensor->type),
                                  fmt::join(tensor->shape, ","), begin, end));
  }
  std::string text = fmt::format("{{{}}}", fmt::join(entries, ","));
  text.append((8 - text.size() % 8) % 8, ' ');
  check(text.size() <= kLongestHeader, "write_safetensors", "a header of {} bytes is too long",
        text.size());
  return length_bytes(text.size()) + text;
}

/// Header first, then the data in order.
std::vector<std::string_view> pieces_of(std::span<const StoredArray> tensors,
                                        const Metadata& metadata, std::string& header) {
  std::vector<const StoredArray*> order;
  std::map<std::string_view, int> count;
  for (const StoredArray& tensor : tensors) {
    check_size("write_safetensors", tensor);
    check(++count[tensor.name] == 1 && tensor.name != kMetadataKey, "write_safetensors",
          "the name {} is taken", in_quotes(tensor.name));
    order.push_back(&tensor);
  }
  header = write_header(order, metadata);
  std::vector<std::string_view> pieces{header};
  for (const StoredArray* tensor : order)
    pieces.push_back(tensor->bytes);
  return pieces;
}

}  // namespace

std::string safetensors_bytes(std::span<const StoredArray> tensors, const Metadata& metadata) {
  std::string header, bytes;
  for (const std::string_view piece : pieces_of(tensors, metadata, header))
    bytes += piece;
  return bytes;
}

void write_safetensors(const std::string& path, std::span<const StoredArray> tensors,
                       const Metadata& metadata) {
  std::string header;
  publish(path, pieces_of(tensors, metadata, header));
}

}  // namespace recallbench
