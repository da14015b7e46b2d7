#pragma once

namespace squall {

// The exit codes of `squall`, as in the table of README.md.
enum ExitCode : int {
  kExitPass = 0,
  kExitFail = 1,
  kExitInconclusive = 2,
  kExitHarness = 3,
  kExitGuardrail = 4,
  kExitNotHealed = 5,
  kExitUsage = 64,
  kExitInterrupted = 130,
};

// The more serious of two: 64, then 5, 3, 130, 4, 1, 2, 0.
int WorstExit(int a, int b);

}  // namespace squall
