#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "agent/net/dns_redirect.h"
#include "agent/net/netns.h"
#include "agent/net/resolver.h"
#include "agent/process/running_service.h"
#include "proto/agent.pb.h"
#include "proto/scenario.pb.h"

namespace squall {

// The resolvers of a run: one for each service that a dns fault is about. Calls come one at a time, but for FollowProcesses,
// which may be called by another thread between Open and Close.
class Resolvers {
 public:
  using Services = std::map<std::string, std::unique_ptr<RunningService>>;

  // Says how each service's queries will be reached and what will not, and touches nothing. FAILED_PRECONDITION when this host
  // cannot do it, or when certainly no query would arrive.
  static absl::Status Prepare(const Scenario& scenario, PrepareReply& reply);

  // What name servers told a service, before it hears of it. Called by threads of the resolvers.
  using Told = std::function<void(const std::string& service, const std::string& name, const std::vector<Address>& addresses)>;
  // Set before Open.
  void TellAnswers(Told told) { told_ = std::move(told); }

  // Opens what the scenario needs. `services` are claimed and outlive this.
  absl::Status Open(const Scenario& scenario, const Services& services);
  // The service runs in another network namespace than was thought: its resolver follows. Only before anything is injected.
  absl::Status Move(const std::string& service);
  // A service that squall did not start is told from its neighbours in the cgroup by its processes.
  void FollowProcesses() const;
  // Queries go where they want to from here on.
  void StopQueries();
  // Lets what is under way finish for up to `drain`. Returns what a reader of the report should know. StopQueries() comes first.
  std::vector<std::string> Close(absl::Duration drain);
  // Gives up the programs, once FollowProcesses and what acts on `by_service` are not called any more.
  void Release();

  // What faults act on, by service.
  std::map<std::string, std::unique_ptr<Resolver>>* by_service() { return &resolvers_; }

 private:
  struct Place {
    const Service* spec = nullptr;
    RunningService* service = nullptr;
    std::unique_ptr<NetNamespace> ns;
    std::unique_ptr<DnsRedirect> redirect;  // none with resolver_at
  };
  absl::Status OpenOne(Place& place);

  Scenario scenario_;
  Told told_;
  std::map<std::string, Place> places_;
  std::map<std::string, std::unique_ptr<Resolver>> resolvers_;  // destroyed before what they use
};

}  // namespace squall
