#pragma once

#include <functional>
#include <string>

#include "absl/strings/string_view.h"

namespace squall {

// Makes lines of text that comes in pieces, whatever bytes these are. Of a line that is longer than the bound only its beginning is
// kept. Not thread-safe.
class LineSplitter {
 public:
  static constexpr size_t kMostBytes = 16 << 10;
  using Each = std::function<void(absl::string_view line)>;

  // Calls `each` with the lines that the piece completes, without their ends: "\n" or "\r\n".
  void Add(absl::string_view piece, const Each& each);
  // Nothing follows: what was begun is a line as well.
  void End(const Each& each);

 private:
  std::string begun_;
};

}  // namespace squall
