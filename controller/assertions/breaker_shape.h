#pragma once

#include <string>

#include "controller/assertions/breaker_scene.h"

namespace squall {

// What limits calls that went down without stopping, told by their shape over [from_ns, to_ns): "always 4 in
// flight: the shape of a bulkhead or a connection pool", "evenly 10/s: the shape of a rate limiter"; empty
// when it is neither, or there are too few calls to tell.
std::string OtherShape(const BreakerScene& scene, int64_t from_ns, int64_t to_ns);

// Whether calls go on evenly over [from_ns, to_ns), however few they are, so that it is no breaker that is
// open.
bool GoesOnEvenly(const BreakerScene& scene, int64_t from_ns, int64_t to_ns);

}  // namespace squall
