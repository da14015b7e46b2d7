#include "agent/net/delays.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace squall {
namespace {

constexpr size_t kSamples = 10'000;
constexpr double kMs = 1e6;

Latency Fault(Latency::Distribution distribution, double correlation, int delay_ms = 50, int jitter_ms = 20) {
  Latency latency;
  latency.mutable_delay()->set_nanos(delay_ms * 1'000'000);
  latency.mutable_jitter()->set_nanos(jitter_ms * 1'000'000);
  latency.set_distribution(distribution);
  latency.set_correlation(correlation);
  return latency;
}

std::vector<double> Draw(const Latency& latency, uint64_t seed, size_t count = kSamples) {
  Delays delays(latency, seed);
  std::vector<double> drawn;
  for (size_t i = 0; i < count; ++i) drawn.push_back(static_cast<double>(delays.Draw()) / kMs);
  return drawn;
}

double Below(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

// The distributions of delay 50 ms and jitter 20 ms, written down from the fault's description.
double Expected(Latency::Distribution distribution, double ms, double delay = 50, double jitter = 20) {
  switch (distribution) {
    case Latency::DISTRIBUTION_NORMAL: {
      const double negative = Below(-delay / jitter);
      return std::max(0.0, (Below((ms - delay) / jitter) - negative) / (1 - negative));
    }
    case Latency::DISTRIBUTION_PARETO:
      return ms <= delay ? 0 : 1 - std::pow(1 + (ms - delay) / (2 * jitter), -3);
    default:
      return std::clamp((ms - delay + jitter) / (2 * jitter), 0.0, 1.0);
  }
}

// The statistic of Kolmogorov and Smirnov.
template <typename Distribution>
double LargestGap(std::vector<double> samples, Distribution expected) {
  std::sort(samples.begin(), samples.end());
  const auto count = static_cast<double>(samples.size());
  double gap = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const double p = expected(samples[i]);
    gap = std::max({gap, p - static_cast<double>(i) / count, static_cast<double>(i + 1) / count - p});
  }
  return gap;
}

std::vector<double> Ranks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t i = 0; i < order.size(); ++i) ranks[order[i]] = static_cast<double>(i);
  return ranks;
}

// Spearman's, of neighbours.
double RankCorrelation(const std::vector<double>& values) {
  const std::vector<double> ranks = Ranks(values);
  const double mean = static_cast<double>(values.size() - 1) / 2;
  double together = 0, alone = 0;
  for (size_t i = 0; i < ranks.size(); ++i) {
    alone += (ranks[i] - mean) * (ranks[i] - mean);
    if (i > 0) together += (ranks[i] - mean) * (ranks[i - 1] - mean);
  }
  return together / alone;
}

const std::vector<Latency::Distribution> kAll = {Latency::DISTRIBUTION_UNIFORM, Latency::DISTRIBUTION_NORMAL,
                                                 Latency::DISTRIBUTION_PARETO};

TEST(Delays, AreDistributedAsAskedFor) {
  for (const auto distribution : kAll) {
    const double gap = LargestGap(Draw(Fault(distribution, 0), 7), [&](double ms) { return Expected(distribution, ms); });
    EXPECT_LT(gap, 1.63 / std::sqrt(kSamples)) << Latency::Distribution_Name(distribution);  // 1 %
    printf("%s: D = %.4f, critical at 1 %%: 0.0163\n", Latency::Distribution_Name(distribution).c_str(), gap);
  }
}

// Neighbours that depend on each other say less: far enough apart they do not, and the test holds as it is.
TEST(Delays, AreDistributedTheSameWithCorrelation) {
  constexpr double kCorrelation = 60;
  constexpr size_t kApart = 15;  // 0.6 to the power of 15 is 0.0005
  for (const auto distribution : kAll) {
    const std::vector<double> drawn = Draw(Fault(distribution, kCorrelation), 11, kSamples * kApart);
    std::vector<double> samples;
    for (size_t i = 0; i < drawn.size(); i += kApart) samples.push_back(drawn[i]);
    ASSERT_EQ(samples.size(), kSamples);
    const double gap = LargestGap(samples, [&](double ms) { return Expected(distribution, ms); });
    EXPECT_LT(gap, 1.63 / std::sqrt(kSamples)) << Latency::Distribution_Name(distribution);
    const double correlation = RankCorrelation(drawn);
    EXPECT_NEAR(correlation, kCorrelation / 100, 0.02) << Latency::Distribution_Name(distribution);
    printf("%s: D = %.4f, rank correlation %.3f of 0.6\n", Latency::Distribution_Name(distribution).c_str(), gap, correlation);
  }
}

TEST(Delays, NeighboursAreCorrelatedAsAskedForAndNotWithoutBeingAsked) {
  for (const double asked : {0.0, 25.0, 50.0, 90.0, 99.0}) {
    for (const auto distribution : kAll) {
      EXPECT_NEAR(RankCorrelation(Draw(Fault(distribution, asked), 3)), asked / 100, 0.03) << asked;
    }
  }
}

TEST(Delays, NormalOnesThatWouldBeNegativeAreDrawnAgain) {
  const std::vector<double> samples = Draw(Fault(Latency::DISTRIBUTION_NORMAL, 0, 10, 20), 5);
  EXPECT_GE(*std::min_element(samples.begin(), samples.end()), 0);
  EXPECT_LT(LargestGap(samples, [](double ms) { return Expected(Latency::DISTRIBUTION_NORMAL, ms, 10, 20); }),
            1.63 / std::sqrt(kSamples));
}

TEST(Delays, MeanOfTheParetoTailIsTheJitter) {
  const std::vector<double> samples = Draw(Fault(Latency::DISTRIBUTION_PARETO, 0), 9, 200'000);
  EXPECT_NEAR(std::accumulate(samples.begin(), samples.end(), 0.0) / 200'000, 70, 0.7);
}

TEST(Delays, SameSeedGivesTheSameDelaysAndAnotherOneOthers) {
  for (const auto distribution : kAll) {
    EXPECT_EQ(Draw(Fault(distribution, 30), 42), Draw(Fault(distribution, 30), 42));
    EXPECT_NE(Draw(Fault(distribution, 30), 42), Draw(Fault(distribution, 30), 43));
  }
}

TEST(Delays, WithoutJitterAreTheDelay) {
  for (const double ms : Draw(Fault(Latency::DISTRIBUTION_NORMAL, 50, 50, 0), 1, 10)) EXPECT_EQ(ms, 50);
}

}  // namespace
}  // namespace squall
