#include "controller/assertions/attempts.h"

#include "controller/assertions/timeline_builder.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

constexpr auto Ns = TimelineBuilder::Ns;

Attempts Within(const TimelineBuilder& builder, double from, double to) {
  return Attempts(builder.Build(), "recommend", "checkout", Ns(from), Ns(to));
}

TEST(Attempts, CountsCallsByTheirStartAndRequestsByTheirSend) {
  TimelineBuilder builder;
  builder.Add(1.09, {200, OK, 200, 20}).AddCall(1.12, 500, CALLER_LEFT).AddCall(1.15, 1, ANSWERED);
  const Attempts attempts = Within(builder, 1, 2);
  ASSERT_EQ(attempts.bins(), 10u);
  EXPECT_EQ(attempts.BinStart(1), Ns(1.1));
  EXPECT_EQ(attempts.Requests(0, 1), 0);
  EXPECT_EQ(attempts.Requests(1, 2), 1);
  EXPECT_EQ(attempts.Calls(1, 2), 2);
  EXPECT_EQ(attempts.Answered(1, 2), 1);
  EXPECT_EQ(attempts.Calls(2, 10), 0);
}

TEST(Attempts, DoesNotCountBareConnections) {
  EXPECT_EQ(Within(TimelineBuilder().AddCall(1.5, 1, CONNECTION), 1, 2).Calls(0, 10), 0);
}

TEST(Attempts, SpreadsRefusedConnectsOverTheTimeInWhichTheyWereCounted) {
  TimelineBuilder builder;
  builder.Refused(1, 100).Refused(1.5, 150).Refused(2, 150);
  const Attempts attempts = Within(builder, 1, 2);
  EXPECT_NEAR(attempts.Calls(0, 5), 50, 1e-6);
  EXPECT_NEAR(attempts.Calls(0, 1), 10, 1e-6);
  EXPECT_EQ(attempts.Calls(5, 10), 0);
}

TEST(Attempts, DoesNotCountARefusalTwiceThatIsAlsoSeenAsACall) {
  TimelineBuilder builder;
  builder.Refused(1, 0).Refused(1.1, 1).AddCall(1.05, 0, CONNECT_REFUSED);
  EXPECT_EQ(Within(builder, 1, 2).Calls(0, 10), 1);
  EXPECT_EQ(Within(TimelineBuilder().AddCall(1.05, 0, CONNECT_REFUSED), 1, 2).Calls(0, 10), 1);
}

TEST(Attempts, CountsWhatOneProcessTriedAlone) {
  TimelineBuilder builder;
  builder.AddCall(1.1, 1, ANSWERED, 7).AddCall(1.2, 1, ANSWERED, 8).AddCall(1.3, 0, CONNECT_REFUSED, 8);
  builder.Refused(1.5, 0, {{7, 0}}).Refused(2, 50, {{7, 20}, {8, 30}});
  const Timeline timeline = builder.Build();
  const Attempts of_7(timeline, "recommend", "checkout", Ns(1), Ns(2), 7);
  EXPECT_NEAR(of_7.Calls(0, 10), 1 + 20, 1e-6);
  EXPECT_EQ(of_7.Answered(0, 10), 1);
  const Attempts of_8(timeline, "recommend", "checkout", Ns(1), Ns(2), 8);
  EXPECT_NEAR(of_8.Calls(0, 10), 2 + 30, 1e-6);
  EXPECT_EQ(RefusalsWithin(timeline, "recommend", Ns(1), Ns(2), 7).count, 20);
  EXPECT_EQ(RefusalsWithin(timeline, "recommend", Ns(1), Ns(2), 8).first_ns, Ns(1.3));
}

TEST(Attempts, TakesConnectsWhereThereAreMoreThanCalls) {
  TimelineBuilder builder;
  builder.AddCall(1.05, 1, ANSWERED).AddCall(1.06, 1, ANSWERED).Connects(1, 3).Connects(1.5, 8).Connects(2, 8);
  const Timeline timeline = builder.Build();
  const Attempts attempts(timeline, "recommend", "checkout", Ns(1), Ns(2), std::nullopt, /*by_connects=*/true);
  EXPECT_NEAR(attempts.Calls(0, 1), 2, 1e-6);
  EXPECT_NEAR(attempts.Calls(1, 5), 4, 1e-6);
  EXPECT_EQ(attempts.Calls(5, 10), 0);
  EXPECT_EQ(Attempts(timeline, "recommend", "checkout", Ns(1), Ns(2)).Calls(1, 10), 0);
}

TEST(Connects, AreThoseThatAreSureToBeOfTheSpan) {
  const Timeline timeline =
      TimelineBuilder().Connects(1, 1, {{7, 1}}).Connects(2, 3, {{7, 1}}).Connects(3, 7, {{7, 2}}).Connects(4, 9, {{7, 2}}).Build();
  EXPECT_TRUE(ConnectsCounted(timeline, "recommend"));
  EXPECT_FALSE(ConnectsCounted(timeline, "other"));
  const Refusals all = ConnectsWithin(timeline, "recommend", Ns(1.5), Ns(3.5));
  EXPECT_EQ(all.count, 4);
  EXPECT_EQ(all.first_ns, Ns(2));
  EXPECT_EQ(ConnectsWithin(timeline, "recommend", Ns(1), Ns(4), 7).count, 1);
  EXPECT_EQ(ConnectsWithin(timeline, "recommend", Ns(3.2), Ns(3.8)).first_ns, std::nullopt);
}

TEST(Attempts, HasNoBinsInAnEmptySpan) { EXPECT_EQ(Within(TimelineBuilder(), 2, 1).bins(), 0u); }

TEST(Refusals, AreThoseOfTheSpan) {
  const Timeline timeline =
      TimelineBuilder().Refused(1, 5).Refused(2, 7).Refused(3, 10).Refused(4, 11).Build();
  const Refusals refusals = RefusalsWithin(timeline, "recommend", Ns(2), Ns(3));
  EXPECT_EQ(refusals.count, 3);
  EXPECT_EQ(refusals.first_ns, Ns(3));
  EXPECT_EQ(RefusalsWithin(timeline, "recommend", Ns(5), Ns(6)).count, 0);
  EXPECT_EQ(RefusalsWithin(timeline, "recommend", Ns(5), Ns(6)).first_ns, std::nullopt);
}

TEST(CountedBy, IsTheLookAfterTheFirstThatTellsOfARefusal) {
  const Timeline timeline = TimelineBuilder().Refused(1, 5).Refused(2, 5).Refused(3, 7).Refused(4, 9).Build();
  EXPECT_EQ(CountedBy(timeline, "recommend", Ns(1.2), Ns(1.5)), Ns(4));
  EXPECT_EQ(CountedBy(timeline, "recommend", Ns(0.5), Ns(1)), Ns(2));
  EXPECT_EQ(CountedBy(timeline, "recommend", Ns(1.2), Ns(4)), Ns(4));
  EXPECT_EQ(CountedBy(timeline, "recommend", Ns(1.2), Ns(4.5)), Ns(4.5));
}

}  // namespace
}  // namespace squall
