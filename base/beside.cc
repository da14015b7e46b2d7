#include "base/beside.h"

#include <unistd.h>

#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"

namespace squall {

absl::StatusOr<std::string> FindBeside(const std::string& name, std::initializer_list<const char*> elsewhere) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  std::vector<std::filesystem::path> candidates = {self.parent_path() / name};
  for (const char* folder : elsewhere) candidates.push_back(self.parent_path() / folder / name);
  for (const std::filesystem::path& candidate : candidates) {
    if (!error && access(candidate.c_str(), X_OK) == 0) return candidate.lexically_normal().string();
  }
  return absl::NotFoundError(absl::StrCat("there is no ", name, " beside ", self.string()));
}

}  // namespace squall
