#include "controller/assertions/admissions.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "gtest/gtest.h"

namespace squall {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSecond = 1000 * kMs;

std::vector<Decided> AtOnce(int count, int64_t at_ns = 0) {
  std::vector<Decided> decided;
  for (int i = 0; i < count; ++i) decided.push_back({at_ns, at_ns, static_cast<uint32_t>(i)});
  return decided;
}

// One every `every_ns`, each answered after `takes_ns`.
std::vector<Decided> Evenly(int count, int64_t every_ns, int64_t takes_ns = 0) {
  std::vector<Decided> decided;
  for (int i = 0; i < count; ++i) decided.push_back({i * every_ns, i * every_ns + takes_ns, static_cast<uint32_t>(i)});
  return decided;
}

// By trying every pair.
double MostByHand(const std::vector<Decided>& decided, double per_second) {
  double most = -1e300;
  for (const Decided& first : decided) {
    for (const Decided& last : decided) {
      const auto count = std::count_if(decided.begin(), decided.end(), [&](const Decided& each) {
        return each.sent_ns >= first.sent_ns && each.end_ns <= last.end_ns;
      });
      if (count == 0) continue;
      most = std::max(most, static_cast<double>(count) - per_second * static_cast<double>(last.end_ns - first.sent_ns) / 1e9);
    }
  }
  return most;
}

double ValueOf(const Busiest& busiest, double per_second) {
  return static_cast<double>(busiest.count) - per_second * static_cast<double>(busiest.end_ns - busiest.begin_ns) / 1e9;
}

TEST(MostAbove, OfNothingIsNothing) {
  std::vector<Decided> none;
  EXPECT_FALSE(MostAbove(none, 100, 0).has_value());
  EXPECT_FALSE(MostWithin(none, kSecond, 0).has_value());
}

TEST(MostAbove, CountsWhatWasSentAndAnsweredInside) {
  // Twenty that were sent together, and one that waited for long: it may have been decided outside.
  std::vector<Decided> decided = AtOnce(20, kSecond);
  decided.push_back({0, 9 * kSecond, 20});
  const std::optional<Worst> worst = MostAbove(decided, 100, 19);
  EXPECT_EQ(worst->most.count, 20);
  EXPECT_EQ(worst->most.begin_ns, kSecond);
  EXPECT_EQ(worst->most.end_ns, kSecond);
  ASSERT_TRUE(worst->first_over.has_value());
}

TEST(MostAbove, SaysWhichIntervalWentOverTheLimitFirst) {
  std::vector<Decided> decided = AtOnce(22, kSecond);
  for (const Decided& each : AtOnce(30, 5 * kSecond)) decided.push_back(each);
  const std::optional<Worst> worst = MostAbove(decided, 10, 21);
  EXPECT_EQ(worst->most.begin_ns, 5 * kSecond);
  EXPECT_EQ(worst->most.count, 30);
  ASSERT_TRUE(worst->first_over.has_value());
  EXPECT_EQ(worst->first_over->begin_ns, kSecond);
  EXPECT_EQ(worst->first_over->count, 22);
  EXPECT_FALSE(MostAbove(decided, 10, 30)->first_over.has_value());
}

TEST(MostAbove, IsWhatTryingEveryPairGives) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<Decided> decided;
    const int count = 1 + static_cast<int>(random() % 60);
    for (int i = 0; i < count; ++i) {
      const auto sent_ns = static_cast<int64_t>(random() % 50) * 10 * kMs;
      decided.push_back({sent_ns, sent_ns + static_cast<int64_t>(random() % 20) * 5 * kMs, static_cast<uint32_t>(i)});
    }
    const double rate = static_cast<double>(random() % 300);
    const std::optional<Worst> worst = MostAbove(decided, rate, 1e9);
    EXPECT_NEAR(ValueOf(worst->most, rate), MostByHand(decided, rate), 1e-9) << round;
  }
}

TEST(MostWithin, HoldsNoMoreThanTheLengthAllows) {
  std::vector<Decided> decided = Evenly(100, 10 * kMs);
  EXPECT_EQ(MostWithin(decided, 100 * kMs, 1e9)->most.count, 11);
  EXPECT_EQ(MostWithin(decided, 99 * kMs, 1e9)->most.count, 10);
  // None fits that took longer.
  decided = Evenly(100, 10 * kMs, 200 * kMs);
  EXPECT_EQ(MostWithin(decided, 199 * kMs, 1e9)->most.count, 0);
  EXPECT_EQ(MostWithin(decided, 210 * kMs, 1e9)->most.count, 2);
}

TEST(MostAbove, CopesWithTenMillionRequestsInSeconds) {
  std::vector<Decided> decided;
  decided.reserve(10'000'000);
  std::mt19937 random(7);
  for (uint32_t i = 0; i < 10'000'000; ++i) {
    const int64_t sent_ns = int64_t{i} * 100'000;
    decided.push_back({sent_ns, sent_ns + static_cast<int64_t>(random() % 20'000'000), i});
  }
  const auto start = std::chrono::steady_clock::now();
  const std::optional<Worst> worst = MostAbove(decided, 10'000, 1e9);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_GT(worst->most.count, 0);
  printf("10 million requests: %.2f s\n", took.count());
  // Many times what it takes: a quadratic one would take days.
  EXPECT_LT(took.count(), 60);
}

std::vector<int64_t> Times(size_t count, int64_t at_ns) { return std::vector<int64_t>(count, at_ns); }

TEST(Room, OfABucketIsItsCapacityLessWhatMayHaveBeenTaken) {
  const Room room = Room::Bucket(Times(15, kSecond), Times(15, kSecond), 20, 100, {});
  EXPECT_DOUBLE_EQ(room.Left(0, 0), 20);
  EXPECT_DOUBLE_EQ(room.Left(kSecond, kSecond), 5);
  EXPECT_DOUBLE_EQ(room.Left(kSecond + 50 * kMs, kSecond + 60 * kMs), 10);
  EXPECT_DOUBLE_EQ(room.Left(9 * kSecond, 9 * kSecond), 20);
}

TEST(Room, CountsARequestThatIsOnItsWayAsTaken) {
  const Room room = Room::Bucket({kSecond}, {3 * kSecond}, 20, 100, {});
  EXPECT_DOUBLE_EQ(room.Left(kSecond - 2, kSecond - 1), 20);
  EXPECT_DOUBLE_EQ(room.Left(kSecond - 2, kSecond), 19);
  EXPECT_DOUBLE_EQ(room.Left(2 * kSecond, 2 * kSecond), 19);
  // It may have been decided at its very end.
  EXPECT_DOUBLE_EQ(room.Left(3 * kSecond + 5 * kMs, 3 * kSecond + 5 * kMs), 19.5);
}

TEST(Room, OfABucketThatWasEmptiedComesBackWithTheRate) {
  const Room room = Room::Bucket({10 * kSecond}, {10 * kSecond}, 20, 100, {kSecond, 10 * kSecond + kMs});
  EXPECT_DOUBLE_EQ(room.Left(kSecond, kSecond), 0);
  EXPECT_DOUBLE_EQ(room.Left(kSecond + 50 * kMs, kSecond + 50 * kMs), 5);
  EXPECT_DOUBLE_EQ(room.Left(5 * kSecond, 5 * kSecond), 20);
  EXPECT_DOUBLE_EQ(room.Left(10 * kSecond + 11 * kMs, 10 * kSecond + 11 * kMs), 1);
}

TEST(Room, OfAWindowIsWhatNoneOfItsRequestsTook) {
  const Room room = Room::Window(Times(15, 5 * kSecond), Times(15, 5 * kSecond), 20, kSecond, {0});
  EXPECT_DOUBLE_EQ(room.Left(kSecond / 2, kSecond / 2), 0);  // nothing is known of the time before the load
  EXPECT_DOUBLE_EQ(room.Left(4 * kSecond, 4 * kSecond), 20);
  EXPECT_DOUBLE_EQ(room.Left(6 * kSecond, 6 * kSecond), 5);
  EXPECT_DOUBLE_EQ(room.Left(6 * kSecond + 1, 6 * kSecond + 1), 20);
}

}  // namespace
}  // namespace squall
