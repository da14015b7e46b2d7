#include "agent/load/outcome.h"

#include <curl/curl.h>
#include <errno.h>

#include <algorithm>

#include "absl/strings/match.h"

namespace squall {

bool Matches(const Match& match, const Answer& answer) {
  if (match.status().empty() && match.headers().empty() && match.body().empty()) return false;
  if (!match.status().empty() &&
      std::find(match.status().begin(), match.status().end(), answer.status) == match.status().end()) {
    return false;
  }
  for (const auto& wanted : match.headers()) {
    const bool found = std::any_of(answer.headers.begin(), answer.headers.end(), [&](const auto& header) {
      return absl::EqualsIgnoreCase(header.first, wanted.first) && header.second == wanted.second;
    });
    if (!found) return false;
  }
  return absl::StrContains(answer.body.substr(0, kMatchedBody), match.body());
}

Outcome ClassifyAnswer(const Match& rejected, const Match& degraded, const Answer& answer) {
  if (Matches(rejected, answer)) return REJECTED;
  if (Matches(degraded, answer)) return DEGRADED;
  return answer.status >= 200 && answer.status < 400 ? OK : ERROR;
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

Failure ClassifyFailure(int curl_code, int connect_errno) {
  switch (curl_code) {
    case CURLE_OPERATION_TIMEDOUT:
      return Failure::kTimedOut;
    case CURLE_COULDNT_CONNECT:
      if (IsOwnFault(connect_errno)) return Failure::kNeverSent;
      return connect_errno == ETIMEDOUT ? Failure::kTimedOut : Failure::kNotAccepted;
    case CURLE_COULDNT_RESOLVE_HOST:
      return Failure::kUnresolvable;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
      return Failure::kNeverSent;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_ABORTED_BY_CALLBACK:  // our own refusal to send the request a second time
      return Failure::kDied;
    default:
      return Failure::kNoHttp;
  }
}

Outcome ToOutcome(Failure failure) {
  switch (failure) {
    case Failure::kTimedOut:
      return TIMED_OUT;
    case Failure::kNotAccepted:
      return REFUSED;
    case Failure::kDied:
      return RESET;
    case Failure::kNoHttp:
    case Failure::kUnresolvable:
    case Failure::kNeverSent:
      return ERROR;
  }
  return ERROR;
}

Match RejectedWhen(const Load& load) {
  if (load.has_rejected_when()) return load.rejected_when();
  Match match;
  match.add_status(429);
  return match;
}

}  // namespace squall
