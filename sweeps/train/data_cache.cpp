#include <unistd.h>

#include <chrono>
#include <thread>

#include "kernels/base/hash.h"
#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/file_lock.h"
#include "sweeps/train/run_data.h"

namespace recallbench {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{16} << 30;
constexpr std::chrono::milliseconds kLookAgain{50};

/// "train.0.", "test.3.".
std::string prefix_of(const char* split, std::size_t segment) {
  return fmt::format("{}.{}.", split, segment);
}

void save(const RunData& data, const std::string& path) {
  std::vector<StoredArray> arrays;
  const auto add = [&](const char* split, const std::vector<RunSegment>& segments) {
    for (std::size_t i = 0; i < segments.size(); ++i)
      for (StoredArray& array : segments[i].data.arrays(prefix_of(split, i)))
        arrays.push_back(std::move(array));
  };
  add("train", data.train);
  add("test", data.test);
  try {
    write_safetensors(path, arrays);
  } catch (const Error&) {  // no room: the next process makes them again
  }
}

std::vector<RunSegment> restore(const char* split, const std::vector<SegmentConfig>& configs,
                                const Safetensors& file) {
  std::vector<RunSegment> segments;
  for (const SegmentConfig& config : configs) {
    const auto task = make_task(config);
    segments.push_back({Dataset::restore(task->shape(), config.num_examples, file,
                                         prefix_of(split, segments.size())),
                        task->slices(), task->chance()});
  }
  return segments;
}

/// What `path` holds; nothing where it is not there or damaged, and then it is gone.
std::optional<RunData> load(const RunConfig& config, const std::string& path) {
  if (!path_exists(path)) return std::nullopt;
  try {
    const Safetensors file = Safetensors::read(path, kMaxBytes);
    RunData data;
    data.train = restore("train", config.task.train, file);
    data.test = restore("test", config.task.test, file);
    return data;
  } catch (const Error&) {
    unlink(path.c_str());
    return std::nullopt;
  }
}

}  // namespace

RunData cached_run_data(const RunConfig& config, int threads, const std::string& cache,
                        const StopRequested& stop) {
  if (cache.empty() || !config.model.zoology) return make_run_data(config, threads, stop);
  const std::string path = cache + "/data-" + xxh3_128_hex(data_key(config)) + ".safetensors";
  while (true) {
    std::optional<FileLock> lock;
    try {
      if (auto data = load(config, path)) return std::move(*data);
      make_directories(cache);
      lock = FileLock::try_lock(path + ".lock");
      if (lock) {
        if (auto data = load(config, path)) return std::move(*data);  // made meanwhile
        remove_leftovers(cache);
      }
    } catch (const Error&) {  // no room, or another process whose sweep is done has removed it
      return make_run_data(config, threads, stop);
    }
    if (!lock) {
      end_if(stop);
      std::this_thread::sleep_for(kLookAgain);
      continue;
    }
    RunData data = make_run_data(config, threads, stop);
    save(data, path);
    return data;
  }
}

}  // namespace recallbench
