#include <unistd.h>

#include <fmt/format.h>

#include <cstdlib>
#include <memory>

#include "kernels/base/io/json.h"
#include "sweeps/check/tiny_mqar.h"
#include "sweeps/cli/cli.h"
#include "sweeps/cli/key_value.h"

namespace recallbench {
namespace {

struct CheckRequest {
  std::string mixer;
  std::vector<std::string> options;
  std::int64_t d_model = 16;
  bool zoology = false;
};

const char* word(Obligation::Status status) {
  switch (status) {
    case Obligation::Status::passed:
      return "ok";
    case Obligation::Status::failed:
      return "FAILED";
    case Obligation::Status::not_applicable:
      return "n/a";
  }
  return "";
}

bool in_colour(const CommonOptions& common) {
  if (common.color != "auto") return common.color == "always";
  const char* terminal = std::getenv("TERM");
  return isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr &&
         (terminal == nullptr || std::string(terminal) != "dumb");
}

void print_line(const Obligation& o, bool colour) {
  const char* code = o.failed()                               ? "\033[31m"
                     : o.status == Obligation::Status::passed ? "\033[32m"
                                                              : "\033[2m";
  const std::string numbers =
      o.status == Obligation::Status::not_applicable || o.number == 6 || o.number == 9
          ? ""
          : fmt::format("{:.1e} of {:.1e}  ", o.measured, o.bound);
  fmt::print("{}{:6}{}  {} {:22}  {}{}\n", colour ? code : "", word(o.status),
             colour ? "\033[0m" : "", o.number, o.name, numbers, o.detail);
  std::fflush(stdout);
}

Json to_json(const Obligation& o) {
  Json json;
  json["number"] = o.number;
  json["name"] = o.name;
  json["status"] = o.status == Obligation::Status::passed   ? "passed"
                   : o.status == Obligation::Status::failed ? "failed"
                                                            : "not applicable";
  json["measured"] = o.measured;
  json["bound"] = o.bound;
  json["detail"] = o.detail;
  return json;
}

int check(const CheckRequest& request, const CommonOptions& common) {
  const MixerEntry& entry = mixer_registry().find(request.mixer);
  const Values options =
      options_from_words("mixer '" + request.mixer + "'", request.options).given();
  const MixerContext context{1, 2, request.d_model, request.zoology, entry.block == "transformer"};
  std::vector<Obligation> all = check_obligations(request.mixer, entry, options, context);
  all.push_back(check_tiny_mqar(request.mixer, entry, options, request.zoology));
  Json list{Json::Array{}};
  bool failed = false;
  for (const Obligation& o : all) {
    failed = failed || o.failed();
    if (common.json)
      list.push_back(to_json(o));
    else
      print_line(o, in_colour(common));
  }
  if (common.json) fmt::print("{}\n", list.indented());
  return failed ? kSomeFailed : kDone;
}

}  // namespace

void add_check(CommandLine& line) {
  CLI::App* command = line.app.add_subcommand("check", "Prove that a mixer keeps its promises");
  command->footer(
      "Examples:\n  recallbench check based feature_dim=8\n  recallbench --plugin my.so check "
      "my_mixer --json");
  auto request = std::make_shared<CheckRequest>();
  command->add_option("mixer", request->mixer, "A mixer; see `recallbench list mixers`")
      ->required();
  command->add_option("options", request->options, "Its options, as key=value");
  command->add_option("--d-model", request->d_model, "Width to check it at")
      ->check(CLI::Range(1, 1024));
  command->add_flag("--zoology", request->zoology, "Check it with the reference's quirks");
  command->callback([&line, request] {
    line.action = [&line, request] { return check(*request, line.common); };
  });
}

}  // namespace recallbench
