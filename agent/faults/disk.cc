// disk (scope: host): fills a filesystem.
//
// What and to whom: one file of squall's takes what is free on the filesystem of `path` until `leave` is left, and is made larger or
//   smaller twice a second as others free or use space. Left to whom: to users other than root; but where a process of the service
//   may use the blocks that are kept for root, it would never be refused, and what counts is what is left to it. The filesystems
//   of /, of the journal and of temporary files keep a floor for everybody, on which the host and squall itself live. What is in
//   memory (tmpfs) is filled only as far as the host keeps some.
// Proof: the bytes held and those left, against what was asked for; ENOSPC and EDQUOT returned to the service, counted by the kernel
//   where that can be asked.
// Undo while the agent lives: the file is emptied and gone.
// Undo when the agent was killed: the file has no name, and the kernel frees it with the agent. Where the filesystem can have no such
//   files it has one, and the guardian or, after a reboot, the next agent removes it, as the journal says.

#include <linux/capability.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "agent/faults/fault.h"
#include "agent/faults/fill_file.h"
#include "agent/faults/regularly.h"
#include "agent/process/refusals.h"

namespace squall {
namespace {

constexpr absl::Duration kEvery = absl::Milliseconds(500);
constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kLargestFloor = 512 * kMiB;
constexpr int64_t kFloorShare = 20;  // of the filesystem: one part in so many
constexpr int64_t kMemoryLeft = 256 * kMiB;
// Two filesystems that differ by less in what is free, and not at all in their size, are one that is mounted twice.
constexpr int64_t kSameWithin = 16 * kMiB;

int64_t SizeOf(const struct statvfs& space) { return static_cast<int64_t>(space.f_blocks * space.f_frsize); }
int64_t FreeForRoot(const struct statvfs& space) { return static_cast<int64_t>(space.f_bfree * space.f_frsize); }
int64_t FreeForOthers(const struct statvfs& space) { return static_cast<int64_t>(space.f_bavail * space.f_frsize); }

std::string MiB(int64_t bytes) { return absl::StrCat(bytes / kMiB, " MiB"); }

// In bytes: "KEY:   NUMBER kB". 0 when it is not there.
int64_t MeminfoOf(absl::string_view key) {
  const std::string text = Slurp("/proc/meminfo");
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    int64_t kibibytes = 0;
    if (absl::ConsumePrefix(&line, key) && absl::ConsumePrefix(&line, ":") && absl::ConsumeSuffix(&line, "kB") &&
        absl::SimpleAtoi(line, &kibibytes)) {
      return kibibytes << 10;
    }
  }
  return 0;
}

// ext4 and others let root and CAP_SYS_RESOURCE have the last blocks.
bool MayUseReserve(const ProcessId& process) {
  const std::string text = Slurp(absl::StrCat("/proc/", process.pid, "/status"));
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::ConsumePrefix(&line, "Uid:")) {
      const std::vector<absl::string_view> ids = absl::StrSplit(line, '\t', absl::SkipEmpty());
      if (ids.size() == 4 && ids[3] == "0") return true;  // the one that filesystems ask for
    } else if (absl::ConsumePrefix(&line, "CapEff:\t")) {
      uint64_t effective = 0;
      if (absl::SimpleHexAtoi(line, &effective) && (effective >> CAP_SYS_RESOURCE & 1) != 0) return true;
    }
  }
  return false;
}

bool IsInMemory(const std::string& path) {
  struct statfs about;
  return statfs(path.c_str(), &about) == 0 && about.f_type == TMPFS_MAGIC;
}

bool IsSameFilesystem(const std::string& one, const std::string& other) {
  struct stat a, b;
  if (stat(one.c_str(), &a) != 0 || stat(other.c_str(), &b) != 0) return false;
  if (a.st_dev == b.st_dev) return true;
  // Subvolumes and overlays have numbers of their own and share their space.
  struct statvfs of_one, of_other;
  if (IsInMemory(one) || IsInMemory(other) || statvfs(one.c_str(), &of_one) != 0 || statvfs(other.c_str(), &of_other) != 0) return false;
  return SizeOf(of_one) == SizeOf(of_other) && std::abs(FreeForRoot(of_one) - FreeForRoot(of_other)) <= kSameWithin;
}

// Why nothing can be filled there; empty when it can.
std::string WhyNotFilled(const std::string& path) {
  struct statfs about;
  struct statvfs space;
  if (statfs(path.c_str(), &about) != 0 || statvfs(path.c_str(), &space) != 0) return absl::StrCat("cannot be asked for its space: ", strerror(errno));
  if (space.f_blocks == 0) return "is on a filesystem that has no space to fill, as proc, sysfs and cgroup";
  // Not in linux/magic.h: cifs, smb2, ceph, lustre.
  constexpr std::array<uint32_t, 9> kNetwork = {NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, V9FS_MAGIC, AFS_SUPER_MAGIC, CODA_SUPER_MAGIC,
                                                0xFF534D42,      0xFE534D42,      0x00C36400, 0x0BD00BD0};
  if (std::count(kNetwork.begin(), kNetwork.end(), static_cast<uint32_t>(about.f_type)) > 0) {
    return "is on a network filesystem, whose space belongs to other hosts too";
  }
  if ((space.f_flag & ST_RDONLY) != 0) return "is on a filesystem that is mounted read-only";
  return "";
}

std::string PathOf(const Disk& disk, const std::string& folder) {
  return (std::filesystem::path(folder) / disk.path()).lexically_normal().string();
}

class DiskFault : public ActiveFault {
 public:
  DiskFault(const Disk& disk, const FaultContext& context)
      : disk_(disk), context_(context), service_(*context.services->at(disk.service())) {}
  ~DiskFault() override { stop_ = true; }

  absl::Status Inject() override {
    const absl::Status status = TryInject();
    if (!status.ok()) Heal(HealFor::kFaultOver).IgnoreError();
    return status;
  }

  absl::Status Heal(HealFor) override {
    stop_ = true;
    looking_.reset();
    absl::MutexLock lock(&mutex_);
    absl::Status status;
    if (file_ != nullptr) {
      Measure();
      status = file_->Remove();
      if (status.ok()) file_.reset();
    }
    if (status.ok()) refusals_.reset();
    return status;
  }

  Evidence Seen() override {
    absl::MutexLock lock(&mutex_);
    if (file_ != nullptr) Measure();
    Evidence evidence;
    evidence.set_held_bytes(held_);
    evidence.set_requested_left_bytes(disk_.leave());
    evidence.set_achieved_left_bytes(left_);
    evidence.set_refusals(refused_);
    evidence.set_refusals_seen(refusals_seen_);
    return evidence;
  }

 private:
  absl::Status TryInject() {
    absl::Status status = CheckDisk(disk_, context_.folder);
    if (!status.ok()) return status;
    std::error_code error;
    const std::string path = std::filesystem::canonical(PathOf(disk_, context_.folder), error).string();
    if (error) return absl::ErrnoToStatus(error.value(), absl::StrCat("cannot find ", PathOf(disk_, context_.folder)));
    const std::vector<ProcessId> processes = service_.Processes();
    absl::MutexLock lock(&mutex_);
    in_memory_ = IsInMemory(path);
    const bool as_root = std::any_of(processes.begin(), processes.end(), MayUseReserve);
    struct statvfs space;
    if (statvfs(path.c_str(), &space) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot tell the free space of ", path));
    keep_ = disk_.leave();
    const char* temporary = getenv("TMPDIR");
    const std::string journal = std::filesystem::path(context_.journal->path()).parent_path().string();
    use_reserve_ = as_root;
    for (const std::string& lived_on : {std::string("/"), journal, std::string(temporary == nullptr ? "/tmp" : temporary)}) {
      if (!IsSameFilesystem(path, lived_on)) continue;
      keep_ = std::max(keep_, std::min(kLargestFloor, SizeOf(space) / kFloorShare));
      use_reserve_ = false;
    }
    const int64_t wanted = Left(space) - keep_, memory = MeminfoOf("MemAvailable");
    if (in_memory_ && wanted > memory - kMemoryLeft) {
      return absl::FailedPreconditionError(absl::StrCat(
          "disk: ", path, " is in memory: filling it takes ", MiB(wanted), ", of ", MiB(memory), " that are available, and ",
          MiB(kMemoryLeft), " are never taken; leave more of it, or give it another limit (mount -o remount,size=...)"));
    }
    absl::StatusOr<std::unique_ptr<Refusals>> refusals = Refusals::Start(service_.IsRun() ? service_.CgroupFolder().value_or("") : "");
    if (refusals.ok() && (*refusals)->Watch(processes).ok()) {
      refusals_ = *std::move(refusals);
      refusals_seen_ = true;
    }
    absl::StatusOr<std::unique_ptr<FillFile>> file = FillFile::Make(path, context_.journal);
    if (!file.ok()) return file.status();
    file_ = *std::move(file);
    status = Fill();
    if (!status.ok()) return status;
    if (context_.cancelled != nullptr && *context_.cancelled) return absl::CancelledError("the run is over");
    looking_ = std::make_unique<Regularly>(kEvery, [this] { Look(); });
    return absl::OkStatus();
  }

  void Look() {
    const std::vector<ProcessId> processes = service_.Processes();
    absl::MutexLock lock(&mutex_);
    if (refusals_ != nullptr) refusals_->Watch(processes).IgnoreError();
    // What is in the way now is seen in what is left.
    Fill().IgnoreError();
  }

  int64_t Left(const struct statvfs& space) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return use_reserve_ ? FreeForRoot(space) : FreeForOthers(space);
  }

  // Grows or shrinks the file until as much is left as is to be, or as can.
  absl::Status Fill() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    while (!stop_ && (context_.cancelled == nullptr || !*context_.cancelled)) {
      const absl::StatusOr<struct statvfs> space = file_->Space();
      if (!space.ok()) return space.status();
      int64_t more = Left(*space) - keep_;
      if (in_memory_) more = std::min(more, MeminfoOf("MemAvailable") - kMemoryLeft);
      const auto block = static_cast<int64_t>(space->f_frsize);
      if (more < 0 && file_->size() > 0) {
        const absl::Status shrunk = file_->Shrink(std::min(file_->size(), (-more + block - 1) / block * block));
        if (!shrunk.ok()) return shrunk;
        break;
      }
      if (more < block) break;
      const absl::StatusOr<int64_t> grown = file_->Grow(more / block * block);
      if (!grown.ok()) return grown.status();
      if (*grown == 0) break;
    }
    Measure();
    return absl::OkStatus();
  }

  void Measure() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const absl::StatusOr<struct statvfs> space = file_->Space();
    if (space.ok()) left_ = Left(*space);
    held_ = std::max(held_, file_->size());
    if (refusals_ != nullptr) refused_ = refusals_->Seen({ENOSPC, EDQUOT});
  }

  const Disk disk_;
  const FaultContext context_;
  const RunningService& service_;
  std::atomic<bool> stop_ = false;
  absl::Mutex mutex_;
  bool in_memory_ ABSL_GUARDED_BY(mutex_) = false;
  bool use_reserve_ ABSL_GUARDED_BY(mutex_) = false;  // what is left is what is left to root
  int64_t keep_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<FillFile> file_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Refusals> refusals_ ABSL_GUARDED_BY(mutex_);
  bool refusals_seen_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t refused_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t held_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t left_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<Regularly> looking_;  // last: it ends first
};

}  // namespace

absl::Status CheckDisk(const Disk& disk, const std::string& folder) {
  const std::string path = PathOf(disk, folder);
  struct stat about;
  if (stat(path.c_str(), &about) != 0) {
    if (errno == ENOENT) return absl::NotFoundError(absl::StrCat("disk: there is no folder ", path, "; make it, or name one that is there"));
    return absl::ErrnoToStatus(errno, absl::StrCat("disk: cannot look at ", path));
  }
  if (!S_ISDIR(about.st_mode)) return absl::FailedPreconditionError(absl::StrCat("disk: ", path, " is no folder; name the one that it is in"));
  const std::string why_not = WhyNotFilled(path);
  if (!why_not.empty()) return absl::FailedPreconditionError(absl::StrCat("disk: ", path, " ", why_not, "; name a folder on a disk of this host"));
  if (access(path.c_str(), W_OK | X_OK) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("disk: squall may make no file in ", path, " (", strerror(errno), "); run it as a user who may, or name another folder"));
  }
  return absl::OkStatus();
}

std::unique_ptr<ActiveFault> MakeDisk(const Disk& disk, const FaultContext& context) { return std::make_unique<DiskFault>(disk, context); }

}  // namespace squall
