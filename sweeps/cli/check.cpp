#include <unistd.h>

#include <fmt/format.h>

#include <memory>

#include "kernels/base/io/json.h"
#include "kernels/base/io/terminal.h"
#include "kernels/base/text.h"
#include "sweeps/check/golden_case.h"
#include "sweeps/check/tiny_mqar.h"
#include "sweeps/cli/cli.h"
#include "sweeps/cli/deviations.h"
#include "sweeps/cli/key_value.h"
#include "sweeps/cli/number_in.h"
#include "sweeps/config/resolve.h"

namespace recallbench {
namespace {

struct CheckRequest {
  std::string mixer;
  std::vector<std::string> options;
  std::int64_t d_model = 16;
  bool zoology = false;
  std::string goldens;  ///< folder of golden cases; "": those of the source tree
};

using Status = Obligation::Status;

const char* word(Status status) {
  switch (status) {
    case Status::passed:
      return "ok";
    case Status::failed:
      return "FAILED";
    case Status::not_applicable:
      return "n/a";
  }
  return "";
}

void print_line(Status status, const std::string& text, bool color) {
  const char* code = status == Status::failed   ? "\033[31m"
                     : status == Status::passed ? "\033[32m"
                                                : "\033[2m";
  fmt::print("{}{:6}{}  {}\n", color ? code : "", word(status), color ? "\033[0m" : "", text);
  std::fflush(stdout);
}

std::string text_of(const Obligation& o) {
  const std::string numbers = o.status == Status::not_applicable || o.detail_says_all
                                  ? ""
                                  : fmt::format("{:.1e} of {:.1e}  ", o.measured, o.bound);
  return fmt::format("{} {:22}  {}{}", o.number, o.name, numbers, o.detail);
}

Json to_json(const Obligation& o) {
  Json json;
  json["number"] = o.number;
  json["name"] = o.name;
  json["status"] = o.status == Status::passed   ? "passed"
                   : o.status == Status::failed ? "failed"
                                                : "not applicable";
  json["measured"] = o.measured;
  json["bound"] = o.bound;
  json["detail"] = o.detail;
  return json;
}

/// The golden cases of a mixer: what became of each, or why there is none.
struct GoldenCard {
  std::string folder, nothing;
  std::vector<GoldenReport> reports;
};

GoldenCard golden_card(const CheckRequest& request, Device device) {
  GoldenCard card;
  card.folder = request.goldens.empty() ? default_goldens_folder().value_or("") : request.goldens;
  if (card.folder.empty()) {
    card.nothing =
        "no folder of golden cases was found, so nothing was compared with a reference; name one: "
        "--goldens DIR";
    return card;
  }
  for (const std::string& name : golden_cases_of(request.mixer, card.folder))
    card.reports.push_back(run_golden_case(card.folder, name, device));
  if (card.reports.empty())
    card.nothing = fmt::format(
        "none of the {} in {} has a layer of '{}', so nothing was compared with a reference; name "
        "another folder: --goldens DIR",
        golden_cases(card.folder).size(), printable(card.folder), printable(request.mixer));
  return card;
}

Status status_of(const GoldenReport& report) {
  return report.failed()   ? Status::failed
         : report.passed() ? Status::passed
                           : Status::not_applicable;
}

/// "logits 3.1e-07 of 2.0e-05, ...": the error reached of the largest that passes.
std::string text_of(const GoldenReport& report) {
  std::string text = report.not_run;
  for (const GoldenComparison& c : report.comparisons) {
    const bool is_equal = c.passed() && c.bound == 0;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", c.what,
                        !c.comparable ? "cannot be compared"
                        : is_equal    ? "equal"
                                      : fmt::format("{:.1e} of {:.1e}", c.error, c.bound));
    if (!c.passed() && !c.detail.empty()) text += fmt::format(" ({})", c.detail);
  }
  return fmt::format("{:24}  {}", report.name, text);
}

Json to_json(const GoldenCard& card) {
  Json cases{Json::Array{}};
  for (const GoldenReport& report : card.reports) {
    Json comparisons{Json::Array{}};
    for (const GoldenComparison& c : report.comparisons) {
      Json comparison;
      comparison["what"] = c.what;
      comparison["status"] = c.passed() ? "passed" : "failed";
      comparison["error"] = c.error;
      comparison["bound"] = c.bound;
      comparison["detail"] = c.detail;
      comparisons.push_back(std::move(comparison));
    }
    Json json;
    json["name"] = report.name;
    json["status"] = report.failed() ? "failed" : report.passed() ? "passed" : "not applicable";
    json["not_run"] = report.not_run;
    json["comparisons"] = std::move(comparisons);
    cases.push_back(std::move(json));
  }
  Json json;
  json["folder"] = card.folder;
  json["nothing"] = card.nothing;
  json["cases"] = std::move(cases);
  return json;
}

void print_card(const MixerEntry& entry, const GoldenCard& card, bool color) {
  fmt::print(
      "\ngolden cases{}: the error reached of the largest that passes; gradients as a "
      "share of each tensor's tolerance\n",
      card.folder.empty() ? "" : " in " + printable(card.folder));
  for (const GoldenReport& report : card.reports)
    print_line(status_of(report), text_of(report), color);
  if (!card.nothing.empty()) print_line(Status::not_applicable, card.nothing, color);
  fmt::print("\nknown deviations from its paper{}\n", entry.deviations.empty() ? ": none" : "");
  for (const Deviation& deviation : entry.deviations)
    fmt::print("{}\n", deviation_text(deviation));
}

int check(const CheckRequest& request, const CommonOptions& common) {
  if (!mixer_registry().contains(request.mixer))
    fail(ErrorKind::usage, "mixer", "there is no mixer '{}'{}", printable(request.mixer),
         mixer_hint(request.mixer));
  const MixerEntry& entry = mixer_registry().find(request.mixer);
  const Values options =
      options_from_words("mixer '" + request.mixer + "'", request.options).given();
  const MixerContext context{1, 2, request.d_model, request.zoology, entry.block == "transformer"};
  const Device device = use_device(common);
  if (!request.goldens.empty()) golden_cases(request.goldens);  // a wrong folder is told at once
  const bool color = use_color(common.color, STDOUT_FILENO);
  Json obligations{Json::Array{}};
  bool failed = false;
  const auto done = [&](const Obligation& o) {
    failed = failed || o.failed();
    if (common.json)
      obligations.push_back(to_json(o));
    else
      print_line(o.status, text_of(o), color);
  };
  check_obligations(request.mixer, entry, options, context, kCheckedSizes, done);
  done(check_tiny_mqar(request.mixer, entry, options, request.zoology));
  const GoldenCard card = golden_card(request, device);
  for (const GoldenReport& report : card.reports)
    failed = failed || report.failed();
  if (!common.json) {
    print_card(entry, card, color);
  } else {
    Json json;
    json["mixer"] = request.mixer;
    json["obligations"] = std::move(obligations);
    json["golden"] = to_json(card);
    json["deviations"] = to_json(entry.deviations);
    fmt::print("{}", json.indented());
  }
  return failed ? kSomeFailed : kDone;
}

}  // namespace

void add_check(CommandLine& line) {
  CLI::App* command = line.app.add_subcommand(
      "check", "Prove that a mixer keeps its promises and equals its reference");
  command->footer(
      "Examples:\n  recallbench check based feature_dim=8\n  recallbench --plugin my.so check "
      "my_mixer --goldens my_cases --json\nExit code 1 where an obligation or a golden case "
      "fails.");
  auto request = std::make_shared<CheckRequest>();
  command->add_option("mixer", request->mixer, "A mixer; see `recallbench list mixers`")
      ->required();
  command->add_option("options", request->options, "Its options, as key=value");
  command->add_option("--d-model", request->d_model, "Width to check it at")
      ->check(number_in(1, 1024));
  command->add_flag("--compat", request->zoology,
                    "Check the form of compat = \"zoology\", with the reference's quirks");
  command
      ->add_option(
          "--goldens", request->goldens,
          "Folder of golden cases, each a folder with model.toml, weights, a batch and what "
          "the reference computes (default: tests/goldens/models of the source tree)")
      ->type_name("DIR");
  command->callback([&line, request] {
    line.action = [&line, request] { return check(*request, line.common); };
  });
}

}  // namespace recallbench
