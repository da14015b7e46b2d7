#include "agent/net/dns_redirect.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include <cerrno>
#include <cstring>

#include "absl/synchronization/mutex.h"
#include "agent/net/bpf.h"
#include "agent/net/dns_redirect.skel.h"

namespace squall {
namespace {

// The same layout as in dns_redirect.bpf.c.
struct BpfDoor {
  uint16_t port;  // network order
  uint8_t tcp;
  uint8_t v6;
};

class BpfDnsRedirect : public DnsRedirect {
 public:
  explicit BpfDnsRedirect(BpfPrograms<dns_redirect> programs) : skeleton_(std::move(programs)) {}
  ~BpfDnsRedirect() override { Detach(); }

  // What turns answers back comes first: no query may go out whose answer would have a strange sender.
  absl::Status AttachAll(int cgroup_fd) {
    const auto& programs = skeleton_->progs;
    const absl::Status status =
        back_links_.Attach(cgroup_fd, {programs.recvmsg4, programs.recvmsg6, programs.getpeername4, programs.getpeername6});
    return status.ok()
               ? links_.Attach(cgroup_fd, {programs.connect4, programs.connect6, programs.sendmsg4, programs.sendmsg6})
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
    return skeleton_ == nullptr ? absl::OkStatus() : processes_.Set(skeleton_->maps.processes, pids);
  }

  std::optional<Address> Server(int number) override {
    absl::MutexLock lock(&mutex_);
    if (skeleton_ == nullptr) return std::nullopt;
    const auto key = static_cast<uint32_t>(number);
    BpfAddress server;
    if (bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.servers), &key, &server) != 0) return std::nullopt;
    return FromBpf(server);
  }

  int64_t LeftAlone() override {
    absl::MutexLock lock(&mutex_);
    return skeleton_ == nullptr ? left_alone_ : static_cast<int64_t>(skeleton_->bss->left_alone);
  }

  void StopQueries() override {
    absl::MutexLock lock(&mutex_);
    links_.Detach();
  }

  void Detach() override {
    StopQueries();
    absl::MutexLock lock(&mutex_);
    back_links_.Detach();
    if (skeleton_ == nullptr) return;
    left_alone_ = static_cast<int64_t>(skeleton_->bss->left_alone);
    skeleton_.reset();
  }

 private:
  absl::Mutex mutex_;
  BpfPrograms<dns_redirect> skeleton_;
  BpfLinks links_;
  BpfLinks back_links_;
  BpfProcesses processes_;
  int64_t left_alone_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DnsRedirect>> DnsRedirect::Attach(const std::string& cgroup_path, bool by_process,
                                                                 const std::optional<Address>& nameserver) {
  const absl::StatusOr<Fd> cgroup = OpenCgroup(cgroup_path);
  if (!cgroup.ok()) return cgroup.status();
  absl::StatusOr<BpfPrograms<dns_redirect>> programs = LoadBpf<dns_redirect>([&](dns_redirect& opened) {
    opened.rodata->by_process = by_process ? 1 : 0;
    if (!nameserver) return;
    static_assert(sizeof(opened.rodata->nameserver_ip) == sizeof(nameserver->ip));
    memcpy(opened.rodata->nameserver_ip, &nameserver->ip, sizeof(nameserver->ip));
    opened.rodata->nameserver_port = htons(nameserver->port);
  });
  if (!programs.ok()) return programs.status();
  auto redirect = std::make_unique<BpfDnsRedirect>(*std::move(programs));
  const absl::Status status = redirect->AttachAll(cgroup->get());
  if (!status.ok()) return status;
  return redirect;
}

}  // namespace squall
