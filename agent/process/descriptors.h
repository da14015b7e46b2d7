#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "agent/process/proc.h"
#include "proto/timeline.pb.h"

namespace squall {

// A socket as /proc/PID/net tells of it. Plain data.
struct ListedSocket {
  std::string kind;   // "tcp", "udp", "unix"
  std::string local;  // an address, of "unix" the path
  std::string peer;   // empty: it is connected to nobody
  std::string state;  // of TCP
};

// The sockets of a page of /proc/PID/net by inode: `kind` is tcp, tcp6, udp, udp6 or unix. Lines of another form are skipped. Pure.
void AddListedSockets(absl::string_view kind, absl::string_view page, std::map<uint64_t, ListedSocket>& sockets);

// What the processes have open, alike put together, and the most frequent first; beyond 300 kinds the rest is put together too. A
// connection that was accepted is told by where it came in, "accepted at 127.0.0.1:8080", and not by its peer.
// Processes that may not be looked at have nothing.
std::vector<FdCount> DescriptorsOf(const std::vector<ProcessId>& processes);

// Sets the sample's counts of sockets.
void CountSockets(const std::vector<FdCount>& descriptors, ServiceSample& sample);

}  // namespace squall
