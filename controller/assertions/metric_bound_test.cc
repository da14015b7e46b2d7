#include "controller/assertions/metric_bound.h"

#include "controller/assertions/metric_values.h"
#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

// slow acts from 12 s to 22 s; the page of orders is read from 0.5 s on, if it can be.
struct Page {
  explicit Page(double healed = 22, double end = 30, bool readable = true) {
    builder.Latency("slow", 12, healed).Answer(1, end, TimelineBuilder::Reply{});
    if (readable) Up(0.5, true);
    spec.set_service("orders");
    spec.set_metric("queue");
    spec.set_during(DURING_FAULT);
    spec.set_of(MetricBound::OF_VALUE);
  }

  Page& Up(double at, bool up) { return Say(at, up ? 1 : 0, "up"); }
  Page& Say(double at, double value, const std::string& series = "queue") {
    if (spec.monitor().empty()) {
      builder.Metric(at, series, value);
      return *this;
    }
    Record record;
    record.mutable_metric()->set_monitor(spec.monitor());
    record.mutable_metric()->set_at_ns(TimelineBuilder::Ns(at));
    record.mutable_metric()->set_series(series);
    record.mutable_metric()->set_value(value);
    builder.Put(record);
    return *this;
  }
  Page& Phase(double at, PhaseEvent::Phase phase) {
    Record record;
    record.mutable_phase()->set_phase(phase);
    record.mutable_phase()->set_at_ns(TimelineBuilder::Ns(at));
    builder.Put(record);
    return *this;
  }
  Page& AtMost(double most) { return spec.set_at_most(most), *this; }
  Page& AtLeast(double least) { return spec.set_at_least(least), *this; }
  Page& In(During during) { return spec.set_during(during), *this; }
  Page& Of(MetricBound::Of of) { return spec.set_of(of), *this; }
  Page& Within(int seconds) { return spec.mutable_reached_within()->set_seconds(seconds), *this; }
  // Instead of the page.
  Page& Ask(const std::string& query) {
    Monitor* monitor = builder.scenario.add_monitors();
    monitor->set_name("prometheus");
    spec.set_monitor("prometheus");
    spec.set_query(query);
    return Up(0.5, true);
  }

  Judgement Judged() const {
    const Timeline timeline = builder.Build();
    return JudgeMetric(spec, timeline, Stalls(timeline.stalls));
  }
  Verdict Is(Verdict::Result result) const {
    const Verdict verdict = Judged().verdict;
    EXPECT_EQ(verdict.result(), result) << verdict.reason();
    return verdict;
  }

  TimelineBuilder builder;
  MetricBound spec;
};

TEST(Metric, PassesWhileTheValueStaysWithinItsBounds) {
  Page page;
  page.Say(1, 3).Say(14, 18).Say(16, 5).AtMost(20);
  const Judgement judgement = page.Judged();
  EXPECT_EQ(judgement.verdict.result(), Verdict::PASS);
  EXPECT_EQ(judgement.verdict.reason(), "queue was between 3 and 18 while slow acted (at most 20)");
  EXPECT_EQ(judgement.verdict.margin(), "2");
  EXPECT_EQ(judgement.verdict.samples(), 40);
  EXPECT_TRUE(judgement.final);
}

TEST(Metric, PassesExactlyOnTheBoundAndFailsJustPastIt) {
  Page().Say(1, 3).Say(14, 20).AtMost(20).Is(Verdict::PASS);
  Page().Say(1, 3).Say(14, 3).AtLeast(3).Is(Verdict::PASS);
  const Verdict verdict = Page().Say(1, 3).Say(14, 20.5).Say(15, 24).AtMost(20).Is(Verdict::FAIL);
  EXPECT_EQ(verdict.reason(), "queue was 24 at 15.0 s while slow acted (at most 20)");
  EXPECT_EQ(verdict.first_broken_ns(), TimelineBuilder::Ns(14));
  Page().Say(1, 3).Say(14, 2.9).AtLeast(3).Is(Verdict::FAIL);
}

TEST(Metric, HoldsAValueUntilItIsToldAnew) {
  Page().Say(1, 30).AtMost(20).Is(Verdict::FAIL);
  Page().Say(1, 3).AtMost(20).Is(Verdict::PASS);
}

TEST(Metric, LooksOnlyAtThatPartOfTheRun) {
  Page page;
  page.Say(1, 3).Say(14, 30).Say(22.3, 3).AtMost(20);
  page.Is(Verdict::FAIL);
  page.In(DURING_AFTER).Is(Verdict::PASS);
  page.In(DURING_BASELINE).Is(Verdict::PASS);
  page.In(DURING_ALWAYS).Is(Verdict::FAIL);
}

TEST(Metric, DoesNotCountWhatTheFirstReadingReplaces) {
  Page().Say(1, 30).Say(12.4, 3).AtMost(20).Is(Verdict::PASS);
  Page().Say(1, 30).Say(12.6, 3).AtMost(20).Is(Verdict::FAIL);
}

TEST(Metric, JudgesEachSeriesThatCarriesTheLabels) {
  Page page;
  page.Say(1, 3, "queue{name=\"a\",shard=\"1\"}")
      .Say(1, 30, "queue{name=\"b\",shard=\"1\"}")
      .Say(1, 99, "queue{name=\"b\",shard=\"2\"}");
  page.Say(1, 99, "queue_size{shard=\"1\"}").AtMost(20);
  (*page.spec.mutable_labels())["shard"] = "1";
  const Verdict verdict = page.Is(Verdict::FAIL);
  EXPECT_EQ(verdict.reason(), "queue{name=\"b\",shard=\"1\"} was 30 at 12.0 s while slow acted (at most 20); 1 of 2 series");
}

TEST(Metric, IsInconclusiveWithoutData) {
  const Verdict nothing = Page().AtMost(20).Is(Verdict::INCONCLUSIVE);
  EXPECT_EQ(nothing.reason(), "the metrics page of orders told nothing of queue while slow acted");
  EXPECT_NE(nothing.advice(), "");
  Page().Say(1, 3, "queue{shard=\"2\"}").AtMost(20).Is(Verdict::PASS);
  Page labelled;
  labelled.Say(1, 3, "queue{shard=\"2\"}").AtMost(20);
  (*labelled.spec.mutable_labels())["shard"] = "1";
  EXPECT_THAT(labelled.Is(Verdict::INCONCLUSIVE).reason(), HasSubstr("it has queue{shard=\"2\"}"));
  EXPECT_EQ(Page(22, 30, false).AtMost(20).Is(Verdict::INCONCLUSIVE).reason(), "the metrics page of orders was never read");
}

TEST(Metric, IsInconclusiveWhenThePageCouldNotBeReadForLong) {
  Page().Say(1, 3).Up(14, false).Up(14.9, true).AtMost(20).Is(Verdict::PASS);
  const Verdict verdict = Page().Say(1, 3).Up(14, false).Up(15.1, true).AtMost(20).Is(Verdict::INCONCLUSIVE);
  EXPECT_EQ(verdict.reason(), "the metrics page of orders could be read for only 8.9 s of 10 s while slow acted (90 % needed)");
  EXPECT_NE(verdict.advice(), "");
  // What was read all the same is proof.
  Page().Say(1, 3).Up(14, false).Say(18, 30).Up(18, true).AtMost(20).Is(Verdict::FAIL);
}

TEST(Metric, TakesWhatWasToldBeforeAGapForTrueAfterIt) {
  Page().Say(1, 30).Up(11, false).Up(12.1, true).AtMost(20).Is(Verdict::FAIL);
}

TEST(Metric, KnowsNoValueInAGap) { Page().Say(1, 30).Up(11.5, false).Say(12.9, 3).Up(12.9, true).AtMost(20).Is(Verdict::PASS); }

TEST(Metric, TakesAValueForAProofThatThePageWasRead) { Page(22, 30, false).Say(1, 3).AtMost(20).Is(Verdict::PASS); }

TEST(Metric, NeedsThreeReadings) {
  Page(12.75).Say(1, 3).AtMost(20).Is(Verdict::PASS);
  EXPECT_THAT(Page(12.74).Say(1, 3).AtMost(20).Is(Verdict::INCONCLUSIVE).reason(),
              HasSubstr("740 ms while slow acted; 750 ms are needed"));
}

TEST(Metric, IsNotFinalBeforeThatPartOfTheRunIsOver) {
  Page page;
  page.Say(1, 3).AtMost(20).In(DURING_AFTER).builder.StillRunningAt(27);
  EXPECT_EQ(page.Judged().verdict.result(), Verdict::PASS);
  EXPECT_FALSE(page.Judged().final);
  page.Say(25, 21);
  EXPECT_EQ(page.Judged().verdict.result(), Verdict::FAIL);
  EXPECT_TRUE(page.Judged().final);
}

TEST(Metric, DoesNotCondemnAValueThatIsAboutToBeReadAnew) {
  Page page(22, 20);
  page.Say(1, 30).AtMost(20).In(DURING_AFTER).builder.StillRunningAt(22.4);
  EXPECT_EQ(page.Judged().verdict.result(), Verdict::INCONCLUSIVE) << page.Judged().verdict.reason();
  EXPECT_FALSE(page.Judged().final);
  page.builder.StillRunningAt(22.5);
  EXPECT_TRUE(page.Judged().final);
}

TEST(Metric, LeavesOutWhatWasTrueOnlyWhileTheMachineStoodStill) {
  Page page;
  page.Say(1, 3).Say(14.1, 30).Say(14.3, 3).AtMost(20);
  page.Is(Verdict::FAIL);
  page.builder.StandStill(14, 300);
  page.Is(Verdict::PASS);
  page.builder.StandStill(16, 2000);
  EXPECT_THAT(page.Is(Verdict::INCONCLUSIVE).reason(), HasSubstr("the machine stood still in 9 of 40 readings"));
}

TEST(Metric, DoesNotMissWhatRestingLoadsDoNotMake) {
  Page page;
  page.Say(1, 200).Say(25.2, 0).In(DURING_AFTER).AtLeast(100);
  page.Is(Verdict::FAIL);
  page.Phase(25, PhaseEvent::REST);
  page.Is(Verdict::PASS);
  // One that is too large is so at rest as well.
  page.spec.clear_at_least();
  page.Say(26, 500).AtMost(300).Is(Verdict::FAIL);
}

TEST(Metric, IsReachedWhenOneValueComesInTime) {
  Page page;
  page.Say(1, 0).Say(14.3, 1).Say(16, 0).AtLeast(1).Within(5);
  const Judgement judgement = page.Judged();
  EXPECT_EQ(judgement.verdict.result(), Verdict::PASS);
  EXPECT_EQ(judgement.verdict.reason(), "queue was 1 after 2.3 s while slow acted (at least 1, within 5 s)");
  EXPECT_TRUE(judgement.final);
}

TEST(Metric, FailsWhenItIsReachedTooLate) {
  // Up to a reading late, it may have been there in time.
  Page().Say(1, 0).Say(17.25, 1).AtLeast(1).Within(5).Is(Verdict::PASS);
  const Verdict verdict = Page().Say(1, 0).Say(17.3, 1).AtLeast(1).Within(5).Is(Verdict::FAIL);
  EXPECT_EQ(verdict.reason(), "queue was at best 0 while slow acted (at least 1, within 5 s)");
  EXPECT_EQ(verdict.first_broken_ns(), TimelineBuilder::Ns(17));
  // The machine's halts are not the service's.
  Page halted;
  halted.Say(1, 0).Say(17.3, 1).AtLeast(1).Within(5).builder.StandStill(13, 200);
  halted.Is(Verdict::PASS);
}

TEST(Metric, IsNotReachedByWhatWasThereBefore) {
  Page().Say(1, 1).Say(12.4, 0).AtLeast(1).Within(5).Is(Verdict::FAIL);
  Page().Say(1, 1).Say(12.6, 0).AtLeast(1).Within(5).Is(Verdict::PASS);
}

TEST(Metric, WaitsForWhatMayStillBeReached) {
  Page page(22, 26);
  page.Say(1, 0).AtLeast(1).Within(5).In(DURING_AFTER).builder.StillRunningAt(27.4);
  const Verdict verdict = page.Is(Verdict::INCONCLUSIVE);
  EXPECT_EQ(verdict.reason(), "queue was at best 0 after slow was over (at least 1, within 5 s) so far");
  EXPECT_FALSE(page.Judged().final);
  page.builder.StillRunningAt(27.5);
  page.Is(Verdict::FAIL);
  EXPECT_TRUE(page.Judged().final);
}

TEST(Metric, CountsTheIncreaseOfACounter) {
  Page page;
  page.Say(1, 100).Say(13, 104).Say(15, 112).Say(25, 500).Of(MetricBound::OF_INCREASE).AtMost(12);
  EXPECT_EQ(page.Is(Verdict::PASS).reason(), "queue grew by 12 while slow acted (at most 12)");
  EXPECT_EQ(page.AtMost(11).Is(Verdict::FAIL).reason(), "queue grew by 12 while slow acted (at most 11)");
  page.spec.clear_at_most();
  page.AtLeast(12).Is(Verdict::PASS);
  page.AtLeast(13).Is(Verdict::FAIL);
}

TEST(Metric, CountsFromZeroAfterAReset) {
  Page().Say(1, 100).Say(13, 104).Say(15, 3).Of(MetricBound::OF_INCREASE).AtMost(7).AtLeast(7).Is(Verdict::PASS);
}

TEST(Metric, CountsACounterThatAppearsFromZeroButNotTheFirstPage) {
  Page().Say(14, 5).Of(MetricBound::OF_INCREASE).AtMost(5).AtLeast(5).Is(Verdict::PASS);
  Page late(22, 30, false);
  late.Up(0.5, false).Say(12.8, 5).Up(12.8, true).Of(MetricBound::OF_INCREASE).AtMost(0).Is(Verdict::PASS);
}

TEST(Metric, CountsWhatFellOnTheEdgeForTheService) {
  const auto edge = [](double at) { return Page().Say(1, 0).Say(at, 4).Of(MetricBound::OF_INCREASE); };
  edge(12.4).AtMost(0).Is(Verdict::PASS);   // it may have grown before
  edge(12.4).AtLeast(4).Is(Verdict::PASS);  // or after
  edge(12.6).AtMost(0).Is(Verdict::FAIL);
  edge(11.9).AtLeast(4).Is(Verdict::FAIL);
  edge(22.4).AtLeast(4).Is(Verdict::PASS);
  edge(22.4).AtMost(0).Is(Verdict::PASS);
  edge(22.6).AtLeast(4).Is(Verdict::FAIL);
}

TEST(Metric, KnowsACounterThatNeverCounted) {
  Page page;
  page.Say(1, 100, "queue{event=\"closed\"}").Of(MetricBound::OF_INCREASE).AtLeast(1);
  (*page.spec.mutable_labels())["event"] = "opened";
  EXPECT_EQ(page.Is(Verdict::FAIL).reason(), "queue{event=\"opened\"} grew by 0 while slow acted (at least 1)");
  // A mistyped label must not pass.
  page.spec.clear_at_least();
  page.AtMost(0).Is(Verdict::INCONCLUSIVE);
}

TEST(Metric, JudgesARateOverTheWholePart) {
  Page page;
  page.Say(1, 0).Of(MetricBound::OF_RATE);
  for (int i = 1; i <= 40; ++i) page.Say(12 + 0.25 * i, 50.0 * i);
  EXPECT_EQ(page.AtLeast(200).Is(Verdict::PASS).reason(),
            "queue grew by 200 per second while slow acted (at least 200 per second)");
  page.AtLeast(201).Is(Verdict::FAIL);
  page.spec.clear_at_least();
  page.AtMost(200).Is(Verdict::PASS);
  page.AtMost(199).Is(Verdict::FAIL);
}

TEST(Metric, ReachesAnIncrease) {
  Page page;
  page.Say(1, 7).Say(14, 8).Say(15, 9).Of(MetricBound::OF_INCREASE).AtLeast(2).Within(3);
  EXPECT_EQ(page.Is(Verdict::PASS).reason(), "queue had grown by 2 after 3.0 s while slow acted (at least 2, within 3 s)");
  page.Within(2).Is(Verdict::FAIL);
}

TEST(Metric, AsksAMonitor) {
  Page page;
  page.Ask("sum(rate(errors[10s])) by (job)");
  page.Say(1, 3, "sum(rate(errors[10s])) by (job){job=\"a\"}").Say(1, 99, "sum(rate(errors[10s])) by (job) / 2").AtMost(20);
  EXPECT_EQ(page.Is(Verdict::PASS).reason(), "sum(rate(errors[10s])) by (job){job=\"a\"} was 3 while slow acted (at most 20)");
  page.Say(14, 21, "sum(rate(errors[10s])) by (job){job=\"b\"}").Is(Verdict::FAIL);
}

TEST(Metric, DoesNotTakeAQueryForAnotherThatBeginsLikeIt) {
  Page page;
  page.Ask("errors").Say(1, 3, "errors").Say(1, 99, "errors_total{job=\"a\"}").AtMost(20).Is(Verdict::PASS);
}

TEST(Metric, AsksAMonitorForASeries) {
  MetricBound spec;
  spec.set_metric("queue");
  EXPECT_EQ(QueryOf(spec), "queue");
  (*spec.mutable_labels())["b"] = "\"";
  (*spec.mutable_labels())["a"] = "1";
  EXPECT_EQ(QueryOf(spec), "queue{a=\"1\",b=\"\\\"\"}");
}

TEST(Metric, TakesNoNumberForNoValue) {
  Page page;
  page.Ask("a / b");
  EXPECT_THAT(page.Say(1, NAN, "a / b{}").AtMost(20).Is(Verdict::INCONCLUSIVE).reason(), HasSubstr("told nothing"));
  page.Say(15, 30, "a / b{}").Is(Verdict::FAIL);
}

TEST(Metric, NeedsAFaultThatFired) {
  Page page;
  page.Say(1, 3).AtMost(20);
  for (const auto state : {FaultEvent::INJECTED, FaultEvent::HEALING, FaultEvent::HEALED})
    page.builder.Event("slow", state).clear_evidence();
  page.Is(Verdict::INCONCLUSIVE);
  page.In(DURING_ALWAYS).Is(Verdict::PASS);
}

TEST(Metric, RefusesWhatCannotBeJudged) {
  EXPECT_EQ(Page().Say(1, 3).Is(Verdict::INCONCLUSIVE).reason(), "there is no bound to judge by");
  EXPECT_THAT(Page().Say(1, 3).Of(MetricBound::OF_RATE).AtMost(3).Within(3).Is(Verdict::INCONCLUSIVE).reason(),
              HasSubstr("a rate is"));
  Page unnamed;
  unnamed.spec.clear_metric();
  EXPECT_EQ(unnamed.AtMost(1).Is(Verdict::INCONCLUSIVE).reason(), "no metric is named");
}

}  // namespace
}  // namespace squall
