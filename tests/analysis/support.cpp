#include "tests/analysis/support.h"

#include <fmt/format.h>

#include <cctype>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

namespace recallbench {

SummaryRow make_run(const std::string& family, double learning_rate, std::uint64_t seed,
                    double accuracy) {
  SummaryRow run;
  run.run_id = fmt::format("r-{}-{}-{}", family, learning_rate, seed);
  run.sweep = "hand-made";
  run.task = "mqar(vocab_size=256)";
  run.model_name = run.model = run.layers = family;
  run.d_model = 64;
  run.n_layers = 2;
  run.learning_rate = learning_rate;
  run.weight_decay = 0.1;
  run.setting = fmt::format("s-{}-{}", family, learning_rate);
  run.seed = seed;
  run.status = kStatusDone;
  run.reason = "max_epochs";
  run.epochs = 4;
  run.steps = 400;
  run.valid_accuracy = run.test_accuracy = accuracy;
  run.valid_loss = 1 - accuracy;
  run.test_loss = 1.5 - accuracy;
  run.chance = 1.0 / 128;
  run.state_bytes = 1024;
  run.state_length = 256;
  run.num_parameters = 12345;
  run.vocab_size = 256;
  run.precision = "fp32";
  run.device = "cpu";
  run.code_version = "0.1.0";
  run.numerics_version = "1";
  return run;
}

SummaryRow diverged(SummaryRow run) {
  run.status = kStatusDiverged;
  run.reason = "loss is nan at step 17";
  run.valid_accuracy = run.valid_loss = run.test_accuracy = run.test_loss = SummaryRow::kNone;
  run.slices.clear();
  return run;
}

void write_text(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string read_text(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

Environment::Environment(const char* name, const std::string& value) : name_(name) {
  if (const char* before = std::getenv(name)) before_ = before;
  setenv(name, value.c_str(), 1);
}

Environment::~Environment() {
  if (before_)
    setenv(name_, before_->c_str(), 1);
  else
    unsetenv(name_);
}

FontFolder::FontFolder(const TemporaryFolder& folder, const std::string& fonts)
    : configuration_("FONTCONFIG_FILE", folder / "fonts.conf") {
  write_text(folder / "fonts.conf", fmt::format("<?xml version=\"1.0\"?>\n<fontconfig><dir>{}</dir>"
                                                "<cachedir>{}</cachedir></fontconfig>\n",
                                                fonts, folder / "cache"));
}

namespace {

/// Reads one document from the front to the back; `problem` keeps the first thing that is wrong.
class XmlChecker {
 public:
  explicit XmlChecker(std::string_view text) : text_(text) {}

  std::string check() {
    while (at_ < text_.size() && problem_.empty()) {
      if (text_[at_] == '<')
        element();
      else
        character();
    }
    if (problem_.empty() && !open_.empty()) problem_ = "element left open: " + open_.back();
    if (problem_.empty() && !has_root_) problem_ = "no root element";
    return problem_;
  }

 private:
  bool starts(std::string_view prefix) const { return text_.substr(at_, prefix.size()) == prefix; }

  void character() {
    const auto byte = static_cast<unsigned char>(text_[at_]);
    if (byte < 0x20 && byte != '\n' && byte != '\t' && byte != '\r') problem_ = "control character";
    if (text_[at_] == '&') {
      const auto end = text_.find(';', at_);
      const std::string_view name = text_.substr(at_, end == text_.npos ? end : end + 1 - at_);
      if (name != "&amp;" && name != "&lt;" && name != "&gt;" && name != "&quot;" &&
          name != "&apos;")
        problem_ = "entity " + std::string(name.substr(0, 20));
    }
    ++at_;
  }

  void element() {
    if (starts("<?") || starts("<!--")) {
      const std::string_view end = starts("<?") ? "?>" : "-->";
      const auto found = text_.find(end, at_);
      at_ = found == text_.npos ? text_.size() : found + end.size();
      return;
    }
    const bool closes = starts("</");
    at_ += closes ? 2 : 1;
    const std::string name = word();
    if (name.empty()) problem_ = "a bare '<'";
    if (!closes) has_root_ = true;
    bool empty = false;
    while (at_ < text_.size() && text_[at_] != '>' && problem_.empty()) {
      if (std::isspace(static_cast<unsigned char>(text_[at_])) != 0)
        ++at_;
      else if (starts("/>"))
        empty = true, ++at_;
      else
        attribute();
    }
    ++at_;
    if (closes) {
      if (open_.empty() || open_.back() != name)
        problem_ = "closes what is not open: " + name;
      else
        open_.pop_back();
    } else if (!empty) {
      open_.push_back(name);
    }
  }

  void space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0)
      ++at_;
  }

  std::string word() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 ||
                                  text_[at_] == ':' || text_[at_] == '-' || text_[at_] == '_'))
      ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }

  void attribute() {
    const std::string name = word();
    space();
    const bool equals = starts("=");
    at_ += equals ? 1 : 0;
    space();
    if (name.empty() || !equals || !(starts("\"") || starts("'"))) {
      problem_ = "attribute '" + name + "' near " + std::string(text_.substr(at_, 20));
      return;
    }
    const auto end = text_.find(text_[at_], at_ + 1);
    if (end == text_.npos || text_.substr(at_, end - at_).find('<') != text_.npos)
      problem_ = "value of " + name;
    at_ = end == text_.npos ? text_.size() : end + 1;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<std::string> open_;
  bool has_root_ = false;
  std::string problem_;
};

}  // namespace

std::string xml_problem(std::string_view text) {
  return XmlChecker(text).check();
}

std::string message_of(ErrorKind kind, const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

}  // namespace recallbench
