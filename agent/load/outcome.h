// What became of a request: pure functions from what libcurl reports to an Outcome.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "proto/scenario.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

// Bytes of a body that a Match looks at.
inline constexpr size_t kMatchedBody = 64 * 1024;

struct Answer {
  int32_t status = 0;  // 0: none was read
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;  // up to kMatchedBody
};

// True when every part that is given matches; false when no part is given.
bool Matches(const Match& match, const Answer& answer);

// The outcome of an answer that was read to its end. Rejected goes before degraded.
Outcome ClassifyAnswer(const Match& rejected, const Match& degraded, const Answer& answer);

// How a request ended that was not answered.
enum class Failure {
  kTimedOut,
  kNotAccepted,   // no connection came about
  kDied,          // the connection ended, in either direction, before the answer was through
  kNoHttp,        // something was answered that is no HTTP
  kNeverSent,     // this host could not send it: no descriptors, ports or memory left
  kUnresolvable,  // no address for the name
};

// From a CURLcode other than CURLE_OK, and the errno of the connect where there was one.
Failure ClassifyFailure(int curl_code, int connect_errno);

// True for an errno with which this host, and not the target, prevents a connection.
bool IsOwnFault(int error);

// REQUIRES: failure != kNeverSent, which is no outcome: such a request counts as not sent.
Outcome ToOutcome(Failure failure);

// The value of `rejected_when`, or its default.
Match RejectedWhen(const Load& load);

}  // namespace squall
