#include "agent/net/grpc_text.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace squall {
namespace {

constexpr absl::string_view kContentType = "application/grpc";

bool Digits(absl::string_view text, size_t most, int64_t& value) {
  if (text.empty() || text.size() > most) return false;
  for (const char c : text) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return false;
  }
  return absl::SimpleAtoi(text, &value);
}

}  // namespace

bool IsGrpc(absl::string_view content_type) {
  if (!absl::StartsWith(content_type, kContentType)) return false;
  // Not grpc-web, which is another protocol.
  return content_type.size() == kContentType.size() || content_type[kContentType.size()] == '+' ||
         content_type[kContentType.size()] == ';';
}

std::optional<int64_t> ParseGrpcTimeout(absl::string_view text) {
  if (text.empty()) return std::nullopt;
  int64_t value = 0;
  if (!Digits(text.substr(0, text.size() - 1), 8, value)) return std::nullopt;
  switch (text.back()) {
    case 'H':
      return value * 3'600'000;
    case 'M':
      return value * 60'000;
    case 'S':
      return value * 1000;
    case 'm':
      return value;
    case 'u':
      return (value + 999) / 1000;
    case 'n':
      return (value + 999'999) / 1'000'000;
    default:
      return std::nullopt;
  }
}

std::optional<int> ParseGrpcStatus(absl::string_view text) {
  int64_t value = 0;
  if (!Digits(text, 4, value)) return std::nullopt;
  return static_cast<int>(value);
}

bool IsServersFault(int grpc_status) {
  switch (grpc_status) {
    case 2:   // UNKNOWN
    case 4:   // DEADLINE_EXCEEDED
    case 12:  // UNIMPLEMENTED
    case 13:  // INTERNAL
    case 14:  // UNAVAILABLE
    case 15:  // DATA_LOSS
      return true;
    default:
      return false;
  }
}

std::string EncodeGrpcMessage(absl::string_view message) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string text;
  for (const char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte <= 0x7e && byte != '%') {
      text.push_back(c);
    } else {
      text.append({'%', kHex[byte >> 4], kHex[byte & 15]});
    }
  }
  return text;
}

}  // namespace squall
