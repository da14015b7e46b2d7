#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <string>

#include "agent/net/address.h"
#include "base/fd.h"

#include <ldns/ldns.h>  // last: it defines true and false as macros

// DNS queries over plain sockets, for tests.
namespace squall {

inline std::string MakeQuery(const std::string& name, ldns_rr_type type = LDNS_RR_TYPE_A, uint16_t id = 4711) {
  ldns_pkt* packet = ldns_pkt_query_new(ldns_dname_new_frm_str(name.c_str()), type, LDNS_RR_CLASS_IN, LDNS_RD);
  ldns_pkt_set_id(packet, id);
  uint8_t* bytes = nullptr;
  size_t size = 0;
  ldns_pkt2wire(&bytes, packet, &size);
  const std::string wire(reinterpret_cast<char*>(bytes), size);
  free(bytes);
  ldns_pkt_free(packet);
  return wire;
}

// "NOERROR 10.0.0.1 10.0.0.2", "NXDOMAIN", or "nothing" for what is no message.
inline std::string Told(const std::string& wire) {
  ldns_pkt* packet = nullptr;
  if (ldns_wire2pkt(&packet, reinterpret_cast<const uint8_t*>(wire.data()), wire.size()) != LDNS_STATUS_OK) return "nothing";
  char* code = ldns_pkt_rcode2str(ldns_pkt_get_rcode(packet));
  std::string told = code;
  free(code);
  for (size_t i = 0; i < ldns_pkt_ancount(packet); ++i) {
    char* address = ldns_rdf2str(ldns_rr_rdf(ldns_rr_list_rr(ldns_pkt_answer(packet), i), 0));
    told += std::string(" ") + address;
    free(address);
  }
  ldns_pkt_free(packet);
  return told;
}

// A client's socket, connected to a server.
class DnsClient {
 public:
  DnsClient(const Address& to, bool tcp) : tcp_(tcp), fd_(socket(to.Family(), tcp ? SOCK_STREAM : SOCK_DGRAM, 0)) {
    sockaddr_storage storage;
    const socklen_t length = to.ToSockaddr(storage);
    connected_ = connect(fd_.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0;
  }
  bool connected() const { return connected_; }
  int fd() const { return fd_.get(); }

  bool Write(const std::string& bytes) {
    return send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  bool Send(const std::string& message) {
    const auto size = message.size();
    const std::string length = {static_cast<char>(size >> 8), static_cast<char>(size & 0xff)};
    return Write(tcp_ ? length + message : message);
  }
  // Empty: nothing came in time, or the connection ended.
  std::string Receive(int timeout_ms = 10'000) {
    if (!tcp_) return Read(timeout_ms, 65535, /*whole=*/false);
    const std::string length = Read(timeout_ms, 2, /*whole=*/true);
    if (length.size() < 2) return "";
    return Read(timeout_ms, static_cast<size_t>(static_cast<uint8_t>(length[0]) << 8 | static_cast<uint8_t>(length[1])), true);
  }
  std::string Ask(const std::string& message, int timeout_ms = 10'000) {
    return Send(message) ? Receive(timeout_ms) : "";
  }

 private:
  std::string Read(int timeout_ms, size_t size, bool whole) {
    std::string bytes;
    while (bytes.size() < size) {
      pollfd ready = {fd_.get(), POLLIN, 0};
      if (poll(&ready, 1, timeout_ms) != 1) return "";
      std::string piece(size - bytes.size(), '\0');
      const ssize_t got = recv(fd_.get(), piece.data(), piece.size(), 0);
      if (got <= 0) return "";
      bytes += piece.substr(0, static_cast<size_t>(got));
      if (!whole) break;
    }
    return bytes;
  }

  const bool tcp_;
  Fd fd_;
  bool connected_ = false;
};

}  // namespace squall
