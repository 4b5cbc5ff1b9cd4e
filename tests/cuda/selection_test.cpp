// Operations of selective_attention and nsa on the GPU beyond what their mixers' defaults ask:
// other heads, windows and labels, slices of 4-byte alignment, and the very choices of the CPU.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cuda/runtime.h"
#include "mixers/nsa/sparse.h"
#include "mixers/selective_attention/selection.h"
#include "tests/support/run_case.h"

namespace recallbench::testing {
namespace {

using Build = std::function<std::vector<Tensor>(Graph&, const std::vector<Tensor>&)>;

class CudaSelection : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU";
    set_memory_poisoning(true);
  }
  void TearDown() override { set_memory_poisoning(false); }
};

OpCase make_case(std::vector<std::vector<Index>> inputs, Build build, HostBatch batch = {}) {
  OpCase c;
  c.inputs = std::move(inputs);
  c.build = std::move(build);
  c.batch = std::move(batch);
  return c;
}

/// Labels at changing positions; every third, and those of the last example, without weight.
HostBatch labelled(Index examples, Index length, Index labels) {
  HostBatch batch;
  batch.examples = examples;
  batch.length = length;
  batch.labels = labels;
  for (Index i = 0; i < examples * labels; ++i) {
    batch.positions.push_back(static_cast<std::int32_t>((7 * i + 3) % length));
    batch.weights.push_back(i % 3 != 0 && i / labels + 1 < examples ? 1 : 0);
  }
  return batch;
}

/// The GPU in fp32 against the CPU in double, and its bits in a population.
void expect_cpu_and_same_bits(const OpCase& c, const std::vector<HostTensor>& inputs) {
  const Placement gpu{Device::cuda, Precision::fp32};
  const CaseResult expected = run_case<double>(c, inputs);
  const CaseResult found = run_case<float>(c, inputs, 1, 0, true, gpu);
  for (std::size_t k = 0; k < expected.outputs.size(); ++k)
    EXPECT_LE(relative_error(found.outputs[k], expected.outputs[k]), 2e-5) << "output " << k;
  for (std::size_t k = 0; k < inputs.size(); ++k)
    EXPECT_LE(
        relative_error(found.gradients[k], expected.gradients[k], 0.01 * expected.gradient_scale()),
        2e-4)
        << "gradient of input " << k;
  for (const Index replica : {0, 2}) {
    const CaseResult other = run_case<float>(c, inputs, 3, replica, true, gpu);
    EXPECT_EQ(found.outputs, other.outputs) << replica;
    EXPECT_EQ(found.gradients, other.gradients) << replica;
  }
}

void expect_cpu_and_same_bits(const OpCase& c) {
  expect_cpu_and_same_bits(c, case_inputs(c, 3));
}

/// Quarters: many of them equal, and all sums of their products exact.
std::vector<HostTensor> in_quarters(const OpCase& c) {
  std::vector<HostTensor> inputs = case_inputs(c, 5);
  for (HostTensor& input : inputs)
    for (double& x : input.data)
      x = std::round(4 * x) / 4;
  return inputs;
}

/// Outputs of the CPU in float, exactly, alone and in a population.
void expect_choices_of_the_cpu(const OpCase& c, const std::vector<HostTensor>& inputs) {
  const CaseResult expected = run_case<float>(c, inputs, 1, 0, false);
  const Placement gpu{Device::cuda, Precision::tf32};
  EXPECT_EQ(run_case<float>(c, inputs, 1, 0, false, gpu).outputs, expected.outputs);
  EXPECT_EQ(run_case<float>(c, inputs, 3, 1, false, gpu).outputs, expected.outputs);
}

TEST_F(CudaSelection, KeepsTheSameOfEqualShares) {
  for (const auto& [length, k] : {std::pair<Index, Index>{1, 1},
                                  {33, 0},
                                  {33, 6},
                                  {130, 2},
                                  {256, 16},
                                  {300, 300},
                                  {1000, 32}}) {
    SCOPED_TRACE(fmt::format("{} of {}", k, length));
    const OpCase c = make_case({{5, length, 1}}, [k = k](Graph& g, const auto& in) {
      return std::vector<Tensor>{keep_lookups(g, in[0], k)};
    });
    expect_choices_of_the_cpu(c, in_quarters(c));
    expect_cpu_and_same_bits(c, in_quarters(c));
  }
}

TEST_F(CudaSelection, SharesAndTheirPrice) {
  for (const Index length : {1, 33, 100}) {
    SCOPED_TRACE(length);
    for (const bool causal : {false, true})
      expect_cpu_and_same_bits(make_case({{9, length, 1}}, [=](Graph& g, const auto& in) {
        return std::vector<Tensor>{position_softmax(g, in[0], causal)};
      }));
    const OpCase gate = make_case({{20, length, 2}, {1, 1}}, [](Graph& g, const auto& in) {
      return std::vector<Tensor>{tempered_gate(g, in[0], in[1])};
    });
    expect_cpu_and_same_bits(gate);
    for (const double share : {-1.0, 1.0})
      expect_cpu_and_same_bits(make_case(
          {{40, length, 1}},
          [=](Graph& g, const auto& in) {
            return std::vector<Tensor>{lookup_penalty(g, in[0], 2, share)};
          },
          labelled(40, length, 5)));
  }
}

TEST_F(CudaSelection, AddsScaledRowsOfAnyAlignment) {
  for (const Index d : {1, 6, 64, 128, 260})
    expect_cpu_and_same_bits(
        make_case({{2, 9, 2 * d + 1}, {2, 9, d}}, [d](Graph& g, const auto& in) {
          const Tensor s = in[0].columns(d, 1), a = in[0].columns(d + 1, d);
          return std::vector<Tensor>{add_scaled(g, in[0].columns(0, d), s, a),
                                     add_scaled(g, in[1], s, in[1])};
        }));
}

TEST_F(CudaSelection, BlocksMemoryAndBranches) {
  for (const auto& [heads, f] : {std::pair<Index, Index>{1, 6}, {3, 5}, {2, 32}, {1, 130}}) {
    SCOPED_TRACE(fmt::format("{} heads of {}", heads, f));
    const Index d = heads * f;
    for (const Index block : {1, 4, 30})
      expect_cpu_and_same_bits(
          make_case({{9, 19, 2 * d + 3}, {heads * block, f}}, [d](Graph& g, const auto& in) {
            return std::vector<Tensor>{block_rows(g, in[0].columns(0, d), in[1]),
                                       block_rows(g, in[0].columns(d + 3, d), in[1])};
          }));
    for (const Index memory : {1, 3})
      expect_cpu_and_same_bits(make_case({{19, 5, d}, {2 * heads * memory, f}},
                                         [count = heads * memory](Graph& g, const auto& in) {
                                           return std::vector<Tensor>{with_memory(
                                               g, in[0], in[1].row_range(count, count))};
                                         }));
    expect_cpu_and_same_bits(
        make_case({{2, 33, 3 * heads}, {2, 33, d}, {2, 33, d}}, [](Graph& g, const auto& in) {
          return std::vector<Tensor>{combine_branches(g, in[0], in[1], in[2], in[1])};
        }));
  }
}

struct Heads {
  Index heads, kv_heads, f, length, block, memory, choices, labels;
};

GroupedAttentionOptions options_of(const Heads& h, Visible visible) {
  GroupedAttentionOptions o{.heads = h.heads, .kv_heads = h.kv_heads};
  o.visible = visible;
  o.memory = h.memory;
  o.block = h.block;
  o.back = 11;
  o.ahead = 3;
  o.choice_groups = h.heads;
  o.at_labels = h.labels > 0;
  return o;
}

const Heads kHeads[] = {{1, 1, 4, 19, 3, 0, 2, 0},   {2, 1, 33, 40, 4, 2, 3, 0},
                        {4, 2, 32, 140, 8, 1, 4, 0}, {2, 1, 64, 70, 8, 1, 4, 40},
                        {1, 1, 128, 70, 8, 1, 4, 0}, {2, 1, 130, 21, 2, 3, 12, 5},
                        {1, 1, 520, 9, 2, 1, 2, 0}};

TEST_F(CudaSelection, AttentionOverWhatIsVisible) {
  for (const Heads& h : kHeads) {
    SCOPED_TRACE(fmt::format("{} heads of {}", h.heads, h.f));
    const Index kv = h.kv_heads * h.f, queries = h.labels > 0 ? h.labels : h.length;
    const std::vector<Index> q = {2, queries, h.heads * h.f}, keys = {2, h.length, 2 * kv + 1},
                             blocks = {2, h.memory + h.length / h.block, kv};
    const HostBatch batch = labelled(2, h.length, h.labels);
    const auto of_tokens = [&h, kv](Graph& g, const auto& in, Visible visible, auto... chosen) {
      return std::vector<Tensor>{grouped_attention(g, in[0], in[1].columns(0, kv),
                                                   in[1].columns(kv + 1, kv),
                                                   options_of(h, visible), chosen...)};
    };
    const auto window = [&](Graph& g, const auto& in) { return of_tokens(g, in, Visible::band); };
    // Twice: the gradients of one are added to those of the other.
    const auto compressed = [&](Graph& g, const auto& in) {
      const GroupedAttentionOptions o = options_of(h, Visible::blocks);
      return std::vector<Tensor>{grouped_attention(g, in[0], in[1], in[2], o),
                                 grouped_attention(g, in[0], in[2], in[1], o)};
    };
    const auto fine = [&](Graph& g, const auto& in) {
      const Tensor chosen =
          choose_blocks(g, in[0], in[2], options_of(h, Visible::blocks), h.choices);
      return of_tokens(g, in, Visible::chosen, chosen);
    };
    expect_cpu_and_same_bits(make_case({q, keys}, window, batch));
    expect_cpu_and_same_bits(make_case({q, blocks, blocks}, compressed, batch));
    expect_cpu_and_same_bits(make_case({q, keys, blocks}, fine, batch));
  }
}

TEST_F(CudaSelection, ChoosesTheSameOfEqualBlocks) {
  for (const Heads& h : kHeads) {
    SCOPED_TRACE(fmt::format("{} heads of {}", h.heads, h.f));
    const Index queries = h.labels > 0 ? h.labels : h.length;
    const OpCase c = make_case(
        {{2, queries, h.heads * h.f}, {2, h.memory + h.length / h.block, h.kv_heads * h.f}},
        [&h](Graph& g, const auto& in) {
          return std::vector<Tensor>{
              choose_blocks(g, in[0], in[1], options_of(h, Visible::blocks), h.choices)};
        },
        labelled(2, h.length, h.labels));
    expect_choices_of_the_cpu(c, in_quarters(c));
  }
}

}  // namespace
}  // namespace recallbench::testing
