// What it costs to find the sockets of a process: 10,000 connections over loopback, 20,000 sockets in all.
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>

#include "absl/time/clock.h"
#include "agent/net/live_sockets.h"

namespace squall {
namespace {

constexpr int kConnections = 10'000;
constexpr int kTimes = 20;

int Main() {
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const Fd listener(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_storage storage;
  Address any = *ParseAddress("127.0.0.1:1");
  any.port = 0;
  socklen_t length = any.ToSockaddr(storage);
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0 || listen(listener.get(), 1024) != 0) {
    perror("listen");
    return 1;
  }
  length = sizeof(storage);
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&storage), &length);
  const Address at = FromSockaddr(storage);
  const pid_t peer = fork();
  if (peer == 0) {
    while (accept(listener.get(), nullptr, nullptr) >= 0) {
    }
    pause();
  }
  std::vector<Fd> sockets;
  for (int i = 0; i < kConnections; ++i) {
    Fd client(socket(AF_INET, SOCK_STREAM, 0));
    if (connect(client.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) {
      kill(peer, SIGKILL);
      perror("connect (10,000 descriptors are needed)");
      return 1;
    }
    sockets.push_back(std::move(client));
  }
  const NetNamespace ns = *NetNamespace::Own();
  const std::vector<ProcessId> self = {ReadStat(getpid())->id};
  Address nobody = at;
  nobody.port = 1;
  const auto measure = [&](const char* what, auto look) {
    size_t found = 0;
    const absl::Time start = absl::Now();
    for (int i = 0; i < kTimes; ++i) found = look();
    printf("%-46s %6zu sockets  %8.3f ms\n", what, found, absl::ToDoubleMilliseconds(absl::Now() - start) / kTimes);
  };
  const auto list = [&](std::vector<Address> remotes, bool bytes, bool join) {
    SocketFilter filter;
    filter.udp = false;
    filter.bytes = bytes;
    filter.remotes = std::move(remotes);
    if (join) return SocketsOf(self, ns, filter)->size();
    return SocketDiag::Open(ns)->List(filter)->size();
  };
  measure("TCP of everybody", [&] { return list({}, false, false); });
  measure("TCP to one address", [&] { return list({at}, false, false); });
  measure("TCP to one address, with bytes", [&] { return list({at}, true, false); });
  measure("TCP to an address that nobody calls", [&] { return list({nobody}, true, false); });
  measure("TCP to one address, of one process", [&] { return list({at}, false, true); });
  measure("inodes of one process", [&] { return SocketInodes(self)->size(); });
  kill(peer, SIGKILL);
  waitpid(peer, nullptr, 0);
  return 0;
}

}  // namespace
}  // namespace squall

int main() { return squall::Main(); }
