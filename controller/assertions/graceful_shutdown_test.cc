#include "controller/assertions/graceful_shutdown.h"

#include <cmath>

#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using Reply = TimelineBuilder::Reply;

constexpr double kSignal = 12;

// orders is sent SIGTERM at 12 s, which is confirmed at 13 s. It is there again at 16 s.
struct Stop {
  double grace = 0;
  int64_t ended_by_grace = 0;
  double restart_after = 4;  // < 0: it stays gone
  int count = 0;
  int64_t gone = 1;
  double signalled = kSignal;
};
TimelineBuilder Signalled(const Stop& stop = {}) {
  Fault fault;
  fault.set_name("stop");
  fault.mutable_kill()->set_service("orders");
  fault.mutable_kill()->set_signal("SIGTERM");
  fault.mutable_kill()->set_count(stop.count);
  if (stop.grace > 0) fault.mutable_kill()->mutable_grace()->set_seconds(static_cast<int64_t>(stop.grace));
  if (stop.restart_after >= 0)
    fault.mutable_kill()->mutable_restart_after()->set_seconds(static_cast<int64_t>(stop.restart_after));
  Evidence evidence;
  evidence.set_signalled(1);
  evidence.set_gone(stop.gone);
  evidence.set_ended_by_grace(stop.ended_by_grace);
  if (stop.signalled > 0) evidence.set_signalled_ns(TimelineBuilder::Ns(stop.signalled));
  TimelineBuilder builder;
  builder.Fired(fault, 13, stop.restart_after < 0 ? 13 : kSignal + stop.restart_after, evidence);
  return builder;
}

TimelineBuilder& Exit(TimelineBuilder& builder, double at, int code, int signal = 0, bool known = true) {
  Record record;
  ServiceEvent& event = *record.mutable_service();
  event.set_service("orders");
  event.set_at_ns(TimelineBuilder::Ns(at));
  event.set_what(ServiceEvent::EXITED);
  event.set_exit_known(known);
  event.set_exit_code(code);
  event.set_exit_signal(signal);
  return builder.Put(record);
}

bool InFlight(double at) { return at < kSignal - 0.0001 && at + 0.2 > kSignal + 0.0001; }

// Requests take 200 ms, so that 39 were in flight for sure: sent from 11.805 s to 11.990 s and answered from 12.005 s on. What
// was sent within 5 ms before the signal counts as sent afterwards.
TimelineBuilder Served(TimelineBuilder builder, const std::function<Reply(double)>& reply) {
  return builder.Answer(0, 20, reply);
}
TimelineBuilder Served(TimelineBuilder builder) {
  return Served(std::move(builder), [](double) { return Reply{200}; });
}
TimelineBuilder Graceful() {
  TimelineBuilder builder = Served(Signalled());
  return Exit(builder, 12.5, 0);
}
// Those of the requests that were due then get another reply.
TimelineBuilder With(const std::vector<double>& at, Reply other, TimelineBuilder builder = Signalled()) {
  TimelineBuilder served = Served(std::move(builder), [at, other](double now) {
    for (const double each : at) {
      if (std::abs(each - now) < 0.001) return other;
    }
    return Reply{200};
  });
  return Exit(served, 12.5, 0);
}

GracefulShutdown Spec() {
  GracefulShutdown spec;
  spec.set_load("checkout");
  spec.set_fault("stop");
  spec.mutable_within()->set_seconds(2);
  spec.set_new_errors(0.1);
  spec.mutable_crossing()->set_nanos(50'000'000);
  return spec;
}

Judgement Judged(const TimelineBuilder& builder, const GracefulShutdown& spec = Spec()) {
  const Timeline timeline = builder.Build();
  return JudgeGracefulShutdown(spec, timeline, Stalls(timeline.stalls));
}

TEST(GracefulShutdown, PassesWhenAllThatWasBegunIsAnsweredAndItExits) {
  const Judgement judgement = Judged(Graceful());
  EXPECT_EQ(judgement.verdict.result(), Verdict::PASS) << judgement.verdict.reason();
  EXPECT_EQ(judgement.verdict.reason(),
            "0 of 38 requests in flight at SIGTERM failed; orders exited with 0, 500.0 ms after SIGTERM; 0 of 801 requests sent "
            "afterwards failed");
  EXPECT_EQ(judgement.verdict.samples(), 38);
  EXPECT_TRUE(judgement.final);
}

TEST(GracefulShutdown, FailsWhenWhatWasInFlightIsDropped) {
  TimelineBuilder builder = Served(Signalled(), [](double at) {
    return InFlight(at) ? Reply{(kSignal - at) * 1e3 + 3, RESET, 0} : Reply{200};
  });
  const Judgement judgement = Judged(Exit(builder, 12.01, 0));
  EXPECT_EQ(judgement.verdict.result(), Verdict::FAIL);
  EXPECT_EQ(judgement.verdict.reason(), "38 of 38 requests in flight at SIGTERM failed (0 may)");
  EXPECT_THAT(judgement.verdict.examples(), SizeIs(10));
  EXPECT_EQ(judgement.verdict.margin(), "-38");
  EXPECT_TRUE(judgement.final);
}

TEST(GracefulShutdown, FailsWhenOneIsDroppedUnlessItMay) {
  const Verdict verdict = Judged(With({11.9}, {120, RESET, 0})).verdict;
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("1 of 38 requests in flight at SIGTERM failed (0 may)"));
  EXPECT_THAT(verdict.examples(), ElementsAre("4bf92f3577b34da6000000000000094c"));
  GracefulShutdown one = Spec();
  one.set_in_flight_fail(1);
  EXPECT_EQ(Judged(With({11.9}, {120, RESET, 0}), one).verdict.result(), Verdict::PASS);
  EXPECT_EQ(Judged(With({11.9, 11.95}, {120, RESET, 0}), one).verdict.result(), Verdict::FAIL);
}

TEST(GracefulShutdown, TakesATurnedAwayRequestThatWasBegunForADroppedOne) {
  EXPECT_EQ(Judged(With({11.9}, {120, REJECTED, 503})).verdict.result(), Verdict::FAIL);
  EXPECT_EQ(Judged(With({11.9}, {120, TIMED_OUT, 0})).verdict.result(), Verdict::FAIL);
  EXPECT_EQ(Judged(With({11.9}, {120, DEGRADED})).verdict.result(), Verdict::PASS);
  EXPECT_EQ(Judged(With({11.9}, {120, ABANDONED, 0})).verdict.samples(), 37);
  EXPECT_EQ(Judged(With({12.1, 12.2}, {1, REJECTED, 503})).verdict.result(), Verdict::PASS) << "it is told to go elsewhere";
}

TEST(GracefulShutdown, CountsNothingThatHadEndedBefore) {
  EXPECT_EQ(Judged(With({11.9}, {100, RESET, 0})).verdict.result(), Verdict::PASS);
  EXPECT_EQ(Judged(With({11.9}, {100.001, RESET, 0})).verdict.result(), Verdict::FAIL);
  // An answer that came 4 ms after the signal was on its way already, and proves nothing.
  EXPECT_EQ(Judged(With({11.9}, {104})).verdict.samples(), 37);
  EXPECT_EQ(Judged(With({11.9}, {105})).verdict.samples(), 38);
}

TEST(GracefulShutdown, IsInconclusiveWhenNothingWasInFlight) {
  TimelineBuilder builder = Served(Signalled(), [](double) { return Reply{4}; });
  const Verdict verdict = Judged(Exit(builder, 12.5, 0)).verdict;
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_EQ(verdict.reason(), "no request of load checkout was in flight at SIGTERM; at least 1 is needed");
  EXPECT_THAT(verdict.advice(), HasSubstr("take longer"));
  GracefulShutdown many = Spec();
  many.set_in_flight_fail(38);
  EXPECT_EQ(Judged(Graceful(), many).verdict.reason(),
            "only 38 requests of load checkout were in flight at SIGTERM; at least 39 are needed");
  many.set_in_flight_fail(37);
  EXPECT_EQ(Judged(Graceful(), many).verdict.result(), Verdict::PASS);
}

TEST(GracefulShutdown, FailsWhenNewRequestsFail) {
  // 801 were sent afterwards: 0.1 % of them is none.
  const Verdict verdict = Judged(With({13}, {1, REFUSED, 0})).verdict;
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.reason(),
            "1 of 801 requests sent afterwards failed: 0.12 points above the baseline (0.1 % allowed); the first was refused 1.0 "
            "s after it");
  EXPECT_THAT(verdict.examples(), ElementsAre("4bf92f3577b34da60000000000000a28"));
  GracefulShutdown spec = Spec();
  spec.set_new_errors(0.2);
  EXPECT_EQ(Judged(With({13}, {1, REFUSED, 0}), spec).verdict.result(), Verdict::PASS);
  EXPECT_EQ(Judged(With({13, 14}, {1, REFUSED, 0}), spec).verdict.result(), Verdict::FAIL);
  EXPECT_EQ(Judged(With({16, 17}, {1, REFUSED, 0})).verdict.result(), Verdict::PASS) << "it is there again";
}

TEST(GracefulShutdown, LetsNewOnesFailWhereNobodyTakesOver) {
  GracefulShutdown alone = Spec();
  alone.set_new_errors(100);
  TimelineBuilder builder = Served(Signalled(), [](double at) { return at > 12 && at < 16 ? Reply{1, REFUSED, 0} : Reply{200}; });
  Exit(builder, 12.5, 0);
  EXPECT_EQ(Judged(builder, alone).verdict.result(), Verdict::PASS);
  TimelineBuilder few = Signalled();  // nor need there be many
  few.Answer(0, 12.01, Reply{200});
  EXPECT_EQ(Judged(Exit(few, 12.5, 0), alone).verdict.result(), Verdict::PASS);
  EXPECT_EQ(Judged(builder).verdict.result(), Verdict::FAIL);
}

TEST(GracefulShutdown, TellsTheIdleKeepAliveRaceApart) {
  const Reply crossed = {50, RESET, 0, 0, /*reused=*/true};
  const Verdict verdict = Judged(With({12.1, 12.2}, crossed)).verdict;
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_THAT(verdict.DebugString(), HasSubstr("2 requests, not counted"));
  EXPECT_EQ(Judged(With({12.1}, {50.001, RESET, 0, 0, true})).verdict.result(), Verdict::FAIL)
      << "it was taken, and then dropped";
  EXPECT_EQ(Judged(With({12.1}, {50, RESET, 0, 0, false})).verdict.result(), Verdict::FAIL) << "a fresh connection is not idle";
  EXPECT_EQ(Judged(With({12.1}, {50, ERROR, 500, 0, true})).verdict.result(), Verdict::FAIL);
  EXPECT_EQ(Judged(With({11.98}, {40, RESET, 0, 0, true})).verdict.result(), Verdict::FAIL)
      << "the service had it before the signal";
}

TEST(GracefulShutdown, AllowsWhatFailsAtTheBaselineToo) {
  // 1 % fails, always: of 801 requests 8, with three standard deviations 16.
  const auto with = [](std::vector<double> at) {
    TimelineBuilder builder = Served(Signalled(), [at](double now) {
      const auto number = static_cast<int64_t>(now / TimelineBuilder::kEverySeconds + 0.5);
      bool fails = now < 11 && number % 100 == 0;
      for (const double each : at) fails = fails || std::abs(each - now) < 0.001;
      return fails ? Reply{200, ERROR, 500} : Reply{200};
    });
    return Exit(builder, 12.5, 0);
  };
  EXPECT_EQ(Judged(with({11.9, 13, 13.1, 13.2, 13.3, 13.4, 13.5, 13.6, 13.7, 13.8, 13.9})).verdict.result(), Verdict::PASS);
  EXPECT_EQ(Judged(with({11.9, 11.91, 11.92, 11.93})).verdict.result(), Verdict::FAIL);
  std::vector<double> many;
  for (int i = 0; i < 20; ++i) many.push_back(13 + i * 0.1);
  EXPECT_EQ(Judged(with(many)).verdict.result(), Verdict::FAIL);
}

TEST(GracefulShutdown, HasTheTimeAllowedToExit) {
  const auto after = [](double seconds) {
    TimelineBuilder builder = Served(Signalled());
    return Exit(builder, kSignal + seconds, 0);
  };
  EXPECT_EQ(Judged(after(2.02)).verdict.result(), Verdict::PASS);
  const Verdict late = Judged(after(2.021)).verdict;
  EXPECT_EQ(late.result(), Verdict::FAIL);
  EXPECT_EQ(late.reason(), "orders exited with 0 only 2.0 s after SIGTERM (2 s allowed)");
  EXPECT_EQ(late.margin(), "-1.0 ms");
  EXPECT_EQ(Judged(after(2.5).StandStill(13, 500)).verdict.result(), Verdict::PASS);
}

TEST(GracefulShutdown, ExitsWithZeroOrByTheSignal) {
  const auto ended = [](int code, int signal) {
    TimelineBuilder builder = Served(Signalled());
    return Judged(Exit(builder, 12.5, code, signal)).verdict;
  };
  EXPECT_EQ(ended(0, 0).result(), Verdict::PASS);
  EXPECT_EQ(ended(143, 0).result(), Verdict::PASS);
  EXPECT_EQ(ended(0, 15).result(), Verdict::PASS);
  EXPECT_EQ(ended(1, 0).result(), Verdict::FAIL);
  EXPECT_EQ(ended(1, 0).reason(), "orders exited with 1, 500.0 ms after SIGTERM; 0, 143 or SIGTERM is expected");
  EXPECT_EQ(ended(0, 11).reason(), "orders was ended by SIGSEGV, 500.0 ms after SIGTERM; 0, 143 or SIGTERM is expected");
  EXPECT_EQ(ended(130, 0).result(), Verdict::FAIL);
  EXPECT_EQ(ended(0, 9).reason(), "orders was ended by SIGKILL, 500.0 ms after SIGTERM; 0, 143 or SIGTERM is expected");
}

TEST(GracefulShutdown, JudgesNoStatusThatNobodyWasTold) {
  TimelineBuilder builder = Served(Signalled());
  const Verdict verdict = Judged(Exit(builder, 12.5, 0, 0, /*known=*/false)).verdict;
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  TimelineBuilder untold = Served(Signalled());
  EXPECT_EQ(Judged(Exit(untold, 12.5, 1, 0, /*known=*/false)).verdict.result(), Verdict::PASS);
  EXPECT_THAT(verdict.DebugString(), HasSubstr("its status is not known, as squall did not start it"));
}

TEST(GracefulShutdown, LooksAtTheExitThatTheSignalAskedFor) {
  TimelineBuilder builder = Graceful();
  Exit(builder, 5, 1);  // an earlier life
  EXPECT_EQ(Judged(builder).verdict.result(), Verdict::PASS);
  Record other;
  other.mutable_service()->set_service("recommend");
  other.mutable_service()->set_at_ns(TimelineBuilder::Ns(12.1));
  other.mutable_service()->set_what(ServiceEvent::EXITED);
  other.mutable_service()->set_exit_known(true);
  other.mutable_service()->set_exit_code(1);
  EXPECT_EQ(Judged(builder.Put(other)).verdict.result(), Verdict::PASS);
}

TEST(GracefulShutdown, CountsNewRequestsForAsLongAsItMayTakeWhereItStaysGone) {
  const auto refused = [](double at) {
    return Judged(With({at}, {1, REFUSED, 0}, Signalled({.restart_after = -1}))).verdict.result();
  };
  EXPECT_EQ(refused(13.99), Verdict::FAIL);
  EXPECT_EQ(refused(14), Verdict::PASS);
}

TEST(GracefulShutdown, FailsWhenTheGraceHadToEndIt) {
  TimelineBuilder builder = Served(Signalled({.grace = 2, .ended_by_grace = 1}));
  const Verdict verdict = Judged(Exit(builder, 14.001, 0, 9)).verdict;
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.reason(), "orders still ran 2 s after SIGTERM, and was ended by SIGKILL");
  GracefulShutdown by_grace = Spec();
  by_grace.clear_within();
  TimelineBuilder just = Served(Signalled({.grace = 2}));
  EXPECT_EQ(Judged(Exit(just, 14.02, 0), by_grace).verdict.result(), Verdict::PASS);
  TimelineBuilder past = Served(Signalled({.grace = 2}));
  EXPECT_EQ(Judged(Exit(past, 14.021, 0), by_grace).verdict.result(), Verdict::FAIL);
}

TEST(GracefulShutdown, FailsWhenItGoesOnRunning) {
  // The signal is ignored, and the run goes on: that some process lives on is no want of evidence.
  TimelineBuilder builder = Served(Signalled({.restart_after = -1, .gone = 0}));
  const Verdict verdict = Judged(builder).verdict;
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.reason(), "orders still ran 8.2 s after SIGTERM (2 s allowed)");
  // When the run is over, squall ends it.
  Record done;
  done.mutable_phase()->set_phase(PhaseEvent::DONE);
  done.mutable_phase()->set_at_ns(TimelineBuilder::Ns(13.5));
  TimelineBuilder early = builder;
  const Verdict open = Judged(Exit(early.Put(done), 13.6, 0)).verdict;
  EXPECT_EQ(open.result(), Verdict::INCONCLUSIVE);
  EXPECT_EQ(open.reason(), "orders still ran 1.5 s after SIGTERM, and may for 2 s");
  EXPECT_THAT(open.advice(), HasSubstr("longer after the kill"));
}

TEST(GracefulShutdown, IsInconclusiveWhenItWasEndedToBeStartedAgain) {
  GracefulShutdown longer = Spec();
  longer.mutable_within()->set_seconds(30);
  TimelineBuilder builder = Served(Signalled());
  const Verdict verdict = Judged(Exit(builder, 16.001, 0, 9), longer).verdict;
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("still ran when it was to be started again, 4.0 s after SIGTERM, and may for 30 s"));
  EXPECT_THAT(verdict.advice(), HasSubstr("`restart_after` beyond `within`"));
  EXPECT_EQ(Judged(builder).verdict.result(), Verdict::FAIL);
}

TEST(GracefulShutdown, JudgesSomeOfItsProcessesByWhetherTheyAreGone) {
  const auto some = [](int64_t gone, double within) {
    GracefulShutdown spec = Spec();
    spec.mutable_within()->set_seconds(static_cast<int64_t>(within));
    return Judged(Served(Signalled({.restart_after = 4, .count = 1, .gone = gone})), spec).verdict;
  };
  EXPECT_EQ(some(1, 2).result(), Verdict::PASS) << some(1, 2).reason();
  EXPECT_EQ(some(0, 2).result(), Verdict::FAIL);
  EXPECT_EQ(some(0, 2).reason(), "only 0 of 1 process gone 4.0 s after SIGTERM");
  EXPECT_EQ(some(0, 30).result(), Verdict::INCONCLUSIVE);
  TimelineBuilder leader = Served(Signalled({.count = 1}));
  EXPECT_EQ(Judged(Exit(leader, 12.5, 1)).verdict.result(), Verdict::PASS) << "whose exit this is nobody knows";
}

TEST(GracefulShutdown, LeavesOutWhatAStallExplains) {
  TimelineBuilder builder = With({11.9}, {120, TIMED_OUT, 0});
  const Verdict verdict = Judged(builder.StandStill(11.95, 20)).verdict;
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_THAT(verdict.DebugString(), HasSubstr("left out because the machine stood still"));
}

TEST(GracefulShutdown, IsInconclusiveWhenStallsExplainTooMuch) {
  TimelineBuilder builder = Served(Signalled(), [](double at) {
    return at > 12.5 && at < 13.5 ? Reply{1, TIMED_OUT, 0} : Reply{200};
  });
  const Verdict verdict = Judged(Exit(builder, 12.5, 0).StandStill(12.5, 1000)).verdict;
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("stood still in 199 of 839 requests"));
}

TEST(GracefulShutdown, IsInconclusiveWithoutTheMomentOfTheSignal) {
  TimelineBuilder builder = Served(Signalled({.signalled = 0}));
  const Verdict verdict = Judged(Exit(builder, 12.5, 0)).verdict;
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("not recorded when stop sent its signal"));
}

TEST(GracefulShutdown, IsInconclusiveForAFaultThatAsksNobody) {
  GracefulShutdown spec = Spec();
  spec.set_fault("gone");
  TimelineBuilder builder = Served(TimelineBuilder().Kill("gone", 12, 16));
  EXPECT_THAT(Judged(builder, spec).verdict.reason(), HasSubstr("gone asks no service to stop"));
  spec.clear_fault();
  TimelineBuilder two = Graceful();
  EXPECT_THAT(Judged(two.Latency("slow", 17, 18), spec).verdict.reason(), HasSubstr("stop and slow asks no service to stop"));
  spec.set_fault("slow");
  TimelineBuilder slow = Served(TimelineBuilder().Latency("slow", 12, 16));
  EXPECT_EQ(Judged(slow, spec).verdict.result(), Verdict::INCONCLUSIVE);
}

TEST(GracefulShutdown, IsInconclusiveWithoutData) {
  EXPECT_EQ(Judged(Signalled()).verdict.result(), Verdict::INCONCLUSIVE);
  TimelineBuilder short_baseline = Signalled();
  short_baseline.Answer(5, 20, Reply{200});
  EXPECT_THAT(Judged(Exit(short_baseline, 12.5, 0)).verdict.reason(), HasSubstr("the baseline of load checkout has"));
  TimelineBuilder few = Signalled();
  few.Answer(0, 12, Reply{200}).Answer(12, 12.09, Reply{200});
  EXPECT_THAT(Judged(Exit(few, 12.5, 0)).verdict.reason(),
              HasSubstr("only 19 requests of load checkout were sent between the signal and the restart"));
  TimelineBuilder enough = Signalled();
  enough.Answer(0, 12, Reply{200}).Answer(12, 12.095, Reply{200});
  EXPECT_EQ(Judged(Exit(enough, 12.5, 0)).verdict.result(), Verdict::PASS);
}

TEST(GracefulShutdown, IsFinalOnceItIsThereAgain) {
  TimelineBuilder running = Graceful();
  running.StillRunningAt(15);
  running.Event("stop", FaultEvent::HEALED).set_state(FaultEvent::HEALING);
  EXPECT_FALSE(Judged(running).final);
  TimelineBuilder gone = Signalled({.restart_after = -1});
  gone.Answer(0, 13, Reply{200}).StillRunningAt(13.5);
  const Judgement open = Judged(Exit(gone, 12.5, 0));
  EXPECT_EQ(open.verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_FALSE(open.final);
  gone.Answer(13, 15, Reply{200}).StillRunningAt(20);
  EXPECT_TRUE(Judged(gone).final);
}

}  // namespace
}  // namespace squall
