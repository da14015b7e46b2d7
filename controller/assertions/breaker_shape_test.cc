// What goes down without stopping is no breaker that opens.
#include "controller/assertions/breaker_simulation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// 200 requests and calls a second; while the fault acts, calls as `during` adds them, and fallbacks at once.
Verdict JudgedWith(const std::function<void(TimelineBuilder&)>& during,
                   const CircuitBreaker& spec = OpenFor2s()) {
  TimelineBuilder builder;
  builder.Latency("slow", kInjected, kHealed);
  for (int i = 0; i < 9000; ++i) {
    const double at = i * TimelineBuilder::kEverySeconds;
    const bool slow = at >= kInjected && at < kHealed;
    builder.Add(at, slow ? Reply{2, DEGRADED} : Reply{10, OK});
    if (!slow) builder.AddCall(at + 0.001, 8, ANSWERED);
  }
  during(builder);
  return Judged(builder, spec);
}

// So many slots, each taken again 2 ms after it comes free.
void Bulkhead(TimelineBuilder& builder, int slots) {
  for (int slot = 0; slot < slots; ++slot) {
    for (double at = kInjected + 0.01 * slot; at < kHealed; at += 0.302)
      builder.AddCall(at, 300, CALLER_LEFT);
  }
}

// So many calls a second, of different lengths.
void Limiter(TimelineBuilder& builder, double per_second) {
  int i = 0;
  for (double at = kInjected; at < kHealed; at += 1 / per_second) {
    builder.AddCall(at, 250 + (++i * 37) % 100, CALLER_LEFT);
  }
}

TEST(BreakerShape, TellsABulkhead) {
  const Verdict verdict = JudgedWith([](auto& builder) { Bulkhead(builder, 8); });
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(),
              AllOf(StartsWith("never opened"), HasSubstr("13.4 % of the usual calls"),
                    HasSubstr("always 8 in flight: the shape of a bulkhead or a connection pool")));
}

TEST(BreakerShape, DoesNotTakeANarrowBulkheadForAnOpenBreaker) {
  // 2 in flight are 3.3 % of the usual calls, fewer than the 5 % that count as stopped.
  const Verdict verdict = JudgedWith([](auto& builder) { Bulkhead(builder, 2); });
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(),
              AllOf(StartsWith("did not open: calls over edge recommend went down to 3"),
                    HasSubstr("did not stop: always 2 in flight: the shape of a bulkhead")));
}

TEST(BreakerShape, TellsALimiter) {
  const Verdict verdict = JudgedWith([](auto& builder) { Limiter(builder, 20); });
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(),
              AllOf(StartsWith("never opened"), HasSubstr("evenly 20/s: the shape of a rate limiter")));
}

TEST(BreakerShape, DoesNotTakeANarrowLimiterForAnOpenBreaker) {
  const Verdict verdict = JudgedWith([](auto& builder) { Limiter(builder, 8); });
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(),
              AllOf(StartsWith("did not open"), HasSubstr("evenly 8/s: the shape of a rate limiter")));
}

TEST(BreakerShape, SaysNothingOfCallsThatGoOnAsUsual) {
  SimulatedBreaker breaker;
  breaker.trips_at = 0;
  EXPECT_THAT(Judged(breaker).reason(), Not(HasSubstr("shape")));
}

// 200 requests a second, of whose calls a share is kept back while the fault acts.
Verdict JudgedStaysClosed(double kept_back, double from = kInjected, double to = kHealed, bool clients_hang_up = false) {
  TimelineBuilder builder;
  builder.Latency("slow", kInjected, kHealed);
  if (clients_hang_up) builder.Abandon("left", from, to, 20);
  double owed = 0;
  int calls = 0;
  for (int i = 0; i < 9000; ++i) {
    const double at = i * TimelineBuilder::kEverySeconds;
    builder.Add(at, Reply{10, OK});
    owed += at >= from && at < to ? 1 - kept_back : 1;
    if (owed < 0.999) continue;
    owed -= 1;
    builder.AddCall(at + 0.001, 8, ++calls % 20 == 0 ? FAILED : ANSWERED);
  }
  CircuitBreaker spec = OpenFor2s();
  spec.set_stays_closed(true);
  spec.clear_open_time();
  return Judged(builder, spec);
}

TEST(BreakerThatStaysClosed, PassesDownToNineTenthsOfTheCalls) {
  const Verdict verdict = JudgedStaysClosed(0.1);
  EXPECT_EQ(verdict.result(), Verdict::PASS) << verdict.reason();
  EXPECT_THAT(verdict.reason(),
              HasSubstr("in 0 of 10 windows of the fault (limit 1 %), while 91 calls failed"));
  EXPECT_EQ(verdict.measured(), "at least 90 %");
}

TEST(BreakerThatStaysClosed, FailsWhenOneWindowOfTenHasFewer) {
  EXPECT_EQ(JudgedStaysClosed(0.11).result(), Verdict::FAIL);
  const Verdict verdict = JudgedStaysClosed(1, 15, 15.2);
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_THAT(verdict.reason(), HasSubstr("in 1 of 10 windows"));
  EXPECT_EQ(verdict.first_broken_ns(), TimelineBuilder::Ns(15));
  EXPECT_EQ(JudgedStaysClosed(1, 15, 15.05).result(), Verdict::PASS);
}

TEST(BreakerThatStaysClosed, IsNotBlamedForCallsOfClientsThatHungUp) {
  const Verdict verdict = JudgedStaysClosed(0.2, kInjected, kHealed, /*clients_hang_up=*/true);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), StartsWith("calls may be missing because fault left had clients hang up: calls went below 90 %"));
  EXPECT_EQ(JudgedStaysClosed(0.05, kInjected, kHealed, /*clients_hang_up=*/true).result(), Verdict::PASS);
}

TEST(BreakerThatStaysClosed, IsInconclusiveWithOneWindowTooFew) {
  TimelineBuilder builder;
  builder.Latency("slow", kInjected, kInjected + 9.99);
  for (int i = 0; i < 6000; ++i) {
    builder.Add(i * 0.005, Reply{10, OK}).AddCall(i * 0.005 + 0.001, 8, ANSWERED);
  }
  CircuitBreaker spec = OpenFor2s();
  spec.set_stays_closed(true);
  const Verdict verdict = Judged(builder, spec);
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("only 9 windows of the fault can be judged; 10 are needed"));
}

}  // namespace
}  // namespace squall
