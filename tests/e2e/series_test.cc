// Commands that carry out a scenario again and again: `squall find` and `squall calibrate`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "google/protobuf/util/json_util.h"
#include "proto/timeline.pb.h"
#include "proto/verdict.pb.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/quick.h"

namespace squall {
namespace {

// orders promises an answer within 200 ms; the margin of 400 ms is allowed twice.
constexpr int kAllowedMs = 1000;

std::string WithFind(const std::string& mutant) {
  QuickOptions options;
  options.mutant = mutant;
  return QuickScenario("margin", options) + "find: {field: delay, from: 50ms, to: 1500ms, within: 60%, tries: 1}\n";
}

int64_t Milliseconds(const std::string& text) {
  absl::Duration duration;
  EXPECT_TRUE(absl::ParseDuration(absl::StrReplaceAll(text, {{" ", ""}}), &duration)) << text;
  return absl::ToInt64Milliseconds(duration);
}

TEST(Find, SaysBetweenWhichValuesAnAssertionTrips) {
  const Checkout checkout;
  const std::string path = checkout.Write("margin.yaml", WithFind("ignores-deadline"));
  Process find({checkout.squall(), "find", path, "--quiet", "--json", "--runs", checkout.path() + "/runs"});
  ASSERT_EQ(find.Wait(absl::Minutes(4)), 0) << find.Output();
  MarginResult result;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(find.Output(), &result).ok()) << find.Output();
  EXPECT_EQ(result.assertion(), "timeout");
  EXPECT_EQ(result.field(), "delay");
  EXPECT_EQ(result.of(), "latency");
  EXPECT_EQ(result.problem(), "");
  EXPECT_EQ(result.last_that_held().held(), 1);
  EXPECT_EQ(result.last_that_held().tripped(), 0);
  EXPECT_LT(Milliseconds(result.last_that_held().value()), kAllowedMs);
  EXPECT_EQ(result.first_that_tripped().tripped(), 1);
  // What it takes beside the delay is less than the step.
  EXPECT_GT(Milliseconds(result.first_that_tripped().value()), kAllowedMs - 100);
  EXPECT_GE(result.tried_size(), 4);
  EXPECT_EQ(LeftBy(checkout), std::vector<std::string>());
}

TEST(Find, SaysThatThereIsNoMarginWhereNothingTrips) {
  const Checkout checkout;
  const std::string path = checkout.Write("margin.yaml", WithFind("none"));
  Process find({checkout.squall(), "find", path, "--quiet", "--runs", checkout.path() + "/runs"});
  EXPECT_EQ(find.Wait(absl::Minutes(4)), 2) << find.Output();
  EXPECT_THAT(find.Output(), ::testing::HasSubstr("no margin of timeout between 50 ms and 1.5 s")) << find.Output();
}

TEST(Calibrate, CountsWhatFailsOnNothingAndLaterReportsSaySo) {
  const Checkout checkout;
  const std::string text = absl::StrReplaceAll(
      QuickScenario("noise"), {{"  - timeout: {deadline: 200ms, margin: 400ms}\n",
                                "  - {name: kept, timeout: {deadline: 200ms, margin: 400ms}}\n"
                                "  - {name: far-too-strict, timeout: {deadline: 1ms, margin: 1ms}}\n"}});
  const std::string path = checkout.Write("noise.yaml", text);
  const std::string runs = checkout.path() + "/runs";
  Process calibrate({checkout.squall(), "calibrate", path, "--quiet", "--count=2", "--runs", runs});
  EXPECT_EQ(calibrate.Wait(absl::Minutes(3)), 1) << calibrate.Output();
  EXPECT_THAT(calibrate.Output(), ::testing::HasSubstr("kept: failed in 0 of 2 runs without the faults: in fewer than 78 % of runs"));
  EXPECT_THAT(calibrate.Output(), ::testing::HasSubstr("far-too-strict: failed in 2 of 2 runs without the faults"));
  Calibration kept;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(ReadFile(runs + "/calibration/noise.json"), &kept).ok());
  EXPECT_EQ(kept.runs(), 2);

  Process run({checkout.squall(), "run", path, "--quiet", "--runs", runs});
  EXPECT_EQ(run.Wait(absl::Minutes(2)), 1) << run.Output();
  EXPECT_THAT(run.Output(), ::testing::HasSubstr("in 2 of 2 runs without the faults"));
  EXPECT_EQ(LeftBy(checkout), std::vector<std::string>());
}

}  // namespace
}  // namespace squall
