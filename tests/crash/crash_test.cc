// Whatever dies, and whenever: every fault against every death. After each the host is as it was, and the service that was broken
// answers as before.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/host_changes.h"
#include "agent/host_digest.h"
#include "proto/fault.pb.h"
#include "tests/crash/victims.h"

namespace squall {
namespace {

constexpr size_t kAtATime = 8;
// What a machine with so many of them adds to what was promised.
constexpr absl::Duration kSlack = absl::Seconds(6);
constexpr absl::Duration kLease = absl::Seconds(5);
constexpr uint32_t kInjectedWithinUs = 1'500'000;
constexpr char kNobody[] = "nobody dies";

struct Death {
  std::string name;
  absl::Duration promised;
  std::function<void(Victim&)> happens;
};

// 0 and -1 would be others.
void Signal(pid_t pid, int signal) {
  EXPECT_GT(pid, 1);
  if (pid > 1) kill(pid, signal);
}

const std::vector<Death>& Deaths() {
  static const auto& deaths = *new std::vector<Death>{
      {"agent killed", absl::Seconds(1), [](Victim& victim) { Signal(victim.Agent(), SIGKILL); }},
      {"guardian killed", absl::Seconds(1),
       [](Victim& victim) {
         const pid_t agent = victim.Agent(), guardian = victim.GuardianOf(agent);
         EXPECT_GT(guardian, 0) << victim.name();
         Signal(guardian, SIGKILL);
         EXPECT_TRUE(Eventually(kSlack, [&] { return victim.GuardianOf(agent) > 0 && victim.GuardianOf(agent) != guardian; }))
             << victim.name() << ": nobody took its place";
         EXPECT_EQ(victim.Agent(), agent) << victim.name();
         Signal(agent, SIGKILL);  // the next one does what the first would have done
       }},
      {"controller killed", absl::Seconds(1), [](Victim& victim) { Signal(victim.controller(), SIGKILL); }},
      {"agent and controller killed", absl::Seconds(1),
       [](Victim& victim) {
         Signal(victim.controller(), SIGKILL);
         Signal(victim.Agent(), SIGKILL);
       }},
      {"agent stopped", kLease + absl::Seconds(1), [](Victim& victim) { Signal(victim.Agent(), SIGSTOP); }},
      {"controller stopped", kLease + absl::Seconds(1), [](Victim& victim) { Signal(victim.controller(), SIGSTOP); }},
      {kNobody, absl::Seconds(1), [](Victim& victim) { EXPECT_EQ(victim.Finish(), "") << victim.name(); }},
  };
  return deaths;
}

void ForAll(std::vector<std::unique_ptr<Victim>>& victims, const std::function<void(Victim&)>& each) {
  std::vector<std::thread> threads;
  for (auto& victim : victims) threads.emplace_back([&each, &victim] { each(*victim); });
  for (std::thread& thread : threads) thread.join();
}

void End(std::vector<std::unique_ptr<Victim>>& victims) {
  std::vector<std::thread> threads;
  for (auto& victim : victims) threads.emplace_back([&victim] { victim.reset(); });
  for (std::thread& thread : threads) thread.join();
  victims.clear();
}

// A filesystem that may be filled.
class SmallDisk {
 public:
  SmallDisk() {
    char name[] = "/tmp/squall-crash-disk-XXXXXX";
    path_ = mkdtemp(name);
    mounted_ = mount("tmpfs", path_.c_str(), "tmpfs", 0, "size=16m") == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(path_.c_str(), MNT_DETACH);
    rmdir(path_.c_str());
  }
  bool mounted() const { return mounted_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool mounted_ = false;
};

class CrashTest : public ::testing::TestWithParam<size_t> {
 protected:
  // Some at a time, and then the host.
  static void Try(const Death& death, std::vector<std::unique_ptr<Victim>>& victims, std::optional<uint32_t> seed);
  // All faults. With a seed each dies at a random instant, otherwise once the fault acts.
  static void TryAll(const Death& death, std::optional<uint32_t> seed);
  // The digest of the host, without what agents of others do.
  static std::vector<std::string> Changes(const HostState& before) {
    std::vector<std::string> changes;
    for (const HostChange& change : Compare(before, ReadHostState(UsualFolders()), Touched{})) {
      if (!absl::StartsWith(change.name(), "/tmp/squall-e2e-")) changes.push_back(ToText(change));  // what programs of this test print
    }
    return changes;
  }
};

TEST(Crash, EveryKindOfFaultIsTried) {
  std::set<std::string> tried;
  for (const FaultCase& fault : AllFaults("/tmp")) tried.insert(fault.kind);
  const auto* kinds = Fault::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < kinds->field_count(); ++i) EXPECT_THAT(tried, ::testing::Contains(kinds->field(i)->name()));
}

TEST_P(CrashTest, HostIsAsItWasAndTheServiceAnswers) {
  if (!IsRoot()) GTEST_SKIP() << "LEFT OUT: crash_test: most faults need root";
  TryAll(Deaths()[GetParam()], std::nullopt);
}

void CrashTest::TryAll(const Death& death, std::optional<uint32_t> seed) {
  const SmallDisk disk;
  ASSERT_TRUE(disk.mounted());
  const Checkout checkout({"tests/crash/holder"});
  const char* only = getenv("CRASH_FAULT");
  std::vector<std::unique_ptr<Victim>> victims;
  for (const FaultCase& fault : AllFaults(disk.path())) {
    if (only != nullptr && fault.name != only) continue;
    victims.push_back(std::make_unique<Victim>(checkout, fault));
    if (victims.size() < kAtATime) continue;
    Try(death, victims, seed);
    End(victims);
  }
  if (!victims.empty()) Try(death, victims, seed);
  End(victims);
}

// At random instants from the start of a run on: before, while and after the fault is injected. bazel/test --full asks for twenty.
TEST_P(CrashTest, SoItIsWheneverItHappens) {
  if (!IsRoot()) GTEST_SKIP() << "LEFT OUT: crash_test: most faults need root";
  const char* instants = getenv("CRASH_INSTANTS");
  const Death& death = Deaths()[GetParam()];
  if (death.name == kNobody) return;
  std::random_device seeds;
  for (int i = 0; i < (instants == nullptr ? 0 : atoi(instants)); ++i) {
    const uint32_t seed = seeds();
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    TryAll(death, seed);
    if (HasFailure()) return;
  }
}

void CrashTest::Try(const Death& death, std::vector<std::unique_ptr<Victim>>& victims, std::optional<uint32_t> seed) {
  ForAll(victims, [](Victim& victim) { EXPECT_TRUE(victim.Start()) << victim.name() << ": " << victim.Said(); });
  const HostState before = ReadHostState(UsualFolders());
  if (seed) {
    std::mt19937 random(*seed);
    std::map<Victim*, absl::Duration> instants;
    for (const auto& victim : victims) instants[victim.get()] = absl::Microseconds(random() % kInjectedWithinUs);
    ForAll(victims, [&](Victim& victim) {
      victim.Begin();
      absl::SleepFor(instants.at(&victim));
    });
  } else {
    ForAll(victims, [](Victim& victim) { EXPECT_TRUE(victim.Inject()) << victim.name() << ": " << victim.Said(); });
  }
  ASSERT_FALSE(HasFailure());

  std::map<std::string, absl::Duration> took;
  absl::Mutex mutex;
  ForAll(victims, [&](Victim& victim) {
    death.happens(victim);
    const absl::Time died = NowTime();
    const bool healed = Eventually(death.promised + kSlack, [&] { return victim.NothingPending() && victim.Answers(); });
    EXPECT_TRUE(healed) << victim.name() << " is not as before after: " << death.name << "\n" << victim.Said();
    absl::MutexLock lock(&mutex);
    took[victim.name()] = NowTime() - died;
  });
  std::vector<std::string> changes;
  Eventually(kSlack, [&] { return (changes = Changes(before)).empty(); });
  EXPECT_THAT(changes, ::testing::IsEmpty()) << "after: " << death.name;

  for (const auto& victim : victims) {
    printf("| %-22s | %-27s | %s after %.2f s |\n", victim->name().c_str(), death.name.c_str(),
           changes.empty() ? "as before" : "RESIDUE", absl::ToDoubleSeconds(took[victim->name()]));
  }
}

INSTANTIATE_TEST_SUITE_P(Deaths, CrashTest, ::testing::Range<size_t>(0, 7));

}  // namespace
}  // namespace squall
