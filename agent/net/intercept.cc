#include "agent/net/intercept.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "absl/synchronization/mutex.h"
#include "agent/net/bpf.h"
#include "agent/net/intercept.skel.h"
#include "agent/process/cgroup.h"

namespace squall {
namespace {

// The same layout as in intercept.bpf.c.
struct BpfRelay {
  uint16_t port4;
  uint16_t port6;
  uint8_t refusing;
  uint8_t zero[3];
};
struct BpfAttempt {
  uint16_t door;  // network order
  uint16_t zero;
  uint32_t process;
};
struct BpfRefusal {
  uint64_t count;
  uint8_t on;
  uint8_t zero[7];
};
struct BpfOriginal {
  BpfAddress to;
  uint32_t process;
};

class BpfIntercept : public Intercept {
 public:
  explicit BpfIntercept(BpfPrograms<intercept> programs) : skeleton_(std::move(programs)) {}
  ~BpfIntercept() override { Detach(); }

  absl::Status AttachAll(int cgroup_fd, bool by_process) {
    const auto& programs = skeleton_->progs;
    absl::Status status = links_.Attach(cgroup_fd, {programs.file_by_source, programs.getpeername4, programs.getpeername6});
    if (status.ok() && by_process) status = links_.Attach(cgroup_fd, {programs.sock_create});
    return status.ok() ? links_.Attach(cgroup_fd, {programs.connect4, programs.connect6}) : status;
  }

  absl::Status SetNamespace(const NetNamespace& ns) override {
    const absl::StatusOr<uint64_t> cookie = ns.Cookie();
    if (!cookie.ok()) return cookie.status();
    absl::MutexLock lock(&mutex_);
    if (detached_) return absl::FailedPreconditionError("the redirection is gone");
    skeleton_->bss->netns_cookie = *cookie;
    return absl::OkStatus();
  }

  absl::Status Redirect(const Address& to, uint16_t port4, uint16_t port6) override {
    const uint64_t zero = 0;
    const BpfRelay relay = {htons(port4), htons(port6), 0, {}};
    absl::Status status = Update(&Maps::refused, BpfOriginal{ToBpf(to), 0}, zero);
    if (status.ok()) status = Make(&Maps::attempts, BpfAttempt{htons(port4), 0, 0}, zero);
    if (status.ok()) status = Update(&Maps::edges, ToBpf(to), relay);
    return status;
  }

  void Leave(const Address& to) override {
    const std::map<uint32_t, int64_t> refused = Refused(to);
    absl::MutexLock lock(&mutex_);
    const BpfAddress key = ToBpf(to);
    bpf_map_delete_elem(bpf_map__fd(skeleton_->maps.edges), &key);
    BpfOriginal of = {key, 0};
    bpf_map_delete_elem(bpf_map__fd(skeleton_->maps.refused), &of);
    for (const auto& [process, count] : refused) {
      of.process = process;
      bpf_map_delete_elem(bpf_map__fd(skeleton_->maps.refused), &of);
    }
  }

  absl::Status SetRefusing(const Address& to, bool refusing) override {
    const BpfAddress key = ToBpf(to);
    BpfRelay relay;
    {
      absl::MutexLock lock(&mutex_);
      if (detached_) return absl::OkStatus();
      if (bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.edges), &key, &relay) != 0) {
        return absl::NotFoundError("the edge is not redirected");
      }
    }
    relay.refusing = refusing ? 1 : 0;
    return Update(&Maps::edges, key, relay);
  }

  absl::Status SetProcesses(const std::set<pid_t>& pids) override {
    absl::MutexLock lock(&mutex_);
    return detached_ ? absl::OkStatus() : processes_.Set(skeleton_->maps.processes, pids);
  }

  std::optional<Original> TakeOriginal(const Address& source) override {
    absl::MutexLock lock(&mutex_);
    const BpfAddress key = ToBpf(source);
    const int map = bpf_map__fd(skeleton_->maps.by_source);
    BpfOriginal original;
    if (bpf_map_lookup_elem(map, &key, &original) != 0) return std::nullopt;
    bpf_map_delete_elem(map, &key);
    return Original{FromBpf(original.to), original.process};
  }

  std::map<uint32_t, int64_t> Refused(const Address& to) override {
    absl::MutexLock lock(&mutex_);
    std::map<uint32_t, int64_t> refused;
    const int map = bpf_map__fd(skeleton_->maps.refused);
    BpfOriginal key;
    for (bool more = bpf_map_get_next_key(map, nullptr, &key) == 0; more;
         more = bpf_map_get_next_key(map, &key, &key) == 0) {
      uint64_t count = 0;
      if (!(FromBpf(key.to) == to)) continue;
      if (bpf_map_lookup_elem(map, &key, &count) == 0 && count > 0) refused[key.process] = static_cast<int64_t>(count);
    }
    return refused;
  }

  absl::Status SetFaultRefusing(uint16_t port4, bool refusing) override {
    const uint16_t door = htons(port4);
    BpfRefusal refusal = {};
    {
      absl::MutexLock lock(&mutex_);
      if (detached_) return refusing ? absl::FailedPreconditionError("the redirection is gone") : absl::OkStatus();
      const int map = bpf_map__fd(skeleton_->maps.refusals);
      const bool known = bpf_map_lookup_elem(map, &door, &refusal) == 0;
      if (!refusing && (!known || refusal.on == 0)) return absl::OkStatus();
    }
    // What it did stays to be read when it is over.
    if (refusing) refusal.count = 0;
    refusal.on = refusing ? 1 : 0;
    return Update(&Maps::refusals, door, refusal);
  }

  int64_t FaultRefused(uint16_t port4) override {
    absl::MutexLock lock(&mutex_);
    const uint16_t door = htons(port4);
    BpfRefusal refusal = {};
    if (bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.refusals), &door, &refusal) != 0) return 0;
    return static_cast<int64_t>(refusal.count);
  }

  std::map<uint32_t, int64_t> Attempts(uint16_t port4) override {
    absl::MutexLock lock(&mutex_);
    std::map<uint32_t, int64_t> attempts;
    const int map = bpf_map__fd(skeleton_->maps.attempts);
    BpfAttempt key;
    for (bool more = bpf_map_get_next_key(map, nullptr, &key) == 0; more;
         more = bpf_map_get_next_key(map, &key, &key) == 0) {
      uint64_t count = 0;
      if (key.door != htons(port4)) continue;
      if (bpf_map_lookup_elem(map, &key, &count) == 0 && count > 0) attempts[key.process] = static_cast<int64_t>(count);
    }
    return attempts;
  }

  void Detach() override {
    absl::MutexLock lock(&mutex_);
    links_.Detach();
    detached_ = true;
  }

 private:
  using Maps = decltype(intercept::maps);

  template <typename Key, typename Value>
  absl::Status Update(bpf_map* Maps::*which, const Key& key, const Value& value, uint64_t flags = BPF_ANY) {
    absl::MutexLock lock(&mutex_);
    if (detached_) return absl::FailedPreconditionError("the redirection is gone");
    if (bpf_map_update_elem(bpf_map__fd(skeleton_->maps.*which), &key, &value, flags) != 0 &&
        !(flags == BPF_NOEXIST && errno == EEXIST)) {
      return absl::ErrnoToStatus(errno, "cannot write a BPF map");
    }
    return absl::OkStatus();
  }
  // Leaves alone what is there.
  template <typename Key, typename Value>
  absl::Status Make(bpf_map* Maps::*which, const Key& key, const Value& value) {
    return Update(which, key, value, BPF_NOEXIST);
  }

  absl::Mutex mutex_;
  const BpfPrograms<intercept> skeleton_;
  BpfLinks links_;
  bool detached_ = false;  // nothing is redirected any more; what was, and what was counted, can be read
  BpfProcesses processes_;
};

}  // namespace

std::string Intercept::WhyNot(bool by_process) {
  if (geteuid() != 0) return "redirecting connects needs root";
  const absl::StatusOr<std::string> mount = CgroupV2Mount();
  if (!mount.ok()) return std::string(mount.status().message());
  // BPF sees process ids of the initial pid namespace only (its inode is fixed, PROC_PID_INIT_INO).
  struct stat own;
  if (by_process && (stat("/proc/self/ns/pid", &own) != 0 || own.st_ino != 0xEFFFFFFCu)) {
    return "redirecting a service that squall did not start needs an agent outside of containers' pid namespaces";
  }
  return WhyNoCgroupBpf();
}

absl::StatusOr<std::unique_ptr<Intercept>> Intercept::Attach(const std::string& cgroup_path, bool by_process) {
  const absl::StatusOr<Fd> cgroup = OpenCgroup(cgroup_path);
  if (!cgroup.ok()) return cgroup.status();
  absl::StatusOr<BpfPrograms<intercept>> programs =
      LoadBpf<intercept>([&](intercept& opened) { opened.rodata->by_process = by_process ? 1 : 0; });
  if (!programs.ok()) return programs.status();
  auto intercept = std::make_unique<BpfIntercept>(*std::move(programs));
  const absl::Status status = intercept->AttachAll(cgroup->get(), by_process);
  if (!status.ok()) return status;
  return intercept;
}

}  // namespace squall
