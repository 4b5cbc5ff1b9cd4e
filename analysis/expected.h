#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/selection.h"
#include "analysis/table.h"

namespace recallbench {

/// The accuracy that a model of a recipe should reach: a row of `<recipe>.expected.csv`.
struct ExpectedPoint {
  std::string family;                   ///< model.name
  std::optional<std::int64_t> d_model;  ///< none: any of that state, the best of them counts
  std::int64_t state_length = 0;        ///< tokens of the longest test
  double state_size = 0;                ///< bytes, by the published formula
  double accuracy = 0;                  ///< on test data, in [0, 1]
  double tolerance = 0;                 ///< how far below it a result may lie
  std::string source;                   ///< where the accuracy comes from
};

/// Reads CSV with exactly the columns model.name, model.d_model, state_length, state_size,
/// accuracy, tolerance and source; none but the header where nothing is known. Throws Error(io):
/// `source:line: ...`, about two rows of one point too.
std::vector<ExpectedPoint> read_expected(std::string_view text, const std::string& source);

/// read_expected of a file.
std::vector<ExpectedPoint> load_expected(const std::string& path);

enum class Verdict { missing, below, holds, above };

/// An expected point and what the results have in its place.
struct JudgedPoint {
  ExpectedPoint expected;
  std::string model;  ///< label of the model point; the family where it is missing
  double measured;    ///< NaN where it is missing
  Verdict verdict;    ///< above: by more than the tolerance
};

/// Each expected point beside the accuracy, on test data, of the model point it names. A point that
/// is not among `points`, or has no result yet, is missing. In the order of `expected`.
std::vector<JudgedPoint> judge(const std::vector<ModelPoint>& points,
                               const std::vector<ExpectedPoint>& expected);

/// sweep, model, d_model, state_size, measured, expected, tolerance, verdict, source.
Table judgement_table(const std::string& sweep, const std::vector<JudgedPoint>& points);

}  // namespace recallbench
