#include "controller/agents.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "absl/strings/str_cat.h"
#include "controller/agents_file.h"
#include "controller/placement.h"
#include "controller/rebase.h"

namespace squall {
namespace {

absl::Status Labelled(const Agents::Member& member, const absl::Status& status) {
  if (status.ok() || member.label.empty()) return status;
  return absl::Status(status.code(), absl::StrCat(member.label, ": ", status.message()));
}

std::string WhyLost(const absl::Status& status) {
  if (status.ok() || absl::IsCancelled(status)) return "it ended the run: it did not hear from this controller within its lease, or was stopped";
  return absl::StrCat("the connection to it was lost (", status.message(), ")");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Agents>> Agents::Connect(const Scenario& scenario, const std::string& address,
                                                        const TlsPaths& tls) {
  std::unique_ptr<Agents> agents(new Agents);
  for (const std::string& name : AgentsInUse(scenario)) {
    agents->members_.push_back(std::make_unique<Member>());
    agents->members_.back()->name = name;
  }
  absl::Status status;
  if (Member& first = *agents->members_.front(); first.name.empty()) {
    absl::StatusOr<std::unique_ptr<AgentClient>> client =
        address.empty() ? AgentClient::StartChild() : AgentClient::Connect(address);
    if (!client.ok()) return client.status();
    first.client = *std::move(client);
  } else if (!address.empty()) {
    return absl::InvalidArgumentError("the scenario names its agents: leave out --agent");
  } else {
    const absl::StatusOr<TlsIdentity> identity = ControllersIdentity(tls);
    if (!identity.ok()) return identity.status();
    status = agents->ForEach([&](Member& member) {
      const AgentAt& at = *std::find_if(scenario.agents().begin(), scenario.agents().end(),
                                        [&](const AgentAt& each) { return each.name() == member.name; });
      member.label = absl::StrCat("agent ", at.name(), " (", at.address(), ")");
      absl::StatusOr<std::unique_ptr<AgentClient>> client = AgentClient::Connect(at, *identity);
      if (client.ok()) member.client = *std::move(client);
      return client.status();
    });
  }
  if (status.ok()) status = agents->ReadClocks();
  if (!status.ok()) return status;
  return agents;
}

absl::Status Agents::ReadClocks() {
  return ForEach([](Member& member) {
    const absl::StatusOr<AgentClient::Clock> clock = member.client->ReadClock();
    if (clock.ok()) member.clock = *clock;
    return clock.ok() ? absl::OkStatus()
                      : absl::Status(clock.status().code(), absl::StrCat("it does not answer: ", clock.status().message()));
  });
}

void Agents::FillClocks(Header& header) const {
  for (const auto& member : members_) {
    header.set_clock_uncertainty_ns(std::max(header.clock_uncertainty_ns(), member->clock.uncertainty_ns));
    if (!member->name.empty()) (*header.mutable_agent_clock_uncertainty_ns())[member->name] = member->clock.uncertainty_ns;
  }
}

void Agents::FillClocks(Footer& footer) {
  absl::Mutex mutex;
  ForEach([&](Member& member) {
    const absl::StatusOr<AgentClient::Clock> now = member.client->ReadClock();
    if (!now.ok()) return now.status();
    const int64_t drift = std::llabs(now->ahead_ns - member.clock.ahead_ns);
    const int64_t uncertainty = std::max(member.clock.uncertainty_ns, drift + now->uncertainty_ns);
    absl::MutexLock lock(&mutex);
    footer.set_clock_uncertainty_ns(std::max(footer.clock_uncertainty_ns(), uncertainty));
    if (!member.name.empty()) (*footer.mutable_agent_clock_uncertainty_ns())[member.name] = uncertainty;
    return absl::OkStatus();
  }).IgnoreError();
}

absl::Status Agents::Open(const std::string& run_id, const std::string& holder, absl::Duration expected,
                          int64_t started_ns, std::function<void(AgentEvent)> on_event) {
  return ForEach([&](Member& member) {
    const int64_t shift_ns = started_ns + member.clock.ahead_ns;
    const absl::Status status =
        member.client->Open(run_id, holder, expected, [this, &member, shift_ns, on_event](AgentEvent event) {
      if (event.has_record()) Rebase(*event.mutable_record(), shift_ns);
      if (event.record().has_host()) event.mutable_record()->mutable_host()->set_agent(member.name);
      absl::MutexLock lock(&events_mutex_);
      on_event(std::move(event));
    });
    member.lost = !status.ok();
    return status;
  });
}

absl::Status Agents::ForEach(const std::function<absl::Status(Member&)>& what) {
  std::vector<absl::Status> results(members_.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < members_.size(); ++i) {
    if (members_[i]->lost) continue;
    threads.emplace_back([&, i] { results[i] = Labelled(*members_[i], what(*members_[i])); });
  }
  for (std::thread& thread : threads) thread.join();
  for (absl::Status& result : results) {
    if (!result.ok()) return std::move(result);
  }
  return absl::OkStatus();
}

Agents::Member& Agents::Named(const std::string& name) {
  return **std::find_if(members_.begin(), members_.end(), [&](const auto& member) { return member->name == name; });
}

std::vector<LostAgent> Agents::Lost() {
  std::vector<LostAgent> lost;
  for (const auto& member : members_) {
    if (member->lost || member->finished || !member->client->StreamIsOver()) continue;
    member->lost = true;
    lost.emplace_back().set_name(member->name);
    lost.back().set_reason(WhyLost(member->client->StreamStatus()));
  }
  return lost;
}

absl::Status Agents::WaitForChild(absl::Duration timeout) {
  for (const auto& member : members_) {
    const absl::Status status = member->client->child() > 0 ? member->client->WaitForChild(timeout) : absl::OkStatus();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace squall
