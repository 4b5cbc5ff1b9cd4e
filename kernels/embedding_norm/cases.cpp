#include "kernels/embedding/reference.h"
#include "kernels/embedding_norm/embedding_norm.h"
#include "kernels/residual_norm/reference.h"

namespace recallbench {
namespace {

constexpr double kEps = 1e-2;

/// t: table, weight and, where the mean is subtracted, bias.
OpCase embedding_norm_case(Index examples, Index length, Index vocab, Index cols, double p,
                           bool centred) {
  OpCase c;
  c.name = fmt::format("embedding_norm/{},B={},L={},V={},D={},p={}", centred ? "layer" : "rms",
                       examples, length, vocab, cols, p);
  c.inputs = {{vocab, cols}, {1, cols}};
  if (centred) c.inputs.push_back({1, cols});
  c.batch = some_tokens(examples, length, vocab);
  c.build = [=](Graph& g, const std::vector<Tensor>& t) {
    const ResidualNorm out =
        embedding_norm(g, t[0], examples, length, p, t[1],
                       centred ? std::optional<Tensor>(t[2]) : std::nullopt, kEps);
    return std::vector<Tensor>{out.stream, out.normalised};
  };
  c.reference = [p](const std::vector<HostTensor>& t, const HostBatch& batch) {
    HostTensor embedded = embedding_reference(t[0], batch), zero = embedded;
    zero.data.assign(zero.data.size(), 0.0);
    std::vector<HostTensor> residual = {zero, embedded};
    residual.insert(residual.end(), t.begin() + 1, t.end());
    return residual_norm_reference(residual, p, 0, kEps);
  };
  return c;
}

}  // namespace

void append_embedding_norm_cases(std::vector<OpCase>& cases) {
  cases.push_back(embedding_norm_case(2, 9, 11, 5, 0.1, true));
  cases.push_back(embedding_norm_case(2, 9, 11, 5, 0.0, false));
  cases.push_back(embedding_norm_case(3, 17, 20, 70, 0.1, true));
  cases.push_back(embedding_norm_case(2, 32, 40, 64, 0.1, false));
  cases.push_back(embedding_norm_case(2, 32, 40, 132, 0.1, true));
  cases.push_back(embedding_norm_case(5, 61, 3, 12, 0.0, true));  // tokens that own many rows
  OpCase timed = embedding_norm_case(64, 256, 8192, 64, 0.1, true);
  timed.tested = false;
  timed.flops = 10.0 * 64 * 256 * 64;
  cases.push_back(timed);
}

}  // namespace recallbench
