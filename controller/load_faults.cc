#include "controller/load_faults.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/durations.h"
#include "base/text.h"
#include "controller/limiter_steps.h"

namespace squall {

std::string DescribeLoadFault(const Fault& fault) {
  switch (fault.kind_case()) {
    case Fault::kAbandon: {
      const Abandon& abandon = fault.abandon();
      return absl::StrCat(abandon.share() < 100 ? absl::StrCat(HumanPercent(abandon.share()), " of the clients of ") : "clients of ",
                          abandon.load(), " hang up after ", HumanDuration(ToDuration(abandon.patience())));
    }
    case Fault::kSurge:
      return absl::StrCat(absl::StrFormat("%g", fault.surge().times()), " times the load of ", fault.surge().load());
    default:
      return "nothing";
  }
}

Mechanism LoadMechanism(const Fault& fault) {
  const std::string load = LoadOfFault(fault);
  switch (fault.kind_case()) {
    case Fault::kAbandon:
      return {absl::StrCat("load: requests of ", load, ", of no other load"),
              "the load generator closes a connection whose answer is not there in time (HTTP/1.1), as a client does",
              "clients wait as before; the load generator dies with the agent"};
    case Fault::kSurge:
      return {absl::StrCat("load: requests of ", load, ", of no other load; all that serve them feel it"),
              "the load generator sends at the higher rate", "the rate is as before; the load generator dies with the agent"};
    default:
      return {};
  }
}

std::string LoadOfFault(const Fault& fault) {
  switch (fault.kind_case()) {
    case Fault::kAbandon:
      return fault.abandon().load();
    case Fault::kSurge:
      return fault.surge().load();
    default:
      return "";
  }
}

double MostOffered(const Load& load) {
  // Those steps of a plan are over before the first fault, but for the last.
  if (HasPlannedSteps(load)) return load.steps(load.steps_size() - 1).rate();
  double most = load.rate();
  for (const Step& step : load.steps()) most = std::max(most, step.rate());
  return most;
}

}  // namespace squall
