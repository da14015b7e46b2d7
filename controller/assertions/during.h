#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "controller/assertions/obstacle.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// A part of a run, as far as the run has come.
struct Span {
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  bool over = false;  // no more of it will come

  bool Holds(int64_t at_ns) const { return begin_ns <= at_ns && at_ns <= end_ns; }
};

// The part of the run that is meant; nothing: it has not begun. `fault`: empty stands for all of them. Left out: `fault`.
//
// A run that came to its end ends with its last request, or with what was looked at after that: while services are stopped,
// nothing is promised any more.
std::optional<Span> SpanOf(During during, absl::string_view fault, const Timeline& timeline);

// What stands in the way of judging that part. Once it is open, SpanOf has a span.
std::optional<Obstacle> DuringGate(During during, absl::string_view fault, const Timeline& timeline);

// "while slow acted", "after slow was over", "during the run", "before the first fault".
std::string DuringText(During during, absl::string_view fault, const Timeline& timeline);

}  // namespace squall
