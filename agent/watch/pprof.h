#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/net/http_get.h"
#include "proto/timeline.pb.h"

// The profiles that Go's net/http/pprof serves as text.
namespace squall {

// At most this many stacks are told, the largest, and of each this many frames.
inline constexpr size_t kMostStacks = 200;
inline constexpr int kMostFrames = 64;

struct GoroutineCounts {
  int64_t total = -1;  // -1: not known
  std::vector<StackCount> stacks;
};
struct HeapCounts {
  int64_t bytes = -1;  // that are allocated; -1: not known
  std::vector<StackCount> stacks;
};

// All three are pure. Whatever cannot be read is skipped; INVALID_ARGUMENT when the text is no such profile. The goroutine that
// answers is not among the stacks.
// goroutine?debug=1
absl::StatusOr<GoroutineCounts> ParseGoroutines(absl::string_view text);
// goroutine?debug=2: with the states in which they wait, and the longest wait of those with the same stack and state.
absl::StatusOr<GoroutineCounts> ParseGoroutineStates(absl::string_view text);
// heap?debug=1: what the sample stands for, as `go tool pprof` reckons it.
absl::StatusOr<HeapCounts> ParseHeap(absl::string_view text);

struct Profiles {
  GoroutineCounts goroutines;
  HeapCounts heap;
  std::string error;  // why something is missing
};

// 5 s and 16 MiB a profile.
HttpGetter::Bounds ProfileBounds(std::function<bool()> stopped);
// Of the program whose profiles are below `url`. Has it collect its garbage first. `states`: of the goroutines.
Profiles ReadProfiles(HttpGetter& getter, const std::string& url, bool states);
// Only the first line of the profile of goroutines counts.
absl::StatusOr<int64_t> ReadGoroutineTotal(HttpGetter& getter, const std::string& url);

}  // namespace squall
