#include "agent/load/outcome.h"

#include <errno.h>

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/match.h"

namespace squall {
namespace {

// gRPC's codes have the names and numbers of Abseil's, which come from there.
bool IsGrpcStatus(const std::string& name, int code) {
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(code)) == name;
}

}  // namespace

bool Matches(const Match& match, const Answer& answer) {
  const bool by_status = !answer.grpc_status && !match.status().empty();
  const bool by_grpc_status = answer.grpc_status && !match.grpc_status().empty();
  if (!by_status && !by_grpc_status && match.headers().empty() && match.body().empty()) return false;
  if (by_status && std::find(match.status().begin(), match.status().end(), answer.status) == match.status().end()) return false;
  if (by_grpc_status && std::none_of(match.grpc_status().begin(), match.grpc_status().end(),
                                     [&](const std::string& name) { return IsGrpcStatus(name, *answer.grpc_status); })) {
    return false;
  }
  for (const auto& wanted : match.headers()) {
    const bool found = std::any_of(answer.headers.begin(), answer.headers.end(), [&](const auto& header) {
      return absl::EqualsIgnoreCase(header.first, wanted.first) && header.second == wanted.second;
    });
    if (!found) return false;
  }
  return absl::StrContains(absl::string_view(answer.body).substr(0, kMatchedBody), match.body());
}

bool Matchers::NeedHeaders() const {
  return !rejected.headers().empty() || !degraded.headers().empty() || !ok.headers().empty();
}

bool Matchers::NeedBody() const { return !rejected.body().empty() || !degraded.body().empty() || !ok.body().empty(); }

Matchers MatchersOf(const Load& load) {
  Matchers matchers = {load.rejected_when(), load.degraded_when(), load.ok_when()};
  if (load.has_rejected_when()) return matchers;
  if (load.has_grpc()) {
    matchers.rejected.add_grpc_status("RESOURCE_EXHAUSTED");
  } else {
    matchers.rejected.add_status(429);
  }
  return matchers;
}

Outcome ClassifyAnswer(const Matchers& matchers, const Answer& answer) {
  if (Matches(matchers.rejected, answer)) return REJECTED;
  if (Matches(matchers.degraded, answer)) return DEGRADED;
  const Match& ok = matchers.ok;
  const bool told = !ok.headers().empty() || !ok.body().empty() || !(answer.grpc_status ? ok.grpc_status().empty() : ok.status().empty());
  if (told) return Matches(ok, answer) ? OK : ERROR;
  if (answer.grpc_status) return *answer.grpc_status == 0 ? OK : ERROR;
  return answer.status == 0 || (answer.status >= 200 && answer.status < 400) ? OK : ERROR;
}

bool IsOwnFault(int error) {
  switch (error) {
    case EADDRNOTAVAIL:  // no port left
    case EADDRINUSE:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return true;
    default:
      return false;
  }
}

Failure ClassifyConnect(int error) {
  if (IsOwnFault(error)) return Failure::kNeverSent;
  return error == ETIMEDOUT ? Failure::kTimedOut : Failure::kNotAccepted;
}

Outcome ToOutcome(Failure failure) {
  switch (failure) {
    case Failure::kTimedOut:
      return TIMED_OUT;
    case Failure::kNotAccepted:
      return REFUSED;
    case Failure::kDied:
      return RESET;
    case Failure::kNotSecured:
    case Failure::kNotUnderstood:
    case Failure::kUnresolvable:
    case Failure::kNeverSent:
      return ERROR;
  }
  return ERROR;
}

}  // namespace squall
