#include "agent/process/descriptors.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <tuple>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/utf8.h"

namespace squall {
namespace {

constexpr size_t kMostKinds = 300;
constexpr size_t kMostOfName = 300;
constexpr char kOthers[] = "others";

// As in include/net/tcp_states.h.
constexpr const char* kTcpStates[] = {"",          "ESTABLISHED", "SYN_SENT",   "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",   "TIME_WAIT",
                                      "CLOSE",     "CLOSE_WAIT",  "LAST_ACK",   "LISTEN",   "CLOSING",   "NEW_SYN_RECV"};

// "0100007F:1F90": 32-bit words as the machine holds them, and the port. Empty for none, 0.0.0.0:0.
std::string AddressText(absl::string_view text) {
  const size_t colon = text.find(':');
  uint32_t port = 0;
  if ((colon != 8 && colon != 32) || !absl::SimpleHexAtoi(text.substr(colon + 1), &port)) return "";
  uint32_t words[4] = {};
  for (size_t i = 0; i < colon / 8; ++i) {
    if (!absl::SimpleHexAtoi(text.substr(8 * i, 8), &words[i])) return "";
  }
  if (port == 0) return "";
  char name[INET6_ADDRSTRLEN];
  in6_addr v6;
  memcpy(&v6, words, sizeof(v6));
  if (colon == 8) {
    inet_ntop(AF_INET, words, name, sizeof(name));
  } else if (IN6_IS_ADDR_V4MAPPED(&v6)) {
    inet_ntop(AF_INET, &v6.s6_addr[12], name, sizeof(name));
  } else {
    inet_ntop(AF_INET6, &v6, name, sizeof(name));
    return absl::StrCat("[", name, "]:", port);
  }
  return absl::StrCat(name, ":", port);
}

absl::string_view PortOf(absl::string_view address) { return address.substr(address.rfind(':') + 1); }

std::string ReadLink(const std::string& path) {
  char target[4096];
  const ssize_t size = readlink(path.c_str(), target, sizeof(target));
  return size <= 0 ? "" : std::string(target, static_cast<size_t>(size));
}

// Where the links of the process's descriptors lead.
std::vector<std::string> LinksOf(pid_t pid) {
  std::vector<std::string> links;
  const std::string folder = absl::StrCat("/proc/", pid, "/fd");
  DIR* dir = opendir(folder.c_str());
  if (dir == nullptr) return links;
  const auto close = absl::MakeCleanup([dir] { closedir(dir); });
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] == '.') continue;
    std::string link = ReadLink(absl::StrCat(folder, "/", entry->d_name));
    if (!link.empty()) links.push_back(std::move(link));
  }
  return links;
}

struct Namespace {
  std::map<uint64_t, ListedSocket> sockets;
  std::set<std::string> ports;  // on which somebody listens
};

Namespace ReadNamespace(pid_t pid) {
  Namespace ns;
  for (const char* kind : {"tcp", "tcp6", "udp", "udp6", "unix"}) {
    AddListedSockets(kind, Slurp(absl::StrCat("/proc/", pid, "/net/", kind)), ns.sockets);
  }
  for (const auto& [inode, socket] : ns.sockets) {
    if (socket.state == "LISTEN") ns.ports.emplace(PortOf(socket.local));
  }
  return ns;
}

FdCount OfSocket(const ListedSocket& socket, const Namespace& ns) {
  FdCount fd;
  fd.set_kind(socket.kind);
  fd.set_state(socket.state);
  if (socket.peer.empty()) {
    fd.set_to(ValidText(socket.local, kMostOfName));
  } else if (socket.kind == "tcp" && ns.ports.count(std::string(PortOf(socket.local))) > 0) {
    fd.set_to(absl::StrCat("accepted at ", socket.local));
  } else {
    fd.set_to(socket.peer);
  }
  return fd;
}

FdCount OfLink(absl::string_view link) {
  FdCount fd;
  if (link[0] == '/') {
    fd.set_kind("file");
    fd.set_to(ValidText(link, kMostOfName));
    return fd;
  }
  // "anon_inode:[eventfd]", "anon_inode:inotify", "pipe:[4711]".
  if (absl::ConsumePrefix(&link, "anon_inode:")) {
    absl::ConsumePrefix(&link, "[");
    absl::ConsumeSuffix(&link, "]");
  } else {
    link = link.substr(0, link.find(':'));
  }
  fd.set_kind(ValidText(link, kMostOfName));
  return fd;
}

}  // namespace

void AddListedSockets(absl::string_view kind, absl::string_view page, std::map<uint64_t, ListedSocket>& sockets) {
  for (const absl::string_view line : absl::StrSplit(page, '\n')) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
    ListedSocket socket;
    uint64_t inode = 0;
    if (kind == "unix") {
      // Num RefCount Protocol Flags Type St Inode Path
      if (fields.size() < 7 || !absl::SimpleAtoi(fields[6], &inode)) continue;
      socket.kind = "unix";
      if (fields.size() > 7) socket.local = std::string(fields[7]);
      sockets[inode] = std::move(socket);
      continue;
    }
    uint32_t state = 0;
    if (fields.size() < 10 || !absl::SimpleHexAtoi(fields[3], &state) || !absl::SimpleAtoi(fields[9], &inode) || inode == 0) continue;
    socket.kind = std::string(kind.substr(0, 3));
    socket.local = AddressText(fields[1]);
    socket.peer = AddressText(fields[2]);
    if (socket.kind == "tcp" && state < std::size(kTcpStates)) socket.state = kTcpStates[state];
    sockets[inode] = std::move(socket);
  }
}

std::vector<FdCount> DescriptorsOf(const std::vector<ProcessId>& processes) {
  std::map<std::string, Namespace> namespaces;
  std::map<std::tuple<std::string, std::string, std::string>, int32_t> counts;
  for (const ProcessId& process : processes) {
    const std::string ns_name = ReadLink(absl::StrCat("/proc/", process.pid, "/ns/net"));
    for (const std::string& link : LinksOf(process.pid)) {
      absl::string_view number = link;
      uint64_t inode = 0;
      FdCount fd;
      if (absl::ConsumePrefix(&number, "socket:[") && absl::ConsumeSuffix(&number, "]") && absl::SimpleAtoi(number, &inode)) {
        const auto [ns, first] = namespaces.try_emplace(ns_name);
        if (first) ns->second = ReadNamespace(process.pid);
        const auto socket = ns->second.sockets.find(inode);
        fd = socket == ns->second.sockets.end() ? OfLink(link) : OfSocket(socket->second, ns->second);
      } else {
        fd = OfLink(link);
      }
      ++counts[{fd.kind(), fd.to(), fd.state()}];
    }
  }
  std::vector<FdCount> all;
  for (const auto& [key, count] : counts) {
    FdCount& fd = all.emplace_back();
    fd.set_kind(std::get<0>(key));
    fd.set_to(std::get<1>(key));
    fd.set_state(std::get<2>(key));
    fd.set_count(count);
  }
  std::stable_sort(all.begin(), all.end(), [](const FdCount& a, const FdCount& b) { return a.count() > b.count(); });
  if (all.size() <= kMostKinds) return all;
  std::map<std::pair<std::string, std::string>, int32_t> rest;
  for (size_t i = kMostKinds; i < all.size(); ++i) rest[{all[i].kind(), all[i].state()}] += all[i].count();
  all.resize(kMostKinds);
  for (const auto& [key, count] : rest) {
    FdCount& fd = all.emplace_back();
    fd.set_kind(key.first);
    fd.set_to(kOthers);
    fd.set_state(key.second);
    fd.set_count(count);
    if (all.size() >= 2 * kMostKinds) break;
  }
  return all;
}

void CountSockets(const std::vector<FdCount>& descriptors, ServiceSample& sample) {
  sample.set_sockets(0);
  sample.set_established(0);
  sample.set_close_wait(0);
  for (const FdCount& fd : descriptors) {
    const std::string& kind = fd.kind();
    if (kind != "tcp" && kind != "udp" && kind != "unix" && kind != "socket") continue;
    sample.set_sockets(sample.sockets() + fd.count());
    if (fd.state() == "ESTABLISHED") sample.set_established(sample.established() + fd.count());
    if (fd.state() == "CLOSE_WAIT") sample.set_close_wait(sample.close_wait() + fd.count());
  }
}

}  // namespace squall
