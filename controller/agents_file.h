#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/tls.h"
#include "controller/scenario.h"

namespace squall {

// agents.yaml: where the agents of a site are, and the certificate with which this controller comes to them.
struct LoadedAgents {
  std::string path;  // empty: there is no such file
  AgentsFile file;
  TlsPaths tls;  // as seen from here
  std::vector<Mistake> mistakes;
};

// Reads the file. An error only when it cannot be read.
absl::StatusOr<LoadedAgents> LoadAgents(const std::string& path);

// The certificate with which a controller comes to agents on other hosts. INVALID_ARGUMENT, with what to write, when
// `paths` is empty.
absl::StatusOr<TlsIdentity> ControllersIdentity(const TlsPaths& paths);

// agents.yaml in the folder of the scenario; empty: there is none.
std::string AgentsFileBeside(const std::string& scenario_path);

}  // namespace squall
