#pragma once

#include <map>
#include <string>
#include <vector>

namespace squall {

using Verdicts = std::map<std::string, std::string>;

// A scenario, with ports of its own and what is weakened.
struct TargetCase {
  std::string name;
  std::string scenario;  // without .yaml
  std::vector<std::string> vars;
  // Where ports are written into a file: what their first digits become.
  std::string ports_from;
  std::string ports_to;
  int exit_code = 0;
  Verdicts verdicts;
};

// Whether it is there; says so where it is not.
bool CanRedirect();
bool HasProgram(const char* path, const char* package);

// Runs them, `at_a_time` of them side by side, and expects of each what it says. In checkouts with these programs, as
// Checkout's, and these folders of the source tree.
void RunTargets(const std::vector<TargetCase>& cases, int at_a_time, const std::vector<std::string>& programs,
                const std::vector<std::string>& folders = {});

}  // namespace squall
