#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace squall {

// Where the agents of this user on this machine can be found: $SQUALL_RUNTIME_DIR where it is set, which keeps agents apart
// from others; /run/squall for root, else $XDG_RUNTIME_DIR/squall, or /tmp/squall-UID where that is not this user's own.
std::string LocalFolder();

// Empty: nobody but this user can have put into `folder` what is there, and nobody else can look into it. Else what is
// wrong, and what to do.
std::string WhyNotPrivate(const std::string& folder);

// The socket of one agent in the folder: the process and its start since boot, which together are used only once.
struct LocalSocket {
  pid_t pid = 0;
  uint64_t start_ticks = 0;
  std::string path;
};

// That of this process.
absl::StatusOr<std::string> OwnLocalSocket();
// False: the file name is not that of an agent's socket.
bool ParseLocalSocket(const std::string& path, LocalSocket& socket);
// False: its agent is dead, and has left the socket behind.
bool IsAlive(const LocalSocket& socket);

}  // namespace squall
