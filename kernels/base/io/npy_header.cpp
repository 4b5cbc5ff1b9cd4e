#include "kernels/base/io/npy_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "kernels/base/io/stored_array.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

/// A recursive descent over the few literals that NumPy writes; nothing is evaluated.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& source, ErrorKind kind)
      : rest_(text), source_(source), kind_(kind) {}

  NpyHeader parse() {
    if (rest_.empty() || rest_.back() != '\n') refuse("its last byte is no newline");
    rest_.remove_suffix(1);
    NpyHeader header;
    expect('{');
    while (!accept('}')) {
      entry(header);
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    if (!rest_.empty()) refuse(fmt::format("unexpected {}", in_quotes(rest_.substr(0, 20))));
    if (!has_descr_) refuse("'descr' is missing");
    if (!has_order_) refuse("'fortran_order' is missing");
    if (!has_shape_) refuse("'shape' is missing");
    return header;
  }

 private:
  [[noreturn]] void refuse(const std::string& problem) const {
    fail(kind_, "npy", "{}: has a header that cannot be read: {}; write it with numpy.save",
         in_quotes(source_), problem);
  }

  void entry(NpyHeader& header) {
    const std::string key = string();
    expect(':');
    if (key == "descr") {
      once(has_descr_, key);
      skip_spaces();
      if (!rest_.empty() && rest_.front() == '[')
        refuse("structured element types are not supported");
      header.descr = string();
    } else if (key == "fortran_order") {
      once(has_order_, key);
      header.fortran_order = boolean();
    } else if (key == "shape") {
      once(has_shape_, key);
      header.shape = tuple();
    } else {
      refuse(fmt::format("unknown key {}", in_quotes(key)));
    }
  }

  void once(bool& seen, const std::string& key) {
    if (seen) refuse(fmt::format("'{}' comes twice", key));
    seen = true;
  }

  void skip_spaces() { rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size())); }

  bool accept(char wanted) {
    skip_spaces();
    if (rest_.empty() || rest_.front() != wanted) return false;
    rest_.remove_prefix(1);
    return true;
  }

  void expect(char wanted) {
    if (!accept(wanted))
      refuse(fmt::format("expected '{}' before {}", wanted, in_quotes(rest_.substr(0, 20))));
  }

  /// 'text' or "text", without escapes.
  std::string string() {
    const char quote = accept('\'') ? '\'' : '"';
    if (quote == '"') expect('"');
    const std::size_t end = rest_.find(quote);
    if (end == std::string_view::npos) refuse("a string does not end");
    const std::string text(rest_.substr(0, end));
    if (text.find('\\') != std::string::npos) refuse("a string has a backslash");
    rest_.remove_prefix(end + 1);
    return text;
  }

  bool boolean() {
    skip_spaces();
    for (const std::string_view word : {"True", "False"}) {
      if (rest_.substr(0, word.size()) != word) continue;
      rest_.remove_prefix(word.size());
      return word == "True";
    }
    refuse(fmt::format("expected True or False before {}", in_quotes(rest_.substr(0, 20))));
  }

  std::int64_t dimension() {
    skip_spaces();
    if (!rest_.empty() && rest_.front() == '-') refuse("a dimension is negative");
    std::int64_t x = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), x);
    if (error == std::errc::result_out_of_range) refuse("a dimension exceeds int64");
    if (error != std::errc())
      refuse(fmt::format("expected a dimension before {}", in_quotes(rest_.substr(0, 20))));
    const std::size_t digits = static_cast<std::size_t>(end - rest_.data());
    if (digits > 1 && rest_.front() == '0') refuse("a dimension begins with 0");
    rest_.remove_prefix(digits);
    return x;
  }

  /// () or (3,) or (3, 4) or (3, 4,); (3) is a number in Python, and refused.
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> dimensions;
    expect('(');
    bool comma = false;
    while (!accept(')')) {
      if (!dimensions.empty() && !comma)
        refuse(fmt::format("expected ',' or ')' before {}", in_quotes(rest_.substr(0, 20))));
      if (dimensions.size() == kMaxDimensions)
        refuse(fmt::format("more than {} dimensions", kMaxDimensions));
      dimensions.push_back(dimension());
      comma = accept(',');
    }
    if (dimensions.size() == 1 && !comma) refuse("a shape of one dimension needs a comma: (3,)");
    return dimensions;
  }

  std::string_view rest_;
  const std::string& source_;
  ErrorKind kind_;
  bool has_descr_ = false, has_order_ = false, has_shape_ = false;
};

}  // namespace

NpyHeader parse_npy_header(std::string_view text, const std::string& source, ErrorKind kind) {
  return HeaderParser(text, source, kind).parse();
}

}  // namespace recallbench
