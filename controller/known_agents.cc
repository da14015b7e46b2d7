#include "controller/known_agents.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/local_folder.h"
#include "base/tls.h"

namespace squall {
namespace {

constexpr absl::Duration kAnswersWithin = absl::Seconds(2);
// Services have 2 s to end after SIGTERM, and there may be several.
constexpr absl::Duration kHealsWithin = absl::Seconds(30);

AgentState Ask(KnownAgent& agent) {
  AgentState state;
  state.set_name(agent.name);
  state.set_address(agent.address);
  absl::Status status = agent.client.status();
  ListRunsReply reply;
  if (status.ok()) status = (*agent.client)->CallWithin(kAnswersWithin, &Agent::Stub::ListRuns, ListRunsRequest(), reply);
  if (!status.ok()) {
    state.set_error(std::string(status.message()));
    return state;
  }
  state.set_reachable(true);
  state.set_version(reply.agent_version());
  state.set_host(reply.host());
  state.set_serves(reply.runs_size());
  *state.mutable_runs() = std::move(*reply.mutable_runs());
  return state;
}

Healed End(KnownAgent& agent, const std::string& run_id, const std::string& by) {
  EndRunsRequest request;
  request.set_run_id(run_id);
  request.set_by(by);
  EndRunsReply reply;
  const absl::Status status = (*agent.client)->CallWithin(kHealsWithin, &Agent::Stub::EndRuns, request, reply);
  Healed healed;
  *healed.mutable_ended() = reply.ended();
  *healed.mutable_not_healed() = reply.not_healed();
  if (!status.ok()) {
    healed.add_not_healed(absl::StrCat("agent ", agent.name, " does not confirm that it healed: ", status.message()));
  }
  return healed;
}

// Calls `work` with the index of each agent, all at once.
template <typename Work>
void ForAll(size_t count, Work work) {
  std::vector<std::thread> threads;
  for (size_t i = 0; i < count; ++i) threads.emplace_back([&work, i] { work(i); });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

absl::StatusOr<std::unique_ptr<AgentClient>> ConnectTo(const std::string& name, const LoadedAgents& listed) {
  if (absl::StartsWith(name, "unix:")) return AgentClient::Connect(name);
  for (const AgentAt& at : listed.file.agents()) {
    if (at.name() != name && at.address() != name) continue;
    const absl::StatusOr<TlsIdentity> identity = ControllersIdentity(listed.tls);
    using Client = absl::StatusOr<std::unique_ptr<AgentClient>>;
    Client client = identity.ok() ? AgentClient::Connect(at, *identity) : Client(identity.status());
    if (client.ok()) return client;
    return absl::Status(client.status().code(), absl::StrCat("agent ", at.name(), " (", at.address(), "): ", client.status().message()));
  }
  return absl::NotFoundError(absl::StrCat("agent ", name, " is not known here; list it in agents.yaml with its name and address, or write "
                                          "--agent with the unix:PATH of an agent on this machine"));
}

std::vector<KnownAgent> LocalAgents() {
  std::vector<KnownAgent> agents;
  const std::string folder = LocalFolder();
  if (!WhyNotPrivate(folder).empty()) return agents;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    LocalSocket socket;
    if (!ParseLocalSocket(entry.path(), socket) || !IsAlive(socket)) continue;
    KnownAgent& agent = agents.emplace_back();
    agent.name = absl::StrCat("local-", socket.pid);
    agent.address = absl::StrCat("unix:", socket.path);
    agent.client = AgentClient::Connect(agent.address);
  }
  std::sort(agents.begin(), agents.end(), [](const KnownAgent& a, const KnownAgent& b) { return a.name < b.name; });
  return agents;
}

std::vector<KnownAgent> ListedAgents(const LoadedAgents& listed) {
  std::vector<KnownAgent> agents(static_cast<size_t>(listed.file.agents_size()));
  const absl::StatusOr<TlsIdentity> identity = ControllersIdentity(listed.tls);
  ForAll(agents.size(), [&](size_t i) {
    const AgentAt& at = listed.file.agents(static_cast<int>(i));
    agents[i].name = at.name();
    agents[i].address = at.address();
    if (identity.ok()) {
      agents[i].client = AgentClient::Connect(at, *identity);
    } else {
      agents[i].client = identity.status();
    }
  });
  return agents;
}

AgentStates AskAll(std::vector<KnownAgent>& agents) {
  AgentStates states;
  for (size_t i = 0; i < agents.size(); ++i) states.add_agents();
  ForAll(agents.size(), [&](size_t i) { *states.mutable_agents(static_cast<int>(i)) = Ask(agents[i]); });
  return states;
}

Healed EndRuns(std::vector<KnownAgent>& agents, const AgentStates& states, const std::string& run_id,
               const std::string& by) {
  std::vector<Healed> each(agents.size());
  ForAll(agents.size(), [&](size_t i) {
    const AgentState& state = states.agents(static_cast<int>(i));
    const bool serves = std::any_of(state.runs().begin(), state.runs().end(),
                                    [&](const HeldRun& run) { return run_id.empty() || run.run_id() == run_id; });
    if (serves) each[i] = End(agents[i], run_id, by);
    // What it serves is not known, and may be what is to be ended.
    if (!state.reachable()) {
      each[i].add_not_healed(absl::StrCat("agent ", state.name(), " (", state.address(), ") does not answer: ", state.error()));
    }
  });
  Healed all;
  for (const Healed& one : each) all.MergeFrom(one);
  return all;
}

}  // namespace squall
