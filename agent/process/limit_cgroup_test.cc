// Cgroups with a limit, for each controller that this host has, with real processes. What cpu, memory and pids do with them is tested
// with those faults.
#include "agent/process/limit_cgroup.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/process/spawn.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

template <typename Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < 5000; ++i) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return false;
}

TEST(LimitFile, IsNamedAsTheHierarchyNamesIt) {
  EXPECT_EQ(LimitFile({"cpu", 1, "/c"}), "/c/cpu.cfs_quota_us");
  EXPECT_EQ(LimitFile({"cpu", 2, "/c"}), "/c/cpu.max");
  EXPECT_EQ(LimitFile({"memory", 1, "/c"}), "/c/memory.limit_in_bytes");
  EXPECT_EQ(LimitFile({"memory", 2, "/c"}), "/c/memory.max");
  EXPECT_EQ(LimitFile({"pids", 1, "/c"}), "/c/pids.max");
  EXPECT_EQ(LimitFile({"pids", 2, "/c"}), "/c/pids.max");
  EXPECT_EQ(LimitFile({"freezer", 1, "/c"}), "/c/freezer.state");
  EXPECT_EQ(LimitFile({"freezer", 2, "/c"}), "/c/cgroup.freeze");
}

class CgroupText : public ::testing::Test {
 protected:
  std::string Written(const std::string& text) {
    const std::string path = absl::StrCat(testing::TempDir(), "/cgroup-text-", getpid());
    std::ofstream(path) << text;
    return path;
  }
};

TEST_F(CgroupText, KeyIsFoundInItsLineOnly) {
  const std::string path = Written("low 0\noom 3\noom_kill 7\nodd\nwrong x\n");
  EXPECT_EQ(*ReadCgroupKey(path, "oom_kill"), 7);
  EXPECT_EQ(*ReadCgroupKey(path, "oom"), 3);
  for (const char* key : {"kill", "odd", "wrong", ""}) EXPECT_TRUE(absl::IsNotFound(ReadCgroupKey(path, key).status())) << key;
  EXPECT_TRUE(absl::IsNotFound(ReadCgroupKey("/nowhere", "oom").status()));
}

TEST_F(CgroupText, NumberStandsAlone) {
  EXPECT_EQ(*ReadCgroupNumber(Written("9223372036854771712\n")), 9223372036854771712);
  for (const char* text : {"max\n", "", "1 2\n", "99999999999999999999\n"}) {
    EXPECT_TRUE(absl::IsNotFound(ReadCgroupNumber(Written(text)).status())) << text;
  }
}

TEST(PutBack, LeavesAloneWhatIsNotSqualls) {
  const std::string folder = absl::StrCat(testing::TempDir(), "/put-back-", getpid());
  fs::create_directories(folder + "/squall-1-2/name");
  fs::create_directories(folder + "/squall-disk-1-2/name");
  for (const char* below : {"", "/squall-1-2/name", "/squall-disk-1-2/name", "/squall-disk-1-2"}) {
    EXPECT_FALSE(PutBack(folder + below).ok()) << below;
    EXPECT_TRUE(fs::exists(folder + below)) << below;
  }
  fs::remove_all(folder);
}

// Everything for each controller, below the cgroup in which the test is.
class LimitCgroupTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const absl::StatusOr<LimitCgroup> home = CgroupOf(GetParam(), getpid());
    const absl::Status may = home.ok() ? MayMakeBelow(*home) : home.status();
    if (!may.ok()) {
      printf("LEFT OUT: limit_cgroup_test: making %s cgroups below one's own needs root and, on v2, to be in the first one: %s\n",
             GetParam(), std::string(may.message()).c_str());
      GTEST_SKIP();
    }
    home_ = *home;
    bystander_ = Start({"sleep", "1000"});
  }
  void TearDown() override {
    if (home_.folder.empty()) return;
    EXPECT_TRUE(IsAlive(bystander_));
    EXPECT_EQ(FolderOf(bystander_), home_.folder) << "a bystander was moved";
    for (const ProcessId& process : started_) {
      kill(-process.pid, SIGKILL);
      waitpid(process.pid, nullptr, 0);
    }
    for (auto folder = folders_.rbegin(); folder != folders_.rend(); ++folder) {
      EXPECT_TRUE(Eventually([&] { return rmdir(folder->c_str()) == 0; })) << *folder;
    }
    for (const auto& entry : fs::directory_iterator(home_.folder)) {
      EXPECT_FALSE(absl::StrContains(entry.path().string(), absl::StrCat("squall-", GetParam(), "-", getpid(), "-"))) << entry.path();
    }
  }
  ProcessId Start(const std::vector<std::string>& argv, const LimitCgroup& cgroup = {}) {
    SpawnOptions options;
    options.argv = argv;
    if (!cgroup.folder.empty()) options.cgroups = {cgroup.folder};
    started_.push_back(Spawn(options).value().id);
    return started_.back();
  }
  LimitCgroup Make(const std::string& name) {
    folders_.push_back(absl::StrCat(home_.folder, "/test-limit-", getpid(), "-", name));
    EXPECT_EQ(mkdir(folders_.back().c_str(), 0755), 0) << folders_.back();
    return {home_.controller, home_.version, folders_.back()};
  }
  LimitCgroup MakeIn(const LimitCgroup& cgroup, const std::string& name) {
    folders_.push_back(FileOf(cgroup, name));
    EXPECT_EQ(mkdir(folders_.back().c_str(), 0755), 0) << folders_.back();
    return {home_.controller, home_.version, folders_.back()};
  }
  static std::string FolderOf(const ProcessId& process) {
    const absl::StatusOr<LimitCgroup> cgroup = CgroupOf(GetParam(), process.pid);
    return cgroup.ok() ? cgroup->folder : std::string(cgroup.status().message());
  }

  LimitCgroup home_;
  ProcessId bystander_;
  std::vector<ProcessId> started_;
  std::vector<std::string> folders_;
};

TEST_P(LimitCgroupTest, OneThatHoldsTheServiceAloneIsItsOwn) {
  const LimitCgroup cgroup = Make("own");
  const ProcessId first = Start({"sleep", "1000"}, cgroup), second = Start({"sleep", "1000"}, cgroup);
  const absl::StatusOr<LimitPlace> place = PlaceOf(GetParam(), {first, second});
  ASSERT_TRUE(place.ok()) << place.status();
  EXPECT_TRUE(place->own);
  EXPECT_EQ(place->cgroup.folder, cgroup.folder);
  const std::vector<ProcessId> inside = ProcessesIn(cgroup);
  EXPECT_EQ(inside.size(), 2u);
  EXPECT_NE(std::find(inside.begin(), inside.end(), first), inside.end());
}

TEST_P(LimitCgroupTest, OneWithANeighbourInItIsNot) {
  const LimitCgroup cgroup = Make("shared");
  const ProcessId service = Start({"sleep", "1000"}, cgroup);
  Start({"sleep", "1000"}, cgroup);
  const absl::StatusOr<LimitPlace> place = PlaceOf(GetParam(), {service});
  if (home_.version == 2 && home_.controller != "freezer") {
    EXPECT_TRUE(absl::StrContains(place.status().message(), "holds processes of others too, and v2 allows no cgroup")) << place.status();
    return;
  }
  ASSERT_TRUE(place.ok()) << place.status();
  EXPECT_FALSE(place->own);
  EXPECT_EQ(place->cgroup.folder, cgroup.folder);
}

TEST_P(LimitCgroupTest, OneWithANeighbourBelowItIsNotEither) {
  const LimitCgroup cgroup = Make("above"), below = MakeIn(cgroup, "below");
  const ProcessId service = Start({"sleep", "1000"}, cgroup);
  Start({"sleep", "1000"}, below);
  const absl::StatusOr<LimitPlace> place = PlaceOf(GetParam(), {service});
  if (place.ok()) EXPECT_FALSE(place->own);
}

TEST_P(LimitCgroupTest, ServiceInOneAndInOnesBelowItOwnsThemAll) {
  const LimitCgroup cgroup = Make("above"), below = MakeIn(cgroup, "below");
  const ProcessId first = Start({"sleep", "1000"}, cgroup), second = Start({"sleep", "1000"}, below);
  const absl::StatusOr<LimitPlace> place = PlaceOf(GetParam(), {first, second});
  ASSERT_TRUE(place.ok()) << place.status();
  EXPECT_TRUE(place->own);
  EXPECT_EQ(place->cgroup.folder, cgroup.folder);
}

TEST_P(LimitCgroupTest, ServiceInCgroupsApartCannotBeLimited) {
  const ProcessId first = Start({"sleep", "1000"}, Make("one")), second = Start({"sleep", "1000"}, Make("other"));
  const absl::StatusOr<LimitPlace> place = PlaceOf(GetParam(), {first, second});
  EXPECT_EQ(place.status().code(), absl::StatusCode::kFailedPrecondition) << place.status();
  EXPECT_TRUE(absl::StrContains(place.status().message(), "are in cgroups apart")) << place.status();
}

TEST_P(LimitCgroupTest, ServiceInSeveralThatHoldOthersTooCannotBeLimited) {
  const LimitCgroup cgroup = Make("above"), below = MakeIn(cgroup, "below");
  const ProcessId first = Start({"sleep", "1000"}, cgroup), second = Start({"sleep", "1000"}, below);
  Start({"sleep", "1000"}, cgroup);
  const absl::StatusOr<LimitPlace> place = PlaceOf(GetParam(), {first, second});
  EXPECT_EQ(place.status().code(), absl::StatusCode::kFailedPrecondition) << place.status();
  EXPECT_TRUE(absl::StrContains(place.status().message(), "which holds others too")) << place.status();
}

TEST_P(LimitCgroupTest, ServiceWithoutProcessesHasNoPlace) {
  EXPECT_EQ(PlaceOf(GetParam(), {}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_P(LimitCgroupTest, WhatWasMovedBelowIsPutBackWithWhatItForkedSince) {
  // Forks all the time.
  const ProcessId service = Start({"sh", "-c", "while :; do sleep 0.02; done & wait"});
  const absl::StatusOr<LimitCgroup> expected = BelowOf(home_, "service");
  const absl::StatusOr<LimitCgroup> made = MakeBelow(home_, "service");
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->folder, expected->folder) << "as was written down";
  EXPECT_TRUE(IsCgroupThere(LimitFile(*made)));
  EXPECT_TRUE(MakeBelow(home_, "service").ok()) << "again";
  const absl::Status moved = MoveAllInto(*made, [&] { return WithDescendants({service}); });
  EXPECT_TRUE(moved.ok()) << moved;
  EXPECT_EQ(FolderOf(service), made->folder);
  const absl::StatusOr<LimitCgroup> second = MakeBelow(home_, "second");
  ASSERT_TRUE(second.ok()) << second.status();
  const absl::Status put_back = PutBack(made->folder);
  EXPECT_TRUE(put_back.ok()) << put_back;
  EXPECT_FALSE(IsCgroupThere(made->folder));
  for (const ProcessId& process : WithDescendants({service})) {
    const absl::StatusOr<LimitCgroup> now = CgroupOf(GetParam(), process.pid);
    if (now.ok()) EXPECT_EQ(now->folder, home_.folder);
  }
  EXPECT_TRUE(IsAlive(service)) << "put back, not killed";
  EXPECT_TRUE(PutBack(made->folder).ok()) << "again";
  EXPECT_TRUE(IsCgroupThere(second->folder)) << "another one of this agent's stays";
  EXPECT_TRUE(PutBack(second->folder).ok());
}

TEST_P(LimitCgroupTest, AgentThatStartsPutsBackWhatADeadOneLeftAndNothingOfOneThatLives) {
  const ProcessId moved = Start({"sleep", "1000"}), kept = Start({"sleep", "1000"});
  const pid_t agent = fork();
  if (agent == 0) {
    const absl::StatusOr<LimitCgroup> made = MakeBelow(home_, "moved");
    _exit(made.ok() && MoveAllInto(*made, [&] { return std::vector<ProcessId>{moved}; }).ok() ? 0 : 1);
  }
  int status = 0;
  waitpid(agent, &status, 0);
  EXPECT_EQ(status, 0);
  const std::string left = FolderOf(moved);
  EXPECT_NE(left, home_.folder);
  const LimitCgroup own = MakeBelow(home_, "kept").value();
  EXPECT_TRUE(MoveAllInto(own, [&] { return std::vector<ProcessId>{kept}; }).ok());
  SweepMadeCgroups();
  EXPECT_EQ(FolderOf(moved), home_.folder);
  EXPECT_TRUE(IsAlive(moved));
  EXPECT_FALSE(fs::exists(left));
  EXPECT_EQ(FolderOf(kept), own.folder);
  EXPECT_TRUE(PutBack(own.folder).ok());
}

TEST_P(LimitCgroupTest, ProcessThatHasEndedIsNotInTheWay) {
  const LimitCgroup made = MakeBelow(home_, "service").value();
  const ProcessId gone = Start({"true"});
  ASSERT_TRUE(Eventually([&] { return !IsAlive(gone); }));
  EXPECT_TRUE(MoveAllInto(made, [&] { return std::vector<ProcessId>{gone}; }).ok());
  EXPECT_TRUE(PutBack(made.folder).ok());
}

INSTANTIATE_TEST_SUITE_P(Of, LimitCgroupTest, testing::Values("cpu", "memory", "pids", "freezer"),
                         [](const auto& controller) { return std::string(controller.param); });

}  // namespace
}  // namespace squall
