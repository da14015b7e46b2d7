#include "controller/run.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "controller/commands/commands.h"
#include "controller/commands/interrupts.h"
#include "controller/commands/scenario_files.h"
#include "controller/report/report.h"
#include "controller/terminal.h"

namespace squall {
namespace {

struct Options {
  std::vector<std::string> files, vars;
  std::string runs = "squall-runs";
  std::string agent;
  bool json = false;
  bool quiet = false;
};

int RunOne(const LoadedScenario& loaded, const Options& options, const std::atomic<int>& interrupts) {
  absl::StatusOr<FinishedRun> finished = absl::UnknownError("");
  {
    ProgressView view(loaded.scenario.name());
    RunOptions run;
    run.runs_folder = options.runs;
    run.agent = options.agent;
    run.interrupts = &interrupts;
    if (!options.quiet) {
      run.on_progress = [&](const Progress& progress) { view.Show(progress); };
      run.on_event = [&](const std::string& line) { view.Event(line); };
    }
    finished = RunScenario(loaded, run);
  }
  if (!finished.ok()) {
    fprintf(stderr, "squall: %s\n", std::string(finished.status().message()).c_str());
    return kExitHarness;
  }
  if (options.json) {
    fputs(JsonReport(finished->result).c_str(), stdout);
  } else {
    fputs(TextReport(finished->result, TerminalColumns(), UsesColor(STDOUT_FILENO)).c_str(), stdout);
    printf("Report: %s/report.html\n", finished->folder.c_str());
  }
  fflush(stdout);
  return finished->result.exit_code();
}

}  // namespace

void AddRun(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("run", "Carry out scenarios, one after the other, and judge them");
  command->add_option("FILE", options->files, "Scenario files")->required();
  command->add_option("--var", options->vars, "NAME=VALUE for ${vars.NAME}; may be repeated")->expected(1)->take_all();
  command->add_option("--runs", options->runs, "Where the folders of runs go")->capture_default_str();
  command->add_option("--agent", options->agent, "An agent that is running: unix:PATH. Left out: one of our own");
  command->add_flag("--json", options->json, "Print the verdicts as JSON");
  command->add_flag("--quiet", options->quiet, "Show no progress");
  command->callback([options, &exit_code] {
    const auto scenarios = LoadFiles(options->files, options->vars);
    if (!scenarios) {
      exit_code = kExitUsage;
      return;
    }
    const std::atomic<int>& interrupts = CatchInterrupts();
    for (const LoadedScenario& loaded : *scenarios) {
      exit_code = WorstExit(exit_code, RunOne(loaded, *options, interrupts));
      if (interrupts > 0) break;
    }
  });
}

}  // namespace squall
