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
constexpr int kMostSteps = 60;  // a pause that comes again and again has more of the same

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
         const auto replaced = [&] {
           const pid_t now = victim.GuardianOf(agent);
           return now > 0 && now != guardian;
         };
         EXPECT_TRUE(Eventually(kSlack, replaced)) << victim.name() << ": nobody took its place";
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

// When a victim dies.
struct Moment {
  std::optional<uint32_t> seed;  // at a random instant from the start of a run on
  int step = 0;                  // held at this step of its agent's journal, from 1 on
  // Neither: once the fault acts.
};

class CrashTest : public ::testing::TestWithParam<size_t> {
 protected:
  // All faults but those for which `left_out` is true, some at a time.
  static void TryAll(const Death& death, const Moment& moment, const std::function<bool(const FaultCase&)>& left_out = nullptr,
                     std::set<std::string>* survived = nullptr);

 private:
  // Some at a time, and then the host. Whom the moment never comes for is in `survived`.
  static void Try(const Death& death, std::vector<std::unique_ptr<Victim>>& victims, const Moment& moment, std::set<std::string>* survived);
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
  TryAll(Deaths()[GetParam()], {});
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
    TryAll(death, {.seed = seed});
    if (HasFailure()) return;
  }
}

// Just before and just after each entry of the journal is synced, those that strike out what has been undone included. bazel/test does
// the first entry of one fault and one death; --full asks for all.
TEST_P(CrashTest, SoItIsAtEveryStepOfTheJournal) {
  if (!IsRoot()) GTEST_SKIP() << "LEFT OUT: crash_test: most faults need root";
  const Death& death = Deaths()[GetParam()];
  if (death.name == kNobody) return;
  const bool all = getenv("CRASH_STEPS") != nullptr;
  if (!all && GetParam() != 0) return;
  std::set<std::string> over;  // which have no such step any more
  const size_t faults = AllFaults("/tmp").size();
  int step = 1;
  for (; over.size() < faults && step <= (all ? kMostSteps : 2); ++step) {
    SCOPED_TRACE(absl::StrCat("step ", step));
    TryAll(death, {.step = step}, [&](const FaultCase& fault) { return over.contains(fault.name) || (!all && fault.name != "fds"); }, &over);
    if (HasFailure()) return;
  }
  if (!all) EXPECT_FALSE(over.contains("fds")) << "no journal was written";
  EXPECT_GE(step, 3);
  if (all) printf("%s: %d steps, %zu of %zu faults have no more\n", death.name.c_str(), step - 1, over.size(), faults);
}

void CrashTest::TryAll(const Death& death, const Moment& moment, const std::function<bool(const FaultCase&)>& left_out,
                       std::set<std::string>* survived) {
  const SmallDisk disk;
  ASSERT_TRUE(disk.mounted());
  const Checkout checkout({"tests/crash/holder", "tests/crash/hold_at_step.so"});
  const char* only = getenv("CRASH_FAULT");
  std::vector<std::unique_ptr<Victim>> victims;
  for (const FaultCase& fault : AllFaults(disk.path())) {
    if ((only != nullptr && fault.name != only) || (left_out && left_out(fault))) continue;
    victims.push_back(std::make_unique<Victim>(checkout, fault));
    if (victims.size() < kAtATime) continue;
    Try(death, victims, moment, survived);
    End(victims);
  }
  if (!victims.empty()) Try(death, victims, moment, survived);
  End(victims);
}

void CrashTest::Try(const Death& death, std::vector<std::unique_ptr<Victim>>& victims, const Moment& moment, std::set<std::string>* survived) {
  ForAll(victims, [&](Victim& victim) {
    if (moment.step > 0) victim.HoldAt(moment.step);
    EXPECT_TRUE(victim.Start()) << victim.name() << ": " << victim.Said();
  });
  const HostState before = ReadHostState(UsualFolders());
  absl::Mutex mutex;
  std::set<std::string> spared;
  if (moment.seed) {
    std::mt19937 random(*moment.seed);
    std::map<Victim*, absl::Duration> instants;
    for (const auto& victim : victims) instants[victim.get()] = absl::Microseconds(random() % kInjectedWithinUs);
    ForAll(victims, [&](Victim& victim) {
      victim.Begin();
      absl::SleepFor(instants.at(&victim));
    });
  } else if (moment.step > 0) {
    ForAll(victims, [&](Victim& victim) {
      bool held = false;
      EXPECT_TRUE(victim.ReachStep(held)) << victim.name() << ": " << victim.Said();
      if (held) return;
      absl::MutexLock lock(&mutex);
      spared.insert(victim.name());
    });
    survived->insert(spared.begin(), spared.end());
  } else {
    ForAll(victims, [](Victim& victim) { EXPECT_TRUE(victim.Inject()) << victim.name() << ": " << victim.Said(); });
  }
  ASSERT_FALSE(HasFailure());

  std::map<std::string, absl::Duration> took;
  ForAll(victims, [&](Victim& victim) {
    if (spared.contains(victim.name())) return;
    death.happens(victim);
    victim.Release();
    const absl::Time died = NowTime();
    const bool healed = Eventually(death.promised + kSlack, [&] { return victim.NothingPending() && victim.Answers(); });
    EXPECT_TRUE(healed) << victim.name() << " is not as before after: " << death.name << "\n" << victim.Said();
    absl::MutexLock lock(&mutex);
    took[victim.name()] = NowTime() - died;
  });
  std::vector<std::string> changes;
  Eventually(death.promised + kSlack, [&] { return (changes = Changes(before)).empty(); });
  EXPECT_THAT(changes, ::testing::IsEmpty()) << "after: " << death.name;

  for (const auto& [name, time] : took) {
    printf("| %-22s | %-27s | %s after %.2f s |\n", name.c_str(), death.name.c_str(), changes.empty() ? "as before" : "RESIDUE",
           absl::ToDoubleSeconds(time));
  }
}

INSTANTIATE_TEST_SUITE_P(Deaths, CrashTest, ::testing::Range<size_t>(0, 7));

}  // namespace
}  // namespace squall
