#include "agent/net/dns_redirect.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "agent/net/dns_redirect.skel.h"

namespace squall {
namespace {

// The same layout as in dns_redirect.bpf.c.
struct BpfAddress {
  in6_addr ip;
  uint16_t port;  // network order
  uint16_t zero;
};
struct BpfDoor {
  uint16_t port;  // network order
  uint8_t tcp;
  uint8_t v6;
};

class BpfDnsRedirect : public DnsRedirect {
 public:
  explicit BpfDnsRedirect(dns_redirect* skeleton) : skeleton_(skeleton) {}
  ~BpfDnsRedirect() override { Detach(); }

  // What turns answers back comes first: no query may go out whose answer would have a strange sender.
  absl::Status AttachAll(int cgroup_fd) {
    const auto& programs = skeleton_->progs;
    const absl::Status status = AttachSome(
        cgroup_fd, {programs.recvmsg4, programs.recvmsg6, programs.getpeername4, programs.getpeername6}, back_links_);
    return status.ok() ? AttachSome(cgroup_fd, {programs.connect4, programs.connect6, programs.sendmsg4, programs.sendmsg6},
                                    links_)
                       : status;
  }

  absl::Status AddDoor(const DnsDoor& door) override {
    absl::MutexLock lock(&mutex_);
    if (skeleton_ == nullptr) return absl::FailedPreconditionError("the redirection is gone");
    const BpfDoor key = {htons(door.port), door.tcp, door.v6};
    const auto number = static_cast<uint32_t>(door.number);
    const int doors = bpf_map__fd(skeleton_->maps.doors);
    const int ports = bpf_map__fd(skeleton_->maps.ports);
    const uint32_t index = ((door.tcp ? 2u : 0u) + (door.v6 ? 1u : 0u)) * kDoors + number;
    uint32_t port = 0;
    // A door that was moved is no longer where it was.
    if (bpf_map_lookup_elem(ports, &index, &port) == 0 && port != 0) {
      const BpfDoor old = {static_cast<uint16_t>(port), door.tcp, door.v6};
      bpf_map_delete_elem(doors, &old);
    }
    port = htons(door.port);
    if (bpf_map_update_elem(doors, &key, &number, BPF_ANY) != 0 || bpf_map_update_elem(ports, &index, &port, BPF_ANY) != 0) {
      return absl::ErrnoToStatus(errno, "cannot write a BPF map");
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

  absl::Status SetProcesses(const std::set<pid_t>& pids) override {
    absl::MutexLock lock(&mutex_);
    if (skeleton_ == nullptr) return absl::OkStatus();
    const int map = bpf_map__fd(skeleton_->maps.processes);
    const uint8_t one = 1;
    for (const pid_t pid : pids) {
      const auto key = static_cast<uint32_t>(pid);
      if (processes_.count(pid) == 0 && bpf_map_update_elem(map, &key, &one, BPF_ANY) != 0) {
        return absl::ErrnoToStatus(errno, "cannot add a process to the BPF map");
      }
    }
    for (const pid_t pid : processes_) {
      const auto key = static_cast<uint32_t>(pid);
      if (pids.count(pid) == 0) bpf_map_delete_elem(map, &key);
    }
    processes_ = pids;
    return absl::OkStatus();
  }

  std::optional<Address> Server(int number) override {
    absl::MutexLock lock(&mutex_);
    if (skeleton_ == nullptr) return std::nullopt;
    const auto key = static_cast<uint32_t>(number);
    BpfAddress server;
    if (bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.servers), &key, &server) != 0) return std::nullopt;
    Address address;
    address.ip = server.ip;
    address.port = ntohs(server.port);
    return address;
  }

  int64_t LeftAlone() override {
    absl::MutexLock lock(&mutex_);
    return skeleton_ == nullptr ? left_alone_ : static_cast<int64_t>(skeleton_->bss->left_alone);
  }

  void StopQueries() override {
    absl::MutexLock lock(&mutex_);
    for (bpf_link* link : links_) bpf_link__destroy(link);
    links_.clear();
  }

  void Detach() override {
    StopQueries();
    absl::MutexLock lock(&mutex_);
    for (bpf_link* link : back_links_) bpf_link__destroy(link);
    back_links_.clear();
    if (skeleton_ == nullptr) return;
    left_alone_ = static_cast<int64_t>(skeleton_->bss->left_alone);
    dns_redirect__destroy(skeleton_);
    skeleton_ = nullptr;
  }

 private:
  static absl::Status AttachSome(int cgroup_fd, const std::vector<bpf_program*>& programs, std::vector<bpf_link*>& links) {
    for (bpf_program* program : programs) {
      bpf_link* link = bpf_program__attach_cgroup(program, cgroup_fd);
      if (link == nullptr) {
        return absl::ErrnoToStatus(
            errno, absl::StrCat("cannot attach BPF program ", bpf_program__name(program), " to the cgroup"));
      }
      links.push_back(link);
    }
    return absl::OkStatus();
  }

  absl::Mutex mutex_;
  dns_redirect* skeleton_;
  std::vector<bpf_link*> links_;
  std::vector<bpf_link*> back_links_;
  std::set<pid_t> processes_;
  int64_t left_alone_ = 0;
};

int Silent(enum libbpf_print_level, const char*, va_list) { return 0; }

}  // namespace

absl::StatusOr<std::unique_ptr<DnsRedirect>> DnsRedirect::Attach(const std::string& cgroup_path, bool by_process,
                                                                 const std::optional<Address>& nameserver) {
  libbpf_set_print(&Silent);
  const Fd cgroup(open(cgroup_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open cgroup ", cgroup_path));
  dns_redirect* skeleton = dns_redirect__open();
  if (skeleton == nullptr) return absl::ErrnoToStatus(errno, "cannot open the BPF programs");
  skeleton->rodata->by_process = by_process ? 1 : 0;
  if (nameserver) {
    static_assert(sizeof(skeleton->rodata->nameserver_ip) == sizeof(nameserver->ip));
    memcpy(skeleton->rodata->nameserver_ip, &nameserver->ip, sizeof(nameserver->ip));
    skeleton->rodata->nameserver_port = htons(nameserver->port);
  }
  if (dns_redirect__load(skeleton) != 0) {
    const int error = errno;
    dns_redirect__destroy(skeleton);
    return absl::ErrnoToStatus(error, "the kernel refuses the BPF programs");
  }
  auto redirect = std::make_unique<BpfDnsRedirect>(skeleton);
  const absl::Status status = redirect->AttachAll(cgroup.get());
  if (!status.ok()) return status;
  return redirect;
}

}  // namespace squall
