#pragma once

#include "controller/assertions/judge.h"
#include "controller/assertions/stalls.h"
#include "controller/timeline.h"

namespace squall {

// Judges that a service holds no more at rest after the faults than it held at rest before them, that this does not rise from
// cycle to cycle where a fault repeats and, with `peak`, that it held no more meanwhile than its requests need. Names what
// leaked.
Judgement JudgeNoLeak(const NoLeak& spec, const Timeline& timeline, const Stalls& stalls);

// Whether the service has held no more than at its first rest for 2 s of the newest rest, in all that can be seen of it: that
// rest need not last any longer. False while loads do not rest, and where something is only told by a snapshot.
bool IsBackAtRest(const NoLeak& spec, const Timeline& timeline);

}  // namespace squall
