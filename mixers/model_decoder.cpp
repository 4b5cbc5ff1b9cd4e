#include "mixers/host_math.h"
#include "mixers/model.h"
#include "mixers/state_mixer.h"
#include "mixers/use_mixer.h"

namespace recallbench {
namespace {

/// The norm of that name: without bias an RMSNorm.
std::vector<double> apply_norm(const HostParameters& p, const std::string& name,
                               const std::vector<double>& x) {
  return host_norm(x, p.at(name + ".weight"), p.or_empty(name + ".bias"));
}

void add_to(std::vector<double>& r, const std::vector<double>& h) {
  for (std::size_t j = 0; j < r.size(); ++j)
    r[j] += h[j];
}

HostParameters snapshot(const Parameters& parameters, Index replica) {
  std::map<std::string, std::vector<double>> values;
  for (int id = 0; id < parameters.count(); ++id)
    values.emplace(parameters.spec({id}).name, parameters.get({id}, replica));
  return HostParameters(std::move(values));
}

}  // namespace

ModelDecoder Model::decoder(Index replica, Index length) const {
  return ModelDecoder(*this, snapshot(*parameters_, replica), length);
}

ModelDecoder::ModelDecoder(const Model& model, HostParameters parameters, Index length)
    : model_(model), parameters_(std::move(parameters)) {
  for (std::size_t i = 0; i < model_.layers_.size(); ++i) {
    const Model::Layer& layer = model_.layers_[i];
    decoders_.push_back(decoder_of(*layer.mixer, model_.layer_config(i).mixer,
                                   parameters_.below(layer.prefix), length));
    state_mixers_.push_back(parameters_.below(fmt::format("backbone.layers.{}.state_mixer.", i)));
  }
}

ModelDecoder::ModelState ModelDecoder::start() const {
  ModelState state;
  for (const auto& decoder : decoders_)
    state.layers.push_back(decoder->start());
  return state;
}

std::vector<double> ModelDecoder::step(std::int32_t token, ModelState& state) const {
  const auto d = static_cast<std::size_t>(model_.config_.d_model);
  const bool transformer = model_.config_.block == "transformer";
  const auto row_of = [&](const std::string& name, std::size_t row) {
    const auto begin = parameters_.at(name).begin() + static_cast<std::ptrdiff_t>(row * d);
    return std::vector<double>(begin, begin + static_cast<std::ptrdiff_t>(d));
  };
  std::vector<double> r =
      row_of("backbone.embeddings.word_embeddings.weight", static_cast<std::size_t>(token));
  if (model_.positions_.id >= 0)
    add_to(r, row_of("backbone.embeddings.position_embeddings.weight",
                     static_cast<std::size_t>(state.position)));
  for (std::size_t i = 0; i < decoders_.size(); ++i) {
    const std::string base = fmt::format("backbone.layers.{}.", i);
    std::vector<double> h(d);
    decoders_[i]->step(apply_norm(parameters_, base + (transformer ? "norm1" : "norm"), r),
                       state.layers[i], h);
    add_to(r, h);
    const Model::Layer& layer = model_.layers_[i];
    if (layer.norm2) {
      const std::vector<double> x = apply_norm(parameters_, base + "norm2", r);
      add_to(r, layer.state_mixer ? layer.state_mixer->step(state_mixers_[i], x) : x);
    }
  }
  ++state.position;
  const std::string head = model_.config_.tie_embeddings
                               ? "backbone.embeddings.word_embeddings.weight"
                               : "lm_head.weight";
  return host_linear(apply_norm(parameters_, "backbone.ln_f", r), parameters_.at(head));
}

std::int64_t Model::measured_state_bytes(Index length) const {
  const auto d = static_cast<std::size_t>(config_.d_model);
  const HostParameters parameters = snapshot(*parameters_, 0);
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const auto decoder =
        decoder_of(*layer.mixer, layer_config(i).mixer, parameters.below(layer.prefix), length);
    State state = decoder->start();
    RandomStream random(1, Purpose::test_values, 0, 0);
    std::vector<double> x(d), y(d);
    for (Index t = 0; t < length; ++t) {
      normal(1)(x, random);
      decoder->step(x, state, y);
    }
    bytes += 4 * static_cast<std::int64_t>(state.numbers.size());
  }
  return bytes;
}

}  // namespace recallbench
