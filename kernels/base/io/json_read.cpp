#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/json.h"
#include "kernels/base/io/json_document.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

/// Reads a text byte by byte and tells how far the parser has come, for the line of a value.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, const char** reached) : at_(at), reached_(reached) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    *reached_ = ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** reached_;
};

}  // namespace

/// Takes the parser's events and builds the value; an event that returns false ends the parse.
class JsonBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  JsonBuilder(std::string_view text, const std::string& source, ErrorKind kind,
              const JsonLimits& limits)
      : text_(text),
        reached_(text.data()),
        counted_(text.data()),
        limits_(limits),
        document_(std::make_shared<JsonDocument>(JsonDocument{source, kind, {}})) {}

  Json parse() {
    // The parser would take a NUL for the end of the text.
    if (const std::size_t nul = text_.find('\0'); nul != std::string_view::npos) {
      reached_ = text_.data() + nul + 1;
      stop("a NUL byte");
      fail_here();
    }
    const CountingIterator begin(text_.data(), &reached_);
    const CountingIterator end(text_.data() + text_.size(), &reached_);
    if (!nlohmann::json::sax_parse(begin, end, this)) fail_here();
    return std::move(root_);
  }

  bool null() override { return add(Json()); }
  bool boolean(bool x) override { return add(Json(x)); }
  bool number_integer(number_integer_t x) override { return add(Json(x), 1); }
  bool number_unsigned(number_unsigned_t x) override { return add(Json(x), 1); }
  bool number_float(number_float_t x, const string_t&) override { return add(Json(x), 1); }
  bool string(string_t& x) override { return add(Json(std::move(x))); }
  bool binary(binary_t&) override { return stop("binary values are not JSON"); }
  bool start_object(std::size_t) override { return open(Json(Json::Object())); }
  bool start_array(std::size_t) override { return open(Json(Json::Array())); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    const std::string* kept = &*document_->keys.insert(name).first;
    const auto [entry, added] = std::get<Json::Object>(open_.back()->value_).try_emplace(name);
    if (!added) return stop(fmt::format("the key {} comes twice", in_quotes(name)));
    slot_ = &entry->second;
    slot_->key_ = kept;
    return true;
  }

  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::json::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: the reason"
    std::string_view reason = error.what();
    if (const auto bracket = reason.find("] "); bracket != std::string_view::npos)
      reason.remove_prefix(bracket + 2);
    constexpr std::string_view kPrefix = "parse error at ";
    if (reason.substr(0, kPrefix.size()) == kPrefix) {
      if (const auto colon = reason.find(": "); colon != std::string_view::npos)
        reason.remove_prefix(colon + 2);
    }
    return stop(printable(reason, 300));
  }

 private:
  /// `ahead`: bytes that the parser has read beyond the value.
  bool add(Json value, std::ptrdiff_t ahead = 0) {
    if (++values_ > limits_.max_values)
      return stop(fmt::format("more than {} values", limits_.max_values));
    Json* place = &root_;
    if (!open_.empty()) {
      if (auto* array = std::get_if<Json::Array>(&open_.back()->value_))
        place = &array->emplace_back();
      else
        place = slot_;
    }
    place->value_ = std::move(value.value_);
    place->document_ = document_;
    place->line_ = line_at(std::max(counted_, reached_ - ahead));
    added_ = place;
    return true;
  }

  bool open(Json container) {
    if (static_cast<int>(open_.size()) >= limits_.max_depth)
      return stop(fmt::format("more than {} levels of nesting", limits_.max_depth));
    if (!add(std::move(container))) return false;
    open_.push_back(added_);
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  bool stop(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  /// Line of a byte at or after all those asked about before.
  std::size_t line_at(const char* byte) {
    line_ += static_cast<std::size_t>(std::count(counted_, byte, '\n'));
    counted_ = byte;
    return line_;
  }

  [[noreturn]] void fail_here() const {
    const std::string_view before =
        text_.substr(0, static_cast<std::size_t>(reached_ - text_.data()));
    // The byte that was read last is the one complained about.
    const std::string_view good = before.substr(0, before.empty() ? 0 : before.size() - 1);
    const std::size_t start_of_line = good.rfind('\n') + 1;  // npos + 1 is 0
    fail(document_->kind, "json", "{}:{}:{}: {}; correct the text there",
         printable(document_->source), std::count(good.begin(), good.end(), '\n') + 1,
         good.size() - start_of_line + 1, problem_);
  }

  std::string_view text_;
  const char* reached_;
  const char* counted_;
  std::size_t line_ = 1;
  JsonLimits limits_;
  std::shared_ptr<JsonDocument> document_;
  std::int64_t values_ = 0;
  Json root_;
  std::vector<Json*> open_;  // arrays and objects not yet closed, outermost first
  Json* slot_ = nullptr;     // the entry whose key was read last
  Json* added_ = nullptr;
  std::string problem_;
};

Json parse_json(std::string_view text, const std::string& source, ErrorKind kind,
                const JsonLimits& limits) {
  if (text.size() > limits.max_bytes)
    fail(kind, "json", "{}: {} bytes are more than the {} that are read at most", printable(source),
         text.size(), limits.max_bytes);
  return JsonBuilder(text, source, kind, limits).parse();
}

Json read_json(const std::string& path, ErrorKind kind, const JsonLimits& limits) {
  return parse_json(read_file(path, limits.max_bytes, kind), path, kind, limits);
}

}  // namespace recallbench
