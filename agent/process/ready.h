#pragma once

#include <functional>

#include "absl/status/status.h"
#include "agent/net/netns.h"
#include "proto/scenario.pb.h"

namespace squall {

// One look at whether a service is ready, from inside `ns`. OK: it is; otherwise what was seen. Takes up to a second.
// REQUIRES: ready.check is set.
absl::Status LookWhetherReady(const Ready& ready, const NetNamespace& ns);

}  // namespace squall
