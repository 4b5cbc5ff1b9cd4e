#include "sweeps/forward/forward_model.h"

#include <algorithm>

#include "kernels/adamw/adamw.h"
#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/json.h"
#include "kernels/base/io/npy.h"
#include "kernels/base/io/safetensors.h"
#include "kernels/graph/batch_copy.h"
#include "sweeps/config/recipe.h"
#include "tasks/task.h"

namespace recallbench {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 30;

struct TokenBatch {
  Index examples = 0, length = 0, labels = 0;
  std::vector<std::int32_t> tokens, positions, targets;
  std::vector<float> weights;
  std::int64_t num_labels = 0;

  Batch view(const std::uint64_t& seed) const {
    return {.examples = examples,
            .length = length,
            .labels = labels,
            .tokens = tokens.data(),
            .positions = positions.data(),
            .targets = targets.data(),
            .weights = weights.data(),
            .step = 0,
            .seeds = {&seed, 1}};
  }
};

TokenBatch read_batch(const ForwardRequest& request, const ModelConfig& model) {
  const auto vocab = static_cast<std::int32_t>(model.vocab_size);
  const NpyArray inputs = read_npy(request.inputs, kMaxBytes, ErrorKind::usage);
  if (inputs.shape.size() != 2 || inputs.shape[0] < 1 || inputs.shape[1] < 1)
    fail(ErrorKind::usage, "forward", "{}: inputs must have shape [B, L], they have {}",
         request.inputs, shape_text(inputs.shape));
  TokenBatch batch{inputs.shape[0], inputs.shape[1], 1, {}, {}, {}, {}};
  const Index most =
      model.max_position_embeddings > 0 ? model.max_position_embeddings : kLongestSequence;
  if (batch.length > most)
    fail(ErrorKind::usage, "forward", "{}: the model takes at most {} tokens, the inputs have {}",
         request.inputs, most, batch.length);
  batch.tokens = inputs.view().to_int32(0, vocab - 1);
  std::vector<std::int32_t> labels(batch.tokens.size(), kIgnoreLabel);
  if (!request.labels.empty()) {
    const NpyArray file = read_npy(request.labels, kMaxBytes, ErrorKind::usage);
    if (file.shape != inputs.shape)
      fail(ErrorKind::usage, "forward",
           "{}: labels must have the shape of the inputs, {}, they have {}", request.labels,
           shape_text(inputs.shape), shape_text(file.shape));
    labels = file.view().to_int32(kIgnoreLabel, vocab - 1);
  }
  std::vector<Index> counts(static_cast<std::size_t>(batch.examples), 0);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] == kIgnoreLabel) continue;
    if (labels[i] < 0)
      fail(ErrorKind::usage, "forward", "{}: a label must be {} or in [0, {}), there is {}",
           request.labels, kIgnoreLabel, vocab, labels[i]);
    ++counts[i / static_cast<std::size_t>(batch.length)];
    ++batch.num_labels;
  }
  if (!request.labels.empty() && batch.num_labels == 0)
    fail(ErrorKind::usage, "forward", "{}: every label is {}; there is nothing to learn",
         request.labels, kIgnoreLabel);
  batch.labels = std::max<Index>(1, *std::max_element(counts.begin(), counts.end()));
  for (Index b = 0; b < batch.examples; ++b) {
    Index n = 0;
    for (Index t = 0; t < batch.length; ++t) {
      const std::int32_t label = labels[static_cast<std::size_t>(b * batch.length + t)];
      if (label == kIgnoreLabel) continue;
      batch.positions.push_back(static_cast<std::int32_t>(t));
      batch.targets.push_back(label);
      batch.weights.push_back(1);
      ++n;
    }
    const auto filled = static_cast<std::size_t>((b + 1) * batch.labels);
    batch.positions.resize(filled, 0);
    batch.targets.resize(filled, 0);
    batch.weights.resize(filled, 0);
  }
  return batch;
}

/// Logits [B, L, V] as in training without dropout, or as in evaluation.
std::vector<float> logits(const Model& model, Parameters& parameters, const TokenBatch& batch,
                          bool training) {
  Arena arena(parameters.device()), batch_memory(parameters.device());
  Graph graph(parameters, training);
  graph.set_dropout(false);
  const Tensor logits = model.record_logits(graph, batch.examples, batch.length);
  graph.finish(arena);
  const std::uint64_t seed = 0;
  graph.forward(batch_on_device(batch.view(seed), 1, batch_memory));
  const std::vector<double> numbers = graph.read(logits, 0);
  return {numbers.begin(), numbers.end()};
}

/// Paths in the folder `out` of the files that are written, in order.
class Written {
 public:
  explicit Written(std::string out) : out_(std::move(out)) {}
  const std::string& add(const char* file) { return paths_.emplace_back(out_ + "/" + file); }
  std::vector<std::string> take() { return std::move(paths_); }

 private:
  std::string out_;
  std::vector<std::string> paths_;
};

void write_logits(const Model& model, Parameters& parameters, const TokenBatch& batch,
                  Written& written) {
  const std::vector<float> training = logits(model, parameters, batch, true);
  const std::vector<float> evaluation = logits(model, parameters, batch, false);
  const std::vector<std::int64_t> shape = {batch.examples, batch.length, model.config().vocab_size};
  write_npy<float>(written.add("logits.npy"), shape, training);
  if (evaluation != training) write_npy<float>(written.add("logits_eval.npy"), shape, evaluation);
}

/// Gradients of all trainable parameters, zero for those that the forward pass never uses.
void write_gradients(const Graph& graph, const Parameters& parameters, const std::string& path) {
  std::vector<std::vector<float>> numbers;
  std::vector<StoredArray> arrays;
  for (int id = 0; id < parameters.count(); ++id) {
    const ParameterSpec& spec = parameters.spec({id});
    if (!spec.trainable) continue;
    const auto size = static_cast<std::size_t>(spec.rows() * spec.cols());
    std::vector<double> gradient(size, 0.0);
    if (graph.uses({id})) gradient = parameters.get_gradient({id}, 0);
    numbers.emplace_back(gradient.begin(), gradient.end());
    StoredArray array;
    array.name = spec.name;
    array.shape.assign(spec.shape.begin(), spec.shape.end());
    array.bytes = {reinterpret_cast<const char*>(numbers.back().data()), size * sizeof(float)};
    arrays.push_back(array);
  }
  write_safetensors(path, arrays);
}

/// A training graph of the batch, its dropout off, and AdamW steps on it.
class TrainingStep {
 public:
  TrainingStep(Model& model, const TokenBatch& batch, bool with_auxiliary)
      : parameters_(model.parameters()),
        arena_(parameters_.device()),
        batch_memory_(parameters_.device()),
        batch_(batch_on_device(batch.view(kSeed), 1, batch_memory_)),
        graph_(parameters_, true) {
    graph_.set_dropout(false);
    out_ = model.record_loss(graph_, batch.examples, batch.length, batch.labels, with_auxiliary);
    graph_.finish(arena_);
    updated_ = graph_.used_parameters();
  }

  /// Runs it: the loss at the weights as they are.
  double loss() {
    graph_.forward(batch_);
    graph_.backward();
    return graph_.read(out_.loss, 0)[0];
  }
  bool has_auxiliary() const { return out_.auxiliary.has_value(); }
  /// The mixers' own losses, after `loss`.
  double auxiliary() const { return graph_.read(*out_.auxiliary, 0)[0]; }
  const Graph& graph() const { return graph_; }

  /// `train_steps` steps: the losses before each, those of the mixers added where they are trained.
  Json trace(const ForwardRequest& request, bool with_auxiliary) {
    Json losses = Json(Json::Array{});
    for (std::int64_t i = 1; i <= request.train_steps; ++i) {
      const double of_labels = loss();
      losses.push_back(with_auxiliary ? of_labels + auxiliary() : of_labels);
      adamw_step(parameters_, updated_, {&request.lr, 1}, {&request.weight_decay, 1}, i);
    }
    return losses;
  }

 private:
  static constexpr std::uint64_t kSeed = 0;

  Parameters& parameters_;
  Arena arena_, batch_memory_;
  Batch batch_;
  Graph graph_;
  RecordedLoss out_;
  std::vector<Parameter> updated_;
};

/// Loss and gradients at the given weights, then `train_steps` AdamW steps.
void train(Model& model, const TokenBatch& batch, const ForwardRequest& request, Written& written) {
  TrainingStep step(model, batch, false);
  Json loss;
  loss["loss"] = step.loss();
  loss["num_labels"] = batch.num_labels;
  if (step.has_auxiliary()) loss["auxiliary_loss"] = step.auxiliary();
  publish(written.add("loss.json"), loss.indented());
  write_gradients(step.graph(), model.parameters(), written.add("grads.safetensors"));
  if (request.train_steps == 0) return;
  Json trace;
  trace["losses"] = step.trace(request, false);
  if (step.has_auxiliary()) {
    Model again(model.config(), DType::f32, 1, request.device);
    load_weights(again, request.weights);
    trace["losses_with_auxiliary"] = TrainingStep(again, batch, true).trace(request, true);
  }
  trace["lr"] = request.lr;
  trace["weight_decay"] = request.weight_decay;
  publish(written.add("train_trace.json"), trace.indented());
}

}  // namespace

std::vector<std::string> forward_model(const ForwardRequest& request) {
  if (request.train_steps > 0 && request.labels.empty())
    fail(ErrorKind::usage, "forward", "--train-steps needs --labels");
  const ModelConfig config = load_model_config(request.model);
  Model model(config, DType::f32, 1, request.device);
  load_weights(model, request.weights);
  const TokenBatch batch = read_batch(request, config);
  make_directories(request.out);
  Written written(request.out);
  write_logits(model, model.parameters(), batch, written);
  Json state;
  state["measured_bytes"] = model.measured_state_bytes(batch.length);
  const auto published = model.reference_state_bytes(batch.length);
  state["published_bytes"] = published ? Json(*published) : Json();
  state["sequence_length"] = batch.length;
  publish(written.add("state_size.json"), state.indented());
  if (!request.labels.empty()) train(model, batch, request, written);
  return written.take();
}

}  // namespace recallbench
