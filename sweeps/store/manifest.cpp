#include "sweeps/store/manifest.h"

#include <time.h>

#include <map>

#include "kernels/base/error.h"
#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/file_lock.h"
#include "kernels/base/io/json.h"
#include "kernels/base/text.h"
#include "sweeps/store/checksum.h"
#include "sweeps/store/layout.h"

namespace recallbench {
namespace {

constexpr std::int64_t kSchema = 1;
/// For up to 100000 runs.
constexpr JsonLimits kLimits{std::uint64_t{1} << 31, 64, std::int64_t{1} << 26};
constexpr const char* kRemedy =
    "move this file away and start the sweep again: finished runs are kept";

std::string manifest_text(const Manifest& manifest) {
  Json json;
  json["schema"] = kSchema;
  json["name"] = manifest.name;
  json["asked"] = Json(Json::Array{});
  json["runs"] = Json(Json::Object{});
  for (const RunConfig& run : manifest.runs) {
    const std::string id = run_id(run);
    json["asked"].push_back(id);
    json["runs"][id] = parse_json(to_json(run), "run", ErrorKind::internal);
  }
  for (const RunConfig& run : manifest.earlier)
    json["runs"][run_id(run)] = parse_json(to_json(run), "run", ErrorKind::internal);
  return with_checksum(json);
}

RunConfig parse_run(const Json& runs, const std::string& id, const std::string& path) {
  RunConfig config = parse_run_config(runs.at(id).compact());
  if (run_id(config) != id)
    fail(ErrorKind::io, "manifest",
         "{}: run {} is one of {} for this version of the program; use another --out, or the "
         "version that wrote it",
         in_quotes(path), in_quotes(id), run_id(config));
  return config;
}

/// Waits for the folder's lock: others hold it for milliseconds.
FileLock take_lock(const std::string& results) {
  for (int attempt = 0; attempt < 1000; ++attempt) {
    if (auto lock = FileLock::try_lock(results + "/.lock")) return std::move(*lock);
    const timespec pause{0, 10'000'000};
    nanosleep(&pause, nullptr);
  }
  fail(ErrorKind::io, "manifest",
       "'{}/.lock' must be free within 10 s, another process holds it; end that process", results);
}

void refuse_duplicates(const std::vector<RunConfig>& runs) {
  std::map<std::string, const RunConfig*> seen;
  for (const RunConfig& run : runs) {
    const auto [place, is_new] = seen.emplace(run_id(run), &run);
    if (!is_new)
      fail(ErrorKind::usage, "sweep",
           "every run must be asked for once, models '{}' and '{}' come to one and the same run "
           "({}); take one of them out, or change what was to differ",
           place->second->model_name, run.model_name, place->first);
  }
}

}  // namespace

Manifest update_manifest(const std::string& results, const std::string& name,
                         const std::vector<RunConfig>& runs, bool add) {
  refuse_duplicates(runs);
  const FileLock lock = take_lock(results);
  remove_leftovers(results);
  if (path_exists(results + "/runs")) remove_leftovers(results + "/runs");
  Manifest manifest{name, {}, {}};
  Manifest old;
  std::string before;
  if (path_exists(manifest_path(results))) {
    old = read_manifest(results);
    if (old.name != name)
      fail(ErrorKind::usage, "sweep",
           "'{}' holds the sweep '{}', this recipe's name is '{}'; give another --out", results,
           old.name, name);
    before = manifest_text(old);
  }
  std::map<std::string, RunConfig> asked, earlier;
  for (const RunConfig& run : runs)
    asked.emplace(run_id(run), run);
  for (const RunConfig& run : old.runs) {
    const std::string id = run_id(run);
    if (asked.count(id) != 0) continue;
    if (add)
      manifest.runs.push_back(run);
    else
      earlier.emplace(id, run);
  }
  for (const RunConfig& run : old.earlier)
    if (const std::string id = run_id(run); asked.count(id) == 0) earlier.emplace(id, run);
  manifest.runs.insert(manifest.runs.end(), runs.begin(), runs.end());
  for (auto& [id, run] : earlier)
    manifest.earlier.push_back(std::move(run));
  const std::string text = manifest_text(manifest);
  if (text != before) publish(manifest_path(results), text);
  return manifest;
}

Manifest read_manifest(const std::string& results) {
  const std::string path = manifest_path(results);
  if (!path_exists(path))
    fail(ErrorKind::io, "results",
         "'{}' must hold a manifest.json, there is none; give the folder of a sweep "
         "(results/<sweep>)",
         results);
  const Json json = parse_with_checksum(read_file(path, kLimits.max_bytes), path, kRemedy, kLimits);
  json.allow_keys({"schema", "name", "asked", "runs"});
  json.at("schema").as_int(kSchema, kSchema);
  Manifest manifest;
  manifest.name = json.at("name").as_string();
  const Json& runs = json.at("runs");
  Json::Object left = runs.as_object();
  for (const Json& id : json.at("asked").as_array()) {
    manifest.runs.push_back(parse_run(runs, id.as_string(), path));
    left.erase(id.as_string());
  }
  for (const auto& [id, run] : left)
    manifest.earlier.push_back(parse_run(runs, id, path));
  return manifest;
}

}  // namespace recallbench
