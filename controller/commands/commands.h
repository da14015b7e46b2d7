#pragma once

#include <CLI/CLI.hpp>

namespace squall {

// Exit codes, as in the table of README.md.
inline constexpr int kExitPass = 0;
inline constexpr int kExitFail = 1;
inline constexpr int kExitInconclusive = 2;
inline constexpr int kExitHarness = 3;
inline constexpr int kExitGuardrail = 4;
inline constexpr int kExitNotHealed = 5;
inline constexpr int kExitUsage = 64;
inline constexpr int kExitInterrupted = 130;

// The most serious of two exit codes: 5, 3, 130, 4, 1, 2, 0; 64 before all.
int WorstExit(int a, int b);

// Each adds one subcommand to the app; its callback stores the exit code.
void AddRun(CLI::App& app, int& exit_code);
void AddCheck(CLI::App& app, int& exit_code);
void AddJudge(CLI::App& app, int& exit_code);
void AddExplain(CLI::App& app, int& exit_code);

}  // namespace squall
