#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace squall {

// An IP address and a TCP port. IPv4 is kept as ::ffff:a.b.c.d. :: stands for any address, of which the port counts. A value
// type.
struct Address {
  in6_addr ip = {};
  uint16_t port = 0;  // host order

  bool IsV4() const { return IN6_IS_ADDR_V4MAPPED(&ip); }
  // AF_INET for IPv4, AF_INET6 else.
  int Family() const { return IsV4() ? AF_INET : AF_INET6; }
  // Returns the length.
  socklen_t ToSockaddr(sockaddr_storage& out) const;
  bool IsAny() const { return IN6_IS_ADDR_UNSPECIFIED(&ip); }
  // "127.0.0.1:80", "[::1]:80", "*:80".
  std::string ToString() const;
  friend bool operator==(const Address& a, const Address& b) {
    return a.port == b.port && IN6_ARE_ADDR_EQUAL(&a.ip, &b.ip);
  }
};

Address AnyAddress(uint16_t port);

Address FromSockaddr(const sockaddr_storage& from);

// Splits "host:port". INVALID_ARGUMENT says what is wrong.
absl::StatusOr<std::pair<std::string, int>> SplitHostPort(absl::string_view text);

// "127.0.0.1:53", "[::1]:53": a literal address, looked up nowhere. INVALID_ARGUMENT says what is wrong.
absl::StatusOr<Address> ParseAddress(absl::string_view text);

// Every address that "host:port" stands for: one for a literal, else what the host's resolver says. NOT_FOUND when the
// name has none.
absl::StatusOr<std::vector<Address>> ResolveAddress(absl::string_view text);

}  // namespace squall
