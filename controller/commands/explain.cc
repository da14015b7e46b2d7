#include "controller/explain.h"

#include <cstdio>
#include <memory>

#include "controller/commands/commands.h"

namespace squall {

void AddExplain(CLI::App& app, int& exit_code) {
  const auto topic = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("explain", "Print the reference of a fault, an assertion or a part of the scenario");
  command->add_option("TOPIC", *topic, "For example latency, timeout, load; left out: what topics there are");
  command->callback([topic, &exit_code] {
    const absl::StatusOr<std::string> text = Explain(*topic);
    if (text.ok()) {
      fputs(text->c_str(), stdout);
      return;
    }
    fprintf(stderr, "squall: %s\n", std::string(text.status().message()).c_str());
    exit_code = kExitUsage;
  });
}

}  // namespace squall
