#include "controller/commands/scenario_files.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/agents_file.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

bool IsScenarioFile(const fs::path& path) {
  const std::string name = path.filename();
  const bool yaml = path.extension() == ".yaml" || path.extension() == ".yml";
  return yaml && name[0] != '.' && name != "agents.yaml";
}

absl::StatusOr<std::vector<std::string>> FilesOfFolder(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> files, folders;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    std::error_code ignored;
    if (entry.is_directory(ignored)) {
      folders.push_back(entry.path());
    } else if (IsScenarioFile(entry.path())) {
      files.push_back(entry.path());
    }
  }
  if (error) return absl::InvalidArgumentError(absl::StrCat("cannot read the folder ", folder, ": ", error.message()));
  // Without their ends: "slow.yaml" comes before "slow-twice.yaml".
  std::sort(files.begin(), files.end(), [](const std::string& a, const std::string& b) {
    return std::make_pair(fs::path(a).stem(), a) < std::make_pair(fs::path(b).stem(), b);
  });
  std::sort(folders.begin(), folders.end());
  if (!files.empty()) return files;
  return absl::InvalidArgumentError(
      absl::StrCat("there is no scenario (*.yaml) in ", folder,
                   folders.empty() ? "" : absl::StrCat("; its folders are suites of their own: ",
                                                       absl::StrJoin(folders, " "))));
}

using Vars = std::map<std::string, std::string>;

// Of several files, each gets the variables that it has. One that none of them has goes to all, which say what they have.
std::map<std::string, Vars> ForEach(const std::vector<std::string>& files, const Vars& vars) {
  std::map<std::string, Vars> vars_of;
  Vars unknown = vars;
  for (const std::string& file : files) {
    Vars& own = vars_of[file];
    const absl::StatusOr<LoadedScenario> loaded = vars.empty() ? absl::NotFoundError("") : LoadScenario(file, {});
    if (!loaded.ok()) continue;  // nothing to ask for, or an error that loading it says again
    for (const auto& [name, value] : vars) {
      if (loaded->scenario.vars().count(name) == 0) continue;
      own[name] = value;
      unknown.erase(name);
    }
  }
  for (auto& [file, own] : vars_of) own.insert(unknown.begin(), unknown.end());
  return vars_of;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ScenarioFiles(const std::vector<std::string>& paths) {
  std::vector<std::string> all;
  std::set<fs::path> seen;
  for (const std::string& path : paths) {
    std::error_code error;
    std::vector<std::string> files = {path};
    if (fs::is_directory(path, error)) {
      absl::StatusOr<std::vector<std::string>> found = FilesOfFolder(path);
      if (!found.ok()) return found.status();
      files = *std::move(found);
    }
    for (const std::string& file : files) {
      const fs::path real = fs::weakly_canonical(file, error);
      if (error || seen.insert(real).second) all.push_back(file);
    }
  }
  return all;
}

std::optional<Vars> ParseAssignments(const std::vector<std::string>& assignments) {
  Vars vars;
  for (const std::string& assignment : assignments) {
    const size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0) {
      fprintf(stderr, "squall: --var %s: write --var NAME=VALUE\n", assignment.c_str());
      return std::nullopt;
    }
    vars[assignment.substr(0, equals)] = assignment.substr(equals + 1);
  }
  return vars;
}

std::optional<LoadedAgents> LoadAgentsFile(const std::string& path) {
  if (path.empty()) return LoadedAgents();
  absl::StatusOr<LoadedAgents> agents = LoadAgents(path);
  if (!agents.ok()) {
    fprintf(stderr, "%s: %s\n", path.c_str(), std::string(agents.status().message()).c_str());
    return std::nullopt;
  }
  if (!agents->mistakes.empty()) {
    fputs(FormatMistakes(path, agents->mistakes).c_str(), stderr);
    return std::nullopt;
  }
  return *std::move(agents);
}

std::optional<std::vector<LoadedScenario>> LoadFiles(const std::vector<std::string>& paths,
                                                     const std::vector<std::string>& assignments,
                                                     const std::string& agents_file) {
  const auto vars = ParseAssignments(assignments);
  if (!vars) return std::nullopt;
  bool good = true;
  std::vector<LoadedScenario> scenarios;
  const absl::StatusOr<std::vector<std::string>> files = ScenarioFiles(paths);
  if (!files.ok()) {
    fprintf(stderr, "squall: %s\n", std::string(files.status().message()).c_str());
    return std::nullopt;
  }
  const auto vars_of = ForEach(*files, *vars);
  for (const std::string& file : *files) {
    const std::optional<LoadedAgents> agents = LoadAgentsFile(agents_file.empty() ? AgentsFileBeside(file) : agents_file);
    if (!agents) return std::nullopt;
    absl::StatusOr<LoadedScenario> loaded = LoadScenario(file, vars_of.at(file), agents->file);
    if (!loaded.ok()) {
      fprintf(stderr, "%s: %s\n", file.c_str(), std::string(loaded.status().message()).c_str());
      good = false;
      continue;
    }
    if (!loaded->mistakes.empty()) {
      fputs(FormatMistakes(*loaded).c_str(), stderr);
      good = false;
    }
    loaded->tls = agents->tls;
    scenarios.push_back(*std::move(loaded));
  }
  if (!good) return std::nullopt;
  return scenarios;
}

}  // namespace squall
