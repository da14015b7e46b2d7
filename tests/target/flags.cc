#include "tests/target/flags.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"

namespace squall::target {

CLI::Option* AddDuration(CLI::App& app, const std::string& flag, absl::Duration& value,
                         const std::string& description) {
  const auto parse = [&value](const CLI::results_t& results) {
    return absl::ParseDuration(results.at(0), &value) && value >= absl::ZeroDuration() &&
           value < absl::InfiniteDuration();
  };
  return app.add_option(flag, parse, description)
      ->type_name("DURATION")
      ->default_str(absl::FormatDuration(value));
}

std::optional<HostPort> ParseHostPort(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  HostPort parsed;
  absl::string_view host = absl::string_view(text).substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    host = host.substr(1, host.size() - 2);
  } else if (absl::StrContains(host, ":")) {
    return std::nullopt;
  }
  parsed.host = std::string(host);
  if (parsed.host.empty() || !absl::SimpleAtoi(text.substr(colon + 1), &parsed.port)) return std::nullopt;
  if (parsed.port < 1 || parsed.port > 65535) return std::nullopt;
  return parsed;
}

}  // namespace squall::target
