#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

// What gRPC writes into HTTP/2 headers: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. Pure functions.
namespace squall {

// A call is gRPC by its content-type: "application/grpc", with "+proto" or the like after it.
bool IsGrpc(absl::string_view content_type);

// "grpc-timeout" in milliseconds, rounded up: up to eight digits and a unit (H M S m u n). None where it is no such text.
std::optional<int64_t> ParseGrpcTimeout(absl::string_view text);

// "grpc-status": 0 to 9999. None where it is no number.
std::optional<int> ParseGrpcStatus(absl::string_view text);

// Whether a status speaks of a failing server, as a status of 500 and more does in HTTP: UNKNOWN, DEADLINE_EXCEEDED,
// UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
bool IsServersFault(int grpc_status);

// "grpc-message": UTF-8 with everything but visible ASCII, and '%', as %XX.
std::string EncodeGrpcMessage(absl::string_view message);

}  // namespace squall
