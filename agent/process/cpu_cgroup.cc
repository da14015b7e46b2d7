#include "agent/process/cpu_cgroup.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace squall {

absl::StatusOr<CpuLimit> ReadLimit(const LimitCgroup& cgroup) {
  if (cgroup.version == 2) {
    const std::string text = Slurp(absl::StrCat(cgroup.folder, "/cpu.max"));
    if (text.empty()) return absl::NotFoundError(absl::StrCat("cgroup ", cgroup.folder, " has no cpu.max"));
    return ParseCpuMax(text);
  }
  const absl::StatusOr<int64_t> quota = ReadCgroupNumber(absl::StrCat(cgroup.folder, "/cpu.cfs_quota_us"));
  const absl::StatusOr<int64_t> period = ReadCgroupNumber(absl::StrCat(cgroup.folder, "/cpu.cfs_period_us"));
  if (!quota.ok()) return quota.status();
  if (!period.ok()) return period.status();
  return CpuLimit{*quota, *period};
}

absl::Status WriteLimit(const LimitCgroup& cgroup, const CpuLimit& limit) {
  const absl::StatusOr<CpuLimit> before = ReadLimit(cgroup);
  if (!before.ok()) return before.status();
  absl::Status status;
  if (cgroup.version == 2) {
    status = WriteCgroupFile(absl::StrCat(cgroup.folder, "/cpu.max"), CpuMax(limit));
  } else {
    const std::string quota = absl::StrCat(cgroup.folder, "/cpu.cfs_quota_us");
    const std::string period = absl::StrCat(cgroup.folder, "/cpu.cfs_period_us");
    // Two files, one after the other. The longer period is in force meanwhile, so that never more is allowed than before
    // or after: the kernel refuses what is more than the cgroup above allows.
    const bool period_first = limit.period_us >= before->period_us;
    if (period_first) status = WriteCgroupFile(period, absl::StrCat(limit.period_us));
    if (status.ok()) status = WriteCgroupFile(quota, absl::StrCat(limit.limited() ? limit.quota_us : -1));
    if (status.ok() && !period_first) status = WriteCgroupFile(period, absl::StrCat(limit.period_us));
  }
  if (!status.ok()) return status;
  const absl::StatusOr<CpuLimit> now = ReadLimit(cgroup);
  if (!now.ok()) return now.status();
  if (*now == limit) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("cgroup ", cgroup.folder, " has the limit ", CpuMax(*now), " after ", CpuMax(limit), " was set"));
}

std::vector<CpuLimit> LimitsOver(const LimitCgroup& cgroup) {
  std::vector<CpuLimit> limits;
  const absl::StatusOr<CgroupMount> mount = MountOf("cpu");
  if (!mount.ok()) return limits;
  for (LimitCgroup at = cgroup; absl::StartsWith(at.folder, mount->folder); at.folder.resize(at.folder.rfind('/'))) {
    const absl::StatusOr<CpuLimit> limit = ReadLimit(at);
    if (limit.ok() && limit->limited()) limits.push_back(*limit);
    if (at.folder == mount->folder) break;
  }
  return limits;
}

absl::StatusOr<int64_t> ThrottledNs(const LimitCgroup& cgroup) {
  const std::string path = FileOf(cgroup, "cpu.stat");
  if (cgroup.version == 1) return ReadCgroupKey(path, "throttled_time");
  const absl::StatusOr<int64_t> us = ReadCgroupKey(path, "throttled_usec");
  if (!us.ok()) return us.status();
  return *us * 1'000;
}

}  // namespace squall
