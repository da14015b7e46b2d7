#include "controller/report/words.h"

#include <initializer_list>

#include "gtest/gtest.h"

namespace squall {
namespace {

RunResult ResultOf(std::initializer_list<Verdict::Result> results, int exit_code) {
  RunResult result;
  result.set_exit_code(exit_code);
  for (const Verdict::Result each : results) result.add_verdicts()->set_result(each);
  return result;
}

TEST(Headline, CountsWhatFailedAndWhatCouldNotBeJudged) {
  EXPECT_EQ(Headline(ResultOf({Verdict::PASS}, 0)), "the assertion holds");
  EXPECT_EQ(Headline(ResultOf({Verdict::PASS, Verdict::PASS}, 0)), "all 2 assertions hold");
  EXPECT_EQ(Headline(ResultOf({Verdict::FAIL}, 1)), "1 of 1 assertion failed");
  EXPECT_EQ(Headline(ResultOf({Verdict::PASS, Verdict::FAIL, Verdict::INCONCLUSIVE}, 1)),
            "1 of 3 assertions failed, 1 could not be judged");
  EXPECT_EQ(Headline(ResultOf({Verdict::PASS, Verdict::INCONCLUSIVE}, 2)),
            "1 of 2 assertions could not be judged");
}

TEST(Headline, NeverCallsNoAssertionsAPass) {
  EXPECT_EQ(Headline(ResultOf({}, 3)), "squall itself failed, which says nothing about the service");
  EXPECT_EQ(Headline(ResultOf({}, 0)), "no assertion was judged");
}

TEST(Headline, SaysThatAnUnsteadyServiceWasLeftAlone) {
  RunResult result = ResultOf({Verdict::INCONCLUSIVE}, 2);
  result.set_ending(Footer::NOT_STEADY);
  EXPECT_EQ(Headline(result), "the service was not steady before the first fault, so nothing was injected");
}

TEST(StandingOf, FollowsTheExitCode) {
  EXPECT_EQ(StandingWord(StandingOf(ResultOf({Verdict::PASS}, 5))), "NOT HEALED");
  EXPECT_EQ(StandingWord(StandingOf(ResultOf({Verdict::PASS}, 130))), "INTERRUPTED");
  EXPECT_EQ(StandingWord(StandingOf(ResultOf({Verdict::PASS}, 4))), "STOPPED BY A GUARDRAIL");
  EXPECT_EQ(StandingWord(StandingOf(ResultOf({Verdict::PASS}, 77))), "HARNESS FAILED")
      << "a code that nobody knows is no pass";
}

TEST(Story, TellsWhatWasInjectedAndWhatWasNot) {
  RunResult result;
  FaultResult& slow = *result.add_faults();
  slow.set_name("slow");
  slow.set_what("500 ms over recommend");
  slow.set_injected_ns(1);
  result.add_faults()->set_name("gone");
  EXPECT_EQ(Story(result),
            "squall injected slow (500 ms over recommend). Not injected: gone. No fault was left in place.");
  result.add_not_healed("ip rule del");
  result.set_ending_reason("the agent was lost");
  EXPECT_EQ(Story(result),
            "squall injected slow (500 ms over recommend). Not injected: gone. Not everything could be "
            "confirmed as "
            "undone. the agent was lost.");
  EXPECT_EQ(Story(RunResult()), "Nothing was injected.");
}

TEST(Decisive, IsWhatFailedAndOnlyElseWhatCouldNotBeJudged) {
  const RunResult failed = ResultOf({Verdict::INCONCLUSIVE, Verdict::FAIL, Verdict::PASS}, 1);
  ASSERT_EQ(Decisive(failed).size(), 1u);
  EXPECT_EQ(Decisive(failed)[0], &failed.verdicts(1));
  const RunResult unjudged = ResultOf({Verdict::PASS, Verdict::INCONCLUSIVE}, 2);
  ASSERT_EQ(Decisive(unjudged).size(), 1u);
  EXPECT_EQ(Decisive(unjudged)[0], &unjudged.verdicts(1));
  EXPECT_TRUE(Decisive(ResultOf({Verdict::PASS}, 0)).empty());
}

TEST(RunTime, GoesFromSecondsToHours) {
  EXPECT_EQ(RunTime(0), "0.00 s");
  EXPECT_EQ(RunTime(11'020'000'000), "11.02 s");
  EXPECT_EQ(RunTime(245'340'000'000), "4:05.3");
  EXPECT_EQ(RunTime(359'960'000'000), "6:00.0") << "rounds up across the minute";
  EXPECT_EQ(RunTime(3'723'000'000'000), "1:02:03");
}

TEST(HealedWords, TellsAKillThatStayedDeadFromAFaultThatMayStillBeThere) {
  FaultResult fault;
  EXPECT_EQ(HealedWords(fault), "never injected");
  fault.set_injected_ns(1);
  fault.set_kind("latency");
  EXPECT_EQ(HealedWords(fault), "not confirmed");
  fault.set_kind("kill");
  EXPECT_EQ(HealedWords(fault), "nothing to heal");
  fault.set_healed_ns(2'000'000'000);
  EXPECT_EQ(HealedWords(fault), "2.00 s");
}

TEST(AchievedWords, ComparesWhatWasAskedWithWhatWasSeen) {
  Evidence latency;
  latency.set_requested_ns(500'000'000);
  EXPECT_EQ(AchievedWords(latency), "asked for 500 ms; nothing measured");
  latency.set_achieved_p50_ns(502'000'000);
  latency.set_achieved_p99_ns(550'000'000);
  EXPECT_EQ(AchievedWords(latency), "asked for 500 ms; measured 502 ms at p50, 550 ms at p99");
  Evidence kill;
  kill.set_signalled(3);
  kill.set_gone(2);
  EXPECT_EQ(AchievedWords(kill), "2 of 3 processes gone");
  kill.set_restarts(2);
  EXPECT_EQ(AchievedWords(kill), "2 of 3 processes gone, started again 2 times");
  EXPECT_EQ(AchievedWords(Evidence()), "");
}

TEST(SeenWords, FallsBackOnTheEvidence) {
  FaultResult fault;
  fault.mutable_evidence()->set_signalled(1);
  fault.mutable_evidence()->set_gone(1);
  EXPECT_EQ(SeenWords(fault), "1 of 1 process gone");
  fault.set_seen("touched no traffic");
  EXPECT_EQ(SeenWords(fault), "touched no traffic");
}

TEST(Thousands, GroupsDigits) {
  EXPECT_EQ(Thousands(0), "0");
  EXPECT_EQ(Thousands(999), "999");
  EXPECT_EQ(Thousands(1'000), "1,000");
  EXPECT_EQ(Thousands(-1'234'567), "-1,234,567");
}

TEST(Sentence, EndsWithOneFullStop) {
  EXPECT_EQ(Sentence("it broke"), "it broke.");
  EXPECT_EQ(Sentence("it broke. \n"), "it broke.");
  EXPECT_EQ(Sentence(" "), "");
}

}  // namespace
}  // namespace squall
