// Real cgroups, limits, tables, BPF programs and processes, each made and taken away again. A bystander runs beside.
#include "agent/host_digest.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/host_changes.h"
#include "agent/net/netns.h"
#include "agent/net/nft_table.h"
#include "agent/process/cgroup.h"
#include "agent/process/limit_cgroup.h"
#include "base/clock.h"

namespace squall {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

class HostDigest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / absl::StrCat("squall-digest-test-", getpid());
    std::filesystem::create_directory(folder_);
    folders_.own = {folder_};
    self_ = ReadStat(getpid()).value().id;
    bystander_ = Child();
    before_ = Read();
  }
  void TearDown() override {
    for (const ProcessId& child : children_) End(child);
    std::vector<std::string> seen;
    for (const HostChange& change : Compare(before_, Read(), Everything())) {
      if (change.by_squall() || absl::StrContains(change.name(), absl::StrCat("pid ", bystander_.pid, " "))) seen.push_back(ToText(change));
    }
    EXPECT_THAT(seen, testing::IsEmpty()) << "all was taken back";
    End(bystander_);
    std::filesystem::remove_all(folder_);
  }

  // A process that does nothing.
  static ProcessId Child() {
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (;;) pause();
    }
    return ReadStat(pid).value().id;
  }
  static void End(const ProcessId& process) {
    kill(process.pid, SIGKILL);
    waitpid(process.pid, nullptr, 0);
  }
  ProcessId Target() { return children_.emplace_back(Child()); }

  HostState Read() const { return ReadHostState(folders_); }
  // As of an agent that touched what the test did.
  Touched Everything() const {
    Touched touched;
    touched.agent = {self_.pid, self_.start_ticks};
    touched.processes.insert(children_.begin(), children_.end());
    return touched;
  }
  // The changes since `before` of this kind, in words.
  static std::vector<std::string> Changed(const HostState& before, const HostState& after, const Touched& touched) {
    std::vector<std::string> words;
    for (const HostChange& change : Compare(before, after, touched)) {
      words.push_back(absl::StrCat(change.by_squall() ? "by squall: " : "by others: ", ToText(change)));
    }
    return words;
  }
  std::vector<std::string> ChangedSince(const HostState& before) const { return Changed(before, Read(), Everything()); }

  std::string folder_;
  SquallFolders folders_;
  ProcessId self_;
  ProcessId bystander_;
  std::vector<ProcessId> children_;
  HostState before_;
};

TEST_F(HostDigest, IsQuickAndReadsEveryKind) {
  const int64_t began = BootNanos();
  constexpr int kTimes = 10;
  HostState state;
  for (int i = 0; i < kTimes; ++i) state = Read();
  const double ms = static_cast<double>(BootNanos() - began) / 1e6 / kTimes;
  printf("one digest: %.2f ms, of", ms);
  for (const auto& [kind, count] : state.read) printf(" %lld %s,", static_cast<long long>(count), kind.c_str());
  for (const auto& [kind, count] : state.unread) printf(" not read: %lld %s", static_cast<long long>(count), kind.c_str());
  printf("\n");
  EXPECT_LT(ms, 500) << "a run waits for two of them";
  EXPECT_GE(state.read["processes"], 2);
  EXPECT_GE(state.read["qdiscs"], 1);
  EXPECT_GE(state.read["files"], 1);
  if (geteuid() == 0) {
    EXPECT_TRUE(state.unread.empty());
    EXPECT_TRUE(state.read.count("nftables tables") == 1 && state.read.count("BPF programs") == 1);
  }
}

TEST_F(HostDigest, SeesAStoppedProcess) {
  const ProcessId target = Target();
  const HostState before = Read();
  kill(target.pid, SIGSTOP);
  waitpid(target.pid, nullptr, WUNTRACED);
  EXPECT_THAT(ChangedSince(before), Contains(HasSubstr(absl::StrCat("\"stopped\"; run: kill -CONT ", target.pid))));
  kill(target.pid, SIGCONT);
  waitpid(target.pid, nullptr, WCONTINUED);
  EXPECT_THAT(ChangedSince(before), Not(Contains(HasSubstr(absl::StrCat("pid ", target.pid)))));
}

TEST_F(HostDigest, SeesALoweredSoftLimit) {
  const ProcessId target = Target();
  const HostState before = Read();
  rlimit was, lowered;
  ASSERT_EQ(prlimit(target.pid, RLIMIT_NOFILE, nullptr, &was), 0);
  lowered = was;
  lowered.rlim_cur = 7;
  ASSERT_EQ(prlimit(target.pid, RLIMIT_NOFILE, &lowered, nullptr), 0);
  EXPECT_THAT(ChangedSince(before),
              Contains(HasSubstr(absl::StrCat("is \"soft 7, hard ", was.rlim_max, "\"; run: prlimit --pid ", target.pid, " --nofile=", was.rlim_cur, ":"))));
  ASSERT_EQ(prlimit(target.pid, RLIMIT_NOFILE, &was, nullptr), 0);
}

TEST_F(HostDigest, SeesAProcessOfItsOwnThatIsLeft) {
  const ProcessId target = Target();
  EXPECT_THAT(ChangedSince(before_), Contains(testing::AllOf(HasSubstr(absl::StrCat("by squall: process pid ", target.pid)),
                                                             HasSubstr(absl::StrCat("; run: kill -KILL ", target.pid)))));
}

TEST_F(HostDigest, SeesAFileThatIsLeftAndOneThatIsNamed) {
  const std::string left = absl::StrCat(folder_, "/", self_.pid, "-", self_.start_ticks, ".journal");
  std::ofstream(left) << "x";
  EXPECT_THAT(ChangedSince(before_), Contains(HasSubstr(absl::StrCat("by squall: file ", left))));
  unlink(left.c_str());
  const std::string named = std::filesystem::temp_directory_path() / absl::StrCat("fill-", getpid());
  std::ofstream(named) << "x";
  Touched touched = Everything();
  touched.files.insert(named);
  SquallFolders folders = folders_;
  folders.files.insert(named);
  EXPECT_THAT(Changed(before_, ReadHostState(folders), touched), Contains(HasSubstr(absl::StrCat("; run: rm ", named))));
  unlink(named.c_str());
  EXPECT_THAT(Changed(before_, ReadHostState(folders), touched), Not(Contains(HasSubstr(named))));
}

TEST_F(HostDigest, SeesAServicesCgroup) {
  absl::StatusOr<Cgroup> cgroup = Cgroup::Make("digest");
  if (!cgroup.ok()) GTEST_SKIP() << "LEFT OUT: " << cgroup.status().message();
  EXPECT_THAT(ChangedSince(before_), Contains(HasSubstr(absl::StrCat("by squall: cgroup ", cgroup->path()))));
  ASSERT_TRUE(cgroup->Remove().ok());
}

TEST_F(HostDigest, SeesAFrozenProcessAndItsCgroup) {
  const absl::StatusOr<LimitCgroup> home = CgroupOf("freezer", getpid());
  const absl::StatusOr<LimitCgroup> made = home.ok() ? MakeBelow(*home, "digest") : home;
  if (!made.ok()) GTEST_SKIP() << "LEFT OUT: " << made.status().message();
  const ProcessId target = Target();
  ASSERT_TRUE(MoveAllInto(*made, [&] { return std::vector<ProcessId>{target}; }).ok());
  const HostState before = Read();
  ASSERT_TRUE(WriteCgroupFile(LimitFile(*made), made->version == 1 ? "FROZEN" : "1").ok());
  const std::vector<std::string> changed = ChangedSince(before);
  EXPECT_THAT(changed, Contains(HasSubstr(absl::StrCat("by squall: process pid ", target.pid))));
  EXPECT_THAT(changed, Contains(HasSubstr(absl::StrCat("by squall: cgroup limit ", LimitFile(*made)))));
  ASSERT_TRUE(WriteCgroupFile(LimitFile(*made), made->version == 1 ? "THAWED" : "0").ok());
  ASSERT_TRUE(PutBack(made->folder).ok());
}

TEST_F(HostDigest, SeesALimitThatIsLeft) {
  const absl::StatusOr<LimitCgroup> home = CgroupOf("pids", getpid());
  const absl::StatusOr<LimitCgroup> made = home.ok() ? MakeBelow(*home, "digest") : home;
  if (!made.ok()) GTEST_SKIP() << "LEFT OUT: " << made.status().message();
  const HostState before = Read();
  ASSERT_TRUE(WriteCgroupFile(LimitFile(*made), "77").ok());
  EXPECT_THAT(ChangedSince(before),
              Contains(HasSubstr("it was \"max\" before the run, and is \"77\"; run: echo max > ")));
  ASSERT_TRUE(PutBack(made->folder).ok());
}

TEST_F(HostDigest, SeesABpfProgramThatIsHeldAndWhoseItIs) {
  const bpf_insn nothing[] = {{BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
  const int program = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SKB, "digest", "GPL", nothing, 2, nullptr);
  if (program < 0) GTEST_SKIP() << "LEFT OUT: loading BPF programs needs root";
  fcntl(program, F_SETFD, FD_CLOEXEC);
  const std::string ours = "digest (cgroup_skb)";
  EXPECT_THAT(ChangedSince(before_), Contains(testing::AllOf(HasSubstr("by squall: BPF program"), HasSubstr(ours))));
  close(program);
  EXPECT_THAT(ChangedSince(before_), Not(Contains(HasSubstr(ours))));
}

TEST_F(HostDigest, SeesANftablesTableInANamespaceOfAService) {
  // The child's own network namespace, in which the table is made: that of the host is not touched.
  int ready[2];
  ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char made = unshare(CLONE_NEWNET) == 0 ? 1 : 0;
    (void)!write(ready[1], &made, 1);
    for (;;) pause();
  }
  char made = 0;
  ASSERT_EQ(read(ready[0], &made, 1), 1);
  children_.push_back(ReadStat(pid).value().id);
  if (made == 0) GTEST_SKIP() << "LEFT OUT: a network namespace needs root";
  const HostState before = Read();
  const NetNamespace ns = NetNamespace::Of(pid).value();
  ASSERT_FALSE(ns.IsOwn());
  absl::StatusOr<std::unique_ptr<NftTable>> table = NftTable::Make(ns, 0);
  ASSERT_TRUE(table.ok()) << table.status();
  const std::string named = absl::StrCat("nftables table inet ", (*table)->name(), " in network namespace ", ns.inode());
  EXPECT_THAT(ChangedSince(before), Contains(HasSubstr("by squall: " + named)));
  ASSERT_TRUE((*table)->Remove().ok());
  EXPECT_THAT(ChangedSince(before), Not(Contains(HasSubstr(named))));
}

TEST_F(HostDigest, WithoutPrivilegesLeavesOutWhatMayNotBeSeenAndCountsIt) {
  if (geteuid() != 0) GTEST_SKIP() << "LEFT OUT: is without them";
  int result[2];
  ASSERT_EQ(pipe2(result, O_CLOEXEC), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(1);
    const HostState state = ReadHostState(folders_);
    const char good = state.unread.count("BPF programs") > 0 && state.unread.count("limits of open files") > 0 &&
                      state.read.count("qdiscs") > 0 && !state.processes.empty();
    (void)!write(result[1], &good, 1);
    _exit(0);
  }
  char good = 0;
  EXPECT_EQ(read(result[0], &good, 1), 1);
  EXPECT_TRUE(good);
  waitpid(pid, nullptr, 0);
}

}  // namespace
}  // namespace squall
