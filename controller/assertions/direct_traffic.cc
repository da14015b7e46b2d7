#include "controller/assertions/direct_traffic.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/text.h"
#include "controller/assertions/words.h"
#include "controller/network_faults.h"

namespace squall {
namespace {

// More than this share of an edge's bytes beside the relay, in percent: the fault is not judged.
constexpr double kMostBeside = 50;

int64_t DirectBytes(const EdgeStats& stats) { return stats.direct_bytes_to_dependency() + stats.direct_bytes_to_service(); }
int64_t RelayedBytes(const EdgeStats& stats) { return stats.bytes_to_dependency() + stats.bytes_to_service(); }

// Percent; nullopt when nothing was carried.
std::optional<double> Share(int64_t direct, int64_t relayed) {
  if (direct + relayed <= 0) return std::nullopt;
  return 100.0 * static_cast<double>(direct) / static_cast<double>(direct + relayed);
}

const std::vector<EdgeStats>& StatsOf(const Timeline& timeline, const std::string& edge) {
  static const std::vector<EdgeStats>* const none = new std::vector<EdgeStats>();
  const auto found = timeline.edge_stats.find(edge);
  return found == timeline.edge_stats.end() ? *none : found->second;
}

}  // namespace

std::string DirectTraffic(const Timeline& timeline, const std::string& edge) {
  const std::vector<EdgeStats>& all = StatsOf(timeline, edge);
  int64_t most = 0;
  for (const EdgeStats& stats : all) most = std::max(most, stats.direct_connections());
  if (most == 0) return "";
  const std::optional<double> share = Share(DirectBytes(all.back()), RelayedBytes(all.back()));
  std::string note = absl::StrCat(Counted(most, "connection"), " from before the run carried ",
                                  share ? absl::StrCat(HumanPercent(*share), " of the bytes") : "nothing");
  std::vector<std::string> reached, missed;
  for (const Fault& fault : timeline.header.scenario().faults()) {
    const FaultSpan* span = timeline.FindFault(fault.name());
    if (EdgeOfFault(fault) != edge || span == nullptr) continue;
    if (span->evidence.direct_unreached() > 0) missed.push_back(fault.name());
    if (span->evidence.direct_reached() > 0) reached.push_back(fault.name());
  }
  const char* them = most == 1 ? "it" : "them";
  if (!reached.empty()) absl::StrAppend(&note, "; ", absl::StrJoin(reached, ", "), " reached ", them);
  if (!missed.empty()) absl::StrAppend(&note, "; ", absl::StrJoin(missed, ", "), " did not reach ", them);
  return note;
}

std::optional<Obstacle> DirectGate(const Timeline& timeline, const Fault& fault, const FaultSpan& span) {
  if (span.evidence.direct_unreached() == 0 || !span.injected_ns) return std::nullopt;
  const std::vector<EdgeStats>& all = StatsOf(timeline, EdgeOfFault(fault));
  // Up to the injection: while the fault acts it takes from what it reaches.
  const EdgeStats* before = nullptr;
  for (const EdgeStats& stats : all) {
    if (before == nullptr || stats.at_ns() <= *span.injected_ns) before = &stats;
  }
  if (before == nullptr) return std::nullopt;
  const std::optional<double> share = Share(DirectBytes(*before), RelayedBytes(*before));
  if (!share || *share <= kMostBeside) return std::nullopt;
  return Obstacle{absl::StrCat("fault ", fault.name(), " did not reach ",
                               Counted(span.evidence.direct_unreached(), "connection"), " from before the run, and ",
                               span.evidence.direct_unreached() == 1 ? "it" : "they", " carried ", HumanPercent(*share),
                               " of the bytes of edge ", EdgeOfFault(fault), " until then"),
                  "write `existing: reset` on the edge to have them come back through the relay"};
}

}  // namespace squall
