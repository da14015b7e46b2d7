#include "agent/net/live_sockets.h"

#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"

namespace squall {
namespace {

// include/net/tcp_states.h; the user's headers clash over which of them name these.
constexpr int kEstablished = 1, kTimeWait = 6, kListen = 10, kClosing = 11;
constexpr size_t kMostRemotes = 256;

uint32_t StatesMask(bool listening) {
  uint32_t mask = 0;
  for (int state = kEstablished; state <= kClosing; ++state) mask |= 1u << state;
  mask &= ~(1u << kTimeWait);
  return listening ? mask : mask & ~(1u << kListen);
}

// The kernel's filter language: each condition that holds is followed by a jump to the end, which means yes; the last that
// does not hold goes beyond the end, which means no.
std::string AnyOf(const std::vector<Address>& remotes) {
  struct Condition {
    inet_diag_bc_op op;
    // inet_diag_hostcond, whose address has no set length.
    uint8_t family;
    uint8_t prefix_length;
    int port;
    in6_addr ip;
  };
  static_assert(offsetof(Condition, port) == sizeof(inet_diag_bc_op) + offsetof(inet_diag_hostcond, port));
  static_assert(offsetof(Condition, ip) == sizeof(inet_diag_bc_op) + sizeof(inet_diag_hostcond));
  constexpr size_t kJump = sizeof(inet_diag_bc_op);
  const size_t length = remotes.size() * sizeof(Condition) + (remotes.size() - 1) * kJump;
  std::string code;
  for (const Address& remote : remotes) {
    Condition condition = {};
    condition.op = {INET_DIAG_BC_D_COND, sizeof(Condition), sizeof(Condition) + kJump};
    condition.port = remote.port;
    if (remote.IsAny()) {
      condition.family = AF_UNSPEC;
    } else if (remote.IsV4()) {
      condition.family = AF_INET;
      condition.prefix_length = 32;
      memcpy(&condition.ip, &remote.ip.s6_addr[12], 4);
    } else {
      condition.family = AF_INET6;
      condition.prefix_length = 128;
      condition.ip = remote.ip;
    }
    code.append(reinterpret_cast<const char*>(&condition), sizeof(condition));
    if (code.size() == length) break;
    const inet_diag_bc_op jump = {INET_DIAG_BC_JMP, kJump, static_cast<uint16_t>(length - code.size())};
    code.append(reinterpret_cast<const char*>(&jump), sizeof(jump));
  }
  return code;
}

Address FromDiag(int family, const __be32* ip, __be16 port) {
  Address address;
  address.port = ntohs(port);
  if (family == AF_INET) {
    address.ip.s6_addr[10] = address.ip.s6_addr[11] = 0xff;
    memcpy(&address.ip.s6_addr[12], ip, 4);
  } else {
    memcpy(&address.ip, ip, 16);
  }
  return address;
}

struct Parsing {
  int protocol;
  std::vector<LiveSocket>* found;
};

int ParseAttribute(const nlattr* attribute, void* data) {
  auto* socket = static_cast<LiveSocket*>(data);
  const uint16_t type = mnl_attr_get_type(attribute);
  const size_t size = mnl_attr_get_payload_len(attribute);
  if (type == INET_DIAG_CGROUP_ID && size >= sizeof(socket->cgroup_id)) {
    memcpy(&socket->cgroup_id, mnl_attr_get_payload(attribute), sizeof(socket->cgroup_id));
  } else if (type == INET_DIAG_INFO) {
    tcp_info info = {};
    memcpy(&info, mnl_attr_get_payload(attribute), std::min(size, sizeof(info)));
    socket->bytes_to_remote = static_cast<int64_t>(info.tcpi_bytes_acked);
    socket->bytes_from_remote = static_cast<int64_t>(info.tcpi_bytes_received);
  }
  return MNL_CB_OK;
}

int ParseSocket(const nlmsghdr* header, void* data) {
  const auto* parsing = static_cast<Parsing*>(data);
  const auto* message = static_cast<const inet_diag_msg*>(mnl_nlmsg_get_payload(header));
  LiveSocket socket;
  socket.protocol = parsing->protocol;
  socket.family = message->idiag_family;
  socket.state = message->idiag_state;
  socket.local = FromDiag(socket.family, message->id.idiag_src, message->id.idiag_sport);
  if (message->id.idiag_dport != 0) {
    socket.remote = FromDiag(socket.family, message->id.idiag_dst, message->id.idiag_dport);
  }
  socket.cookie = message->id.idiag_cookie[0] | static_cast<uint64_t>(message->id.idiag_cookie[1]) << 32;
  socket.inode = message->idiag_inode;
  socket.interface = message->id.idiag_if;
  mnl_attr_parse(header, sizeof(*message), &ParseAttribute, &socket);
  parsing->found->push_back(socket);
  return MNL_CB_OK;
}

absl::Status Failed(int error, const char* what) {
  if (error == ENOENT || error == EOPNOTSUPP || error == EPROTONOSUPPORT) {
    return absl::UnimplementedError(absl::StrCat("cannot ", what, ": the kernel has no such diagnosis (CONFIG_INET_DIAG, "
                                                 "CONFIG_INET_UDP_DIAG, CONFIG_INET_DIAG_DESTROY)"));
  }
  if (error == EPERM) return absl::PermissionDeniedError(absl::StrCat("cannot ", what, ": needs CAP_NET_ADMIN (root)"));
  return absl::ErrnoToStatus(error, absl::StrCat("cannot ", what));
}

}  // namespace

absl::StatusOr<SocketDiag> SocketDiag::Open(const NetNamespace& ns) {
  absl::StatusOr<Fd> fd = ns.Socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
  if (!fd.ok()) return Failed(EPROTONOSUPPORT, "ask for sockets");
  return SocketDiag(*std::move(fd));
}

absl::StatusOr<std::vector<LiveSocket>> SocketDiag::List(const SocketFilter& filter) {
  if (filter.remotes.size() > kMostRemotes) {
    return absl::InvalidArgumentError(absl::StrCat("more than ", kMostRemotes, " addresses to look for"));
  }
  std::vector<LiveSocket> found;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const int protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
      if (protocol == IPPROTO_TCP ? !filter.tcp : !filter.udp) continue;
      const absl::Status status = Dump(protocol, family, filter, found);
      if (!status.ok()) return status;
    }
  }
  return found;
}

absl::Status SocketDiag::Dump(int protocol, int family, const SocketFilter& filter, std::vector<LiveSocket>& found) {
  alignas(nlmsghdr) char ask[16384];
  nlmsghdr* header = mnl_nlmsg_put_header(ask);
  header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
  header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  header->nlmsg_seq = ++sequence_;
  auto* request = static_cast<inet_diag_req_v2*>(mnl_nlmsg_put_extra_header(header, sizeof(inet_diag_req_v2)));
  request->sdiag_family = static_cast<uint8_t>(family);
  request->sdiag_protocol = static_cast<uint8_t>(protocol);
  request->idiag_states = StatesMask(filter.listening);
  if (filter.bytes && protocol == IPPROTO_TCP) request->idiag_ext = 1 << (INET_DIAG_INFO - 1);
  if (!filter.remotes.empty()) {
    const std::string code = AnyOf(filter.remotes);
    mnl_attr_put(header, INET_DIAG_REQ_BYTECODE, code.size(), code.data());
  }
  if (send(fd_.get(), ask, header->nlmsg_len, 0) < 0) return Failed(errno, "ask for sockets");
  // Larger than any message, and than what the kernel puts into one answer.
  std::vector<char> answer(65536);
  Parsing parsing = {protocol, &found};
  while (true) {
    const ssize_t size = recv(fd_.get(), answer.data(), answer.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return Failed(errno, "ask for sockets");
    const int went = mnl_cb_run(answer.data(), static_cast<size_t>(size), sequence_, 0, &ParseSocket, &parsing);
    if (went < 0) return Failed(errno, "ask for sockets");
    if (went == MNL_CB_STOP) return absl::OkStatus();
  }
}

absl::Status SocketDiag::Destroy(const LiveSocket& socket) {
  alignas(nlmsghdr) char ask[256];
  nlmsghdr* header = mnl_nlmsg_put_header(ask);
  header->nlmsg_type = SOCK_DESTROY;
  header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  header->nlmsg_seq = ++sequence_;
  auto* request = static_cast<inet_diag_req_v2*>(mnl_nlmsg_put_extra_header(header, sizeof(inet_diag_req_v2)));
  request->sdiag_family = static_cast<uint8_t>(socket.family);
  request->sdiag_protocol = static_cast<uint8_t>(socket.protocol);
  request->idiag_states = ~0u;
  request->id.idiag_sport = htons(socket.local.port);
  request->id.idiag_dport = htons(socket.remote.port);
  const bool v4 = socket.family == AF_INET;
  memcpy(request->id.idiag_src, &socket.local.ip.s6_addr[v4 ? 12 : 0], v4 ? 4 : 16);
  memcpy(request->id.idiag_dst, &socket.remote.ip.s6_addr[v4 ? 12 : 0], v4 ? 4 : 16);
  request->id.idiag_if = socket.interface;
  // The cookie: only this socket, not one that has got the same addresses since.
  request->id.idiag_cookie[0] = static_cast<uint32_t>(socket.cookie);
  request->id.idiag_cookie[1] = static_cast<uint32_t>(socket.cookie >> 32);
  constexpr char kWhat[] = "end a connection";
  if (send(fd_.get(), ask, header->nlmsg_len, 0) < 0) return Failed(errno, kWhat);
  char answer[8192];
  ssize_t size;
  while ((size = recv(fd_.get(), answer, sizeof(answer), 0)) < 0 && errno == EINTR) {
  }
  if (size < 0) return Failed(errno, kWhat);
  if (mnl_cb_run(answer, static_cast<size_t>(size), sequence_, 0, nullptr, nullptr) >= 0) return absl::OkStatus();
  // No such socket (any more), or one of another cookie.
  if (errno == ENOENT || errno == ESTALE) return absl::OkStatus();
  return Failed(errno, kWhat);
}

absl::Status SocketDiag::CanDestroy(const NetNamespace& ns) {
  absl::StatusOr<SocketDiag> diag = Open(ns);
  if (!diag.ok()) return diag.status();
  // A socket that nobody listens on and nobody has connected: bound is not enough to be looked up, a listener is.
  absl::StatusOr<Fd> fd = ns.Socket(AF_INET, SOCK_STREAM);
  if (!fd.ok()) return fd.status();
  if (listen(fd->get(), 1) != 0) return absl::ErrnoToStatus(errno, "cannot listen");
  LiveSocket own;
  own.protocol = IPPROTO_TCP;
  own.family = AF_INET;
  sockaddr_storage storage;
  socklen_t length = sizeof(storage);
  getsockname(fd->get(), reinterpret_cast<sockaddr*>(&storage), &length);
  own.local = FromSockaddr(storage);
  length = sizeof(own.cookie);
  getsockopt(fd->get(), SOL_SOCKET, SO_COOKIE, &own.cookie, &length);
  return diag->Destroy(own);
}

absl::StatusOr<std::set<uint64_t>> SocketInodes(const std::vector<ProcessId>& processes) {
  std::set<uint64_t> inodes;
  for (const ProcessId& process : processes) {
    const std::vector<uint64_t> held = SocketInodesOf(process.pid);
    if (held.empty() && IsAlive(process) && CountFds(process.pid) < 0) {
      return absl::PermissionDeniedError(absl::StrCat("cannot see the sockets of pid ", process.pid, " (needs root)"));
    }
    inodes.insert(held.begin(), held.end());
  }
  return inodes;
}

absl::StatusOr<std::vector<LiveSocket>> SocketsOf(const std::vector<ProcessId>& processes, const NetNamespace& ns,
                                                  const SocketFilter& filter) {
  absl::StatusOr<SocketDiag> diag = SocketDiag::Open(ns);
  if (!diag.ok()) return diag.status();
  // The sockets first: an inode that is used again by another process meanwhile would make its socket one of these.
  absl::StatusOr<std::vector<LiveSocket>> sockets = diag->List(filter);
  if (!sockets.ok() || sockets->empty()) return sockets;
  const absl::StatusOr<std::set<uint64_t>> inodes = SocketInodes(processes);
  if (!inodes.ok()) return inodes.status();
  sockets->erase(std::remove_if(sockets->begin(), sockets->end(),
                                [&](const LiveSocket& s) { return s.inode == 0 || inodes->count(s.inode) == 0; }),
                 sockets->end());
  return sockets;
}

}  // namespace squall
