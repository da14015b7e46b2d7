// The shaper under a clock that the tests move.
#include "agent/net/shaper.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/durations.h"

namespace squall {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSecond = 1'000 * kMs;

Fault Slow(int ms, int jitter_ms = 0, double share = 100) {
  Fault fault;
  *fault.mutable_latency()->mutable_delay() = FromDuration(absl::Milliseconds(ms));
  *fault.mutable_latency()->mutable_jitter() = FromDuration(absl::Milliseconds(jitter_ms));
  fault.mutable_latency()->set_direction(DIRECTION_BOTH);
  fault.mutable_latency()->set_share(share);
  return fault;
}

Fault Thin(int64_t rate, int64_t burst = 0) {
  Fault fault;
  fault.mutable_bandwidth()->set_rate(rate);
  fault.mutable_bandwidth()->set_burst(burst);
  return fault;
}

Fault Drip(int64_t size, int64_t variation, int delay_ms) {
  Fault fault;
  fault.mutable_slice()->set_size(size);
  fault.mutable_slice()->set_variation(variation);
  *fault.mutable_slice()->mutable_delay() = FromDuration(absl::Milliseconds(delay_ms));
  fault.mutable_slice()->set_direction(DIRECTION_BOTH);
  return fault;
}

Fault Silent(int64_t after, double share = 100) {
  Fault fault;
  fault.mutable_stall()->set_after_bytes(after);
  fault.mutable_stall()->set_direction(DIRECTION_BOTH);
  fault.mutable_stall()->set_share(share);
  return fault;
}

Fault Gone() {
  Fault fault;
  fault.mutable_blackhole();
  return fault;
}

Fault HangUp(int64_t bytes, Direction direction) {
  Fault fault;
  fault.mutable_limit_data()->set_bytes(bytes);
  fault.mutable_limit_data()->set_direction(direction);
  return fault;
}

Fault ResetAfter(int ms, int64_t bytes, double share = 100, bool existing = true) {
  Fault fault;
  *fault.mutable_reset()->mutable_after() = FromDuration(absl::Milliseconds(ms));
  fault.mutable_reset()->set_after_bytes(bytes);
  fault.mutable_reset()->set_share(share);
  fault.mutable_reset()->set_existing(existing);
  return fault;
}

// An edge, its connections, and the time.
class Scene {
 public:
  ConnectionShape& Connect() {
    connections.push_back(std::make_unique<ConnectionShape>(&edge, connections.size() + 1));
    connections.back()->EnrollNew(now);
    return *connections.back();
  }
  void Set(const Fault& fault, uint64_t seed = 1) {
    edge.Set(fault, seed, now);
    for (const auto& connection : connections) connection->Enroll(*StageOf(fault.kind_case()), /*existing=*/true, now);
  }
  void Clear(Fault::KindCase kind) {
    edge.Clear(*StageOf(kind));
    if (kind != Fault::kLatency) return;
    for (const auto& connection : connections) connection->ReleaseLatency();
  }
  const Evidence& Seen(Fault::KindCase kind) { return edge.counts[kind].seen; }

  EdgeShape edge;
  std::vector<std::unique_ptr<ConnectionShape>> connections;
  int64_t now = kSecond;
};

// All that may go on at this time.
std::string Take(Shaper& shaper, int64_t now, std::vector<size_t>* pieces = nullptr) {
  std::string taken;
  while (true) {
    const Shaper::Ready ready = shaper.Next(now);
    if (ready.end != Shaper::End::kNone) {
      shaper.WroteEnd();
      return taken + "$";
    }
    if (ready.bytes.empty()) return taken;
    taken += std::string(ready.bytes);
    if (pieces != nullptr) pieces->push_back(ready.bytes.size());
    shaper.Wrote(ready.bytes.size(), now);
  }
}

TEST(Latency, ActsOnEachArrivalAndDoesNotAddUp) {
  Scene scene;
  Shaper& shaper = scene.Connect().Toward(Way::kToService);
  scene.Set(Slow(50));
  shaper.Put("a", scene.now);
  shaper.Put("b", scene.now + 10 * kMs);
  shaper.PutEnd(Shaper::End::kFin, scene.now + 20 * kMs);
  EXPECT_EQ(Take(shaper, scene.now + 49 * kMs), "");
  EXPECT_EQ(shaper.WakeAt(), scene.now + 50 * kMs);
  EXPECT_EQ(Take(shaper, scene.now + 50 * kMs), "a");
  EXPECT_EQ(Take(shaper, scene.now + 60 * kMs), "b");
  EXPECT_EQ(Take(shaper, scene.now + 69 * kMs), "");
  EXPECT_EQ(Take(shaper, scene.now + 70 * kMs), "$");
}

TEST(Latency, AchievedIsWithoutWhatOtherFaultsAdd) {
  for (const Fault& other : {Silent(0), Thin(1), Drip(1, 0, 1000), Gone()}) {
    Scene scene;
    Shaper& shaper = scene.Connect().Toward(Way::kToService);
    scene.Set(Slow(50));
    scene.Set(other);
    for (int i = 0; i < 20; ++i) shaper.Put("some bytes", scene.now + i * kMs);
    scene.now += 19 * kMs;
    Take(shaper, scene.now);
    while (shaper.WakeAt() <= scene.now + 60 * kMs) {
      scene.now = shaper.WakeAt();
      Take(shaper, scene.now);
    }
    Take(shaper, scene.now + kSecond);
    const MeasuredDelay& achieved = scene.edge.Count(Stage::kLatency).achieved;
    EXPECT_NEAR(static_cast<double>(achieved.Quantile(0.99)), 50 * kMs, kMs) << other.kind_case();
    EXPECT_NEAR(static_cast<double>(achieved.Quantile(0.01)), 50 * kMs, kMs) << other.kind_case();
  }
}

TEST(Latency, ChangedDelaysWhatComesFromThenOn) {
  Scene scene;
  Shaper& shaper = scene.Connect().Toward(Way::kToService);
  Shaper& other = scene.Connect().Toward(Way::kToService);
  scene.Set(Slow(50));
  shaper.Put("a", scene.now);
  scene.edge.Change(Slow(80), scene.now);
  EXPECT_EQ(scene.Seen(Fault::kLatency).requested_ns(), 80 * kMs);
  other.Put("b", scene.now);
  EXPECT_EQ(Take(shaper, scene.now + 50 * kMs), "a");
  EXPECT_EQ(Take(other, scene.now + 79 * kMs), "");
  EXPECT_EQ(Take(other, scene.now + 80 * kMs), "b");
  scene.edge.Change(Slow(10), scene.now);
  const auto p50 = [&] { return static_cast<double>(scene.edge.Count(Stage::kLatency).achieved.Quantile(0.5)); };
  EXPECT_NEAR(p50(), 80 * kMs, kMs) << "nothing is measured of the new one yet";
  other.Put("c", scene.now + 100 * kMs);
  EXPECT_EQ(Take(other, scene.now + 110 * kMs), "c");
  EXPECT_NEAR(p50(), 10 * kMs, kMs) << "and not of all";
  EXPECT_EQ(scene.Seen(Fault::kLatency).bytes(), 3) << "what it touched goes on";
  EXPECT_EQ(scene.Seen(Fault::kLatency).connections(), 2);
}

TEST(Latency, ChangedKeepsTheConnectionsThatWereDrawnAndTheOrder) {
  Scene scene;
  scene.Set(Slow(50, 0, 30));
  int slow = 0;
  for (int i = 0; i < 200; ++i) {
    Shaper& shaper = scene.Connect().Toward(Way::kToService);
    shaper.Put("x", scene.now);
    const bool before = Take(shaper, scene.now).empty();
    Fault next = Slow(5, 0, 30);
    scene.edge.Change(next, scene.now);
    shaper.Put("y", scene.now);
    EXPECT_EQ(Take(shaper, scene.now + 5 * kMs), before ? "" : "y") << "never overtakes";
    EXPECT_EQ(Take(shaper, scene.now + 50 * kMs), before ? "xy" : "");
    scene.edge.Change(Slow(50, 0, 30), scene.now);
    slow += before;
  }
  EXPECT_NEAR(slow, 60, 25);
}

TEST(Latency, LeavesConnectionsThatWereNotDrawnAlone) {
  Scene scene;
  scene.Set(Slow(50, 0, 30));
  int slow = 0;
  for (int i = 0; i < 1000; ++i) {
    Shaper& shaper = scene.Connect().Toward(Way::kToService);
    shaper.Put("x", scene.now);
    slow += Take(shaper, scene.now).empty();
  }
  EXPECT_NEAR(slow, 300, 50);
  EXPECT_EQ(scene.Seen(Fault::kLatency).connections(), slow);
}

TEST(Bandwidth, LetsTheRateThroughAndTheBurstBefore) {
  Scene scene;
  Shaper& shaper = scene.Connect().Toward(Way::kToService);
  scene.Set(Thin(100'000, 5'000));
  shaper.Put(std::string(1'000'000, 'x'), scene.now);
  EXPECT_EQ(Take(shaper, scene.now).size(), 5'000u);
  size_t passed = 0;
  for (int ms = 1; ms <= 2000; ++ms) passed += Take(shaper, scene.now + ms * kMs).size();
  EXPECT_NEAR(static_cast<double>(passed), 200'000, 200);
  EXPECT_NEAR(static_cast<double>(scene.Seen(Fault::kBandwidth).achieved_rate()), 100'000, 2'000);
  EXPECT_EQ(scene.Seen(Fault::kBandwidth).requested_rate(), 100'000);
  EXPECT_EQ(scene.Seen(Fault::kBandwidth).bytes(), static_cast<int64_t>(passed));
}

TEST(Bandwidth, ChangedLetsTheNewRateThroughAndTellsTheLastOne) {
  Scene scene;
  Shaper& shaper = scene.Connect().Toward(Way::kToService);
  scene.Set(Thin(200'000, 5'000));
  shaper.Put(std::string(3'000'000, 'x'), scene.now);
  size_t passed = 0;
  for (int ms = 1; ms <= 2000; ++ms) passed += Take(shaper, scene.now + ms * kMs).size();
  EXPECT_NEAR(static_cast<double>(scene.Seen(Fault::kBandwidth).achieved_rate()), 200'000, 4'000);
  scene.now += 2 * kSecond;
  scene.edge.Change(Thin(50'000, 5'000), scene.now);
  EXPECT_EQ(scene.Seen(Fault::kBandwidth).requested_rate(), 50'000);
  passed = 0;
  for (int ms = 1; ms <= 3000; ++ms) passed += Take(shaper, scene.now + ms * kMs).size();
  EXPECT_NEAR(static_cast<double>(passed), 150'000, 300);
  EXPECT_NEAR(static_cast<double>(scene.Seen(Fault::kBandwidth).achieved_rate()), 50'000, 2'000) << "not the most of all";
  scene.now += 3 * kSecond;
  scene.edge.Change(Thin(400'000, 0), scene.now);
  passed = 0;
  for (int ms = 1; ms <= 1000; ++ms) passed += Take(shaper, scene.now + ms * kMs).size();
  EXPECT_NEAR(static_cast<double>(passed), 400'000, 5'000);
}

TEST(Slice, ChangedWaitsAsLongAsItSaysNow) {
  Scene scene;
  Shaper& shaper = scene.Connect().Toward(Way::kToService);
  scene.Set(Drip(1, 0, 10));
  shaper.Put("abc", scene.now);
  EXPECT_EQ(Take(shaper, scene.now), "a");
  scene.edge.Change(Drip(1, 0, 500), scene.now);
  EXPECT_EQ(Take(shaper, scene.now + 10 * kMs), "b");
  EXPECT_EQ(Take(shaper, scene.now + 509 * kMs), "");
  EXPECT_EQ(Take(shaper, scene.now + 510 * kMs), "c");
}

TEST(Bandwidth, IsSharedEvenlyByThoseWhoWantMoreAndWakesTheLine) {
  Scene scene;
  scene.Set(Thin(1'000'000));
  std::vector<size_t> passed(4);
  for (size_t i = 0; i < passed.size(); ++i) {
    // The last one comes by little and little, and gets what it wants.
    scene.Connect().Toward(Way::kToService).Put(std::string(i == 3 ? 100 : 2'000'000, 'x'), scene.now);
    Take(scene.connections[i]->Toward(Way::kToService), scene.now);
  }
  Bucket& bucket = *scene.edge.BucketOf(Way::kToService);
  for (int turn = 0; turn < 100'000 && scene.now < 4 * kSecond; ++turn) {
    ASSERT_NE(bucket.WakeAt(), kNever);
    scene.now = std::max(scene.now, bucket.WakeAt());
    while (const uint64_t id = bucket.Turn(scene.now)) {
      passed[id - 1] += Take(scene.connections[id - 1]->Toward(Way::kToService), scene.now).size();
    }
  }
  const double third = static_cast<double>(passed[0] + passed[1] + passed[2]) / 3;
  EXPECT_NEAR(third * 3, 3'000'000, 30'000);
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(static_cast<double>(passed[i]), third, 4'000) << i;
  EXPECT_LE(passed[3], 100u);
}

TEST(Bandwidth, OfOneWhoHasLeftTheLineGoesToTheOthers) {
  Scene scene;
  scene.Set(Thin(1'000'000));
  for (int i = 0; i < 2; ++i) {
    scene.Connect().Toward(Way::kToService).Put(std::string(1'000'000, 'x'), scene.now);
    Take(scene.connections.back()->Toward(Way::kToService), scene.now);
  }
  Bucket& bucket = *scene.edge.BucketOf(Way::kToService);
  const uint64_t first = bucket.Turn(scene.now + kSecond);
  scene.connections[first - 1].reset();
  EXPECT_EQ(bucket.Turn(scene.now + kSecond), 3 - first);
}

TEST(SliceFault, PassesPiecesOnOneByOne) {
  Scene scene;
  Shaper& shaper = scene.Connect().Toward(Way::kToService);
  scene.Set(Drip(4, 2, 10));
  shaper.Put("abcdefghijklmnopqrstuvwxyz", scene.now);
  std::string got;
  std::vector<size_t> pieces;
  for (int i = 0; got.size() < 26; ++i) {
    ASSERT_LT(i, 100);
    const std::string before = got;
    got += Take(shaper, scene.now, &pieces);
    EXPECT_EQ(pieces.size(), static_cast<size_t>(i + 1));
    EXPECT_EQ(Take(shaper, scene.now + 9 * kMs), "");
    EXPECT_EQ(shaper.WakeAt(), got.size() < 26 ? scene.now + 10 * kMs : kNever);
    scene.now += 10 * kMs;
  }
  EXPECT_EQ(got, "abcdefghijklmnopqrstuvwxyz");
  for (size_t i = 0; i + 1 < pieces.size(); ++i) EXPECT_TRUE(pieces[i] >= 2 && pieces[i] <= 6) << pieces[i];
  EXPECT_NE(*std::max_element(pieces.begin(), pieces.end() - 1), *std::min_element(pieces.begin(), pieces.end() - 1));
  EXPECT_EQ(scene.Seen(Fault::kSlice).pieces(), static_cast<int64_t>(pieces.size()));
}

TEST(Stall, LetsSoMuchPassAndThenNeitherBytesNorAnEnd) {
  Scene scene;
  ConnectionShape& connection = scene.Connect();
  Shaper& shaper = connection.Toward(Way::kToService);
  shaper.Put("before", scene.now);
  EXPECT_EQ(Take(shaper, scene.now), "before");
  scene.Set(Silent(3));
  shaper.Put("abcdef", scene.now);
  shaper.PutEnd(Shaper::End::kFin, scene.now);
  EXPECT_EQ(Take(shaper, scene.now), "abc");
  EXPECT_EQ(Take(shaper, scene.now + 3600 * kSecond), "");
  EXPECT_EQ(shaper.WakeAt(), kNever);
  EXPECT_EQ(scene.Seen(Fault::kStall).connections(), 1);
  EXPECT_EQ(scene.Seen(Fault::kStall).bytes(), 3);
  scene.Clear(Fault::kStall);
  EXPECT_EQ(Take(shaper, scene.now), "def$");
}

TEST(Stall, WithNothingToSayIsNotCounted) {
  Scene scene;
  scene.Set(Silent(0));
  EXPECT_EQ(Take(scene.Connect().Toward(Way::kToService), scene.now), "");
  EXPECT_EQ(scene.Seen(Fault::kStall).connections(), 0);
}

TEST(LimitDataFault, ClosesAfterExactlySoManyBytesOfItsDirection) {
  Scene scene;
  ConnectionShape& connection = scene.Connect();
  connection.Toward(Way::kToService).Put("before", scene.now);
  Take(connection.Toward(Way::kToService), scene.now);
  scene.Set(HangUp(4, DIRECTION_RESPONSE));
  connection.Toward(Way::kToDependency).Put("request", scene.now);
  EXPECT_EQ(Take(connection.Toward(Way::kToDependency), scene.now), "request");
  EXPECT_EQ(connection.WhatBecomes(scene.now).at_ns, kNever);
  connection.Toward(Way::kToService).Put("answer", scene.now);
  EXPECT_EQ(Take(connection.Toward(Way::kToService), scene.now), "answ");
  EXPECT_LE(connection.WhatBecomes(scene.now).at_ns, scene.now);
  EXPECT_EQ(connection.WhatBecomes(scene.now).ending, ConnectionShape::Ending::kClose);
}

TEST(LimitDataFault, CountsTheSumWithBothDirections) {
  Scene scene;
  ConnectionShape& connection = scene.Connect();
  scene.Set(HangUp(10, DIRECTION_BOTH));
  connection.Toward(Way::kToDependency).Put("request", scene.now);
  connection.Toward(Way::kToService).Put("answer", scene.now);
  EXPECT_EQ(Take(connection.Toward(Way::kToDependency), scene.now), "request");
  EXPECT_EQ(Take(connection.Toward(Way::kToService), scene.now), "ans");
  EXPECT_LE(connection.WhatBecomes(scene.now).at_ns, scene.now);
}

TEST(ResetFault, WaitsForTheTimeAndForTheBytes) {
  Scene scene;
  ConnectionShape& connection = scene.Connect();
  Shaper& shaper = connection.Toward(Way::kToService);
  scene.Set(ResetAfter(100, 4));
  shaper.Put("ab", scene.now);
  Take(shaper, scene.now);
  EXPECT_EQ(connection.WhatBecomes(scene.now).at_ns, kNever);
  EXPECT_EQ(connection.WhatBecomes(scene.now + kSecond).at_ns, kNever);
  shaper.Put("cdefg", scene.now);
  EXPECT_EQ(Take(shaper, scene.now + kSecond), "cd");
  EXPECT_EQ(connection.WhatBecomes(scene.now).at_ns, scene.now + 100 * kMs);
  EXPECT_EQ(connection.WhatBecomes(scene.now).ending, ConnectionShape::Ending::kReset);
}

TEST(ResetFault, SparesExistingConnectionsWhenAsked) {
  Scene scene;
  ConnectionShape& old = scene.Connect();
  scene.Set(ResetAfter(0, 0, 100, /*existing=*/false));
  EXPECT_EQ(old.WhatBecomes(scene.now).at_ns, kNever);
  EXPECT_EQ(scene.Connect().WhatBecomes(scene.now).at_ns, scene.now);
}

TEST(Share, IsDrawnTheSameWithTheSameSeed) {
  const auto drawn = [](uint64_t seed) {
    Scene scene;
    scene.Set(ResetAfter(0, 0, 50), seed);
    std::string all;
    for (int i = 0; i < 200; ++i) all += scene.Connect().WhatBecomes(scene.now).at_ns == kNever ? '.' : 'R';
    return all;
  };
  const std::string fates = drawn(1);
  EXPECT_EQ(fates, drawn(1));
  EXPECT_NE(fates, drawn(2));
  EXPECT_NEAR(static_cast<double>(std::count(fates.begin(), fates.end(), 'R')), 100, 30);
}

TEST(Stack, TakingOneAwayReleasesWhatItAloneHeld) {
  Scene scene;
  Shaper& shaper = scene.Connect().Toward(Way::kToService);
  scene.Set(Silent(2));
  scene.Set(Slow(50));
  scene.Set(Drip(1, 0, 10));
  scene.Set(Gone());
  shaper.Put("abcdef", scene.now);
  scene.now += kSecond;
  EXPECT_EQ(Take(shaper, scene.now), "");  // the black hole
  shaper.Put("ghi", scene.now);
  scene.Clear(Fault::kBlackhole);
  EXPECT_EQ(Take(shaper, scene.now), "a");  // the drip
  scene.Clear(Fault::kSlice);
  EXPECT_EQ(Take(shaper, scene.now), "b");  // the silence
  scene.Clear(Fault::kStall);
  EXPECT_EQ(Take(shaper, scene.now), "cdef");  // latency holds what came last
  scene.Clear(Fault::kLatency);
  EXPECT_EQ(Take(shaper, scene.now), "ghi");
}

TEST(Stack, ResetTakesThePlaceOfAFinThatIsHeld) {
  Scene scene;
  Shaper& shaper = scene.Connect().Toward(Way::kToService);
  scene.Set(Silent(0));
  shaper.Put("abc", scene.now);
  shaper.PutEnd(Shaper::End::kFin, scene.now);
  shaper.PutEnd(Shaper::End::kReset, scene.now);
  scene.Clear(Fault::kStall);
  const Shaper::Ready ready = shaper.Next(scene.now);
  EXPECT_EQ(ready.bytes, "abc");
  shaper.Wrote(3, scene.now);
  EXPECT_EQ(shaper.Next(scene.now).end, Shaper::End::kReset);
}

TEST(Stack, HoldsNoMoreThanItMayHowSmallTheReadsMayBe) {
  Scene scene;
  Shaper& shaper = scene.Connect().Toward(Way::kToService);
  scene.Set(Silent(0));
  size_t taken = 0;
  while (!shaper.Full()) {
    shaper.Put("x", scene.now);
    ASSERT_LT(++taken, 1'000'000u);
  }
  EXPECT_EQ(Take(shaper, scene.now), "");
  scene.Clear(Fault::kStall);
  EXPECT_EQ(Take(shaper, scene.now).size(), taken);
}

// Random faults come and go in every order while bytes flow; in the end all are there, in order.
TEST(Stack, KeepsEveryByteInOrderWhateverComesAndGoes) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    std::mt19937_64 random(seed);
    const auto below = [&](int64_t limit) { return std::uniform_int_distribution<int64_t>(0, limit - 1)(random); };
    Scene scene;
    constexpr size_t kConnections = 3;
    std::array<std::array<std::string, 2>, kConnections> sent, got;
    for (size_t i = 0; i < kConnections; ++i) scene.Connect();
    const auto flow = [&] {
      for (size_t i = 0; i < kConnections; ++i) {
        for (const Way way : kBothWays) {
          std::string& into = got[i][static_cast<size_t>(way)];
          Shaper& shaper = scene.connections[i]->Toward(way);
          // A socket may take less than it is offered.
          while (true) {
            const Shaper::Ready ready = shaper.Next(scene.now);
            if (ready.bytes.empty()) break;
            const auto size = static_cast<size_t>(1 + below(static_cast<int64_t>(ready.bytes.size())));
            into += std::string(ready.bytes.substr(0, size));
            shaper.Wrote(size, scene.now);
            if (below(4) > 0) continue;
            shaper.Blocked();
            break;
          }
        }
      }
    };
    for (int step = 0; step < 200; ++step) {
      const size_t i = static_cast<size_t>(below(kConnections));
      const size_t way = static_cast<size_t>(below(2));
      std::string bytes;
      for (int64_t n = below(50); n >= 0; --n) bytes += static_cast<char>(below(256));
      sent[i][way] += bytes;
      scene.connections[i]->Toward(kBothWays[way]).Put(bytes, scene.now);
      switch (below(12)) {
        case 0: scene.Set(Slow(static_cast<int>(below(40)), static_cast<int>(below(20)), 60), seed); break;
        case 1: scene.Set(Thin(64 + below(5'000), below(100)), seed); break;
        case 2: scene.Set(Drip(1 + below(20), below(20), static_cast<int>(below(30))), seed); break;
        case 3: scene.Set(Silent(below(100), 50), seed); break;
        case 4: scene.Set(Gone(), seed); break;
        case 5: case 6: case 7: case 8: case 9: scene.Clear(kKinds[static_cast<size_t>(below(5))]); break;
        default: break;
      }
      scene.now += below(20) * kMs;
      flow();
      for (size_t c = 0; c < kConnections; ++c) {
        for (size_t w = 0; w < 2; ++w) ASSERT_EQ(sent[c][w].compare(0, got[c][w].size(), got[c][w]), 0) << seed;
      }
    }
    std::vector<Fault::KindCase> order(kKinds.begin(), kKinds.end());
    std::shuffle(order.begin(), order.end(), random);
    for (const Fault::KindCase kind : order) scene.Clear(kind);
    // No time passes: nothing waits any more.
    for (int i = 0; i < 200; ++i) flow();
    ASSERT_EQ(sent, got) << seed;
  }
}

}  // namespace
}  // namespace squall
