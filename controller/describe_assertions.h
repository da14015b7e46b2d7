#pragma once

#include <string>
#include <vector>

#include "proto/assertion.pb.h"

namespace squall {

// What an assertion asks, in a sentence, and then what it is about. Empty: of no known kind.
std::vector<std::string> DescribeAssertion(const Assertion& assertion);

}  // namespace squall
