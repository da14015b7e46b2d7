#pragma once

#include <functional>
#include <string>
#include <vector>

#include "proto/verdict.pb.h"
#include "tests/e2e/harness.h"

namespace squall {

// A shipped scenario against a service that keeps every promise, or breaks one, and what must come of it.
struct MatrixCell {
  std::string scenario;            // below scenarios/, without .yaml
  std::string service;             // "none", a mutant, "time-after", "time-after fixed"
  std::vector<std::string> vars;   // NAME=VALUE
  std::string must_fail;           // the assertion; empty: all must PASS
  std::vector<std::string> may_fail;
  std::vector<std::string> evidence;  // regular expressions for what the failed verdict tells
};

// All of judge_table and go_bugs_table. `go_sources`: the folder of the corpus.
std::vector<MatrixCell> MatrixCells(const std::string& go_sources);

struct MatrixResult {
  MatrixCell cell;
  RunResult run;
  bool inconclusive = false;
  std::string wrong;  // why it is a wrong verdict; empty: it is none
};

// Carries each cell out once, up to `parallel` at a time, on ports of their own. `say` is called with a line as each ends.
std::vector<MatrixResult> RunMatrix(const Checkout& checkout, const std::vector<MatrixCell>& cells, int parallel,
                                    const std::function<void(const std::string&)>& say);

// Services x assertions x verdict, and below recall and false alarms.
std::string MatrixTable(const std::vector<MatrixResult>& results);

}  // namespace squall
