#include "agent/load/kinds.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "agent/load/hang_ups.h"

namespace squall {

absl::StatusOr<Kinds> Kinds::Make(const Load& load, uint64_t seed) {
  std::vector<int64_t> weights;
  for (const WeightedHttp& request : load.http().requests()) weights.push_back(request.weight());
  for (const WeightedGrpc& request : load.grpc().requests()) weights.push_back(request.weight());
  for (const WeightedTcp& request : load.tcp().requests()) weights.push_back(request.weight());
  Kinds kinds;
  kinds.seed_ = seed;
  int64_t sum = 0;
  for (const int64_t weight : weights) {
    if (weight < 0) return absl::InvalidArgumentError(absl::StrCat("a request of the load ", load.name(), " has the weight ", weight));
    sum += std::max<int64_t>(weight, 1);
    kinds.until_.push_back(sum);
  }
  return kinds;
}

uint32_t Kinds::Of(int64_t number) const {
  if (until_.size() < 2) return 0;
  const auto drawn = static_cast<int64_t>(Draw(seed_, number) * static_cast<double>(until_.back()));
  const auto found = std::upper_bound(until_.begin(), until_.end() - 1, drawn);
  return static_cast<uint32_t>(found - until_.begin());
}

}  // namespace squall
