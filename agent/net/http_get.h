#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/net/netns.h"

namespace squall {

// Asks for pages over HTTP, one at a time, on a connection that is kept where it can be. What answers harms nobody: it has a
// time and a size. Not thread-safe.
class HttpGetter {
 public:
  // Where to connect from: asked before each page, as a service that is started again may be in another namespace. While it
  // cannot tell, the one before is used.
  using Where = std::function<absl::StatusOr<NetNamespace>()>;

  struct Bounds {
    absl::Duration timeout;
    size_t most_bytes = 0;
    bool cut = false;  // a body that is longer is cut off there; else it is an error
    std::function<bool()> stopped = [] { return false; };  // looked at about 20 times a second: true ends a read
  };
  struct Answer {
    int status = 0;
    std::string body;
    bool cut = false;
  };

  HttpGetter(Where where, Bounds bounds);
  ~HttpGetter();
  HttpGetter(const HttpGetter&) = delete;
  HttpGetter& operator=(const HttpGetter&) = delete;

  // Whatever its status is. UNAVAILABLE: no answer, or none that is HTTP, or it took too long; RESOURCE_EXHAUSTED: it is longer
  // than the bound; CANCELLED: stopped.
  absl::StatusOr<Answer> Get(const std::string& url);

 private:
  struct Curl;
  const Where where_;
  const Bounds bounds_;
  std::optional<NetNamespace> ns_;
  std::unique_ptr<Curl> curl_;
};

}  // namespace squall
