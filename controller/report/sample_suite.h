#pragma once

#include "proto/suite.pb.h"

namespace squall {

// A suite that never was, of five scenarios: one that passes, one that fails, one that was INCONCLUSIVE and was run again,
// one that was repeated and failed once, and one that was not run. The same every time.
SuiteResult MakeSampleSuite();

}  // namespace squall
