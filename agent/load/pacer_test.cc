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
