#include "controller/assertions/judge.h"
#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

using Reply = TimelineBuilder::Reply;

constexpr Reply kWell{10, OK};

// Asserts a timeout; `during_ms` is how long the service takes while the fault acts.
TimelineBuilder Ran(double during_ms) {
  TimelineBuilder builder;
  Timeout& timeout = *builder.scenario.add_assertions()->mutable_timeout();
  timeout.set_load("checkout");
  timeout.mutable_deadline()->set_nanos(300'000'000);
  timeout.set_at_least(20);
  builder.Latency("slow", 12, 22)
      .Answer(0, 12, kWell)
      .Answer(12, 22, Reply{during_ms, DEGRADED})
      .Answer(22, 30, kWell);
  return builder;
}

constexpr double kPasses = 305;
constexpr double kFails = 800;
constexpr double kInconclusive = 10;

int Exit(const TimelineBuilder& builder) { return Summarize(builder.Build()).exit_code(); }

TEST(Summary, ExitsWithTheWorstVerdict) {
  EXPECT_EQ(Exit(Ran(kPasses)), 0);
  EXPECT_EQ(Exit(Ran(kFails)), 1);
  EXPECT_EQ(Exit(Ran(kInconclusive)), 2);
}

TEST(Summary, TakesFailOverInconclusiveOverPass) {
  TimelineBuilder builder = Ran(kFails);
  *builder.scenario.add_assertions()->mutable_timeout() = builder.scenario.assertions(0).timeout();
  builder.scenario.mutable_assertions(1)->mutable_timeout()->set_at_least(100000);
  EXPECT_EQ(Summarize(builder.Build()).result(), Verdict::FAIL);
  builder = Ran(kPasses);
  *builder.scenario.add_assertions()->mutable_timeout() = builder.scenario.assertions(0).timeout();
  EXPECT_EQ(Summarize(builder.Build()).result(), Verdict::PASS);
  builder.scenario.mutable_assertions(1)->mutable_timeout()->set_at_least(100000);
  EXPECT_EQ(Summarize(builder.Build()).result(), Verdict::INCONCLUSIVE);
}

TEST(Summary, TakesTheEndingOverTheVerdict) {
  EXPECT_EQ(Exit(Ran(kFails).End(Footer::GUARDRAIL)), 4);
  EXPECT_EQ(Exit(Ran(kFails).End(Footer::INTERRUPTED)), 130);
  EXPECT_EQ(Exit(Ran(kPasses).End(Footer::INTERRUPTED)), 130);
  EXPECT_EQ(Exit(Ran(kFails).End(Footer::HARNESS_FAILED)), 3);
  EXPECT_EQ(Exit(Ran(kPasses).End(Footer::ENDING_UNSPECIFIED)), 3);
  EXPECT_EQ(Exit(TimelineBuilder().Answer(0, 12, kWell).End(Footer::NOT_STEADY)), 2);
}

TEST(Summary, TakesHealingThatIsNotConfirmedOverEverything) {
  TimelineBuilder builder = Ran(kPasses).End(Footer::HARNESS_FAILED);
  builder.Event("slow", FaultEvent::HEALED).set_state(FaultEvent::HEALING_NOT_CONFIRMED);
  EXPECT_EQ(Exit(builder), 5);
  // No word of it at all is no confirmation either.
  builder = Ran(kPasses).End(Footer::INTERRUPTED);
  builder.Event("slow", FaultEvent::HEALED).set_state(FaultEvent::HEALING);
  EXPECT_EQ(Exit(builder), 5);
  Timeline timeline = Ran(kPasses).Build();
  timeline.footer->add_not_healed("rm /run/left");
  EXPECT_EQ(Summarize(timeline).exit_code(), 5);
  EXPECT_THAT(Summarize(timeline).not_healed(), ElementsAre("rm /run/left"));
}

TEST(Summary, TakesAHostThatSquallLeftChangedForNotHealedAndTellsOfTheOthersOnly) {
  Timeline timeline = Ran(kPasses).Build();
  (*timeline.footer->add_digested_hosts()->mutable_compared())["cgroups"] = 3;
  timeline.footer->add_host_changes()->set_name("/sys/fs/cgroup/session-7.scope");
  EXPECT_EQ(Summarize(timeline).exit_code(), 0);
  EXPECT_EQ(Summarize(timeline).host_changes_size(), 1);
  EXPECT_EQ(Summarize(timeline).digested_hosts(0).compared().at("cgroups"), 3);
  timeline.footer->mutable_host_changes(0)->set_by_squall(true);
  EXPECT_EQ(Summarize(timeline).exit_code(), 5);
}

TEST(Summary, TakesAFaultThatWentWithItsAgentAsTheHarnessFailing) {
  TimelineBuilder builder = Ran(kPasses).End(Footer::HARNESS_FAILED);
  builder.Event("slow", FaultEvent::HEALED).set_state(FaultEvent::HEALING);
  for (Service& service : *builder.scenario.mutable_services()) service.set_on("shop-1");
  Timeline timeline = builder.Build();
  EXPECT_EQ(Summarize(timeline).exit_code(), 5);
  timeline.footer->add_lost_agents()->set_name("shop-2");
  EXPECT_EQ(Summarize(timeline).exit_code(), 5) << "the fault's agent is still there";
  timeline.footer->add_lost_agents()->set_name("shop-1");
  EXPECT_EQ(Summarize(timeline).exit_code(), 3);
  timeline.footer->add_not_healed("agent shop-2: rm /run/left");
  EXPECT_EQ(Summarize(timeline).exit_code(), 5);
}

TEST(Summary, NeedsNoHealingOfAKill) {
  TimelineBuilder builder = Ran(kPasses).Kill("dead", 24, -1);
  builder.Event("dead", FaultEvent::HEALED).set_state(FaultEvent::HEALING);
  EXPECT_NE(Exit(builder), 5);
}

// Whether the service is back is part of what it is about.
TEST(Summary, NeedsASupervisorToBringBackWhatItMust) {
  Fault fault;
  fault.set_name("gone");
  fault.mutable_kill()->set_service("recommend");
  fault.mutable_kill()->mutable_supervisor_within()->set_seconds(10);
  TimelineBuilder builder = Ran(kPasses).Fired(fault, 24, 26);
  EXPECT_NE(Exit(builder), 5);
  builder.Event("gone", FaultEvent::HEALED).set_state(FaultEvent::HEALING);
  EXPECT_EQ(Exit(builder), 5);
}

TEST(Summary, TakesAFailedInjectionAsTheHarnessFailing) {
  TimelineBuilder builder = Ran(kPasses);
  builder.Event("slow", FaultEvent::INJECTED).set_state(FaultEvent::INJECTION_FAILED);
  EXPECT_EQ(Exit(builder), 3);
  EXPECT_EQ(Summarize(builder.Build()).verdicts(0).result(), Verdict::INCONCLUSIVE);
}

TEST(Summary, IsNoPassWithoutAnEnd) {
  Timeline timeline = Ran(kPasses).Build();
  timeline.footer.reset();
  EXPECT_EQ(Summarize(timeline).exit_code(), 3);
}

TEST(Summary, IsNoPassWithoutAssertions) {
  const RunResult run = Summarize(TimelineBuilder().Answer(0, 12, kWell).Build());
  EXPECT_EQ(run.result(), Verdict::INCONCLUSIVE);
  EXPECT_EQ(run.exit_code(), 2);
  EXPECT_THAT(run.notes(), Contains(HasSubstr("asserts nothing")));
}

TEST(Summary, TellsWhatWasSeenOfEachFault) {
  const RunResult run = Summarize(Ran(kPasses).Kill("gone", 24, 28).Build());
  ASSERT_EQ(run.faults_size(), 2);
  EXPECT_EQ(run.faults(0).name(), "slow");
  EXPECT_EQ(run.faults(0).kind(), "latency");
  EXPECT_THAT(run.faults(0).what(), Not(IsEmpty()));
  EXPECT_EQ(run.faults(0).seen(),
            "9,987 calls on 12 connections held back; achieved p50 500.1 ms, p99 500.4 ms of 500 ms asked");
  EXPECT_EQ(run.faults(0).injected_ns(), 12'000'000'000);
  EXPECT_EQ(run.faults(0).healed_ns(), 22'000'000'000);
  EXPECT_EQ(run.faults(1).seen(), "2 of 2 processes gone, started again once");
}

TEST(Summary, TellsOfProcessorTimeThatWasTakenAway) {
  TimelineBuilder builder = Ran(kPasses).Quota("starved", 23, 24).CpuLoad("busy", 25, 26);
  RunResult run = Summarize(builder.Build());
  ASSERT_EQ(run.faults_size(), 3);
  EXPECT_EQ(run.faults(1).what(), "recommend gets 20 % of the processor time that it may use");
  EXPECT_EQ(run.faults(1).seen(), "throttled for 8.2 s in all; used 19.8 % of what it might, 20 % was left");
  EXPECT_EQ(run.faults(2).what(), "75 % of every core that recommend may run on kept busy");
  EXPECT_EQ(run.faults(2).seen(), "15.0 s of processor time burned; achieved 74.9 % of 75 % asked");
  builder.Event("starved", FaultEvent::HEALED).mutable_evidence()->set_throttled_ns(0);
  run = Summarize(builder.Build());
  EXPECT_THAT(run.faults(1).seen(), StartsWith("never throttled; used"));
}

TEST(Summary, NotesBurnersThatGotLessThanTheyWanted) {
  TimelineBuilder builder = Ran(kPasses).CpuLoad("busy", 23, 24);
  Evidence& evidence = *builder.Event("busy", FaultEvent::HEALED).mutable_evidence();
  evidence.set_achieved_percent(71.3);
  EXPECT_THAT(Summarize(builder.Build()).notes(), IsEmpty());
  evidence.set_achieved_percent(50);
  EXPECT_THAT(Summarize(builder.Build()).notes(),
              ElementsAre("fault busy: its burners used 50 % of their cores instead of 75 %, because others wanted them too"));
}

TEST(Summary, TellsHowLongHealingTook) {
  TimelineBuilder builder = Ran(kPasses);
  builder.Event("slow", FaultEvent::HEALING).set_at_ns(21'990'000'000);
  EXPECT_EQ(Summarize(builder.Build()).faults(0).healing_took_ns(), 10'000'000);
}

TEST(Summary, TellsOfFaultsThatDidNotHappen) {
  TimelineBuilder builder = Ran(kPasses);
  FaultEvent& event = builder.Event("slow", FaultEvent::INJECTED);
  event.set_state(FaultEvent::INJECTION_FAILED);
  event.set_message("no such port");
  EXPECT_EQ(Summarize(builder.Build()).faults(0).seen(), "could not be injected: no such port");
  event.set_state(FaultEvent::HEALING);
  EXPECT_EQ(Summarize(builder.Build()).faults(0).seen(), "was not injected");
}

TEST(Summary, NotesNothingAboutACleanRun) { EXPECT_THAT(Summarize(Ran(kPasses).Build()).notes(), IsEmpty()); }

TEST(Summary, NotesWhoWaitedWhileOthersHadTheCores) {
  TimelineBuilder builder = Ran(kPasses).Starve("orders", 3, 0.2).Starve("orders", 5, 0.2).Starve("orders", 5, 0.2, "recommend");
  EXPECT_THAT(Summarize(builder.Build()).notes(),
              Contains("others had the cores that services needed: orders in 2 moments of 400.0 ms in all, the peer on edge recommend in "
                       "1 moment of 200.0 ms in all; nothing fails for what happened then"));
}

TEST(Summary, NotesStallsRefusalsAndABrokenPromise) {
  TimelineBuilder builder =
      Ran(kPasses).StandStill(3, 20).StandStill(5, 100).Refused(13, 10).Refused(14, 1234);
  builder.NotSent(14, 300);
  const RunResult run = Summarize(builder.Build());
  EXPECT_THAT(run.notes(),
              Contains("the machine stood still 2 times, for 120.0 ms in all and 100.0 ms at most; what "
                       "happened then is not judged"));
  EXPECT_THAT(run.notes(),
              Contains("edge recommend: 1,234 connects refused, because the dependency did not accept"));
  EXPECT_THAT(run.notes(),
              Contains(StartsWith("over the whole run, load checkout could not keep its promise")));
}

TEST(Summary, NotesADelayThatIsFarFromTheOneAskedFor) {
  TimelineBuilder builder = Ran(kPasses);
  builder.Event("slow", FaultEvent::HEALED).mutable_evidence()->set_achieved_p50_ns(550'000'000);
  EXPECT_THAT(Summarize(builder.Build()).notes(), IsEmpty());
  builder.Event("slow", FaultEvent::HEALED).mutable_evidence()->set_achieved_p50_ns(1'200'000'000);
  EXPECT_THAT(Summarize(builder.Build()).notes(), ElementsAre(HasSubstr("fault slow did not act as asked")));
}

TEST(Summary, NotesADelayOfARampOnlyOutsideOfIt) {
  TimelineBuilder builder = Ran(kPasses);
  Ramp& ramp = *builder.scenario.mutable_faults(0)->mutable_ramp();
  ramp.add_delay()->set_nanos(50'000'000);
  ramp.add_delay()->set_nanos(500'000'000);
  for (const int64_t ms : {50, 300, 500, 540}) {
    builder.Event("slow", FaultEvent::HEALED).mutable_evidence()->set_achieved_p50_ns(ms * 1'000'000);
    EXPECT_THAT(Summarize(builder.Build()).notes(), IsEmpty()) << ms;
  }
  for (const int64_t ms : {20, 900}) {
    builder.Event("slow", FaultEvent::HEALED).mutable_evidence()->set_achieved_p50_ns(ms * 1'000'000);
    EXPECT_THAT(Summarize(builder.Build()).notes(), ElementsAre(HasSubstr("fault slow did not act as asked"))) << ms;
  }
}

TEST(Summary, CarriesTheRunsOwnFigures) {
  Timeline timeline = Ran(kPasses).Build();
  timeline.header.set_started_unix_ns(1'700'000'000'000'000'000);
  timeline.header.set_seed(7);
  timeline.header.set_squall_version("0.1");
  const RunResult run = Summarize(timeline);
  EXPECT_EQ(run.scenario(), "test");
  EXPECT_EQ(run.run_id(), "run");
  EXPECT_EQ(run.started(), "2023-11-14T22:13:20+00:00");
  EXPECT_EQ(run.seed(), 7);
  EXPECT_EQ(run.squall_version(), "0.1");
  EXPECT_NEAR(run.seconds(), 30, 0.1);
  EXPECT_EQ(run.ending(), Footer::COMPLETED);
}

}  // namespace
}  // namespace squall
