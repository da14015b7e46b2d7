#include "controller/assertions/guardrails.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
// Of this long ago no run is still of interest, and memory is bounded whatever the times are.
constexpr int64_t kMaxSeconds = 100'000;

struct Second {
  int64_t ended = 0;
  int64_t errors = 0;
};

// The whole seconds of the load's requests, by their end.
std::vector<Second> SecondsOf(const std::vector<Request>& requests, int64_t first_ns) {
  std::vector<Second> seconds;
  int64_t last_ns = first_ns;
  for (const Request& request : requests) {
    const int64_t at = (request.end_ns - first_ns) / kSecondNs;
    last_ns = std::max(last_ns, request.end_ns);
    if (request.outcome == ABANDONED || at >= kMaxSeconds) continue;
    if (at >= static_cast<int64_t>(seconds.size())) seconds.resize(static_cast<size_t>(at) + 1);
    ++seconds[static_cast<size_t>(at)].ended;
    seconds[static_cast<size_t>(at)].errors += IsError(request.outcome);
  }
  // Requests come in the order of their end, so that all seconds but the last are whole.
  const auto whole = static_cast<size_t>((last_ns - first_ns) / kSecondNs);
  if (seconds.size() > whole) seconds.resize(whole);
  return seconds;
}

}  // namespace

std::string TripErrorRate(const ErrorRate& limit, const Timeline& timeline) {
  const auto requests = timeline.requests.find(limit.load());
  if (requests == timeline.requests.end() || requests->second.empty()) return "";
  const int64_t first_ns =
      std::min_element(requests->second.begin(), requests->second.end(),
                       [](const Request& a, const Request& b) { return a.intended_ns < b.intended_ns; })
          ->intended_ns;
  const std::vector<Second> seconds = SecondsOf(requests->second, first_ns);
  const int64_t for_ns = Nanos(limit.for_());

  std::optional<size_t> since;
  Second sum;
  for (size_t i = 0; i < seconds.size(); ++i) {
    if (seconds[i].ended == 0) continue;  // no break, and no proof either
    if (100.0 * static_cast<double>(seconds[i].errors) <=
        limit.above() * static_cast<double>(seconds[i].ended)) {
      since.reset();
      continue;
    }
    if (!since) {
      since = i;
      sum = Second();
    }
    sum.ended += seconds[i].ended;
    sum.errors += seconds[i].errors;
    const int64_t lasted_ns = static_cast<int64_t>(i + 1 - *since) * kSecondNs;
    if (lasted_ns < for_ns) continue;
    const double percent = 100.0 * static_cast<double>(sum.errors) / static_cast<double>(sum.ended);
    return absl::StrCat(HumanPercent(percent), " of the ", Counted(sum.ended, "request"), " of load ",
                        limit.load(), " failed, and more than ", HumanPercent(limit.above()),
                        " in each second for ", HumanNanos(lasted_ns));
  }
  return "";
}

std::string Trip(const Guardrail& guardrail, const Timeline& timeline) {
  switch (guardrail.kind_case()) {
    case Guardrail::kErrorRate:
      return TripErrorRate(guardrail.error_rate(), timeline);
    case Guardrail::KIND_NOT_SET:
      return "";
  }
  return "";
}

}  // namespace squall
