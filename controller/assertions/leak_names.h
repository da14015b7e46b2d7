#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "controller/timeline.h"
#include "proto/verdict.pb.h"

namespace squall {

// What is held more than before, by what it can be told by. Pure functions.
struct LeakName {
  std::string brief;            // "300 more at main.call /src/orders.go:41 (chan receive, 2 minutes)"; empty: nothing tells
  std::vector<Detail> details;  // the largest few, with their stacks
  bool own = false;             // `brief` tells a line of the service's own
};

// Goroutines by the innermost line that is the service's own or, where a stack has none, by the library's. `leaked`: a snapshot
// with wait states; may be null.
LeakName NameGoroutines(const ProcessSnapshot& before, const ProcessSnapshot& after, const ProcessSnapshot* leaked);

// Live heap by the line that allocated it.
LeakName NameHeap(const ProcessSnapshot& before, const ProcessSnapshot& after);

// Descriptors by peer and TCP state, or by path. `state`: only TCP sockets in it; empty: all.
LeakName NameFds(const ProcessSnapshot& before, const ProcessSnapshot& after, absl::string_view state = "");

LeakName NameThreads(const ProcessSnapshot& before, const ProcessSnapshot& after);

// The innermost frame of a Go stack that is neither of the standard library nor of a module that was fetched or vendored; empty:
// none. Frames: "main.(*Orders).call.func1 /src/orders.go:41".
std::string OwnFrame(const std::vector<std::string>& frames);

}  // namespace squall
