#pragma once

#include <string>
#include <vector>

namespace squall {

// One mistake of tests/target/go/shop, and what is expected of a run with it. With --fixed=true every assertion of the scenario passes.
struct GoBug {
  std::string bug;       // --bug
  std::string scenario;  // scenarios/go/NAME.yaml
  // The assertion that fails, by its name in the scenario.
  std::string fails;
  // Others that may fail too, since the mistake breaks what they claim as well.
  std::vector<std::string> may_fail;
  // Regular expressions, all of which must match something in what the failed verdict tells, reason and details. LINE stands for the
  // number of the line that is marked with "shows BUG", FILE for its file.
  std::vector<std::string> evidence;
  // The file of shop that has the mark; empty: no line of it shows anything.
  std::string file;
};

const std::vector<GoBug>& GoBugs();

// The number of the line of `source` that ends with "// shows BUG"; 0: there is none.
int LineThatShows(const std::string& bug, const std::string& source);

// The regular expressions for this source, that of bug.file.
std::vector<std::string> EvidenceIn(const GoBug& bug, const std::string& source);

}  // namespace squall
