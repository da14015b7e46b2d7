#include "controller/report/series.h"

#include <cmath>
#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::DoubleEq;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::IsNan;

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSecond = 1'000'000'000;

Request MakeRequest(int64_t intended_ns, int64_t took_ns, Outcome outcome) {
  Request request;
  request.intended_ns = intended_ns;
  request.sent_ns = intended_ns;
  request.end_ns = intended_ns + took_ns;
  request.outcome = outcome;
  return request;
}

Call MakeCall(CallResult result) {
  Call call;
  call.end_ns = kMs;
  call.result = result;
  return call;
}

// A connect.
Call Refused(int64_t start_ns) {
  Call call = MakeCall(CONNECT_REFUSED);
  call.start_ns = start_ns;
  return call;
}

LoadStats Stats(int64_t at_ns, int64_t not_sent) {
  LoadStats stats;
  stats.set_at_ns(at_ns);
  stats.set_not_sent(not_sent);
  return stats;
}

TEST(MakeBins, AreOneSecondWideInShortRuns) {
  const TimeBins bins = MakeBins(45 * kSecond);
  EXPECT_EQ(bins.width_ns, kSecond);
  EXPECT_EQ(bins.count, 45);
}

TEST(MakeBins, NeverEndWithASliver) {
  const TimeBins sliver = MakeBins(45 * kSecond + 300 * kMs);
  EXPECT_EQ(sliver.count, 45);
  EXPECT_DOUBLE_EQ(sliver.Seconds(44), 1.3);
  const TimeBins rest = MakeBins(45 * kSecond + 700 * kMs);
  EXPECT_EQ(rest.count, 46);
  EXPECT_DOUBLE_EQ(rest.Seconds(45), 0.7);
}

TEST(MakeBins, KeepToTheLimitHoweverLongTheRunIs) {
  for (const int64_t seconds : {601, 1199, 7200, 86'400, 10'000'000}) {
    const TimeBins bins = MakeBins(seconds * kSecond);
    EXPECT_LE(bins.count, 601) << seconds;
    EXPECT_GE(bins.count, 100) << seconds;
    EXPECT_EQ(bins.End(bins.count - 1), seconds * kSecond) << seconds;
  }
}

TEST(MakeBins, ExistEvenForARunWithoutLength) {
  EXPECT_EQ(MakeBins(0).count, 1);
  EXPECT_EQ(MakeBins(0).Index(99 * kSecond), 0);
}

TEST(TimeBins, TakeWhatLiesOutsideIntoTheNearest) {
  const TimeBins bins = MakeBins(3 * kSecond);
  EXPECT_EQ(bins.Index(-5), 0);
  EXPECT_EQ(bins.Index(kSecond - 1), 0);
  EXPECT_EQ(bins.Index(kSecond), 1);
  EXPECT_EQ(bins.Index(99 * kSecond), 2);
}

TEST(Percentile, IsTheNearestRank) {
  std::vector<double> hundred(100);
  std::iota(hundred.rbegin(), hundred.rend(), 1.0);
  EXPECT_EQ(Percentile(hundred, 0.99), 99);
  EXPECT_EQ(Percentile(hundred, 0.50), 50);
  EXPECT_EQ(Percentile(hundred, 1), 100);
  std::vector<double> one = {7};
  EXPECT_EQ(Percentile(one, 0.01), 7);
  std::vector<double> none;
  EXPECT_THAT(Percentile(none, 0.5), IsNan());
}

TEST(Spread, SharesACountByTime) {
  const TimeBins bins = MakeBins(3 * kSecond);
  Series counts(3, 0.0);
  Spread(10, kSecond / 2, 3 * kSecond, bins, counts);
  EXPECT_THAT(counts, ElementsAre(DoubleEq(2), DoubleEq(4), DoubleEq(4)));
}

TEST(Spread, LosesNothingAtTheEdgesOfTheRun) {
  const TimeBins bins = MakeBins(2 * kSecond);
  Series counts(2, 0.0);
  Spread(8, -kSecond, 3 * kSecond, bins, counts);
  EXPECT_THAT(counts, ElementsAre(DoubleEq(4), DoubleEq(4)));
  Spread(5, kSecond, kSecond, bins, counts);
  EXPECT_THAT(counts, ElementsAre(DoubleEq(4), DoubleEq(9)));
}

TEST(LoadSeries, CountsOutcomesByTheIntendedStart) {
  const std::vector<Request> requests = {
      MakeRequest(0, 5 * kSecond, TIMED_OUT),
      MakeRequest(1, kMs, OK),
      MakeRequest(2, kMs, DEGRADED),
      MakeRequest(kSecond, kMs, REJECTED),
      MakeRequest(kSecond + 1, kMs, ABANDONED),
      MakeRequest(kSecond + 2, kMs, REFUSED),
  };
  const LoadSeries load = MakeLoadSeries(requests, {}, MakeBins(2 * kSecond));
  EXPECT_THAT(load.sent, ElementsAre(3, 3));
  EXPECT_THAT(load.ok, ElementsAre(1, 0));
  EXPECT_THAT(load.degraded, ElementsAre(1, 0));
  EXPECT_THAT(load.rejected, ElementsAre(0, 1));
  EXPECT_THAT(load.errors, ElementsAre(1, 1));
  EXPECT_THAT(load.abandoned, ElementsAre(0, 1));
  EXPECT_EQ(load.total_errors, 2);
  EXPECT_EQ(load.total_sent, 6);
}

TEST(LoadSeries, GivesRatesPerSecondInWiderBins) {
  std::vector<Request> requests;
  for (int i = 0; i < 20'000; ++i) requests.push_back(MakeRequest(i * 100 * kMs, kMs, OK));
  const TimeBins bins = MakeBins(2'000 * kSecond);
  ASSERT_EQ(bins.width_ns, 5 * kSecond);
  const LoadSeries load = MakeLoadSeries(requests, {}, bins);
  EXPECT_THAT(load.ok, ::testing::Each(DoubleEq(10)));
}

TEST(LoadSeries, OffersWhatWasDueButNeverSent) {
  LoadTotals totals;
  totals.series = {Stats(kSecond, 0), Stats(2 * kSecond, 7)};
  const LoadSeries load =
      MakeLoadSeries({MakeRequest(0, kMs, OK), MakeRequest(kSecond, kMs, OK)}, totals, MakeBins(2 * kSecond));
  EXPECT_THAT(load.offered, ElementsAre(DoubleEq(1), DoubleEq(8)));
  EXPECT_EQ(load.total_offered, 9);
  EXPECT_EQ(load.total_sent, 2);
}

TEST(LoadSeries, MeasuresWaitsFromTheIntendedStartAndKnowsNothingOfEmptyBins) {
  Request late = MakeRequest(0, 300 * kMs, OK);
  late.sent_ns = 200 * kMs;
  const LoadSeries load =
      MakeLoadSeries({late, MakeRequest(1, 900 * kMs, ABANDONED)}, {}, MakeBins(2 * kSecond));
  EXPECT_THAT(load.p50, ElementsAre(300.0 * kMs, IsNan()));
  EXPECT_THAT(load.p99, ElementsAre(300.0 * kMs, IsNan()));
}

TEST(EdgeSeries, TellsWhoEndedACall) {
  std::vector<Call> calls;
  for (const CallResult result :
       {ANSWERED, FAILED, CALLER_LEFT, PEER_LEFT, CONNECT_REFUSED, STILL_OPEN, CONNECTION}) {
    calls.push_back(MakeCall(result));
  }
  const EdgeSeries edge = MakeEdgeSeries(calls, {}, MakeBins(kSecond));
  EXPECT_THAT(edge.answered, ElementsAre(1));
  EXPECT_THAT(edge.failed, ElementsAre(2));
  EXPECT_THAT(edge.caller_left, ElementsAre(1));
  EXPECT_THAT(edge.refused, ElementsAre(1));
  EXPECT_THAT(edge.other, ElementsAre(2));
}

TEST(EdgeSeries, TakesRefusedConnectsFromTheCountersWhenTheySawMore) {
  EdgeStats first, second;
  first.set_at_ns(kSecond);
  first.set_refused(2);
  second.set_at_ns(2 * kSecond);
  second.set_refused(12);
  const std::vector<Call> one = {Refused(0)};
  const EdgeSeries edge = MakeEdgeSeries(one, {first, second}, MakeBins(2 * kSecond));
  EXPECT_THAT(edge.refused, ElementsAre(DoubleEq(2), DoubleEq(10)));
  EXPECT_EQ(edge.total_refused, 12);
}

TEST(EdgeSeries, DoesNotCountARefusedConnectTwice) {
  EdgeStats stats;
  stats.set_at_ns(2 * kSecond);
  stats.set_refused(2);
  const std::vector<Call> calls = {Refused(0), Refused(1)};
  const EdgeSeries edge = MakeEdgeSeries(calls, {stats}, MakeBins(2 * kSecond));
  EXPECT_THAT(edge.refused, ElementsAre(2, 0));
  EXPECT_EQ(edge.total_refused, 2);
}

TEST(ServiceSeries, BridgesOneMissingSampleAndShowsALongerGap) {
  std::vector<ServiceSample> samples;
  for (const int second : {0, 2, 8}) {
    ServiceSample sample;
    sample.set_at_ns(second * kSecond);
    sample.set_threads(10 + second);
    samples.push_back(sample);
  }
  const ServiceSeries series = MakeServiceSeries(samples, MakeBins(9 * kSecond));
  EXPECT_THAT(series.threads, ElementsAre(10, 11, 12, IsNan(), IsNan(), IsNan(), IsNan(), IsNan(), 18));
}

TEST(ServiceSeries, IsACurveHoweverSeldomTheSamplesCome) {
  std::vector<ServiceSample> samples(3);
  for (int i = 0; i < 3; ++i) {
    samples[i].set_at_ns(4 * i * kSecond);
    samples[i].set_threads(10 + 4 * i);
  }
  const ServiceSeries series = MakeServiceSeries(samples, MakeBins(10 * kSecond));
  EXPECT_THAT(series.threads, ElementsAre(10, 11, 12, 13, 14, 15, 16, 17, 18, IsNan()));
}

TEST(ServiceSeries, KeepsPeaksOfResourcesAndTheMeanOfCpu) {
  std::vector<ServiceSample> samples(2);
  samples[0].set_cpu(10);
  samples[0].set_fds(40);
  samples[1].set_cpu(20);
  samples[1].set_fds(30);
  const ServiceSeries series = MakeServiceSeries(samples, MakeBins(kSecond));
  EXPECT_THAT(series.cpu, ElementsAre(15));
  EXPECT_THAT(series.fds, ElementsAre(40));
}

TEST(HostSeries, SharesALongStallAmongItsSeconds) {
  Stall stall;
  stall.set_start_ns(kSecond / 2);
  stall.set_length_ns(kSecond);
  const HostSeries host = MakeHostSeries({}, {stall}, MakeBins(3 * kSecond));
  EXPECT_THAT(host.stalled, ElementsAre(DoubleNear(0.5, 1e-9), DoubleNear(0.5, 1e-9), 0));
  EXPECT_THAT(host.cpu_busy, ElementsAre(IsNan(), IsNan(), IsNan()));
}

TEST(Highest, LooksPastWhatIsNotKnown) {
  EXPECT_EQ(Highest({NAN, 2, NAN, 1}, 9), 2);
  EXPECT_EQ(Highest({-3, -2}, 9), -2);
  EXPECT_EQ(Highest({NAN}, 9), 9);
}

}  // namespace
}  // namespace squall
