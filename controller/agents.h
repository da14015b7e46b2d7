#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "controller/agent_client.h"
#include "proto/timeline.pb.h"

namespace squall {

// The agents of one run, driven side by side: those that the scenario names, or a single one without a name. Each has its own
// stream and its own clock, and whatever it tells is moved to the run's time. Calls may come from any thread; Lost() from
// one.
class Agents {
 public:
  struct Member {
    std::string name;                      // empty: the only one
    std::string label;                     // "agent shop-1 (10.0.0.1:7447)"; empty for the only one
    std::unique_ptr<AgentClient> client;
    AgentClient::Clock clock;              // as estimated at the start
    bool lost = false;      // nothing is asked of it any more
    bool finished = false;  // its stream ends because the run is over
  };

  // Those of `scenario` on which there is something, with mutual TLS by `tls`; without any, the one at `address`
  // (unix:PATH) or, when that is empty, a child of our own. All have been asked for their clocks.
  // REQUIRES: called on the main thread, since a child is ended by the kernel with the thread that made it.
  static absl::StatusOr<std::unique_ptr<Agents>> Connect(const Scenario& scenario, const std::string& address,
                                                         const TlsPaths& tls);

  // What the clocks may be off, either way.
  void FillClocks(Header& header) const;
  // Asks the clocks of those that are not lost again. What they drifted since the start counts as uncertainty.
  void FillClocks(Footer& footer);

  // Opens the run on all and keeps their leases. `on_event` is called by one thread at a time, with records in the time of a
  // run that began at `started_ns` of this machine's clock.
  absl::Status Open(const std::string& run_id, const std::string& holder, absl::Duration expected, int64_t started_ns,
                    std::function<void(AgentEvent)> on_event);

  // Does something with each agent that is not lost, all at the same time. The first error, in the order of the agents,
  // with the agent's label.
  absl::Status ForEach(const std::function<absl::Status(Member&)>& what);
  // The one of this name. REQUIRES: it is among them.
  Member& Named(const std::string& name);

  // The agents that were lost since the last call, with the reason: those whose stream has ended before the run did.
  std::vector<LostAgent> Lost();

  // OK: the child, if there is one, has ended by itself.
  absl::Status WaitForChild(absl::Duration timeout);

 private:
  absl::Status ReadClocks();

  std::vector<std::unique_ptr<Member>> members_;
  absl::Mutex events_mutex_;
};

}  // namespace squall
