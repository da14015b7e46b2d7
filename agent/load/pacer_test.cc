#include "agent/load/pacer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSecond = 1000 * kMs;

struct StepSpec {
  double rate;
  int64_t length_ns;
};

Load MakeLoad(double rate, const std::vector<StepSpec>& steps) {
  Load load;
  load.set_rate(rate);
  for (const StepSpec& spec : steps) {
    Step* step = load.add_steps();
    step->set_rate(spec.rate);
    step->mutable_for_()->set_seconds(spec.length_ns / kSecond);
    step->mutable_for_()->set_nanos(static_cast<int32_t>(spec.length_ns % kSecond));
  }
  return load;
}

// Due times of the next requests, at most `count` of them.
std::vector<int64_t> Take(Pacer& pacer, size_t count) {
  std::vector<int64_t> due;
  while (due.size() < count) {
    const std::optional<int64_t> next = pacer.NextDueNs();
    if (!next.has_value()) break;
    due.push_back(*next);
    pacer.Advance();
  }
  return due;
}

Pacer MustMake(const Load& load, int64_t start_ns = 0) {
  absl::StatusOr<Pacer> pacer = Pacer::Make(load, start_ns);
  EXPECT_TRUE(pacer.ok()) << pacer.status();
  return *std::move(pacer);
}

TEST(Pacer, FirstRequestIsDueAtTheStartAndTheOthersEvenlyAfterIt) {
  Pacer pacer = MustMake(MakeLoad(100, {}), 7 * kSecond);
  EXPECT_THAT(Take(pacer, 3), ElementsAre(7 * kSecond, 7 * kSecond + 10 * kMs, 7 * kSecond + 20 * kMs));
  EXPECT_EQ(pacer.NextNumber(), 3);
}

TEST(Pacer, DoesNotDriftOverADayOfARateThatIsNoWholeNumberOfNanoseconds) {
  Pacer pacer = MustMake(MakeLoad(3, {}));
  constexpr int64_t kDay = int64_t{86400} * 3;
  for (int64_t i = 0; i < kDay; ++i) pacer.Advance();
  EXPECT_EQ(pacer.NextDueNs(), 86400 * kSecond);
}

TEST(Pacer, HoldsTheFirstStepUntilStepsBeginAndTheLastForEver) {
  Pacer pacer = MustMake(MakeLoad(0, {{10, kSecond}, {100, 100 * kMs}, {1, kSecond}}));
  EXPECT_EQ(Take(pacer, 51).back(), 5 * kSecond);  // far longer than the first step's second
  pacer.StartSteps(6 * kSecond);
  EXPECT_THAT(Take(pacer, 9).back(), 5 * kSecond + 900 * kMs);
  EXPECT_THAT(Take(pacer, 11),
              testing::Each(testing::AllOf(testing::Ge(6 * kSecond), testing::Le(7 * kSecond))));
  EXPECT_THAT(Take(pacer, 3),
              ElementsAre(7 * kSecond + 10 * kMs, 7 * kSecond + 20 * kMs, 7 * kSecond + 30 * kMs));
  Take(pacer, 7);
  EXPECT_THAT(Take(pacer, 3),
              ElementsAre(8 * kSecond + 100 * kMs, 9 * kSecond + 100 * kMs, 10 * kSecond + 100 * kMs));
}

TEST(Pacer, RestsInAStepOfZeroAndSendsEveryRequestOfAShortBurst) {
  Pacer pacer = MustMake(MakeLoad(0, {{50, 100 * kMs}, {0, kSecond}, {1000, 50 * kMs}, {0, kSecond}, {50, kSecond}}));
  Take(pacer, 50);
  pacer.StartSteps(kSecond);
  EXPECT_EQ(pacer.QuietBeforeNext(), std::nullopt);
  EXPECT_EQ(Take(pacer, 5).back(), kSecond + 80 * kMs);
  const std::optional<Pacer::Quiet> quiet = pacer.QuietBeforeNext();
  ASSERT_TRUE(quiet.has_value());
  EXPECT_EQ(quiet->from_ns, kSecond + 100 * kMs);
  EXPECT_EQ(quiet->until_ns, 2 * kSecond + 100 * kMs);
  const std::vector<int64_t> burst = Take(pacer, 50);
  EXPECT_EQ(burst.front(), 2 * kSecond + 100 * kMs);
  EXPECT_EQ(burst.back(), 2 * kSecond + 149 * kMs);
  EXPECT_EQ(pacer.NextDueNs(), 3 * kSecond + 150 * kMs);
  EXPECT_TRUE(pacer.QuietBeforeNext().has_value());
  pacer.Advance();
  EXPECT_EQ(pacer.QuietBeforeNext(), std::nullopt);
}

TEST(Pacer, IsQuietForEverOnceNothingIsDueAgain) {
  Pacer pacer = MustMake(MakeLoad(0, {{10, kSecond}, {0, kSecond}}));
  pacer.StartSteps(0);
  EXPECT_EQ(Take(pacer, 100).size(), 10u);
  ASSERT_TRUE(pacer.QuietBeforeNext().has_value());
  EXPECT_EQ(pacer.QuietBeforeNext()->until_ns, INT64_MAX);
}

struct SadPath {
  std::string name;
  Load load;
  std::optional<int64_t> steps_at;  // StartSteps before anything is taken
  std::vector<int64_t> due;         // the first due times, at most six
};

class PacerSadPaths : public testing::TestWithParam<SadPath> {};

TEST_P(PacerSadPaths, GiveTheseDueTimes) {
  Pacer pacer = MustMake(GetParam().load);
  if (GetParam().steps_at.has_value()) pacer.StartSteps(*GetParam().steps_at);
  EXPECT_EQ(Take(pacer, 6), GetParam().due);
}

INSTANTIATE_TEST_SUITE_P(
    Table, PacerSadPaths,
    testing::Values(
        SadPath{"StepsOfALoadThatHasNone",
                MakeLoad(1000, {}),
                2 * kMs,
                {0, kMs, 2 * kMs, 3 * kMs, 4 * kMs, 5 * kMs}},
        SadPath{"StepsBeforeTheStart",
                MakeLoad(0, {{1000, 2 * kMs}, {500, kMs}}),
                -5 * kSecond,
                {0, kMs, 2 * kMs, 4 * kMs, 6 * kMs, 8 * kMs}},
        SadPath{"AnEarnedFractionIsKept",
                MakeLoad(0, {{1000, 1500'000}, {100, kSecond}}),
                0,
                {0, kMs, 1500'000 + 5 * kMs, 1500'000 + 15 * kMs, 1500'000 + 25 * kMs, 1500'000 + 35 * kMs}},
        SadPath{"ARateOfNothingInBetween",
                MakeLoad(0, {{1000, 2 * kMs}, {0, kSecond}, {1000, kSecond}}),
                0,
                {0, kMs, kSecond + 2 * kMs, kSecond + 3 * kMs, kSecond + 4 * kMs, kSecond + 5 * kMs}},
        SadPath{"ARateOfNothingInTheEnd", MakeLoad(0, {{1000, 3 * kMs}, {0, kMs}}), 0, {0, kMs, 2 * kMs}},
        SadPath{"ARateOfNothingUntilStepsBegin", MakeLoad(0, {{0, kMs}, {1000, kMs}}), std::nullopt, {}},
        SadPath{"ARateOfNothingFirst",
                MakeLoad(0, {{0, kMs}, {1000, kMs}}),
                10 * kMs,
                {11 * kMs, 12 * kMs, 13 * kMs, 14 * kMs, 15 * kMs, 16 * kMs}},
        SadPath{"AStepOfNoLengthIsSkipped",
                MakeLoad(0, {{1000, kMs}, {1, 0}, {1000, kMs}}),
                0,
                {0, kMs, 2 * kMs, 3 * kMs, 4 * kMs, 5 * kMs}},
        SadPath{"ARateThatIsNotReachedInALifetime", MakeLoad(1e-12, {}), std::nullopt, {0}},
        SadPath{"AStepThatNeverEnds",
                MakeLoad(0, {{1000, 0x7fffffffffffffff}, {1, kMs}}),
                0,
                {0, kMs, 2 * kMs, 3 * kMs, 4 * kMs, 5 * kMs}}),
    [](const testing::TestParamInfo<SadPath>& param) { return param.param.name; });

TEST(Pacer, OverdueRequestsKeepTheirTimesWhenStepsBegin) {
  Pacer pacer = MustMake(MakeLoad(0, {{1000, kSecond}, {10, kSecond}}));
  pacer.StartSteps(3 * kMs);
  EXPECT_THAT(Take(pacer, 5), ElementsAre(0, kMs, 2 * kMs, 3 * kMs, 4 * kMs));
}

TEST(Pacer, StepsCannotBeginBeforeARequestThatIsDealtWith) {
  Pacer pacer = MustMake(MakeLoad(0, {{1000, 2 * kMs}, {100, kSecond}}));
  Take(pacer, 11);
  pacer.StartSteps(5 * kMs);  // the last dealt with was due at 10 ms
  EXPECT_THAT(Take(pacer, 3), ElementsAre(11 * kMs, 12 * kMs, 22 * kMs));
}

TEST(Pacer, StepsBeginOnlyOnce) {
  Pacer pacer = MustMake(MakeLoad(0, {{1000, kMs}, {100, kSecond}}));
  pacer.StartSteps(0);
  pacer.StartSteps(50 * kMs);
  EXPECT_THAT(Take(pacer, 3), ElementsAre(0, kMs, 11 * kMs));
}

TEST(Pacer, AFactorChangesTheRateAtOnceAndNothingThatWasDueBefore) {
  Pacer pacer = MustMake(MakeLoad(100, {}));
  Take(pacer, 2);  // 0 and 10 ms
  // The requests of 20 and 30 ms are overdue when it begins; half of the next is earned.
  pacer.SetTimes(4, 35 * kMs);
  EXPECT_THAT(Take(pacer, 5),
              ElementsAre(20 * kMs, 30 * kMs, 36250'000, 38750'000, 41250'000));
  // Of the next, 0.5 are earned, and the rest takes as long as it would have.
  pacer.SetTimes(1, 42500'000);
  EXPECT_THAT(Take(pacer, 3), ElementsAre(47500'000, 57500'000, 67500'000));
}

TEST(Pacer, AFactorThatComesAndGoesLeavesNeitherABurstNorAGap) {
  Pacer pacer = MustMake(MakeLoad(70, {}));
  int64_t at_ns = 0;
  for (int i = 0; i < 1000; ++i) {
    at_ns += 123'456'789;
    while (*pacer.NextDueNs() <= at_ns) pacer.Advance();
    pacer.SetTimes(i % 2 == 0 ? 3 : 1, at_ns);
  }
  const std::vector<int64_t> due = Take(pacer, 1000);
  EXPECT_LE(due.front() - at_ns, kSecond / 70 + 1);
  for (size_t i = 1; i < due.size(); ++i) ASSERT_NEAR(due[i] - due[i - 1], 1e9 / 70, 1);
}

TEST(Pacer, AFactorMultipliesStepsThatBeganAndThoseToCome) {
  Pacer pacer = MustMake(MakeLoad(0, {{10, kSecond}, {0, kSecond}, {100, kSecond}, {10, kSecond}}));
  pacer.StartSteps(0);
  pacer.SetTimes(2, 500 * kMs);
  // 5 until then, 10 in the rest of the second; then quiet; then 100/s for half a second of the third at 200/s.
  EXPECT_EQ(Take(pacer, 15).back(), 950 * kMs);
  ASSERT_TRUE(pacer.QuietBeforeNext().has_value());
  EXPECT_EQ(pacer.NextDueNs(), 2 * kSecond);
  pacer.SetTimes(1, 2500 * kMs);
  const std::vector<int64_t> due = Take(pacer, 151);
  EXPECT_EQ(due[99], 2495 * kMs);
  EXPECT_EQ(due[100], 2500 * kMs);
  EXPECT_EQ(due[149], 2990 * kMs);
  EXPECT_EQ(due[150], 3 * kSecond);
  EXPECT_EQ(pacer.DueBy(3 * kSecond), 165);
}

TEST(Pacer, AFactorThatBeginsAndEndsInAQuietTimeLeavesItOne) {
  Pacer pacer = MustMake(MakeLoad(0, {{10, kSecond}, {0, kSecond}, {10, kSecond}}));
  pacer.StartSteps(0);
  Take(pacer, 10);
  pacer.SetTimes(5, 1300 * kMs);
  pacer.SetTimes(1, 1600 * kMs);
  ASSERT_TRUE(pacer.QuietBeforeNext().has_value());
  EXPECT_EQ(pacer.QuietBeforeNext()->from_ns, kSecond);
  EXPECT_EQ(pacer.QuietBeforeNext()->until_ns, 2 * kSecond);
  EXPECT_THAT(Take(pacer, 2), ElementsAre(2 * kSecond, 2100 * kMs));
}

TEST(Pacer, AFactorCallsForRequestsInASegmentThatHadNoneLeft) {
  // 0 and 1 s are all that 1/s has in 1.5 s.
  Pacer pacer = MustMake(MakeLoad(0, {{1, 1500 * kMs}, {0.001, 10 * kSecond}}));
  pacer.StartSteps(0);
  Take(pacer, 2);
  pacer.SetTimes(10, 1100 * kMs);
  EXPECT_THAT(Take(pacer, 4), ElementsAre(1190 * kMs, 1290 * kMs, 1390 * kMs, 1490 * kMs));
}

TEST(Pacer, AFactorBeforeTheStartOrBeforeWhatIsDealtWithBeginsThere) {
  Pacer early = MustMake(MakeLoad(10, {}), kSecond);
  early.SetTimes(10, 0);
  EXPECT_THAT(Take(early, 2), ElementsAre(kSecond, kSecond + 10 * kMs));
  Pacer late = MustMake(MakeLoad(10, {}));
  Take(late, 11);  // up to 1 s
  late.SetTimes(10, 500 * kMs);
  EXPECT_THAT(Take(late, 2), ElementsAre(kSecond + 10 * kMs, kSecond + 20 * kMs));
}

TEST(Pacer, AtAFactorOfZeroNothingIsDueUntilItIsMore) {
  Pacer pacer = MustMake(MakeLoad(100, {}));
  Take(pacer, 3);  // 0 to 20 ms
  pacer.SetTimes(0, 25 * kMs);
  EXPECT_EQ(pacer.NextDueNs(), std::nullopt);
  EXPECT_EQ(pacer.DueBy(9 * kSecond), 2.5);
  // The half that was earned is kept, and nothing is made up for.
  pacer.SetTimes(1, 5 * kSecond);
  EXPECT_THAT(Take(pacer, 2), ElementsAre(5 * kSecond + 5 * kMs, 5 * kSecond + 15 * kMs));
}

TEST(Pacer, AFactorOfZeroLeavesDueWhatWasDueBefore) {
  Pacer pacer = MustMake(MakeLoad(100, {}));
  pacer.SetTimes(0, 20 * kMs);
  EXPECT_THAT(Take(pacer, 2), ElementsAre(0, 10 * kMs));
  EXPECT_EQ(pacer.NextDueNs(), std::nullopt);
  pacer.SetTimes(0.5, kSecond);
  EXPECT_THAT(Take(pacer, 2), ElementsAre(kSecond, kSecond + 20 * kMs));
}

TEST(Pacer, StepsGoOnWhileAFactorOfZeroHoldsThemBack) {
  Pacer pacer = MustMake(MakeLoad(0, {{10, kSecond}, {100, kSecond}, {0, kSecond}, {10, kSecond}}));
  pacer.SetTimes(0, 0);
  pacer.StartSteps(0);
  EXPECT_EQ(pacer.NextDueNs(), std::nullopt);
  pacer.SetTimes(1, 1950 * kMs);
  EXPECT_EQ(Take(pacer, 5).back(), 1990 * kMs);
  EXPECT_EQ(pacer.NextDueNs(), 3 * kSecond);
}

TEST(Pacer, AFactorOfZeroIsNoQuietTime) {
  Pacer pacer = MustMake(MakeLoad(10, {}));
  Take(pacer, 2);
  pacer.SetTimes(0, 150 * kMs);
  EXPECT_FALSE(pacer.QuietBeforeNext().has_value());
  pacer.SetTimes(1, kSecond);
  EXPECT_FALSE(pacer.QuietBeforeNext().has_value());
}

TEST(Pacer, TellsHowManyAreDueByWhen) {
  Pacer pacer = MustMake(MakeLoad(100, {}), kSecond);
  pacer.SetTimes(2, 2 * kSecond);
  EXPECT_EQ(pacer.DueBy(0), 0);
  EXPECT_EQ(pacer.DueBy(2 * kSecond), 100);
  EXPECT_EQ(pacer.DueBy(3 * kSecond), 300);
}

struct Mistake {
  Load load;
  std::string message;
};

TEST(Pacer, RefusesWhatIsNoRate) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  const Mistake mistakes[] = {{MakeLoad(0, {}), "neither a rate nor steps"},
                              {MakeLoad(-1, {}), "rate of the load is -1/s"},
                              {MakeLoad(nan, {}), "rate of the load"},
                              {MakeLoad(inf, {}), "rate of the load"},
                              {MakeLoad(5, {{-1, kSecond}}), "rate of a step"},
                              {MakeLoad(5, {{nan, kSecond}}), "rate of a step"},
                              {MakeLoad(5, {{1, -kSecond}}), "lasts less than no time"}};
  for (const Mistake& mistake : mistakes) {
    const absl::StatusOr<Pacer> pacer = Pacer::Make(mistake.load, 0);
    EXPECT_EQ(pacer.status().code(), absl::StatusCode::kInvalidArgument) << mistake.load.ShortDebugString();
    EXPECT_THAT(std::string(pacer.status().message()), HasSubstr(mistake.message));
  }
}

}  // namespace
}  // namespace squall
