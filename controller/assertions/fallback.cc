#include "controller/assertions/fallback.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/text.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/fault_scene.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

constexpr int64_t kRequestsToTell = 20;
// Shares are floating point: exactly on the limit is within it.
constexpr double kRounding = 1e-9;

// What became of the requests that were due while the dependency was gone.
struct Answers {
  int64_t all = 0;
  int64_t ok = 0;
  int64_t degraded = 0;
  int64_t late = 0;      // answered, but not in time
  int64_t rejected = 0;  // turned away
  int64_t failed = 0;
  int64_t left_out = 0;  // the machine stood still meanwhile
  std::vector<const Request*> unanswered;
};

Answers Collect(const FaultScene& scene, int64_t within_ns, const Stalls& stalls) {
  Answers found;
  for (const Request& request : scene.During()) {
    if (request.outcome == ABANDONED) continue;
    const bool answered = request.outcome == OK || request.outcome == DEGRADED;
    if (answered && OwnLatencyNs(request, stalls) <= within_ns) {
      ++found.all;
      ++(request.outcome == OK ? found.ok : found.degraded);
      continue;
    }
    // An answer that is late for more than the stall is late; what is missing may be so for the stall.
    if (!answered && stalls.Touch(request.intended_ns, request.end_ns)) {
      ++found.left_out;
      continue;
    }
    ++found.all;
    found.unanswered.push_back(&request);
    ++(answered ? found.late : request.outcome == REJECTED ? found.rejected : found.failed);
  }
  return found;
}

// "12 failed, 3 were rejected".
std::string Unanswered(const Answers& found, int64_t within_ns) {
  std::vector<std::string> parts;
  if (found.failed > 0) parts.push_back(absl::StrCat(Grouped(found.failed), " failed"));
  if (found.rejected > 0)
    parts.push_back(absl::StrCat(Grouped(found.rejected), found.rejected == 1 ? " was" : " were", " rejected"));
  if (found.late > 0) {
    parts.push_back(absl::StrCat(Grouped(found.late), found.late == 1 ? " was" : " were", " answered later than after ",
                                 HumanNanos(within_ns)));
  }
  return absl::StrJoin(parts, ", ");
}

Verdict ConcludeFallback(const Fallback& spec, const FaultScene& scene, const Answers& found, int64_t within_ns,
                         const Timeline& timeline, Verdict verdict) {
  const auto missing = static_cast<int64_t>(found.unanswered.size());
  const double percent = 100.0 * static_cast<double>(found.all - missing) / static_cast<double>(found.all);
  const double may_miss = static_cast<double>(found.all) * (100 - spec.answered()) / 100;
  verdict.set_measured(HumanPercent(percent));
  verdict.set_limit(absl::StrCat("at least ", HumanPercent(spec.answered())));
  verdict.set_margin(absl::StrCat(HumanPercent(percent - spec.answered())));
  const std::string answered = absl::StrCat(HumanPercent(percent), " of ", Counted(found.all, "request"), " were answered while ",
                                            scene.time.Names(), " acted (", HumanPercent(spec.answered()), " needed)");
  const std::string why = missing == 0 ? "" : absl::StrCat(": ", Unanswered(found, within_ns));
  if (static_cast<double>(missing) > may_miss + kRounding) {
    if (missing == 1 && spec.answered() < 100) {
      return Obstructed({absl::StrCat(answered, why, "; of so few, one alone tells nothing"), "raise `rate` or the fault's `for`"},
                        verdict)
          .verdict;
    }
    verdict.set_result(Verdict::FAIL);
    verdict.set_reason(absl::StrCat(answered, why));
    verdict.set_first_broken_ns(found.unanswered.front()->intended_ns);
    for (const Request* request : found.unanswered) AddExample(verdict, timeline, *scene.load, *request);
    return verdict;
  }
  if (found.degraded < spec.at_least()) {
    return Obstructed(
               {absl::StrCat("the fallback was ", found.degraded == 0 ? "never" : "hardly", " needed: ", Grouped(found.degraded),
                             " of ", Counted(found.all, "request"), " got a `degraded` answer; ", spec.at_least(), " are needed"),
                absl::StrCat("check that these requests need the faulty dependency and that `degraded_when` of load ",
                             scene.load->name(), " tells a fallback's answer; otherwise raise `rate` or the fault's `for`")},
               verdict)
        .verdict;
  }
  verdict.set_result(Verdict::PASS);
  verdict.set_reason(absl::StrCat(answered, ", ", Grouped(found.degraded), " of them by the fallback", why));
  return verdict;
}

}  // namespace

Judgement JudgeFallback(const Fallback& spec, const Timeline& timeline, const Stalls& stalls) {
  FaultScene scene;
  if (auto obstacle = SetScene(spec.load(), spec.fault(), timeline, stalls, scene)) return Obstructed(*obstacle);
  if (scene.load->ok_when().body().empty()) {
    return Obstructed(
        {absl::StrCat("load ", scene.load->name(), " does not say what the body of an answer holds, and an empty 200 is none"),
         absl::StrCat("give load ", scene.load->name(), " an `ok_when` with a `body`")});
  }
  const int64_t within_ns = Nanos(spec.has_within() ? spec.within() : scene.load->give_up_after());
  const Answers found = Collect(scene, within_ns, stalls);
  Verdict verdict;
  verdict.set_samples(found.all);
  AddDetail(verdict, "ok", Grouped(found.ok));
  AddDetail(verdict, "degraded", Grouped(found.degraded));
  AddDetail(verdict, "not answered", found.unanswered.empty() ? "none" : Unanswered(found, within_ns));
  AddDetail(verdict, "an answer counts within", HumanNanos(within_ns));
  if (found.left_out > 0) AddDetail(verdict, "left out because the machine stood still", Counted(found.left_out, "request"));
  const bool complete = scene.complete_ns > scene.over_ns;
  if (auto obstacle = StallGate(found.left_out, found.all + found.left_out, "request", stalls)) {
    return {Obstructed(*obstacle, verdict).verdict, complete};
  }
  if (found.all < kRequestsToTell) {
    return {Obstructed({absl::StrCat("only ", Counted(found.all, "request"), " can be judged while ", scene.time.Names(),
                                     " acted; ", kRequestsToTell, " are needed"),
                        "raise `rate` or the fault's `for`"},
                       verdict)
                .verdict,
            complete};
  }
  return {ConcludeFallback(spec, scene, found, within_ns, timeline, std::move(verdict)), complete};
}

}  // namespace squall
