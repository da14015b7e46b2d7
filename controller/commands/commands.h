#pragma once

#include <CLI/CLI.hpp>

#include <cstdio>
#include <string>

#include "absl/strings/string_view.h"
#include "controller/exit_code.h"

namespace squall {

// Says on stderr what went wrong, and gives back the exit code.
inline int Complain(int exit_code, absl::string_view message) {
  fprintf(stderr, "squall: %s\n", std::string(message).c_str());
  return exit_code;
}

// Each adds one subcommand to the app; its callback stores the exit code.
void AddRun(CLI::App& app, int& exit_code);
void AddCheck(CLI::App& app, int& exit_code);
void AddJudge(CLI::App& app, int& exit_code);
void AddExplain(CLI::App& app, int& exit_code);
void AddCerts(CLI::App& app, int& exit_code);
void AddInject(CLI::App& app, int& exit_code);
void AddStatus(CLI::App& app, int& exit_code);
void AddHeal(CLI::App& app, int& exit_code);
void AddAgents(CLI::App& app, int& exit_code);
void AddDoctor(CLI::App& app, int& exit_code);
void AddFind(CLI::App& app, int& exit_code);
void AddCalibrate(CLI::App& app, int& exit_code);

}  // namespace squall
