#include "controller/exit_code.h"

#include <algorithm>
#include <array>

namespace squall {

int WorstExit(int a, int b) {
  constexpr std::array<int, 8> kMostSeriousFirst = {kExitUsage,     kExitNotHealed, kExitHarness,      kExitInterrupted,
                                            kExitGuardrail, kExitFail,      kExitInconclusive, kExitPass};
  const auto rank = [&](int code) { return std::find(kMostSeriousFirst.begin(), kMostSeriousFirst.end(), code); };
  return rank(a) <= rank(b) ? a : b;
}

}  // namespace squall
