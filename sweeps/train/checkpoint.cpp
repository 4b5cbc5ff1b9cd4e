#include "sweeps/train/checkpoint.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <deque>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/text.h"
#include "kernels/base/version.h"
#include "sweeps/train/metrics_json.h"

namespace recallbench {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{16} << 30;
constexpr const char* kMoments[] = {"adamw.m/", "adamw.v/"};

/// One replica's numbers on the host, and their arrays as they stand in a file.
class HostSlabs {
 public:
  HostSlabs(const Parameters& parameters, Index replica, bool moments) {
    add(parameters, replica, Slot::value, "");
    if (!moments) return;
    add(parameters, replica, Slot::first_moment, kMoments[0]);
    add(parameters, replica, Slot::second_moment, kMoments[1]);
  }
  const std::vector<StoredArray>& arrays() const { return arrays_; }

 private:
  void add(const Parameters& parameters, Index replica, Slot slot, const std::string& prefix) {
    slabs_.push_back(parameters.get_slab(slot, replica));
    for (int id = 0; id < parameters.count(); ++id) {
      const ParameterSpec& spec = parameters.spec({id});
      StoredArray array;
      array.name = prefix + spec.name;
      array.type = StoredType::f32;
      array.shape.assign(spec.shape.begin(), spec.shape.end());
      array.bytes = {reinterpret_cast<const char*>(slabs_.back().data() + parameters.begin({id})),
                     static_cast<std::size_t>(spec.rows() * spec.cols()) * sizeof(float)};
      arrays_.push_back(array);
    }
  }

  std::deque<std::vector<float>> slabs_;  // addresses stay
  std::vector<StoredArray> arrays_;
};

std::string position_text(const TrainPosition& position) {
  Json json;
  json["epoch"] = position.epoch;
  json["batch"] = position.batch;
  json["steps"] = position.steps;
  json["loss_sum"] = position.loss_sum;
  json["epochs"] = Json(Json::Array{});
  for (const EpochMetrics& epoch : position.epochs)
    json["epochs"].push_back(to_json(epoch));
  return json.compact();
}

TrainPosition position_from(const std::string& text, const std::string& source) {
  const Json json = parse_json(text, source, ErrorKind::io);
  json.allow_keys({"epoch", "batch", "steps", "loss_sum", "epochs"});
  TrainPosition position{json.at("epoch").as_int(0),
                         json.at("batch").as_int(0),
                         json.at("steps").as_int(0),
                         json.at("loss_sum").as_double(),
                         {}};
  for (const Json& epoch : json.at("epochs").as_array())
    position.epochs.push_back(epoch_from_json(epoch));
  return position;
}

void fill_slab(const Safetensors& file, const std::string& prefix, Slot slot,
               Parameters& parameters, Index replica) {
  std::vector<float> slab = parameters.get_slab(slot, replica);
  for (int id = 0; id < parameters.count(); ++id) {
    const ParameterSpec& spec = parameters.spec({id});
    const StoredArray& array = file.at(prefix + spec.name);
    const std::size_t bytes = static_cast<std::size_t>(spec.rows() * spec.cols()) * sizeof(float);
    if (array.type != StoredType::f32 || array.bytes.size() != bytes)
      fail(ErrorKind::io, "checkpoint", "{}: '{}' has not the size of this run's parameter",
           array.source, array.name);
    std::memcpy(slab.data() + parameters.begin({id}), array.bytes.data(), bytes);
  }
  parameters.set_slab(slot, replica, slab);
}

/// "" where there is none.
std::string metadata(const Safetensors& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  return found == file.metadata().end() ? "" : found->second;
}

}  // namespace

CheckpointFolder::CheckpointFolder(const std::string& directory, std::string id)
    : paths_(paths_in(directory)), id_(std::move(id)) {}

/// Where the newest can be gone on from it becomes the one before; another does not take its place.
void CheckpointFolder::keep_newest() {
  if (newest_resumes_) std::rename(paths_.checkpoint.c_str(), paths_.checkpoint_before.c_str());
  newest_resumes_ = false;
}

void CheckpointFolder::save(const Parameters& parameters, Index replica,
                            const TrainPosition& position) {
  if (paths_.folder.empty()) return;
  keep_newest();
  write_safetensors(
      paths_.checkpoint, HostSlabs(parameters, replica, true).arrays(),
      {{"run_id", id_}, {"code_version", code_version()}, {"position", position_text(position)}});
  newest_resumes_ = true;
}

void CheckpointFolder::save_final(const Parameters& parameters, Index replica) {
  if (paths_.folder.empty()) return;
  keep_newest();
  write_safetensors(paths_.checkpoint, HostSlabs(parameters, replica, false).arrays(),
                    {{"run_id", id_}, {"code_version", code_version()}, {"complete", "true"}});
}

void CheckpointFolder::drop_resumable() {
  if (!paths_.folder.empty()) std::remove(paths_.checkpoint_before.c_str());
}

bool CheckpointFolder::load_position(TrainPosition& position) {
  if (paths_.folder.empty()) return false;
  for (const std::string& path : {paths_.checkpoint, paths_.checkpoint_before}) {
    if (!path_exists(path)) continue;
    try {
      Safetensors file = Safetensors::read(path, kMaxBytes);
      const std::string where = metadata(file, "position"),
                        program = metadata(file, "code_version");
      if (metadata(file, "run_id") != id_ || where.empty())
        continue;  // another run's, or one that only exports weights
      if (program != code_version()) {
        fmt::print(stderr, "{} is of another program, {}; this one, {}, begins again\n", path,
                   program.empty() ? "unknown" : printable(program, 100), code_version());
        continue;
      }
      position = position_from(where, path);
      loaded_ = std::move(file);
      newest_resumes_ = path == paths_.checkpoint;
      return true;
    } catch (const Error&) {
      continue;  // damaged: the one before it, or the beginning, gives the same result
    }
  }
  return false;
}

void CheckpointFolder::load_weights(Parameters& parameters, Index replica) {
  check(loaded_.has_value(), "CheckpointFolder::load_weights", "load_position comes first");
  fill_slab(*loaded_, "", Slot::value, parameters, replica);
  fill_slab(*loaded_, kMoments[0], Slot::first_moment, parameters, replica);
  fill_slab(*loaded_, kMoments[1], Slot::second_moment, parameters, replica);
  loaded_.reset();
}

}  // namespace recallbench
