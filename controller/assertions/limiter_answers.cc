// How a limiter answers: how fast, what it says about coming again, and what others feel of it.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/baseline.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/limiter_checks.h"
#include "controller/assertions/windows.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

constexpr size_t kEnough = 20;
constexpr double kRetriesAdmitted = 0.95;
constexpr double kOtherPoints = 0.5;
// Beyond the queue itself: the scheduler, and the clock of nginx.
constexpr int64_t kQueueSlackNs = 100'000'000;

void Break(LimiterCheck& check, std::string reason, const std::vector<const Request*>& examples) {
  check.state = LimiterCheck::kBroken;
  check.reason = std::move(reason);
  check.examples = examples;
  if (!examples.empty()) check.first_broken_ns = examples.front()->sent_ns;
}

// Neither failed nor rejected.
struct Share {
  int64_t all = 0;
  std::vector<const Request*> lost;
  double Percent() const { return all == 0 ? 0 : 100.0 * static_cast<double>(lost.size()) / static_cast<double>(all); }
};

Share LostIn(absl::Span<const Request> requests, const Stalls& stalls) {
  Share share;
  for (const Request& request : requests) {
    if (request.outcome == ABANDONED || stalls.Touch(request.intended_ns, request.end_ns)) continue;
    ++share.all;
    if (!IsAdmitted(request)) share.lost.push_back(&request);
  }
  return share;
}

// p99 of what was admitted while more than the limit was offered.
int64_t AdmittedAbove(const LimiterScene& scene) {
  std::vector<int64_t> answers_ns;
  for (const OfferedSpan& span : scene.spans) {
    if (span.per_second <= scene.limit.rate) continue;
    for (const Request* request : scene.Offered(span.begin_ns, span.end_ns)) {
      if (IsAdmitted(*request) && !scene.stalls.Touch(request->sent_ns, request->end_ns)) answers_ns.push_back(request->AnswerNs());
    }
  }
  return answers_ns.empty() ? 0 : Percentile(answers_ns, 99);
}

}  // namespace

LimiterCheck CheckSpeed(const LimiterScene& scene) {
  LimiterCheck check;
  check.name = "rejections";
  std::vector<int64_t> answers_ns;
  std::vector<const Request*> slow;
  const int64_t limit_ns = Nanos(scene.spec.rejects_within());
  for (const Request& request : scene.requests) {
    if (request.outcome != REJECTED || scene.stalls.Touch(request.sent_ns, request.end_ns)) continue;
    answers_ns.push_back(request.AnswerNs());
    if (request.AnswerNs() > limit_ns) slow.push_back(&request);
  }
  if (answers_ns.size() < kEnough) {
    check.figures = absl::StrCat(Counted(static_cast<int64_t>(answers_ns.size()), "request"), ", too few to judge");
    check.reason = absl::StrCat("only ", Counted(static_cast<int64_t>(answers_ns.size()), "request"), " of load ",
                                scene.load.name(), " were rejected; ", kEnough, " are needed");
    check.advice = "offer more than the limit for longer, or leave out the load's `rate` and `steps`";
    return check;
  }
  const int64_t p99_ns = Percentile(answers_ns, 99);
  check.figures = absl::StrCat(Counted(static_cast<int64_t>(answers_ns.size()), "request"), ", p99 ", Tenths(p99_ns),
                               " (at most ", Tenths(limit_ns), ")");
  check.state = LimiterCheck::kHolds;
  if (p99_ns <= limit_ns) return check;
  // A busy machine is slow with everything; a limiter that rejects slowly, with most rejections or with these alone.
  const int64_t admitted_ns = AdmittedAbove(scene);
  if (Percentile(answers_ns, 50) <= limit_ns && p99_ns <= 2 * admitted_ns) {
    check.state = LimiterCheck::kOpen;
    check.reason = absl::StrCat("p99 of ", Counted(static_cast<int64_t>(answers_ns.size()), "rejection"), " is ", Tenths(p99_ns),
                                " (at most ", Tenths(limit_ns), "), but what was admitted at the same time was as slow: p99 ",
                                Tenths(admitted_ns));
    check.advice = "run it again on a machine with less else to do";
    return check;
  }
  check.measured = Tenths(p99_ns);
  check.limit = absl::StrCat("p99 at most ", Tenths(limit_ns));
  check.margin = Tenths(limit_ns - p99_ns);
  Break(check,
        absl::StrCat("rejects slowly: p99 of ", Counted(static_cast<int64_t>(answers_ns.size()), "rejection"), " is ",
                     Tenths(p99_ns), "; at most ", Tenths(limit_ns), " are allowed"),
        slow);
  return check;
}

LimiterCheck CheckQueue(const LimiterScene& scene) {
  LimiterCheck check;
  check.only_if_offered = true;
  check.name = "wait in the full queue";
  const auto queue_ns = static_cast<int64_t>(static_cast<double>(scene.spec.burst()) / scene.spec.rate() * 1e9);
  const Baseline baseline = BaselineOf(scene.timeline, scene.load);
  const int64_t limit_ns = queue_ns + queue_ns / 20 + static_cast<int64_t>(baseline.p50_ns) + kQueueSlackNs;
  // Once something was rejected the queue is full, and stays so while more than the limit is offered.
  std::vector<const Request*> late;
  std::vector<int64_t> waits_ns;
  for (const OfferedSpan& span : scene.spans) {
    const auto [begin_ns, end_ns] = scene.Core(span);
    if (span.per_second < 1.2 * scene.limit.rate || end_ns - begin_ns < 1'000'000'000) continue;
    bool full = false;
    for (const Request* request : scene.Offered(begin_ns, end_ns)) {
      full |= request->outcome == REJECTED;
      if (!full || !IsAdmitted(*request) || scene.stalls.Touch(request->sent_ns, request->end_ns)) continue;
      waits_ns.push_back(request->AnswerNs());
      if (request->AnswerNs() > limit_ns) late.push_back(request);
    }
  }
  if (waits_ns.size() < kEnough) {
    check.figures = "the queue was never full for long";
    check.reason = absl::StrCat("only ", Counted(static_cast<int64_t>(waits_ns.size()), "request"),
                                " were admitted while the queue was full; ", kEnough, " are needed");
    check.advice = "leave out the load's `rate` and `steps`, so that the plan offers what is needed";
    return check;
  }
  const int64_t wait_ns = Percentile(waits_ns, 50);
  check.figures = absl::StrCat(Tenths(wait_ns), " (median); ", Grouped(scene.spec.burst()), " in front at ",
                               HumanRate(scene.spec.rate()), " take ", Tenths(queue_ns), " (at most ", Tenths(limit_ns), ")");
  check.state = LimiterCheck::kHolds;
  if (wait_ns <= limit_ns) return check;
  check.measured = Tenths(wait_ns);
  check.limit = absl::StrCat("at most ", Tenths(limit_ns));
  check.margin = Tenths(limit_ns - wait_ns);
  Break(check,
        absl::StrCat("the queue is longer than promised: half of ", Counted(static_cast<int64_t>(waits_ns.size()), "request"),
                     " that were admitted when it was full waited ", Tenths(wait_ns), " or longer; a queue of ",
                     Grouped(scene.spec.burst()), " at ", HumanRate(scene.spec.rate()), " is over after ", Tenths(queue_ns)),
        late);
  return check;
}

LimiterCheck CheckRetryAfter(const LimiterScene& scene) {
  LimiterCheck check;
  check.name = "Retry-After";
  std::vector<const Request*> without, unreadable, rejected_again;
  int64_t rejected = 0, tried = 0;
  uint32_t shortest = UINT32_MAX, longest = 0;
  for (const Request& request : scene.requests) {
    if (request.retried && !scene.stalls.Touch(request.sent_ns, request.end_ns) && request.outcome != ABANDONED) {
      ++tried;
      if (!IsAdmitted(request)) rejected_again.push_back(&request);
    }
    if (request.outcome != REJECTED) continue;
    ++rejected;
    if (request.retry_after_ms == 0) without.push_back(&request);
    if (request.retry_after_ms == 1) unreadable.push_back(&request);
    if (request.retry_after_ms < 2) continue;
    shortest = std::min(shortest, request.retry_after_ms - 2);
    longest = std::max(longest, request.retry_after_ms - 2);
  }
  const auto again = static_cast<int64_t>(rejected_again.size());
  const int64_t carry = rejected - static_cast<int64_t>(without.size());
  check.figures = absl::StrCat("on ", Grouped(carry), " of ", Counted(rejected, "rejection"));
  if (longest >= shortest) {
    absl::StrAppend(&check.figures, ", ", HumanNanos(int64_t{shortest} * 1'000'000), " to ",
                    HumanNanos(int64_t{longest} * 1'000'000));
  }
  absl::StrAppend(&check.figures, "; ", Grouped(tried - again), " of ", Grouped(tried), " that were sent again after it were admitted");
  if (rejected == 0) {
    check.reason = "nothing was rejected, so that no Retry-After was seen";
    check.advice = "offer more than the limit";
    return check;
  }
  for (const auto& [broken, what] : {std::pair(&without, "carry no Retry-After"),
                                     std::pair(&unreadable, "carry a Retry-After that is neither seconds nor an HTTP date")}) {
    if (broken->empty()) continue;
    check.measured = Counted(static_cast<int64_t>(broken->size()), "rejection");
    check.limit = "none";
    Break(check, absl::StrCat("Retry-After: ", Grouped(static_cast<int64_t>(broken->size())), " of ", Counted(rejected, "rejection"), " ", what),
          *broken);
    return check;
  }
  if (static_cast<size_t>(tried) < kEnough) {
    check.reason = absl::StrCat("only ", Counted(tried, "rejected request"), " could be sent again after their Retry-After; ",
                                kEnough, " are needed");
    check.advice = "leave out the load's `rate` and `steps`: in quiet times the plan sends them again; a Retry-After of many "
                   "seconds needs quiet times that long";
    return check;
  }
  check.state = LimiterCheck::kHolds;
  if (static_cast<double>(tried - again) >= kRetriesAdmitted * static_cast<double>(tried)) return check;
  check.measured = HumanPercent(100.0 * static_cast<double>(tried - again) / static_cast<double>(tried));
  check.limit = "at least 95 %";
  Break(check,
        absl::StrCat("Retry-After is not kept: only ", Grouped(tried - again), " of ", Counted(tried, "request"),
                     " that were sent again after it, one at a time while nothing else was offered, were admitted"),
        rejected_again);
  return check;
}

LimiterCheck CheckOther(const LimiterScene& scene, const std::string& other) {
  LimiterCheck check;
  check.name = absl::StrCat("what ", other, " lost");
  int64_t begin_ns = 0, end_ns = 0;
  for (const OfferedSpan& span : scene.spans) {
    if (span.per_second <= scene.limit.rate) continue;
    if (begin_ns == 0) begin_ns = span.begin_ns;
    end_ns = span.end_ns;
  }
  const auto found = scene.timeline.requests.find(other);
  const Load* load = FindLoad(scene.timeline, other);
  Share before, meanwhile;
  if (found != scene.timeline.requests.end() && load != nullptr) {
    before = LostIn(BaselineRequests(scene.timeline, *load, BaselineOf(scene.timeline, *load)), scene.stalls);
    meanwhile = LostIn(IntendedWithin(found->second, begin_ns, end_ns), scene.stalls);
  }
  const auto lost = static_cast<int64_t>(meanwhile.lost.size());
  check.figures = absl::StrCat(Grouped(lost), " of ", Counted(meanwhile.all, "request"), " while ", scene.load.name(),
                               " was at its limit, ", HumanPercent(before.Percent()), " before");
  if (meanwhile.all < static_cast<int64_t>(kEnough) || before.all < static_cast<int64_t>(kEnough)) {
    check.reason = absl::StrCat("load ", other, " sent ", Counted(meanwhile.all, "request"), " while ", scene.load.name(),
                                " was at its limit, and ", Grouped(before.all), " before; ", kEnough, " are needed");
    check.advice = absl::StrCat("raise the rate of load ", other);
    return check;
  }
  check.state = LimiterCheck::kHolds;
  const double points = meanwhile.Percent() - before.Percent();
  // One request is nothing to judge by.
  if (points <= kOtherPoints || lost <= 1) return check;
  check.measured = absl::StrCat(HumanPercent(points), " more");
  check.limit = "at most 0.5 points";
  Break(check,
        absl::StrCat("load ", other, " feels the limit of ", scene.load.name(), ": it lost ", check.figures,
                     "; at most 0.5 points more are allowed"),
        meanwhile.lost);
  return check;
}

}  // namespace squall
