#include "agent/net/call_headers.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/time/time.h"
#include "agent/net/grpc_text.h"

namespace squall {
namespace {

constexpr absl::string_view kTraceparent = "traceparent";
constexpr absl::string_view kGrpcTimeout = "grpc-timeout";
constexpr size_t kTraceparentSize = 55;
constexpr uint64_t kNumbersEnd = uint64_t{1} << 48;
constexpr size_t kMostDigits = 15;  // of milliseconds

// In lower case, as traceparent has to be.
std::optional<uint64_t> Hex(absl::string_view text) {
  uint64_t value = 0;
  for (const char c : text) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && !(c >= 'a' && c <= 'f')) return std::nullopt;
    value = value << 4 | static_cast<uint64_t>(digit ? c - '0' : c - 'a' + 10);
  }
  return value;
}

}  // namespace

std::optional<TraceOfLoad> ParseTraceparent(absl::string_view value) {
  value = absl::StripAsciiWhitespace(value);
  // Later versions may add to it, after a dash.
  if (value.size() < kTraceparentSize || (value.size() > kTraceparentSize && value[kTraceparentSize] != '-')) return std::nullopt;
  if (value[2] != '-' || value[35] != '-' || value[52] != '-') return std::nullopt;
  const std::optional<uint64_t> version = Hex(value.substr(0, 2)), prefix = Hex(value.substr(3, 16)), number = Hex(value.substr(19, 16)),
                                span = Hex(value.substr(36, 16)), flags = Hex(value.substr(53, 2));
  if (!version || !prefix || !number || !span || !flags) return std::nullopt;
  if (*version == 0xff || (*version == 0 && value.size() > kTraceparentSize) || *span == 0) return std::nullopt;
  if (*prefix == 0 || *number >= kNumbersEnd) return std::nullopt;
  return TraceOfLoad{*prefix, static_cast<int64_t>(*number)};
}

std::optional<int64_t> ParseDeadline(absl::string_view value) {
  value = absl::StripAsciiWhitespace(value);
  const bool plain = !value.empty() && value.size() <= kMostDigits && std::all_of(value.begin(), value.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c));
  });
  int64_t ms = 0;
  if (plain) return absl::SimpleAtoi(value, &ms) ? std::optional(ms) : std::nullopt;
  absl::Duration duration;
  if (!absl::ParseDuration(value, &duration) || duration < absl::ZeroDuration() || duration == absl::InfiniteDuration()) {
    return std::nullopt;
  }
  return absl::ToInt64Milliseconds(absl::Ceil(duration, absl::Milliseconds(1)));
}

void CallHeaders::Add(absl::string_view name, absl::string_view value) {
  if (name == kTraceparent) {
    trace_ = ParseTraceparent(value);
  } else if (name == kGrpcTimeout) {
    grpc_timeout_ms_ = ParseGrpcTimeout(absl::StripAsciiWhitespace(value));
  } else if (!deadline_header_.empty() && name == deadline_header_) {
    deadline_ms_ = ParseDeadline(value);
  }
}

void CallHeaders::Fill(bool grpc, SeenCall& call) const {
  call.trace = trace_;
  call.timeout_ms = deadline_ms_;
  if (!grpc_timeout_ms_ || (!grpc && deadline_header_ != kGrpcTimeout)) return;
  call.timeout_ms = std::min(*grpc_timeout_ms_, call.timeout_ms.value_or(*grpc_timeout_ms_));
}

}  // namespace squall
