#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "agent/net/address.h"
#include "agent/net/http_tap.h"
#include "agent/net/intercept.h"
#include "agent/net/netns.h"
#include "proto/fault.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

// Carries the traffic of a run's edges on one epoll thread, counts what passes and applies network faults to it.
//
// It does not falsify what it carries: a dependency that refuses is refused to the service as well (Upstream), resets stay
// resets, half-closed stays half-closed. While a connection lives, both its sockets have SO_LINGER 0, so that the death of
// the agent resets it instead of ending it as if all were well.
//
// Thread-safe: every public method may be called from any thread; the work happens on the relay's own.
class Relay {
 public:
  struct EdgeOptions {
    std::string name;
    std::vector<Address> to;          // what the service calls; at least one
    bool parse_http = true;
    std::optional<Address> relay_at;  // listen here; else redirect with `intercept`
    Intercept* intercept = nullptr;   // outlives the edge
  };
  using CallSink = std::function<void(const std::string& edge, const SeenCall& call)>;

  explicit Relay(CallSink sink);
  ~Relay();

  // Opens listeners inside `ns` and, where the edge is redirected, fills the intercept's map. `ns` outlives the edge. A
  // second call for an edge moves it to another namespace: its listeners are opened there, and the old ones closed.
  absl::Status Open(const EdgeOptions& edge, const NetNamespace& ns);

  // Holds back what crosses the edge from now on, on connections old and new. `seed` decides the jitter.
  absl::Status SetLatency(const std::string& edge, const Latency& latency, uint64_t seed);
  // Passes on at once what is held back, in order, and holds nothing back from now on. Idempotent. FAILED_PRECONDITION when
  // something is still held.
  absl::Status ClearLatency(const std::string& edge);
  // What the latency on this edge did since SetLatency.
  Evidence LatencyEvidence(const std::string& edge);

  EdgeStats Stats(const std::string& edge);

  // Takes no new connections, lets those there are finish (idle ones are closed) for up to `drain` and no longer than
  // until `at_once`, cuts the rest. The number cut stands in Stats. Redirection must be gone before.
  void Close(absl::Duration drain, const std::atomic<bool>& at_once);

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace squall
