#include "agent/metrics/needed.h"

namespace squall {

std::set<std::string> NeededMetrics(const Scenario& scenario, const std::string& service) {
  std::set<std::string> names;
  for (const Assertion& assertion : scenario.assertions()) {
    if (assertion.has_metric() && assertion.metric().monitor().empty() && assertion.metric().service() == service) {
      names.insert(assertion.metric().metric());
    }
    if (assertion.has_no_leak() && assertion.no_leak().service() == service) {
      names.insert({"go_goroutines", "go_memstats_heap_inuse_bytes"});
    }
    if (!assertion.circuit_breaker().has_state()) continue;
    const StateMetric& state = assertion.circuit_breaker().state();
    for (const Edge& edge : scenario.edges()) {
      if (edge.name() != assertion.circuit_breaker().edge() || edge.from() != service) continue;
      names.insert(state.metric());
      if (!state.opened().empty()) names.insert(state.opened());
    }
  }
  return names;
}

}  // namespace squall
