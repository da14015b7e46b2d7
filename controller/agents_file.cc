#include "controller/agents_file.h"

#include <filesystem>

#include "controller/reading.h"
#include "controller/yaml.h"
#include "controller/yaml_tree.h"

namespace squall {
namespace {

std::string From(const std::string& file, const std::string& path) {
  return path.empty() ? "" : (std::filesystem::path(file).parent_path() / path).lexically_normal().string();
}

}  // namespace

absl::StatusOr<LoadedAgents> LoadAgents(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadYamlFile(path);
  if (!text.ok()) return text.status();
  LoadedAgents loaded;
  loaded.path = path;
  const YamlTree tree = ParseYaml(*text);
  Reading reading;
  for (const Mistake& mistake : tree.mistakes) reading.Add({mistake.line, mistake.column}, mistake.message);
  if (tree.root != nullptr) {
    // Nothing is put into it: it is the same for all scenarios.
    const Substitute as_it_is = [](absl::string_view, const std::string& scalar) { return scalar; };
    ReadYaml(*tree.root, as_it_is, loaded.file, reading);
  }
  loaded.mistakes = reading.Mistakes();
  const TlsFiles& tls = loaded.file.tls();
  loaded.tls = {From(path, tls.cert()), From(path, tls.key()), From(path, tls.ca())};
  return loaded;
}

absl::StatusOr<TlsIdentity> ControllersIdentity(const TlsPaths& paths) {
  if (!paths.cert.empty()) return LoadTlsIdentity(paths, TlsRole::kController);
  return absl::InvalidArgumentError(
      "agents on other hosts want a certificate: write tls: {cert: ..., key: ..., ca: ...} in agents.yaml, beside the scenario "
      "or here, or in the file of --agents");
}

std::string AgentsFileBeside(const std::string& scenario_path) {
  std::error_code error;
  const std::filesystem::path beside = std::filesystem::path(scenario_path).parent_path() / "agents.yaml";
  return std::filesystem::exists(beside, error) ? beside.string() : "";
}

}  // namespace squall
