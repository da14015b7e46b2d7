#include "controller/assertions/verdicts.h"

#include <utility>

namespace squall {

Judgement Obstructed(Obstacle obstacle, Verdict verdict) {
  verdict.set_result(Verdict::INCONCLUSIVE);
  verdict.set_reason(std::move(obstacle.reason));
  verdict.set_advice(std::move(obstacle.advice));
  return {std::move(verdict), false};
}

void AddDetail(Verdict& verdict, absl::string_view name, std::string value) {
  Detail* detail = verdict.add_details();
  detail->set_name(std::string(name));
  detail->set_value(std::move(value));
}

void AddExample(Verdict& verdict, const Timeline& timeline, const Load& load, const Request& request) {
  if (verdict.examples_size() >= 10) return;
  const auto totals = timeline.loads.find(load.name());
  const uint64_t prefix = totals == timeline.loads.end() ? 0 : totals->second.trace_prefix;
  verdict.add_examples(TraceId(prefix, request.number));
}

}  // namespace squall
