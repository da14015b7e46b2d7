#include "controller/assertions/load_evidence.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/durations.h"
#include "base/text.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

// A surge of less than this share of what was asked for was another one.
constexpr double kLeastOfSurge = 0.9;

std::optional<Obstacle> AbandonGate(const Fault& fault, const Evidence& evidence) {
  if (evidence.abandoned() > 0) return std::nullopt;
  const std::string& load = fault.abandon().load();
  if (evidence.requests() == 0) {
    return Obstacle{absl::StrCat("fault ", fault.name(), " touched nothing: no request of load ", load, " was sent while it acted"),
                    "raise `rate` or `for`"};
  }
  return Obstacle{absl::StrCat("fault ", fault.name(), " was not observed: of ", Counted(evidence.requests(), "request"), " of load ", load,
                               " none waited longer than ", HumanDuration(ToDuration(fault.abandon().patience())), " for its answer"),
                  "lower `patience`, raise `share`, or slow the service down by another fault at the same time"};
}

std::optional<Obstacle> SurgeGate(const Fault& fault, const Evidence& evidence) {
  const double asked = evidence.requested_requests_rate();
  const double sent = evidence.achieved_requests_rate();
  if (asked <= 0) {
    return Obstacle{absl::StrCat("fault ", fault.name(), " multiplied nothing: load ", fault.surge().load(), " rested while it acted (0/s)"),
                    "start it when a step of the load sends requests"};
  }
  // A short surge of a slow load may miss its rate by a request or two.
  const double missed = (asked - sent) * absl::ToDoubleSeconds(ToDuration(fault.for_()));
  if (sent > 0 && (sent >= kLeastOfSurge * asked || missed <= 3)) return std::nullopt;
  return Obstacle{absl::StrCat("fault ", fault.name(), " did not act as asked: ", HumanRate(sent), " of ", HumanRate(asked), " were sent"),
                  absl::StrCat("raise `max_in_flight` of load ", fault.surge().load(), " or lower `times`, or run on a machine with less else "
                               "to do")};
}

}  // namespace

std::string LoadSeen(const Fault& fault, const Evidence& evidence) {
  switch (fault.kind_case()) {
    case Fault::kAbandon:
      return absl::StrCat(Grouped(evidence.abandoned()), " of ", Counted(evidence.requests(), "request"), " hung up after ",
                          HumanDuration(ToDuration(fault.abandon().patience())), " (", HumanPercent(fault.abandon().share()), " asked)");
    case Fault::kSurge:
      if (evidence.base_rate() <= 0) return "the load rested";
      return absl::StrCat(absl::StrFormat("%.1f times the load: ", evidence.achieved_requests_rate() / evidence.base_rate()),
                          HumanRate(evidence.achieved_requests_rate()), " sent of ", HumanRate(evidence.requested_requests_rate()),
                          " asked, ", HumanRate(evidence.base_rate()), " without it");
    default:
      return "";
  }
}

std::optional<Obstacle> LoadGate(const Fault& fault, const Evidence& evidence) {
  switch (fault.kind_case()) {
    case Fault::kAbandon:
      return AbandonGate(fault, evidence);
    case Fault::kSurge:
      return SurgeGate(fault, evidence);
    default:
      return Obstacle{absl::StrCat("fault ", fault.name(), " is none of a load"), ""};
  }
}

}  // namespace squall
