#include "agent/front.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/beside.h"

namespace squall {
namespace {

constexpr absl::Duration kPingEvery = absl::Milliseconds(500);
constexpr absl::Duration kPatience = absl::Seconds(2);
constexpr absl::Duration kPatienceAtStart = absl::Seconds(10);
constexpr absl::Duration kDrain = absl::Seconds(2);  // the front itself takes a second
constexpr absl::Duration kFirstBackoff = absl::Milliseconds(100);
constexpr absl::Duration kLongestBackoff = absl::Seconds(5);
constexpr absl::Duration kLivedWell = absl::Seconds(10);
constexpr int kMessagesAtOnce = 64;

// Does not run while the host is suspended, and nobody sets it.
absl::Time Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::TimeFromTimespec(now);
}

// A file that is nowhere but here, so that a key goes over without a file that others could open.
absl::StatusOr<Fd> InMemory(const std::string& text) {
  Fd fd(memfd_create("squall-front", MFD_CLOEXEC));
  if (!fd || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || lseek(fd.get(), 0, SEEK_SET) != 0) {
    return absl::ErrnoToStatus(errno, "cannot hand the certificate to squall-front");
  }
  return fd;
}

// Packets fit or do not: a front that does not read is found out by what it does not answer.
bool Send(int control, const ToFront& message, int fd = -1) {
  iovec part = {const_cast<ToFront*>(&message), sizeof(message)};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
  msghdr packet = {};
  packet.msg_iov = &part;
  packet.msg_iovlen = 1;
  if (fd >= 0) {
    packet.msg_control = space;
    packet.msg_controllen = sizeof(space);
    cmsghdr* header = CMSG_FIRSTHDR(&packet);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  }
  return sendmsg(control, &packet, MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(sizeof(message));
}

int Millis(absl::Duration duration) { return static_cast<int>(absl::ToInt64Milliseconds(duration)); }

}  // namespace

absl::StatusOr<std::unique_ptr<Front>> Front::Start(FrontOptions options) {
  std::unique_ptr<Front> front(new Front(std::move(options)));
  front->started_.WaitForNotification();
  if (!front->first_.ok()) return front->first_;
  return front;
}

Front::Front(FrontOptions options) : options_(std::move(options)), stop_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  // One thread starts the program and outlives it: PR_SET_PDEATHSIG is about the thread that made a process.
  thread_ = std::thread([this] { Run(); });
}

Front::~Front() {
  const uint64_t one = 1;
  (void)!write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

void Front::Run() {
  absl::Duration backoff = kFirstBackoff;
  for (;;) {
    const absl::Time began = Now();
    const absl::Status ended = Live();
    pid_ = 0;
    if (ended.ok()) return;  // it was to stop
    if (!started_.HasBeenNotified()) {
      first_ = ended;
      started_.Notify();
      return;
    }
    if (Now() - began >= kLivedWell) backoff = kFirstBackoff;
    options_.log(absl::StrCat(ended.message(), "; connections through it are cut, and it is started again"));
    pollfd stop = {stop_.get(), POLLIN, 0};
    if (poll(&stop, 1, Millis(backoff)) == 1) return;
    backoff = std::min(2 * backoff, kLongestBackoff);
  }
}

absl::StatusOr<Front::Child> Front::Spawn() const {
  const absl::StatusOr<std::string> program = FindBeside("squall-front");
  if (!program.ok()) {
    return absl::NotFoundError(absl::StrCat(program.status().message(), ", without which TCP is not served: install both together"));
  }
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return absl::ErrnoToStatus(errno, "cannot make a socket for squall-front");
  }
  Child child;
  child.control = Fd(ends[0]);
  std::vector<Fd> theirs;
  theirs.emplace_back(ends[1]);
  for (const std::string* text : {&options_.identity.cert, &options_.identity.key, &options_.identity.ca}) {
    absl::StatusOr<Fd> file = InMemory(*text);
    if (!file.ok()) return file.status();
    theirs.push_back(*std::move(file));
  }
  for (const Fd& listener : options_.listeners) {
    theirs.emplace_back(fcntl(listener.get(), F_DUPFD_CLOEXEC, 0));
    if (!theirs.back()) return absl::ErrnoToStatus(errno, "cannot hand the listening socket to squall-front");
  }

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDWR, 0);
  posix_spawn_file_actions_adddup2(&files, 0, 1);
  posix_spawn_file_actions_adddup2(&files, 0, 2);
  const int beyond = kFrontControl + static_cast<int>(theirs.size());
  for (size_t i = 0; i < theirs.size(); ++i) {
    // From beyond the numbers that are written to, so that none is overwritten before its turn.
    Fd high(fcntl(theirs[i].get(), F_DUPFD_CLOEXEC, beyond));
    posix_spawn_file_actions_adddup2(&files, high.get(), kFrontControl + static_cast<int>(i));
    theirs[i] = std::move(high);
  }
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A group of its own: Ctrl-C is the agent's business. Its signals are at their defaults, and none is blocked.
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  const std::string listeners = absl::StrCat(options_.listeners.size());
  const char* const argv[] = {"squall-front", listeners.c_str(), nullptr};
  char* const environment[] = {nullptr};
  const int error = posix_spawn(&child.pid, program->c_str(), &files, &attributes, const_cast<char* const*>(argv), environment);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return absl::ErrnoToStatus(error, absl::StrCat("cannot execute ", *program));
  child.pidfd = Fd(static_cast<int>(syscall(SYS_pidfd_open, child.pid, 0)));
  return child;
}

absl::Status Front::Live() {
  absl::StatusOr<Child> child = Spawn();
  if (!child.ok()) return child.status();
  is_ready_ = false;
  complaint_.clear();
  absl::Time pinged = Now(), looked = pinged;
  absl::Time unanswered = pinged;  // since when; InfiniteFuture: nothing is
  for (;;) {
    pollfd events[] = {{child->control.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    poll(events, 2, Millis(kPingEvery));
    const absl::Time now = Now();
    if (events[1].revents != 0) {
      child->control.Reset();  // it drains what it has, and ends
      End(*child, kDrain);
      return absl::OkStatus();
    }
    if (events[0].revents != 0) {
      const absl::StatusOr<bool> more = Listen(*child);
      if (!more.ok()) {
        End(*child, absl::ZeroDuration());
        return absl::AbortedError(absl::StrCat("squall-front was ended: ", more.status().message()));
      }
      if (!*more) {
        const std::string how = End(*child, kPatience);
        return absl::AbortedError(absl::StrCat("squall-front ", how, complaint_.empty() ? "" : ": ", complaint_));
      }
      unanswered = is_ready_ ? absl::InfiniteFuture() : unanswered;
    }
    // Whoever was stopped, or did not get a core, does not blame others.
    if (now - looked > 2 * kPingEvery && unanswered != absl::InfiniteFuture()) unanswered = now;
    looked = now;
    if (now - unanswered > (is_ready_ ? kPatience : kPatienceAtStart)) {
      End(*child, absl::ZeroDuration());
      return absl::DeadlineExceededError("squall-front did not answer any more, and was ended");
    }
    if (is_ready_ && now - pinged >= kPingEvery) {
      Send(child->control.get(), {AgentSays::kAreYouThere, 0, 0});
      pinged = now;
      unanswered = std::min(unanswered, now);
    }
  }
}

absl::StatusOr<bool> Front::Listen(const Child& child) {
  for (int i = 0; i < kMessagesAtOnce; ++i) {
    FromFront message;
    const ssize_t size = recv(child.control.get(), &message, sizeof(message), MSG_DONTWAIT | MSG_TRUNC);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    if (size <= 0) return false;
    if (size != static_cast<ssize_t>(sizeof(message))) return absl::DataLossError("it sent what is no message");
    const absl::Status heeded = Heed(child, message);
    if (!heeded.ok()) return heeded;
  }
  return true;
}

absl::Status Front::Heed(const Child& child, const FromFront& message) {
  const std::string text = GetText(message.text), peer = GetText(message.peer);
  switch (message.what) {
    case FrontSays::kReady:
      if (is_ready_ || !IsPrintable(text)) break;
      is_ready_ = true;
      pid_ = child.pid;
      options_.log(absl::StrCat("squall-front, pid ", child.pid, ", speaks to the network: ", text));
      if (!started_.HasBeenNotified()) started_.Notify();
      return absl::OkStatus();
    case FrontSays::kFailed:
      if (!IsPrintable(text)) break;
      complaint_ = text;
      return absl::OkStatus();
    case FrontSays::kHere:
      return absl::OkStatus();
    case FrontSays::kConnection:
      return Connect(child, message);
    case FrontSays::kRefused:
      if (!IsPrintable(text) || !IsPrintable(peer)) break;
      options_.log(absl::StrCat("refused, from ", peer, ": ", text,
                                message.others == 0 ? "" : absl::StrCat("; and ", message.others, " others before it")));
      return absl::OkStatus();
  }
  return absl::DataLossError("it sent what is no message");
}

absl::Status Front::Connect(const Child& child, const FromFront& message) {
  const Caller caller = {GetText(message.text), GetText(message.peer)};
  if (!is_ready_ || !IsPrintable(caller.name) || !IsPrintable(caller.address)) {
    return absl::DataLossError("it sent what is no message");
  }
  // Made here: of a descriptor that the front made it could still change the mode, and have this program wait for it.
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    options_.log(absl::StrCat("refused, ", caller.name, ", from ", caller.address, ": cannot make a socket: ", strerror(errno)));
    return absl::OkStatus();  // the front gives the peer up after its time
  }
  Fd ours(ends[0]);
  const Fd theirs(ends[1]);
  if (Send(child.control.get(), {AgentSays::kTake, 0, message.connection}, theirs.get())) {
    options_.on_connection(std::move(ours), caller);
  }
  return absl::OkStatus();
}

std::string Front::End(const Child& child, absl::Duration patience) {
  pollfd over = {child.pidfd.get(), POLLIN, 0};
  if (!child.pidfd || poll(&over, 1, Millis(patience)) != 1) kill(child.pid, SIGKILL);  // our child, not yet waited for
  int status = 0;
  while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? absl::StrCat("was ended by signal ", WTERMSIG(status))
                             : absl::StrCat("ended with exit code ", WEXITSTATUS(status));
}

}  // namespace squall
