#include "controller/margin.h"

#include "controller/scenario.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What happens at a value, of three tries.
using World = std::function<Tried(double)>;

World TripsFrom(double threshold) {
  return [=](double value) { return value < threshold ? Tried{value, 3, 0} : Tried{value, 0, 3}; };
}

MarginSearch Searched(double from, double to, double within, const World& world) {
  MarginSearch search(from, to, within);
  for (int i = 0; i < 100; ++i) {
    const std::optional<double> next = search.Next();
    if (!next) return search;
    search.Tell(world(*next));
  }
  ADD_FAILURE() << "it never ends";
  return search;
}

TEST(MarginSearch, FindsWhereItTripsAsCloselyAsAsked) {
  const MarginSearch search = Searched(50, 2000, 0.1, TripsFrom(300));
  EXPECT_THAT(search.Problem(), IsEmpty());
  const double held = search.LastThatHeld()->value, tripped = search.FirstThatTripped()->value;
  EXPECT_LT(held, 300);
  EXPECT_GE(tripped, 300);
  EXPECT_LE(tripped - held, 0.1 * tripped);
  EXPECT_LE(search.tried().size(), 8u);
}

TEST(MarginSearch, GoesDownwardsToo) {
  const World trips_below = [](double value) { return value > 30 ? Tried{value, 3, 0} : Tried{value, 0, 3}; };
  const MarginSearch search = Searched(100, 1, 0.05, trips_below);
  EXPECT_GT(search.LastThatHeld()->value, 30);
  EXPECT_LE(search.FirstThatTripped()->value, 30);
}

TEST(MarginSearch, BeginsAtZero) {
  const MarginSearch search = Searched(0, 20, 0.1, TripsFrom(3));
  EXPECT_LT(search.LastThatHeld()->value, 3);
  EXPECT_GE(search.FirstThatTripped()->value, 3);
}

TEST(MarginSearch, ShowsTheZoneInWhichItDoesBoth) {
  const World blurred = [](double value) {
    return value < 200 ? Tried{value, 3, 0} : value < 400 ? Tried{value, 2, 1} : Tried{value, 0, 3};
  };
  const MarginSearch search = Searched(50, 2000, 0.05, blurred);
  EXPECT_LT(search.LastThatHeld()->value, 200);
  EXPECT_GT(search.LastThatHeld()->value, 185);
  EXPECT_GE(search.FirstThatTripped()->value, 400);
  EXPECT_LT(search.FirstThatTripped()->value, 425);
}

TEST(MarginSearch, SaysWhenTheRangeHasNoMargin) {
  EXPECT_THAT(Searched(50, 2000, 0.1, TripsFrom(10)).Problem(), HasSubstr("trips at the first value"));
  EXPECT_THAT(Searched(50, 2000, 0.1, TripsFrom(5000)).Problem(), HasSubstr("does not always trip at the last value"));
  EXPECT_EQ(Searched(50, 2000, 0.1, TripsFrom(10)).tried().size(), 1u);
}

LoadedScenario Parse(const std::string& find, const std::string& fault = "latency: {delay: 500ms}") {
  return ParseScenario("s.yaml",
                       absl::StrCat("squall: 1\nname: margin\nservices:\n  orders: {attach: {listen: 8080}}\n"
                                    "edges:\n  recommend: {to: \"127.0.0.1:9090\"}\n"
                                    "load:\n  checkout: {http: {url: \"http://127.0.0.1:8080/\"}, rate: 200/s}\n"
                                    "faults:\n  - {", fault, ", for: 5s}\nassert:\n  - recovery: {within: 3s}\nfind: ", find, "\n"),
                       {});
}

TEST(FindVaried, ReadsTheRangeInTheFieldsUnit) {
  const LoadedScenario delay = Parse("{field: delay, from: 50ms, to: 2s}");
  ASSERT_EQ(FormatMistakes(delay), "");
  const absl::StatusOr<Varied> varied = FindVaried(delay.scenario);
  ASSERT_TRUE(varied.ok()) << varied.status();
  EXPECT_EQ(varied->from, 50e6);
  EXPECT_EQ(varied->to, 2e9);
  const Scenario changed = WithValue(delay.scenario, *varied, 123e6);
  EXPECT_EQ(changed.faults(0).latency().delay().nanos(), 123'000'000);
  EXPECT_FALSE(changed.has_find());
  EXPECT_EQ(varied->Text(123e6), "123 ms");
}

TEST(FindVaried, VariesALoadToo) {
  const LoadedScenario rate = Parse("{load: checkout, field: rate, from: 100/s, to: 1000/s}");
  ASSERT_EQ(FormatMistakes(rate), "");
  const absl::StatusOr<Varied> varied = FindVaried(rate.scenario);
  ASSERT_TRUE(varied.ok());
  EXPECT_EQ(WithValue(rate.scenario, *varied, 250).load(0).rate(), 250);
  EXPECT_EQ(varied->Text(250), "250/s");
}

TEST(FindVaried, SaysWhatCannotBeVaried) {
  EXPECT_THAT(FormatMistakes(Parse("{field: dealy, from: 50ms, to: 2s}")), HasSubstr("did you mean \"delay\"?"));
  EXPECT_THAT(FormatMistakes(Parse("{field: edge, from: 50ms, to: 2s}")), HasSubstr("is no quantity"));
  EXPECT_THAT(FormatMistakes(Parse("{field: delay, from: 50, to: 2s}")), HasSubstr("50"));
  EXPECT_THAT(FormatMistakes(Parse("{field: delay, from: 2s, to: 2s}")), HasSubstr("from and to are the same"));
  EXPECT_THAT(FormatMistakes(Parse("{field: delay, from: 1s, to: 2s}", "latency: {delay: 500ms}, repeat: 2")), HasSubstr("repeats"));
}

}  // namespace
}  // namespace squall
