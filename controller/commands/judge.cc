#include "controller/assertions/judge.h"

#include <unistd.h>

#include <cstdio>
#include <memory>

#include "controller/commands/commands.h"
#include "controller/report/report.h"
#include "controller/run_folder.h"
#include "controller/suite/suite_folder.h"
#include "controller/terminal.h"

namespace squall {
namespace {

int JudgeWholeSuite(const std::string& folder, bool json) {
  const absl::StatusOr<SuiteResult> suite = JudgeSuite(folder);
  if (!suite.ok()) {
    fprintf(stderr, "squall: %s\n", std::string(suite.status().message()).c_str());
    return kExitHarness;
  }
  fputs((json ? JsonReport(*suite) : TextReport(*suite, folder, TerminalColumns(), UsesColor(STDOUT_FILENO))).c_str(), stdout);
  return suite->exit_code();
}

}  // namespace

void AddJudge(CLI::App& app, int& exit_code) {
  struct Options {
    std::string folder;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("judge", "Judge a recorded run or suite again and write its reports anew");
  command->add_option("RUN", options->folder, "The folder of the run or suite")->required();
  command->add_flag("--json", options->json, "Print the verdicts as JSON");
  command->callback([options, &exit_code] {
    if (IsSuiteFolder(options->folder)) {
      exit_code = JudgeWholeSuite(options->folder, options->json);
      return;
    }
    const absl::StatusOr<Judged> judged = JudgeFolder(options->folder, /*inconclusive_fails=*/true);
    if (!judged.ok()) {
      fprintf(stderr, "squall: %s\n", std::string(judged.status().message()).c_str());
      exit_code = kExitHarness;
      return;
    }
    fputs((options->json ? JsonReport(judged->result)
                         : TextReport(judged->result, TerminalColumns(), UsesColor(STDOUT_FILENO))).c_str(), stdout);
    exit_code = judged->result.exit_code();
  });
}

}  // namespace squall
