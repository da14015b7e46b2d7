#include "agent/net/address.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace squall {

socklen_t Address::ToSockaddr(sockaddr_storage& out) const {
  out = {};
  if (IsV4()) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    memcpy(&v4->sin_addr, &ip.s6_addr[12], 4);
    return sizeof(sockaddr_in);
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(port);
  v6->sin6_addr = ip;
  return sizeof(sockaddr_in6);
}

std::string Address::ToString() const {
  if (IsAny()) return absl::StrCat("*:", port);
  char text[INET6_ADDRSTRLEN];
  if (IsV4()) {
    inet_ntop(AF_INET, &ip.s6_addr[12], text, sizeof(text));
    return absl::StrCat(text, ":", port);
  }
  inet_ntop(AF_INET6, &ip, text, sizeof(text));
  return absl::StrCat("[", text, "]:", port);
}

Address AnyAddress(uint16_t port) {
  Address address;
  address.port = port;
  return address;
}

Address FromSockaddr(const sockaddr_storage& from) {
  Address address;
  if (from.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(from);
    address.ip.s6_addr[10] = address.ip.s6_addr[11] = 0xff;
    memcpy(&address.ip.s6_addr[12], &v4.sin_addr, 4);
    address.port = ntohs(v4.sin_port);
  } else {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(from);
    address.ip = v6.sin6_addr;
    address.port = ntohs(v6.sin6_port);
  }
  return address;
}

absl::StatusOr<std::pair<std::string, int>> SplitHostPort(absl::string_view text) {
  const size_t colon = text.rfind(':');
  int port = 0;
  if (colon == absl::string_view::npos || colon == 0 || !absl::SimpleAtoi(text.substr(colon + 1), &port) ||
      port < 1 || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' is not host:port"));
  }
  absl::string_view host = text.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "': an IPv6 address is written in brackets: [", host, "]:", port));
  }
  return std::make_pair(std::string(host), port);
}

absl::StatusOr<Address> ParseAddress(absl::string_view text) {
  const auto split = SplitHostPort(text);
  if (!split.ok()) return split.status();
  Address address;
  address.port = static_cast<uint16_t>(split->second);
  if (inet_pton(AF_INET, split->first.c_str(), &address.ip.s6_addr[12]) == 1) {
    address.ip.s6_addr[10] = address.ip.s6_addr[11] = 0xff;
  } else if (inet_pton(AF_INET6, split->first.c_str(), &address.ip) != 1) {
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' is no IP address with a port"));
  }
  return address;
}

absl::StatusOr<std::vector<Address>> ResolveAddress(absl::string_view text) {
  const auto split = SplitHostPort(text);
  if (!split.ok()) return split.status();
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(split->first.c_str(), nullptr, &hints, &found);
  if (error != 0) {
    return absl::NotFoundError(absl::StrCat("no address for '", split->first, "': ", gai_strerror(error)));
  }
  std::vector<Address> addresses;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    sockaddr_storage storage = {};
    memcpy(&storage, entry->ai_addr, std::min<size_t>(entry->ai_addrlen, sizeof(storage)));
    Address address = FromSockaddr(storage);
    address.port = static_cast<uint16_t>(split->second);
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) addresses.push_back(address);
  }
  freeaddrinfo(found);
  return addresses;
}

}  // namespace squall
