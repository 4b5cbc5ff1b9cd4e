#include "sweeps/store/record.h"

#include <fmt/format.h>

#include "kernels/base/hash.h"
#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/json.h"
#include "kernels/base/text.h"
#include "kernels/base/version.h"
#include "sweeps/store/checksum.h"
#include "sweeps/train/metrics_json.h"

namespace recallbench {
namespace {

constexpr std::int64_t kSchema = 1;
constexpr const char* kRemedy = "delete this file to train the run again";

Json result_json(const RunResult& result) {
  Json json;
  json["status"] = result.status;
  json["reason"] = result.reason;
  json["epochs"] = result.epochs;
  json["steps"] = result.steps;
  json["valid"] = to_json(result.valid);
  json["test"] = to_json(result.test);
  json["chance"] = result.chance;
  json["num_parameters"] = result.num_parameters;
  json["state"]["bytes"] = result.state_bytes;
  json["state"]["published_bytes"] =
      result.published_state_bytes ? Json(*result.published_state_bytes) : Json();
  json["state"]["length"] = result.state_length;
  return json;
}

RunResult parse_result(const Json& json) {
  json.allow_keys({"status", "reason", "epochs", "steps", "valid", "test", "chance",
                   "num_parameters", "state"});
  RunResult result;
  result.status = json.at("status").as_string();
  if (result.status != "done" && result.status != "diverged")
    json.at("status").reject("must be \"done\" or \"diverged\"");
  result.reason = json.at("reason").as_string();
  result.epochs = json.at("epochs").as_int(0);
  result.steps = json.at("steps").as_int(0);
  result.valid = split_from_json(json.at("valid"));
  result.test = split_from_json(json.at("test"));
  result.chance = json.at("chance").as_double_or_nan();
  result.num_parameters = json.at("num_parameters").as_int(0);
  const Json& state = json.at("state");
  state.allow_keys({"bytes", "published_bytes", "length"});
  result.state_bytes = state.at("bytes").as_int(0);
  if (!state.at("published_bytes").is_null())
    result.published_state_bytes = state.at("published_bytes").as_double();
  result.state_length = state.at("length").as_int(0);
  return result;
}

}  // namespace

RunRecord make_record(const RunConfig& config, const RunResult& result, const std::string& device) {
  RunRecord record;
  record.device = device;
  record.run_id = run_id(config);
  record.config = canonical_json(config);
  record.code_version = code_version();
  record.result = result;
  return record;
}

std::string record_text(const RunRecord& record) {
  Json json;
  json["schema"] = kSchema;
  json["run_id"] = record.run_id;
  json["config"] = parse_json(record.config, "config", ErrorKind::internal);
  json["device"] = record.device;
  json["code_version"] = record.code_version;
  json["numerics_version"] = kNumericsVersion;
  json["result"] = result_json(record.result);
  return with_checksum(json);
}

RunRecord parse_record(const std::string& text, const std::string& source, const std::string& id) {
  const Json json = parse_with_checksum(text, source, kRemedy);
  json.allow_keys(
      {"schema", "run_id", "config", "device", "code_version", "numerics_version", "result"});
  json.at("schema").as_int(kSchema, kSchema);
  RunRecord record;
  record.run_id = json.at("run_id").as_string();
  record.config = json.at("config").compact();
  record.device = json.at("device").as_string();
  record.code_version = json.at("code_version").as_string();
  record.result = parse_result(json.at("result"));
  if (record.run_id != id)
    fail(ErrorKind::io, "result", "{}: it must be the result of run {}, it is that of {}; {}",
         in_quotes(source), id, in_quotes(record.run_id), kRemedy);
  if ("r" + xxh3_128_hex(record.config) != id)
    fail(ErrorKind::io, "result", "{}: its config hashes to r{}, not to {}; {}", in_quotes(source),
         xxh3_128_hex(record.config), id, kRemedy);
  return record;
}

StoredResult read_result(const std::string& results, const std::string& id) {
  const std::string path = run_paths(results, id).result;
  if (!path_exists(path)) return {};
  try {
    return {parse_record(read_file(path, std::uint64_t{64} << 20), path, id), ""};
  } catch (const Error& error) {
    return {std::nullopt, error.what()};
  }
}

std::string timing_text(const TimingRecord& record) {
  const RunTiming& timing = record.timing;
  Json json;
  json["schema"] = kSchema;
  json["total_s"] = timing.total_s;
  json["setup_s"] = timing.setup_s;
  json["train_s"] = timing.train_s;
  json["eval_s"] = timing.eval_s;
  json["data_s"] = timing.data_s;
  json["ahead_s"] = timing.ahead_s;
  json["examples_per_s"] = timing.examples_per_s;
  json["tokens_per_s"] = timing.tokens_per_s;
  json["peak_rss_bytes"] = timing.peak_rss_bytes;
  json["threads"] = record.threads;
  json["resumed_epochs"] = record.resumed_epochs;
  json["started"] = record.started;
  json["ended"] = record.ended;
  json["processor"] = record.processor;
  if (record.host) json["host"] = *record.host;
  return json.indented();
}

std::string failure_text(const Failure& failure) {
  Json json;
  json["schema"] = kSchema;
  json["reason"] = failure.reason;
  json["attempts"] = failure.attempts;
  return json.indented();
}

std::optional<Failure> read_failure(const std::string& results, const std::string& id) {
  const std::string path = run_paths(results, id).failure;
  if (!path_exists(path)) return std::nullopt;
  try {
    const Json json = read_json(path, ErrorKind::io);
    json.allow_keys({"schema", "reason", "attempts"});
    return Failure{json.at("reason").as_string(), json.at("attempts").as_int(1)};
  } catch (const Error& error) {
    return Failure{std::string("the reason cannot be read: ") + error.what(), 1};
  }
}

}  // namespace recallbench
