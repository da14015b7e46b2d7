#pragma once

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/net/address.h"
#include "agent/net/netns.h"
#include "agent/process/proc.h"
#include "base/fd.h"

namespace squall {

// A TCP or UDP socket as the kernel describes it. A value type.
struct LiveSocket {
  int protocol = 0;        // IPPROTO_TCP or IPPROTO_UDP
  int family = 0;          // AF_INET6 for a v4-mapped socket too, whose addresses are IPv4
  int state = 0;           // TCP_ESTABLISHED and so on; of UDP: TCP_ESTABLISHED when it is connected, else TCP_CLOSE
  Address local;
  Address remote;          // the zero address, port 0, when it is not connected
  uint64_t cookie = 0;     // as SO_COOKIE and bpf_get_socket_cookie
  uint64_t inode = 0;      // of its descriptor; 0: no process has it (any more, or yet)
  uint64_t cgroup_id = 0;  // of the cgroup v2 in which it was made; 0 before Linux 5.9
  uint32_t interface = 0;  // index, where it is bound to one
  // TCP payload since it was made, where SocketFilter::bytes asks for it. To the remote: what that has acknowledged.
  int64_t bytes_to_remote = 0;
  int64_t bytes_from_remote = 0;
};

struct SocketFilter {
  bool tcp = true;
  bool udp = true;
  bool listening = false;  // sockets in LISTEN too
  bool bytes = false;      // takes each socket's lock for a moment
  // Only sockets connected to one of these; an address of zeroes (::) stands for any. Looked through by the kernel, so that
  // what is not asked for costs next to nothing. At most 256. Empty: all.
  std::vector<Address> remotes;
};

// Asks the kernel for the sockets of one network namespace (NETLINK_SOCK_DIAG). Sockets in TIME_WAIT belong to nobody and are
// not among them. Not thread-safe.
class SocketDiag {
 public:
  static absl::StatusOr<SocketDiag> Open(const NetNamespace& ns);

  // Everybody's. UNIMPLEMENTED when the kernel has no such diagnosis.
  absl::StatusOr<std::vector<LiveSocket>> List(const SocketFilter& filter);
  // Ends a TCP connection: whoever has it sees ECONNABORTED, and its peer a reset. OK as well when it is gone already.
  // PERMISSION_DENIED without CAP_NET_ADMIN, UNIMPLEMENTED when the kernel was built without CONFIG_INET_DIAG_DESTROY.
  absl::Status Destroy(const LiveSocket& socket);
  // What Destroy would fail with, found out on a socket of its own.
  static absl::Status CanDestroy(const NetNamespace& ns);

 private:
  explicit SocketDiag(Fd fd) : fd_(std::move(fd)) {}
  absl::Status Dump(int protocol, int family, const SocketFilter& filter, std::vector<LiveSocket>& found);
  Fd fd_;
  uint32_t sequence_ = 0;
};

// Inodes of the sockets that the processes hold. Processes that are gone hold none; PERMISSION_DENIED for those whose
// descriptors may not be seen. Thread-safe.
absl::StatusOr<std::set<uint64_t>> SocketInodes(const std::vector<ProcessId>& processes);

// The sockets of `ns` that `processes` hold, those accepted by them included. What is made while this looks may be missing.
absl::StatusOr<std::vector<LiveSocket>> SocketsOf(const std::vector<ProcessId>& processes, const NetNamespace& ns,
                                                  const SocketFilter& filter = {});

}  // namespace squall
