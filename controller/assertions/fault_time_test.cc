#include "controller/assertions/fault_time.h"

#include "controller/assertions/timeline_builder.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

constexpr auto Ns = TimelineBuilder::Ns;

TEST(FaultTime, IsThatOfTheNamedFault) {
  const Timeline timeline = TimelineBuilder().Latency("one", 12, 14).Latency("two", 16, 18).Build();
  const FaultTime time = TimeOf(timeline, "two");
  ASSERT_EQ(time.parts.size(), 1u);
  EXPECT_EQ(time.injected_ns, Ns(16));
  EXPECT_EQ(time.over_ns, Ns(18));
  EXPECT_EQ(time.Names(), "two");
}

TEST(FaultTime, IsFromTheFirstInjectionToTheLastHealingWithoutAName) {
  const Timeline timeline = TimelineBuilder().Latency("one", 12, 20).Latency("two", 10, 18).Build();
  const FaultTime time = TimeOf(timeline, "");
  EXPECT_EQ(time.injected_ns, Ns(10));
  EXPECT_EQ(time.over_ns, Ns(20));
  EXPECT_EQ(time.Names(), "one and two");
}

TEST(FaultTime, HasNoPartsForANameThatIsNotThere) {
  const Timeline timeline = TimelineBuilder().Latency("one", 12, 20).Build();
  EXPECT_TRUE(TimeOf(timeline, "other").parts.empty());
  EXPECT_FALSE(TimeOf(timeline, "other").injected_ns.has_value());
}

TEST(FaultTime, KnowsWhoHadClientsHangUp) {
  TimelineBuilder builder;
  builder.Latency("slow", 10, 30).Abandon("left", 12, 14, 50);
  const Timeline timeline = builder.Build();
  EXPECT_EQ(HungUpBy(timeline, "checkout", Ns(13), Ns(20)), "left");
  EXPECT_EQ(HungUpBy(timeline, "checkout", Ns(14), Ns(20)), "");
  EXPECT_EQ(HungUpBy(timeline, "checkout", Ns(11), Ns(12)), "");
  EXPECT_EQ(HungUpBy(timeline, "browse", Ns(13), Ns(20)), "");
}

TEST(FaultTime, IsNotOverWhileOneActs) {
  TimelineBuilder builder =
      TimelineBuilder().Latency("one", 12, 20).Latency("two", 10, 18).StillRunningAt(19);
  builder.Event("one", FaultEvent::HEALED).set_state(FaultEvent::HEALING);
  EXPECT_FALSE(TimeOf(builder.Build(), "").over_ns.has_value());
  EXPECT_EQ(TimeOf(builder.Build(), "two").over_ns, Ns(18));
}

TEST(FaultTime, OfAKillWithoutRestartLastsAsLongAsFaultsDo) {
  const Timeline timeline = TimelineBuilder().Kill("dead", 12, -1).Latency("slow", 14, 25).Build();
  EXPECT_EQ(TimeOf(timeline, "dead").over_ns, Ns(25));
  EXPECT_TRUE(TimeOf(timeline, "dead").AllKills());
  EXPECT_FALSE(TimeOf(timeline, "").AllKills());
  EXPECT_TRUE(TimeOf(timeline, "").AnyDeath());
}

TEST(FaultTime, OfAKillEndsWithTheRestart) {
  EXPECT_EQ(TimeOf(TimelineBuilder().Kill("gone", 12, 16).Latency("slow", 20, 25).Build(), "gone").over_ns,
            Ns(16));
}

TEST(FaultTime, OfAKillEndsWithItsSupervisorOrAtOnceWhereOthersLiveOn) {
  Fault fault;
  fault.set_name("gone");
  fault.mutable_kill()->mutable_supervisor_within()->set_seconds(10);
  EXPECT_EQ(TimeOf(TimelineBuilder().Fired(fault, 12, 15).Latency("slow", 20, 25).Build(), "gone").over_ns, Ns(15));
  fault.mutable_kill()->clear_supervisor_within();
  fault.mutable_kill()->set_count(1);
  const Timeline timeline = TimelineBuilder().Fired(fault, 12, 12).Latency("slow", 20, 25).Build();
  EXPECT_EQ(TimeOf(timeline, "gone").over_ns, Ns(12));
  EXPECT_FALSE(TimeOf(timeline, "gone").AnyDeath());
}

TEST(FaultTime, TellsHowLongHealingTook) {
  TimelineBuilder builder = TimelineBuilder().Latency("slow", 12, 20);
  builder.Event("slow", FaultEvent::HEALING).set_at_ns(Ns(19.5));
  EXPECT_EQ(TimeOf(builder.Build(), "slow").healing_took_ns, Ns(0.5));
}

TEST(FaultTime, IsClearedWhenItIsHealedAndAtTheInjectionOfWhatStaysDead) {
  EXPECT_EQ(ClearedAt(TimeOf(TimelineBuilder().Latency("one", 12, 20).Latency("two", 16, 18).Build(), "")), Ns(20));
  EXPECT_EQ(ClearedAt(TimeOf(TimelineBuilder().Kill("gone", 12, 16).Build(), "gone")), Ns(16));
  Fault dead;  // after its grace there is nothing left to do, and it stays dead
  dead.set_name("gone");
  dead.mutable_kill()->mutable_grace()->set_seconds(2);
  const Timeline timeline = TimelineBuilder().Fired(dead, 12, 14).Latency("slow", 20, 25).Build();
  EXPECT_EQ(TimeOf(timeline, "gone").over_ns, Ns(25));
  EXPECT_EQ(ClearedAt(TimeOf(timeline, "gone")), Ns(12));
}

TEST(FaultTime, KnowsWhatElseActs) {
  const Timeline timeline =
      TimelineBuilder().Latency("one", 12, 20).Latency("two", 16, 18).Latency("three", 30, 31).Build();
  const FaultTime one = TimeOf(timeline, "one");
  EXPECT_EQ(FirstInjection(timeline), Ns(12));
  EXPECT_EQ(NextOtherInjection(timeline, one, Ns(12)), Ns(16));
  EXPECT_EQ(NextOtherInjection(timeline, one, Ns(16)), Ns(30));
  EXPECT_EQ(NextOtherInjection(timeline, one, Ns(30)), std::nullopt);
  EXPECT_EQ(OtherActingAt(timeline, one, Ns(15)), "");
  EXPECT_EQ(OtherActingAt(timeline, one, Ns(17)), "two");
  EXPECT_EQ(OtherActingAt(timeline, one, Ns(18)), "");
  EXPECT_EQ(OtherActingAt(timeline, TimeOf(timeline, "two"), Ns(18)), "one");
}

TEST(FirstInjection, IsNoneWithoutAFault) {
  EXPECT_EQ(FirstInjection(TimelineBuilder().Build()), std::nullopt);
}

TEST(FirstInjection, IsTheSignalOfAKillThatTookItsTime) {
  TimelineBuilder builder;
  builder.Kill("stop", 20, 24);
  EXPECT_EQ(FirstInjection(builder.Build()), TimelineBuilder::Ns(20));
  builder.Event("stop", FaultEvent::HEALED).mutable_evidence()->set_signalled_ns(TimelineBuilder::Ns(17));
  EXPECT_EQ(FirstInjection(builder.Build()), TimelineBuilder::Ns(17));
}

}  // namespace
}  // namespace squall
