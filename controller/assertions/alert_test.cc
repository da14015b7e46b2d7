#include "controller/assertions/alert.h"

#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using State = AlertSample::State;

// A fault from 12 s to 22 s, unless told otherwise, and what monitor prom told of it. It answers from 0 s on; the run ends at 60
// s.
class Watched {
 public:
  explicit Watched(TimelineBuilder of = TimelineBuilder().Latency("slow", 12, 22)) : builder(std::move(of)) {
    Monitor* monitor = builder.scenario.add_monitors();
    monitor->set_name("prom");
    monitor->mutable_prometheus()->set_url("http://127.0.0.1:9090");
  }
  Watched& Tell(double at, State state, const std::map<std::string, std::string>& labels = {},
                const std::string& alert = "OrdersFail") {
    Record record;
    AlertSample& sample = *record.mutable_alert();
    sample.set_monitor("prom");
    sample.set_at_ns(TimelineBuilder::Ns(at));
    sample.set_alert(alert);
    sample.set_state(state);
    sample.mutable_labels()->insert(labels.begin(), labels.end());
    builder.Put(record);
    return *this;
  }
  Watched& Up(double at, bool up = true) {
    Record record;
    MetricSample& sample = *record.mutable_metric();
    sample.set_monitor("prom");
    sample.set_series("up");
    sample.set_at_ns(TimelineBuilder::Ns(at));
    sample.set_value(up ? 1 : 0);
    builder.Put(record);
    return *this;
  }
  Watched& Until(double at) {
    Record record;
    record.mutable_host()->set_at_ns(TimelineBuilder::Ns(at));
    builder.Put(record);
    return *this;
  }

  TimelineBuilder builder;
};

Watched Fired(double at, double resolved) {
  return Watched()
      .Up(0)
      .Tell(at - 1, AlertSample::PENDING)
      .Tell(at, AlertSample::FIRING)
      .Tell(resolved, AlertSample::INACTIVE)
      .Until(60);
}

Alert Within(int64_t fires = 5, int64_t resolves = 20) {
  Alert spec;
  spec.set_monitor("prom");
  spec.set_alert("OrdersFail");
  spec.mutable_fires_within()->set_seconds(fires);
  spec.mutable_resolves_within()->set_seconds(resolves);
  return spec;
}

Judgement Judged(const Watched& watched, const Alert& spec = Within()) {
  const Timeline timeline = watched.builder.Build();
  return JudgeAlert(spec, timeline, Stalls(timeline.stalls));
}

TEST(Alert, PassesWhenItFiresAndIsResolvedInTime) {
  const Judgement judgement = Judged(Fired(15, 30));
  EXPECT_EQ(judgement.verdict.result(), Verdict::PASS) << judgement.verdict.reason();
  EXPECT_EQ(judgement.verdict.reason(),
            "OrdersFail fired 3.0 s after the injection (pending after 2.0 s); resolved 8.0 s after the healing");
  EXPECT_EQ(judgement.verdict.measured(), "3.0 s");
  EXPECT_EQ(judgement.verdict.limit(), "at most 6.0 s");
  EXPECT_THAT(judgement.verdict.DebugString(), HasSubstr("resolved 8.0 s after the healing"));
  EXPECT_TRUE(judgement.final);
}

TEST(Alert, HasTheTimeAllowedAndOneLookToFire) {
  EXPECT_EQ(Judged(Fired(18, 30)).verdict.result(), Verdict::PASS);
  const Verdict late = Judged(Fired(18.001, 30)).verdict;
  EXPECT_EQ(late.result(), Verdict::FAIL);
  EXPECT_EQ(late.reason(), "OrdersFail fired only 6.0 s after the injection, 5 s allowed (pending after 5.0 s)");
  EXPECT_EQ(late.margin(), "-1.0 ms");
  EXPECT_EQ(late.first_broken_ns(), TimelineBuilder::Ns(18));
}

TEST(Alert, HasTheTimeAllowedAndOneLookToBeResolved) {
  EXPECT_EQ(Judged(Fired(15, 43)).verdict.result(), Verdict::PASS);
  const Verdict late = Judged(Fired(15, 43.001)).verdict;
  EXPECT_EQ(late.result(), Verdict::FAIL);
  EXPECT_EQ(late.reason(), "OrdersFail was resolved only 21.0 s after the healing (20 s allowed)");
  const Verdict never = Judged(Watched().Up(0).Tell(15, AlertSample::FIRING).Until(60)).verdict;
  EXPECT_EQ(never.result(), Verdict::FAIL);
  EXPECT_EQ(never.reason(), "OrdersFail still fired 38.0 s after the healing (20 s allowed)");
}

TEST(Alert, FailsWhenItNeverFires) {
  const Judgement muted = Judged(Watched().Up(0).Until(60));
  EXPECT_EQ(muted.verdict.result(), Verdict::FAIL);
  EXPECT_EQ(muted.verdict.reason(),
            "OrdersFail never fired: monitor prom knows no alert of this name that was pending or fired; check the name and that "
            "its rule is "
            "loaded");
  EXPECT_TRUE(muted.final);
  const Verdict pending =
      Judged(Watched().Up(0).Tell(14, AlertSample::PENDING).Tell(24, AlertSample::INACTIVE).Until(60)).verdict;
  EXPECT_EQ(pending.result(), Verdict::FAIL);
  EXPECT_EQ(pending.reason(), "OrdersFail never fired within 5 s of the injection: it was only pending, from 2.0 s on");
  EXPECT_EQ(Judged(Watched().Up(0).Tell(14, AlertSample::FIRING, {}, "Another").Until(60)).verdict.result(), Verdict::FAIL);
}

TEST(Alert, MustCarryItsLabels) {
  Alert spec = Within();
  (*spec.mutable_labels())["service"] = "orders";
  const auto with = [](const std::string& service) {
    return Watched()
        .Up(0)
        .Tell(14, AlertSample::FIRING, {{"service", service}, {"severity", "page"}})
        .Tell(30, AlertSample::INACTIVE, {{"service", service}, {"severity", "page"}})
        .Until(60);
  };
  EXPECT_EQ(Judged(with("orders"), spec).verdict.result(), Verdict::PASS);
  const Verdict other = Judged(with("stock"), spec).verdict;
  EXPECT_EQ(other.result(), Verdict::FAIL);
  EXPECT_THAT(other.reason(), HasSubstr("knows it only with other labels, {service=stock, severity=page}"));
}

TEST(Alert, FiresAsLongAsOneOfItsSeriesDoes) {
  const std::map<std::string, std::string> a = {{"instance", "a"}}, b = {{"instance", "b"}};
  const Watched watched = Watched()
                              .Up(0)
                              .Tell(14, AlertSample::FIRING, a)
                              .Tell(15, AlertSample::FIRING, b)
                              .Tell(16, AlertSample::INACTIVE, a)
                              .Tell(18, AlertSample::FIRING, a)
                              .Tell(26, AlertSample::INACTIVE, b)
                              .Tell(28, AlertSample::INACTIVE, a)
                              .Until(60);
  const Verdict verdict = Judged(watched).verdict;
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_THAT(verdict.reason(), HasSubstr("resolved 6.0 s after the healing"));
}

TEST(Alert, FailsWhenItFlaps) {
  const Verdict verdict = Judged(Fired(14, 16).Tell(18, AlertSample::FIRING).Tell(30, AlertSample::INACTIVE)).verdict;
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.reason(), "OrdersFail flapped: it fired 2 times, the second time 6.0 s after the injection");
}

TEST(Alert, MayBeResolvedWhileTheFaultActs) {
  const Verdict verdict = Judged(Fired(14, 18)).verdict;
  EXPECT_EQ(verdict.result(), Verdict::PASS);
  EXPECT_THAT(verdict.reason(), HasSubstr("resolved before the healing"));
}

TEST(Alert, IsInconclusiveWhenItFiredAlready) {
  const Verdict fired = Judged(Watched().Up(0).Tell(5, AlertSample::FIRING).Tell(30, AlertSample::INACTIVE).Until(60)).verdict;
  EXPECT_EQ(fired.result(), Verdict::INCONCLUSIVE);
  EXPECT_EQ(fired.reason(), "OrdersFail fired already when slow was injected");
  EXPECT_THAT(fired.advice(), HasSubstr("resolved"));
  EXPECT_EQ(Judged(Watched().Up(0).Tell(11, AlertSample::PENDING).Tell(14, AlertSample::FIRING).Until(60)).verdict.result(),
            Verdict::INCONCLUSIVE);
  EXPECT_EQ(Judged(Fired(15, 30).Tell(2, AlertSample::FIRING).Tell(6, AlertSample::INACTIVE)).verdict.result(), Verdict::PASS);
}

TEST(Alert, IsInconclusiveWhereTheMonitorIsSilent) {
  const Verdict never = Judged(Watched().Until(60)).verdict;
  EXPECT_EQ(never.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(never.reason(), HasSubstr("monitor prom never answered"));
  EXPECT_THAT(Judged(Watched().Up(0, false).Up(14).Until(60)).verdict.reason(),
              HasSubstr("did not answer when slow was injected"));
  const Verdict silent = Judged(Watched().Up(0).Up(13, false).Up(15.001).Until(60)).verdict;
  EXPECT_EQ(silent.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(silent.reason(), HasSubstr("did not answer for 2.0 s of the 6.0 s"));
  EXPECT_EQ(Judged(Watched().Up(0).Up(13, false).Up(15).Until(60)).verdict.result(), Verdict::FAIL);
  EXPECT_EQ(Judged(Fired(19, 30).Up(13, false).Up(18.5)).verdict.result(), Verdict::INCONCLUSIVE) << "it may have fired before";
  // It was told all the same.
  EXPECT_EQ(Judged(Fired(17, 30).Up(13, false).Up(16)).verdict.result(), Verdict::PASS);
  EXPECT_EQ(Judged(Fired(17, 45).Up(23, false).Up(44)).verdict.result(), Verdict::INCONCLUSIVE);
}

TEST(Alert, NeedsNoAnswersOfAnAlertmanager) {
  Watched watched = Watched().Tell(14, AlertSample::FIRING).Tell(30, AlertSample::INACTIVE).Until(60);
  watched.builder.scenario.mutable_monitors(0)->mutable_alertmanager()->set_listen("127.0.0.1:9099");
  EXPECT_EQ(Judged(watched).verdict.result(), Verdict::PASS);
  Watched muted = Watched().Until(60);
  muted.builder.scenario.mutable_monitors(0)->mutable_alertmanager()->set_listen("127.0.0.1:9099");
  EXPECT_EQ(Judged(muted).verdict.result(), Verdict::FAIL);
  EXPECT_EQ(Judged(muted).verdict.reason(),
            "OrdersFail never fired within 5 s of the injection: monitor prom was told nothing of it; check the name, and "
            "Alertmanager's routes, silences, mute times and webhook_configs");
}

TEST(Alert, IsInconclusiveWhenTheFaultWasOverSoonerThanItMayTake) {
  const Verdict verdict = Judged(Watched().Up(0).Until(60), Within(11)).verdict;
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("slow was over after 10.0 s, sooner than the 11 s that it may take"));
  EXPECT_THAT(verdict.advice(), HasSubstr("raise the fault's `for`"));
  EXPECT_EQ(Judged(Fired(22.5, 30), Within(11)).verdict.result(), Verdict::PASS) << "it fired after the healing, and in time";
}

TEST(Alert, CountsFromTheInjectionWhereNothingIsHealed) {
  const Watched gone(TimelineBuilder().Kill("gone", 12, -1));
  EXPECT_EQ(Judged(Watched(gone).Up(0).Tell(16, AlertSample::FIRING).Tell(33, AlertSample::INACTIVE).Until(60)).verdict.result(),
            Verdict::PASS);
  const Verdict late =
      Judged(Watched(gone).Up(0).Tell(16, AlertSample::FIRING).Tell(34, AlertSample::INACTIVE).Until(60)).verdict;
  EXPECT_EQ(late.result(), Verdict::FAIL);
  EXPECT_EQ(late.reason(), "OrdersFail was resolved only 22.0 s after the injection (20 s allowed)");
  EXPECT_EQ(Judged(Watched(gone).Up(0).Until(60)).verdict.result(), Verdict::FAIL);
}

TEST(Alert, IsNotMistakenForAnother) {
  Watched watched =
      Watched().Up(0).Tell(14, AlertSample::FIRING, {}, "Another").Tell(30, AlertSample::INACTIVE, {}, "Another").Until(60);
  EXPECT_EQ(Judged(watched).verdict.result(), Verdict::FAIL);
  Record query;  // what else the monitor is asked for
  query.mutable_metric()->set_monitor("prom");
  query.mutable_metric()->set_series("sum(up)");
  query.mutable_metric()->set_at_ns(TimelineBuilder::Ns(1));
  query.mutable_metric()->set_value(0);
  Watched asked = Fired(15, 30);
  asked.builder.Put(query);
  EXPECT_EQ(Judged(asked).verdict.result(), Verdict::PASS);
}

TEST(Alert, IsNotJudgedWhileServicesAreStopped) {
  Record done;
  done.mutable_phase()->set_phase(PhaseEvent::DONE);
  done.mutable_phase()->set_at_ns(TimelineBuilder::Ns(42));
  Watched watched = Watched().Up(0).Tell(15, AlertSample::FIRING).Until(60);
  watched.builder.Put(done);
  EXPECT_EQ(Judged(watched).verdict.result(), Verdict::INCONCLUSIVE);
}

TEST(Alert, LeavesOutWhatTheMachineLost) {
  Watched late = Fired(18.5, 30);
  EXPECT_EQ(Judged(late).verdict.result(), Verdict::FAIL);
  late.builder.StandStill(16, 500);
  EXPECT_EQ(Judged(late).verdict.result(), Verdict::PASS);
}

TEST(Alert, IsNotJudgedBeyondTheNextFault) {
  Alert spec = Within();
  spec.set_fault("slow");
  Watched watched(TimelineBuilder().Latency("slow", 12, 22).Latency("next", 28, 30));
  watched.Up(0).Tell(14, AlertSample::FIRING).Tell(33, AlertSample::INACTIVE).Until(60);
  const Verdict verdict = Judged(watched, spec).verdict;
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_EQ(verdict.reason(), "OrdersFail is not resolved yet");
  EXPECT_THAT(verdict.advice(), HasSubstr("more time before the next one"));
}

TEST(Alert, IsFinalOnceItIsResolvedOrTheTimeIsUp) {
  TimelineBuilder running = TimelineBuilder().Latency("slow", 12, 22).StillRunningAt(30);
  const Judgement firing = Judged(Watched(running).Up(0).Tell(14, AlertSample::FIRING));
  EXPECT_EQ(firing.verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_FALSE(firing.final);
  EXPECT_TRUE(Judged(Watched(running).Up(0).Tell(14, AlertSample::FIRING).Tell(28, AlertSample::INACTIVE)).final);
  EXPECT_TRUE(Judged(Watched(running).Up(0)).final) << "it can no longer fire in time";
  const Judgement waits = Judged(Watched(TimelineBuilder().Kill("gone", 12, -1).StillRunningAt(17)).Up(0));
  EXPECT_EQ(waits.verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_FALSE(waits.final);
}

}  // namespace
}  // namespace squall
