// One connection to the recommend service.
#pragma once

#include <httplib.h>

#include <string>

#include "absl/time/time.h"
#include "tests/target/flags.h"

namespace squall::target {

// Keeps its connection alive and makes it anew after an error. Used by one thread, but for Abort.
class Upstream {
 public:
  explicit Upstream(const HostPort& address);

  enum class Result {
    kAnswered,
    kTimedOut,
    kBadAnswer,        // a status other than 200
    kConnectionFailed  // refused, reset or closed
  };

  // Asks for a recommendation. `timeout` bounds connecting and every wait for bytes, and a body that goes on
  // beyond it is given up. `body` is set when it is kAnswered.
  Result Get(absl::Duration timeout, std::string& body);

  // Ends a call that is under way. May be called from any thread; a call that is still connecting is not
  // reached.
  void Abort() { client_.stop(); }

 private:
  httplib::Client client_;
};

}  // namespace squall::target
