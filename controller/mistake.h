#pragma once

#include <string>

namespace squall {

// One mistake in a scenario file. Line and column start at 1.
struct Mistake {
  int line = 0;
  int column = 0;
  std::string message;  // what is wrong, and what to write instead
};

}  // namespace squall
