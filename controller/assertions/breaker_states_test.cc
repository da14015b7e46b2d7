// What a breaker says itself, beside what its calls show.
#include "controller/assertions/breaker_states.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "controller/assertions/breaker_checks.h"
#include "controller/assertions/breaker_simulation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string DetailOf(const Verdict& verdict, absl::string_view name) {
  for (const Detail& detail : verdict.details()) {
    if (detail.name() == name) return detail.value();
  }
  return "";
}

CircuitBreaker WithState() {
  CircuitBreaker spec = OpenFor2s();
  spec.mutable_state()->set_metric("state");
  spec.mutable_state()->set_open(1);
  spec.mutable_state()->set_half_open(2);
  spec.mutable_state()->set_closed(0);
  return spec;
}

std::string Words(const TimelineBuilder& builder, const CircuitBreaker& spec = WithState()) {
  const OwnStates own = StatesByMetric(spec, builder.Build(), "orders", TimelineBuilder::Ns(kInjected),
                                       TimelineBuilder::Ns(kEnd));
  std::string text = own.problem.empty() ? StatesInWords(own.spans) : own.problem;
  if (own.counted) absl::StrAppend(&text, "; grew by ", own.openings);
  return text;
}

TEST(BreakerStatesByMetric, FollowAGauge) {
  TimelineBuilder builder;
  builder.Metric(0, "state", 0).Metric(0, "up", 1).Metric(12.5, "state", 1).Metric(14.75, "state", 2);
  builder.Metric(15, "state", 1).Metric(23.5, "state", 0).Metric(30, "state", 7);
  EXPECT_EQ(
      Words(builder),
      "closed, open from 12.5 s, half-open from 14.8 s, open from 15.0 s, closed from 23.5 s, 7 from 30.0 s");
}

TEST(BreakerStatesByMetric, FollowASeriesForEachState) {
  CircuitBreaker spec = WithState();
  (*spec.mutable_state()->mutable_labels())["name"] = "recommend";
  TimelineBuilder builder;
  const auto tell = [&](double at, const char* state, double value) {
    builder.Metric(at, absl::StrCat("state{name=\"recommend\",state=\"", state, "\"}"), value);
  };
  tell(0, "closed", 1), tell(0, "open", 0), tell(0, "half_open", 0), tell(0, "disabled", 0);
  builder.Metric(0, R"(state{name="other",state="open"})", 1);
  tell(12.5, "closed", 0), tell(12.5, "open", 1);
  tell(15, "open", 0), tell(15, "half_open", 1);
  EXPECT_EQ(Words(builder, spec), "closed, open from 12.5 s, half-open from 15.0 s");
}

TEST(BreakerStatesByMetric, FollowCountersOfEvents) {
  TimelineBuilder builder;
  const auto tell = [&](double at, const char* event, double value) {
    builder.Metric(at, absl::StrCat("state{event=\"", event, "\",name=\"recommend\"}"), value);
  };
  tell(0, "fire", 10), tell(12.5, "open", 1), tell(15, "halfOpen", 1), tell(15.25, "open", 2),
      tell(20, "close", 1);
  EXPECT_EQ(Words(builder),
            "closed, open from 12.5 s, half-open from 15.0 s, open from 15.2 s, closed from 20.0 s; "
            "grew by 2");
}

TEST(BreakerStatesByMetric, SayWhenThePageCouldNotBeRead) {
  TimelineBuilder builder;
  builder.Metric(0, "state", 0)
      .Metric(0, "up", 1)
      .Metric(12, "up", 0)
      .Metric(13, "up", 1)
      .Metric(14, "state", 1);
  EXPECT_EQ(Words(builder), "closed, unknown from 12.0 s, closed from 13.0 s, open from 14.0 s");
}

TEST(BreakerStatesByMetric, SayWhyThereAreNone) {
  EXPECT_EQ(Words(TimelineBuilder()), "the metrics page of orders was never read");
  EXPECT_EQ(Words(TimelineBuilder().Metric(0, "up", 0)), "the page never told state");
  EXPECT_EQ(Words(TimelineBuilder().Metric(0, "state{name=\"a\"}", 0).Metric(0, "state{name=\"b\"}", 0)),
            "the page has 2 series of state that match: say which one in `labels`");
}

TEST(BreakerStates, OfCallsAndMetricStandSideBySide) {
  TimelineBuilder builder = Simulation(SimulatedBreaker(), 100).builder();
  builder.Metric(0, "state", 0).Metric(12.5, "state", 1).Metric(23.75, "state", 0);
  const Verdict verdict = Judged(builder, WithState());
  EXPECT_EQ(verdict.result(), Verdict::PASS);
  EXPECT_EQ(DetailOf(verdict, "state by metric"), "closed, open from 12.5 s, closed from 23.8 s");
  EXPECT_THAT(DetailOf(verdict, "state by calls"),
              StartsWith("closed, open from 12.3 s, half-open from 14.3 s, "));
  EXPECT_THAT(DetailOf(verdict, "state by calls"), HasSubstr("half-open from 23.6 s, closed from 23.6 s"));
  EXPECT_EQ(DetailOf(verdict, "state disagrees"), "");
}

TEST(BreakerStates, DisagreeWhenTheMetricNeverSaysOpenAndThatIsADetailAndNoFailure) {
  TimelineBuilder builder = Simulation(SimulatedBreaker(), 100).builder();
  builder.Metric(0, "state", 0);
  const Verdict verdict = Judged(builder, WithState());
  EXPECT_EQ(verdict.result(), Verdict::PASS);
  EXPECT_THAT(DetailOf(verdict, "state disagrees"),
              HasSubstr("the metric says closed and the calls say open"));
}

TEST(BreakerStates, DisagreeWhenTheMetricSaysOpenAndCallsGoOn) {
  SimulatedBreaker breaker;
  breaker.trips_at = 0;
  TimelineBuilder builder = Simulation(breaker, 100).builder();
  builder.Metric(0, "state", 0).Metric(12.5, "state", 1).Metric(23.75, "state", 0);
  const Verdict verdict = Judged(builder, WithState());
  EXPECT_THAT(verdict.reason(), HasSubstr("never opened"));
  EXPECT_EQ(DetailOf(verdict, "state disagrees"),
            "from 12.5 s to 23.8 s the metric says open and the calls say closed");
}

TEST(BreakerStates, MayDifferForASecondButNoLonger) {
  const auto ns = TimelineBuilder::Ns;
  const StateSpans by_calls = {{0, ns(12), "closed"}, {ns(12), ns(20), "open"}, {ns(20), ns(30), "closed"}};
  const auto metric = [&](double from) {
    return StateSpans{{0, ns(from), "closed"}, {ns(from), ns(20), "half-open"}, {ns(20), ns(30), "closed"}};
  };
  EXPECT_EQ(Disagreement(by_calls, metric(13)), "");
  EXPECT_EQ(Disagreement(by_calls, metric(13.001)),
            "from 12.0 s to 13.0 s the metric says closed and the calls say open");
  EXPECT_EQ(Disagreement(by_calls, {{0, ns(30), "unknown"}}), "");
  EXPECT_EQ(Disagreement(by_calls, {}), "");
}

TEST(BreakerStates, OpeningsTooShortToBeReadAreToldByTheirCounter) {
  CircuitBreaker spec = WithState();
  spec.mutable_state()->set_opened("opened");
  TimelineBuilder builder = Simulation(SimulatedBreaker(), 100).builder();
  builder.Metric(0, "state", 0).Metric(0, "opened", 3).Metric(12.5, "opened", 4).Metric(15, "opened", 6);
  const Verdict verdict = Judged(builder, spec);
  EXPECT_EQ(DetailOf(verdict, "state by metric"), "closed; opened grew by 3");
  EXPECT_EQ(DetailOf(verdict, "state too short to read"),
            "the counter of openings grew, and no page that was read said open");
}

// Names that cannot be resolved while the fault acts: calls vanish, and nothing counts the attempts.
Finding OpensWithNamesGone(const StateSpans& own, std::optional<int64_t>* opened_ns) {
  TimelineBuilder builder;
  builder.Latency("gone", kInjected, kHealed);
  builder.scenario.mutable_faults(0)->mutable_dns()->set_service("orders");
  for (int i = 0; i < 9000; ++i) {
    const double at = i * TimelineBuilder::kEverySeconds;
    const bool gone = at >= kInjected && at < kHealed + 1;
    builder.Add(at, gone ? Reply{1, DEGRADED} : Reply{10, OK});
    if (!gone) builder.AddCall(at + 0.001, 8, ANSWERED);
  }
  const CircuitBreaker spec = OpenFor2s();
  const Timeline timeline = builder.Build();
  const Stalls stalls(timeline.stalls);
  const Load& load = *FindLoad(timeline, "checkout");
  const BreakerScenes scenes =
      ScenesOf(spec, timeline, load, TimeOf(timeline, ""), BaselineOf(timeline, load), stalls);
  return CheckOpens(scenes.each.front(), own, opened_ns);
}

TEST(BreakerOfNamesThatAreGone, IsInconclusiveWithoutAStateMetric) {
  std::optional<int64_t> opened_ns;
  const Finding finding = OpensWithNamesGone({}, &opened_ns);
  EXPECT_EQ(finding.result, Verdict::INCONCLUSIVE);
  EXPECT_THAT(finding.text,
              HasSubstr("calls vanish where a name cannot be resolved, with or without a breaker"));
  EXPECT_FALSE(opened_ns);
}

TEST(BreakerOfNamesThatAreGone, IsJudgedByItsStateMetric) {
  const auto ns = TimelineBuilder::Ns;
  std::optional<int64_t> opened_ns;
  Finding finding = OpensWithNamesGone({{0, ns(17), "closed"}, {ns(17), ns(40), "open"}}, &opened_ns);
  EXPECT_EQ(finding.result, Verdict::PASS);
  EXPECT_EQ(finding.text, "opened 5.0 s after the injection, by its own metric (limit 5 s)");
  EXPECT_EQ(opened_ns, ns(17));
  finding = OpensWithNamesGone({{0, ns(17.001), "closed"}, {ns(17.001), ns(40), "open"}}, &opened_ns);
  EXPECT_EQ(finding.result, Verdict::FAIL);
  finding = OpensWithNamesGone({{0, ns(40), "closed"}}, &opened_ns);
  EXPECT_EQ(finding.result, Verdict::FAIL);
  EXPECT_EQ(finding.text, "never opened by its own metric in the 10.0 s of the fault");
}

}  // namespace
}  // namespace squall
