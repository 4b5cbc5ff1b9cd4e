#include "mixers/use_mixer.h"

namespace recallbench {
namespace {

constexpr Index kMostNumbers = Index{1} << 50;  // sums of a few such are counted without overflow

std::string who(const std::string& name) {
  return "mixer '" + name + "'";
}

}  // namespace

void check_declaration(const ParameterSpec& spec) {
  check(!spec.shape.empty(), "mixer", "parameter '{}' is declared without a dimension", spec.name);
  Index numbers = 1;
  for (const Index size : spec.shape) {
    check(size >= 1, "mixer", "parameter '{}' is declared with a dimension of {}", spec.name, size);
    if (size > kMostNumbers / numbers)  // an option may be why
      fail(ErrorKind::usage, "mixer",
           "parameter '{}' has over 2^50 numbers; take a smaller d_model or other sizes",
           spec.name);
    numbers *= size;
  }
  check(spec.initialise != nullptr, "mixer", "parameter '{}' is declared without initial values",
        spec.name);
}

std::unique_ptr<SequenceMixer> make_with(const MixerEntry& entry, const std::string& name,
                                         const MixerContext& context, Options& options,
                                         ParameterDeclarer& declarer) {
  std::unique_ptr<SequenceMixer> mixer = entry.make(context, options, declarer);
  if (mixer == nullptr)
    fail(ErrorKind::internal, who(name),
         "its factory returned no mixer; return one, or reject the option");
  return mixer;
}

Tensor forward_of(const SequenceMixer& mixer, const std::string& name, Forward& f, const Tensor& x,
                  Index labels) {
  const Tensor y = labels > 0 ? mixer.forward_rows(f, x, labels) : mixer.forward(f, x);
  const Shape expected = labels > 0 ? Shape{x.shape[0], x.shape[1], labels, x.shape[3]} : x.shape;
  if (y.shape != expected)
    fail(ErrorKind::internal, who(name), "expected {} to return {} for x of {}, it returned {}",
         labels > 0 ? "forward_rows" : "forward", expected.text(), x.shape.text(), y.shape.text());
  return y;
}

std::unique_ptr<Decoder> decoder_of(const SequenceMixer& mixer, const std::string& name,
                                    const HostParameters& parameters, Index length) {
  std::unique_ptr<Decoder> decoder = mixer.decoder(parameters, length);
  if (decoder == nullptr)
    fail(ErrorKind::internal, who(name), "its decoder() returned none; return one");
  return decoder;
}

}  // namespace recallbench
