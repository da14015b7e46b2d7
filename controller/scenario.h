#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tls.h"
#include "controller/mistake.h"
#include "controller/yaml_tree.h"
#include "proto/scenario.pb.h"

namespace squall {

struct LoadedScenario {
  std::string path;
  std::string text;
  Scenario scenario;  // defaults, names and references filled in, ${...} replaced except ${secret.*}
  std::vector<Mistake> mistakes;  // in the order of the file; empty: the scenario can run
  TlsPaths tls;  // of agents.yaml; empty: there is none
};

// Reads a scenario and checks all of it that can be checked without touching a host. `vars` override those of
// the file; `agents` are those of agents.yaml, of which the scenario takes what it names. An error only when the file cannot
// be read.
absl::StatusOr<LoadedScenario> LoadScenario(const std::string& path,
                                            const std::map<std::string, std::string>& vars,
                                            const AgentsFile& agents = AgentsFile());

// The same for text that is already there. `path` is used in messages only.
LoadedScenario ParseScenario(const std::string& path, std::string text,
                             const std::map<std::string, std::string>& vars,
                             const AgentsFile& agents = AgentsFile());

// The same for a document that is parsed already. `must_assert`: without assertions it is a mistake.
LoadedScenario ReadScenario(const YamlTree& tree, const std::map<std::string, std::string>& vars, bool must_assert,
                            const AgentsFile& agents = AgentsFile());

// "FILE:LINE:COLUMN: MESSAGE", one line each.
std::string FormatMistakes(const LoadedScenario& loaded);
std::string FormatMistakes(const std::string& path, const std::vector<Mistake>& mistakes);

// The file's bytes, or one more than a scenario may have. Only of regular files: a pipe might never end.
absl::StatusOr<std::string> ReadYamlFile(const std::string& path);

// What is known only when the run starts. Absolute paths.
struct LateValues {
  std::string run_folder;
  std::string scenario_folder;
};

// Replaces ${secret.NAME} everywhere in `scenario` by the environment variable NAME, ${run.folder} and ${scenario.folder} by
// `values`. Every secret is known to be set after a ParseScenario without mistakes; NOT_FOUND otherwise.
absl::Status PutInLate(Scenario& scenario, const LateValues& values);

}  // namespace squall
