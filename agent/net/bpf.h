#pragma once

#include <bpf/libbpf.h>
#include <netinet/in.h>
#include <sys/types.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/net/address.h"
#include "base/fd.h"

// What the classes that load BPF programs share. Nothing here is thread-safe.
namespace squall {

// struct address of address.bpf.h.
struct BpfAddress {
  in6_addr ip;
  uint16_t port;  // network order
  uint16_t zero;
};
BpfAddress ToBpf(const Address& address);
Address FromBpf(const BpfAddress& address);

// The cgroup v2 folder, to attach to.
absl::StatusOr<Fd> OpenCgroup(const std::string& path);

// BPF programs and maps (a skeleton of `bpftool gen skeleton`), owned: destroying them detaches nothing, see BpfLinks.
struct DestroySkeleton {
  template <typename Skeleton>
  void operator()(Skeleton* skeleton) const {
    Skeleton::destroy(skeleton);
  }
};
template <typename Skeleton>
using BpfPrograms = std::unique_ptr<Skeleton, DestroySkeleton>;

// Says why the kernel takes no BPF programs for cgroups from this process; empty: it does. Tries with one that does nothing.
std::string WhyNoCgroupBpf();

// libbpf says nothing on stderr from here on.
void SilenceLibbpf();

// Opens the programs, lets `set_up` write the read-only data, and gives them to the kernel.
template <typename Skeleton, typename SetUp>
absl::StatusOr<BpfPrograms<Skeleton>> LoadBpf(const SetUp& set_up) {
  SilenceLibbpf();
  BpfPrograms<Skeleton> programs(Skeleton::open());
  if (programs == nullptr) return absl::ErrnoToStatus(errno, "cannot open the BPF programs");
  set_up(*programs);
  if (Skeleton::load(programs.get()) != 0) return absl::ErrnoToStatus(errno, "the kernel refuses the BPF programs");
  return programs;
}

// Attachments of programs to cgroups. They end with this object, and with the process that holds it.
class BpfLinks {
 public:
  BpfLinks() = default;
  BpfLinks(const BpfLinks&) = delete;
  BpfLinks& operator=(const BpfLinks&) = delete;
  ~BpfLinks() { Detach(); }

  // In this order. After an error those before the failed one are attached.
  absl::Status Attach(int cgroup_fd, const std::vector<bpf_program*>& programs);
  // The other way round, so that a program never acts without those that it was attached after. Idempotent.
  void Detach();

 private:
  std::vector<bpf_link*> links_;
};

// A set of process ids that is kept in a BPF map as well: its keys.
class BpfProcesses {
 public:
  absl::Status Set(const bpf_map* map, const std::set<pid_t>& pids);

 private:
  std::set<pid_t> pids_;
};

}  // namespace squall
