// Operations with dropout drop on a training graph alone, and there not where it is switched off.
#include "kernels/dropout/dropout.h"

#include <gtest/gtest.h>

#include "kernels/double_residual_norm/double_residual_norm.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/embedding_norm/embedding_norm.h"
#include "kernels/softmax_attention/softmax_attention.h"
#include "tests/support/run_case.h"

namespace recallbench::testing {
namespace {

struct Dropping {
  std::string name;
  std::vector<std::vector<Index>> inputs;
  std::function<std::vector<Tensor>(Graph&, const std::vector<Tensor>&, double p)> build;
};

std::vector<Tensor> both(const ResidualNorm& n) {
  return {n.stream, n.normalised};
}

const std::vector<Dropping> kDropping = {
    {"dropout",
     {{7, 6}},
     [](Graph& g, const std::vector<Tensor>& t, double p) {
       return std::vector<Tensor>{add(g, t[0], dropout(g, t[0], p))};
     }},
    {"softmax_attention",
     {{2, 7, 6}, {2, 7, 6}, {2, 7, 6}},
     [](Graph& g, const std::vector<Tensor>& t, double p) {
       const SoftmaxAttentionOptions options{2, 1, std::nullopt, p, false};
       return std::vector<Tensor>{softmax_attention(g, t[0], t[1], t[2], options)};
     }},
    {"residual_norm",
     {{7, 6}, {7, 6}, {1, 6}},
     [](Graph& g, const std::vector<Tensor>& t, double p) {
       return both(residual_norm(g, t[0], t[1], p, t[2], std::nullopt));
     }},
    {"double_residual_norm",
     {{7, 6}, {7, 6}, {1, 6}, {1, 6}},
     [](Graph& g, const std::vector<Tensor>& t, double p) {
       return both(double_residual_norm(g, t[0], t[1], p, {t[2], t[3]}, {t[2], t[3]}));
     }},
    {"embedding_norm",
     {{5, 6}, {1, 6}},
     [](Graph& g, const std::vector<Tensor>& t, double p) {
       return both(embedding_norm(g, t[0], 2, 7, p, t[1], std::nullopt));
     }},
};

CaseResult run(const Dropping& d, double p, bool training, bool drops) {
  OpCase c;
  c.inputs = d.inputs;
  c.build = [&](Graph& g, const std::vector<Tensor>& t) {
    g.set_dropout(drops);
    return d.build(g, t, p);
  };
  c.batch.examples = 2;
  c.batch.length = 7;
  c.batch.tokens = {1, 0, 4, 2, 2, 3, 0, 1, 1, 4, 3, 0, 2, 4};
  return run_case<double>(c, case_inputs(c, 4), 1, 0, training);
}

TEST(Dropout, ActsOnTrainingGraphsUnlessItIsSwitchedOff) {
  for (const Dropping& d : kDropping) {
    SCOPED_TRACE(d.name);
    const CaseResult plain = run(d, 0, true, true);
    EXPECT_NE(run(d, 0.5, true, true).outputs, plain.outputs);
    const CaseResult off = run(d, 0.5, true, false);
    EXPECT_EQ(off.outputs, plain.outputs);
    EXPECT_EQ(off.gradients, plain.gradients);
    EXPECT_EQ(run(d, 0.5, false, true).outputs, plain.outputs);
  }
}

}  // namespace
}  // namespace recallbench::testing
