#include "controller/assertions/stalls.h"

#include <algorithm>
#include <utility>

namespace squall {
namespace {

bool IsSlight(const Stall& stall) { return !stall.service().empty() && 10 * stall.waited_ns() < 3 * stall.length_ns(); }

}  // namespace

Stalls::Stalls(const std::vector<Stall>& stalls, int64_t most_left_out_percent) : Stalls(stalls, most_left_out_percent, false) {
  if (std::none_of(stalls.begin(), stalls.end(), IsSlight)) return;
  with_slight_.reset(new Stalls(stalls, most_left_out_percent, true));
}

Stalls::Stalls(const std::vector<Stall>& stalls, int64_t most_left_out_percent, bool slight_too)
    : most_left_out_percent_(most_left_out_percent) {
  std::vector<std::pair<int64_t, int64_t>> spans;
  spans.reserve(stalls.size());
  for (const Stall& stall : stalls) {
    if (!slight_too && IsSlight(stall)) continue;
    others_too_ = others_too_ || !stall.service().empty();
    spans.emplace_back(stall.start_ns(), stall.start_ns() + stall.length_ns() + kCatchUpNs);
  }
  std::sort(spans.begin(), spans.end());
  for (const auto& [begin, end] : spans) {
    if (!ends_.empty() && begin <= ends_.back()) {
      ends_.back() = std::max(ends_.back(), end);
    } else {
      begins_.push_back(begin);
      ends_.push_back(end);
    }
  }
}

bool Stalls::Touch(int64_t begin_ns, int64_t end_ns) const {
  // The first stall that is not over before `begin_ns`.
  const auto end = std::upper_bound(ends_.begin(), ends_.end(), begin_ns);
  return end != ends_.end() && begins_[static_cast<size_t>(end - ends_.begin())] <= end_ns;
}

std::vector<std::pair<int64_t, int64_t>> Stalls::Spans() const {
  std::vector<std::pair<int64_t, int64_t>> spans;
  for (size_t i = 0; i < begins_.size(); ++i) spans.emplace_back(begins_[i], ends_[i]);
  return spans;
}

int64_t Stalls::Within(int64_t begin_ns, int64_t end_ns) const {
  int64_t within_ns = 0;
  auto at = static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), begin_ns) - ends_.begin());
  for (; at < ends_.size() && begins_[at] < end_ns; ++at) {
    within_ns += std::min(ends_[at], end_ns) - std::max(begins_[at], begin_ns);
  }
  return within_ns;
}

int64_t Stalls::Without(int64_t begin_ns, int64_t end_ns) const {
  return std::max<int64_t>(0, end_ns - begin_ns - Within(begin_ns, end_ns));
}

}  // namespace squall
