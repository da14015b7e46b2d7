#include "controller/assertions/guardrails.h"

#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Reply = TimelineBuilder::Reply;

constexpr Reply kBroken{1, ERROR, 500};

ErrorRate Above80For3s() {
  ErrorRate limit;
  limit.set_load("checkout");
  limit.set_above(80);
  limit.mutable_for_()->set_seconds(3);
  return limit;
}

// `bad` from 5 s for so long.
std::string Tripped(double seconds, const std::function<Reply(double)>& bad) {
  TimelineBuilder builder;
  builder.Answer(0, 5, Reply{1, OK}).Answer(5, 5 + seconds, bad).Answer(5 + seconds, 20, Reply{1, OK});
  return TripErrorRate(Above80For3s(), builder.Build());
}

std::string Tripped(double seconds, Reply bad) {
  return Tripped(seconds, [bad](double) { return bad; });
}

TEST(Guardrail, TripsWhenTooManyFailForLongEnough) {
  EXPECT_THAT(Tripped(3.1, kBroken), HasSubstr("and more than 80 % in each second for 3 s"));
  EXPECT_THAT(Tripped(2.5, kBroken), IsEmpty());
}

TEST(Guardrail, DoesNotTripExactlyOnTheShare) {
  const auto four_of_five = [](double at) {
    return static_cast<int>(at * 200 + 0.5) % 5 == 0 ? Reply{1, OK} : kBroken;
  };
  EXPECT_THAT(Tripped(5, four_of_five), IsEmpty());
  const auto five_of_six = [](double at) {
    return static_cast<int>(at * 200 + 0.5) % 6 == 0 ? Reply{1, OK} : kBroken;
  };
  EXPECT_THAT(Tripped(5, five_of_six), Not(IsEmpty()));
}

TEST(Guardrail, StartsAgainAfterABreak) {
  const auto with_a_break = [](double at) { return at >= 7 && at < 8.1 ? Reply{1, OK} : kBroken; };
  EXPECT_THAT(Tripped(5, with_a_break), IsEmpty());
  EXPECT_THAT(Tripped(7, with_a_break), Not(IsEmpty()));
}

TEST(Guardrail, CountsRejectedAndDegradedAnswersAsNoErrors) {
  EXPECT_THAT(Tripped(10, Reply{1, REJECTED, 429}), IsEmpty());
  EXPECT_THAT(Tripped(10, Reply{1, DEGRADED}), IsEmpty());
  EXPECT_THAT(Tripped(10, Reply{1, REFUSED, 0}), Not(IsEmpty()));
}

TEST(Guardrail, JudgesWholeSecondsOnly) {
  TimelineBuilder builder;
  builder.Answer(0, 2.9, kBroken).StillRunningAt(2.9);
  EXPECT_THAT(TripErrorRate(Above80For3s(), builder.Build()), IsEmpty());
  EXPECT_THAT(TripErrorRate(Above80For3s(), builder.Answer(2.9, 3.1, kBroken).Build()), Not(IsEmpty()));
}

TEST(Guardrail, NeedsNoOrder) {
  TimelineBuilder builder;
  Timeline timeline = builder.Answer(0, 4, kBroken).StillRunningAt(4).Build();
  std::reverse(timeline.requests["checkout"].begin(), timeline.requests["checkout"].end());
  EXPECT_THAT(TripErrorRate(Above80For3s(), timeline), Not(IsEmpty()));
}

TEST(Guardrail, DoesNotTripOnNothing) {
  EXPECT_THAT(TripErrorRate(Above80For3s(), TimelineBuilder().Build()), IsEmpty());
  EXPECT_THAT(Trip(Guardrail(), TimelineBuilder().Answer(0, 9, kBroken).Build()), IsEmpty());
}

TEST(Guardrail, IsFoundByItsKind) {
  Guardrail guardrail;
  *guardrail.mutable_error_rate() = Above80For3s();
  EXPECT_THAT(Trip(guardrail, TimelineBuilder().Answer(0, 9, kBroken).Build()), Not(IsEmpty()));
}

}  // namespace
}  // namespace squall
