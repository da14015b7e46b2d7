// The guardian's program itself, beside a process that stands for an agent.
#include "agent/guardian.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/journal.h"
#include "base/clock.h"
#include "base/fd.h"

namespace squall {
namespace {

template <typename Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < 10'000; ++i) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return false;
}

class GuardianTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/squall-guardian-test-XXXXXX";
    folder_ = mkdtemp(name);
    Touch("fill");
  }
  void TearDown() override {
    if (agent_ > 0) {
      kill(agent_, SIGKILL);
      waitpid(agent_, nullptr, 0);
    }
    EXPECT_TRUE(Eventually([&] { return guardian_ == 0 || !IsAlive(GuardianId()); })) << "the guardian does not end";
    std::filesystem::remove_all(folder_);
  }

  std::string Path(const std::string& name) const { return absl::StrCat(folder_, "/", name); }
  void Touch(const std::string& name) const { std::ofstream(Path(name)) << "x"; }
  bool Exists(const std::string& name) const { return std::filesystem::exists(Path(name)); }
  pid_t NumberIn(const std::string& name) const {
    pid_t pid = 0;
    std::ifstream(Path(name)) >> pid;
    return pid;
  }
  ProcessId GuardianId() const {
    const absl::StatusOr<ProcStat> stat = ReadStat(guardian_);
    return stat.ok() ? stat->id : ProcessId{};
  }

  // A process that has filled a disk, and has promised to undo that within `lease_ns`; 0: for as long as it lives. It writes the pid of
  // its guardian to a file, and ends by itself once there is a file "leave".
  void StartAgent(int64_t lease_ns, std::vector<std::string> again = {}) {
    agent_ = fork();
    if (agent_ == 0) {
      const auto journal = Journal::Create(folder_).value();
      Undo undo;
      undo.mutable_file()->set_path(Path("fill"));
      const uint64_t number = journal->Pend(undo).value();
      const int64_t expires_ns = lease_ns == 0 ? 0 : BootNanos() + lease_ns;
      {
        const auto guardian =
            Guardian::Start({journal->path(), std::move(again), [expires_ns] { return expires_ns; }, [](const std::string&) {}}).value();
        if (expires_ns != 0) guardian->Announce();
        pid_t told = 0;
        while (!Exists("leave")) {
          if (guardian->pid() != 0 && guardian->pid() != told) {
            told = guardian->pid();
            std::ofstream(Path("guardian.new")) << told;
            std::filesystem::rename(Path("guardian.new"), Path("guardian"));
          }
          absl::SleepFor(absl::Milliseconds(1));
        }
        if (Exists("undo")) {
          unlink(Path("fill").c_str());
          journal->Done(number);
        }
      }
      _exit(0);
    }
    ASSERT_TRUE(Eventually([&] { return NumberIn("guardian") != 0; }));
    guardian_ = NumberIn("guardian");
  }
  void Reap() {
    waitpid(agent_, nullptr, 0);
    agent_ = 0;
  }

  std::string folder_;
  pid_t agent_ = 0;
  pid_t guardian_ = 0;
};

TEST_F(GuardianTest, UndoesWhatAKilledAgentLeft) {
  StartAgent(/*lease_ns=*/0);
  EXPECT_TRUE(Exists("fill"));
  kill(agent_, SIGKILL);
  Reap();
  EXPECT_TRUE(Eventually([&] { return !Exists("fill"); }));
}

TEST_F(GuardianTest, EndsAnAgentThatIsStoppedPastItsLeaseAndUndoesWhatItLeft) {
  StartAgent(/*lease_ns=*/300'000'000);
  kill(agent_, SIGSTOP);
  EXPECT_TRUE(Eventually([&] { return !Exists("fill"); }));
  int status = 0;
  EXPECT_EQ(waitpid(agent_, &status, 0), agent_);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  agent_ = 0;
}

TEST_F(GuardianTest, OneThatHasNotHeardOfTheAgentGoesByTheJournal) {
  agent_ = fork();
  if (agent_ == 0) {
    const auto journal = Journal::Create(folder_).value();
    journal->SetExpiry(BootNanos() + 300'000'000);
    Undo undo;
    undo.mutable_file()->set_path(Path("fill"));
    journal->Pend(undo).value();
    std::filesystem::create_symlink(journal->path(), Path("journal"));
    pause();
    _exit(1);
  }
  ASSERT_TRUE(Eventually([&] { return Exists("journal"); }));
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  const Fd silent(ends[0]), theirs(ends[1]);
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "squall-guardian";
  const std::string journal = std::filesystem::read_symlink(Path("journal"));
  guardian_ = fork();
  if (guardian_ == 0) {
    dup2(theirs.get(), 0);
    execl(program.c_str(), program.c_str(), absl::StrCat(agent_).c_str(), journal.c_str(), nullptr);
    _exit(1);
  }
  EXPECT_TRUE(Eventually([&] { return !Exists("fill"); }));
  waitpid(guardian_, nullptr, 0);
  guardian_ = 0;
  int status = 0;
  EXPECT_EQ(waitpid(agent_, &status, 0), agent_);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  agent_ = 0;
}

TEST_F(GuardianTest, LeavesAnAgentThatIsStoppedWithoutALeaseAlone) {
  StartAgent(/*lease_ns=*/0);
  kill(agent_, SIGSTOP);
  absl::SleepFor(absl::Nanoseconds(kGuardianGraceNs) + absl::Milliseconds(500));
  EXPECT_TRUE(Exists("fill"));
  EXPECT_TRUE(IsAlive(ReadStat(agent_)->id));
  kill(agent_, SIGCONT);
}

TEST_F(GuardianTest, OneThatIsKilledIsReplacedAndTheNextOneGuardsToo) {
  StartAgent(/*lease_ns=*/0);
  const pid_t first = guardian_;
  kill(first, SIGKILL);
  ASSERT_TRUE(Eventually([&] { return NumberIn("guardian") != first; }));
  guardian_ = NumberIn("guardian");
  EXPECT_TRUE(Exists("fill"));
  kill(agent_, SIGKILL);
  Reap();
  EXPECT_TRUE(Eventually([&] { return !Exists("fill"); }));
}

TEST_F(GuardianTest, OneThatIsStoppedIsReplaced) {
  StartAgent(/*lease_ns=*/0);
  const pid_t first = guardian_;
  kill(first, SIGSTOP);
  ASSERT_TRUE(Eventually([&] { return NumberIn("guardian") != first; }));
  guardian_ = NumberIn("guardian");
}

TEST_F(GuardianTest, EndsWithAnAgentThatLeavesAndUndoesWhatItForgot) {
  StartAgent(/*lease_ns=*/0, {"/bin/sh", "-c", absl::StrCat("touch ", Path("again"))});
  Touch("leave");
  Reap();
  EXPECT_TRUE(Eventually([&] { return !Exists("fill"); }));
  EXPECT_TRUE(Eventually([&] { return !IsAlive(GuardianId()); }));
  EXPECT_FALSE(Exists("again")) << "one that leaves is not started again";
}

TEST_F(GuardianTest, BecomesTheAgentOnceEverythingIsUndone) {
  const std::string script = absl::StrCat("test -e ", Path("fill"), " || touch ", Path("again"));
  StartAgent(/*lease_ns=*/0, {"/bin/sh", "-c", script});
  ASSERT_TRUE(Eventually([&] {  // it has lived long enough to be worth it
    const absl::StatusOr<ProcStat> stat = ReadStat(agent_);
    return BootNanos() / 10'000'000 - static_cast<int64_t>(stat->id.start_ticks) > 150;
  }));
  kill(agent_, SIGKILL);
  Reap();
  EXPECT_TRUE(Eventually([&] { return Exists("again"); })) << "or it was started before";
}

TEST_F(GuardianTest, DoesNotStartAnAgentForEverThatDiesAtOnce) {
  StartAgent(/*lease_ns=*/0, {"/bin/sh", "-c", absl::StrCat("touch ", Path("again"))});
  kill(agent_, SIGKILL);
  Reap();
  EXPECT_TRUE(Eventually([&] { return !IsAlive(GuardianId()); }));
  EXPECT_FALSE(Exists("again"));
}

}  // namespace
}  // namespace squall
