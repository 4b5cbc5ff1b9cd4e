#include "sweeps/train/checkpoint.h"

#include <cstdio>
#include <cstring>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/safetensors.h"
#include "sweeps/train/metrics_json.h"

namespace recallbench {
namespace {

constexpr const char* kNewest = "/checkpoint.safetensors";
constexpr const char* kBefore = "/checkpoint.before.safetensors";
constexpr std::uint64_t kMaxBytes = std::uint64_t{16} << 30;
constexpr const char* kMoments[] = {"adamw.m/", "adamw.v/"};

StoredArray stored(const std::string& name, const Matrix<float>& m,
                   const std::vector<Index>& shape) {
  StoredArray array;
  array.name = name;
  array.type = StoredType::f32;
  array.shape.assign(shape.begin(), shape.end());
  array.bytes = {reinterpret_cast<const char*>(m.data),
                 static_cast<std::size_t>(m.rows * m.cols) * sizeof(float)};
  return array;
}

std::vector<StoredArray> all_arrays(const Parameters& parameters, bool moments) {
  std::vector<StoredArray> arrays;
  for (int id = 0; id < parameters.count(); ++id) {
    const ParameterSpec& spec = parameters.spec({id});
    arrays.push_back(stored(spec.name, parameters.value<float>({id}).replica(0), spec.shape));
    for (const int which : {0, 1})
      if (moments)
        arrays.push_back(stored(kMoments[which] + spec.name,
                                parameters.moment<float>(which, {id}).replica(0), spec.shape));
  }
  return arrays;
}

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

void copy_into(const StoredArray& array, const Matrix<float>& m) {
  const std::size_t bytes = static_cast<std::size_t>(m.rows * m.cols) * sizeof(float);
  if (array.type != StoredType::f32 || array.bytes.size() != bytes)
    fail(ErrorKind::io, "checkpoint", "{}: '{}' has not the size of this run's parameter",
         array.source, array.name);
  std::memcpy(m.data, array.bytes.data(), bytes);
}

}  // namespace

CheckpointFolder::CheckpointFolder(std::string directory, std::string id)
    : directory_(std::move(directory)), id_(std::move(id)) {}

void CheckpointFolder::save(const Parameters& parameters, const TrainPosition& position) {
  if (directory_.empty()) return;
  const std::string newest = directory_ + kNewest;
  if (path_exists(newest)) std::rename(newest.c_str(), (directory_ + kBefore).c_str());
  write_safetensors(newest, all_arrays(parameters, true),
                    {{"run_id", id_}, {"position", position_text(position)}});
}

void CheckpointFolder::save_final(const Parameters& parameters) {
  if (directory_.empty()) return;
  write_safetensors(directory_ + kNewest, all_arrays(parameters, false),
                    {{"run_id", id_}, {"complete", "true"}});
  std::remove((directory_ + kBefore).c_str());
}

bool CheckpointFolder::load(Parameters& parameters, TrainPosition& position) const {
  if (directory_.empty()) return false;
  for (const char* name : {kNewest, kBefore}) {
    const std::string path = directory_ + name;
    if (!path_exists(path)) continue;
    try {
      const Safetensors file = Safetensors::read(path, kMaxBytes);
      const auto id = file.metadata().find("run_id");
      const auto where = file.metadata().find("position");
      if (id == file.metadata().end() || id->second != id_ || where == file.metadata().end())
        continue;  // another run's, or one that only exports weights
      TrainPosition found = position_from(where->second, path);
      for (int i = 0; i < parameters.count(); ++i) {
        const std::string& parameter = parameters.spec({i}).name;
        copy_into(file.at(parameter), parameters.value<float>({i}).replica(0));
        for (const int which : {0, 1})
          copy_into(file.at(kMoments[which] + parameter),
                    parameters.moment<float>(which, {i}).replica(0));
      }
      position = std::move(found);
      return true;
    } catch (const Error&) {
      continue;  // damaged: the one before it, or the beginning, gives the same result
    }
  }
  return false;
}

}  // namespace recallbench
