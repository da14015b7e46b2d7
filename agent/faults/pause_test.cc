// pause against real processes and cgroups. A bystander of the same program runs beside the target in every test.
#include "agent/faults/pause.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/faults/fault.h"
#include "agent/leftovers.h"
#include "agent/process/spawn.h"
#include "base/clock.h"
#include "base/durations.h"

namespace squall {
namespace {

constexpr uint64_t kSeed = 11;

// A shell with a child.
std::vector<std::string> Program() { return {"sh", "-c", "sleep 1000 & wait"}; }
// Forks all the time.
std::vector<std::string> Forking() { return {"sh", "-c", "while :; do sleep 0.01; done & while :; do sleep 0.01; done"}; }

template <typename Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < 5000; ++i) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return false;
}

char StateOf(const ProcessId& process) {
  const absl::StatusOr<ProcStat> stat = ReadStat(process.pid);
  return stat.ok() && stat->id == process ? stat->state : '-';
}
bool IsStopped(const ProcessId& process) { return StateOf(process) == 'T'; }

std::string Line(const std::string& file) { return std::string(absl::StripAsciiWhitespace(Slurp(file))); }

// What a cgroup that can be frozen says of itself.
struct Freezer {
  int version;
  std::string folder;
  std::string File() const { return folder + (version == 2 ? "/cgroup.freeze" : "/freezer.state"); }
  std::string Thawed() const { return version == 2 ? "0" : "THAWED"; }
  std::string Frozen() const { return version == 2 ? "1" : "FROZEN"; }
  bool IsFrozen() const {
    return version == 2 ? absl::StrContains(Slurp(folder + "/cgroup.events"), "frozen 1") : Line(File()) == "FROZEN";
  }
};

class PauseTest : public ::testing::Test {
 protected:
  void SetUp() override {
    journal_ = Journal::Create(::testing::TempDir()).value();
    main_ = std::thread([this] { main_thread_.Serve(); });
    bystander_ = SpawnIn({}, Forking());
  }
  void TearDown() override {
    const int64_t before = LastForkOf(bystander_);
    EXPECT_TRUE(Eventually([&] { return LastForkOf(bystander_) > before; })) << "the fault hit a bystander";
    End(bystander_);
    services_.clear();
    for (const ProcessId& process : attached_) {
      kill(-process.pid, SIGCONT);
      End(process);
    }
    main_thread_.Stop();
    main_.join();
    EXPECT_TRUE(journal_->Pending().empty());
    for (auto folder = folders_.rbegin(); folder != folders_.rend(); ++folder) {
      EXPECT_TRUE(Eventually([&] { return rmdir(folder->c_str()) == 0; })) << *folder;  // once its dead have left
    }
  }

  static void End(const ProcessId& leader) {
    kill(-leader.pid, SIGKILL);
    waitpid(leader.pid, nullptr, 0);
  }
  // What a program that forks has forked last, as a number that grows while it runs.
  static int64_t LastForkOf(const ProcessId& leader) {
    int64_t last = 0;
    for (const ProcessId& process : WithDescendants({leader})) last = std::max(last, static_cast<int64_t>(process.start_ticks));
    return last;
  }
  static ProcessId SpawnIn(const std::vector<std::string>& cgroups, const std::vector<std::string>& argv) {
    SpawnOptions options;
    options.argv = argv;
    options.cgroups = cgroups;
    return Spawn(options).value().id;
  }

  RunningService& Add(const Service& service) {
    services_["target"] = std::make_unique<RunningService>(
        service, RunningService::Context{"/", "test", &main_thread_, &*journal_, &events_});
    RunningService& target = *services_["target"];
    const absl::Status claimed = target.Claim();
    EXPECT_TRUE(claimed.ok()) << claimed;
    return target;
  }
  RunningService& Run(const std::vector<std::string>& argv = Program()) {
    Service service;
    service.set_name("target");
    service.mutable_run()->Assign(argv.begin(), argv.end());
    RunningService& target = Add(service);
    EXPECT_TRUE(target.Start().ok());
    EXPECT_TRUE(Eventually([&] { return target.Processes().size() >= 2; }));
    return target;
  }
  // A process that was there before.
  RunningService& AttachTo(const std::vector<std::string>& argv, const std::vector<std::string>& cgroups = {}) {
    return AttachTo(SpawnIn(cgroups, argv));
  }
  RunningService& AttachTo(const ProcessId& process) {
    attached_.push_back(process);
    Service service;
    service.set_name("target");
    service.mutable_attach()->set_pid(attached_.back().pid);
    RunningService& target = Add(service);
    EXPECT_TRUE(Eventually([&] { return target.Processes().size() >= 2; }));
    return target;
  }
  // A cgroup of the test's own; nothing where this host or this user has no such.
  std::optional<Freezer> MakeFreezer(int version, const std::string& name) {
    for (const CgroupMount& mount : ParseCgroupMounts(Slurp("/proc/self/mountinfo"))) {
      if (mount.version != version) continue;
      const auto& options = mount.options;
      if (version == 1 && std::find(options.begin(), options.end(), "freezer") == options.end()) continue;
      const std::string folder = absl::StrCat(mount.folder, "/test-", getpid(), "-", name);
      if (mkdir(folder.c_str(), 0755) != 0) break;
      folders_.push_back(folder);
      return Freezer{version, folder};
    }
    printf("LEFT OUT: pause_test: no cgroup with a freezer of v%d can be made here\n", version);
    return std::nullopt;
  }

  std::unique_ptr<ActiveFault> Once() {
    Pause pause;
    pause.set_service("target");
    return Make(pause);
  }
  std::unique_ptr<ActiveFault> Repeated(absl::Duration each, absl::Duration every) {
    Pause pause;
    pause.set_service("target");
    *pause.mutable_each() = FromDuration(each);
    *pause.mutable_every() = FromDuration(every);
    return Make(pause);
  }
  std::unique_ptr<ActiveFault> Make(const Pause& pause) {
    return MakePause(pause, {nullptr, &services_, kSeed, &cancelled_, &main_thread_, &*journal_});
  }
  static void Inject(ActiveFault& fault) {
    const absl::Status status = fault.Inject();
    ASSERT_TRUE(status.ok()) << status;
  }
  static void HealTwice(ActiveFault& fault) {
    const absl::Status status = fault.Heal(HealFor::kFaultOver);
    EXPECT_TRUE(status.ok()) << status;
    const int64_t paused_ns = fault.Seen().paused_ns();
    EXPECT_TRUE(fault.Heal(HealFor::kFaultOver).ok());
    EXPECT_EQ(fault.Seen().paused_ns(), paused_ns);
  }
  static bool AllStopped(const RunningService& target) {
    const std::vector<ProcessId> processes = target.Processes();
    return !processes.empty() && std::all_of(processes.begin(), processes.end(), IsStopped);
  }
  static bool NoneStopped(const RunningService& target) {
    const std::vector<ProcessId> processes = target.Processes();
    return !processes.empty() && std::none_of(processes.begin(), processes.end(), IsStopped);
  }
  static void ExpectGoesOn(const RunningService& target) {
    const int64_t before = LastForkOf(*target.Leader());
    EXPECT_TRUE(Eventually([&] { return LastForkOf(*target.Leader()) > before; }));
  }

  std::unique_ptr<Journal> journal_;
  MainThread main_thread_;
  std::thread main_;
  Events events_;
  std::map<std::string, std::unique_ptr<RunningService>> services_;
  ProcessId bystander_;
  std::vector<ProcessId> attached_;
  std::vector<std::string> folders_;
  const std::atomic<bool> cancelled_ = false;
};

TEST_F(PauseTest, ServiceThatSquallRunsIsFrozenInItsCgroupAndGoesOn) {
  RunningService& target = Run(Forking());
  if (!target.CgroupFolder().ok()) {
    printf("LEFT OUT: pause_test: freezing what squall runs needs root and cgroup v2\n");
    GTEST_SKIP();
  }
  const Freezer own = {2, *target.CgroupFolder()};
  auto fault = Once();
  Inject(*fault);
  EXPECT_TRUE(own.IsFrozen());
  const std::vector<ProcessId> frozen = target.Processes();
  ASSERT_EQ(journal_->Pending().size(), 2u) << "the service itself, and its freezing";
  EXPECT_EQ(journal_->Pending()[1].undo().cgroup_value().file(), own.File());
  EXPECT_EQ(journal_->Pending()[1].undo().cgroup_value().before(), "0");
  EXPECT_TRUE(Eventually([&] { return fault->Seen().paused_ns() > 50'000'000; }));
  EXPECT_EQ(target.Processes(), frozen) << "nothing was forked";
  EXPECT_EQ(fault->Seen().pauses(), 1);
  EXPECT_EQ(static_cast<size_t>(fault->Seen().pids_size()), frozen.size());
  HealTwice(*fault);
  EXPECT_FALSE(own.IsFrozen());
  ExpectGoesOn(target);
  EXPECT_EQ(journal_->Pending().size(), 1u);
}

TEST_F(PauseTest, RunningServiceAloneInACgroupIsFrozenThere) {
  for (const int version : {2, 1}) {
    const std::optional<Freezer> own = MakeFreezer(version, absl::StrCat("alone", version));
    if (!own) continue;
    RunningService& target = AttachTo(Forking(), {own->folder});
    auto fault = Once();
    Inject(*fault);
    EXPECT_TRUE(own->IsFrozen()) << own->folder;
    ASSERT_EQ(journal_->Pending().size(), 1u);
    EXPECT_EQ(journal_->Pending()[0].undo().cgroup_value().file(), own->File());
    EXPECT_EQ(journal_->Pending()[0].undo().cgroup_value().before(), own->Thawed());
    EXPECT_EQ(fault->Seen().pauses(), 1);
    HealTwice(*fault);
    EXPECT_EQ(Line(own->File()), own->Thawed());
    ExpectGoesOn(target);
    services_.clear();
  }
}

TEST_F(PauseTest, CgroupThatHoldsSomebodyElseIsNotFrozenAndEachProcessIsStoppedInstead) {
  for (const int version : {2, 1}) {
    const std::optional<Freezer> shared = MakeFreezer(version, absl::StrCat("shared", version));
    if (!shared) continue;
    const std::string below = absl::StrCat(shared->folder, "/below");
    ASSERT_EQ(mkdir(below.c_str(), 0755), 0);
    folders_.push_back(below);
    attached_.push_back(SpawnIn({below}, {"sleep", "1000"}));
    const ProcessId neighbour = attached_.back();
    RunningService& target = AttachTo(Program(), {shared->folder});
    auto fault = Once();
    Inject(*fault);
    EXPECT_FALSE(shared->IsFrozen());
    EXPECT_EQ(Line(shared->File()), shared->Thawed());
    EXPECT_TRUE(AllStopped(target));
    EXPECT_FALSE(IsStopped(neighbour));
    HealTwice(*fault);
    EXPECT_TRUE(NoneStopped(target));
    services_.clear();
  }
}

TEST_F(PauseTest, NeighbourThatComesBetweenTwoStopsIsNotFrozenByTheSecond) {
  const std::optional<Freezer> own = MakeFreezer(2, "joined");
  if (!own) GTEST_SKIP();
  RunningService& target = AttachTo(Program(), {own->folder});
  auto fault = Repeated(absl::Milliseconds(20), absl::Milliseconds(50));
  Inject(*fault);
  // It may come within a stop, which then holds it too until its end.
  attached_.push_back(SpawnIn({own->folder}, {"sleep", "1000"}));
  EXPECT_TRUE(Eventually([&] { return AllStopped(target); })) << "by SIGSTOP, which freezing does not show as";
  for (int64_t pauses = fault->Seen().pauses(); fault->Seen().pauses() < pauses + 3;) {
    EXPECT_FALSE(own->IsFrozen());
    absl::SleepFor(absl::Milliseconds(1));
  }
  HealTwice(*fault);
  EXPECT_TRUE(NoneStopped(target));
}

TEST_F(PauseTest, EveryProcessIsStoppedAlsoWhatIsForkedMeanwhile) {
  RunningService& target = AttachTo(Forking());
  for (int round = 0; round < 20; ++round) {
    auto fault = Once();
    Inject(*fault);
    const std::vector<ProcessId> stopped = target.Processes();
    EXPECT_TRUE(AllStopped(target));
    std::vector<ProcessId> remembered;
    for (const PendingUndo& pending : journal_->Pending()) {
      for (const UndoProcess& process : pending.undo().stopped().processes()) remembered.push_back({process.pid(), process.start_ticks()});
    }
    for (const ProcessId& process : stopped) {
      EXPECT_NE(std::find(remembered.begin(), remembered.end(), process), remembered.end()) << process.pid;
    }
    EXPECT_EQ(target.Processes(), stopped);
    HealTwice(*fault);
    ExpectGoesOn(target);
    EXPECT_TRUE(journal_->Pending().empty());
  }
}

TEST_F(PauseTest, ProcessThatWaitsForItsVforkedChildToExecuteIsStoppedToo) {
  const pid_t parent = fork();
  if (parent == 0) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (true) {
      const pid_t child = vfork();
      if (child == 0) {
        usleep(30'000);
        execl("/bin/sleep", "sleep", "0.005", nullptr);
        _exit(127);
      }
      waitpid(child, nullptr, 0);
    }
  }
  setpgid(parent, parent);
  RunningService& target = AttachTo(ReadStat(parent)->id);
  for (int round = 0; round < 20; ++round) {
    auto fault = Once();
    Inject(*fault);
    EXPECT_TRUE(AllStopped(target));
    HealTwice(*fault);
    ExpectGoesOn(target);
  }
}

TEST_F(PauseTest, ProcessThatWasStoppedBeforeStaysStopped) {
  RunningService& target = AttachTo(Program());
  const std::vector<ProcessId> processes = target.Processes();
  const ProcessId child = processes[0] == *target.Leader() ? processes[1] : processes[0];
  kill(child.pid, SIGSTOP);
  ASSERT_TRUE(Eventually([&] { return IsStopped(child); }));
  auto fault = Once();
  Inject(*fault);
  EXPECT_TRUE(AllStopped(target));
  HealTwice(*fault);
  EXPECT_TRUE(IsStopped(child));
  EXPECT_FALSE(IsStopped(*target.Leader()));
}

TEST_F(PauseTest, ServiceThatIsStoppedAlreadyIsAnErrorAndStaysSo) {
  RunningService& target = AttachTo(Program());
  for (const ProcessId& process : target.Processes()) kill(process.pid, SIGSTOP);
  ASSERT_TRUE(Eventually([&] { return AllStopped(target); }));
  auto fault = Once();
  const absl::Status status = fault->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "service target: all its processes are stopped already")) << status;
  HealTwice(*fault);
  EXPECT_TRUE(AllStopped(target));
  EXPECT_TRUE(journal_->Pending().empty());
}

TEST_F(PauseTest, CgroupThatIsFrozenAlreadyIsAnErrorAndStaysSo) {
  for (const int version : {2, 1}) {
    const std::optional<Freezer> own = MakeFreezer(version, absl::StrCat("frozen", version));
    if (!own) continue;
    AttachTo(Program(), {own->folder});
    ASSERT_TRUE(WriteCgroupFile(own->File(), own->Frozen()).ok());
    ASSERT_TRUE(Eventually([&] { return own->IsFrozen(); }));
    auto fault = Once();
    const absl::Status status = fault->Inject();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_TRUE(absl::StrContains(status.message(), "it is frozen already")) << status;
    HealTwice(*fault);
    EXPECT_TRUE(own->IsFrozen());
    EXPECT_TRUE(WriteCgroupFile(own->File(), own->Thawed()).ok());
    services_.clear();
  }
}

TEST_F(PauseTest, TwoPausesOfOneServiceAreOneTooMany) {
  RunningService& target = AttachTo(Program());
  auto first = Once(), second = Once();
  Inject(*first);
  EXPECT_FALSE(second->Inject().ok());
  EXPECT_TRUE(second->Heal(HealFor::kFaultOver).ok());
  EXPECT_TRUE(AllStopped(target)) << "the first goes on";
  HealTwice(*first);
  EXPECT_TRUE(NoneStopped(target));
}

TEST_F(PauseTest, ServiceWithoutAProcessIsAnErrorAndLeavesNothing) {
  RunningService& target = AttachTo(Program());
  End(attached_.back());
  ASSERT_TRUE(target.Processes().empty());
  auto fault = Once();
  const absl::Status status = fault->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "service target: it has no process")) << status;
  HealTwice(*fault);
  EXPECT_TRUE(journal_->Pending().empty());
}

TEST_F(PauseTest, WhatCannotBeWrittenDownIsNotStopped) {
  signal(SIGXFSZ, SIG_IGN);
  for (const bool run : {true, false}) {
    RunningService& target = run ? Run() : AttachTo(Program());
    auto fault = Once();
    rlimit before;
    ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    rlimit no_file = before;
    no_file.rlim_cur = 0;
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &no_file), 0);
    const absl::Status status = fault->Inject();
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    EXPECT_FALSE(status.ok());
    EXPECT_TRUE(NoneStopped(target));
    if (run && target.CgroupFolder().ok()) EXPECT_EQ(Line(*target.CgroupFolder() + "/cgroup.freeze"), "0");
    services_.clear();
  }
}

TEST_F(PauseTest, SomebodyWhoLetsItGoOnIsSeenInTheEvidence) {
  RunningService& target = AttachTo(Program());
  auto fault = Once();
  Inject(*fault);
  EXPECT_TRUE(Eventually([&] { return fault->Seen().paused_ns() > 0; }));
  for (const ProcessId& process : target.Processes()) kill(process.pid, SIGCONT);
  fault->Seen();
  const int64_t paused_ns = fault->Seen().paused_ns();
  for (const int64_t until = BootNanos() + 20'000'000; BootNanos() < until;) EXPECT_EQ(fault->Seen().paused_ns(), paused_ns);
  HealTwice(*fault);
}

TEST_F(PauseTest, RepeatedStopsComeAndGoUntilItIsHealed) {
  for (const bool run : {true, false}) {
    RunningService& target = run ? Run(Forking()) : AttachTo(Forking());
    auto fault = Repeated(absl::Milliseconds(20), absl::Milliseconds(20));
    Inject(*fault);
    EXPECT_EQ(fault->Seen().pauses(), 1) << "the first at once";
    EXPECT_TRUE(Eventually([&] { return fault->Seen().pauses() >= 5; }));
    HealTwice(*fault);
    const Evidence evidence = fault->Seen();
    EXPECT_GE(evidence.paused_ns(), (evidence.pauses() - 1) * 20'000'000) << "each as long as asked for, but for the one that healing cut";
    EXPECT_GE(evidence.requested_ns(), (evidence.pauses() - 1) * 20'000'000);
    EXPECT_LT(evidence.requested_ns(), (evidence.pauses() + 3) * 20'000'000) << "and of stops that did not come about";
    EXPECT_TRUE(NoneStopped(target));
    ExpectGoesOn(target);
    EXPECT_EQ(fault->Seen().pauses(), evidence.pauses());
    services_.clear();
    EXPECT_TRUE(journal_->Pending().empty());
  }
}

TEST_F(PauseTest, RepeatedStopsAreWrittenDownOnce) {
  AttachTo(Program());
  auto fault = Repeated(absl::Milliseconds(2), absl::Milliseconds(2));
  Inject(*fault);
  const std::string before = Slurp(journal_->path());
  EXPECT_TRUE(Eventually([&] { return fault->Seen().pauses() >= 10; }));
  EXPECT_EQ(Slurp(journal_->path()), before);
  HealTwice(*fault);
}

TEST_F(PauseTest, ServiceThatDiesAndComesBackBetweenStopsIsStoppedAgain) {
  RunningService& target = Run();
  auto fault = Repeated(absl::Milliseconds(5), absl::Milliseconds(20));
  Inject(*fault);
  for (const ProcessId& process : target.Processes()) kill(process.pid, SIGKILL);
  ASSERT_TRUE(Eventually([&] {
    target.Look();
    return target.Processes().empty();
  }));
  const int64_t pauses = fault->Seen().pauses();
  const absl::Status started = target.Start();
  ASSERT_TRUE(started.ok()) << started;
  EXPECT_TRUE(Eventually([&] { return fault->Seen().pauses() > pauses + 2; }));
  HealTwice(*fault);
  EXPECT_TRUE(NoneStopped(target));
}

TEST_F(PauseTest, FrozenServiceCanBeEndedAndNotBeStarted) {
  RunningService& target = Run();
  if (!target.CgroupFolder().ok()) GTEST_SKIP();
  auto fault = Once();
  Inject(*fault);
  const absl::Status started = target.Start();
  EXPECT_EQ(started.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(started.message(), "is frozen")) << started;
  // As after a healing that failed.
  const absl::Status stopped = target.Stop();
  EXPECT_TRUE(stopped.ok()) << stopped;
  EXPECT_TRUE(target.Processes().empty());
  HealTwice(*fault);
}

TEST_F(PauseTest, WhoeverReadsTheJournalOfADeadAgentLetsItGoOn) {
  const std::optional<Freezer> v2 = MakeFreezer(2, "dead2"), v1 = MakeFreezer(1, "dead1");
  std::vector<std::vector<std::string>> places = {{}};
  if (v2) places.push_back({v2->folder});
  if (v1) places.push_back({v1->folder});
  for (const std::vector<std::string>& place : places) {
    RunningService& target = AttachTo(Forking(), place);
    const std::string folder = absl::StrCat(::testing::TempDir(), "/dead-", places.size(), "-", &place - places.data());
    ASSERT_EQ(mkdir(folder.c_str(), 0700), 0);
    // An agent of its own, which injects and is killed.
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t agent = fork();
    if (agent == 0) {
      const std::unique_ptr<Journal> journal = Journal::Create(folder).value();
      Pause pause;
      pause.set_service("target");
      auto fault = MakePause(pause, {nullptr, &services_, kSeed, &cancelled_, &main_thread_, &*journal});
      (void)!write(ready[1], fault->Inject().ok() ? "y" : "n", 1);
      while (true) ::pause();
    }
    char byte = 0;
    ASSERT_EQ(read(ready[0], &byte, 1), 1);
    EXPECT_EQ(byte, 'y');
    const std::string journal = absl::StrCat(folder, "/", agent, "-", ReadStat(agent)->id.start_ticks, ".journal");
    kill(agent, SIGKILL);
    waitpid(agent, nullptr, 0);
    const int64_t last = LastForkOf(*target.Leader());
    if (place.empty()) {
      EXPECT_TRUE(AllStopped(target));
    } else {
      EXPECT_TRUE((place[0] == (v2 ? v2->folder : "") ? *v2 : *v1).IsFrozen());
    }
    const Recovered recovered = TakeBackJournal(journal);
    EXPECT_TRUE(recovered.left.empty()) << ToText(recovered.left[0]);
    EXPECT_GE(recovered.taken_back, 1);
    EXPECT_TRUE(NoneStopped(target));
    EXPECT_TRUE(Eventually([&] { return LastForkOf(*target.Leader()) > last; }));
    services_.clear();
  }
}

TEST_F(PauseTest, CheckSaysWhoIsOutOfReachAndWhoIsNotThere) {
  Service service;
  service.set_name("target");
  EXPECT_TRUE(CheckPause({}, service).ok());
  service.mutable_attach()->set_pid(bystander_.pid);
  EXPECT_TRUE(CheckPause({}, service).ok());
  service.mutable_attach()->set_pid(getppid());
  EXPECT_TRUE(absl::StrContains(CheckPause({}, service).message(), "out of reach"));
  service.mutable_attach()->set_pid(0x7ffffff);
  EXPECT_TRUE(absl::StrContains(CheckPause({}, service).message(), "a pause of target is not possible: no process has pid"));
  if (geteuid() != 0) {
    printf("LEFT OUT: pause_test: being another user needs root\n");
    return;
  }
  service.mutable_attach()->set_pid(bystander_.pid);
  const pid_t other = fork();
  if (other == 0) {
    const bool refused = setuid(65534) == 0 && absl::IsPermissionDenied(CheckPause({}, service));
    _exit(refused ? 0 : 1);
  }
  int status = 0;
  waitpid(other, &status, 0);
  EXPECT_EQ(status, 0) << "another user may not";
}

TEST(PauseGap, IsExponentialWithThatMean) {
  constexpr int kCount = 100'000;
  double sum = 0;
  int above_mean = 0;
  for (int i = 0; i < kCount; ++i) {
    const absl::Duration gap = PauseGap(kSeed, i, absl::Seconds(2));
    EXPECT_GE(gap, absl::ZeroDuration());
    sum += absl::ToDoubleSeconds(gap);
    above_mean += gap > absl::Seconds(2);
  }
  EXPECT_NEAR(sum / kCount, 2, 0.03);
  EXPECT_NEAR(above_mean / static_cast<double>(kCount), std::exp(-1), 0.01);
}

TEST(PauseGap, IsTheSameForTheSameSeedOnEveryHost) {
  EXPECT_EQ(absl::ToInt64Microseconds(PauseGap(1, 0, absl::Seconds(1))), 568'169) << "-ln of the first output of SplitMix64 for 1, as published";
  EXPECT_NE(PauseGap(1, 0, absl::Seconds(1)), PauseGap(2, 0, absl::Seconds(1)));
  EXPECT_NE(PauseGap(1, 0, absl::Seconds(1)), PauseGap(1, 1, absl::Seconds(1)));
}

}  // namespace
}  // namespace squall
