#pragma once

#include <cstdint>

#include "google/protobuf/duration.pb.h"

namespace squall {

// Nanoseconds of a duration of at most 24 hours, as the rules of the schema allow.
inline int64_t Nanos(const google::protobuf::Duration& duration) {
  return duration.seconds() * 1'000'000'000 + duration.nanos();
}

}  // namespace squall
