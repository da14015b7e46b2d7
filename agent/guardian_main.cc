// squall-guardian: undoes what an agent left changed on this host. Started by squall-agent (guardian.h), and by nobody else:
//   squall-guardian AGENT-PID JOURNAL [AGENT ARGUMENT...]
// with a socket to the agent as its standard input. It ends the agent and undoes what the journal says when the agent has not ended by
// the time that it told; undoes it when the agent is gone; and then, where it is told how, becomes the agent, started anew.

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "agent/guardian.h"
#include "agent/journal.h"
#include "agent/leftovers.h"
#include "agent/process/cgroup.h"
#include "agent/process/hold.h"
#include "agent/process/proc.h"
#include "agent/undo.h"
#include "base/clock.h"

namespace squall {
namespace {

constexpr int kSocket = 0;
constexpr int kLongestPollMs = 1000;
// One that dies as soon as it is started is not started for ever.
constexpr int64_t kLivedNs = 1'000'000'000;
constexpr int kIgnored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};

enum class Why { kLeft, kGone, kLate };

// Until the agent ends, or has to be ended: now by `expires_ns`, later by what it tells.
Why Watch(int64_t expires_ns) {
  bool leaving = false;
  for (;;) {
    const int64_t left_ns = expires_ns + kGuardianGraceNs - BootNanos();
    if (expires_ns != 0 && left_ns <= 0) return Why::kLate;
    const int wait_ms = expires_ns == 0 ? kLongestPollMs : static_cast<int>(std::min<int64_t>(kLongestPollMs, left_ns / 1'000'000 + 1));
    pollfd ready = {kSocket, POLLIN, 0};
    if (poll(&ready, 1, wait_ms) <= 0) continue;
    Beat beat;
    const ssize_t size = recv(kSocket, &beat, sizeof(beat), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size != static_cast<ssize_t>(sizeof(beat))) return leaving ? Why::kLeft : Why::kGone;
    expires_ns = beat.expires_ns;
    leaving = beat.leaving;
    (void)!send(kSocket, &beat, sizeof(beat), MSG_DONTWAIT | MSG_NOSIGNAL);
  }
}

int Guard(int argc, char** argv) {
  prctl(PR_SET_NAME, "squall-guardian");
  for (const int signal : kIgnored) ::signal(signal, SIG_IGN);
  std::ofstream("/proc/self/oom_score_adj") << "-999";  // where it may
  if (chdir("/") != 0) return 1;
  const absl::StatusOr<ProcStat> agent = ReadStat(static_cast<pid_t>(atoi(argv[1])));
  const std::string journal = argv[2];
  const int pidfd = agent.ok() ? static_cast<int>(syscall(SYS_pidfd_open, agent->id.pid, 0)) : -1;
  const int64_t began_ns = BootNanos();

  // Where it takes the place of another one, the agent may hang since then; one that does not is heard within the grace.
  const absl::StatusOr<JournalContent> content = ReadJournal(journal);
  const Why why = Watch(content.ok() && content->expires_ns != 0 ? std::max(content->expires_ns, began_ns) : 0);
  if (why == Why::kLate) {
    fprintf(stderr, "squall-guardian: the agent, pid %d, has not undone what it did though its lease is over: ended\n", agent.ok() ? agent->id.pid : 0);
    const bool is_owner = content.ok() && agent.ok() && FromProto(content->owner.agent()) == agent->id;
    if (pidfd >= 0 && is_owner) syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
  }
  if (why != Why::kLeft && pidfd >= 0) AwaitEnd(agent->id, pidfd);  // one that leaves waits for us
  const Recovered recovered = TakeBackJournal(journal, /*owner_is_dead=*/true);
  SweepCgroups();
  SweepHolds();
  for (const Leftover& left : recovered.left) fprintf(stderr, "squall-guardian: %s\n", ToText(left).c_str());
  if (why == Why::kLeft || argc <= 3) return recovered.left.empty() ? 0 : 5;
  fprintf(stderr, "squall-guardian: the agent is gone; %d changes were taken back\n", recovered.taken_back);
  if (BootNanos() - began_ns < kLivedNs) {
    fprintf(stderr, "squall-guardian: it did not live for long and is not started again\n");
    return 3;
  }
  for (const int signal : kIgnored) ::signal(signal, SIG_DFL);
  execv(argv[3], argv + 3);
  perror("squall-guardian: cannot start the agent again");
  return 3;
}

}  // namespace
}  // namespace squall

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "squall-guardian is started by squall-agent. To undo what agents left behind: squall-agent heal\n");
    return 64;
  }
  return squall::Guard(argc, argv);
}
