// What became of a request: pure functions from an answer, or from how it failed, to an Outcome.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proto/scenario.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

// Bytes of a body that a Match looks at.
inline constexpr size_t kMatchedBody = 64 * 1024;

struct Answer {
  int32_t status = 0;  // of HTTP; 0: none was read, or plain TCP
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = "";  // up to kMatchedBody; for gRPC the message
  std::optional<int> grpc_status = {};
};

// True when every part that is given matches; false when no part is given. `status` is no part of an answer of gRPC, and
// `grpc_status` of no other.
bool Matches(const Match& match, const Answer& answer);

// How answers of a load are told apart.
struct Matchers {
  Match rejected;
  Match degraded;
  Match ok;  // without parts: a status below 400, OK of gRPC, every answer over plain TCP

  // What has to be kept of an answer to tell.
  bool NeedHeaders() const;
  bool NeedBody() const;
};
Matchers MatchersOf(const Load& load);

// The outcome of an answer that was read to its end. Rejected goes before degraded, and that before ok.
Outcome ClassifyAnswer(const Matchers& matchers, const Answer& answer);

// How a request ended that was not answered.
enum class Failure {
  kTimedOut,
  kNotAccepted,    // no connection came about, or the target refused to process it
  kDied,           // the connection, or the stream, ended before the answer was through
  kNotSecured,     // no TLS came about: one side did not like what the other showed
  kNotUnderstood,  // something was answered that is not of the protocol, or not what the load waits for
  kNeverSent,      // this host could not send it: no descriptors, ports or memory left
  kUnresolvable,   // no address for the name
};

// From the errno of a connect.
Failure ClassifyConnect(int error);

// True for an errno with which this host, and not the target, prevents a connection.
bool IsOwnFault(int error);

// REQUIRES: failure != kNeverSent, which is no outcome: such a request counts as not sent.
Outcome ToOutcome(Failure failure);

}  // namespace squall
