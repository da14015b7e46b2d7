#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/tls.h"
#include "proto/agent.grpc.pb.h"

namespace squall {

absl::Status FromGrpc(const grpc::Status& status);

// One agent, driven for one run. Calls may come from any thread; Open and the destructor from one.
class AgentClient {
 public:
  // Starts the agent as a child on a private, unnamed unix socket. REQUIRES: the calling thread lives as long as the run,
  // since the child is ended by the kernel when the thread that made it ends.
  static absl::StatusOr<std::unique_ptr<AgentClient>> StartChild();
  // Connects to an agent at unix:PATH.
  static absl::StatusOr<std::unique_ptr<AgentClient>> Connect(const std::string& address);
  // Connects over TCP with mutual TLS 1.3: the certificate there must be of the identity's CA and carry the agent's name.
  // The error says what is wrong, without naming the agent. An agent that does not answer for five seconds is lost.
  static absl::StatusOr<std::unique_ptr<AgentClient>> Connect(const AgentAt& agent, const TlsIdentity& identity);
  ~AgentClient();

  struct Clock {
    int64_t ahead_ns = 0;        // the agent's clock minus ours
    int64_t uncertainty_ns = 0;  // either way
  };
  // The best of several round trips.
  absl::StatusOr<Clock> ReadClock();

  // Opens the run and keeps its lease until the destructor. `on_event` is called on a thread of the client's.
  absl::Status Open(const std::string& run_id, const std::string& holder, absl::Duration expected,
                    std::function<void(AgentEvent)> on_event);
  // The stream has ended: the agent is gone, or the run is over there.
  bool StreamIsOver() const { return stream_over_; }
  // How it ended. REQUIRES: StreamIsOver().
  absl::Status StreamStatus() const { return stream_status_; }
  // After Finish: waits until everything that the agent had to tell has come. False: not all of it came in time.
  bool WaitForLastEvent(absl::Duration timeout);
  // OK: the child has ended by itself. Idempotent.
  absl::Status WaitForChild(absl::Duration timeout);
  pid_t child() const { return child_; }

  // A call with the name of the stub's method: Call(&Agent::Stub::Inject, request, reply).
  template <typename Request, typename Reply>
  absl::Status Call(grpc::Status (Agent::Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                    const Request& request, Reply& reply) const {
    grpc::ClientContext context;
    return FromGrpc((stub_.get()->*method)(&context, request, &reply));
  }
  // The same, DEADLINE_EXCEEDED when there is no answer `within` that time.
  template <typename Request, typename Reply>
  absl::Status CallWithin(absl::Duration within,
                          grpc::Status (Agent::Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                          const Request& request, Reply& reply) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + within));
    return FromGrpc((stub_.get()->*method)(&context, request, &reply));
  }

 private:
  explicit AgentClient(std::shared_ptr<grpc::Channel> channel);

  std::unique_ptr<Agent::Stub> stub_;
  pid_t child_ = 0;
  grpc::ClientContext hold_context_;
  std::unique_ptr<grpc::ClientReaderWriter<Renewal, AgentEvent>> stream_;
  absl::Status stream_status_;  // set before stream_over_
  std::atomic<bool> stream_over_ = false;
  std::atomic<bool> stop_renewing_ = false;
  std::thread reader_;
  std::thread renewer_;
};

}  // namespace squall
