// A DNS server for tests: tells the addresses that it was given, over UDP and TCP, and that other names do not exist.
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tests/target/flags.h"

#include <ldns/ldns.h>  // last: it defines true and false as macros

namespace squall::target {
namespace {

constexpr uint32_t kTtl = 60;
constexpr size_t kMostConnections = 128;

// Addresses by name, lower case, without the final dot.
using Records = std::multimap<std::string, std::string>;

bool IsV6(const std::string& address) { return address.find(':') != std::string::npos; }

// "recommend.test=127.0.0.1".
bool Add(const std::string& text, Records& records) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) return false;
  const std::string address = text.substr(equals + 1);
  in6_addr ip;
  if (inet_pton(IsV6(address) ? AF_INET6 : AF_INET, address.c_str(), &ip) != 1) return false;
  records.emplace(absl::AsciiStrToLower(absl::StripSuffix(text.substr(0, equals), ".")), address);
  return true;
}

void AddRecords(const Records& records, const ldns_rr& question, ldns_pkt& reply) {
  char* text = ldns_rdf2str(ldns_rr_owner(&question));
  const std::string name = absl::AsciiStrToLower(absl::StripSuffix(text, "."));
  free(text);
  const auto [from, to] = records.equal_range(name);
  if (from == to) ldns_pkt_set_rcode(&reply, LDNS_RCODE_NXDOMAIN);
  for (auto record = from; record != to; ++record) {
    const ldns_rr_type type = IsV6(record->second) ? LDNS_RR_TYPE_AAAA : LDNS_RR_TYPE_A;
    if (ldns_rr_get_type(&question) != type && ldns_rr_get_type(&question) != LDNS_RR_TYPE_ANY) continue;
    ldns_rr* answer = ldns_rr_new();
    ldns_rr_set_owner(answer, ldns_rdf_clone(ldns_rr_owner(&question)));
    ldns_rr_set_type(answer, type);
    ldns_rr_set_class(answer, LDNS_RR_CLASS_IN);
    ldns_rr_set_ttl(answer, kTtl);
    ldns_rr_push_rdf(answer, ldns_rdf_new_frm_str(type == LDNS_RR_TYPE_A ? LDNS_RDF_TYPE_A : LDNS_RDF_TYPE_AAAA,
                                                  record->second.c_str()));
    ldns_pkt_push_rr(&reply, LDNS_SECTION_ANSWER, answer);
  }
}

// Empty: what came is no query.
std::string Reply(const Records& records, const std::string& message) {
  ldns_pkt* query = nullptr;
  if (ldns_wire2pkt(&query, reinterpret_cast<const uint8_t*>(message.data()), message.size()) != LDNS_STATUS_OK) return "";
  std::string wire;
  if (!ldns_pkt_qr(query) && ldns_pkt_qdcount(query) == 1) {
    ldns_pkt* reply = ldns_pkt_new();
    const ldns_rr* question = ldns_rr_list_rr(ldns_pkt_question(query), 0);
    ldns_pkt_set_id(reply, ldns_pkt_id(query));
    ldns_pkt_set_qr(reply, true);
    ldns_pkt_set_aa(reply, true);
    ldns_pkt_set_rd(reply, ldns_pkt_rd(query));
    ldns_pkt_push_rr(reply, LDNS_SECTION_QUESTION, ldns_rr_clone(question));
    if (ldns_pkt_edns(query)) ldns_pkt_set_edns_udp_size(reply, 1232);
    AddRecords(records, *question, *reply);
    uint8_t* bytes = nullptr;
    size_t size = 0;
    if (ldns_pkt2wire(&bytes, reply, &size) == LDNS_STATUS_OK) wire.assign(reinterpret_cast<char*>(bytes), size);
    free(bytes);
    ldns_pkt_free(reply);
  }
  ldns_pkt_free(query);
  return wire;
}

int Listen(const HostPort& at, int type) {
  sockaddr_storage address = {};
  socklen_t length = sizeof(sockaddr_in6);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(address);
  auto& v4 = reinterpret_cast<sockaddr_in&>(address);
  if (inet_pton(AF_INET6, at.host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(static_cast<uint16_t>(at.port));
  } else {
    if (inet_pton(AF_INET, at.host.c_str(), &v4.sin_addr) != 1) return -1;
    v4.sin_family = AF_INET;
    v4.sin_port = htons(static_cast<uint16_t>(at.port));
    length = sizeof(sockaddr_in);
  }
  const int fd = socket(address.ss_family, type | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 && (type != SOCK_STREAM || listen(fd, 128) == 0)) return fd;
  fprintf(stderr, "cannot listen on port %d of %s: %s\n", at.port, at.host.c_str(), strerror(errno));
  close(fd);
  return -1;
}

void AnswerDatagram(const Records& records, int fd) {
  std::array<char, 65535> buffer;
  sockaddr_storage from;
  socklen_t length = sizeof from;
  const ssize_t size = recvfrom(fd, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
  if (size < 0) return;
  const std::string reply = Reply(records, std::string(buffer.data(), static_cast<size_t>(size)));
  if (!reply.empty()) sendto(fd, reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), length);
}

struct Connection {
  int fd;
  std::string bytes;
};

// False: it is over.
bool AnswerConnection(const Records& records, Connection& connection) {
  std::array<char, 65537> buffer;
  const ssize_t got = recv(connection.fd, buffer.data(), buffer.size(), 0);
  if (got <= 0) return false;
  std::string& bytes = connection.bytes;
  bytes.append(buffer.data(), static_cast<size_t>(got));
  while (bytes.size() >= 2) {
    const auto size = static_cast<size_t>(static_cast<uint8_t>(bytes[0]) << 8 | static_cast<uint8_t>(bytes[1]));
    if (bytes.size() < 2 + size) break;
    const std::string reply = Reply(records, bytes.substr(2, size));
    bytes.erase(0, 2 + size);
    std::string framed = {static_cast<char>(reply.size() >> 8), static_cast<char>(reply.size() & 0xff)};
    framed += reply;
    if (reply.empty() || send(connection.fd, framed.data(), framed.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(framed.size()))
      return false;
  }
  return true;
}

void Serve(const Records& records, int udp, int tcp) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  const int stop = signalfd(-1, &signals, SFD_CLOEXEC);
  std::list<Connection> connections;
  while (true) {
    std::vector<pollfd> wanted = {{stop, POLLIN, 0}, {udp, POLLIN, 0}, {tcp, POLLIN, 0}};
    for (const Connection& connection : connections) wanted.push_back({connection.fd, POLLIN, 0});
    if (poll(wanted.data(), wanted.size(), -1) < 0) continue;
    if (wanted[0].revents != 0) return;
    if (wanted[1].revents != 0) AnswerDatagram(records, udp);
    size_t at = 3;
    for (auto connection = connections.begin(); connection != connections.end(); ++at) {
      const bool over = wanted[at].revents != 0 && !AnswerConnection(records, *connection);
      if (over) close(connection->fd);
      connection = over ? connections.erase(connection) : std::next(connection);
    }
    if (wanted[2].revents == 0) continue;
    const int fd = accept4(tcp, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) connections.push_back({fd, ""});
    if (connections.size() > kMostConnections) {
      close(connections.front().fd);
      connections.pop_front();
    }
  }
}

int Main(int argc, char** argv) {
  std::string listen_on;
  std::vector<std::string> texts;
  Records records;
  CLI::App app("nameserver: a DNS server that knows what it is told, over UDP and TCP.");
  app.add_option("--listen", listen_on, "IP:PORT")->required()->check([](const std::string& text) {
    return ParseHostPort(text) ? "" : absl::StrCat(text, " is no IP:PORT");
  });
  app.add_option("--record", texts, "NAME=ADDRESS, IPv4 or IPv6; as often as needed")->check([&](const std::string& text) {
    Records ignored;
    return Add(text, ignored) ? "" : absl::StrCat(text, " is no NAME=ADDRESS");
  });
  CLI11_PARSE(app, argc, argv);
  for (const std::string& text : texts) Add(text, records);
  const HostPort at = *ParseHostPort(listen_on);
  const int udp = Listen(at, SOCK_DGRAM);
  const int tcp = Listen(at, SOCK_STREAM);
  if (udp < 0 || tcp < 0) return 1;
  Serve(records, udp, tcp);
  return 0;
}

}  // namespace
}  // namespace squall::target

int main(int argc, char** argv) { return squall::target::Main(argc, argv); }
