#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/run.h"
#include "controller/scenario.h"
#include "proto/suite.pb.h"

namespace squall {

// What somebody who watches a suite is told. Called on any thread, by several runs at once.
class SuiteWatcher {
 public:
  virtual ~SuiteWatcher() = default;
  // A run of the scenario begins. `which` tells it from others of the scenario: "run 2 of 3", "run again"; may be empty.
  virtual void Started(size_t scenario, const std::string& which) = 0;
  virtual void OnProgress(size_t scenario, const Progress& progress) = 0;
  virtual void OnEvent(size_t scenario, const std::string& line) = 0;
  virtual void Finished(size_t scenario, const RunResult& result) = 0;
};

struct SuiteOptions {
  RunOptions run;          // runs_folder: where the suite's folder goes; on_progress and on_event are not used
  std::string name;        // of letters, digits, '-', '_' and '.'
  int parallel = 1;        // runs at a time, at most: scenarios that clash run one after the other
  int repeat = 1;          // runs of each scenario that count
  bool fail_fast = false;  // starts nothing more once a run did not pass; those that are running come to their end
  SuiteResult::Inconclusive inconclusive = SuiteResult::INCONCLUSIVE_FAIL;
};

struct FinishedSuite {
  SuiteResult result;
  std::string folder;
};

// An INCONCLUSIVE run is carried out again this many times at most, with INCONCLUSIVE_RERUN.
constexpr int kMostReruns = 2;

// Carries out scenarios without mistakes and writes the suite's folder: suite.json, junit.xml, index.html and the folders of
// the runs. After an interrupt, and after a run whose healing was not confirmed, nothing more is started. An error only when
// the folder could not be written.
absl::StatusOr<FinishedSuite> RunSuite(const std::vector<LoadedScenario>& scenarios, const SuiteOptions& options,
                                       SuiteWatcher& watcher);

}  // namespace squall
