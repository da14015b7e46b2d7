#include "controller/assertions/judge.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/messages.h"
#include "base/text.h"
#include "controller/assertions/alert.h"
#include "controller/assertions/bulkhead.h"
#include "controller/assertions/circuit_breaker.h"
#include "controller/assertions/fallback.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/graceful_shutdown.h"
#include "controller/assertions/guardrails.h"
#include "controller/assertions/health.h"
#include "controller/assertions/load_shedding.h"
#include "controller/assertions/log_pattern.h"
#include "controller/assertions/metric_bound.h"
#include "controller/assertions/no_leak.h"
#include "controller/assertions/rate_limiter.h"
#include "controller/assertions/recovery.h"
#include "controller/assertions/retry_budget.h"
#include "controller/assertions/timeout.h"
#include "controller/assertions/tls_verified.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"
#include "controller/plan.h"
#include "controller/repeats.h"
#include "google/protobuf/descriptor.h"

namespace squall {
namespace {

// The registry: an assertion that is missing here does not compile.
Judgement JudgeKind(const Assertion& assertion, const Timeline& timeline, const Stalls& stalls) {
  switch (assertion.kind_case()) {
    case Assertion::kTimeout:
      return JudgeTimeout(assertion.timeout(), timeline, stalls);
    case Assertion::kRecovery:
      return JudgeRecovery(assertion.recovery(), timeline, stalls);
    case Assertion::kCircuitBreaker:
      return JudgeCircuitBreaker(assertion.circuit_breaker(), timeline, stalls);
    case Assertion::kRateLimiter:
      return JudgeRateLimiter(assertion.rate_limiter(), timeline, stalls);
    case Assertion::kTlsVerified:
      return JudgeTlsVerified(assertion.tls_verified(), timeline);
    case Assertion::kRetryBudget:
      return JudgeRetryBudget(assertion.retry_budget(), timeline, stalls);
    case Assertion::kBulkhead:
      return JudgeBulkhead(assertion.bulkhead(), timeline, stalls);
    case Assertion::kLoadShedding:
      return JudgeLoadShedding(assertion.load_shedding(), timeline, stalls);
    case Assertion::kFallback:
      return JudgeFallback(assertion.fallback(), timeline, stalls);
    case Assertion::kGracefulShutdown:
      return JudgeGracefulShutdown(assertion.graceful_shutdown(), timeline, stalls);
    case Assertion::kNoLeak:
      return JudgeNoLeak(assertion.no_leak(), timeline, stalls);
    case Assertion::kMetric:
      return JudgeMetric(assertion.metric(), timeline, stalls);
    case Assertion::kLog:
      return JudgeLog(assertion.log(), assertion.name(), timeline, stalls);
    case Assertion::kAlert:
      return JudgeAlert(assertion.alert(), timeline, stalls);
    case Assertion::kHealth:
      return JudgeHealth(assertion.health(), timeline, stalls);
    case Assertion::KIND_NOT_SET:
      break;
  }
  return Obstructed({"an assertion of no known kind", ""});
}

constexpr int64_t kHalfPercent = 50;

int64_t TotalNs(const std::vector<Stall>& stalls) {
  return std::accumulate(stalls.begin(), stalls.end(), int64_t{0},
                         [](int64_t sum, const Stall& stall) { return sum + stall.length_ns(); });
}

// A service that others keep from the cores is late for no fault of its own, and never early: what holds all the same, holds. A
// promise that looks broken is broken only if it is so without those moments. To condemn, what is left has to be half of it; to
// acquit, nearly all.
Judgement JudgeFairly(const Assertion& assertion, const Timeline& timeline) {
  Judgement judgement = JudgeKind(assertion, timeline, Stalls(timeline.stalls));
  const bool disturbed = !timeline.stalls.empty() || !timeline.starved.empty();
  if (judgement.verdict.result() == Verdict::PASS || !disturbed) return judgement;
  const std::vector<Stall>& starved = timeline.starved;
  std::vector<Stall> left_out = timeline.stalls;
  left_out.insert(left_out.end(), starved.begin(), starved.end());
  const auto tell = [&](Judgement& again) {
    if (starved.empty()) return;
    AddDetail(again.verdict, "left out because others had the cores",
              absl::StrCat(Counted(static_cast<int64_t>(starved.size()), "moment"), ", ", Tenths(TotalNs(starved))));
  };
  Judgement condemned = JudgeKind(assertion, timeline, Stalls(left_out, kHalfPercent));
  if (condemned.verdict.result() == Verdict::FAIL) {
    tell(condemned);
    return condemned;
  }
  if (judgement.verdict.result() != Verdict::FAIL) return judgement;
  Judgement again = JudgeKind(assertion, timeline, Stalls(left_out));
  tell(again);
  AddDetail(again.verdict, "with them", judgement.verdict.reason());
  if (again.verdict.result() == Verdict::INCONCLUSIVE) {
    again.verdict.set_reason(absl::StrCat("without the moments at which others had the cores: ", again.verdict.reason(),
                                          "; with them: ", judgement.verdict.reason()));
    again.verdict.set_advice("run it again on a machine with less else to do");
  }
  return again;
}

// The names of the faults that the assertion is judged for one by one, as it is about one that repeats; empty: it is judged once.
std::vector<std::string> JudgedFor(const Assertion& assertion, const Timeline& timeline) {
  const google::protobuf::FieldDescriptor* kind = KindField(assertion);
  if (kind == nullptr) return {};
  const google::protobuf::FieldDescriptor* fault = kind->message_type()->FindFieldByName("fault");
  if (fault == nullptr) return {};
  const google::protobuf::Message& spec = assertion.GetReflection()->GetMessage(assertion, kind);
  return RepeatsOf(timeline.header.scenario(), spec.GetReflection()->GetString(spec, fault));
}

Assertion About(Assertion assertion, const std::string& name) {
  const google::protobuf::FieldDescriptor* kind = KindField(assertion);
  google::protobuf::Message* spec = assertion.GetReflection()->MutableMessage(&assertion, kind);
  spec->GetReflection()->SetString(spec, kind->message_type()->FindFieldByName("fault"), name);
  return assertion;
}

int Severity(Verdict::Result result) { return result == Verdict::FAIL ? 2 : result == Verdict::INCONCLUSIVE ? 1 : 0; }

// The worst of all times of the fault counts.
Judgement JudgeEachTime(const Assertion& assertion, const std::vector<std::string>& names, const Timeline& timeline) {
  std::optional<Judgement> worst;
  std::string which;
  bool final = true;
  std::vector<std::string> results;
  for (const std::string& name : names) {
    Judgement each = JudgeFairly(About(assertion, name), timeline);
    final = final && each.final;
    results.push_back(absl::StrCat(name, " ", Verdict::Result_Name(each.verdict.result())));
    if (worst && Severity(each.verdict.result()) <= Severity(worst->verdict.result())) continue;
    worst = std::move(each);
    which = name;
  }
  if (worst->verdict.result() != Verdict::PASS) worst->verdict.set_reason(absl::StrCat(which, ": ", worst->verdict.reason()));
  AddDetail(worst->verdict, "each time of the fault", absl::StrJoin(results, ", "));
  // What has failed once has failed.
  worst->final = final || (worst->verdict.result() == Verdict::FAIL && worst->final);
  return *std::move(worst);
}

// How a run ended that did not come to its end; empty: it did.
std::string CutShort(const Footer& footer) {
  switch (footer.ending()) {
    case Footer::COMPLETED:
    case Footer::NOT_STEADY:
      return "";
    case Footer::GUARDRAIL:
      return "a guardrail ended the run before this could be judged";
    case Footer::INTERRUPTED:
      return "the run was interrupted before this could be judged";
    case Footer::HARNESS_FAILED:
    default:
      return "squall itself failed before this could be judged";
  }
}

// The reason stands once in the result, not again with every assertion.
Obstacle EndedEarly(std::string how) { return {std::move(how), "run it again"}; }

}  // namespace

Judgement Judge(const Assertion& assertion, const Timeline& timeline) {
  const std::vector<std::string> times = JudgedFor(assertion, timeline);
  Judgement judgement = times.empty() ? JudgeFairly(assertion, timeline) : JudgeEachTime(assertion, times, timeline);
  if (timeline.footer && !judgement.final) {
    if (std::string how = CutShort(*timeline.footer); !how.empty()) {
      // What was seen so far stays in the details; it proves nothing.
      Verdict details;
      details.set_samples(judgement.verdict.samples());
      details.mutable_details()->Swap(judgement.verdict.mutable_details());
      judgement = Obstructed(EndedEarly(std::move(how)), std::move(details));
    }
  }
  judgement.final = judgement.final || timeline.footer.has_value();
  judgement.verdict.set_assertion(assertion.name());
  judgement.verdict.set_kind(AssertionKind(assertion));
  return judgement;
}

std::vector<Judgement> JudgeAll(const Timeline& timeline) {
  std::vector<Judgement> judgements;
  for (const Assertion& assertion : timeline.header.scenario().assertions()) {
    judgements.push_back(Judge(assertion, timeline));
  }
  return judgements;
}

bool AllBackAtRest(const Timeline& timeline) {
  const auto& assertions = timeline.header.scenario().assertions();
  return std::all_of(assertions.begin(), assertions.end(), [&](const Assertion& assertion) {
    return !assertion.has_no_leak() || IsBackAtRest(assertion.no_leak(), timeline);
  });
}

bool AnyLeak(const Timeline& timeline) {
  const auto& assertions = timeline.header.scenario().assertions();
  return std::any_of(assertions.begin(), assertions.end(), [&](const Assertion& assertion) {
    return assertion.has_no_leak() && Judge(assertion, timeline).verdict.result() == Verdict::FAIL;
  });
}

bool AnyStuck(const Timeline& timeline) {
  const auto& assertions = timeline.header.scenario().assertions();
  return std::any_of(assertions.begin(), assertions.end(), [&](const Assertion& assertion) {
    if (!assertion.recovery().confirm_metastable()) return false;
    const std::vector<std::string> times = JudgedFor(assertion, timeline);
    return IsStuck(times.empty() ? assertion.recovery() : About(assertion, times.back()).recovery(), timeline);
  });
}

std::string SteadyViolation(const Timeline& timeline) {
  const Stalls stalls(timeline.stalls);
  for (const Load& load : timeline.header.scenario().load()) {
    if (std::string violation = Unsteadiness(timeline, load, stalls); !violation.empty()) return violation;
  }
  return "";
}

std::string TrippedGuardrail(const Timeline& timeline) {
  for (const Guardrail& guardrail : timeline.header.scenario().guardrails()) {
    if (std::string how = Trip(guardrail, timeline); !how.empty()) return how;
  }
  return "";
}

}  // namespace squall
