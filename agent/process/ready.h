#pragma once

#include "absl/status/status.h"
#include "agent/net/http_get.h"
#include "proto/scenario.pb.h"

namespace squall {

// One look at whether a service is ready, from `where` it is. OK: it is; otherwise what was seen. Takes up to a second.
// REQUIRES: ready.check is set.
absl::Status LookWhetherReady(const Ready& ready, const HttpGetter::Where& where);

}  // namespace squall
