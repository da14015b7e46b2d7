#include "agent/process/refusals.h"

#include <bpf/bpf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <set>

#include "absl/strings/str_cat.h"
#include "agent/net/bpf.h"
#include "agent/process/refusals.bpf.h"
#include "agent/process/refusals.skel.h"

namespace squall {
namespace {

static_assert(REFUSALS_EMFILE == EMFILE && REFUSALS_ENFILE == ENFILE && REFUSALS_ENOSPC == ENOSPC && REFUSALS_EDQUOT == EDQUOT);
constexpr std::array<int, REFUSALS_ERRORS> kErrors = {EMFILE, ENFILE, ENOSPC, EDQUOT};

// BPF numbers processes as the first pid namespace does. Its inode is PROC_PID_INIT_INO of linux/proc_ns.h.
bool NumbersAreTheKernels() {
  constexpr ino_t kFirst = 0xEFFFFFFC;
  struct stat own;
  return stat("/proc/self/ns/pid", &own) == 0 && own.st_ino == kFirst;
}

class BpfRefusals : public Refusals {
 public:
  explicit BpfRefusals(BpfPrograms<refusals> programs) : skeleton_(std::move(programs)) {}

  absl::Status Attach(const std::string& cgroup) {
    if (!cgroup.empty()) {
      const absl::StatusOr<Fd> folder = OpenCgroup(cgroup);
      if (!folder.ok()) return folder.status();
      const uint32_t first = 0;
      const auto fd = static_cast<uint32_t>(folder->get());
      if (bpf_map_update_elem(bpf_map__fd(skeleton_->maps.cgroup), &first, &fd, BPF_ANY) != 0) {
        return absl::ErrnoToStatus(errno, absl::StrCat("cannot watch cgroup ", cgroup));
      }
    }
    if (refusals::attach(skeleton_.get()) == 0) return absl::OkStatus();
    return absl::UnimplementedError(absl::StrCat("this kernel cannot be asked at the end of system calls (CONFIG_FTRACE_SYSCALLS, CONFIG_BPF_EVENTS): ",
                                                 strerror(errno)));
  }

  absl::Status Watch(const std::vector<ProcessId>& processes) override {
    std::set<pid_t> pids;
    for (const ProcessId& process : processes) pids.insert(process.pid);
    return watched_.Set(skeleton_->maps.watched, pids);
  }

  int64_t Seen(std::initializer_list<int> errors) const override {
    int64_t seen = 0;
    for (size_t i = 0; i < kErrors.size(); ++i) {
      for (const int error : errors) {
        if (error == kErrors[i]) seen += static_cast<int64_t>(__atomic_load_n(&skeleton_->bss->counts[i], __ATOMIC_RELAXED));
      }
    }
    return seen;
  }

 private:
  BpfPrograms<refusals> skeleton_;
  BpfProcesses watched_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Refusals>> Refusals::Start(const std::string& cgroup) {
  if (!NumbersAreTheKernels()) return absl::UnimplementedError("squall runs in a pid namespace, whose numbers BPF does not know");
  absl::StatusOr<BpfPrograms<refusals>> programs = LoadBpf<refusals>([](auto&) {});
  if (!programs.ok()) return programs.status();
  auto seen = std::make_unique<BpfRefusals>(*std::move(programs));
  const absl::Status attached = seen->Attach(cgroup);
  if (!attached.ok()) return attached;
  return seen;
}

}  // namespace squall
