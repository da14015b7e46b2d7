#include <algorithm>
#include <array>

#include "controller/commands/commands.h"

namespace squall {

int WorstExit(int a, int b) {
  constexpr std::array kMostSeriousFirst = {kExitUsage,     kExitNotHealed, kExitHarness,      kExitInterrupted,
                                            kExitGuardrail, kExitFail,      kExitInconclusive, kExitPass};
  const auto rank = [&](int code) { return std::find(kMostSeriousFirst.begin(), kMostSeriousFirst.end(), code); };
  return rank(a) <= rank(b) ? a : b;
}

}  // namespace squall
