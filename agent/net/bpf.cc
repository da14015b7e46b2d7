#include "agent/net/bpf.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>

#include <iterator>

#include "absl/strings/str_cat.h"

namespace squall {

BpfAddress ToBpf(const Address& address) { return {address.ip, htons(address.port), 0}; }

Address FromBpf(const BpfAddress& address) { return {address.ip, ntohs(address.port)}; }

absl::StatusOr<Fd> OpenCgroup(const std::string& path) {
  Fd cgroup(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open cgroup ", path));
  return cgroup;
}

std::string WhyNoCgroupBpf() {
  SilenceLibbpf();
  const bpf_insn allow[] = {{BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
  bpf_prog_load_opts options = {};
  options.sz = sizeof(options);
  options.expected_attach_type = BPF_CGROUP_INET4_CONNECT;
  const Fd program(bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "squall_probe", "Apache-2.0", allow, std::size(allow), &options));
  if (program) return "";
  const int error = errno;
  if (error == EPERM || error == EACCES) {
    return "the kernel lets this process load no BPF programs; in a container, give it CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN";
  }
  if (error == EINVAL || error == ENOSYS) {
    return "this kernel has no BPF programs for cgroups; build it with CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF";
  }
  return std::string(absl::ErrnoToStatus(error, "the kernel refuses BPF programs").message());
}

void SilenceLibbpf() {
  libbpf_set_print([](enum libbpf_print_level, const char*, va_list) { return 0; });
}

absl::Status BpfLinks::Attach(int cgroup_fd, const std::vector<bpf_program*>& programs) {
  for (bpf_program* program : programs) {
    bpf_link* link = bpf_program__attach_cgroup(program, cgroup_fd);
    if (link == nullptr) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot attach BPF program ", bpf_program__name(program), " to the cgroup"));
    }
    links_.push_back(link);
  }
  return absl::OkStatus();
}

void BpfLinks::Detach() {
  for (auto link = links_.rbegin(); link != links_.rend(); ++link) bpf_link__destroy(*link);
  links_.clear();
}

absl::Status BpfProcesses::Set(const bpf_map* map, const std::set<pid_t>& pids) {
  const int fd = bpf_map__fd(map);
  const uint8_t one = 1;
  for (const pid_t pid : pids) {
    const auto key = static_cast<uint32_t>(pid);
    if (pids_.count(pid) == 0 && bpf_map_update_elem(fd, &key, &one, BPF_ANY) != 0) {
      return absl::ErrnoToStatus(errno, "cannot add a process to the BPF map");
    }
  }
  for (const pid_t pid : pids_) {
    const auto key = static_cast<uint32_t>(pid);
    if (pids.count(pid) == 0) bpf_map_delete_elem(fd, &key);
  }
  pids_ = pids;
  return absl::OkStatus();
}

}  // namespace squall
