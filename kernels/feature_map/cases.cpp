#include "kernels/feature_map/feature_map.h"
#include "kernels/feature_map/reference.h"

namespace recallbench {
namespace {

/// A case of one output; `timed` ones feed the benchmarks alone, one operation a number.
template <class Build, class Reference>
OpCase make_case(std::string name, std::vector<std::vector<Index>> inputs, const Build& build,
                 const Reference& reference, bool timed = false) {
  OpCase c;
  c.name = std::move(name);
  c.inputs = std::move(inputs);
  c.build = [build](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{build(g, t)};
  };
  c.reference = [reference](const std::vector<HostTensor>& t, const HostBatch& batch) {
    return std::vector<HostTensor>{reference(t, batch)};
  };
  c.flops = timed ? 1 : 0;
  c.tested = !timed;
  if (timed)
    for (const Index size : c.inputs[0])
      c.flops *= static_cast<double>(size);
  return c;
}

void append_elementwise(std::vector<OpCase>& cases) {
  const std::pair<const char*, ElementwiseMap> maps[] = {{"relu", ElementwiseMap::relu},
                                                         {"pos_elu", ElementwiseMap::pos_elu},
                                                         {"square", ElementwiseMap::square}};
  for (const auto& [name, map] : maps) {
    for (const auto& [rows, cols, temperature, timed] :
         {std::tuple<Index, Index, double, bool>{1, 1, 1.0, false},
          {150, 7, 1.0, false},
          {5, 33, 0.7, false},
          {16384, 64, 1.0, true}}) {
      cases.push_back(make_case(
          fmt::format("elementwise_features/{},rows={},cols={},temperature={}", name, rows, cols,
                      temperature),
          {{rows, cols}},
          [map = map, temperature = temperature](Graph& g, const std::vector<Tensor>& t) {
            return elementwise_features(g, t[0], map, temperature);
          },
          [map = map, temperature = temperature](const std::vector<HostTensor>& t,
                                                 const HostBatch&) {
            return elementwise_features_reference(t[0], map, temperature);
          },
          timed));
    }
  }
}

void append_cosformer(std::vector<OpCase>& cases) {
  const auto add = [&](Index length, Index cols, const CosformerOptions& options) {
    OpCase c = make_case(
        fmt::format("cosformer_features/L={},cols={},H={},horizon={},rounds={},labels={}", length,
                    cols, options.heads, options.horizon, options.rounds_angles, options.at_labels),
        {{2, length, cols}},
        [options](Graph& g, const std::vector<Tensor>& t) {
          return cosformer_features(g, t[0], options);
        },
        [options](const std::vector<HostTensor>& t, const HostBatch& batch) {
          return cosformer_features_reference(t[0], batch, options);
        });
    c.batch = {2,
               options.horizon,
               length,
               std::vector<std::int32_t>(static_cast<std::size_t>(2 * options.horizon), 0),
               {},
               std::vector<std::int32_t>(static_cast<std::size_t>(2 * length), 0),
               std::vector<float>(static_cast<std::size_t>(2 * length), 1.0f)};
    for (Index i = 0; i < 2 * length; ++i)
      c.batch.positions.push_back(static_cast<std::int32_t>((3 * i + 1) % options.horizon));
    cases.push_back(c);
  };
  add(1, 1, {});
  add(5, 6, {.heads = 2, .horizon = 5});
  add(5, 9, {.heads = 3, .horizon = 11, .rounds_angles = true});
  add(4, 6, {.heads = 2, .horizon = 9, .at_labels = true});
}

void append_exponential(std::vector<OpCase>& cases) {
  for (const bool less_maximum : {false, true}) {
    for (const auto& [rows, f, m, timed] : {std::tuple<Index, Index, Index, bool>{1, 1, 1, false},
                                            {140, 3, 5, false},
                                            {4, 9, 40, false},
                                            {16384, 16, 64, true}}) {
      cases.push_back(make_case(
          fmt::format("exponential_features/rows={},f={},m={},less_maximum={}", rows, f, m,
                      less_maximum),
          {{rows, f}, {rows, m}},
          [less_maximum](Graph& g, const std::vector<Tensor>& t) {
            return exponential_features(g, t[0], t[1], less_maximum);
          },
          [less_maximum](const std::vector<HostTensor>& t, const HostBatch&) {
            return exponential_features_reference(t[0], t[1], less_maximum);
          },
          timed));
    }
  }
}

void append_softmax(std::vector<OpCase>& cases) {
  for (const bool jointly : {false, true}) {
    for (const auto& [rows, f, scale] :
         {std::tuple<Index, Index, double>{1, 1, 1.0}, {130, 5, 1.0}, {3, 17, 2.0}}) {
      cases.push_back(make_case(
          fmt::format("softmax_features/rows={},f={},scale={},jointly={}", rows, f, scale, jointly),
          {{rows, f}},
          [scale = scale, jointly](Graph& g, const std::vector<Tensor>& t) {
            return softmax_features(g, t[0], scale, jointly);
          },
          [scale = scale, jointly](const std::vector<HostTensor>& t, const HostBatch&) {
            return softmax_features_reference(t[0], scale, jointly);
          }));
    }
  }
}

}  // namespace

void append_feature_map_cases(std::vector<OpCase>& cases) {
  append_elementwise(cases);
  append_cosformer(cases);
  append_exponential(cases);
  append_softmax(cases);
  for (const Index cols : {1, 21})
    cases.push_back(make_case(
        fmt::format("polynomial_features/cols={}", cols), {{130, cols}, {130, cols}},
        [](Graph& g, const std::vector<Tensor>& t) { return polynomial_features(g, t[0], t[1]); },
        [](const std::vector<HostTensor>& t, const HostBatch&) {
          return polynomial_features_reference(t[0], t[1]);
        }));
}

}  // namespace recallbench
