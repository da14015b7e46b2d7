#pragma once

#include <string>

#include "controller/reading.h"
#include "proto/scenario.pb.h"

namespace squall {

// What of a load could never be sent, or never be told apart. REQUIRES: references are resolved.
void CheckLoad(const Load& load, const std::string& path, Reading& reading);

}  // namespace squall
