#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

// Formats that scalars may have to follow. Pure functions. Every error is INVALID_ARGUMENT, and its message
// says what is wrong and what to write instead.
namespace squall {

// Letters, digits, '-', '_' and '.', starting with a letter or digit; at most 100 of them.
absl::Status CheckName(absl::string_view text);

// "127.0.0.1:9090", "[::1]:9090", "orders.local:9090".
// With `any_host` the host may be "*".
absl::Status CheckAddress(absl::string_view text, bool any_host);

// The one way of writing an address that CheckAddress takes: two that are the same come out the same. IPv4 within IPv6 is IPv4;
// names are in lower case, without the final dot; what names stand for is not looked up.
std::string PlainAddress(absl::string_view address);

// "http://HOST[:PORT][/PATH]".
absl::Status CheckUrl(absl::string_view text);

// "SIGTERM".
absl::Status CheckSignal(absl::string_view text);

// The name of a gRPC status code, as "UNAVAILABLE".
absl::Status CheckGrpcStatus(absl::string_view text);

}  // namespace squall
