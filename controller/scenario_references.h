#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "controller/scenario.h"
#include "controller/yaml.h"
#include "proto/scenario.pb.h"

// ${...} in the scalars of a scenario.
//
//   ${vars.NAME}            the value of NAME under `vars`, or of --var NAME=VALUE
//   ${edges.NAME.address}   where the edge's calls must go: its `relay_at`, else the first address of its `to`, which must not be *
//   ${services.NAME.nameserver}  whom the service must ask for names: its `resolver_at`, else its `nameserver`
//   ${secret.NAME}          the environment variable NAME, put in only when the run starts, never stored
//   ${run.folder}           the folder of the run, for a service that has to write files; known when the run starts
//   ${scenario.folder}      the folder of the scenario's file; known when the run starts
//   $${                     a literal ${
//
// What is put in is not looked through again.
namespace squall {

class References {
 public:
  // `root` is the scenario's mapping. `overrides` win over its `vars`.
  References(const YamlNode* root, const std::map<std::string, std::string>& overrides);

  // `text` with all of it replaced but what is put in late. As long as there is such, an escaped one stays escaped, so that
  // WithLateValues() can tell. INVALID_ARGUMENT for a reference to nothing, with what to write instead.
  absl::StatusOr<std::string> Replace(absl::string_view path, absl::string_view text) const;

  const std::map<std::string, std::string>& vars() const { return vars_; }

 private:
  absl::StatusOr<std::string> Replace(absl::string_view text, bool vars_only) const;
  // What stands at an address, or one that stands for what is missing or wrong.
  std::string AddressIn(const YamlNode* address) const;
  absl::StatusOr<std::string> Value(absl::string_view reference, bool vars_only) const;

  std::map<std::string, std::string> vars_;
  std::map<std::string, std::string> edges_;        // address by name
  std::map<std::string, std::string> nameservers_;  // by service; of those that have one
};

// `text` with secrets and folders put in and the rest unescaped. NOT_FOUND when a secret is not set.
absl::StatusOr<std::string> WithLateValues(absl::string_view text, const LateValues& values);

}  // namespace squall
