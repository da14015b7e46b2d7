#include "agent/local_socket.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/local_folder.h"

namespace squall {

absl::StatusOr<std::string> MakeLocalSocketPath() {
  const std::string folder = LocalFolder();
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return absl::ErrnoToStatus(errno, "cannot make " + folder);
  const std::string why = WhyNotPrivate(folder);
  if (!why.empty()) return absl::FailedPreconditionError(why);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    LocalSocket socket;
    if (ParseLocalSocket(entry.path(), socket) && !IsAlive(socket)) unlink(socket.path.c_str());
  }
  return OwnLocalSocket();
}

}  // namespace squall
