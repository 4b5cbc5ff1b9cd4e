#include <algorithm>

#include "mixers/registry.h"

namespace recallbench {
namespace {

class IdentityDecoder : public Decoder {
 public:
  State start() const override { return {}; }
  void step(std::span<const double> x, State&, std::span<double> y) const override {
    std::copy(x.begin(), x.end(), y.begin());
  }
};

class Identity : public SequenceMixer {
 public:
  Tensor forward(Forward&, const Tensor& x) const override { return x; }
  std::unique_ptr<Decoder> decoder(const HostParameters&, Index) const override {
    return std::make_unique<IdentityDecoder>();
  }
  std::optional<double> published_state_size(Index) const override { return 0; }
  /// Behind one short convolution it has seen no pair when a query comes: chance, which is below
  /// 1 in 16 on the tiny MQAR.
  Traits traits() const override { return {true, true, 0.0, 0.25}; }
};

}  // namespace

void register_identity(MixerRegistry& registry) {
  registry.add("identity", {"Mixes nothing: the negative control, and the folder to copy.",
                            [](const MixerContext&, Options&, ParameterDeclarer&) {
                              return std::make_unique<Identity>();
                            }});
}

}  // namespace recallbench
