#pragma once

#include "controller/assertions/band.h"
#include "controller/assertions/judge.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// Whether the service says that it is healthy while its callers are not served: `windows` in a row out of band, in each of which its
// health was asked and was always ready. From the first injection on. Pure. Of the verdict only what is said of this.
Judgement JudgeGray(const Gray& spec, const Timeline& timeline, const Load& load, const Baseline& baseline, const Band& band,
                    const Stalls& stalls);

}  // namespace squall
