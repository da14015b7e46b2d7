#include "controller/assertions/band.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/durations.h"

namespace squall {
namespace {

// What counts as far outside: 1.5 times the band.
constexpr double kFar = 1.5;
// Shares are sums of floating point: exactly on the limit is within it.
constexpr double kRounding = 1e-9;

double LatencyLimit(const Recovery& spec, double median_ns) {
  return std::max(spec.latency_factor() * median_ns,
                  median_ns + static_cast<double>(Nanos(spec.latency_slack())));
}

bool TooManyErrors(const Window& window, const Band& band, double times) {
  const double allowed = std::max(1.0, static_cast<double>(window.requests) * band.error_percent / 100);
  return static_cast<double>(window.errors) > times * allowed + kRounding;
}

bool TooSlow(const Window& window, const Band& band, double times) {
  if (window.waited == 0) return false;
  return static_cast<double>(window.p50_ns) > times * band.p50_ns + kRounding ||
         static_cast<double>(window.p95_ns) > times * band.p95_ns + kRounding;
}

// How many times over its limit a figure is.
double Excess(double value, double limit) {
  if (value <= limit) return 0;
  return limit > 0 ? value / limit : std::numeric_limits<double>::infinity();
}

enum class Run { kComplete, kRefuted, kPending };

// Whether a run begins at `first`. ENSURES: *end is one past its last window when it is complete.
Run RunFrom(const std::vector<Standing>& standings, size_t first, size_t needed, size_t* end) {
  size_t judged = 0;
  size_t out = 0;
  for (size_t i = first; i < standings.size(); ++i) {
    switch (standings[i]) {
      case Standing::kLeftOut:
      case Standing::kHungUp:
        continue;
      case Standing::kEmpty:
        return Run::kRefuted;
      case Standing::kOut:
      case Standing::kFarOut:
        if (++out > 1) return Run::kRefuted;
        break;
      case Standing::kIn:
        break;
    }
    if (++judged == needed) {
      *end = i + 1;
      return Run::kComplete;
    }
  }
  return Run::kPending;
}

// The first of three windows in a row that are far out of band, from `first` on.
std::optional<size_t> RelapseFrom(const std::vector<Standing>& standings, size_t first) {
  size_t in_a_row = 0;
  size_t began = 0;
  for (size_t i = first; i < standings.size(); ++i) {
    if (standings[i] == Standing::kLeftOut || standings[i] == Standing::kHungUp) continue;
    if (standings[i] != Standing::kFarOut && standings[i] != Standing::kEmpty) {
      in_a_row = 0;
      continue;
    }
    if (in_a_row++ == 0) began = i;
    if (in_a_row == 3) return began;
  }
  return std::nullopt;
}

}  // namespace

Band BandOf(const Recovery& spec, const Steady& steady, const Baseline& baseline) {
  Band band;
  band.p50_ns = LatencyLimit(spec, baseline.p50_ns);
  band.p95_ns = LatencyLimit(spec, baseline.p95_ns);
  band.error_percent = std::max(baseline.error_percent + spec.errors_slack(), steady.errors());
  band.baseline_ok_percent = baseline.ok_percent;
  band.ok_percent = baseline.ok_percent * spec.goodput() / 100;
  band.far_ok_percent = baseline.ok_percent * std::max(0.0, 1 - kFar * (1 - spec.goodput() / 100));
  return band;
}

Standing StandingOf(const Window& window, const Band& band) {
  if (window.empty()) return Standing::kEmpty;
  if (TooSlow(window, band, kFar) || TooManyErrors(window, band, kFar) ||
      window.OkPercent() < band.far_ok_percent - kRounding) {
    return Standing::kFarOut;
  }
  if (TooSlow(window, band, 1) || TooManyErrors(window, band, 1) ||
      window.OkPercent() < band.ok_percent - kRounding) {
    return Standing::kOut;
  }
  return Standing::kIn;
}

Standing StandingOf(const Window& window, const Window& untouched, const Band& band) {
  if (window.left_out) return Standing::kLeftOut;
  const Standing standing = StandingOf(window, band);
  if (!window.stalled || standing == Standing::kIn) return standing;
  if (untouched.left_out) return Standing::kLeftOut;
  const Standing without = StandingOf(untouched, band);
  return without == Standing::kOut || without == Standing::kFarOut ? without : Standing::kLeftOut;
}

Band LaterBy(int64_t ns, Band band) {
  band.p50_ns += static_cast<double>(ns);
  band.p95_ns += static_cast<double>(ns);
  return band;
}

std::string WorstSeries(const Window& window, const Band& band) {
  if (window.empty()) return "no request was sent";
  double worst = 0;
  std::string text;
  auto consider = [&](double excess, const std::string& words) {
    if (excess <= worst) return;
    worst = excess;
    text = words;
  };
  if (window.OkPercent() < band.ok_percent - kRounding) {
    consider(Excess(band.ok_percent, window.OkPercent()),
             absl::StrCat("goodput ", HumanPercent(100 * window.OkPercent() / band.baseline_ok_percent),
                          " of baseline (", HumanPercent(100 * band.ok_percent / band.baseline_ok_percent),
                          " needed)"));
  }
  if (TooManyErrors(window, band, 1)) {
    consider(Excess(window.ErrorPercent(), band.error_percent),
             absl::StrCat(HumanPercent(window.ErrorPercent()), " errors (at most ",
                          HumanPercent(band.error_percent), ")"));
  }
  if (window.waited > 0) {
    for (const auto& [name, value_ns, limit_ns] :
         {std::tuple("p95", window.p95_ns, band.p95_ns), std::tuple("p50", window.p50_ns, band.p50_ns)}) {
      consider(Excess(static_cast<double>(value_ns), limit_ns),
               absl::StrCat(name, " ", HumanNanos(value_ns), " (at most ",
                            HumanNanos(static_cast<int64_t>(limit_ns)), ")"));
    }
  }
  return text;
}

Course Follow(const std::vector<Standing>& standings, size_t needed) {
  Course course;
  size_t from = 0;
  while (true) {
    for (size_t i = from; i < standings.size() && !course.recovered && !course.pending; ++i) {
      if (standings[i] != Standing::kIn) continue;
      size_t end = 0;
      switch (RunFrom(standings, i, needed, &end)) {
        case Run::kComplete:
          course.recovered = i;
          course.run_end = end;
          break;
        case Run::kPending:
          course.pending = i;
          break;
        case Run::kRefuted:
          break;
      }
    }
    if (!course.recovered) return course;
    const std::optional<size_t> relapse = RelapseFrom(standings, *course.recovered);
    if (!relapse) return course;
    course.relapses.push_back(*relapse);
    course.recovered.reset();
    from = *relapse;
  }
}

}  // namespace squall
