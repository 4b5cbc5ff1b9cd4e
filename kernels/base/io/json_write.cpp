#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "kernels/base/io/json.h"
#include "kernels/base/text.h"

namespace recallbench {

class JsonWriter {
 public:
  explicit JsonWriter(bool indented) : indented_(indented) {}

  void write(const Json& json) {
    std::visit([this](const auto& value) { put(value); }, json.value_);
  }

  std::string take() { return std::move(text_); }

 private:
  void put(std::monostate) { text_ += "null"; }
  void put(bool x) { text_ += x ? "true" : "false"; }
  void put(std::int64_t x) { text_ += std::to_string(x); }
  void put(std::uint64_t x) { text_ += std::to_string(x); }
  void put(double x) { text_ += std::isfinite(x) ? number_text(x) : "null"; }
  void put(const std::string& x) { text_ += json_quoted(x); }

  void put(const Json::Array& array) {
    text_ += '[';
    ++depth_;
    for (const Json& entry : array) {
      begin_entry(&entry == &array.front());
      write(entry);
    }
    end(']', array.empty());
  }

  void put(const Json::Object& object) {
    text_ += '{';
    ++depth_;
    bool first = true;
    for (const auto& [key, entry] : object) {
      begin_entry(std::exchange(first, false));
      text_ += json_quoted(key) + (indented_ ? ": " : ":");
      write(entry);
    }
    end('}', object.empty());
  }

  void begin_entry(bool first) {
    if (!first) text_ += ',';
    if (indented_) new_line();
  }
  void end(char close, bool empty) {
    --depth_;
    if (indented_ && !empty) new_line();
    text_ += close;
  }
  void new_line() {
    text_ += '\n';
    text_.append(2 * depth_, ' ');
  }

  bool indented_;
  std::size_t depth_ = 0;
  std::string text_;
};

std::string json_quoted(std::string_view text) {
  std::string result = "\"";
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const std::string_view character = text.substr(0, length == 0 ? 1 : length);
    text.remove_prefix(character.size());
    if (length == 0)
      result += "\xEF\xBF\xBD";
    else if (character == "\"" || character == "\\")
      result += fmt::format("\\{}", character);
    else if (character == "\n")
      result += "\\n";
    else if (character == "\t")
      result += "\\t";
    else if (begins_with_control(character))  // U+0080 to U+009F end in the byte of their number
      result += fmt::format("\\u{:04x}", static_cast<unsigned char>(character.back()));
    else
      result += character;
  }
  result += '"';
  return result;
}

std::string Json::compact() const {
  JsonWriter writer(false);
  writer.write(*this);
  return writer.take();
}

std::string Json::indented() const {
  JsonWriter writer(true);
  writer.write(*this);
  return writer.take() + "\n";
}

}  // namespace recallbench
