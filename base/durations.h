#pragma once

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"

namespace squall {

// A duration off the wire.
inline absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

}  // namespace squall
