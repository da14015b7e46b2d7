#include "agent/process/cpu_limit.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace squall {
namespace {

// The kernel's min_cfs_quota_period.
constexpr int64_t kLeastQuotaUs = 1'000;

}  // namespace

absl::StatusOr<CpuLimit> ParseCpuMax(absl::string_view text) {
  const std::vector<absl::string_view> words = absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  CpuLimit limit;
  const bool quota = words.size() == 2 && (words[0] == "max" || absl::SimpleAtoi(words[0], &limit.quota_us));
  if (!quota || !absl::SimpleAtoi(words[1], &limit.period_us) || limit.period_us <= 0) {
    return absl::InternalError(absl::StrCat("cpu.max has an unknown form: '", text, "'"));
  }
  return limit;
}

std::string CpuMax(const CpuLimit& limit) {
  return absl::StrCat(limit.limited() ? absl::StrCat(limit.quota_us) : "max", " ", limit.period_us);
}

double CoresAllowed(int cores, const std::vector<CpuLimit>& limits) {
  double allowed = cores;
  for (const CpuLimit& limit : limits) {
    if (!limit.limited()) continue;
    allowed = std::min(allowed, static_cast<double>(limit.quota_us) / static_cast<double>(limit.period_us));
  }
  return allowed;
}

absl::StatusOr<CpuLimit> ShareOf(double percent, double cores) {
  CpuLimit limit;
  limit.quota_us = std::llround(percent / 100 * cores * static_cast<double>(kCpuPeriodUs));
  if (limit.quota_us < kLeastQuotaUs) {
    return absl::OutOfRangeError(absl::StrFormat(
        "%g %% of %.4g cores is less than 1 ms in 100 ms, which the kernel refuses; write quota: %g%% or more", percent,
        cores, std::ceil(100.0 * kLeastQuotaUs / (cores * static_cast<double>(kCpuPeriodUs)))));
  }
  return limit;
}

}  // namespace squall
