#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/reference.h"
#include "kernels/graph/op_case.h"

namespace recallbench {
namespace {

struct Size {
  Index rows, cols, apart;  ///< apart: columns that the views leave out
};

template <class Build, class F>
OpCase binary(const std::string& name, Build build, F f) {
  OpCase c;
  c.name = name;
  c.inputs = {{7, 13}, {7, 13}};
  c.build = [build](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{build(g, t[0], t[1])};
  };
  c.reference = [f](const std::vector<HostTensor>& t, const HostBatch&) {
    HostTensor y = t[0];
    for (std::size_t i = 0; i < y.data.size(); ++i)
      y.data[i] = f(t[0].data[i], t[1].data[i]);
    return std::vector<HostTensor>{y};
  };
  return c;
}

OpCase unary(const std::string& name, Activation f, double scale) {
  OpCase c;
  c.name = "activate/" + name;
  c.inputs = {{9, 11}};
  c.scale = scale;
  c.build = [f](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{activate(g, f, t[0])};
  };
  c.reference = [f](const std::vector<HostTensor>& t, const HostBatch&) {
    HostTensor y = t[0];
    for (double& x : y.data)
      x = activation_reference(f, x);
    return std::vector<HostTensor>{y};
  };
  return c;
}

OpCase gated(const std::string& name, Activation f, const Size& s) {
  OpCase c;
  c.name = fmt::format("gate/{},rows={},cols={},apart={}", name, s.rows, s.cols, s.apart);
  c.inputs = {{s.rows, s.cols + s.apart}, {s.rows, s.cols + s.apart}};
  c.build = [f, s](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{gate(g, t[0].columns(s.apart, s.cols), f, t[1].columns(0, s.cols))};
  };
  c.reference = [f, s](const std::vector<HostTensor>& t, const HostBatch&) {
    HostTensor y{{s.rows, s.cols}, {}};
    for (Index i = 0; i < s.rows; ++i)
      for (Index j = 0; j < s.cols; ++j) {
        const auto at = static_cast<std::size_t>(i * (s.cols + s.apart) + j);
        y.data.push_back(t[0].data[at + static_cast<std::size_t>(s.apart)] *
                         activation_reference(f, t[1].data[at]));
      }
    return std::vector<HostTensor>{y};
  };
  return c;
}

/// y and z are parts of one tensor, side by side or with columns in common: so are their
/// gradients.
OpCase parts_of_one(const std::string& name, Index first, Index second) {
  OpCase c;
  c.name = fmt::format("{}/parts_of_one,{},{}", name, first, second);
  c.inputs = {{6, 16}};
  const bool is_gate = name == "gate";
  c.build = [=](Graph& g, const std::vector<Tensor>& t) {
    const Tensor a = t[0].columns(first, 8), b = t[0].columns(second, 8);
    return std::vector<Tensor>{is_gate ? gate(g, a, Activation::silu, b) : multiply(g, a, b)};
  };
  c.reference = [=](const std::vector<HostTensor>& t, const HostBatch&) {
    HostTensor y{{6, 8}, {}};
    for (Index i = 0; i < 6; ++i)
      for (Index j = 0; j < 8; ++j) {
        const double a = t[0].data[static_cast<std::size_t>(i * 16 + first + j)];
        const double b = t[0].data[static_cast<std::size_t>(i * 16 + second + j)];
        y.data.push_back(a * (is_gate ? activation_reference(Activation::silu, b) : b));
      }
    return std::vector<HostTensor>{y};
  };
  return c;
}

/// Rows that lie apart and begin at odd addresses.
OpCase column_slices() {
  OpCase c;
  c.name = "column_slices";
  c.inputs = {{7, 13}, {7, 13}};
  c.build = [](Graph& g, const std::vector<Tensor>& t) {
    const Tensor a = t[0].columns(1, 12), y = multiply(g, a, t[1].columns(0, 12));
    return std::vector<Tensor>{activate(g, Activation::silu, add(g, y, a))};
  };
  c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
    HostTensor y{{7, 12}, {}};
    for (std::size_t i = 0; i < 7; ++i) {
      for (std::size_t j = 0; j < 12; ++j) {
        const double a = t[0].data[i * 13 + j + 1], b = t[1].data[i * 13 + j];
        y.data.push_back(activation_reference(Activation::silu, a * b + a));
      }
    }
    return std::vector<HostTensor>{y};
  };
  return c;
}

}  // namespace

void append_elementwise_cases(std::vector<OpCase>& cases) {
  cases.push_back(binary(
      "add", [](Graph& g, const Tensor& a, const Tensor& b) { return add(g, a, b); },
      [](double a, double b) { return a + b; }));
  cases.push_back(binary(
      "multiply", [](Graph& g, const Tensor& a, const Tensor& b) { return multiply(g, a, b); },
      [](double a, double b) { return a * b; }));
  OpCase square = binary(
      "multiply_by_itself",
      [](Graph& g, const Tensor& a, const Tensor& b) { return add(g, multiply(g, a, a), b); },
      [](double a, double b) { return a * a + b; });
  cases.push_back(square);
  cases.push_back(column_slices());
  for (const Size& s : {Size{5, 12, 0}, Size{7, 13, 0}, Size{1, 1, 0}, Size{3, 300, 0},
                        Size{4, 8, 4}, Size{4, 12, 3}})
    cases.push_back(gated("silu", Activation::silu, s));
  cases.push_back(gated("gelu", Activation::gelu, {5, 12, 4}));
  cases.push_back(gated("relu", Activation::relu, {5, 12, 0}));
  cases.push_back(gated("gelu_tanh", Activation::gelu_tanh, {5, 11, 0}));
  for (const char* name : {"gate", "multiply"})
    for (const auto& [first, second] :
         {std::pair<Index, Index>{0, 8}, {8, 0}, {4, 4}, {0, 3}, {4, 0}})
      cases.push_back(parts_of_one(name, first, second));
  for (const double scale : {1.0, 10.0}) {
    const std::string suffix = fmt::format(",scale={}", scale);
    cases.push_back(unary("silu" + suffix, Activation::silu, scale));
    cases.push_back(unary("gelu" + suffix, Activation::gelu, scale));
    cases.push_back(unary("gelu_tanh" + suffix, Activation::gelu_tanh, scale));
    cases.push_back(unary("relu" + suffix, Activation::relu, scale));
    cases.push_back(unary("softplus" + suffix, Activation::softplus, scale));
    cases.push_back(unary("sigmoid" + suffix, Activation::sigmoid, scale));
    cases.push_back(unary("tanh" + suffix, Activation::tanh, scale));
  }
  // A quarter of the inputs above 20, where softplus becomes the identity.
  cases.push_back(unary("softplus,scale=30", Activation::softplus, 30.0));
}

}  // namespace recallbench
