#include "agent/load/retries.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"

namespace squall {
namespace {

constexpr int64_t kMillisecond = 1'000'000;

bool IsAllDigits(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isdigit(c); });
}

// The three forms that a recipient must take, https://www.rfc-editor.org/rfc/rfc9110#name-date-time-formats.
std::optional<absl::Time> ParseHttpDate(absl::string_view text) {
  for (const char* format : {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"}) {
    absl::Time time;
    if (absl::ParseTime(format, text, &time, nullptr)) return time;
  }
  return std::nullopt;
}

}  // namespace

std::optional<absl::Duration> ParseRetryAfter(absl::string_view value, absl::Time now) {
  const absl::string_view text = absl::StripAsciiWhitespace(value);
  if (IsAllDigits(text)) {
    int64_t seconds = 0;
    // More digits than fit are for ever.
    return absl::SimpleAtoi(text, &seconds) ? absl::Seconds(seconds) : absl::InfiniteDuration();
  }
  const std::optional<absl::Time> date = ParseHttpDate(text);
  if (!date) return std::nullopt;
  return std::max(*date - now, absl::ZeroDuration());
}

uint32_t RetryAfterColumn(absl::string_view value, absl::Time now) {
  const std::optional<absl::Duration> wait = ParseRetryAfter(value, now);
  if (!wait) return 1;
  // 49 days are for ever.
  const int64_t ms = absl::ToInt64Milliseconds(absl::Ceil(*wait, absl::Milliseconds(1)));
  return static_cast<uint32_t>(std::min<int64_t>(ms, UINT32_MAX - 2)) + 2;
}

std::optional<int64_t> WaitOf(uint32_t column) {
  if (column < 2) return std::nullopt;
  return static_cast<int64_t>(column - 2) * kMillisecond;
}

void Retries::Add(int64_t due_ns) {
  due_ns_.push_back(due_ns);
  if (due_ns_.size() > kKept) due_ns_.pop_front();
}

std::deque<int64_t>::const_iterator Retries::Soonest() const {
  return std::min_element(due_ns_.begin(), due_ns_.end());
}

std::optional<int64_t> Retries::NextNs(int64_t quiet_from_ns, int64_t quiet_until_ns) const {
  if (waiting_ || due_ns_.empty()) return std::nullopt;
  int64_t at_ns = std::max(*Soonest(), quiet_from_ns);
  if (last_sent_ns_ != INT64_MIN) at_ns = std::max(at_ns, last_sent_ns_ + rules_.every_ns);
  if (quiet_until_ns != INT64_MAX && at_ns > quiet_until_ns - rules_.rest_ns) return std::nullopt;
  return at_ns;
}

void Retries::Sent(int64_t at_ns) {
  due_ns_.erase(Soonest());
  last_sent_ns_ = at_ns;
  waiting_ = true;
}

}  // namespace squall
