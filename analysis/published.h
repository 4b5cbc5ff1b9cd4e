#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace recallbench {

/// A point of a figure in a paper or repository.
struct PublishedPoint {
  std::string series;
  double state_bytes;  ///< by the source's own formula
  double accuracy;     ///< in [0, 1]
};

/// Reads CSV with the columns series, state_size_bytes and accuracy (others are passed over).
/// Throws Error(io): `source:line: ...`.
std::vector<PublishedPoint> read_published(std::string_view text, const std::string& source);

/// read_published of a file.
std::vector<PublishedPoint> load_published(const std::string& path);

/// The published points that come with the program: results/published/recall-memory-tradeoff.csv
/// in the source tree, or where it is installed. Throws Error(io) if neither is there.
std::string default_published_file();

/// Which of `families` a published series belongs to: compared without case, spaces, dashes and
/// underscores. Of a series "A/B" the last part that names a family decides; none if no part does.
std::optional<std::size_t> family_of(std::string_view series,
                                     const std::vector<std::string>& families);

}  // namespace recallbench
