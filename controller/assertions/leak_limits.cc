#include "controller/assertions/leak_limits.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/text.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

constexpr size_t kFewestSteps = 4;
constexpr int64_t kMiB = 1024 * 1024;

bool IsBytes(Held held) { return held == Held::kHeap || held == Held::kRss; }

template <typename Growth>
Allowance Asked(Held held, bool asked, const Growth& growth, int64_t at_most, double share) {
  return asked ? Allowance{held, true, growth.at_most(), growth.share()} : Allowance{held, false, at_most, share};
}

}  // namespace

int64_t Allowance::MoreThan(int64_t before) const {
  return std::max(at_most, static_cast<int64_t>(share / 100 * static_cast<double>(before)));
}

std::vector<Allowance> AllowancesOf(const NoLeak& spec) {
  return {Asked(Held::kGoroutines, spec.has_goroutines(), spec.goroutines(), 10, 5),
          Asked(Held::kHeap, spec.has_heap(), spec.heap(), 8 * kMiB, 10),
          Asked(Held::kFds, spec.has_fds(), spec.fds(), 5, 2),
          Asked(Held::kCloseWait, spec.has_close_wait(), spec.close_wait(), 2, 0),
          Asked(Held::kEstablished, spec.has_established(), spec.established(), 5, 5),
          // Go's runtime keeps every thread that it once needed, and so do pools: a busy machine alone makes some more.
          Asked(Held::kThreads, spec.has_threads(), spec.threads(), 16, 10),
          Asked(Held::kRss, spec.has_rss(), spec.rss(), 16 * kMiB, 10)};
}

std::optional<int64_t> AmountOf(Held held, const ServiceSample& sample) {
  // Every process has a thread, memory and descriptors, and every Go program a goroutine and a heap: none means not seen.
  const auto seen = [](int64_t amount) { return amount > 0 ? std::optional(amount) : std::nullopt; };
  switch (held) {
    case Held::kGoroutines:
      return seen(sample.goroutines());
    case Held::kHeap:
      return seen(sample.heap_bytes());
    case Held::kFds:
      return seen(sample.fds());
    case Held::kCloseWait:
      return sample.fds() > 0 ? std::optional<int64_t>(sample.close_wait()) : std::nullopt;
    case Held::kEstablished:
      return sample.fds() > 0 ? std::optional<int64_t>(sample.established()) : std::nullopt;
    case Held::kThreads:
      return seen(sample.threads());
    case Held::kRss:
      return seen(sample.rss_bytes());
  }
  return std::nullopt;
}

std::string NameOf(Held held) {
  switch (held) {
    case Held::kGoroutines:
      return "goroutines";
    case Held::kHeap:
      return "heap";
    case Held::kFds:
      return "fds";
    case Held::kCloseWait:
      return "connections in CLOSE_WAIT";
    case Held::kEstablished:
      return "established connections";
    case Held::kThreads:
      return "threads";
    case Held::kRss:
      return "RSS";
  }
  return "";
}

std::string AmountText(Held held, double amount) {
  return IsBytes(held) ? HumanBytes(static_cast<int64_t>(amount)) : Grouped(static_cast<int64_t>(amount));
}

std::string EachText(Held held, double each) {
  if (IsBytes(held)) return absl::StrCat(HumanBytes(static_cast<int64_t>(each)), " of ", NameOf(held));
  const std::string figure = absl::StrFormat("%.2f", each);
  if (figure != "1.00") return absl::StrCat(figure, " ", NameOf(held));
  switch (held) {
    case Held::kCloseWait:
      return "1.00 connection in CLOSE_WAIT";
    default:
      return absl::StrCat(figure, " ", NameOf(held).substr(0, NameOf(held).size() - 1));
  }
}

bool RisesLikeALeak(const std::vector<int64_t>& plateaus, const Allowance& allowance) {
  if (plateaus.size() < kFewestSteps + 1) return false;
  const size_t steps = plateaus.size() - 1;
  const int64_t allowed = allowance.MoreThan(plateaus.front());
  const int64_t least = std::max<int64_t>(1, allowed / 20);
  size_t rises = 0;
  for (size_t i = 0; i < steps; ++i) rises += plateaus[i + 1] - plateaus[i] >= least;
  const auto rise = static_cast<double>(plateaus.back() - plateaus.front());
  const size_t half = (steps + 1) / 2;
  const auto late = static_cast<double>(plateaus.back() - plateaus[steps - half]);
  const bool goes_on = late / static_cast<double>(half) >= 0.75 * rise / static_cast<double>(steps);
  return 5 * rises >= 4 * steps && 2 * rise > static_cast<double>(allowed) && goes_on;
}

}  // namespace squall
