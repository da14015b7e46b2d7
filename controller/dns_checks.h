#pragma once

#include <string>

#include "controller/yaml.h"
#include "proto/fault.pb.h"

// What a dns fault must fulfil beyond the rules of single fields. Pure functions.
namespace squall {

// Reports names that are none, addresses that are none, and answers that lack what they need. `path`: of the fault's `dns`.
void CheckDns(const Dns& dns, const std::string& path, Reading& reading);

// A name that both faults of one service would answer, as one of them writes it; empty: there is none.
std::string NameOfBoth(const Dns& first, const Dns& second);

}  // namespace squall
