// squall doctor: which faults work on a host, through what, and what would make the others work.

#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "controller/agents_file.h"
#include "controller/commands/commands.h"
#include "controller/commands/scenario_files.h"
#include "controller/doctor_text.h"
#include "controller/known_agents.h"
#include "controller/report/report.h"
#include "controller/terminal.h"

namespace squall {
namespace {

constexpr absl::Duration kAnswersWithin = absl::Seconds(20);

int Doctor(const std::string& agent, const std::string& file, bool json) {
  const std::optional<LoadedAgents> listed = LoadAgentsFile(file.empty() ? AgentsFileBeside("scenario.yaml") : file);
  if (!listed) return kExitUsage;
  const absl::StatusOr<std::unique_ptr<AgentClient>> client = agent.empty() ? AgentClient::StartChild() : ConnectTo(agent, *listed);
  absl::Status status = client.status();
  DiagnoseReply reply;
  if (status.ok()) status = (*client)->CallWithin(kAnswersWithin, &Agent::Stub::Diagnose, DiagnoseRequest(), reply);
  if (!status.ok()) {
    const bool old = client.ok() && absl::IsUnimplemented(status);
    const std::string why = old ? "the agent is of a version that knows no squall doctor; install this one's" : std::string(status.message());
    fprintf(stderr, "squall: nobody to ask: %s\n", why.c_str());
    return kExitHarness;
  }
  fputs((json ? JsonText(reply, /*lines=*/true) : DoctorText(reply, TerminalColumns(), UsesColor(STDOUT_FILENO))).c_str(), stdout);
  return AllWorks(reply) ? kExitPass : kExitInconclusive;
}

}  // namespace

void AddDoctor(CLI::App& app, int& exit_code) {
  struct Options {
    std::string agent;
    std::string agents;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("doctor", "Which faults work on a host, through what, and what would make the others work; touches nothing");
  command->add_option("--agent", options->agent,
                      "The agent on that host: a name or HOST:PORT of agents.yaml, or unix:PATH. Left out: one of our own, here")
      ->type_name("NAME|HOST:PORT");
  command->add_option("--agents", options->agents,
                      "Where agents on other hosts are and the certificates for them. Left out: agents.yaml here, if there is one");
  command->add_flag("--json", options->json, "Print it as JSON");
  command->footer("Exit codes: 0 all faults work, 2 some do not or only in part, 3 the agent cannot be asked, 64 bad usage.");
  command->callback([options, &exit_code] { exit_code = Doctor(options->agent, options->agents, options->json); });
}

}  // namespace squall
