#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/net/address.h"
#include "agent/net/netns.h"
#include "base/fd.h"

namespace squall {

// Sends whole IP packets, with any source address and with NftTable::kMark, by which squall's own rules leave them alone. One to an
// address of this namespace arrives over loopback. Thread-safe.
class RawSender {
 public:
  // PERMISSION_DENIED without CAP_NET_RAW and CAP_NET_ADMIN.
  static absl::StatusOr<RawSender> Open(const NetNamespace& ns);
  // `interface`: index, for link-local addresses. False: it did not go out, as when it is larger than the way's MTU.
  bool Send(absl::string_view packet, const Address& destination, uint32_t interface) const;

 private:
  Fd fds_[2];  // IPv4; IPv6, where the host has it
};

}  // namespace squall
