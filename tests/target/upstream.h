// One connection to the recommend service.
#pragma once

#include <httplib.h>

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "tests/target/flags.h"
#include "tests/target/names.h"

namespace squall::target {

// Keeps its connection alive and makes it anew after an error. Where the peer is known by name, the name is asked for with each
// call, as a client without a cache does, and the connection made anew when its address is another. Used by one thread, but for
// Abort.
class Upstream {
 public:
  Upstream(const HostPort& address, const Names& names);

  enum class Result {
    kAnswered,
    kTimedOut,
    kNoAddress,        // the name has none, or nobody says
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
  const HostPort address_;
  std::optional<NameLookup> lookup_;  // none: the address is one already
  std::string connected_to_;
  httplib::Client client_;
};

}  // namespace squall::target
