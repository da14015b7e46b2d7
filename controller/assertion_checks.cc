#include "controller/assertion_checks.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/durations.h"
#include "base/messages.h"
#include "base/text.h"
#include "controller/load_faults.h"
#include "controller/network_faults.h"
#include "controller/plan.h"
#include "controller/scalars.h"
#include "controller/schema.h"
#include "controller/units.h"
#include "controller/wording.h"
#include "re2/re2.h"

namespace squall {
namespace {

// What a plain call says of itself, and a datagram does not.
void CheckHttpEdge(const Scenario& scenario, const std::string& edge, const std::string& what, const std::string& path,
                   const std::string& parent, Reading& reading) {
  if (edge.empty()) {
    reading.ReportAt(path, reading.At(parent),
                     scenario.edges().empty()
                         ? absl::StrCat(what, " is seen at an edge, and the file has none; write for example edges: {recommend: {to: "
                                        "\"127.0.0.1:9090\"}}")
                         : absl::StrCat("edge is missing, and there are ", scenario.edges_size(), "; write which of them tells ", what));
    return;
  }
  const Edge* at = FindNamed(scenario.edges(), edge);
  if (at == nullptr || at->protocol() == Edge::PROTOCOL_HTTP) return;
  reading.Report(path, absl::StrCat(what, " is read in HTTP headers, and edge ", Quoted(edge), " has another protocol; leave it out"));
}

// The faults that an assertion is about.
std::vector<const Fault*> FaultsOf(const Scenario& scenario, const std::string& name) {
  std::vector<const Fault*> faults;
  for (const Fault& fault : scenario.faults()) {
    if (name.empty() || fault.name() == name) faults.push_back(&fault);
  }
  return faults;
}

// A key that does nothing without another.
void CheckGoesWith(bool with, absl::string_view other, const std::string& path, Reading& reading) {
  if (with || !reading.Given(path)) return;
  reading.Report(path, absl::StrCat(path.substr(path.rfind('.') + 1), " goes with ", other, "; leave it out, or write ", other));
}

void CheckTimeout(const Scenario& scenario, const Timeout& timeout, const std::string& path, Reading& reading) {
  CheckGoesWith(timeout.cancels(), "cancels: true", path + ".cancels_within", reading);
  CheckGoesWith(timeout.cancels() || timeout.propagates(), "propagates: true", path + ".edge", reading);
  if (!timeout.propagates() && !timeout.cancels()) return;
  for (const Fault* fault : FaultsOf(scenario, timeout.fault())) {
    if (!timeout.cancels() || !HidesCalls(*fault)) continue;
    reading.Report(path + ".cancels", absl::StrCat(Quoted(fault->name()), " lets nothing through, and that a caller gave up is not seen; write a stall or "
                                                                          "a latency, or give the timeout another `fault`"));
  }
  const std::string edge = path + ".edge";
  if (timeout.propagates()) {
    CheckHttpEdge(scenario, timeout.edge(), "the deadline that calls carry", edge, path, reading);
  } else if (timeout.edge().empty()) {
    CheckHttpEdge(scenario, "", "that a call is given up", edge, path, reading);
  }
}

void CheckHealthOf(const Scenario& scenario, const std::string& name, const std::string& path, Reading& reading) {
  const Service* service = FindNamed(scenario.services(), name);
  if (service == nullptr || service->has_health()) return;
  reading.Report(path, absl::StrCat("service ", Quoted(name), " has no `health` that could be asked; give it for example health: {url: "
                                    "\"http://127.0.0.1:8080/healthz\"}"));
}

void CheckRetries(const Scenario& scenario, const RetryBudget& retry, const std::string& path, Reading& reading) {
  const Edge* edge = FindNamed(scenario.edges(), retry.edge());
  if (edge != nullptr && edge->protocol() == Edge::PROTOCOL_UDP) {
    reading.Report(path, absl::StrCat("datagrams over edge ", Quoted(edge->name()), " are no calls that fail; name an edge with protocol http or tcp"));
  }
  if (retry.has_backoff() && ToDuration(retry.backoff().longest()) < ToDuration(retry.backoff().base())) {
    reading.Report(path + ".backoff.longest", "longest is less than base; write more, or a smaller base");
  }
  if (retry.has_backoff() && retry.backoff().jitter() >= 100) {
    reading.Report(path + ".backoff.jitter", "with full jitter a retry may come at once, and the gaps prove nothing; write less, or leave backoff out");
  }
  if (retry.attempts() > 0) {
    CheckHttpEdge(scenario, retry.edge(), "the trace id that tells the attempts of a request", path + ".attempts", path, reading);
  }
  if (retry.has_backoff()) {
    CheckHttpEdge(scenario, retry.edge(), "the trace id that tells the attempts of a request", path + ".backoff", path, reading);
  }
}

void CheckBulkhead(const Scenario& scenario, const Bulkhead& bulkhead, const std::string& path, Reading& reading) {
  const Edge* edge = FindNamed(scenario.edges(), bulkhead.edge());
  if (edge != nullptr && edge->protocol() == Edge::PROTOCOL_UDP) {
    reading.Report(path, absl::StrCat("datagrams over edge ", Quoted(edge->name()), " are no calls that wait; name an edge with protocol http or tcp"));
  }
  for (const Fault* fault : FaultsOf(scenario, bulkhead.fault())) {
    if (!HidesCalls(*fault) && !fault->has_kill()) continue;
    reading.Report(path, absl::StrCat("under ", Quoted(fault->name()), " no call waits at the dependency; write a stall or a latency, or give the bulkhead "
                                                                       "another `fault`"));
  }
  for (int i = 0; i < bulkhead.others_size(); ++i) {
    if (bulkhead.others(i) != bulkhead.load()) continue;
    reading.Report(ItemPath(path + ".others", i), absl::StrCat(Quoted(bulkhead.load()), " is the load that needs the dependency; name loads "
                                                               "that do not, or leave others out"));
  }
}

// The fault must offer twice the capacity.
void CheckShedding(const Scenario& scenario, const LoadShedding& shedding, const std::string& path, Reading& reading) {
  const Load* load = FindNamed(scenario.load(), shedding.load());
  if (load == nullptr || shedding.capacity() <= 0 || !reading.Sound("load")) return;
  double most = 0;
  for (const Fault& fault : scenario.faults()) {
    if (!shedding.fault().empty() && fault.name() != shedding.fault()) continue;
    if (!fault.has_surge() || fault.surge().load() != load->name()) continue;
    const double times = fault.ramp().times().empty() ? fault.surge().times() : *std::max_element(fault.ramp().times().begin(), fault.ramp().times().end());
    most = std::max(most, times * MostOffered(*load));
  }
  for (const auto& [within, key] : {std::pair{shedding.slo(), ".slo"}, std::pair{shedding.accepted_within(), ".accepted_within"}}) {
    if (ToDuration(within) < ToDuration(load->give_up_after())) continue;
    reading.Report(path + (reading.Given(path + key) ? key : ".slo"),
                   absl::StrCat("clients of ", load->name(), " give up after ", HumanDuration(ToDuration(load->give_up_after())),
                                ", so that nothing is answered later; write a longer give_up_after in load ", load->name()));
    return;
  }
  if (ToDuration(shedding.accepted_within()) < ToDuration(shedding.slo())) {
    reading.Report(path + ".accepted_within", "accepted_within is less than slo, which bounds what counts as good; write slo or more");
  }
  if (most > 2.2 * shedding.capacity()) {
    reading.Report(path + ".capacity", absl::StrCat("the surge offers up to ", HumanRate(most), ", and what is promised is judged at twice the capacity, ",
                                                    HumanRate(2 * shedding.capacity()), "; write a smaller `times`"));
  }
  if (most >= 2 * shedding.capacity() * 0.999) return;
  if (most == 0) {
    const std::string none = shedding.fault().empty() ? "no fault here is a surge" : absl::StrCat(Quoted(shedding.fault()), " is no surge");
    reading.Report(path + ".capacity", absl::StrCat("overload is twice the capacity, and ", none, " of load ", load->name(),
                                                    "; write for example surge: {load: ", load->name(), ", times: 4}"));
    return;
  }
  reading.Report(path + ".capacity",
                 absl::StrCat("overload is twice the capacity, ", HumanRate(2 * shedding.capacity()), ", and the surge offers at most ",
                              HumanRate(most), "; write a larger `times`, or a higher rate in load ", load->name()));
}

void CheckFallback(const Scenario& scenario, const Fallback& fallback, const std::string& path, Reading& reading) {
  const Load* load = FindNamed(scenario.load(), fallback.load());
  if (load == nullptr || !reading.Sound("load")) return;
  for (const Fault* fault : FaultsOf(scenario, fallback.fault())) {
    if (!fault->has_surge() && !fault->has_abandon()) continue;
    reading.Report(path, absl::StrCat(Quoted(fault->name()), " takes no dependency away, so that no fallback is needed; give it another `fault`"));
  }
  if (load->has_tcp() || load->has_grpc() || !load->ok_when().body().empty()) {
    const bool told = load->has_tcp() || load->has_degraded_when();
    if (!told) {
      reading.ReportAt(path, reading.At(path),
                       absl::StrCat("load ", Quoted(load->name()), " does not say what an answer of the fallback looks like; give it for example "
                                    "degraded_when: {headers: {x-fallback: \"true\"}}"));
    }
    return;
  }
  reading.ReportAt(path, reading.At(path),
                   absl::StrCat("an empty 200 is no answer: load ", Quoted(load->name()),
                                " must say what stands in a good one; give it for example ok_when: {body: '\"total\"'}"));
}

void CheckShutdown(const Scenario& scenario, const GracefulShutdown& shutdown, const std::string& path, Reading& reading) {
  const Fault* fault = FindNamed(scenario.faults(), shutdown.fault());
  if (fault == nullptr) return;
  const std::string& signal = fault->kill().signal();
  if (fault->has_kill() && (signal == "SIGTERM" || signal == "SIGINT" || signal == "SIGQUIT" || signal == "SIGHUP")) {
    if (fault->kill().has_restart_after() && ToDuration(shutdown.within()) > ToDuration(fault->kill().restart_after()) && !fault->kill().has_grace()) {
      reading.Report(path + ".fault", absl::StrCat(Quoted(fault->name()), " starts the service again after ",
                                                   HumanDuration(ToDuration(fault->kill().restart_after())), ", when it may still be stopping (within ",
                                                   HumanDuration(ToDuration(shutdown.within())), "); write grace in kill, or a longer restart_after"));
    }
    return;
  }
  reading.Report(path + ".fault",
                 fault->has_kill() ? absl::StrCat(Quoted(fault->name()), " sends ", signal, ", which no process can answer with an orderly end; "
                                                                                            "write signal: SIGTERM and grace: 30s in kill")
                                   : absl::StrCat(Quoted(fault->name()), " is no kill; name a kill with signal: SIGTERM"));
}

void CheckNoLeak(const Scenario& scenario, const NoLeak& leak, const std::string& path, Reading& reading) {
  if (leak.has_peak() && leak.load().empty()) {
    reading.ReportAt(path + ".load", reading.At(path), "a peak is set beside a load, and there is not just one; write load: NAME");
  }
  const Service* service = FindNamed(scenario.services(), leak.service());
  if (service == nullptr) return;
  for (const Fault& fault : scenario.faults()) {
    if (!fault.has_kill() || fault.kill().service() != service->name()) continue;
    reading.Report(path + ".service", absl::StrCat(Quoted(fault.name()), " ends ", service->name(),
                                                   ", and a process that was started again holds nothing of before; judge leaks in a scenario of "
                                                   "their own"));
    return;
  }
  for (const auto& [given, key] : {std::pair{leak.has_goroutines(), "goroutines"}, std::pair{leak.has_heap(), "heap"}}) {
    if (!given || service->has_pprof() || (service->has_metrics() && key != std::string("heap"))) continue;
    reading.Report(absl::StrCat(path, ".", key),
                   absl::StrCat("nothing tells the ", key, " of ", service->name(), "; give it for example pprof: {url: "
                                "\"http://127.0.0.1:6060/debug/pprof\"}, or leave ", key, " out"));
  }
}

void CheckMetric(const Scenario& scenario, const MetricBound& metric, const std::string& path, Reading& reading) {
  if (!metric.has_at_least() && !metric.has_at_most()) {
    reading.ReportAt(path + ".at_most", reading.At(path), "a bound is missing; write at_most: 100, at_least: 1, or both");
  } else if (metric.has_at_least() && metric.has_at_most() && metric.at_least() > metric.at_most()) {
    reading.Report(path + ".at_least", "at_least is more than at_most, which no value can be; change one of them");
  }
  if (metric.has_reached_within() && metric.of() == MetricBound::OF_RATE) {
    reading.Report(path + ".reached_within", "a rate is that of the whole part of the run; leave reached_within out, or write of: increase");
  }
  if (!metric.fault().empty() && (metric.during() == DURING_ALWAYS || metric.during() == DURING_BASELINE)) {
    reading.Report(path + ".fault", "the part of the run does not depend on a fault; leave fault out, or write during: fault");
  }
  const Monitor* monitor = FindNamed(scenario.monitors(), metric.monitor());
  if (metric.monitor().empty()) {
    if (!metric.query().empty()) {
      reading.Report(path + ".query", "a query is asked of a Prometheus server; write beside it monitor: NAME, or write metric: NAME of a page");
    } else if (metric.metric().empty()) {
      reading.ReportAt(path + ".metric", reading.At(path), "metric is missing; write for example metric: http_requests_total");
    }
    const Service* service = FindNamed(scenario.services(), metric.service());
    if (service == nullptr || service->has_metrics()) return;
    reading.Report(path, absl::StrCat("service ", Quoted(service->name()), " has no metrics to read it from; give it for example metrics: {url: "
                                      "\"http://127.0.0.1:8080/metrics\"}"));
    return;
  }
  if (metric.query().empty() || !metric.metric().empty()) {
    reading.ReportAt(path + ".query", reading.At(path), "of a monitor a query is asked; write query: 'sum(http_requests_total)', and no metric");
  }
  if (monitor != nullptr && !monitor->has_prometheus()) {
    reading.Report(path + ".monitor", absl::StrCat(Quoted(monitor->name()), " only receives alerts; name a monitor with prometheus"));
  }
}

void CheckLog(const Scenario& scenario, const LogPattern& log, const std::string& path, Reading& reading) {
  const std::string key = log.how_case() == LogPattern::kMatches ? ".matches" : ".never_matches";
  const std::string& pattern = log.how_case() == LogPattern::kMatches ? log.matches() : log.never_matches();
  const RE2 compiled(pattern, RE2::Quiet);
  if (!compiled.ok()) {
    reading.Report(path + key, absl::StrCat(Quoted(pattern), " is no regular expression: ", compiled.error()));
  } else if (pattern.empty()) {
    reading.Report(path + key, "an empty pattern matches every line; write what stands in the line");
  }
  if (log.how_case() == LogPattern::kNeverMatches && reading.Given(path + ".at_least")) {
    reading.Report(path + ".at_least", "at_least goes with matches; leave it out");
  }
  const Service* service = FindNamed(scenario.services(), log.service());
  if (service == nullptr || service->run_size() > 0 || !service->log_file().empty()) return;
  reading.Report(path, absl::StrCat("squall does not see what ", Quoted(service->name()), " prints, since it is attached to; give it for example "
                                    "log_file: /var/log/orders.log"));
}

void CheckReadiness(const Scenario& scenario, const Health& health, const std::string& path, Reading& reading) {
  CheckGoesWith(!health.stays_ready(), "unready_within", path + ".names", reading);
  CheckGoesWith(!health.stays_ready(), "unready_within", path + ".ready_within", reading);
  for (const Fault* fault : FaultsOf(scenario, health.fault())) {
    if (!fault->has_kill() || fault->kill().service() != health.service()) continue;
    if (health.stays_ready()) {
      reading.Report(path + ".stays_ready", absl::StrCat(Quoted(fault->name()), " ends ", health.service(), ", which then answers nobody; write unready_within, or "
                                                         "give the health another `fault`"));
    } else if (!health.names().empty()) {
      reading.Report(path + ".names", absl::StrCat(Quoted(fault->name()), " ends ", health.service(), ", which then names nothing; leave names out"));
    }
  }
}

// A budget longer than the fault is never judged.
void CheckWithinFault(const Scenario& scenario, const std::string& fault, const google::protobuf::Duration& within, const std::string& path,
                      Reading& reading) {
  if (!reading.Sound("faults") || !reading.Given(path)) return;
  absl::Duration longest;
  for (const PlannedFault& planned : MakePlan(scenario).faults) {
    if (!fault.empty() && planned.fault->name() != fault) continue;
    // Its clock starts with the signal, and nothing says when it is over.
    if (planned.fault->has_kill() && !planned.fault->kill().has_restart_after()) return;
    longest = std::max(longest, planned.until - planned.at);
  }
  if (longest <= absl::ZeroDuration() || ToDuration(within) <= longest) return;
  reading.Report(path, absl::StrCat("impossible timing: the fault lasts ", HumanDuration(longest), ", and so long nothing would be late; write ",
                                    DurationText(longest), " or less, or a longer `for`"));
}

}  // namespace

void CheckAssertion(const Scenario& scenario, const Assertion& assertion, const std::string& path, Reading& reading) {
  if (!reading.Sound(path)) return;
  switch (assertion.kind_case()) {
    case Assertion::kTimeout:
      return CheckTimeout(scenario, assertion.timeout(), path, reading);
    case Assertion::kRecovery:
      if (assertion.recovery().has_gray()) CheckHealthOf(scenario, assertion.recovery().gray().service(), path + ".gray", reading);
      return;
    case Assertion::kRetryBudget:
      return CheckRetries(scenario, assertion.retry_budget(), path, reading);
    case Assertion::kBulkhead:
      return CheckBulkhead(scenario, assertion.bulkhead(), path, reading);
    case Assertion::kLoadShedding:
      return CheckShedding(scenario, assertion.load_shedding(), path, reading);
    case Assertion::kFallback:
      return CheckFallback(scenario, assertion.fallback(), path, reading);
    case Assertion::kGracefulShutdown:
      return CheckShutdown(scenario, assertion.graceful_shutdown(), path, reading);
    case Assertion::kNoLeak:
      return CheckNoLeak(scenario, assertion.no_leak(), path, reading);
    case Assertion::kMetric:
      return CheckMetric(scenario, assertion.metric(), path, reading);
    case Assertion::kLog:
      return CheckLog(scenario, assertion.log(), path, reading);
    case Assertion::kAlert:
      return CheckWithinFault(scenario, assertion.alert().fault(), assertion.alert().fires_within(), path + ".fires_within", reading);
    case Assertion::kHealth:
      CheckHealthOf(scenario, assertion.health().service(), path, reading);
      CheckReadiness(scenario, assertion.health(), path, reading);
      if (assertion.health().expect_case() == Health::kUnreadyWithin) {
        CheckWithinFault(scenario, assertion.health().fault(), assertion.health().unready_within(), path + ".unready_within", reading);
      }
      return;
    case Assertion::kCircuitBreaker:
    case Assertion::kRateLimiter:
    case Assertion::kTlsVerified:
    case Assertion::KIND_NOT_SET:
      return;
  }
}

}  // namespace squall
