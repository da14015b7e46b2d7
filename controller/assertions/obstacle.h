#pragma once

#include <string>

namespace squall {

// What stands in the way of a judgement.
struct Obstacle {
  std::string reason;  // one sentence
  std::string advice;  // what to change
};

}  // namespace squall
