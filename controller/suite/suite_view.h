#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "controller/suite/suite.h"

namespace squall {

// Shows a suite on standard error: a line for each scenario that ended and each thing that happened; on a terminal, below
// them, the picture of the run that is going on or, where there are several, a table with a line for each.
class SuiteView : public SuiteWatcher {
 public:
  // `labels` of the scenarios; `runs` of all of them together.
  SuiteView(std::vector<std::string> labels, int runs);
  ~SuiteView() override;
  void Started(size_t scenario, const std::string& which) override;
  void OnProgress(size_t scenario, const Progress& progress) override;
  void OnEvent(size_t scenario, const std::string& line) override;
  void Finished(size_t scenario, const RunResult& result) override;

 private:
  void Erase();
  void Draw();
  void Say(const std::string& line);

  const std::vector<std::string> labels_;
  const int runs_;
  const bool live_;
  const bool color_;
  std::mutex mutex_;  // of all below
  int finished_ = 0;
  // Of each scenario that is running: its picture when it runs alone, and its line in the table.
  struct Drawing {
    std::vector<std::string> picture;
    std::string line;
  };
  std::map<size_t, Drawing> running_;
  int drawn_lines_ = 0;
};

// Says nothing.
class SilentWatcher : public SuiteWatcher {
 public:
  void Started(size_t, const std::string&) override {}
  void OnProgress(size_t, const Progress&) override {}
  void OnEvent(size_t, const std::string&) override {}
  void Finished(size_t, const RunResult&) override {}
};

// One line of the table, no longer than `columns`, with the name in `name_columns`. Pure.
std::string ProgressRow(const std::string& name, int name_columns, const Progress& progress, int columns);

}  // namespace squall
