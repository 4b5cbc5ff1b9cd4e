#include "mixers/obligations/lone_mixer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/graph/batch_copy.h"
#include "mixers/use_mixer.h"

namespace recallbench {
namespace {

class Collector : public ParameterDeclarer {
 public:
  explicit Collector(std::vector<ParameterSpec>& specs) : specs_(specs) {}
  Parameter declare(ParameterSpec spec) override {
    check_declaration(spec);
    const bool is_new = std::none_of(specs_.begin(), specs_.end(), [&](const ParameterSpec& other) {
      return other.name == spec.name;
    });
    check(is_new, "mixer", "parameter '{}' is declared twice", spec.name);
    specs_.push_back(std::move(spec));
    return {static_cast<int>(specs_.size()) - 1};
  }

 private:
  std::vector<ParameterSpec>& specs_;
};

}  // namespace

MadeMixer make_mixer(const std::string& name, const MixerEntry& entry, const Values& options,
                     const MixerContext& context) {
  MadeMixer made;
  made.name = name;
  made.context = context;
  Options read("mixer '" + name + "'", options);
  Collector collector(made.specs);
  made.mixer = make_with(entry, name, context, read, collector);
  read.finish();
  made.resolved = read.resolved();
  made.described = read.described();
  return made;
}

MadeMixer make_mixer(const std::string& name, const Values& options, const MixerContext& context) {
  return make_mixer(name, mixer_registry().find(name), options, context);
}

HostParameters random_parameters(const std::vector<ParameterSpec>& specs, std::uint64_t seed,
                                 double scale) {
  std::map<std::string, std::vector<double>> values;
  for (const ParameterSpec& spec : specs)
    values[spec.name] = normal_numbers(spec.rows() * spec.cols(), seed + values.size(), scale);
  return HostParameters(std::move(values));
}

HostParameters perturbed_parameters(const std::vector<ParameterSpec>& specs, std::uint64_t seed,
                                    double noise) {
  std::map<std::string, std::vector<double>> values;
  for (const ParameterSpec& spec : specs) {
    const Index count = spec.rows() * spec.cols();
    std::vector<double> value(static_cast<std::size_t>(count));
    RandomStream random(seed, Purpose::initial_values, static_cast<std::uint32_t>(values.size()),
                        0);
    spec.initialise(value, random);
    const auto change = normal_numbers(count, seed + values.size(), spec.trainable ? noise : 0.0);
    for (std::size_t i = 0; i < value.size(); ++i)
      value[i] += change[i];
    values[spec.name] = std::move(value);
  }
  return HostParameters(std::move(values));
}

MixerInput random_input(Index examples, Index length, Index d_model, std::uint64_t seed) {
  return {examples, length, normal_numbers(examples * length * d_model, seed, 1.0), {}};
}

template <class T>
std::vector<MixerRun> run_population(const MadeMixer& made,
                                     const std::vector<HostParameters>& values,
                                     const std::vector<MixerInput>& inputs, bool training,
                                     Device device) {
  const auto replicas = static_cast<Index>(inputs.size());
  const MixerInput& first = inputs[0];
  Parameters parameters(made.specs, kDType<T>, replicas, device);
  Graph graph(parameters, training);
  Forward f(graph);
  const Tensor x =
      graph.input({replicas, first.examples, first.length, made.context.d_model}, true);
  std::vector<std::int32_t> positions;
  for (Index r = 0; r < replicas; ++r) {
    const auto at = static_cast<std::size_t>(r);
    for (int id = 0; id < parameters.count(); ++id)
      parameters.set({id}, r, values[at].at(made.specs[static_cast<std::size_t>(id)].name));
    graph.write(x, r, inputs[at].x);
    positions.insert(positions.end(), inputs[at].positions.begin(), inputs[at].positions.end());
  }
  const Index labels = positions.empty() ? 0 : first.labels();
  const Tensor y = forward_of(*made.mixer, made.name, f, x, labels);
  graph.keep(y);
  if (training) graph.set_root(y);
  Arena arena(device), batch_memory(device);
  graph.finish(arena);
  const std::vector<std::uint64_t> seeds(inputs.size(), 17);
  graph.forward(batch_on_device(
      {first.examples, first.length, labels, nullptr, positions.data(), nullptr, nullptr, 3, seeds},
      replicas, batch_memory));
  std::vector<MixerRun> runs(inputs.size());
  for (Index r = 0; r < replicas; ++r)
    runs[static_cast<std::size_t>(r)].y = graph.read(y, r);
  if (!training) return runs;
  std::vector<double> dy(static_cast<std::size_t>(y.shape.per_replica()));
  for (std::size_t i = 0; i < dy.size(); ++i)
    dy[i] = output_weight(0, static_cast<Index>(i));
  for (Index r = 0; r < replicas; ++r)
    graph.write_gradient(y, r, dy);
  graph.backward();
  for (Index r = 0; r < replicas; ++r) {
    MixerRun& run = runs[static_cast<std::size_t>(r)];
    run.dx = graph.read_gradient(x, r);
    for (const Parameter p : graph.used_parameters())
      run.gradients[made.specs[static_cast<std::size_t>(p.id)].name] =
          parameters.get_gradient(p, r);
  }
  return runs;
}

template std::vector<MixerRun> run_population<float>(const MadeMixer&,
                                                     const std::vector<HostParameters>&,
                                                     const std::vector<MixerInput>&, bool, Device);
template std::vector<MixerRun> run_population<double>(const MadeMixer&,
                                                      const std::vector<HostParameters>&,
                                                      const std::vector<MixerInput>&, bool, Device);

std::vector<double> fold_decoder(const MadeMixer& made, const HostParameters& parameters,
                                 const MixerInput& input, Index* state_numbers,
                                 Index* state_counters) {
  const std::unique_ptr<Decoder> decoder =
      decoder_of(*made.mixer, made.name, parameters, input.length);
  const auto d = static_cast<std::size_t>(made.context.d_model);
  // A decoder writes y, and adds nothing to what is there.
  std::vector<double> y(input.x.size(), std::numeric_limits<double>::quiet_NaN());
  for (Index b = 0; b < input.examples; ++b) {
    State state = decoder->start();
    for (Index t = 0; t < input.length; ++t) {
      const auto row = static_cast<std::size_t>(b * input.length + t) * d;
      decoder->step(std::span(input.x).subspan(row, d), state, std::span(y).subspan(row, d));
    }
    if (state_numbers != nullptr) *state_numbers = std::ssize(state.numbers);
    if (state_counters != nullptr) *state_counters = std::ssize(state.counters);
  }
  return y;
}

std::vector<double> rows_at(const std::vector<double>& y, const MixerInput& input) {
  const Index d = static_cast<Index>(y.size()) / (input.examples * input.length);
  std::vector<double> rows;
  for (std::size_t i = 0; i < input.positions.size(); ++i) {
    const Index b = static_cast<Index>(i) / input.labels();
    const auto from = y.begin() + (b * input.length + input.positions[i]) * d;
    rows.insert(rows.end(), from, from + d);
  }
  return rows;
}

namespace {

constexpr double kStep = 1e-5;

/// The derivative at 0 of Σ output_weight ⊙ y(step), by central differences over 2h.
template <class Evaluate>
double central_difference(const Evaluate& y, double h) {
  const std::vector<double> plus = y(h), minus = y(-h);
  double sum = 0;
  for (std::size_t i = 0; i < plus.size(); ++i)
    sum += output_weight(0, static_cast<Index>(i)) * (plus[i] - minus[i]) / (2 * h);
  return sum;
}

/// |gradient - derivative of y|. Where one step leaves much, as it does near a kink or a length of
/// almost 0, more follow, each extrapolated from two: they come near a right gradient, and never
/// near a wrong one. The least error counts.
template <class Evaluate>
double derivative_error(double gradient, double enough, const Evaluate& y) {
  double least = std::abs(gradient - central_difference(y, kStep));
  for (const double h : {kStep, 3e-6, 1e-6, 1e-7}) {
    if (!(least > enough)) break;
    const double refined = (4 * central_difference(y, h) - central_difference(y, 2 * h)) / 3;
    least = std::min(least, std::abs(gradient - refined));
  }
  return least;
}

/// The size of a gradient below which differences cannot tell it to a millionth: outputs are
/// rounded, which leaves some ε Σ |output_weight y| / step in a difference.
double least_visible(const std::vector<double>& y) {
  double sum = 0;
  for (std::size_t i = 0; i < y.size(); ++i)
    sum += std::abs(output_weight(0, static_cast<Index>(i)) * y[i]);
  return std::max(1e-3, 1e6 * std::numeric_limits<double>::epsilon() * sum / kStep);
}

}  // namespace

double gradient_error(const MadeMixer& made, const HostParameters& parameters,
                      const MixerInput& input, std::string& worst) {
  const MixerRun run = run_mixer<double>(made, parameters, input, true);
  const double least = least_visible(run.y);
  double largest = 0;
  const auto compare = [&](const std::string& name, const std::vector<double>& gradient,
                           const auto& evaluate) {
    for (std::uint64_t direction = 0; direction < 2; ++direction) {
      const std::vector<double> along =
          normal_numbers(static_cast<Index>(gradient.size()), 100 + direction, 1.0);
      double analytic = 0, norm = 0;
      for (std::size_t i = 0; i < gradient.size(); ++i) {
        analytic += gradient[i] * along[i];
        norm += std::abs(gradient[i] * along[i]);
      }
      norm = std::max(norm, least);
      const double error = derivative_error(analytic, 1e-7 * norm,
                                            [&](double step) { return evaluate(along, step); }) /
                           norm;
      if (!(error <= largest)) largest = error, worst = name;
    }
  };
  compare("x", run.dx, [&](const std::vector<double>& along, double step) {
    MixerInput moved = input;
    for (std::size_t i = 0; i < along.size(); ++i)
      moved.x[i] += step * along[i];
    return run_mixer<double>(made, parameters, moved, true).y;
  });
  for (const ParameterSpec& spec : made.specs) {
    if (!spec.trainable) continue;
    const auto found = run.gradients.find(spec.name);
    const std::vector<double> zero(static_cast<std::size_t>(spec.rows() * spec.cols()), 0.0);
    compare(spec.name, found == run.gradients.end() ? zero : found->second,
            [&](const std::vector<double>& along, double step) {
              auto moved = parameters.all();
              for (std::size_t i = 0; i < along.size(); ++i)
                moved.at(spec.name)[i] += step * along[i];
              return run_mixer<double>(made, HostParameters(moved), input, true).y;
            });
  }
  return largest;
}

}  // namespace recallbench
