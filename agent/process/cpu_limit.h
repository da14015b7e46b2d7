#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// The arithmetic of the kernel's CPU bandwidth control (cfs quota). Pure functions.
namespace squall {

inline constexpr int64_t kCpuPeriodUs = 100'000;

// A cgroup may use `quota_us` of processor time, over all cores together, in each `period_us`.
struct CpuLimit {
  int64_t quota_us = -1;  // negative: no limit
  int64_t period_us = kCpuPeriodUs;
  bool limited() const { return quota_us >= 0; }
  friend bool operator==(const CpuLimit& a, const CpuLimit& b) {
    return a.limited() == b.limited() && (!a.limited() || a.quota_us == b.quota_us) && a.period_us == b.period_us;
  }
};

// The text of cgroup v2's cpu.max: "max 100000", "20000 100000".
absl::StatusOr<CpuLimit> ParseCpuMax(absl::string_view text);
std::string CpuMax(const CpuLimit& limit);

// How many cores' worth of time may be used by who may run on `cores` cores and is held by all of `limits`.
double CoresAllowed(int cores, const std::vector<CpuLimit>& limits);

// The limit that leaves `percent` of `cores` cores, in periods of 100 ms. OUT_OF_RANGE below 1 ms, which the kernel refuses.
absl::StatusOr<CpuLimit> ShareOf(double percent, double cores);

}  // namespace squall
