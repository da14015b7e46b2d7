// A controller that does nothing but hold: `holder AGENT-ADDRESS SCENARIO` opens a run on the agent, starts or finds the services,
// starts the load, injects every fault of the scenario, says so, and renews the lease until it is killed. With a line on its standard
// input it finishes the run and prints what is not healed.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "controller/agent_client.h"
#include "controller/scenario.h"

namespace squall {
namespace {

constexpr absl::Duration kLongest = absl::Minutes(10);

int Fail(const std::string& what) {
  printf("FAILED: %s\n", what.c_str());
  return 1;
}

int Hold(const std::string& address, const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  const LoadedScenario loaded = ParseScenario(path, text.str(), {});
  if (!loaded.mistakes.empty()) return Fail(FormatMistakes(loaded));
  absl::StatusOr<std::unique_ptr<AgentClient>> client = AgentClient::Connect(address);
  if (!client.ok()) return Fail(client.status().ToString());
  const std::string run = absl::StrCat("crash-", getpid());
  if (const absl::Status opened = (*client)->Open(run, run, kLongest, [](const AgentEvent&) {}); !opened.ok()) {
    return Fail(opened.ToString());
  }
  PrepareRequest prepare;
  prepare.set_run_id(run);
  *prepare.mutable_scenario() = loaded.scenario;
  prepare.set_folder(std::filesystem::path(path).parent_path());
  prepare.set_seed(7);
  PrepareReply prepared;
  absl::Status status = (*client)->Call(&Agent::Stub::Prepare, prepare, prepared);
  StartServicesRequest start;
  start.set_run_id(run);
  StartServicesReply started;
  if (status.ok()) status = (*client)->Call(&Agent::Stub::StartServices, start, started);
  StartLoadRequest load;
  load.set_run_id(run);
  StartLoadReply loading;
  if (status.ok()) status = (*client)->Call(&Agent::Stub::StartLoad, load, loading);
  if (!status.ok()) return Fail(status.ToString());
  printf("HOLDS\n");
  fflush(stdout);
  for (const Fault& fault : loaded.scenario.faults()) {
    InjectRequest inject;
    inject.set_run_id(run);
    *inject.mutable_fault() = fault;
    FaultReply injected;
    status = (*client)->Call(&Agent::Stub::Inject, inject, injected);
    if (!status.ok()) return Fail(absl::StrCat(fault.name(), ": ", status.ToString()));
  }
  printf("INJECTED\n");
  fflush(stdout);
  std::string line;
  if (!std::getline(std::cin, line)) {
    for (;;) pause();
  }
  FinishRequest finish;
  finish.set_run_id(run);
  finish.set_at_once(true);
  FinishReply finished;
  status = (*client)->Call(&Agent::Stub::Finish, finish, finished);
  if (!status.ok()) return Fail(status.ToString());
  for (const std::string& left : finished.not_healed()) printf("NOT HEALED: %s\n", left.c_str());
  printf("FINISHED\n");
  return 0;
}

}  // namespace
}  // namespace squall

int main(int argc, char** argv) {
  if (argc != 3) return squall::Fail("usage: holder AGENT-ADDRESS SCENARIO");
  return squall::Hold(argv[1], argv[2]);
}
