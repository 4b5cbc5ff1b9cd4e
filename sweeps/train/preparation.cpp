#include "sweeps/train/preparation.h"

#include "mixers/model.h"

namespace recallbench {
namespace {

void prepare(Preparation& made, const std::vector<RunConfig>& configs, int threads,
             const std::string& data_cache, const StopRequested& stop_requested) {
  // Of one replica: a slab lies the same way in every population of the model.
  Model model(configs.front().model, DType::f32, 1);
  for (const RunConfig& config : configs) {
    end_if(stop_requested);
    auto& data = made.data[data_key(config)];
    if (!data) {
      const Stopwatch watch(made.data_s);
      data =
          std::make_shared<RunData>(cached_run_data(config, threads, data_cache, stop_requested));
    }
    auto& values = made.initial_values[config.seed];
    if (!values.empty()) continue;
    model.parameters().initialise(0, config.seed);
    values = model.parameters().get_slab(Slot::value, 0);
  }
  end_if(stop_requested);
  made.state_bytes =
      model.measured_state_bytes(longest_length(made.data[data_key(configs.front())]->test));
}

}  // namespace

Preparation prepare_population(const std::vector<RunConfig>& configs, int threads,
                               const std::string& data_cache, const StopRequested& stop_requested) {
  Preparation made;
  try {
    prepare(made, configs, threads, data_cache, stop_requested);
  } catch (const Stopped&) {  // with what there is
  }
  return made;
}

}  // namespace recallbench
