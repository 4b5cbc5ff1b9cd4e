#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/statistics.h"
#include "analysis/summary.h"

namespace recallbench {

/// What was chosen where the settings of model points differ; in nothing where there is one
/// setting.
struct Choice {
  bool learning_rate = false, weight_decay = false;
  bool other = false;  ///< settings of one learning rate and one weight decay differ
};

/// "learning rate and other settings"; empty where nothing was chosen.
std::string choice_text(const Choice& choice);

/// A model at one size on one task, with its hyper-parameters chosen: a point of the figure.
struct ModelPoint {
  std::string task, family, model;  ///< family = model.name
  std::int64_t d_model = 0;
  std::string precision;
  std::optional<std::int64_t> state_bytes;  ///< measured; none if no run got so far
  double published_bytes = SummaryRow::kNone;
  std::optional<std::int64_t> state_length;
  double chance = SummaryRow::kNone;

  bool has_result = false;  ///< some setting has a finished run; else all below is empty
  double learning_rate = SummaryRow::kNone;
  double weight_decay = SummaryRow::kNone;
  Statistics valid;   ///< validation accuracy over the seeds of the chosen setting
  Statistics result;  ///< the reported column over the same seeds
  std::vector<std::uint64_t> seeds;
  std::vector<std::string> run_ids;  ///< as `seeds`
  bool incomplete = false;  ///< a seed that this point has elsewhere is missing or did not end

  std::int64_t runs = 0;  ///< of all settings
  Choice choice;
  std::int64_t diverged = 0, failed = 0;  ///< of `runs`; failed: neither done nor diverged

  double measured_bytes() const;  ///< state_bytes; NaN for none
};

/// Whether summary.csv can be asked for `column`: "test", "valid" or a slice column.
bool is_result_column(const std::string& column);

/// Groups runs into model points (in the order in which they first appear) and chooses, in each,
/// the setting (learning rate and whatever else but the seed differs) with the highest mean over
/// seeds of the overall validation accuracy; then reports `column` over its seeds.
///
/// Only runs with status "done" and a validation accuracy count. A setting in which a seed of the
/// point is missing, diverged or failed loses against any in which none is: surviving seeds must
/// not beat a full set. Among incomplete ones more seeds win. Ties go to the lower validation loss,
/// then to the smaller learning rate, then to the smaller weight decay. Throws Error(io) where two
/// runs have one setting and seed, or runs of one point report different states.
std::vector<ModelPoint> select_points(const std::vector<SummaryRow>& rows,
                                      const std::string& column = "test");

}  // namespace recallbench
