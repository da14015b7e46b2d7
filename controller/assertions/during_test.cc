#include "controller/assertions/during.h"

#include "absl/strings/str_cat.h"
#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

TimelineBuilder SlowFrom12To22() {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(1, 30, TimelineBuilder::Reply{});
  return builder;
}

// In seconds, so that it can be read.
std::string Shown(std::optional<Span> span) {
  if (!span) return "none";
  return absl::StrCat(span->begin_ns / 1e9, "..", span->end_ns / 1e9, span->over ? " over" : "");
}

std::string Of(During during, const Timeline& timeline, const std::string& fault = "") {
  return Shown(SpanOf(during, fault, timeline));
}

void AddPhase(TimelineBuilder& builder, PhaseEvent::Phase phase, double at) {
  Record record;
  record.mutable_phase()->set_phase(phase);
  record.mutable_phase()->set_at_ns(TimelineBuilder::Ns(at));
  builder.Put(record);
}

TEST(During, CutsTheRunWhereTheFaultBeginsAndEnds) {
  const Timeline timeline = SlowFrom12To22().Build();
  EXPECT_EQ(Of(DURING_FAULT, timeline), "12..22 over");
  EXPECT_EQ(Of(DURING_UNSPECIFIED, timeline), "12..22 over");
  EXPECT_EQ(Of(DURING_AFTER, timeline), "22..29.995 over");
  EXPECT_EQ(Of(DURING_ALWAYS, timeline), "1..29.995 over");
  EXPECT_EQ(Of(DURING_BASELINE, timeline), "1..12 over");
  for (const During during : {DURING_FAULT, DURING_AFTER, DURING_ALWAYS, DURING_BASELINE}) {
    EXPECT_FALSE(DuringGate(during, "", timeline)) << during;
  }
}

TEST(During, GoesFromTheFirstInjectionToTheLastHealingOfSeveral) {
  TimelineBuilder builder = SlowFrom12To22();
  builder.Latency("again", 24, 26);
  const Timeline timeline = builder.Build();
  EXPECT_EQ(Of(DURING_FAULT, timeline), "12..26 over");
  EXPECT_EQ(Of(DURING_FAULT, timeline, "again"), "24..26 over");
  EXPECT_EQ(Of(DURING_AFTER, timeline, "slow"), "22..29.995 over");
}

TEST(During, IsNotOverWhileTheRunGoesOn) {
  TimelineBuilder healed = SlowFrom12To22();
  healed.StillRunningAt(25);
  const Timeline timeline = healed.Build();
  EXPECT_EQ(Of(DURING_FAULT, timeline), "12..22 over");
  EXPECT_EQ(Of(DURING_AFTER, timeline), "22..30.005");
  EXPECT_EQ(Of(DURING_ALWAYS, timeline), "1..30.005");

  TimelineBuilder acts;
  acts.Latency("slow", 12, 22).Answer(1, 15, TimelineBuilder::Reply{}).StillRunningAt(15.5);
  acts.Event("slow", FaultEvent::HEALED).set_state(FaultEvent::HEALING);
  acts.Event("slow", FaultEvent::HEALING).set_at_ns(TimelineBuilder::Ns(12));
  const Timeline still = acts.Build();
  EXPECT_EQ(Of(DURING_FAULT, still), "12..22");
  EXPECT_EQ(Of(DURING_AFTER, still), "none");
  EXPECT_FALSE(DuringGate(DURING_FAULT, "", still));
  ASSERT_TRUE(DuringGate(DURING_AFTER, "", still));
  EXPECT_EQ(DuringGate(DURING_AFTER, "", still)->reason, "fault slow still acts");
}

TEST(During, IsNotOverWhenTheRunWasCutShort) {
  TimelineBuilder builder = SlowFrom12To22();
  const Timeline timeline = builder.End(Footer::INTERRUPTED).Build();
  EXPECT_EQ(Of(DURING_FAULT, timeline), "12..22 over");
  EXPECT_EQ(Of(DURING_AFTER, timeline), "22..29.995");
}

TEST(During, EndsTheBaselineWhereLimitsAreTriedOrLoadsRest) {
  for (const PhaseEvent::Phase phase : {PhaseEvent::LIMITS, PhaseEvent::REST}) {
    TimelineBuilder builder = SlowFrom12To22();
    AddPhase(builder, phase, 9);
    EXPECT_EQ(Of(DURING_BASELINE, builder.Build()), "1..9 over");
  }
}

TEST(During, LeavesOutTheTimeInWhichServicesAreStopped) {
  TimelineBuilder builder = SlowFrom12To22();
  AddPhase(builder, PhaseEvent::REST, 31);
  AddPhase(builder, PhaseEvent::DONE, 44);
  Record snapshot;
  snapshot.mutable_snapshot()->set_service("orders");
  snapshot.mutable_snapshot()->set_at_ns(TimelineBuilder::Ns(41));
  const Timeline timeline = builder.Put(snapshot).Build();
  EXPECT_EQ(timeline.last_ns, TimelineBuilder::Ns(44));
  EXPECT_EQ(Of(DURING_ALWAYS, timeline), "1..41 over");
}

TEST(During, CountsFromTheBaselineWhereNoLoadIsSent) {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22);
  AddPhase(builder, PhaseEvent::BASELINE, 2);
  AddPhase(builder, PhaseEvent::DONE, 30);
  const Timeline timeline = builder.Build();
  EXPECT_EQ(Of(DURING_ALWAYS, timeline), "2..30 over");
  EXPECT_EQ(Of(DURING_BASELINE, timeline), "2..12 over");
}

TEST(During, SaysWhatStandsInTheWay) {
  const Timeline nothing = TimelineBuilder().Build();
  EXPECT_EQ(Of(DURING_ALWAYS, nothing), "none");
  EXPECT_EQ(DuringGate(DURING_ALWAYS, "", nothing)->reason, "no request was sent");
  EXPECT_EQ(DuringGate(DURING_FAULT, "", nothing)->reason, "the scenario injects no such fault");

  TimelineBuilder untouched = SlowFrom12To22();
  for (const auto state : {FaultEvent::INJECTED, FaultEvent::HEALING, FaultEvent::HEALED}) {
    untouched.Event("slow", state).clear_evidence();
  }
  EXPECT_TRUE(DuringGate(DURING_FAULT, "", untouched.Build()));
  EXPECT_FALSE(DuringGate(DURING_ALWAYS, "", untouched.Build()));

  const Timeline sick = SlowFrom12To22().End(Footer::NOT_STEADY).Build();
  EXPECT_THAT(DuringGate(DURING_BASELINE, "", sick)->reason, HasSubstr("not steady"));
}

TEST(During, IsToldInWords) {
  TimelineBuilder builder = SlowFrom12To22();
  EXPECT_EQ(DuringText(DURING_FAULT, "", builder.Build()), "while slow acted");
  EXPECT_EQ(DuringText(DURING_AFTER, "slow", builder.Build()), "after slow was over");
  builder.Latency("again", 24, 26);
  EXPECT_EQ(DuringText(DURING_FAULT, "", builder.Build()), "while the faults acted");
  EXPECT_EQ(DuringText(DURING_AFTER, "", builder.Build()), "after the last fault was over");
  EXPECT_EQ(DuringText(DURING_ALWAYS, "", builder.Build()), "during the run");
  EXPECT_EQ(DuringText(DURING_BASELINE, "", builder.Build()), "before the first fault");
}

}  // namespace
}  // namespace squall
