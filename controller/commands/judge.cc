#include "controller/assertions/judge.h"

#include <unistd.h>

#include <cstdio>
#include <memory>

#include "controller/commands/commands.h"
#include "controller/report/report.h"
#include "controller/run_folder.h"
#include "controller/terminal.h"

namespace squall {

void AddJudge(CLI::App& app, int& exit_code) {
  struct Options {
    std::string folder;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("judge", "Judge a recorded run again and write its reports anew");
  command->add_option("RUN", options->folder, "The run's folder")->required();
  command->add_flag("--json", options->json, "Print the verdicts as JSON");
  command->callback([options, &exit_code] {
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
