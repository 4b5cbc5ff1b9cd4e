#include "tasks/mqar/params.h"

#include <fmt/format.h>

namespace recallbench {
namespace {

/// `filler`, and `random_non_queries`, the reference's spelling of its first two values. Either may
/// be given; both only if they agree. Each one's default follows the other, so that both spellings
/// resolve to the same parameters.
Filler read_filler(Options& options) {
  const std::vector<std::string> names = {"zero", "uniform", "no_collision"};
  const char* help =
      "tokens between queries: zero, uniform over [0, V), or no_collision: uniform "
      "without this example's keys";
  const char* compat_help = "the reference's spelling of filler: false is zero, true is uniform";
  std::string filler;
  bool random = true;
  if (options.has("filler")) {
    filler = options.text("filler", "uniform", names, help);
    random = options.boolean("random_non_queries", filler != "zero", compat_help);
  } else {
    random = options.boolean("random_non_queries", true, compat_help);
    filler = options.text("filler", random ? "uniform" : "zero", names, help);
  }
  if (random != (filler != "zero")) {
    options.reject("random_non_queries",
                   fmt::format("contradicts filler = \"{}\": false means zero fillers, true random "
                               "ones; give only one of the two",
                               filler));
  }
  return filler == "zero" ? Filler::zero
                          : (filler == "uniform" ? Filler::uniform : Filler::no_collision);
}

void check_rules(const Options& options, const MqarParams& p) {
  if (p.input_seq_len % 2 != 0)
    options.reject("input_seq_len", fmt::format("must be even, came {}", p.input_seq_len));
  if (p.vocab_size <= p.input_seq_len) {
    options.reject("vocab_size", fmt::format("must be greater than input_seq_len: {} <= {}",
                                             p.vocab_size, p.input_seq_len));
  }
  const std::int64_t needed = 2 * p.num_kv_pairs * (p.num_passes + 1);
  if (needed > p.input_seq_len) {
    options.reject(
        "num_kv_pairs",
        fmt::format("must satisfy 2 * num_kv_pairs * (num_passes + 1) <= input_seq_len: "
                    "2 * {} * {} = {} > {}; take fewer pairs or passes, or longer inputs",
                    p.num_kv_pairs, p.num_passes + 1, needed, p.input_seq_len));
  }
  // These rules leave enough keys and values: n <= L / 4 < V / 4.
}

}  // namespace

MqarParams read_mqar_params(Options& options) {
  constexpr std::int64_t kLongest = 1 << 20;
  MqarParams params;
  params.vocab_size = options.integer("vocab_size", 8192, 4, 1 << 24,
                                      "V; keys are [1, V/2), values [V/2, V), 0 is blank");
  params.input_seq_len = options.integer("input_seq_len", 64, 4, kLongest, "L, even");
  params.num_kv_pairs =
      options.integer("num_kv_pairs", 8, 1, kLongest, "n: pairs to remember, all are asked");
  params.power_a = options.number("power_a", 0.01, 1e-6, 16,
                                  "query slot i is drawn with weight i^(power_a - 1)");
  params.num_passes =
      options.integer("num_passes", 1, 1, kLongest, "how often the pairs are shown");
  params.filler = read_filler(options);
  check_rules(options, params);
  return params;
}

}  // namespace recallbench
