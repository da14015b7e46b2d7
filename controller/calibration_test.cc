#include "controller/calibration.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "controller/calibration_file.h"

namespace squall {
namespace {

Scenario Sample() {
  Scenario scenario;
  scenario.set_name("shop");
  scenario.add_assertions()->set_name("timeout");
  scenario.add_assertions()->set_name("recovery");
  return scenario;
}

RunResult Run(Verdict::Result timeout, Verdict::Result recovery) {
  RunResult run;
  for (const auto& [name, result] : {std::pair{"timeout", timeout}, std::pair{"recovery", recovery}}) {
    Verdict& verdict = *run.add_verdicts();
    verdict.set_assertion(name);
    verdict.set_result(result);
  }
  return run;
}

Calibration Counted() {
  return CountFalseAlarms(Sample(), {Run(Verdict::PASS, Verdict::FAIL), Run(Verdict::INCONCLUSIVE, Verdict::PASS), Run(Verdict::PASS, Verdict::PASS)}, 7);
}

TEST(CountFalseAlarms, CountsWhatEachAssertionSaidInAllRuns) {
  const Calibration calibration = Counted();
  EXPECT_EQ(calibration.runs(), 3);
  ASSERT_EQ(calibration.assertions_size(), 2);
  EXPECT_EQ(calibration.assertions(0).failed(), 0);
  EXPECT_EQ(calibration.assertions(0).inconclusive(), 1);
  EXPECT_EQ(calibration.assertions(1).failed(), 1);
  EXPECT_EQ(calibration.assertions(1).inconclusive(), 0);
}

TEST(CountFalseAlarms, SaysWhatSoManyRunsProve) {
  const Calibration calibration = Counted();
  // None of three: 1 - 0.05^(1/3).
  EXPECT_NEAR(calibration.assertions(0).at_most(), 0.6316, 1e-4);
  EXPECT_GT(calibration.assertions(1).at_most(), 0.8);
  EXPECT_EQ(FalseAlarmText(calibration, "timeout"), "in 0 of 3 runs without the faults: in fewer than 63 % of runs, at 95 % confidence");
  EXPECT_EQ(FalseAlarmText(calibration, "another"), "");
}

class CalibrationFileTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(WriteCalibration(runs_, Sample(), Counted()).ok()); }
  void Write(const std::string& text) { std::ofstream(runs_ + "/calibration/shop.json") << text; }
  const std::string runs_ = absl::StrCat(::testing::TempDir(), "/", ::testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(CalibrationFileTest, IsReadAsItWasWrittenWhateverTheSeed) {
  Scenario scenario = Sample();
  scenario.set_seed(42);
  const auto read = ReadCalibration(runs_, scenario);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->SerializeAsString(), Counted().SerializeAsString());
}

TEST_F(CalibrationFileTest, OfAnotherVersionOfTheScenarioDoesNotCount) {
  Scenario scenario = Sample();
  scenario.mutable_assertions(0)->mutable_timeout()->mutable_deadline()->set_seconds(1);
  EXPECT_EQ(ReadCalibration(runs_, scenario).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(CalibrationFileTest, ThatIsDamagedIsNamed) {
  for (const char* text : {"", "{", "{\"runs\": 0}", "{\"runs\": -1}", "[]"}) {
    Write(text);
    const auto read = ReadCalibration(runs_, Sample());
    EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss) << text;
  }
}

}  // namespace
}  // namespace squall
