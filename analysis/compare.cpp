#include "analysis/compare.h"

#include <algorithm>
#include <cmath>

namespace recallbench {
namespace {

constexpr double kSameState = 0.03;
constexpr std::int64_t kPublishedLength = 1024;  // tokens of the longest test

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
      if (nearest == nullptr || distance(point, theirs) < distance(*nearest, theirs))
        nearest = &point;
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

Table comparison_table(const std::vector<ComparedPoint>& points) {
  Table table{{"model", "state_size", "published", "here", "difference", "holds"}, {}};
  for (const ComparedPoint& p : points)
    table.rows.push_back({p.model, static_cast<std::int64_t>(p.state_bytes), p.published, p.here,
                          p.here - p.published, p.holds});
  return table;
}

}  // namespace recallbench
