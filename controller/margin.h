#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/reading.h"
#include "controller/scalars.h"
#include "proto/scenario.pb.h"

namespace squall {

// What a search for the margin found out about one value.
struct Tried {
  double value = 0;
  int held = 0;
  int tripped = 0;

  bool AlwaysHeld() const { return held > 0 && tripped == 0; }
  bool AlwaysTripped() const { return tripped > 0 && held == 0; }
};

// Bisection between a value that holds and one that trips. First for the largest that always holds, then, where values in between do
// both, for the smallest that always trips. "Large" means towards `to`. Pure: it only says what to try next. Not thread-safe.
class MarginSearch {
 public:
  // `within`: 0.1 for ten percent of the larger of the two. REQUIRES: from != to, within > 0.
  MarginSearch(double from, double to, double within) : from_(from), to_(to), within_(within) {}

  // The next value to try; empty: the search is over, or `Problem` says why it cannot go on.
  std::optional<double> Next() const;
  void Tell(const Tried& tried);

  // Why there is no margin between the two; empty: there is, as far as is known.
  std::string Problem() const;

  // As far as is known.
  const Tried* LastThatHeld() const;
  const Tried* FirstThatTripped() const;
  // In the order in which they were tried.
  const std::vector<Tried>& tried() const { return tried_; }

 private:
  double Along(double value) const { return from_ < to_ ? value : -value; }
  const Tried* Find(double value) const;
  bool CloseEnough(double a, double b) const;

  double from_, to_, within_;
  std::vector<Tried> tried_;
};

// The field that `find` varies, within the scenario, and how its values are written.
struct Varied {
  const google::protobuf::FieldDescriptor* field = nullptr;
  double from = 0;
  double to = 0;
  bool whole = false;  // only whole numbers

  std::string Text(double value) const;
};
// INVALID_ARGUMENT, with what to write instead, for a field that cannot be varied. REQUIRES: references are resolved.
absl::StatusOr<Varied> FindVaried(const Scenario& scenario);
// The scenario with this value, without `find`.
Scenario WithValue(const Scenario& scenario, const Varied& varied, double value);

void CheckFind(const Scenario& scenario, Reading& reading);

}  // namespace squall
