#include "tests/e2e/held_agent.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "controller/scenario.h"

namespace squall {
namespace {

constexpr char kRun[] = "held-by-a-test";
constexpr absl::Duration kLongest = absl::Minutes(10);
constexpr absl::Duration kPatience = absl::Seconds(20);

template <typename Request>
Request OfRun() {
  Request request;
  request.set_run_id(kRun);
  return request;
}

}  // namespace

HeldAgent::HeldAgent(const Checkout& checkout, const std::string& text, bool as_nobody) {
  const LoadedScenario loaded = ParseScenario("scenario.yaml", text, {});
  scenario_ = loaded.scenario;
  EXPECT_TRUE(loaded.mistakes.empty()) << FormatMistakes(loaded) << text;
  if (!loaded.mistakes.empty()) return;

  Process::Options options;
  if (as_nobody) options.user = checkout.ForOrdinaryUser();
  const std::string folder = absl::StrCat(checkout.path(), "/agent-of-", as_nobody ? "nobody" : "root");
  mkdir(folder.c_str(), 0700);
  if (as_nobody) chmod(folder.c_str(), 0777);
  options.env = {{"SQUALL_RUNTIME_DIR", folder + "/run"}};
  const std::string address = absl::StrCat("unix:", folder, "/agent.sock");
  agent_ = std::make_unique<Process>(std::vector<std::string>{checkout.agent(), "--listen=" + address}, options);
  EXPECT_TRUE(agent_->WaitForOutput("serves on ", absl::Seconds(20))) << agent_->Output();

  absl::StatusOr<std::unique_ptr<AgentClient>> client = AgentClient::Connect(address);
  EXPECT_TRUE(client.ok()) << client.status();
  if (!client.ok()) return;
  client_ = *std::move(client);
  const absl::Status opened = client_->Open(kRun, kRun, kLongest, [](const AgentEvent&) {});
  EXPECT_TRUE(opened.ok()) << opened;
  auto prepare = OfRun<PrepareRequest>();
  *prepare.mutable_scenario() = scenario_;
  prepare.set_folder(checkout.path());
  prepare.set_seed(7);
  PrepareReply prepared;
  const absl::Status can = client_->Call(&Agent::Stub::Prepare, prepare, prepared);
  EXPECT_TRUE(can.ok()) << can;
  StartServicesReply started;
  const absl::Status runs = client_->Call(&Agent::Stub::StartServices, OfRun<StartServicesRequest>(), started);
  EXPECT_TRUE(runs.ok()) << runs;
  holds_ = opened.ok() && can.ok() && runs.ok();
}

HeldAgent::~HeldAgent() {
  if (client_ != nullptr) {
    auto finish = OfRun<FinishRequest>();
    finish.set_at_once(true);
    FinishReply reply;
    const absl::Status status = client_->CallWithin(kPatience, &Agent::Stub::Finish, finish, reply);
    EXPECT_TRUE(status.ok()) << status;
    for (const std::string& left : reply.not_healed()) ADD_FAILURE() << "not healed: " << left;
    client_.reset();
  }
  if (agent_ == nullptr) return;
  agent_->Signal(SIGTERM);
  EXPECT_EQ(agent_->Wait(absl::Seconds(20)), 0) << agent_->Output();
}

std::string HeldAgent::Inject(const std::string& fault) {
  for (const Fault& each : scenario_.faults()) {
    if (each.name() != fault) continue;
    auto request = OfRun<InjectRequest>();
    *request.mutable_fault() = each;
    FaultReply reply;
    const absl::Status status = client_->CallWithin(kPatience, &Agent::Stub::Inject, request, reply);
    return status.ok() ? "" : std::string(status.message());
  }
  return "the scenario has no such fault";
}

std::string HeldAgent::Heal(const std::string& fault, Evidence* evidence) {
  auto request = OfRun<HealRequest>();
  request.set_fault(fault);
  FaultReply reply;
  const absl::Status status = client_->CallWithin(kPatience, &Agent::Stub::Heal, request, reply);
  if (!status.ok()) return std::string(status.message());
  if (evidence != nullptr) *evidence = reply.event().evidence();
  return reply.event().state() == FaultEvent::HEALED ? "" : absl::StrCat("not confirmed: ", reply.event().message());
}

}  // namespace squall
