#pragma once

#include <string>
#include <vector>

namespace squall {

// A shipped scenario, and what its verdict must be of a service that keeps every promise, or of one that breaks just one.
struct JudgeRow {
  std::string scenario;  // below scenarios/, without .yaml
  std::string mutant;    // its variable `mutant`
  // The assertion that must FAIL, and no other; empty: all must PASS.
  std::string assertion;
  std::string reason;  // a piece of its reason
};

const std::vector<JudgeRow>& JudgeRows();

}  // namespace squall
