#include "controller/describe_assertions.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/durations.h"
#include "base/text.h"
#include "controller/wording.h"

namespace squall {
namespace {

std::string Human(const google::protobuf::Duration& duration) { return HumanDuration(ToDuration(duration)); }

std::string Points(double points) { return absl::StrFormat("%g points", points); }

std::string AboutFault(const std::string& fault) {
  return fault.empty() ? "from the first injection to the last healing" : absl::StrCat("about ", fault);
}

std::string DescribeTimeout(const Timeout& timeout) {
  const absl::Duration deadline = ToDuration(timeout.deadline());
  const absl::Duration margin =
      timeout.has_margin() ? ToDuration(timeout.margin()) : std::max(absl::Milliseconds(50), 0.05 * deadline);
  return absl::StrCat("requests of ", timeout.load(), " that run into the deadline of ",
                      HumanDuration(deadline), " are answered within ", HumanDuration(deadline + 2 * margin),
                      " (margin ", HumanDuration(margin),
                      timeout.has_margin() ? "" : " + the fastest baseline request",
                      ", twice), and 99.9 % of 1,000 or "
                      "more within ",
                      HumanDuration(deadline + margin), "; at least ", timeout.at_least(), " of them");
}

std::string DescribeRecovery(const Recovery& recovery) {
  return absl::StrCat(recovery.load(), " is back within ", Human(recovery.within()), " of ",
                      recovery.since() == Recovery::SINCE_INJECT ? "injection" : "healing", ": ",
                      recovery.windows(), " windows, at most one of them out of band; p50 and p95 up to ",
                      absl::StrFormat("%g", recovery.latency_factor()), " x baseline or + ",
                      Human(recovery.latency_slack()), ", errors up to baseline + ",
                      absl::StrFormat("%g", recovery.errors_slack()), " points, goodput from ",
                      HumanPercent(recovery.goodput()), " of baseline");
}

std::string DescribeBreaker(const CircuitBreaker& breaker) {
  if (breaker.stays_closed()) {
    return absl::StrCat("calls over ", breaker.edge(), " go on at 90 % or more of what is usual in 99 % of windows");
  }
  const std::string probes = breaker.probes() == 0   ? "any number of probes"
                             : breaker.probes() == 1 ? "1 probe"
                                                     : absl::StrCat(breaker.probes(), " probes");
  return absl::StrCat("calls over ", breaker.edge(), " stop within ", Human(breaker.opens_within()),
                      " of the first failed one, ", probes, " every ", Human(breaker.open_time()),
                      ", and flow again within ", Human(breaker.closes_within()), " of healing; while open, ",
                      breaker.load(), " is answered within ",
                      breaker.has_fails_fast_within() ? Human(breaker.fails_fast_within())
                                                      : "max(50 ms, baseline p99 + 20 ms)");
}

std::string ModelWord(const RateLimiter& limiter) {
  switch (limiter.model()) {
    case RateLimiter::MODEL_FIXED_WINDOW:
      return absl::StrCat("in each window of ", Human(limiter.period()), " on the clock");
    case RateLimiter::MODEL_SLIDING_LOG:
      return absl::StrCat("in any ", Human(limiter.period()));
    case RateLimiter::MODEL_NGINX:
      return absl::StrCat("and ", limiter.burst(), " + 1 at once (nginx)");
    default:
      return absl::StrCat("and ", limiter.burst(), " at once");
  }
}

std::string DescribeLimiter(const RateLimiter& limiter) {
  const bool window = limiter.model() == RateLimiter::MODEL_FIXED_WINDOW || limiter.model() == RateLimiter::MODEL_SLIDING_LOG;
  std::string text =
      absl::StrCat(limiter.load(), " is admitted at ", HumanRate(limiter.rate()), window ? absl::StrCat(", ", limiter.burst()) : "",
                   " ", ModelWord(limiter));
  if (limiter.instances() > 1) absl::StrAppend(&text, ", by each of ", limiter.instances(), " instances");
  absl::StrAppend(&text, ": no more in any interval, and no less; what is too much is rejected within ",
                  Human(limiter.rejects_within()));
  if (limiter.retry_after()) absl::StrAppend(&text, " with a Retry-After after which it is admitted");
  if (!limiter.others().empty()) {
    absl::StrAppend(&text, "; ", absl::StrJoin(limiter.others(), ", "), " must not feel it");
  }
  return text;
}

std::string DescribeCalls(const Timeout& timeout) {
  std::vector<std::string> parts;
  if (timeout.propagates()) parts.push_back("carry the deadline that is left");
  if (timeout.cancels()) parts.push_back(absl::StrCat("are given up within ", Human(timeout.cancels_within()), " of it"));
  return absl::StrCat("calls over ", timeout.edge(), " ", absl::StrJoin(parts, " and "));
}

std::string DescribeRetries(const RetryBudget& retry) {
  std::string text = absl::StrCat("calls over ", retry.edge(), " for each request of ", retry.load(), " stay within ",
                                  absl::StrFormat("%g", retry.at_most()), " times what they are at the baseline, and within ",
                                  absl::StrFormat("%g", retry.surge()), " times for ", Human(retry.surge_for()), " after healing");
  if (retry.attempts() > 0) absl::StrAppend(&text, "; at most ", retry.attempts(), " for one request");
  if (retry.has_backoff()) absl::StrAppend(&text, "; at least ", Human(retry.backoff().base()), " apart, and longer each time");
  return absl::StrCat(text, "; never ", absl::StrFormat("%g", retry.synchrony()), " times as many in 100 ms as on average");
}

std::string DescribeBulkhead(const Bulkhead& bulkhead) {
  std::string text = absl::StrCat("at most ", bulkhead.limit() * bulkhead.instances() + 1, " calls over ", bulkhead.edge(), " wait at the same time");
  if (bulkhead.others().empty()) return text;
  return absl::StrCat(text, "; ", absl::StrJoin(bulkhead.others(), ", "), " lose at most ", Points(bulkhead.others_lose()), ", with p99 up to ",
                      absl::StrFormat("%g", bulkhead.others_factor()), " x baseline + ", Human(bulkhead.others_slack()));
}

std::string DescribeShedding(const LoadShedding& shedding) {
  return absl::StrCat("while ", shedding.load(), " offers twice ", HumanRate(shedding.capacity()), ", at least ",
                      HumanRate(shedding.capacity() * shedding.goodput() / 100), " are answered well within ", Human(shedding.slo()),
                      "; what is accepted is answered within ", Human(shedding.accepted_within()), ", what is shed within ",
                      Human(shedding.sheds_within()), "; back within ", Human(shedding.recovers_within()));
}

std::string DescribeFallback(const Fallback& fallback) {
  return absl::StrCat(HumanPercent(fallback.answered()), " of the requests of ", fallback.load(), " are answered within ",
                      Human(fallback.within()), ", by the service or its fallback; at least ", fallback.at_least(), " by the fallback");
}

std::string DescribeShutdown(const GracefulShutdown& shutdown) {
  return absl::StrCat("of the requests of ", shutdown.load(), " in flight when ", shutdown.fault(), " asks the service to stop, ",
                      shutdown.in_flight_fail(), " fail; of new ones ", Points(shutdown.new_errors()),
                      " more than before; it exits by itself within ", Human(shutdown.within()));
}

std::string DescribeGrowth(const Growth& growth) {
  return absl::StrCat("+", growth.at_most(), growth.share() > 0 ? absl::StrCat(" or ", HumanPercent(growth.share())) : "");
}
std::string DescribeGrowth(const GrowthOfBytes& growth) {
  return absl::StrCat("+", HumanBytes(growth.at_most()), growth.share() > 0 ? absl::StrCat(" or ", HumanPercent(growth.share())) : "");
}

std::string DescribeLeak(const NoLeak& leak) {
  std::vector<std::string> limits;
  const auto say = [&](bool given, absl::string_view what, const auto& growth, absl::string_view otherwise) {
    limits.push_back(absl::StrCat(what, " ", given ? DescribeGrowth(growth) : std::string(otherwise)));
  };
  say(leak.has_goroutines(), "goroutines", leak.goroutines(), "+10 or 5 %");
  say(leak.has_threads(), "threads", leak.threads(), "+16 or 10 %");
  say(leak.has_fds(), "fds", leak.fds(), "+5 or 2 %");
  say(leak.has_close_wait(), "CLOSE_WAIT", leak.close_wait(), "+2");
  say(leak.has_established(), "ESTABLISHED", leak.established(), "+5 or 5 %");
  say(leak.has_rss(), "RSS", leak.rss(), "+16 MiB or 10 %");
  say(leak.has_heap(), "heap", leak.heap(), "+8 MiB or 10 %");
  std::string text = absl::StrCat("at rest after the faults ", leak.service(), " holds no more than at rest before them: ", absl::StrJoin(limits, ", "));
  if (leak.has_peak()) {
    absl::StrAppend(&text, "; while they act, no more than ", leak.peak().goroutines_each(), " goroutines, ", HumanBytes(leak.peak().heap_each()),
                    " and ", leak.peak().fds_each(), " fds for each request of the last ", Human(leak.peak().deadline()));
  }
  return text;
}

std::string Part(During during) {
  switch (during) {
    case DURING_AFTER:
      return "after it";
    case DURING_ALWAYS:
      return "always";
    case DURING_BASELINE:
      return "at the baseline";
    default:
      return "while it acts";
  }
}

std::string DescribeMetric(const MetricBound& metric) {
  std::string what = metric.monitor().empty() ? absl::StrCat(metric.metric(), " of ", metric.service())
                                              : absl::StrCat(metric.query(), " at ", metric.monitor());
  for (const auto& [name, value] : metric.labels()) absl::StrAppend(&what, " ", name, "=", value);
  if (metric.of() == MetricBound::OF_INCREASE) what = absl::StrCat("the increase of ", what);
  if (metric.of() == MetricBound::OF_RATE) what = absl::StrCat("the rate of ", what);
  std::vector<std::string> bounds;
  if (metric.has_at_least()) bounds.push_back(absl::StrFormat("at least %g", metric.at_least()));
  if (metric.has_at_most()) bounds.push_back(absl::StrFormat("at most %g", metric.at_most()));
  return absl::StrCat(what, metric.has_reached_within() ? " comes to " : " is ", absl::StrJoin(bounds, " and "), ", ", Part(metric.during()),
                      metric.has_reached_within() ? absl::StrCat(", within ", Human(metric.reached_within())) : "");
}

std::string DescribeLog(const LogPattern& log) {
  if (log.how_case() == LogPattern::kNeverMatches) {
    return absl::StrCat("no line of ", log.service(), " matches ", Quoted(log.never_matches()), ", ", Part(log.during()));
  }
  return absl::StrCat(log.at_least() == 1 ? "a line" : absl::StrCat(log.at_least(), " lines"), " of ", log.service(),
                      log.at_least() == 1 ? " matches " : " match ", Quoted(log.matches()), ", ", Part(log.during()));
}

std::string DescribeHealth(const Health& health) {
  if (health.stays_ready()) return absl::StrCat(health.service(), " says that it is ready all the time");
  return absl::StrCat(health.service(), " says that it is not ready within ", Human(health.unready_within()),
                      health.names().empty() ? "" : absl::StrCat(", naming ", Quoted(health.names())), ", and that it is again within ",
                      Human(health.ready_within()), " of healing");
}

}  // namespace

std::vector<std::string> DescribeAssertion(const Assertion& assertion) {
  switch (assertion.kind_case()) {
    case Assertion::kTimeout: {
      const Timeout& timeout = assertion.timeout();
      std::vector<std::string> lines = {DescribeTimeout(timeout)};
      if (timeout.propagates() || timeout.cancels()) lines.push_back(DescribeCalls(timeout));
      lines.push_back(AboutFault(timeout.fault()));
      return lines;
    }
    case Assertion::kRecovery: {
      const Recovery& recovery = assertion.recovery();
      std::vector<std::string> lines = {DescribeRecovery(recovery)};
      if (recovery.confirm_metastable()) lines.push_back("when it does not come back, its load is cut, to tell why");
      if (recovery.has_gray()) {
        lines.push_back(absl::StrCat("and is never out of band for ", recovery.gray().windows(), " windows while ", recovery.gray().service(),
                                     " says that it is healthy"));
      }
      lines.push_back(AboutFault(recovery.fault()));
      return lines;
    }
    case Assertion::kCircuitBreaker: {
      const CircuitBreaker& breaker = assertion.circuit_breaker();
      std::vector<std::string> lines = {DescribeBreaker(breaker), AboutFault(breaker.fault())};
      if (breaker.has_state()) lines.push_back(absl::StrCat("its own state, by metric ", breaker.state().metric(), ", is shown beside"));
      return lines;
    }
    case Assertion::kRateLimiter:
      return {DescribeLimiter(assertion.rate_limiter())};
    case Assertion::kTlsVerified:
      return {"no TLS handshake is completed with a certificate that must be refused", AboutFault(assertion.tls_verified().fault())};
    case Assertion::kRetryBudget:
      return {DescribeRetries(assertion.retry_budget()), AboutFault(assertion.retry_budget().fault())};
    case Assertion::kBulkhead:
      return {DescribeBulkhead(assertion.bulkhead()), AboutFault(assertion.bulkhead().fault())};
    case Assertion::kLoadShedding:
      return {DescribeShedding(assertion.load_shedding()), AboutFault(assertion.load_shedding().fault())};
    case Assertion::kFallback:
      return {DescribeFallback(assertion.fallback()), AboutFault(assertion.fallback().fault())};
    case Assertion::kGracefulShutdown:
      return {DescribeShutdown(assertion.graceful_shutdown())};
    case Assertion::kNoLeak:
      return {DescribeLeak(assertion.no_leak())};
    case Assertion::kMetric:
      return {DescribeMetric(assertion.metric()), AboutFault(assertion.metric().fault())};
    case Assertion::kLog:
      return {DescribeLog(assertion.log()), AboutFault(assertion.log().fault())};
    case Assertion::kAlert:
      return {absl::StrCat("alert ", assertion.alert().alert(), " fires within ", Human(assertion.alert().fires_within()),
                           " of the injection, and is resolved within ", Human(assertion.alert().resolves_within()), " of healing, at ",
                           assertion.alert().monitor()),
              AboutFault(assertion.alert().fault())};
    case Assertion::kHealth:
      return {DescribeHealth(assertion.health()), AboutFault(assertion.health().fault())};
    case Assertion::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace squall
