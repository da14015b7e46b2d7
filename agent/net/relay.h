#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "agent/net/address.h"
#include "agent/net/intercept.h"
#include "agent/net/netns.h"
#include "agent/net/seen_call.h"
#include "proto/fault.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

class RelayLoop;

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
    std::vector<Address> to;          // what the service calls, as for SetAddresses
    bool parse_http = true;
    std::string deadline_header = "";  // in which callers say how long they will wait
    std::optional<Address> relay_at;  // listen here; else redirect with `intercept`
    Intercept* intercept = nullptr;   // outlives the edge
  };
  using CallSink = std::function<void(const std::string& edge, const SeenCall& call)>;

  explicit Relay(CallSink sink);
  ~Relay();

  // Opens listeners inside `ns` and, where the edge is redirected, fills the intercept's map. `ns` outlives the edge. A
  // second call for an edge moves it to another namespace: its listeners are opened there, and the old ones closed.
  absl::Status Open(const EdgeOptions& edge, const NetNamespace& ns);
  // What the edge leads to from now on. Where the edge is redirected, addresses that it led to before stay with it, and those
  // among `to` with IsAny() take in every address with that port, once it is called: 1,024 are watched, and beyond that the one
  // that was not called for longest is forgotten until it is called again. With relay_at connections go to the first of `to`
  // that accepts, as far as was seen.
  absl::Status SetAddresses(const std::string& edge, const std::vector<Address>& to);
  // Where the edge's listeners are: what its redirected connects are sent to. Empty: no such edge, or none open now.
  std::vector<Address> Listeners(const std::string& edge);

  // Does to what crosses the fault's edge what it says, from now on, on connections old and new. One fault of a kind on an
  // edge: a second takes the first one's place. Faults of other kinds stay as they are. `seed` decides what is left to
  // chance. UNIMPLEMENTED: a kind that the relay does not do; NOT_FOUND: no such edge. Nothing is changed then.
  absl::Status SetFault(const Fault& fault, uint64_t seed);
  // The fault of this kind on this edge goes on with these values, for what comes from now on. As what is asked for counts the last
  // value; what was achieved is that of the last of which anything was measured. NOT_FOUND: none of this kind is set there.
  absl::Status ChangeFault(const Fault& fault);
  // Takes it away: what it alone held back is passed on at once, in order. Idempotent. FAILED_PRECONDITION when something
  // is still held.
  absl::Status ClearFault(const std::string& edge, Fault::KindCase kind);
  // What the fault of this kind did on this edge since it was set last. Stays after ClearFault.
  Evidence FaultEvidence(const std::string& edge, Fault::KindCase kind);

  // From now on accepted connections are not passed on but given to `taker`, with the address that the service called; those
  // that are there go on. Null: they are passed on again. The taker is called on the relay's thread and must not wait; it
  // lives until it is replaced. NOT_FOUND: no such edge.
  using Taker = std::function<void(Fd connection, const Address& called)>;
  absl::Status HandOver(const std::string& edge, Taker taker);
  // Ends every connection of the edge with a RST to both sides. Returns how many.
  int64_t ResetConnections(const std::string& edge);

  EdgeStats Stats(const std::string& edge);

  // Takes no new connections, lets those there are finish (idle ones are closed) for up to `drain` and no longer than
  // until `at_once`, cuts the rest. The number cut stands in Stats. Redirection must be gone before.
  void Close(absl::Duration drain, const std::atomic<bool>& at_once);

 private:
  std::unique_ptr<RelayLoop> loop_;
};

}  // namespace squall
