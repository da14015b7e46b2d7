// Finding, starting and holding real processes.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/process/find.h"
#include "agent/process/hold.h"
#include "agent/process/spawn.h"

namespace squall {
namespace {

// A child that does `work` and then waits; killed on destruction.
class Child {
 public:
  explicit Child(const std::function<void()>& work = [] {}) {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      work();
      (void)!write(ready[1], "x", 1);
      while (true) pause();
    }
    char byte;
    EXPECT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
  }
  ~Child() {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  pid_t pid;
};

int ListenSomewhere(int* fd) {
  *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  EXPECT_EQ(bind(*fd, reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(listen(*fd, 8), 0);
  getsockname(*fd, reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.sin_port);
}

Attach ByListen(int port) {
  Attach attach;
  attach.set_listen(port);
  return attach;
}

TEST(FindTarget, FindsWhoListensAndCountsItsChildrenAsOneWithIt) {
  int fd;
  const int port = ListenSomewhere(&fd);
  const Child master([] {
    if (fork() == 0) {  // a worker that shares the port, as nginx has them
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      while (true) pause();
    }
  });
  close(fd);
  const auto found = FindTarget(ByListen(port));
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->pid, master.pid);
}

TEST(FindTarget, SeveralUnrelatedMatchesAreAnErrorThatNamesThem) {
  int fd;
  const int port = ListenSomewhere(&fd);
  const Child one, other;
  close(fd);
  const auto found = FindTarget(ByListen(port));
  EXPECT_EQ(found.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(found.status().message(), absl::StrCat("pid ", one.pid)));
  EXPECT_TRUE(absl::StrContains(found.status().message(), absl::StrCat("pid ", other.pid)));
}

TEST(FindTarget, NobodyIsAnErrorThatSaysWhatWasLookedFor) {
  int fd;
  const int port = ListenSomewhere(&fd);
  close(fd);
  const auto found = FindTarget(ByListen(port));
  EXPECT_EQ(found.status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(found.status().message(), absl::StrCat("listens on TCP port ", port)));
}

TEST(FindTarget, PidOneTheAgentAndItsParentsAreOutOfReach) {
  for (const pid_t pid : {pid_t{1}, getpid(), getppid()}) {
    Attach attach;
    attach.set_pid(pid);
    EXPECT_EQ(FindTarget(attach).status().code(), absl::StatusCode::kFailedPrecondition) << pid;
  }
}

TEST(FindTarget, CommandLineMustMatchWhole) {
  const auto start = [](const char* seconds) {
    return [seconds] {
      // The test waits for a byte before exec: this child says it after, through a grandchild of the same name.
      if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("sleep", "sleep", seconds, nullptr);
      }
    };
  };
  const Child parent(start("98765"));
  Attach attach;
  attach.set_command("sleep 98765");
  absl::StatusOr<ProcessId> found = absl::NotFoundError("");
  for (int i = 0; i < 2000 && !found.ok(); ++i) {
    found = FindTarget(attach);
    absl::SleepFor(absl::Milliseconds(1));
  }
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(CommandLine(found->pid), "sleep 98765");
  attach.set_command("sleep 9876");
  EXPECT_EQ(FindTarget(attach).status().code(), absl::StatusCode::kNotFound);
}

TEST(IsAlive, AnotherProcessOfTheSameNumberIsNotTheOneThatWasMeant) {
  const Child child;
  ProcessId id = ReadStat(child.pid)->id;
  EXPECT_TRUE(IsAlive(id));
  ++id.start_ticks;
  EXPECT_FALSE(IsAlive(id));
}

TEST(Hold, BelongsToOneRunAtATimeAndNamesIt) {
  const Child child;
  const ProcessId id = ReadStat(child.pid)->id;
  {
    const auto first = Hold::Take(id, "run A of somebody since 10:00:00 until 10:01:00");
    ASSERT_TRUE(first.ok()) << first.status();
    const auto second = Hold::Take(id, "run B");
    EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
    EXPECT_TRUE(absl::StrContains(second.status().message(), "run A of somebody since 10:00:00 until 10:01:00"));
  }
  EXPECT_TRUE(Hold::Take(id, "run B").ok());
}

TEST(Hold, SweepRemovesWhatAKilledAgentLeftAndNothingThatIsHeld) {
  const Child killed, held;
  const Child agent([&] {
    // Never released: it is killed.
    auto* hold = new absl::StatusOr<Hold>(Hold::Take(ReadStat(killed.pid)->id, "run A"));
    if (!hold->ok()) _exit(1);
  });
  const auto holds = Hold::Take(ReadStat(held.pid)->id, "run B");
  ASSERT_TRUE(holds.ok()) << holds.status();
  const auto path = [](pid_t pid) { return absl::StrCat("/run/lock/squall-", pid, "-", ReadStat(pid)->id.start_ticks, ".lock"); };
  if (access("/run/lock", W_OK) != 0) GTEST_SKIP() << "the lock folder is another";
  SweepHolds();
  EXPECT_EQ(access(path(killed.pid).c_str(), F_OK), 0) << "its agent is alive";
  kill(agent.pid, SIGKILL);
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(agent.pid), &info, WEXITED | WNOWAIT), 0);
  ASSERT_EQ(access(path(killed.pid).c_str(), F_OK), 0);
  SweepHolds();
  EXPECT_NE(access(path(killed.pid).c_str(), F_OK), 0);
  EXPECT_EQ(access(path(held.pid).c_str(), F_OK), 0);
  EXPECT_EQ(Hold::Take(ReadStat(held.pid)->id, "run C").status().code(), absl::StatusCode::kAlreadyExists);
}

TEST(Spawn, ProgramThatIsNotThereIsNamedAndNothingIsLeft) {
  SpawnOptions options;
  options.argv = {"/nowhere/to/be/found"};
  const auto spawned = Spawn(options);
  EXPECT_EQ(spawned.status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(spawned.status().message(), "/nowhere/to/be/found"));
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "no child is left";
}

TEST(Spawn, ArgumentsAndEnvironmentArriveAsTheyAreWithoutAShell) {
  SpawnOptions options;
  options.argv = {"sh", "-c", "printf '%s|' \"$@\" \"$WORD\" \"$SECRET_OF_THE_AGENT\"; pwd; exec sleep 100", "sh", "$HOME; echo x", "a b"};
  options.env = {{"WORD", "two words"}};
  options.folder = "/";
  setenv("SECRET_OF_THE_AGENT", "s", 1);
  auto spawned = Spawn(options);
  ASSERT_TRUE(spawned.ok()) << spawned.status();
  std::string text;
  char buffer[256];
  while (!absl::StrContains(text, "\n")) {
    const ssize_t size = read(spawned->output.get(), buffer, sizeof(buffer));
    ASSERT_GT(size, 0);
    text.append(buffer, static_cast<size_t>(size));
  }
  EXPECT_EQ(text, "$HOME; echo x|a b|two words||/\n");
  EXPECT_EQ(ReadStat(spawned->id.pid)->group, spawned->id.pid) << "a process group of its own";
  kill(-spawned->id.pid, SIGKILL);
  waitpid(spawned->id.pid, nullptr, 0);
}

TEST(CheckUser, UnknownUserIsAnError) {
  EXPECT_TRUE(CheckUser("").ok());
  EXPECT_EQ(CheckUser("no-such-user-here").code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace squall
