#include "agent/load/kinds.h"

#include <gtest/gtest.h>

#include <map>

namespace squall {
namespace {

Load Weighted(std::vector<int> weights) {
  Load load;
  load.set_name("checkout");
  for (const int weight : weights) load.mutable_http()->add_requests()->set_weight(weight);
  return load;
}

std::map<uint32_t, int> Drawn(const Kinds& kinds, int64_t from, int count) {
  std::map<uint32_t, int> drawn;
  for (int64_t i = from; i < from + count; ++i) ++drawn[kinds.Of(i)];
  return drawn;
}

TEST(Kinds, AreDrawnByTheirWeights) {
  auto drawn = Drawn(*Kinds::Make(Weighted({70, 25, 5}), 7), 0, 100'000);
  // Five standard deviations.
  EXPECT_NEAR(drawn[0], 70'000, 730);
  EXPECT_NEAR(drawn[1], 25'000, 690);
  EXPECT_NEAR(drawn[2], 5'000, 350);
  EXPECT_EQ(drawn.size(), 3u);
}

TEST(Kinds, AreTheSameForTheSameSeedAndOthersForAnother) {
  const Kinds kinds = *Kinds::Make(Weighted({1, 1}), 7), same = *Kinds::Make(Weighted({1, 1}), 7), other = *Kinds::Make(Weighted({1, 1}), 8);
  int differ = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    ASSERT_EQ(kinds.Of(i), same.Of(i));
    differ += kinds.Of(i) != other.Of(i);
  }
  EXPECT_GT(differ, 400);
}

TEST(Kinds, AreOneWhereALoadSaysNoneOrOne) {
  EXPECT_EQ(Drawn(*Kinds::Make(Load(), 7), 0, 100).size(), 1u);
  EXPECT_EQ(Kinds::Make(Weighted({9}), 7)->Of(3), 0u);
}

TEST(Kinds, WithoutAWeightWeighOne) {
  auto drawn = Drawn(*Kinds::Make(Weighted({0, 0}), 7), int64_t{1} << 40, 10'000);
  EXPECT_NEAR(drawn[0], 5'000, 250);
}

TEST(Kinds, OfEveryKindOfLoadAreKnown) {
  Load load;
  load.mutable_grpc()->add_requests();
  load.mutable_grpc()->add_requests();
  EXPECT_EQ(Drawn(*Kinds::Make(load, 1), 0, 100).size(), 2u);
  load.mutable_tcp()->add_requests();
  load.mutable_tcp()->add_requests();
  EXPECT_EQ(Drawn(*Kinds::Make(load, 1), 0, 100).size(), 2u);
}

TEST(Kinds, RefuseAWeightBelowZero) {
  EXPECT_EQ(Kinds::Make(Weighted({1, -1}), 1).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace squall
