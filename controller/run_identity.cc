#include "controller/run_identity.h"

#include <pwd.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace squall {

std::string HostName() {
  char name[256] = {};
  gethostname(name, sizeof(name) - 1);
  return name;
}

std::string UserAtHost() {
  passwd entry;
  passwd* found = nullptr;
  char text[4096];
  getpwuid_r(geteuid(), &entry, text, sizeof(text), &found);
  const std::string user = found == nullptr ? absl::StrCat("uid ", geteuid()) : found->pw_name;
  return absl::StrCat(user, "@", HostName());
}

std::string MakeRunId(const std::string& name, absl::Time now, uint64_t random) {
  return absl::StrCat(absl::FormatTime("%Y%m%dT%H%M%SZ", now, absl::UTCTimeZone()), "-", name, "-",
                      absl::StrFormat("%06x", random & 0xffffff));
}

std::string HolderText(const std::string& run_id, absl::Time now, absl::Duration longest) {
  return absl::StrCat("run ", run_id, " of ", UserAtHost(), " since ",
                      absl::FormatTime("%H:%M:%S", now, absl::LocalTimeZone()), " until ",
                      absl::FormatTime("%H:%M:%S", now + longest, absl::LocalTimeZone()), " at the latest");
}

}  // namespace squall
