#include "controller/assertions/breaker_shape.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/text.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

constexpr int64_t kCallsToTell = 12;
constexpr double kMostOfTheTime = 0.8;
// A slot that is free is taken within this time, where all are wanted.
constexpr int64_t kRefillNs = 10'000'000;
constexpr size_t kParts = 10;
constexpr double kEven = 0.25;  // standard deviation over mean
constexpr size_t kSlices = 6;
constexpr size_t kSlicesWithCalls = 5;

// How long so many calls were in flight, and how many calls took the place of one that had just ended.
struct InFlight {
  std::map<int64_t, int64_t> ns_at;  // by level
  int64_t refills = 0;
  int64_t starts = 0;
};

InFlight InFlightOf(absl::Span<const Call> calls, int64_t from_ns, int64_t to_ns) {
  // An end comes before the start that it made room for.
  std::vector<std::pair<int64_t, int>> changes;
  for (const Call& call : calls) {
    if (call.start_ns >= to_ns || call.end_ns <= from_ns) continue;
    changes.emplace_back(std::max(call.start_ns, from_ns), 1);
    if (call.end_ns < to_ns) changes.emplace_back(call.end_ns, -1);
  }
  std::sort(changes.begin(), changes.end());
  InFlight seen;
  int64_t level = 0;
  int64_t since_ns = from_ns;
  std::vector<int64_t> free_since;  // slots left and not taken again
  for (const auto& [at_ns, change] : changes) {
    seen.ns_at[level] += at_ns - since_ns;
    since_ns = at_ns;
    level += change;
    if (change < 0) {
      free_since.push_back(at_ns);
    } else if (at_ns > from_ns) {
      ++seen.starts;
      if (free_since.empty()) continue;
      if (at_ns - free_since.back() <= kRefillNs) ++seen.refills;
      free_since.pop_back();
    }
  }
  seen.ns_at[level] += to_ns - since_ns;
  return seen;
}

// The level at which, or one below which, it was most of the time, as when slots are filled again as they
// come free.
int64_t FullLevel(const InFlight& seen, int64_t length_ns) {
  for (const auto& [level, ns] : seen.ns_at) {
    const auto below = seen.ns_at.find(level - 1);
    const int64_t beside_ns = below == seen.ns_at.end() ? 0 : below->second;
    if (level > 0 && ns > beside_ns &&
        static_cast<double>(ns + beside_ns) >= kMostOfTheTime * static_cast<double>(length_ns)) {
      return level;
    }
  }
  return 0;
}

// Calls per second where they came evenly; 0: they did not.
double EvenRate(absl::Span<const Call> calls, int64_t from_ns, int64_t to_ns) {
  std::array<double, kParts> counts = {};
  double all = 0;
  for (const Call& call : calls) {
    if (call.start_ns < from_ns || call.start_ns >= to_ns) continue;
    const int64_t part = (call.start_ns - from_ns) * static_cast<int64_t>(kParts) / (to_ns - from_ns);
    ++counts[static_cast<size_t>(part)];
    ++all;
  }
  if (all < kCallsToTell) return 0;
  const double mean = all / kParts;
  double squares = 0;
  for (const double count : counts) squares += (count - mean) * (count - mean);
  if (std::sqrt(squares / kParts) > kEven * mean) return 0;
  return all * 1e9 / static_cast<double>(to_ns - from_ns);
}

}  // namespace

std::string OtherShape(const BreakerScene& scene, int64_t from_ns, int64_t to_ns) {
  if (to_ns <= from_ns) return "";
  const InFlight seen = InFlightOf(scene.calls, from_ns, to_ns);
  if (seen.starts < kCallsToTell) return "";
  const int64_t full = FullLevel(seen, to_ns - from_ns);
  if (full > 0 && static_cast<double>(seen.refills) >= kMostOfTheTime * static_cast<double>(seen.starts)) {
    return absl::StrCat("always ", Grouped(full), " in flight: the shape of a bulkhead or a connection pool");
  }
  const double rate = EvenRate(scene.calls, from_ns, to_ns);
  if (rate == 0) return "";
  return absl::StrCat("evenly ", HumanRate(std::round(rate * 10) / 10), ": the shape of a rate limiter");
}

bool GoesOnEvenly(const BreakerScene& scene, int64_t from_ns, int64_t to_ns) {
  if (to_ns <= from_ns) return false;
  std::array<bool, kSlices> called = {};
  for (const Call& call : scene.calls) {
    if (call.start_ns <= from_ns || call.start_ns >= to_ns) continue;
    called[static_cast<size_t>((call.start_ns - from_ns) * static_cast<int64_t>(kSlices) /
                               (to_ns - from_ns))] = true;
  }
  return static_cast<size_t>(std::count(called.begin(), called.end(), true)) >= kSlicesWithCalls;
}

}  // namespace squall
