#include "controller/assertions/gates.h"

#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Reply = TimelineBuilder::Reply;

std::string Reason(const std::optional<Obstacle>& obstacle) { return obstacle ? obstacle->reason : ""; }

std::string Generator(const TimelineBuilder& builder, double from, double to) {
  const Timeline timeline = builder.Build();
  const Stalls stalls(timeline.stalls);
  return Reason(GeneratorGate(timeline, *FindLoad(timeline, "checkout"), TimelineBuilder::Ns(from),
                              TimelineBuilder::Ns(to), stalls));
}

std::string Faults(const TimelineBuilder& builder, bool must_be_over = true) {
  const Timeline timeline = builder.Build();
  return Reason(FaultGate(timeline, TimeOf(timeline, ""), must_be_over));
}

std::string Unsteady(const TimelineBuilder& builder) {
  const Timeline timeline = builder.Build();
  return Unsteadiness(timeline, *FindLoad(timeline, "checkout"), Stalls(timeline.stalls));
}

TEST(GeneratorGate, OpensAtNinetyNinePercentSent) {
  // 200 are sent in each second; in the first, 2 of 202 are not, then 3 of 203.
  EXPECT_THAT(Generator(TimelineBuilder().Answer(0, 10, Reply{}).NotSent(5, 2), 5, 6), IsEmpty());
  EXPECT_EQ(Generator(TimelineBuilder().Answer(0, 10, Reply{}).NotSent(5, 3), 5, 6),
            "load checkout could not keep its promise: only 98.5 % of the 203 requests that were due were "
            "sent (99 % needed)");
}

TEST(GeneratorGate, LooksAtTheJudgedSpanOnly) {
  TimelineBuilder builder;
  builder.Answer(0, 10, Reply{}).NotSent(8, 100);
  EXPECT_THAT(Generator(builder, 2, 8), IsEmpty());
  EXPECT_THAT(Generator(builder, 2, 8.5), HasSubstr("could not keep its promise"));
}

TEST(GeneratorGate, AllowsTenPercentToBeMoreThanFiveMillisecondsLate) {
  auto late = [](int every, double lag_ms) {
    return TimelineBuilder().Answer(0, 10, [=](double at) {
      return static_cast<int>(at * 200 + 0.5) % every == 0 ? Reply{20, OK, 200, lag_ms} : Reply{};
    });
  };
  EXPECT_THAT(Generator(late(10, 9), 0, 10), IsEmpty());
  EXPECT_THAT(Generator(late(9, 9), 0, 10), HasSubstr("11.2 % of its requests were sent more than 5 ms late (10 % may be)"));
  EXPECT_THAT(Generator(late(2, 5), 0, 10), IsEmpty());
  EXPECT_THAT(Generator(late(2, 5.001), 0, 10), HasSubstr("late"));
}

TEST(GeneratorGate, LeavesOutWhatHappenedWhileTheMachineStoodStill) {
  TimelineBuilder builder;
  builder.Answer(0, 10, [](double at) { return at >= 5 && at < 5.2 ? Reply{300, OK, 200, 200} : Reply{}; });
  builder.NotSent(5, 50);
  EXPECT_THAT(Generator(builder, 0, 10), HasSubstr("could not keep"));
  EXPECT_THAT(Generator(builder.StandStill(5, 200), 0, 10), IsEmpty());
}

TEST(GeneratorGate, ClosesWithoutCounts) {
  EXPECT_THAT(Generator(TimelineBuilder(), 0, 10), HasSubstr("nothing is recorded"));
}

TEST(FaultGate, OpensForFaultsThatFiredAndAreOver) {
  EXPECT_THAT(Faults(TimelineBuilder().Latency("slow", 1, 2).Kill("gone", 3, 4).Kill("dead", 5, -1)),
              IsEmpty());
}

TEST(FaultGate, ClosesWithoutAFault) {
  EXPECT_EQ(Faults(TimelineBuilder()), "the scenario injects no such fault");
}

TEST(FaultGate, ClosesWhenInjectionFailed) {
  TimelineBuilder builder = TimelineBuilder().Latency("slow", 1, 2);
  FaultEvent& event = builder.Event("slow", FaultEvent::INJECTED);
  event.set_state(FaultEvent::INJECTION_FAILED);
  event.set_message("no such port");
  EXPECT_EQ(Faults(builder), "fault slow could not be injected: no such port");
}

TEST(FaultGate, ClosesWhenNothingWasInjected) {
  TimelineBuilder builder = TimelineBuilder().Latency("slow", 1, 2);
  builder.Event("slow", FaultEvent::INJECTED).set_state(FaultEvent::HEALING);
  EXPECT_EQ(Faults(builder), "fault slow was never injected");
  EXPECT_EQ(Faults(builder.StillRunningAt(3)), "fault slow is not injected yet");
}

TEST(FaultGate, TakesConnectionsAloneAsEvidenceOfLatency) {
  TimelineBuilder builder = TimelineBuilder().Latency("slow", 1, 2);
  Evidence& evidence = *builder.Event("slow", FaultEvent::HEALED).mutable_evidence();
  evidence = Evidence();
  evidence.set_connections(1);
  EXPECT_THAT(Faults(builder), IsEmpty());
  builder.Event("slow", FaultEvent::HEALED).mutable_evidence()->set_connections(0);
  EXPECT_THAT(Faults(builder), HasSubstr("fault slow touched no traffic: nothing that it acts on crossed edge recommend"));
}

TEST(FaultGate, WantsAQueryAnsweredAsTheDnsFaultSays) {
  TimelineBuilder builder = TimelineBuilder().Names("gone", 1, 2);
  EXPECT_THAT(Faults(builder), IsEmpty());
  Evidence& evidence = *builder.Event("gone", FaultEvent::HEALED).mutable_evidence();
  evidence.clear_answered();
  EXPECT_EQ(Faults(builder),
            "fault gone was not observed: orders asked for none of recommend.test while it acted (it asked 3 times for other "
            "names)");
  evidence.clear_forwarded();
  EXPECT_EQ(Faults(builder), "fault gone was not observed: orders asked for none of recommend.test while it acted");
}

TEST(FaultGate, WantsEveryKilledProcessGone) {
  TimelineBuilder builder = TimelineBuilder().Kill("gone", 1, 2);
  builder.Event("gone", FaultEvent::HEALED).mutable_evidence()->set_gone(1);
  EXPECT_EQ(Faults(builder), "fault gone: only 1 of 2 signalled processes went away");
  builder.Event("gone", FaultEvent::HEALED).mutable_evidence()->set_gone(0);
  builder.Event("gone", FaultEvent::HEALED).mutable_evidence()->set_signalled(0);
  EXPECT_THAT(Faults(builder), HasSubstr("no process of recommend was there"));
}

TEST(FaultGate, WantsAQuotaToHaveThrottled) {
  TimelineBuilder builder = TimelineBuilder().Quota("starved", 1, 2);
  EXPECT_THAT(Faults(builder), IsEmpty());
  Evidence& evidence = *builder.Event("starved", FaultEvent::HEALED).mutable_evidence();
  evidence.set_throttled_ns(0);
  evidence.set_achieved_percent(3);
  EXPECT_EQ(Faults(builder),
            "fault starved held nothing back: recommend was never throttled, and used 3 % of what it might of the 20 % that "
            "it was left");
}

TEST(FaultGate, WantsBurnersToHaveHadHalfOfWhatWasAskedFor) {
  TimelineBuilder builder = TimelineBuilder().CpuLoad("busy", 1, 2);
  EXPECT_THAT(Faults(builder), IsEmpty());
  Evidence& evidence = *builder.Event("busy", FaultEvent::HEALED).mutable_evidence();
  evidence.set_achieved_percent(37.5);
  EXPECT_THAT(Faults(builder), IsEmpty());
  evidence.set_achieved_percent(37.4);
  EXPECT_EQ(Faults(builder), "fault busy did not act as asked: its burners used 37.4 % of their cores, and 75 % was asked for");
  evidence.set_achieved_percent(75);
  evidence.set_burned_ns(0);
  EXPECT_THAT(Faults(builder), HasSubstr("fault busy did not act as asked"));
}

TEST(FaultGate, CaresForHealingOnlyWhereItMatters) {
  TimelineBuilder builder = TimelineBuilder().Latency("slow", 1, 2);
  builder.Event("slow", FaultEvent::HEALED).set_state(FaultEvent::HEALING);
  EXPECT_EQ(Faults(builder), "fault slow was never confirmed as healed");
  EXPECT_THAT(Faults(builder, /*must_be_over=*/false), IsEmpty());
  EXPECT_EQ(Faults(builder.StillRunningAt(3)), "fault slow still acts");
  builder = TimelineBuilder().Latency("slow", 1, 2);
  builder.Event("slow", FaultEvent::HEALED).set_state(FaultEvent::HEALING_NOT_CONFIRMED);
  EXPECT_EQ(Faults(builder, /*must_be_over=*/false), "healing of fault slow was not confirmed");
}

TEST(StallGate, AllowsATenth) {
  EXPECT_THAT(Reason(StallGate(1, 10, "window", Stalls({}))), IsEmpty());
  EXPECT_THAT(Reason(StallGate(0, 0, "window", Stalls({}))), IsEmpty());
  EXPECT_EQ(Reason(StallGate(2, 19, "window", Stalls({}))),
            "the machine stood still in 2 of 19 windows; at most 10 % may be left out");
}

TEST(Unsteadiness, AllowsErrorsUpToTheBound) {
  auto failing = [](int every) {
    return TimelineBuilder().Answer(0, 12, [every](double at) {
      return static_cast<int>(at * 200 + 0.5) % every == 0 ? Reply{10, ERROR, 500} : Reply{};
    });
  };
  EXPECT_THAT(Unsteady(failing(100)), IsEmpty());
  EXPECT_THAT(Unsteady(failing(50)),
              HasSubstr("2 % of 2,200 requests of load checkout failed (at most 1 % allowed)"));
}

TEST(Unsteadiness, DoesNotCountRejectedAndDegradedAnswers) {
  EXPECT_THAT(Unsteady(TimelineBuilder().Answer(0, 12, Reply{10, REJECTED, 429})), IsEmpty());
  EXPECT_THAT(Unsteady(TimelineBuilder().Answer(0, 12, Reply{10, DEGRADED})), IsEmpty());
}

TEST(Unsteadiness, ChecksP99WhereAsked) {
  TimelineBuilder builder = TimelineBuilder().Answer(0, 12, Reply{100, OK});
  EXPECT_THAT(Unsteady(builder), IsEmpty());
  builder.scenario.mutable_steady()->mutable_p99()->set_nanos(100'000'000);
  EXPECT_THAT(Unsteady(builder), IsEmpty());
  builder.scenario.mutable_steady()->mutable_p99()->set_nanos(99'000'000);
  EXPECT_EQ(Unsteady(builder), "p99 of load checkout was 100 ms (at most 99 ms allowed)");
}

TEST(Unsteadiness, LeavesOutTheWarmUpAndWhatCameAfterTheInjection) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 1, Reply{10, ERROR, 500}).Answer(1, 12, Reply{});
  builder.Answer(12, 22, Reply{10, ERROR, 500});
  EXPECT_THAT(Unsteady(builder), IsEmpty());
}

TEST(Unsteadiness, IsThereWhereNothingWasAnswered) {
  EXPECT_EQ(Unsteady(TimelineBuilder()), "no request of load checkout was answered before the first fault");
}

TEST(Unsteadiness, SaysWhyTheFirstRequestGotNoAnswer) {
  TimelineBuilder builder = TimelineBuilder().Answer(0, 12, TimelineBuilder::Reply{1, REFUSED, 0}).StillRunningAt(12);
  Record record;
  record.mutable_load_stats()->set_load("checkout");
  record.mutable_load_stats()->set_at_ns(TimelineBuilder::Ns(1));
  record.mutable_load_stats()->set_first_error("connect to 127.0.0.1:8080: Connection refused");
  builder.Put(record);
  const Timeline timeline = builder.Build();
  EXPECT_THAT(Unsteadiness(timeline, timeline.header.scenario().load(0), Stalls({})),
              ::testing::HasSubstr("; the first: connect to 127.0.0.1:8080: Connection refused"));
}

}  // namespace
}  // namespace squall
