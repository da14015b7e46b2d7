#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "absl/time/time.h"

namespace squall::target {

// A flag such as --deadline=300ms. Negative and endless durations are refused.
CLI::Option* AddDuration(CLI::App& app, const std::string& flag, absl::Duration& value,
                         const std::string& description);

struct HostPort {
  std::string host;  // without brackets
  int port = 0;
};

// "127.0.0.1:9090", "[::1]:9090", "localhost:9090".
std::optional<HostPort> ParseHostPort(const std::string& text);

}  // namespace squall::target
