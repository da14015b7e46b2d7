#include "controller/report/sample_suite.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "controller/report/sample.h"

namespace squall {
namespace {

SuiteRun Run(const std::string& folder, const RunResult& result) {
  SuiteRun run;
  run.set_folder(folder);
  run.set_repetition(1);
  *run.mutable_result() = result;
  return run;
}

RunResult OneAssertion(const std::string& scenario, int exit_code, Verdict::Result verdict, const std::string& reason) {
  RunResult result;
  result.set_scenario(scenario);
  result.set_seconds(21.5);
  result.set_exit_code(exit_code);
  result.set_result(verdict);
  result.set_ending(Footer::COMPLETED);
  Verdict& only = *result.add_verdicts();
  only.set_assertion("timeout");
  only.set_kind("timeout");
  only.set_result(verdict);
  only.set_reason(reason);
  return result;
}

ScenarioResult& Add(SuiteResult& suite, const std::string& name, const std::string& file, int exit_code) {
  ScenarioResult& scenario = *suite.add_scenarios();
  scenario.set_scenario(name);
  scenario.set_file(absl::StrCat("scenarios/shop/", file));
  scenario.set_repeat(1);
  scenario.set_exit_code(exit_code);
  return scenario;
}

}  // namespace

SuiteResult MakeSampleSuite() {
  SuiteResult suite;
  suite.set_suite("shop");
  suite.set_suite_id("20260301T101500Z-shop-0c0ffe");
  suite.set_started("2026-03-01T10:15:00+00:00");
  suite.set_seconds(201.7);
  suite.set_exit_code(1);
  suite.set_inconclusive(SuiteResult::INCONCLUSIVE_RERUN);
  suite.set_squall_version("0.1.0");

  const RunResult sample = MakeSampleRun().result;
  RunResult healthy = sample;
  healthy.set_scenario("healthy");
  healthy.set_exit_code(0);
  healthy.set_result(Verdict::PASS);
  for (Verdict& verdict : *healthy.mutable_verdicts()) verdict.set_result(Verdict::PASS);
  ScenarioResult& passed = Add(suite, "healthy", "1-healthy.yaml", 0);
  passed.set_description("Orders keep answering while nothing much goes wrong.");
  passed.add_tags("nightly");
  *passed.add_runs() = Run("r-healthy", healthy);

  ScenarioResult& failed = Add(suite, sample.scenario(), "2-recommend.yaml", 1);
  failed.set_description(sample.description());
  failed.add_tags("nightly");
  failed.add_tags("checkout");
  *failed.add_runs() = Run("r-recommend", sample);
  failed.mutable_runs(0)->mutable_result()->set_exit_code(1);

  ScenarioResult& unsure = Add(suite, "unsure-at-first", "3-unsure.yaml", 0);
  *unsure.add_runs() =
      Run("r-unsure-1", OneAssertion("unsure-at-first", 2, Verdict::INCONCLUSIVE, "18 requests ran into the deadline, 20 are needed"));
  unsure.mutable_runs(0)->set_replaced(true);
  *unsure.add_runs() = Run("r-unsure-2", OneAssertion("unsure-at-first", 0, Verdict::PASS, ""));

  ScenarioResult& thrice = Add(suite, "thrice", "4-thrice.yaml", 1);
  thrice.set_repeat(3);
  for (int i = 1; i <= 3; ++i) {
    *thrice.add_runs() = Run(absl::StrCat("r-thrice-", i),
                             i == 2 ? OneAssertion("thrice", 1, Verdict::FAIL, "12 of 40 requests were late")
                                    : OneAssertion("thrice", 0, Verdict::PASS, ""));
    thrice.mutable_runs(i - 1)->set_repetition(i);
  }

  ScenarioResult& never = Add(suite, "never", "5-never.yaml", 2);
  never.set_not_run("--fail-fast, and thrice did not pass");
  return suite;
}

}  // namespace squall
