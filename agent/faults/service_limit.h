#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/journal.h"
#include "agent/process/limit_cgroup.h"
#include "agent/process/running_service.h"
#include "proto/scenario.pb.h"

// What the faults that limit a service through its cgroup have in common: cpu, memory and pids.
namespace squall {

// Whether a limit can be set on the service, as far as that can be known before it runs; else what is missing. `what`: as in
// "a cpu quota"; `instead`: what can be done without privileges, as in ", or use ...". Touches nothing.
absl::Status CheckLimit(const std::string& what, const std::string& controller, const Service& service,
                        const std::string& instead = "");

// Where a limit on the service acts now. Changes nothing.
absl::StatusOr<LimitPlace> PlaceOfService(const std::string& controller, const RunningService& service);

// FAILED_PRECONDITION where the service is in a cgroup that another fault has made for it: that goes when the other one ends, and what was
// set in it goes too.
absl::Status CheckNotMoved(const LimitPlace& place, const RunningService& service, const Journal& journal);

// Numbers in files of the cgroup that holds the service and nothing else, which are lowered and put back. Each step is in the
// journal before it is done. Not thread-safe.
class ServiceLimit {
 public:
  // Both outlive it.
  ServiceLimit(std::string controller, const RunningService* service, Journal* journal)
      : controller_(std::move(controller)), service_(service), journal_(journal) {}

  // The service has a cgroup to itself from now on. Where it has none, one is made below the one where it is, and its processes are
  // moved there.
  absl::Status Enter();
  // REQUIRES: Enter was OK. FAILED_PRECONDITION where the limit that is there is no higher. What the kernel refuses now is tried again for
  // as long as `again` says: what a service uses comes and goes.
  absl::Status Lower(const std::string& file, int64_t to, const std::function<bool()>& again = nullptr);
  // All is as before, and that was looked at. Idempotent; after an error what is left is tried again.
  absl::Status TakeBack();

  const LimitCgroup& cgroup() const { return cgroup_; }
  // Lower has been tried, and not all is taken back.
  bool IsPending() const { return !pending_.empty(); }

 private:
  absl::Status Pend(const Undo& undo);

  const std::string controller_;
  const RunningService* const service_;
  Journal* const journal_;
  LimitCgroup cgroup_;
  bool made_ = false;
  std::vector<std::pair<uint64_t, Undo>> pending_;
};

// The number in a file of a limit; INT64_MAX for "max".
absl::StatusOr<int64_t> ReadLimitNumber(const std::string& path);

// The number in `file`, or after `key` in it, summed over the cgroup and those below: what v1 counts where it happens only.
int64_t SumBelow(const LimitCgroup& cgroup, const std::string& file, const std::string& key);

}  // namespace squall
