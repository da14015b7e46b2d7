#include "controller/run.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "controller/commands/commands.h"
#include "controller/commands/interrupts.h"
#include "controller/commands/scenario_files.h"
#include "controller/report/report.h"
#include "controller/suite/clash.h"
#include "controller/suite/schedule.h"
#include "controller/suite/suite.h"
#include "controller/suite/suite_folder.h"
#include "controller/suite/suite_view.h"
#include "controller/terminal.h"

namespace squall {
namespace {

struct Options {
  std::vector<std::string> paths, vars, tags;
  std::string runs = "squall-runs";
  std::string agents;
  std::string agent;
  SuiteResult::Inconclusive inconclusive = SuiteResult::INCONCLUSIVE_FAIL;
  int parallel = 1;
  int repeat = 1;
  int keep = 0;
  bool fail_fast = false;
  bool json = false;
  bool quiet = false;
};

RunOptions ForRuns(const Options& options, const std::atomic<int>& interrupts) {
  RunOptions run;
  run.runs_folder = options.runs;
  run.agent = options.agent;
  run.interrupts = &interrupts;
  return run;
}

int RunOne(const LoadedScenario& loaded, const Options& options, const std::atomic<int>& interrupts) {
  const bool warns = options.inconclusive == SuiteResult::INCONCLUSIVE_WARN;
  absl::StatusOr<FinishedRun> finished = absl::UnknownError("");
  {
    ProgressView view(loaded.scenario.name());
    RunOptions run = ForRuns(options, interrupts);
    run.inconclusive_fails = !warns;
    if (!options.quiet) {
      run.on_progress = [&](const Progress& progress) { view.Show(progress); };
      run.on_event = [&](const std::string& line) { view.Event(line); };
    }
    finished = RunScenario(loaded, run);
  }
  if (!finished.ok()) return Complain(kExitHarness, finished.status().message());
  if (options.json) {
    fputs(JsonReport(finished->result).c_str(), stdout);
  } else {
    fputs(TextReport(finished->result, TerminalColumns(), UsesColor(STDOUT_FILENO)).c_str(), stdout);
    printf("Report: %s/report.html\n", finished->folder.c_str());
  }
  fflush(stdout);
  const int code = finished->result.exit_code();
  if (!warns || code != kExitInconclusive) return code;
  return Complain(kExitPass, "warning: INCONCLUSIVE, which --inconclusive=warn does not count as a failure");
}

// The name of the folder whose scenarios are run, with nothing in it that a file's name should not have.
std::string SuiteName(const Options& options) {
  std::error_code error;
  if (options.paths.size() != 1 || !std::filesystem::is_directory(options.paths[0], error)) return "suite";
  std::string name = std::filesystem::canonical(options.paths[0], error).filename();
  for (char& c : name) {
    if (!absl::ascii_isalnum(c) && c != '.' && c != '_') c = '-';
  }
  return name.empty() || name == "-" ? "suite" : name;
}

// Says which of the scenarios must wait for others, so that a suite that takes longer than hoped for is no riddle.
void PrintClashes(const std::vector<LoadedScenario>& scenarios, const std::vector<std::string>& labels) {
  for (size_t i = 0; i < scenarios.size(); ++i) {
    for (size_t j = i + 1; j < scenarios.size(); ++j) {
      const std::string why = Clash(scenarios[i], scenarios[j]);
      if (why.empty()) continue;
      fprintf(stderr, "%s and %s run one after the other: %s\n", labels[i].c_str(), labels[j].c_str(), why.c_str());
      break;  // one reason a scenario is enough
    }
  }
}

int RunMany(const std::vector<LoadedScenario>& scenarios, const Options& options, const std::atomic<int>& interrupts) {
  SuiteOptions suite;
  suite.run = ForRuns(options, interrupts);
  suite.name = SuiteName(options);
  suite.parallel = options.parallel;
  suite.repeat = options.repeat;
  suite.fail_fast = options.fail_fast;
  suite.inconclusive = options.inconclusive;
  if (suite.parallel > 1 && !options.agent.empty()) {
    fprintf(stderr, "squall: an agent serves one run at a time: --parallel is of no use with --agent\n");
    suite.parallel = 1;
  }
  const std::vector<std::string> labels = Labels(scenarios);
  if (suite.parallel > 1 && !options.quiet) PrintClashes(scenarios, labels);
  absl::StatusOr<FinishedSuite> finished = absl::UnknownError("");
  {
    std::unique_ptr<SuiteWatcher> watcher = std::make_unique<SilentWatcher>();
    const int runs = static_cast<int>(scenarios.size()) * options.repeat;
    if (!options.quiet) watcher = std::make_unique<SuiteView>(labels, runs);
    finished = RunSuite(scenarios, suite, *watcher);
  }
  if (!finished.ok()) return Complain(kExitHarness, finished.status().message());
  if (options.json) {
    fputs(JsonReport(finished->result).c_str(), stdout);
  } else {
    fputs(TextReport(finished->result, finished->folder, TerminalColumns(), UsesColor(STDOUT_FILENO)).c_str(), stdout);
    printf("Index: %s/index.html\n", finished->folder.c_str());
  }
  fflush(stdout);
  return finished->result.exit_code();
}

// Everything that is asked of a suite and not of a run makes a suite of even one scenario.
bool IsSuite(const std::vector<LoadedScenario>& scenarios, const Options& options) {
  std::error_code error;
  return scenarios.size() != 1 || options.repeat > 1 || options.inconclusive == SuiteResult::INCONCLUSIVE_RERUN ||
         std::filesystem::is_directory(options.paths[0], error);
}

int Run(const Options& options) {
  auto loaded = LoadFiles(options.paths, options.vars, options.agents);
  if (!loaded) return kExitUsage;
  const absl::StatusOr<std::vector<LoadedScenario>> scenarios = WithTags(*std::move(loaded), options.tags);
  if (!scenarios.ok()) return Complain(kExitUsage, scenarios.status().message());
  const std::atomic<int>& interrupts = CatchInterrupts();
  const int code = IsSuite(*scenarios, options) ? RunMany(*scenarios, options, interrupts)
                                                : RunOne(scenarios->front(), options, interrupts);
  if (options.keep == 0) return code;
  const auto pruned = Prune(options.runs, options.keep);
  if (!pruned.ok()) return Complain(WorstExit(code, kExitHarness), pruned.status().message());
  for (const std::string& folder : *pruned) {
    if (!options.quiet) fprintf(stderr, "deleted %s\n", folder.c_str());
  }
  return code;
}

}  // namespace

void AddRun(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "run",
      "Carry out scenarios and judge them. One file is a run; a folder of them, or several files, are a suite: all are\n"
      "checked before the first is run, they are run in order of name, and a table, suite.json, junit.xml and index.html in\n"
      "RUNS/SUITE sum up. The exit code is the most serious of all: 5, 3, 130, 4, 1, 2, 0");
  command->add_option("FILE", options->paths, "Scenario files, and folders of them")->required();
  command->add_option("--var", options->vars, "NAME=VALUE for ${vars.NAME} in every scenario that has it; may be repeated")
      ->expected(1)
      ->take_all();
  command->add_option("--tag", options->tags, "Only scenarios with this tag; with any of them where repeated")
      ->expected(1)
      ->take_all();
  command->add_option("--parallel", options->parallel,
                      "Up to N runs at a time. Scenarios that share a port, a file, an agent or a process that they attach to "
                      "run one after the other, and one whose fault the whole host feels runs alone")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command->add_option("--repeat", options->repeat, "Run each scenario N times. All count: one that fails is not averaged away")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  const std::map<std::string, SuiteResult::Inconclusive> choices = {{"fail", SuiteResult::INCONCLUSIVE_FAIL},
                                                                    {"warn", SuiteResult::INCONCLUSIVE_WARN},
                                                                    {"rerun", SuiteResult::INCONCLUSIVE_RERUN}};
  command->add_option("--inconclusive", options->inconclusive,
                      "What a run that could not be judged counts as: fail: exit code 2, a failure in junit.xml; warn: exit "
                      "code 0 and a warning, skipped in junit.xml; rerun: it is run again, twice at most, and the last one "
                      "counts. Default: fail")
      ->option_text("fail|warn|rerun")
      ->transform(CLI::CheckedTransformer(choices));
  command->add_flag("--fail-fast", options->fail_fast,
                    "Start nothing more once a run did not pass; those that are going on come to their end");
  command->add_option("--runs", options->runs, "Where the folders of runs and suites go")->capture_default_str();
  command->add_option("--keep", options->keep, "Keep the N newest runs and suites there, and delete older ones at the end")
      ->check(CLI::Range(1, 1000000));
  command->add_option("--agents", options->agents,
                      "Where the agents are and the certificates for them. Left out: agents.yaml beside the scenario, if there is one");
  command->add_option("--agent", options->agent,
                      "An agent that is running: unix:PATH. Left out: those that the scenario names, or one of our own");
  command->add_flag("--json", options->json, "Print the verdicts as JSON");
  command->add_flag("--quiet", options->quiet, "Show no progress");
  command->callback([options, &exit_code] { exit_code = Run(*options); });
}

}  // namespace squall
