// What a graph refuses: to read what is not there, to write what it computes, and an input that
// wants a gradient which its operation does not have.
#include "kernels/graph/graph.h"

#include <gtest/gtest.h>

#include "kernels/elementwise/elementwise.h"
#include "kernels/graph/execution.h"
#include "tests/base/expect_error.h"

namespace recallbench {
namespace {

/// y = silu(silu(x)): x and the root y may be read, what lies between may not; `given` wants no
/// gradient.
class GraphReads : public ::testing::Test {
 protected:
  GraphReads() {
    graph_.keep(kept_);
    graph_.set_root(y_);
  }
  void finish() { graph_.finish(arena_); }
  void replay() {
    finish();
    graph_.write(x_, 0, numbers_);
    graph_.write(given_, 0, numbers_);
    graph_.forward({});
    graph_.backward();
  }

  const std::vector<double> numbers_ = {1, 2, 3, 4};
  Parameters parameters_{{}, DType::f32, 1};
  Arena arena_;
  Graph graph_{parameters_, true};
  Tensor x_ = graph_.input({1, 1, 4}, true), given_ = graph_.input({1, 1, 4}, false);
  Tensor between_ = activate(graph_, Activation::silu, x_);
  Tensor kept_ = activate(graph_, Activation::silu, between_);
  Tensor y_ = add(graph_, kept_, given_);
};

TEST_F(GraphReads, WhatIsKeptIsThere) {
  replay();
  EXPECT_EQ(graph_.read(x_, 0), numbers_);
  EXPECT_GT(graph_.read(y_, 0)[0], graph_.read(kept_, 0)[0]);
  EXPECT_EQ(graph_.read_gradient(y_, 0), std::vector<double>(4, 1.0));
  EXPECT_GT(graph_.read_gradient(x_, 0)[0], 0);
}

TEST_F(GraphReads, WhatIsNotKeptIsRefused) {
  replay();
  EXPECT_ERROR(graph_.read(between_, 0), ErrorKind::internal, "keep() it before finish()");
  EXPECT_ERROR(graph_.read_gradient(kept_, 0), ErrorKind::internal, "neither a root nor");
  EXPECT_ERROR(graph_.read_gradient(given_, 0), ErrorKind::internal, "neither a root nor");
}

TEST_F(GraphReads, WhatIsNotThereYetIsRefused) {
  EXPECT_ERROR(graph_.read(kept_, 0), ErrorKind::internal, "forward() comes first");
  finish();
  EXPECT_ERROR(graph_.read(kept_, 0), ErrorKind::internal, "forward() comes first");
  EXPECT_ERROR(graph_.read_gradient(y_, 0), ErrorKind::internal, "forward() comes first");
  EXPECT_ERROR(graph_.write_gradient(y_, 0, numbers_), ErrorKind::internal,
               "forward() comes first");
  EXPECT_ERROR(graph_.backward(), ErrorKind::internal, "forward() comes first");
}

TEST_F(GraphReads, WhatIsNotOfTheGraphIsRefused) {
  EXPECT_ERROR(graph_.keep({}), ErrorKind::internal, "not of this graph");
  EXPECT_ERROR(graph_.set_root({Shape{1, 1, 4}, 99}), ErrorKind::internal, "not of this graph");
  replay();
  EXPECT_ERROR(graph_.read({Shape{1, 1, 4}, 99}, 0), ErrorKind::internal, "not of this graph");
  EXPECT_ERROR(graph_.read(kept_, 1), ErrorKind::internal, "a replica below 1, got 1");
  EXPECT_ERROR(graph_.read_gradient(x_, -1), ErrorKind::internal, "a replica below 1, got -1");
}

TEST_F(GraphReads, WhatTheGraphComputesIsNotWritten) {
  replay();
  EXPECT_ERROR(graph_.write(kept_, 0, numbers_), ErrorKind::internal, "neither an input nor");
  EXPECT_ERROR(graph_.write_gradient(x_, 0, numbers_), ErrorKind::internal, "no root");
}

TEST_F(GraphReads, KeepingEndsWithRecording) {
  finish();
  EXPECT_ERROR(graph_.keep(between_), ErrorKind::internal, "before finish()");
  EXPECT_ERROR(graph_.set_root(between_), ErrorKind::internal, "before finish()");
}

TEST(GraphReadsOfALoss, HaveNoGradientWhereNobodyTrains) {
  Parameters parameters({}, DType::f32, 1);
  Arena arena;
  Graph graph(parameters, false);
  const Tensor y = activate(graph, Activation::silu, graph.input({1, 1, 4}, true));
  graph.set_root(y);
  graph.finish(arena);
  graph.forward({});
  EXPECT_ERROR(graph.read_gradient(y, 0), ErrorKind::internal, "writes no gradient");
}

/// y = x w, with a gradient of x alone.
class Scaled : public TypedOperation<Scaled> {
 public:
  Scaled(const Tensor& x, const Tensor& w) {
    reads(x, InBackward::unused);
    reads_constant(w, InBackward::read);
    writes(x.shape, InBackward::unused);
  }
  std::string_view name() const override { return "scaled"; }
  template <class T>
  void forward_as(Execution&) {}
  template <class T>
  void backward_as(Execution&) {}
};

TEST(GraphConstants, ThatWantAGradientAreRefused) {
  Parameters parameters({{"buffer", {1, 4}, constant(1), false, false},
                         {"trained", {1, 4}, constant(1), false, true}},
                        DType::f32, 1);
  for (const bool training : {true, false}) {
    Graph graph(parameters, training);
    const Tensor x = graph.input({1, 1, 4}, true);
    const auto scale = [&](const Tensor& w) { graph.add(std::make_unique<Scaled>(x, w)); };
    scale(graph.parameter({0}));
    scale(graph.input({1, 1, 4}, false));
    if (!training) {
      scale(graph.parameter({1}));
      continue;
    }
    EXPECT_ERROR(scale(graph.parameter({1})), ErrorKind::internal,
                 "'scaled' has no gradient of its input");
    EXPECT_ERROR(scale(x), ErrorKind::internal, "make it a buffer");
  }
}

}  // namespace
}  // namespace recallbench
