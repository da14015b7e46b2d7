#include "agent/process/cgroup_layout.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace squall {
namespace {

// mountinfo writes space, tab, newline and backslash as \ and three octal digits.
std::string Unescaped(absl::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto octal = [&](size_t k) { return k < text.size() && text[k] >= '0' && text[k] <= '7'; };
    if (text[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

}  // namespace

std::vector<CgroupMount> ParseCgroupMounts(absl::string_view mountinfo) {
  // proc(5): ID PARENT MAJOR:MINOR ROOT FOLDER OPTIONS [MORE...] - TYPE SOURCE SUPER_OPTIONS
  std::vector<CgroupMount> mounts;
  for (const absl::string_view line : absl::StrSplit(mountinfo, '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> halves = absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    if (halves.size() != 2) continue;
    const std::vector<absl::string_view> where = absl::StrSplit(halves[0], ' ');
    const std::vector<absl::string_view> what = absl::StrSplit(halves[1], ' ');
    if (where.size() < 6 || what.size() < 3 || (what[0] != "cgroup" && what[0] != "cgroup2")) continue;
    CgroupMount mount;
    mount.version = what[0] == "cgroup" ? 1 : 2;
    mount.root = Unescaped(where[3]);
    mount.folder = Unescaped(where[4]);
    mount.options = absl::StrSplit(what[2], ',');
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

std::optional<CgroupMount> HierarchyOf(const std::vector<CgroupMount>& mounts, absl::string_view controller) {
  const auto has = [&](const CgroupMount& mount) {
    return mount.version == 1 &&
           std::find(mount.options.begin(), mount.options.end(), controller) != mount.options.end();
  };
  auto found = std::find_if(mounts.begin(), mounts.end(), has);
  if (found == mounts.end()) {
    found = std::find_if(mounts.begin(), mounts.end(), [](const CgroupMount& mount) { return mount.version == 2; });
  }
  if (found == mounts.end()) return std::nullopt;
  return *found;
}

absl::StatusOr<std::string> CgroupFolder(const CgroupMount& mount, absl::string_view controller,
                                         absl::string_view proc_cgroup) {
  // cgroups(7): ID:CONTROLLER,...:PATH; the line of v2 is 0::PATH.
  for (const absl::string_view line : absl::StrSplit(proc_cgroup, '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    const std::vector<absl::string_view> controllers = absl::StrSplit(parts[1], ',');
    const bool is_it = mount.version == 2
                           ? parts[0] == "0" && parts[1].empty()
                           : std::find(controllers.begin(), controllers.end(), controller) != controllers.end();
    if (!is_it) continue;
    absl::string_view path = absl::StripSuffix(parts[2], "/");
    if (mount.root != "/") {
      // A container sees its own part of the hierarchy only.
      if (!absl::ConsumePrefix(&path, mount.root) || (!path.empty() && path[0] != '/')) {
        return absl::NotFoundError(
            absl::StrCat("cgroup ", parts[2], " is not seen under ", mount.folder, ", which shows ", mount.root));
      }
    }
    return absl::StrCat(mount.folder, path);
  }
  return absl::NotFoundError(absl::StrCat("the process is gone, or in no cgroup with the ", controller, " controller"));
}

}  // namespace squall
