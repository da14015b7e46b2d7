#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/fd.h"

namespace squall {

// A real process that a test started. Killed, if it still runs, on destruction.
class Process {
 public:
  struct Options {
    std::map<std::string, std::string> env;
    std::string folder;
    std::string user;    // run as this user; needs root
    bool types = false;  // the test types on its standard input
  };
  Process(const std::vector<std::string>& argv, const Options& options);
  explicit Process(const std::vector<std::string>& argv) : Process(argv, Options()) {}
  ~Process();
  Process(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal);
  // REQUIRES: Options::types.
  void Type(const std::string& text);
  // The exit code, 128 + N when signal N ended it, -1 when it still runs at the end of `timeout`.
  int Wait(absl::Duration timeout);
  // Standard output and standard error so far.
  std::string Output() const;
  // Waits until the output contains `text`.
  bool WaitForOutput(const std::string& text, absl::Duration timeout);

 private:
  pid_t pid_ = -1;
  Fd input_;
  int exit_code_ = -1;
  std::string output_path_;
};

// A folder like a checkout that every user may read: copies of scenarios/ and of the programs in bazel-bin/. Removed on destruction.
class Checkout {
 public:
  // `more_programs`: paths in bazel-bin/ beside those that every test has.
  explicit Checkout(const std::vector<std::string>& more_programs = {});
  ~Checkout();
  const std::string& path() const { return path_; }
  // Lets an ordinary user write runs here, and returns that user's name; empty when this is one already.
  std::string ForOrdinaryUser() const;
  std::string squall() const;
  std::string agent() const;
  std::string target(const std::string& name) const;
  // Writes a scenario of the test's own, in scenarios/e2e/, and returns its path.
  std::string Write(const std::string& name, const std::string& text) const;
  // squall run --runs=PATH/runs ARGS...
  std::vector<std::string> Run(const std::vector<std::string>& args) const;
  // The folder of the only run so far.
  std::string OnlyRun() const;

 private:
  std::string path_;
};

// Processes of squall and its services that are this test's or nobody's, and cgroups and lock files of agents that are gone.
std::vector<std::string> Residue();
// What is there `within` from now and was not before. An agent also clears away what was left before it: less is no residue.
// The time is for tests that run at the same time and kill agents: what those leave is gone soon.
std::vector<std::string> ResidueSince(const std::vector<std::string>& before, absl::Duration within = absl::Seconds(5));

bool IsRoot();
// A port that nothing listens on now.
int FreePort();
// connect(2) to 127.0.0.1: 0 or errno.
int TryConnect(int port);
// Memory that could be had without swapping.
int64_t AvailableMiB();
std::string ReadFile(const std::string& path);
// Waits for what another process does; the bound is a safety net, not an expectation.
template <typename Condition>
bool Eventually(absl::Duration timeout, Condition condition);

// Carries out a run to its end and returns its exit code. The project's own bar is "never a wrong verdict, and at most one
// INCONCLUSIVE in ten runs", on a machine with nothing else to do; four of these tests run at a time: the first two INCONCLUSIVE of
// a test program that were not expected are said aloud and the run is done once more, in a fresh folder; a third is the result.
struct JudgedRun {
  int exit_code = -1;
  std::string output;
  std::string folder;
};
JudgedRun RunToVerdict(const Checkout& checkout, const std::vector<std::string>& args, int expected_exit_code,
                       bool as_ordinary_user = false);

// The verdict of an assertion in verdicts.json: "PASS", "FAIL", "INCONCLUSIVE"; empty when there is none.
std::string VerdictOf(const std::string& run_folder, const std::string& assertion);

void SleepBriefly();
absl::Time NowTime();

template <typename Condition>
bool Eventually(absl::Duration timeout, Condition condition) {
  const absl::Time deadline = NowTime() + timeout;
  while (NowTime() < deadline) {
    if (condition()) return true;
    SleepBriefly();
  }
  return condition();
}

}  // namespace squall
