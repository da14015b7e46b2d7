#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "controller/timeline.h"

namespace squall {

// The faults that an assertion is about, and when they acted. Points into the timeline, which must outlive
// it.
struct FaultTime {
  struct Part {
    const Fault* fault = nullptr;
    const FaultSpan* span = nullptr;
  };
  std::vector<Part> parts;  // none: the scenario has no such fault

  std::optional<int64_t> injected_ns;  // of the first; only when all parts were injected
  // When the last of them no longer acted: healing confirmed, or for a kill without a restart the end of the
  // faults. None while one still acts, and where healing was not confirmed.
  std::optional<int64_t> over_ns;
  // From asking for the last healing to its confirmation.
  int64_t healing_took_ns = 0;

  bool AllKills() const;
  // One of them ends a whole service.
  bool AnyDeath() const;
  // "slow", "slow and gone".
  std::string Names() const;
  // Whether the fault is one of the parts.
  bool Includes(const FaultSpan& span) const;
};

// The fault of this name; all faults of the scenario when `name` is empty.
FaultTime TimeOf(const Timeline& timeline, absl::string_view name);

// When the fault no longer acted, as for FaultTime::over_ns.
std::optional<int64_t> OverAt(const Timeline& timeline, const FaultTime::Part& part);

// Where the clock of what must follow the healing starts: when the last of them no longer acted. What a kill leaves dead is never healed:
// its clock starts at the injection. REQUIRES: over_ns.
int64_t ClearedAt(const FaultTime& time);

// How far apart the same moment may be on two hosts' records: zero when one agent has seen everything.
int64_t CrossHostNs(const Timeline& timeline);

// When the earliest fault of the run began to act; none was injected: nullopt.
std::optional<int64_t> FirstInjection(const Timeline& timeline);

// The first injection, after `after_ns`, of a fault that is not one of `time`.
std::optional<int64_t> NextOtherInjection(const Timeline& timeline, const FaultTime& time, int64_t after_ns);

// When, after `after_ns`, the plan takes the load away, so that what it shows no longer tells of the fault before: it rests, or is cut.
std::optional<int64_t> LoadChangesAt(const Timeline& timeline, int64_t after_ns);

// The name of a fault that had clients of the load hang up between these times; empty: none.
std::string HungUpBy(const Timeline& timeline, absl::string_view load, int64_t from_ns, int64_t to_ns);

// The name of a fault, not one of `time`, that acted at `at_ns`; empty: none.
std::string OtherActingAt(const Timeline& timeline, const FaultTime& time, int64_t at_ns);

}  // namespace squall
