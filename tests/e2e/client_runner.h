#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace squall {

// What a program printed, and how it ended.
struct Ran {
  std::string exit;  // "0", "7", 128 + N for signal N; "none": it still ran when its time was over
  std::string out, err;
  absl::Duration took;
};

// A program of tests/target/runner, which runs programs as children of its own. Thread-safe.
class Runner {
 public:
  explicit Runner(int port) : port_(port) {}
  // Kills the program when `limit` is over.
  Ran Run(const std::vector<std::string>& argv, absl::Duration limit) const;

  // A program that goes on while its standard input is typed into. Killed on destruction.
  class Session {
   public:
    Session(const Runner& runner, const std::vector<std::string>& argv);
    ~Session();
    Session(const Session&) = delete;
    // What is printed since the call before, once it is `bytes` long or a line of standard error, the program has ended, or `limit`
    // is over.
    Ran Say(const std::string& typed, size_t bytes, absl::Duration limit);

   private:
    const Runner& runner_;
    std::string id_;
  };

 private:
  Ran Post(const std::string& path, const std::string& body, absl::Duration limit) const;
  const int port_;
};

}  // namespace squall
