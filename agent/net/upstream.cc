#include "agent/net/upstream.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <cerrno>
#include <cstring>

#include "base/clock.h"

namespace squall {

constexpr int64_t kProbeEveryNs = 50'000'000;

absl::StatusOr<Upstream> Upstream::Watch(const NetNamespace& ns, const Address& address, const Upstream* like) {
  Upstream upstream;
  upstream.address_ = address;
  upstream.ns_ = &ns;
  // An address to which a socket can be bound is of this network namespace.
  absl::StatusOr<Fd> test = ns.Socket(address.Family(), SOCK_STREAM);
  if (!test.ok()) return test.status();
  Address any_port = address;
  any_port.port = 0;
  sockaddr_storage storage;
  const socklen_t length = any_port.ToSockaddr(storage);
  upstream.local_ = bind(test->get(), reinterpret_cast<sockaddr*>(&storage), length) == 0;
  if (upstream.local_ && like != nullptr) upstream.diag_ = like->diag_;
  if (upstream.local_ && upstream.diag_ == nullptr) {
    absl::StatusOr<Fd> diag = ns.Socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
    if (diag.ok()) upstream.diag_ = std::make_shared<const Fd>(*std::move(diag));
  }
  upstream.accepts_ = upstream.local_ && upstream.diag_ ? upstream.HasListener() : true;
  return upstream;
}

bool Upstream::Accepts() {
  if (local_ && diag_) return accepts_ = HasListener();
  if (!accepts_) accepts_ = Probe();
  return accepts_;
}

// One exact look-up: the socket that a SYN to `address_` would reach.
bool Upstream::HasListener() {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } ask = {};
  ask.header.nlmsg_len = sizeof(ask);
  ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  ask.header.nlmsg_flags = NLM_F_REQUEST;
  ask.request.sdiag_family = static_cast<uint8_t>(address_.Family());
  ask.request.sdiag_protocol = IPPROTO_TCP;
  ask.request.idiag_states = ~0u;
  ask.request.id.idiag_sport = htons(address_.port);
  ask.request.id.idiag_dport = htons(1);
  ask.request.id.idiag_cookie[0] = ask.request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  if (address_.IsV4()) {
    memcpy(ask.request.id.idiag_src, &address_.ip.s6_addr[12], 4);
    memcpy(ask.request.id.idiag_dst, &address_.ip.s6_addr[12], 4);
  } else {
    memcpy(ask.request.id.idiag_src, &address_.ip, 16);
    memcpy(ask.request.id.idiag_dst, &address_.ip, 16);
  }
  if (send(diag_->get(), &ask, sizeof(ask), 0) != static_cast<ssize_t>(sizeof(ask))) return true;
  char answer[8192];
  const ssize_t size = recv(diag_->get(), answer, sizeof(answer), MSG_DONTWAIT);
  if (size < static_cast<ssize_t>(sizeof(nlmsghdr))) return true;
  const auto* header = reinterpret_cast<const nlmsghdr*>(answer);
  if (header->nlmsg_type == NLMSG_ERROR) {
    const auto* error = static_cast<const nlmsgerr*>(NLMSG_DATA(header));
    return error->error != -ENOENT;  // what the kernel cannot tell is not held against the dependency
  }
  const auto* found = static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
  return found->idiag_state == TCP_LISTEN;
}

bool Upstream::Probe() {
  const int64_t now = BootNanos();
  if (!probe_) {
    if (now < next_probe_ns_) return false;
    next_probe_ns_ = now + kProbeEveryNs;
    absl::StatusOr<Fd> fd = ns_->Socket(address_.Family(), SOCK_STREAM | SOCK_NONBLOCK);
    if (!fd.ok()) return false;
    sockaddr_storage storage;
    const socklen_t length = address_.ToSockaddr(storage);
    if (connect(fd->get(), reinterpret_cast<sockaddr*>(&storage), length) == 0) return true;
    if (errno == EINPROGRESS) probe_ = *std::move(fd);
    return false;
  }
  pollfd ready = {probe_.get(), POLLOUT, 0};
  if (poll(&ready, 1, 0) == 1) {
    int error = 0;
    socklen_t length = sizeof(error);
    getsockopt(probe_.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    probe_.Reset();
    return error == 0;
  }
  if (now > next_probe_ns_ + 1'000'000'000) probe_.Reset();  // no answer at all: ask anew
  return false;
}

}  // namespace squall
