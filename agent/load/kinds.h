// Which of a load's weighted requests is sent.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/scenario.pb.h"

namespace squall {

// A draw by weight, the same for the same seed and number. A value type.
class Kinds {
 public:
  // INVALID_ARGUMENT for a weight that is negative; 0 is 1, as left out.
  static absl::StatusOr<Kinds> Make(const Load& load, uint64_t seed);

  // From 0; 0 where the load has one request.
  uint32_t Of(int64_t number) const;

 private:
  uint64_t seed_ = 0;
  std::vector<int64_t> until_;  // sums of the weights; empty: there is one
};

}  // namespace squall
