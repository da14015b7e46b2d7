#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proto/assertion.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

// What a process can hold. In the order in which a leak is named: what tells more about its place comes first.
enum class Held { kGoroutines, kHeap, kFds, kCloseWait, kEstablished, kThreads, kRss };

// How much more of it there may be. Plain data.
struct Allowance {
  Held held = Held::kGoroutines;
  bool asked = false;  // written in the scenario, not a default
  int64_t at_most = 0;
  double share = 0;  // in percent of what there was before

  int64_t MoreThan(int64_t before) const;  // the larger of the two
  int64_t Limit(int64_t before) const { return before + MoreThan(before); }
};

// All of them, in their order: as the spec says, or the defaults.
std::vector<Allowance> AllowancesOf(const NoLeak& spec);

// How much the process held; none: it cannot be told.
std::optional<int64_t> AmountOf(Held held, const ServiceSample& sample);

// "goroutines", "RSS".
std::string NameOf(Held held);
// "314", "48.1 MiB".
std::string AmountText(Held held, double amount);
// "1.00 goroutine", "2.00 goroutines", "12.1 KiB of heap".
std::string EachText(Held held, double each);

// Whether what is held at the ends of cycles rises as a leak does: in at least 80 % of 4 steps or more, by more than half of what
// is allowed at once, and without slowing down. A pool or a cache that still warms up rises, too, but by less and less: in the
// later half of the steps it has to rise at least three quarters as fast as on the whole. A step counts from a twentieth of what
// is allowed on, and from 1, so that what breathes is not taken for what grows. `plateaus`: before the first cycle, and at the
// end of each.
bool RisesLikeALeak(const std::vector<int64_t>& plateaus, const Allowance& allowance);

}  // namespace squall
