// All faults in random overlap, again and again: the agent's own memory, descriptors and threads end where they began.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "controller/agent_client.h"
#include "controller/scenario.h"
#include "tests/crash/victims.h"

namespace squall {
namespace {

constexpr char kRun[] = "soak";
constexpr int kWarmUp = 40;
constexpr size_t kMostAtOnce = 6;
// What the heap keeps in pieces that nobody uses: 8 to 10 MiB more after 1,000 faults, and after 2,300.
constexpr int64_t kNoiseBytes = 16 << 20;

struct Size {
  int64_t rss_bytes = 0;
  int64_t fds = 0;
  int64_t threads = 0;
};

int64_t Entries(const std::string& folder) {
  std::error_code error;
  return std::distance(std::filesystem::directory_iterator(folder, error), std::filesystem::directory_iterator());
}

Size SizeOf(pid_t pid) {
  const std::string folder = absl::StrCat("/proc/", pid);
  int64_t pages = 0, resident = 0;
  std::ifstream(folder + "/statm") >> pages >> resident;
  return {resident * sysconf(_SC_PAGESIZE), Entries(folder + "/fd"), Entries(folder + "/task")};
}

// What is still going on behind a healing (connections that drain, threads that end) is over soon.
Size SettledSize(pid_t pid, const Size& most) {
  Size size;
  Eventually(absl::Seconds(20), [&] {
    size = SizeOf(pid);
    return size.fds <= most.fds && size.threads <= most.threads && size.rss_bytes <= most.rss_bytes + kNoiseBytes;
  });
  return size;
}

TEST(Soak, AgentEndsAsItBegan) {
  if (!IsRoot()) GTEST_SKIP() << "LEFT OUT: soak_test: most faults need root";
  const char* given = getenv("SOAK_ROUNDS");
  const int rounds = given == nullptr ? 100 : atoi(given);
  const std::string disk = "/dev/shm";
  const Checkout checkout;
  const std::vector<FaultCase> cases = AllFaults(disk);
  Victim victim(checkout, cases.front());
  ASSERT_TRUE(victim.Start()) << victim.Said();

  // One run with all of them. Those that fill what this machine works with are left to the crash matrix, as is the protocol of another
  // edge.
  Scenario scenario;
  for (const FaultCase& fault : cases) {
    if (fault.kind == "disk" || fault.kind == "kill" || !fault.protocol.empty()) continue;
    const LoadedScenario loaded = ParseScenario("soak.yaml", victim.ScenarioWith(fault), {});
    ASSERT_TRUE(loaded.mistakes.empty()) << FormatMistakes(loaded);
    if (scenario.services().empty()) {
      scenario = loaded.scenario;
      scenario.clear_faults();
    }
    *scenario.add_faults() = loaded.scenario.faults(0);
    scenario.mutable_faults(scenario.faults_size() - 1)->set_name(absl::StrCat("fault-", scenario.faults_size()));
  }
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937 random(seed);
  int injected = 0, refused = 0;
  const auto run = [&](int count) {
    const auto client = AgentClient::Connect("unix:" + victim.agent_socket());
    ASSERT_TRUE(client.ok());
    ASSERT_TRUE((*client)->Open(kRun, kRun, absl::Hours(10), [](const AgentEvent&) {}).ok());
    const auto call = [&](auto method, auto request, auto reply) {
      request.set_run_id(kRun);
      return (*client)->Call(method, request, reply);
    };
    PrepareRequest prepare;
    *prepare.mutable_scenario() = scenario;
    prepare.set_folder("/");
    absl::Status status = call(&Agent::Stub::Prepare, prepare, PrepareReply());
    if (status.ok()) status = call(&Agent::Stub::StartServices, StartServicesRequest(), StartServicesReply());
    if (status.ok()) status = call(&Agent::Stub::StartLoad, StartLoadRequest(), StartLoadReply());
    ASSERT_TRUE(status.ok()) << status;

    std::map<int, std::string> active;  // by its place in the scenario
    const auto heal = [&](int which) {
      HealRequest request;
      request.set_fault(active.at(which));
      FaultReply reply;
      request.set_run_id(kRun);
      const absl::Status healed = (*client)->Call(&Agent::Stub::Heal, request, reply);
      EXPECT_TRUE(healed.ok() && reply.event().state() == FaultEvent::HEALED) << active.at(which) << ": " << healed << reply.event().message();
      active.erase(which);
    };
    const auto round = [&] {
      const int which = static_cast<int>(random() % static_cast<uint32_t>(scenario.faults_size()));
      if (active.count(which) > 0) return heal(which);
      if (active.size() >= kMostAtOnce) return heal(std::next(active.begin(), random() % active.size())->first);
      InjectRequest request;
      *request.mutable_fault() = scenario.faults(which);
      request.mutable_fault()->set_name(absl::StrCat(scenario.faults(which).name(), "-", ++injected));
      const absl::Status done = call(&Agent::Stub::Inject, request, FaultReply());
      // Two that fight over one thing are refused, and nothing is left of the second.
      if (done.ok()) {
        active[which] = request.fault().name();
      } else {
        ++refused;
      }
      absl::SleepFor(absl::Milliseconds(random() % 20));
    };
    for (int i = 0; i < count && !testing::Test::HasFailure(); ++i) round();
    while (!active.empty()) heal(active.begin()->first);
  };
  // The first run makes what is made once: after some hundred faults the heap has its size.
  run(std::max(kWarmUp, rounds / 2));
  const auto idle = [&] { return victim.NothingPending() && absl::StrContains(victim.Said(), "ended, run soak"); };
  ASSERT_TRUE(Eventually(absl::Seconds(20), idle));
  absl::SleepFor(absl::Seconds(2));
  const Size before = SizeOf(victim.Agent());
  const int counted_from = injected;
  run(rounds);
  const Size after = SettledSize(victim.Agent(), before);
  printf("%d faults, %d of all refused; descriptors %ld, then %ld; threads %ld, then %ld; memory %.1f MiB, then %.1f MiB\n",
         injected - counted_from, refused, before.fds, after.fds, before.threads, after.threads, static_cast<double>(before.rss_bytes) / (1 << 20),
         static_cast<double>(after.rss_bytes) / (1 << 20));
  EXPECT_LE(after.fds, before.fds);
  EXPECT_LE(after.threads, before.threads);
  EXPECT_LE(after.rss_bytes, before.rss_bytes + kNoiseBytes) << "however many faults there were";
  EXPECT_LT(refused, injected / 4);
  EXPECT_TRUE(victim.NothingPending());
  EXPECT_TRUE(Eventually(absl::Seconds(10), [&] { return victim.Answers(); }));
}

}  // namespace
}  // namespace squall
