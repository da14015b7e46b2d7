#include "agent/live_edges.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "agent/edge_checks.h"
#include "agent/process/proc.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Fd Listen(Address& address) {
  address = ParseAddress("127.0.0.1:1").value();
  address.port = 0;
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage;
  socklen_t length = address.ToSockaddr(storage);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
  EXPECT_EQ(listen(fd.get(), 16), 0);
  length = sizeof(storage);
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &length);
  address = FromSockaddr(storage);
  return fd;
}

Fd Connect(const Address& to) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage;
  const socklen_t length = to.ToSockaddr(storage);
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0) << strerror(errno);
  return fd;
}

Fd Accept(const Fd& listener) { return Fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)); }

// A child that does `work` and then waits; killed on destruction.
class Child {
 public:
  explicit Child(const std::function<void()>& work) {
    int ready[2];
    EXPECT_EQ(pipe2(ready, O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) {
      setpgid(0, 0);
      work();
      (void)!write(ready[1], "x", 1);
      pause();
      _exit(0);
    }
    close(ready[1]);
    char byte;
    (void)!read(ready[0], &byte, 1);
    close(ready[0]);
  }
  ~Child() {
    kill(-pid_, SIGKILL);  // and its children
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  std::vector<ProcessId> ids() const { return {ReadStat(pid_)->id}; }

 private:
  pid_t pid_;
};

// "orders" is attached by pid and calls `to`; one fault, latency, named slow.
Scenario ScenarioFor(pid_t pid, const std::string& to) {
  Scenario scenario;
  Service& service = *scenario.add_services();
  service.set_name("orders");
  service.mutable_attach()->set_pid(pid);
  Edge& edge = *scenario.add_edges();
  edge.set_name("recommend");
  edge.set_from("orders");
  edge.add_to(to);
  edge.set_existing(Edge::EXISTING_KEEP);
  Fault& fault = *scenario.add_faults();
  fault.set_name("slow");
  fault.mutable_bandwidth()->set_edge("recommend");
  return scenario;
}

bool IsRoot() {
  if (geteuid() == 0) return true;
  printf("LEFT OUT: needs root\n");
  return false;
}

TEST(LiveEdgesPrepare, CountsTheConnectionsThatAreThereAndSaysWhatDoesNotReachThem) {
  Address at;
  const Fd listener = Listen(at);
  const Child service([&] {
    Connect(at).Release();
    Connect(at).Release();
  });
  const Child bystander([&] { Connect(at).Release(); });
  Scenario scenario = ScenarioFor(service.pid(), at.ToString());
  Fault& loss = *scenario.add_faults();
  loss.set_name("loss");
  loss.mutable_loss()->set_edge("recommend");
  PrepareReply reply;
  ASSERT_TRUE(LiveEdges::Prepare(scenario, reply).ok());
  EXPECT_THAT(reply.notes(),
              ElementsAre("edge recommend: orders has 2 connections open from before the run; reached by loss; not reached by "
                          "slow (bandwidth): write `existing: reset` on the edge to have them come back through the relay"));
}

TEST(LiveEdgesPrepare, SaysNothingOfAServiceThatHasNoConnection) {
  Address at;
  const Fd listener = Listen(at);
  const Child service([] {});
  PrepareReply reply;
  ASSERT_TRUE(LiveEdges::Prepare(ScenarioFor(service.pid(), at.ToString()), reply).ok());
  EXPECT_THAT(reply.notes(), IsEmpty());
}

TEST(LiveEdgesPrepare, AHostThatCannotEndConnectionsIsAnErrorBeforeAnythingIsTouched) {
  if (geteuid() != 0) GTEST_SKIP() << "LEFT OUT: needs root to give it up";
  Address at;
  const Fd listener = Listen(at);
  // Without root, this kernel cannot end connections, as one without CONFIG_INET_DIAG_DESTROY cannot.
  int answer[2];
  ASSERT_EQ(pipe2(answer, O_CLOEXEC), 0);
  const Child unprivileged([&] {
    // Dumpable: otherwise /proc shows nothing of it to itself.
    if (setresuid(65534, 65534, 65534) != 0 || prctl(PR_SET_DUMPABLE, 1) != 0) _exit(1);
    const Fd open = Connect(at);
    Scenario scenario = ScenarioFor(getpid(), at.ToString());
    scenario.mutable_edges(0)->set_existing(Edge::EXISTING_RESET);
    // FindTarget takes no process that is this one or above it.
    const pid_t child = fork();
    if (child == 0) {
      pause();
      _exit(0);
    }
    scenario.mutable_services(0)->mutable_attach()->set_pid(child);
    PrepareReply reply;
    const std::string message = LiveEdges::Prepare(scenario, reply).ToString();
    (void)!write(answer[1], message.data(), message.size());
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  });
  char text[1000] = {};
  close(answer[1]);
  (void)!read(answer[0], text, sizeof(text) - 1);
  EXPECT_THAT(text, HasSubstr("edge recommend: existing: reset: cannot end a connection: needs CAP_NET_ADMIN"));
}

class LiveEdgesAtWork : public ::testing::Test {
 protected:
  LiveEdgesAtWork() : listener_(Listen(at_)) {}
  void Add(Edge::Existing existing, const Child& service) {
    Edge edge;
    edge.set_name("recommend");
    edge.set_from("orders");
    edge.set_existing(existing);
    const absl::Status added = live_.Add(edge, {at_}, ns_, [ids = service.ids()] { return ids; });
    ASSERT_TRUE(added.ok()) << added;
  }
  EdgeStats Stats() {
    EdgeStats stats;
    stats.set_edge("recommend");
    live_.AddTo(stats);
    return stats;
  }
  // `fault` acts while there is what is there.
  Evidence EvidenceOf(const Fault& fault) {
    live_.Begin(fault);
    live_.End(fault.name());
    Evidence evidence;
    live_.AddTo(fault, evidence);
    return evidence;
  }

  Address at_;
  Fd listener_;
  NetNamespace ns_ = NetNamespace::Own().value();
  LiveEdges live_;
  std::atomic<bool> cancelled_ = false;
  std::vector<std::string> notes_;
};

TEST_F(LiveEdgesAtWork, CountTheBytesOfTheServiceSinceTheRunBegan) {
  int go[2], done[2];
  ASSERT_EQ(pipe2(go, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(done, O_CLOEXEC), 0);
  const Child service([&] {
    if (fork() != 0) return;  // a child of the service has the connection: it belongs to the service all the same
    const Fd fd = Connect(at_);
    std::string bytes(1000, 'x');
    (void)!send(fd.get(), bytes.data(), bytes.size(), 0);
    char byte;
    (void)!write(done[1], "x", 1);
    (void)!read(go[0], &byte, 1);
    (void)!send(fd.get(), bytes.data(), 300, 0);
    (void)!recv(fd.get(), bytes.data(), 50, MSG_WAITALL);
    (void)!write(done[1], "x", 1);
    (void)!read(go[0], &byte, 1);
    _exit(0);
  });
  char byte;
  ASSERT_EQ(read(done[0], &byte, 1), 1);  // its connection is the first
  const Child bystander([&] { Connect(at_).Release(); });
  const Fd server = Accept(listener_);
  std::string bytes(1000, 'y');
  ASSERT_EQ(recv(server.get(), bytes.data(), 1000, MSG_WAITALL), 1000);
  Edge edge;
  edge.set_name("recommend");
  ASSERT_TRUE(live_.Add(edge, {at_}, ns_, [&] { return WithDescendants(service.ids()); }).ok());
  EXPECT_EQ(Stats().direct_connections(), 1);
  EXPECT_EQ(Stats().direct_bytes_to_dependency(), 0);
  ASSERT_EQ(write(go[1], "x", 1), 1);
  ASSERT_EQ(recv(server.get(), bytes.data(), 300, MSG_WAITALL), 300);
  ASSERT_EQ(send(server.get(), bytes.data(), 50, 0), 50);
  ASSERT_EQ(read(done[0], &byte, 1), 1);
  Fault fault;
  fault.set_name("slow");
  fault.mutable_stall()->set_edge("recommend");
  const Evidence evidence = EvidenceOf(fault);
  EXPECT_EQ(evidence.direct_unreached(), 1);
  EXPECT_EQ(evidence.direct_reached(), 0);
  EXPECT_EQ(Stats().direct_bytes_to_dependency(), 300);
  EXPECT_EQ(Stats().direct_bytes_to_service(), 50);
  // What it carried stays counted when it is gone.
  ASSERT_EQ(write(go[1], "x", 1), 1);
  ASSERT_EQ(recv(server.get(), bytes.data(), 1, 0), 0);
  EvidenceOf(fault);
  EXPECT_EQ(Stats().direct_connections(), 0);
  EXPECT_EQ(Stats().direct_bytes_to_dependency(), 300);
}

TEST_F(LiveEdgesAtWork, CountNothingFromBeforeAnAddressWasTheEdges) {
  const Child service([&] {
    Fd fd = Connect(at_);
    const std::string bytes(1000, 'x');
    (void)!send(fd.get(), bytes.data(), bytes.size(), 0);
    fd.Release();
  });
  const Fd server = Accept(listener_);
  std::string bytes(1000, 'y');
  ASSERT_EQ(recv(server.get(), bytes.data(), 1000, MSG_WAITALL), 1000);
  Edge edge;
  edge.set_name("recommend");
  const Address elsewhere = ParseAddress("127.0.0.9:1").value();
  ASSERT_TRUE(live_.Add(edge, {elsewhere}, ns_, [ids = service.ids()] { return ids; }).ok());
  live_.SetAddresses("recommend", {elsewhere, at_});
  live_.Begin([] {
    Fault fault;
    fault.set_name("slow");
    fault.mutable_stall()->set_edge("recommend");
    return fault;
  }());
  EXPECT_EQ(Stats().direct_connections(), 1);
  EXPECT_EQ(Stats().direct_bytes_to_dependency(), 0);
}

TEST_F(LiveEdgesAtWork, TellWhichFaultsReachThem) {
  const Child service([&] { Connect(at_).Release(); });
  Add(Edge::EXISTING_KEEP, service);
  Fault loss, latency, other;
  loss.set_name("loss");
  loss.mutable_loss()->set_edge("recommend");
  EXPECT_EQ(EvidenceOf(loss).direct_reached(), 1);
  latency.set_name("latency");
  latency.mutable_latency()->set_edge("recommend");
  EXPECT_EQ(EvidenceOf(latency).direct_unreached(), 1);
  Evidence queued;
  queued.set_hit_to_service(7);
  live_.AddTo(latency, queued);
  EXPECT_EQ(queued.direct_reached(), 1);
  other.set_name("other");
  other.mutable_refuse()->set_edge("elsewhere");
  EXPECT_EQ(EvidenceOf(other).direct_unreached(), 0);
}

TEST_F(LiveEdgesAtWork, ResetEndsThoseOfTheServiceAndLeavesTheBystanders) {
  if (!IsRoot()) GTEST_SKIP();
  const Child service([&] {
    for (int i = 0; i < 3; ++i) Connect(at_).Release();
  });
  const Fd own = Connect(at_);  // this process is no part of the service
  Add(Edge::EXISTING_RESET, service);
  EXPECT_EQ(Stats().direct_connections(), 3);
  const absl::Status status = live_.Reset(cancelled_, notes_);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(notes_, ElementsAre("edge recommend: 3 connections of orders from before the run ended (existing: reset)"));
  EXPECT_EQ(Stats().direct_connections(), 0);
  int resets = 0;
  for (int i = 0; i < 4; ++i) {
    const Fd server = Accept(listener_);
    char byte;
    resets += recv(server.get(), &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET;
  }
  EXPECT_EQ(resets, 3);
}

TEST_F(LiveEdgesAtWork, ResetGivesUpOnAServiceThatMakesThemAnewAllTheTime) {
  if (!IsRoot()) GTEST_SKIP();
  ASSERT_EQ(listen(listener_.get(), 4096), 0);  // room for all, so that nobody need accept them
  const Child service([&] {
    if (fork() == 0) return;
    // Before all others, or a busy machine would let it make the next one too late to be seen.
    const sched_param first = {1};
    EXPECT_EQ(sched_setscheduler(0, SCHED_FIFO, &first), 0) << strerror(errno);
    while (true) {
      const Fd fd = Connect(at_);
      pollfd gone = {fd.get(), POLLIN, 0};
      poll(&gone, 1, -1);
    }
  });
  Edge edge;
  edge.set_name("recommend");
  edge.set_from("orders");
  edge.set_existing(Edge::EXISTING_RESET);
  ASSERT_TRUE(live_.Add(edge, {at_}, ns_, [&] { return WithDescendants(service.ids()); }).ok());
  const absl::Status status = live_.Reset(cancelled_, notes_);
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_THAT(status.message(), HasSubstr("orders still has 1 connection"));
}

// A copy of /bin/sleep under another name.
class Named {
 public:
  explicit Named(const std::string& name) : path_(testing::TempDir() + "/" + name) {
    std::ofstream(path_, std::ios::binary) << std::ifstream("/bin/sleep", std::ios::binary).rdbuf();
    chmod(path_.c_str(), 0755);
  }
  ~Named() { unlink(path_.c_str()); }
  void Exec() const { execl(path_.c_str(), path_.c_str(), "60", nullptr); }

 private:
  const std::string path_;
};

// Waits until the process has this name.
void AwaitName(pid_t pid, const std::string& name) {
  for (int i = 0; i < 1000 && ReadStat(pid)->name != name; ++i) poll(nullptr, 0, 1);
  EXPECT_EQ(ReadStat(pid)->name, name);
}

TEST(CheckTargets, SshdAndSquallAndWhatContainsThemAreOutOfReach) {
  for (const std::string name : {"sshd", "sshd-session", "squall"}) {
    const Named program(name);
    int pids[2];
    ASSERT_EQ(pipe2(pids, O_CLOEXEC), 0);
    const Child parent([&] {
      const pid_t child = fork();
      if (child == 0) program.Exec();
      (void)!write(pids[1], &child, sizeof(child));
    });
    pid_t child = 0;
    ASSERT_EQ(read(pids[0], &child, sizeof(child)), static_cast<ssize_t>(sizeof(child)));
    AwaitName(child, name);
    for (const pid_t target : {child, parent.pid()}) {
      const absl::Status status = CheckTargets(ScenarioFor(target, "127.0.0.1:1"));
      EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_THAT(status.message(), HasSubstr("fault slow must not act on service orders"));
      EXPECT_THAT(status.message(), HasSubstr(name.substr(0, 4) == "sshd" ? "is sshd" : "is squall itself"));
    }
    Scenario scenario = ScenarioFor(parent.pid(), "127.0.0.1:1");
    scenario.clear_faults();
    EXPECT_TRUE(CheckTargets(scenario).ok()) << "nothing acts on it";
    scenario.mutable_edges(0)->set_existing(Edge::EXISTING_RESET);
    EXPECT_THAT(CheckTargets(scenario).message(), HasSubstr("edge recommend: existing: reset must not act on service orders"));
    scenario.mutable_edges(0)->clear_existing();
    Fault& cut = *scenario.add_faults();
    cut.mutable_partition()->set_isolate("orders");
    EXPECT_FALSE(CheckTargets(scenario).ok());
    cut.mutable_cpu()->set_service("orders");
    EXPECT_FALSE(CheckTargets(scenario).ok());
    cut.mutable_kill()->set_service("orders");
    EXPECT_FALSE(CheckTargets(scenario).ok());
    kill(child, SIGKILL);
  }
}

TEST(CheckTargets, PidOneAndThisProcessAreOutOfReach) {
  for (const pid_t target : {1, static_cast<int>(getpid()), static_cast<int>(getppid())}) {
    EXPECT_EQ(CheckTargets(ScenarioFor(target, "127.0.0.1:1")).code(), absl::StatusCode::kFailedPrecondition) << target;
  }
}

TEST(CheckTargets, AnyOtherProcessIsNot) {
  const Child service([] {});
  const absl::Status status = CheckTargets(ScenarioFor(service.pid(), "127.0.0.1:1"));
  EXPECT_TRUE(status.ok()) << status;
}

TEST(CheckEdgesLead, AnAddressWithoutARouteIsAnErrorThatNamesEdgeAndAddress) {
  if (!IsRoot()) GTEST_SKIP();
  const Child service([] {
    if (unshare(CLONE_NEWNET) != 0) _exit(1);  // a namespace without routes
  });
  for (const char* to : {"192.0.2.77:80", "[2001:db8::77]:80"}) {
    const absl::Status status = CheckEdgesLead(ScenarioFor(service.pid(), to));
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(status.message(), HasSubstr(std::string("edge recommend: orders has no route to ") + to));
  }
  Scenario any = ScenarioFor(service.pid(), "*:80");
  EXPECT_TRUE(CheckEdgesLead(any).ok());
}

TEST(CheckEdgesLead, WhereTheAgentServesIsNoDependency) {
  const Child service([] {});
  Address at;
  const Fd listener = Listen(at);  // as the agent's own
  absl::Status status = CheckEdgesLead(ScenarioFor(service.pid(), at.ToString()));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("edge recommend: " + at.ToString() + " is where this agent serves its controllers"));
  status = CheckEdgesLead(ScenarioFor(service.pid(), "*:" + std::to_string(at.port)));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  // As when a name turns out to stand for it.
  const NetNamespace own = *NetNamespace::Own();
  EXPECT_FALSE(CheckNotOwn(Edge(), own, at, OwnListeners()).ok());
  EXPECT_TRUE(CheckNotOwn(Edge(), own, ParseAddress("192.0.2.77:80").value(), OwnListeners()).ok());
  Address other = at;
  other.port = static_cast<uint16_t>(at.port ^ 1);
  status = CheckEdgesLead(ScenarioFor(service.pid(), other.ToString()));
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace squall
