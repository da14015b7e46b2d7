#pragma once

#include <initializer_list>
#include <string>

#include "absl/status/statusor.h"

namespace squall {

// Where the program `name` lies that is installed with this one: beside it, or else in one of `elsewhere`, folders relative to this
// one's. NOT_FOUND: "there is no NAME beside THIS-PROGRAM", to which the caller adds what it is needed for.
absl::StatusOr<std::string> FindBeside(const std::string& name, std::initializer_list<const char*> elsewhere = {});

}  // namespace squall
