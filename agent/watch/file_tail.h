#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "agent/watch/lines.h"
#include "base/fd.h"

namespace squall {

// The lines that are added to a file, which may be rotated, cut off, or not be there yet. Not thread-safe.
class FileTail {
 public:
  // Begins at the end of the file, or at the beginning of one that appears later.
  explicit FileTail(std::string path);

  // Reads up to 4 MiB of what was added. True: there may be more.
  bool Read(const LineSplitter::Each& each);
  // Nothing follows.
  void End(const LineSplitter::Each& each);

 private:
  struct Opened {
    Fd fd;
    int64_t offset = 0;
    LineSplitter lines;
  };
  static bool ReadOn(Opened& file, const LineSplitter::Each& each);
  // The file that has the name now; nothing when it cannot be read.
  Fd Open() const;

  const std::string path_;
  Opened file_;
  // Who writes keeps the file that it has open for a while after it was renamed.
  Opened before_;
  int64_t before_until_ns_ = 0;
};

}  // namespace squall
