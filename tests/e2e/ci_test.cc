// The files of docs/examples do what they are for: a gate goes red on a mutant and stays green on the sound service, and a
// drill keeps its runs and fails where one can see it.
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/quick.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

std::string Example(const std::string& name) { return ReadFile(RunfilePath("docs/examples/" + name)); }

// The commands of a CI file, in their order.
std::vector<std::string> Commands(const std::string& file) {
  std::vector<std::string> commands;
  const YAML::Node root = YAML::Load(Example(file));
  if (root["jobs"]) {
    for (const auto& step : root["jobs"]["gate"]["steps"]) {
      if (step["run"]) commands.push_back(step["run"].as<std::string>());
    }
    return commands;
  }
  for (const char* part : {"before_script", "script"}) {
    for (const auto& line : root["squall"][part]) commands.push_back(line.as<std::string>());
  }
  return commands;
}

// The command of a CI file that is the gate.
std::string Gate(const std::string& file) {
  std::string gate;
  for (const std::string& command : Commands(file)) {
    if (!absl::StrContains(command, "squall run")) continue;
    EXPECT_EQ(gate, "") << "one gate in " << file;
    gate = command;
  }
  return gate;
}

// Runs a gate in a checkout of its own, on a suite of one scenario.
struct GateRun {
  GateRun(const std::string& file, const std::string& mutant) {
    checkout.Write("shop.yaml", QuickScenario("shop", {.mutant = mutant}));
    Process::Options options;
    options.folder = checkout.path();
    options.env["SUITE"] = "scenarios/e2e";
    // As a runner starts it.
    process = std::make_unique<Process>(std::vector<std::string>{"bash", "-e", "-o", "pipefail", "-c", Gate(file)}, options);
  }
  // The exit code, once it is over; and what the CI files pick up is there.
  int Wait() {
    const int code = process->Wait(absl::Seconds(120));
    int found = 0;
    for (const auto& suite : fs::directory_iterator(checkout.path() + "/squall-runs")) {
      found += fs::exists(suite.path() / "junit.xml") && fs::exists(suite.path() / "index.html");
    }
    EXPECT_EQ(found, 1) << "squall-runs/*/junit.xml";
    return code;
  }
  Checkout checkout;
  std::unique_ptr<Process> process;
};

TEST(Gate, IsRedOnAMutantAndGreenOnTheSoundService) {
  GateRun github_sound("squall.github.yml", "none"), github_mutant("squall.github.yml", "ignores-deadline");
  GateRun gitlab_sound("squall.gitlab-ci.yml", "none"), gitlab_mutant("squall.gitlab-ci.yml", "ignores-deadline");
  EXPECT_EQ(github_sound.Wait(), 0) << github_sound.process->Output();
  EXPECT_EQ(github_mutant.Wait(), 1) << github_mutant.process->Output();
  EXPECT_EQ(gitlab_sound.Wait(), 0) << gitlab_sound.process->Output();
  EXPECT_EQ(gitlab_mutant.Wait(), 1) << gitlab_mutant.process->Output();
  for (const GateRun* run : {&github_sound, &github_mutant, &gitlab_sound, &gitlab_mutant}) {
    EXPECT_EQ(LeftBy(run->checkout), std::vector<std::string>());
  }
}

TEST(Gate, OtherCommandsOfTheFilesAreShellAndBuildWhatIsThere) {
  for (const char* file : {"squall.github.yml", "squall.gitlab-ci.yml"}) {
    bool builds = false;
    for (const std::string& command : Commands(file)) {
      Process syntax({"bash", "-n", "-c", command});
      EXPECT_EQ(syntax.Wait(absl::Seconds(10)), 0) << command << syntax.Output();
      builds |= absl::StrContains(command, "bazel build //controller:squall //agent:squall-agent");
    }
    EXPECT_TRUE(builds) << file;
  }
}

// A unit of systemd: "Section.Key" to its values.
std::map<std::string, std::vector<std::string>> ReadUnit(const std::string& text) {
  std::map<std::string, std::vector<std::string>> unit;
  std::string section;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.empty() || line[0] == '#') continue;
    if (line[0] == '[') {
      section = std::string(absl::StripSuffix(absl::StripPrefix(line, "["), "]"));
      continue;
    }
    const std::pair<std::string, std::string> pair = absl::StrSplit(line, absl::MaxSplits('=', 1));
    unit[section + "." + pair.first].push_back(pair.second);
  }
  return unit;
}

// A drill as the unit starts it, but with the checkout's squall, a suite and a folder of runs of its own.
struct Drill {
  explicit Drill(const std::string& mutant, int keep) {
    checkout.Write("shop.yaml", QuickScenario("shop", {.mutant = mutant}));
    const auto unit = ReadUnit(Example("squall-drill.service"));
    std::vector<std::pair<std::string, std::string>> environment;
    for (const std::string& line : unit.at("Service.Environment")) {
      for (const absl::string_view assignment : absl::StrSplit(line, ' ')) {
        const std::pair<std::string, std::string> pair = absl::StrSplit(assignment, absl::MaxSplits('=', 1));
        environment.emplace_back("${" + pair.first + "}", pair.first == "SUITE"  ? checkout.path() + "/scenarios/e2e"
                                                          : pair.first == "RUNS" ? runs()
                                                                                 : pair.second);
      }
    }
    EXPECT_EQ(unit.at("Service.ExecStart").size(), 1u);
    for (const absl::string_view word : absl::StrSplit(unit.at("Service.ExecStart")[0], ' ')) {
      argv.push_back(absl::StrReplaceAll(word, environment));
    }
    EXPECT_EQ(argv[0], "/usr/local/bin/squall") << "without a '-' before it, which would hide a failure";
    argv[0] = checkout.squall();
    if (keep > 0) std::replace(argv.begin(), argv.end(), std::string("--keep=30"), absl::StrCat("--keep=", keep));
  }
  std::string runs() const { return checkout.path() + "/drills"; }
  int Kept() const {
    int kept = 0;
    for (const auto& suite : fs::directory_iterator(runs())) kept += fs::exists(suite.path() / "index.html");
    return kept;
  }
  Checkout checkout;
  std::vector<std::string> argv;
};

TEST(Drill, KeepsItsRunsAndFailsVisibly) {
  const Drill sound("none", 0), mutant("ignores-deadline", 1);
  Process sound_process(sound.argv), mutant_process(mutant.argv);
  EXPECT_EQ(sound_process.Wait(absl::Seconds(120)), 0) << sound_process.Output();
  EXPECT_EQ(sound.Kept(), 1);
  EXPECT_EQ(mutant_process.Wait(absl::Seconds(120)), 1) << mutant_process.Output();
  EXPECT_EQ(mutant.Kept(), 1);
  // What `systemctl status` and the journal show.
  EXPECT_TRUE(absl::StrContains(mutant_process.Output(), "✗ FAIL")) << mutant_process.Output();
  EXPECT_TRUE(absl::StrContains(mutant_process.Output(), "timeout: ")) << mutant_process.Output();
  for (const Drill* drill : {&sound, &mutant}) EXPECT_EQ(LeftBy(drill->checkout), std::vector<std::string>());
}

TEST(Drill, UnitsMakeAFailureOneOfTheService) {
  const auto service = ReadUnit(Example("squall-drill.service"));
  EXPECT_EQ(service.count("Service.SuccessExitStatus"), 0u) << "every exit code but 0 is a failure";
  EXPECT_EQ(service.at("Unit.OnFailure")[0], "squall-drill-failed.service");
  EXPECT_EQ(service.at("Service.KillMode")[0], "mixed");
  EXPECT_EQ(ReadUnit(Example("squall-drill.timer")).count("Timer.OnCalendar"), 1u);
}

TEST(Drill, UnitsAreWhatSystemdUnderstands) {
  if (fs::status("/usr/bin/systemd-analyze").type() == fs::file_type::not_found) {
    printf("LEFT OUT: ci_test: systemd-analyze is not here\n");
    GTEST_SKIP();
  }
  // A unit whose program is not installed is one that verify complains about.
  const Checkout checkout;
  std::vector<std::string> argv = {"systemd-analyze", "verify"};
  for (const char* name : {"squall-drill-failed.service", "squall-drill.service", "squall-drill.timer"}) {
    const std::string path = checkout.path() + "/" + name;
    std::ofstream(path) << absl::StrReplaceAll(Example(name), {{"/usr/local/bin/squall", checkout.squall()},
                                                               {"/usr/bin/logger", "/bin/true"}});
    argv.push_back(path);
  }
  Process verify(argv);
  EXPECT_EQ(verify.Wait(absl::Seconds(30)), 0);
  EXPECT_EQ(verify.Output(), "") << "it complains of unknown keys without failing";
}

}  // namespace
}  // namespace squall
