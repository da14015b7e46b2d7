// squall: breaks a service on purpose and says whether it healed in time.

#include <CLI/CLI.hpp>

#include "controller/commands/commands.h"

int main(int argc, char** argv) {
  CLI::App app{"squall breaks a service on purpose and says whether it healed in time.\n\n"
               "Exit codes: 0 pass, 1 an assertion failed, 2 inconclusive, 3 the harness failed, 4 a guardrail ended the\n"
               "run, 5 healing not confirmed, 64 bad usage or scenario, 130 interrupted (healed first)."};
  app.require_subcommand(1);
  int exit_code = squall::kExitPass;
  squall::AddRun(app, exit_code);
  squall::AddCheck(app, exit_code);
  squall::AddJudge(app, exit_code);
  squall::AddExplain(app, exit_code);
  squall::AddCerts(app, exit_code);
  squall::AddInject(app, exit_code);
  squall::AddStatus(app, exit_code);
  squall::AddHeal(app, exit_code);
  squall::AddAgents(app, exit_code);
  squall::AddDoctor(app, exit_code);
  squall::AddFind(app, exit_code);
  squall::AddCalibrate(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? squall::kExitPass : squall::kExitUsage;
  }
  return exit_code;
}
