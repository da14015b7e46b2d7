#include "agent/net/intercept.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "agent/net/intercept.skel.h"
#include "agent/process/cgroup.h"

namespace squall {
namespace {

// The same layout as in intercept.bpf.c.
struct BpfAddress {
  in6_addr ip;
  uint16_t port;  // network order
  uint16_t zero;
};
struct BpfRelay {
  uint16_t port4;
  uint16_t port6;
  uint8_t refusing;
  uint8_t zero[3];
};
struct BpfOriginal {
  BpfAddress to;
  uint32_t process;
};

BpfAddress ToBpf(const Address& address) { return {address.ip, htons(address.port), 0}; }

class BpfIntercept : public Intercept {
 public:
  explicit BpfIntercept(intercept* skeleton) : skeleton_(skeleton) {}
  ~BpfIntercept() override { Detach(); }

  absl::Status AttachAll(int cgroup_fd, bool by_process) {
    for (bpf_program* program :
         {skeleton_->progs.file_by_source, skeleton_->progs.getpeername4, skeleton_->progs.getpeername6,
          skeleton_->progs.sock_create, skeleton_->progs.connect4, skeleton_->progs.connect6}) {
      if (program == skeleton_->progs.sock_create && !by_process) continue;
      bpf_link* link = bpf_program__attach_cgroup(program, cgroup_fd);
      if (link == nullptr) {
        return absl::ErrnoToStatus(
            errno, absl::StrCat("cannot attach BPF program ", bpf_program__name(program), " to the cgroup"));
      }
      links_.push_back(link);
    }
    return absl::OkStatus();
  }

  absl::Status SetNamespace(const NetNamespace& ns) override {
    const absl::StatusOr<uint64_t> cookie = ns.Cookie();
    if (!cookie.ok()) return cookie.status();
    absl::MutexLock lock(&mutex_);
    if (skeleton_ == nullptr) return absl::FailedPreconditionError("the redirection is gone");
    skeleton_->bss->netns_cookie = *cookie;
    return absl::OkStatus();
  }

  absl::Status Redirect(const Address& to, uint16_t port4, uint16_t port6) override {
    const uint64_t zero = 0;
    const BpfRelay relay = {htons(port4), htons(port6), 0, {}};
    absl::Status status = Update(&Maps::refused, BpfOriginal{ToBpf(to), 0}, zero);
    if (status.ok()) status = Update(&Maps::edges, ToBpf(to), relay);
    return status;
  }

  absl::Status SetRefusing(const Address& to, bool refusing) override {
    const BpfAddress key = ToBpf(to);
    BpfRelay relay;
    {
      absl::MutexLock lock(&mutex_);
      if (skeleton_ == nullptr) return absl::OkStatus();
      if (bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.edges), &key, &relay) != 0) {
        return absl::NotFoundError("the edge is not redirected");
      }
    }
    relay.refusing = refusing ? 1 : 0;
    return Update(&Maps::edges, key, relay);
  }

  absl::Status SetProcesses(const std::set<pid_t>& pids) override {
    absl::MutexLock lock(&mutex_);
    if (skeleton_ == nullptr) return absl::OkStatus();
    const int map = bpf_map__fd(skeleton_->maps.processes);
    const uint8_t one = 1;
    for (const pid_t pid : pids) {
      const uint32_t key = static_cast<uint32_t>(pid);
      if (processes_.count(pid) == 0 && bpf_map_update_elem(map, &key, &one, BPF_ANY) != 0) {
        return absl::ErrnoToStatus(errno, "cannot add a process to the BPF map");
      }
    }
    for (const pid_t pid : processes_) {
      const uint32_t key = static_cast<uint32_t>(pid);
      if (pids.count(pid) == 0) bpf_map_delete_elem(map, &key);
    }
    processes_ = pids;
    return absl::OkStatus();
  }

  std::optional<Original> TakeOriginal(const Address& source) override {
    absl::MutexLock lock(&mutex_);
    if (skeleton_ == nullptr) return std::nullopt;
    const BpfAddress key = ToBpf(source);
    const int map = bpf_map__fd(skeleton_->maps.by_source);
    BpfOriginal original;
    if (bpf_map_lookup_elem(map, &key, &original) != 0) return std::nullopt;
    bpf_map_delete_elem(map, &key);
    Original found;
    found.to.ip = original.to.ip;
    found.to.port = ntohs(original.to.port);
    found.process = original.process;
    return found;
  }

  std::map<uint32_t, int64_t> Refused(const Address& to) override {
    absl::MutexLock lock(&mutex_);
    std::map<uint32_t, int64_t> refused;
    if (skeleton_ == nullptr) return refused;
    const int map = bpf_map__fd(skeleton_->maps.refused);
    BpfOriginal key;
    for (bool more = bpf_map_get_next_key(map, nullptr, &key) == 0; more;
         more = bpf_map_get_next_key(map, &key, &key) == 0) {
      uint64_t count = 0;
      if (!(Address{key.to.ip, ntohs(key.to.port)} == to)) continue;
      if (bpf_map_lookup_elem(map, &key, &count) == 0 && count > 0) refused[key.process] = static_cast<int64_t>(count);
    }
    return refused;
  }

  void Detach() override {
    absl::MutexLock lock(&mutex_);
    for (bpf_link* link : links_) bpf_link__destroy(link);
    links_.clear();
    if (skeleton_ != nullptr) intercept__destroy(skeleton_);
    skeleton_ = nullptr;
  }

 private:
  using Maps = decltype(intercept::maps);

  template <typename Key, typename Value>
  absl::Status Update(bpf_map* Maps::*which, const Key& key, const Value& value) {
    absl::MutexLock lock(&mutex_);
    if (skeleton_ == nullptr) return absl::FailedPreconditionError("the redirection is gone");
    if (bpf_map_update_elem(bpf_map__fd(skeleton_->maps.*which), &key, &value, BPF_ANY) != 0) {
      return absl::ErrnoToStatus(errno, "cannot write a BPF map");
    }
    return absl::OkStatus();
  }

  absl::Mutex mutex_;
  intercept* skeleton_;
  std::vector<bpf_link*> links_;
  std::set<pid_t> processes_;
};

int Silent(enum libbpf_print_level, const char*, va_list) { return 0; }

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
  return "";
}

absl::StatusOr<std::unique_ptr<Intercept>> Intercept::Attach(const std::string& cgroup_path, bool by_process) {
  libbpf_set_print(&Silent);
  const Fd cgroup(open(cgroup_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open cgroup ", cgroup_path));
  intercept* skeleton = intercept__open();
  if (skeleton == nullptr) return absl::ErrnoToStatus(errno, "cannot open the BPF programs");
  skeleton->rodata->by_process = by_process ? 1 : 0;
  if (intercept__load(skeleton) != 0) {
    const int error = errno;
    intercept__destroy(skeleton);
    return absl::ErrnoToStatus(error, "the kernel refuses the BPF programs");
  }
  auto intercept = std::make_unique<BpfIntercept>(skeleton);
  const absl::Status status = intercept->AttachAll(cgroup.get(), by_process);
  if (!status.ok()) return status;
  return intercept;
}

}  // namespace squall
