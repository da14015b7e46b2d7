#pragma once

#include <sys/types.h>

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/net/address.h"
#include "agent/net/netns.h"

namespace squall {

// How a process looks names up: by the nsswitch.conf, hosts and resolv.conf that stand in its root.
struct NameWays {
  pid_t process = 0;                  // 0: the agent itself
  std::optional<Address> nameserver;  // asked instead of the servers of its resolv.conf
};

struct FoundAddresses {
  std::vector<Address> addresses;  // with port 0, without repetition, in the order of the answer
  absl::Duration ttl;              // the least of the answer; zero from a hosts file
};

// IPv4 and IPv6 addresses of `name`, from its hosts file or from a name server that is asked inside `ns`, search domains
// included. Waits no longer than `patience`, and not at all once `cancelled`. NOT_FOUND when the name has no address,
// UNAVAILABLE when nobody says, INVALID_ARGUMENT when no server could be asked at all. Messages say why and do not repeat the name.
// Thread-safe. Names that the process gets elsewhere (nscd, systemd-resolved, mDNS) are what its name servers say.
absl::StatusOr<FoundAddresses> LookUpName(const std::string& name, const NameWays& ways, const NetNamespace& ns,
                                          absl::Duration patience, const std::atomic<bool>& cancelled);

// What a hosts file says of `name`, whose case does not matter. Pure.
std::vector<Address> AddressesInHosts(absl::string_view hosts, absl::string_view name);

}  // namespace squall
