#pragma once

#include <array>
#include <optional>

#include "absl/strings/string_view.h"

namespace squall {

// The status codes of gRPC by number, as in https://grpc.github.io/grpc/core/md_doc_statuscodes.html.
inline constexpr std::array<absl::string_view, 17> kGrpcCodes = {
    "OK",                  "CANCELLED",          "UNKNOWN",
    "INVALID_ARGUMENT",    "DEADLINE_EXCEEDED",  "NOT_FOUND",
    "ALREADY_EXISTS",      "PERMISSION_DENIED",  "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION", "ABORTED",            "OUT_OF_RANGE",
    "UNIMPLEMENTED",       "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS",           "UNAUTHENTICATED"};
inline constexpr int kLastGrpcCode = static_cast<int>(kGrpcCodes.size()) - 1;

// The number of a code by its name.
inline std::optional<int> GrpcCodeOf(absl::string_view name) {
  for (int code = 0; code <= kLastGrpcCode; ++code) {
    if (kGrpcCodes[static_cast<size_t>(code)] == name) return code;
  }
  return std::nullopt;
}

// Empty for a number that is none.
inline absl::string_view GrpcCodeName(int code) {
  return code >= 0 && code <= kLastGrpcCode ? kGrpcCodes[static_cast<size_t>(code)] : "";
}

}  // namespace squall
