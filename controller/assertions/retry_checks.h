#pragma once

#include <vector>

#include "controller/assertions/promise.h"
#include "controller/assertions/retry_scene.h"

namespace squall {

// Calls for each request while calls fail, against the baseline. `windows` are those of the fault.
Promise CheckAmplification(const RetryScene& scene, const std::vector<Amplified>& windows);

// The same after healing. Sets *told when more data would not change it.
Promise CheckSurge(const RetryScene& scene, bool* told);

// Retries do not come in step: the calls of the busiest 100 ms, against the mean of its window.
Promise CheckSynchrony(const RetryScene& scene, const std::vector<Amplified>& windows);

// All calls of the requests of which one failed while the fault acted, told by trace id: those of one request together, in their
// order.
std::vector<const Call*> CallsOfFailing(const RetryScene& scene);
// REQUIRES: asked for; `calls` are those.
Promise CheckAttempts(const RetryScene& scene, const std::vector<const Call*>& calls);
Promise CheckBackoff(const RetryScene& scene, const std::vector<const Call*>& calls);

}  // namespace squall
