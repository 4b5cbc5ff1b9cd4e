#include "analysis/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace recallbench {
namespace {

constexpr double kSameState = 0.03;
constexpr std::int64_t kPublishedVocabulary = 8192;

double distance(const ModelPoint& point, const PublishedPoint& published) {
  return std::abs(published.state_bytes / point.published_bytes - 1);
}

}  // namespace

std::vector<ComparedPoint> compare_with_published(const std::vector<ModelPoint>& points,
                                                  const std::vector<PublishedPoint>& published,
                                                  double tolerance) {
  std::vector<std::string> families;
  for (const ModelPoint& point : points)
    if (std::find(families.begin(), families.end(), point.family) == families.end())
      families.push_back(point.family);
  std::vector<ComparedPoint> compared;
  for (const PublishedPoint& theirs : published) {
    const auto family = family_of(theirs.series, families);
    if (!family) continue;
    const ModelPoint* nearest = nullptr;
    for (const ModelPoint& point : points) {
      if (point.family != families[*family] || !point.has_result) continue;
      if (point.state_length != kPublishedLength) continue;
      if (!(distance(point, theirs) <= kSameState)) continue;  // a state that is not known is NaN
      const auto place = [&](const ModelPoint& p) {
        return std::pair(distance(p, theirs), -p.valid.mean);
      };
      if (nearest == nullptr || place(point) < place(*nearest)) nearest = &point;
    }
    if (nearest == nullptr) continue;
    const double here = nearest->valid.mean;
    compared.push_back({nearest->family, nearest->model, nearest->published_bytes, theirs.accuracy,
                        here, here >= theirs.accuracy - tolerance});
  }
  std::stable_sort(
      compared.begin(), compared.end(), [&](const ComparedPoint& a, const ComparedPoint& b) {
        const auto place = [&](const ComparedPoint& p) {
          return std::find(families.begin(), families.end(), p.family);
        };
        return place(a) != place(b) ? place(a) < place(b) : a.state_bytes < b.state_bytes;
      });
  return compared;
}

std::vector<std::string> differences_from_published(const std::vector<SummaryRow>& rows,
                                                    const std::string& y) {
  std::vector<std::string> lines;
  const auto any = [&](const auto& differs) {
    return std::any_of(rows.begin(), rows.end(), differs);
  };
  if (y != "test")
    lines.push_back(fmt::format("they are accuracies on test data, the others {}", y));
  if (any([](const SummaryRow& row) { return row.task.find("mqar") == std::string::npos; }))
    lines.push_back("they are of MQAR, some of the others are not");
  if (any([](const SummaryRow& row) { return row.vocab_size != kPublishedVocabulary; }))
    lines.push_back(
        fmt::format("they are of {} words, some of the others are not", kPublishedVocabulary));
  if (any([](const SummaryRow& row) {
        return row.state_length && *row.state_length != kPublishedLength;
      }))
    lines.push_back(fmt::format("they were tested up to {} tokens, some of the others were not",
                                kPublishedLength));
  return lines;
}

Table comparison_table(const std::vector<ComparedPoint>& points) {
  Table table{{"model", "state_size", "published", "here", "difference", "holds"}, {}};
  for (const ComparedPoint& p : points)
    table.rows.push_back({p.model, static_cast<std::int64_t>(p.state_bytes), p.published, p.here,
                          p.here - p.published, p.holds});
  return table;
}

}  // namespace recallbench
