#include "base/local_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace squall {
namespace {

// Field 22 of proc(5)'s stat; the name before it may contain anything.
absl::StatusOr<uint64_t> StartTicks(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::stringstream text;
  text << file.rdbuf();
  const std::string stat = text.str();
  const size_t name_end = stat.rfind(')');
  const std::vector<absl::string_view> fields =
      absl::StrSplit(absl::string_view(stat).substr(name_end == std::string::npos ? stat.size() : name_end + 1), ' ');
  uint64_t start_ticks = 0;
  if (fields.size() < 21 || !absl::SimpleAtoi(fields[20], &start_ticks)) {
    return absl::NotFoundError(absl::StrCat("there is no process ", pid));
  }
  return start_ticks;
}

}  // namespace

std::string LocalFolder() {
  const char* own = getenv("SQUALL_RUNTIME_DIR");
  if (own != nullptr && own[0] == '/') return own;
  if (geteuid() == 0) return "/run/squall";
  // After su or sudo the variable may still name the folder of somebody else.
  const char* runtime = getenv("XDG_RUNTIME_DIR");
  struct stat info;
  if (runtime != nullptr && runtime[0] == '/' && stat(runtime, &info) == 0 && info.st_uid == geteuid()) {
    return absl::StrCat(runtime, "/squall");
  }
  return absl::StrCat("/tmp/squall-", geteuid());
}

std::string WhyNotPrivate(const std::string& folder) {
  struct stat info;
  if (lstat(folder.c_str(), &info) != 0) return absl::StrCat(folder, " is not there");
  if (!S_ISDIR(info.st_mode)) return absl::StrCat(folder, " is not a folder: remove it");
  if (info.st_uid != geteuid()) return absl::StrCat(folder, " belongs to uid ", info.st_uid, ": ask for it to be removed");
  if ((info.st_mode & 077) != 0) return absl::StrCat(folder, " is open to others: chmod 700 ", folder);
  return "";
}

absl::StatusOr<std::string> OwnLocalSocket() {
  const absl::StatusOr<uint64_t> start_ticks = StartTicks(getpid());
  if (!start_ticks.ok()) return start_ticks.status();
  return absl::StrCat(LocalFolder(), "/agent-", getpid(), "-", *start_ticks, ".sock");
}

bool IsAlive(const LocalSocket& socket) {
  const absl::StatusOr<uint64_t> start_ticks = StartTicks(socket.pid);
  return start_ticks.ok() && *start_ticks == socket.start_ticks;
}

bool ParseLocalSocket(const std::string& path, LocalSocket& socket) {
  absl::string_view name = absl::string_view(path).substr(path.rfind('/') + 1);
  if (!absl::ConsumePrefix(&name, "agent-") || !absl::ConsumeSuffix(&name, ".sock")) return false;
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '-');
  socket.path = path;
  return parts.size() == 2 && absl::SimpleAtoi(parts[0], &socket.pid) && socket.pid > 0 &&
         absl::SimpleAtoi(parts[1], &socket.start_ticks);
}

}  // namespace squall
