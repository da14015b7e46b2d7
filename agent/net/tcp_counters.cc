#include "agent/net/tcp_counters.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace squall {

int64_t FailedConnects() {
  // Two lines with the same beginning: names, then values.
  std::ifstream counters("/proc/thread-self/net/snmp");
  std::string line;
  std::vector<std::string> names;
  while (std::getline(counters, line)) {
    if (!absl::StartsWith(line, "Tcp: ")) continue;
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (names.empty()) {
      names = words;
      continue;
    }
    const size_t at = static_cast<size_t>(std::find(names.begin(), names.end(), "AttemptFails") - names.begin());
    int64_t failed = 0;
    return at < words.size() && absl::SimpleAtoi(words[at], &failed) ? failed : 0;
  }
  return 0;
}

}  // namespace squall
