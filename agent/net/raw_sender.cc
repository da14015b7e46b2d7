#include "agent/net/raw_sender.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "agent/net/nft_table.h"

namespace squall {

absl::StatusOr<RawSender> RawSender::Open(const NetNamespace& ns) {
  RawSender sender;
  for (const int family : {AF_INET, AF_INET6}) {
    absl::StatusOr<Fd> fd = ns.Socket(family, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_RAW);
    if (!fd.ok() && family == AF_INET6) break;  // a host without IPv6 has no IPv6 packets either
    if (!fd.ok()) return fd.status();
    const uint32_t mark = NftTable::kMark;
    if (setsockopt(fd->get(), SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) != 0) {
      return absl::PermissionDeniedError("cannot mark packets (needs root)");
    }
    const int bytes = 4 << 20;
    setsockopt(fd->get(), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
    sender.fds_[family == AF_INET6] = *std::move(fd);
  }
  return sender;
}

bool RawSender::Send(absl::string_view packet, const Address& destination, uint32_t interface) const {
  Address to = destination;
  to.port = 0;  // a raw socket takes it for a protocol
  sockaddr_storage storage;
  const socklen_t length = to.ToSockaddr(storage);
  if (IN6_IS_ADDR_LINKLOCAL(&to.ip)) reinterpret_cast<sockaddr_in6&>(storage).sin6_scope_id = interface;
  return sendto(fds_[!to.IsV4()].get(), packet.data(), packet.size(), 0, reinterpret_cast<sockaddr*>(&storage), length) >= 0;
}

}  // namespace squall
