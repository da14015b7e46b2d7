#include "controller/assertions/promise.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

const Promise* First(const std::vector<Promise>& promises, Verdict::Result result) {
  const auto found =
      std::find_if(promises.begin(), promises.end(), [&](const Promise& promise) { return promise.result == result; });
  return found == promises.end() ? nullptr : &*found;
}

}  // namespace

void Promise::Open(Obstacle obstacle) {
  result = Verdict::INCONCLUSIVE;
  text = std::move(obstacle.reason);
  advice = std::move(obstacle.advice);
  first_broken_ns = 0;
  examples.clear();
}

void Promise::Break(std::string what, int64_t at_ns) {
  result = Verdict::FAIL;
  text = std::move(what);
  first_broken_ns = at_ns;
}

void Promise::Took(int64_t ns, int64_t limit_ns) {
  measured = Tenths(ns);
  limit = absl::StrCat("at most ", Tenths(limit_ns));
  margin = Tenths(limit_ns - ns);
}

Verdict Conclude(const std::vector<Promise>& promises, Verdict verdict, const Timeline& timeline) {
  for (const Promise& promise : promises) AddDetail(verdict, promise.name, promise.text);
  const Promise* deciding = First(promises, Verdict::FAIL);
  if (deciding == nullptr) deciding = First(promises, Verdict::INCONCLUSIVE);
  if (deciding == nullptr) {
    verdict.set_result(Verdict::PASS);
    deciding = &promises.front();
    verdict.set_reason(absl::StrJoin(promises, "; ", [](std::string* out, const Promise& promise) { out->append(promise.text); }));
  } else {
    verdict.set_result(deciding->result);
    verdict.set_reason(deciding->text);
    verdict.set_advice(deciding->advice);
    verdict.set_first_broken_ns(deciding->first_broken_ns);
    for (const Request* request : deciding->examples) AddExample(verdict, timeline, *deciding->load, *request);
  }
  verdict.set_measured(deciding->measured);
  verdict.set_limit(deciding->limit);
  verdict.set_margin(deciding->margin);
  return verdict;
}

}  // namespace squall
