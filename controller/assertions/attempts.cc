#include "controller/assertions/attempts.h"

#include <algorithm>
#include <string>

namespace squall {
namespace {

// Entries of a map of vectors; nothing for a name that it does not have.
template <typename Map>
const typename Map::mapped_type& ListOf(const Map& map, absl::string_view name) {
  static const typename Map::mapped_type kNone;
  const auto found = map.find(std::string(name));
  return found == map.end() ? kNone : found->second;
}

void SumUp(std::vector<double>& bins) {
  for (size_t i = 1; i < bins.size(); ++i) bins[i] += bins[i - 1];
}

bool IsFrom(const Call& call, std::optional<uint32_t> source) { return !source || call.source_pid == *source; }

int64_t RefusedOf(const EdgeStats& stats, std::optional<uint32_t> source) {
  if (!source) return stats.refused();
  const auto found = stats.refused_by().find(*source);
  return found == stats.refused_by().end() ? 0 : found->second;
}

int64_t ConnectsOf(const EdgeStats& stats, std::optional<uint32_t> source) {
  if (!source) return stats.attempts();
  const auto found = stats.attempts_by().find(*source);
  return found == stats.attempts_by().end() ? 0 : found->second;
}

}  // namespace

bool IsCall(CallResult result) {
  switch (result) {
    case ANSWERED:
    case FAILED:
    case CALLER_LEFT:
    case PEER_LEFT:
    case STILL_OPEN:
      return true;
    default:
      return false;
  }
}

bool IsFailedCall(CallResult result) {
  return result == FAILED || result == CALLER_LEFT || result == PEER_LEFT || result == CONNECT_REFUSED;
}

Attempts::Attempts(const Timeline& timeline, absl::string_view edge, absl::string_view load, int64_t begin_ns,
                   int64_t end_ns, std::optional<uint32_t> source, bool by_connects)
    : begin_ns_(begin_ns) {
  const auto bins = static_cast<size_t>(std::max<int64_t>(end_ns - begin_ns, 0) / kBinNs);
  calls_.resize(bins + 1);
  answered_.resize(bins + 1);
  requests_.resize(bins + 1);
  std::vector<double> refused_calls(bins + 1);
  std::vector<double> refused_counts(bins + 1);
  auto add = [&](std::vector<double>& to, int64_t at_ns, double count) {
    if (at_ns < begin_ns) return;
    const auto bin = static_cast<size_t>((at_ns - begin_ns) / kBinNs);
    if (bin < bins) to[bin + 1] += count;
  };
  for (const Request& request : ListOf(timeline.requests, load)) add(requests_, request.sent_ns, 1);
  for (const Call& call : ListOf(timeline.calls, edge)) {
    if (!IsFrom(call, source)) continue;
    if (IsCall(call.result)) add(calls_, call.start_ns, 1);
    if (call.result == ANSWERED) add(answered_, call.start_ns, 1);
    if (call.result == CONNECT_REFUSED) add(refused_calls, call.start_ns, 1);
  }
  const std::vector<EdgeStats>& stats = ListOf(timeline.edge_stats, edge);
  std::vector<double> connects(bins + 1);
  for (size_t i = 1; i < stats.size(); ++i) {
    const int64_t from_ns = stats[i - 1].at_ns();
    const auto shares = static_cast<double>(std::max<int64_t>((stats[i].at_ns() - from_ns) / kBinNs, 1));
    auto spread = [&](std::vector<double>& to, int64_t count) {
      for (double share = 0; count > 0 && share < shares; ++share) {
        add(to, from_ns + static_cast<int64_t>(share) * kBinNs, static_cast<double>(count) / shares);
      }
    };
    spread(refused_counts, RefusedOf(stats[i], source) - RefusedOf(stats[i - 1], source));
    if (by_connects) spread(connects, ConnectsOf(stats[i], source) - ConnectsOf(stats[i - 1], source));
  }
  // Some of those counted are seen as calls too.
  for (size_t i = 1; i <= bins; ++i) {
    calls_[i] = std::max(calls_[i] + std::max(refused_calls[i], refused_counts[i]), connects[i]);
  }
  SumUp(calls_);
  SumUp(answered_);
  SumUp(requests_);
}

Refusals RefusalsWithin(const Timeline& timeline, absl::string_view edge, int64_t begin_ns, int64_t end_ns,
                        std::optional<uint32_t> source) {
  Refusals counted;
  const std::vector<EdgeStats>& stats = ListOf(timeline.edge_stats, edge);
  for (size_t i = 1; i < stats.size(); ++i) {
    const int64_t count = RefusedOf(stats[i], source) - RefusedOf(stats[i - 1], source);
    if (count <= 0 || stats[i].at_ns() <= begin_ns || stats[i - 1].at_ns() >= end_ns) continue;
    counted.count += count;
    if (!counted.first_ns) counted.first_ns = stats[i].at_ns();
  }
  Refusals seen;
  for (const Call& call : ListOf(timeline.calls, edge)) {
    if (call.result != CONNECT_REFUSED || !IsFrom(call, source)) continue;
    if (call.start_ns < begin_ns || call.start_ns > end_ns) continue;
    ++seen.count;
    if (!seen.first_ns) seen.first_ns = call.end_ns;
  }
  counted.count = std::max(counted.count, seen.count);
  if (seen.first_ns && (!counted.first_ns || *seen.first_ns < *counted.first_ns))
    counted.first_ns = seen.first_ns;
  return counted;
}

bool ConnectsCounted(const Timeline& timeline, absl::string_view edge) {
  const std::vector<EdgeStats>& stats = ListOf(timeline.edge_stats, edge);
  return std::any_of(stats.begin(), stats.end(), [](const EdgeStats& each) { return each.attempts() > 0; });
}

Refusals ConnectsWithin(const Timeline& timeline, absl::string_view edge, int64_t begin_ns, int64_t end_ns,
                        std::optional<uint32_t> source) {
  Refusals tried;
  const std::vector<EdgeStats>& stats = ListOf(timeline.edge_stats, edge);
  for (size_t i = 1; i < stats.size(); ++i) {
    const int64_t count = ConnectsOf(stats[i], source) - ConnectsOf(stats[i - 1], source);
    if (count <= 0 || stats[i].at_ns() <= begin_ns || stats[i - 1].at_ns() >= end_ns) continue;
    if (stats[i].at_ns() > end_ns) break;  // they may have come afterwards
    if (!tried.first_ns) tried.first_ns = stats[i].at_ns();
    if (stats[i - 1].at_ns() >= begin_ns) tried.count += count;
  }
  return tried;
}

int64_t CountedBy(const Timeline& timeline, absl::string_view edge, int64_t begin_ns, int64_t at_ns, bool by_connects) {
  const auto count = [&](const EdgeStats& stats) { return by_connects ? stats.attempts() : stats.refused(); };
  int64_t before = 0;
  std::optional<int64_t> told_ns;
  for (const EdgeStats& stats : ListOf(timeline.edge_stats, edge)) {
    if (stats.at_ns() < begin_ns) before = count(stats);
    if (stats.at_ns() < at_ns) continue;
    if (told_ns) return stats.at_ns();
    if (count(stats) > before) told_ns = stats.at_ns();
  }
  return told_ns.value_or(at_ns);
}

}  // namespace squall
