#include "tests/e2e/judge_table.h"

namespace squall {
namespace {

std::vector<JudgeRow> MakeRows() {
  std::vector<JudgeRow> rows;
  std::string scenario;
  const auto correct = [&](const std::string& name) {
    scenario = name;
    rows.push_back({scenario, "none", "", ""});
  };
  const auto broken = [&](const std::string& mutant, const std::string& assertion, const std::string& reason) {
    rows.push_back({scenario, mutant, assertion, reason});
  };

  correct("demo/recommend");
  broken("ignores-deadline", "answers-in-time", "had no answer by ");
  broken("never-reconnects", "recovers-from-death", "still out of band ");
  broken("never-drains", "recovers-from-slowness", "still out of band ");

  correct("demo/names-and-cpu");
  broken("ignores-deadline", "answers-in-time", "had no answer by ");

  for (const char* name : {"demo/breaker", "breaker/opens-and-closes"}) {
    correct(name);
    broken("breaker-never-opens", "circuit_breaker", "never opened");
    broken("breaker-never-closes", "circuit_breaker", "answered, and did not stay closed");
    broken("breaker-wedges-half-open", "circuit_breaker", "wedged half-open");
    broken("breaker-floods-with-probes", "circuit_breaker", "calls through at once when it tried again; at most 1 may");
  }
  correct("breaker/half-threshold");
  correct("breaker/unreachable-peer");
  // One that never comes back breaks `recovery` too.
  broken("breaker-never-opens", "circuit_breaker", "never opened");
  broken("breaker-floods-with-probes", "circuit_breaker", "while open; its open time allows ");

  for (const char* name : {"demo/limiter", "limiter/token-bucket"}) {
    correct(name);
    broken("limiter-twice-its-rate", "rate_limiter", "too much is admitted in the long run");
    broken("limiter-off-by-the-burst", "rate_limiter", "too many are admitted at once");
    broken("limiter-too-strict", "rate_limiter", "too strict");
    broken("limiter-rejects-slowly", "rate_limiter", "rejects slowly");
  }

  correct("process/kill");
  broken("never-reconnects", "recovery", "still out of band ");
  correct("process/pause");
  broken("never-drains", "recovery", "still out of band ");

  correct("load/surge");
  broken("never-drains", "recovery", "still out of band ");

  correct("assertions/retry-budget");
  broken("retries-without-budget", "retry_budget", "the usual while calls failed");
  broken("retries-without-backoff", "retry_budget", "retries came too soon");
  broken("retries-in-step", "retry_budget", "retries come in step");
  correct("assertions/bulkhead");
  broken("no-bulkhead", "bulkhead", "waited at the same time");
  correct("assertions/load-shedding");
  broken("queues-without-limit", "load_shedding", "were good");
  broken("sheds-slowly", "load_shedding", "that were turned away is ");
  broken("damaged", "load_shedding", "were good");
  correct("assertions/fallback");
  broken("empty-fallback", "fallback", " failed");
  broken("no-fallback", "fallback", " failed");
  correct("assertions/graceful-shutdown");
  broken("drops-in-flight", "graceful_shutdown", "in flight at SIGTERM failed");
  broken("ignores-sigterm", "graceful_shutdown", "and was ended by SIGKILL");
  correct("assertions/no-leak");
  broken("goroutine-per-timeout", "no_leak", "waitForNobody");
  broken("thread-per-timeout", "no_leak", "also threads ");
  broken("fd-per-timeout", "no_leak", "/etc/passwd");
  broken("heap-per-timeout", "no_leak", "leaks).add");
  correct("assertions/metric");
  broken("metric-lies", "tells-that-it-fails", "depot_dependency_up");
  correct("assertions/own-traffic");
  broken("no-fallback", "no-order-fails", "outcome=\"error\"} grew by ");
  correct("assertions/log");
  broken("silent", "tells-that-it-fails", "no line of depot matched");
  broken("logs-success", "tells-no-success", "order accepted by recommend");
  correct("assertions/health");
  broken("healthz-lies", "tells-what-failed", "went on saying that it was ready");
  broken("healthz-panics-early", "stays-ready", "had to stay ready");
  correct("assertions/timeout-propagation");
  broken("no-propagation", "tells-what-is-left", "told nothing of it");
  broken("propagates-whole-deadline", "tells-what-is-left", "told more than was left");
  broken("no-cancellation", "gives-up", "calls are not cancelled");
  correct("assertions/metastable");
  broken("metastable", "recovery", "METASTABLE");
  broken("damaged", "recovery", "DAMAGED");
  correct("assertions/gray");
  broken("gray", "recovery", "gray failure");
  return rows;
}

}  // namespace

const std::vector<JudgeRow>& JudgeRows() {
  static const auto* const rows = new std::vector<JudgeRow>(MakeRows());
  return *rows;
}

}  // namespace squall
