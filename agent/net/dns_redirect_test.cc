// Redirection of DNS queries with real resolvers as clients (glibc, Go, c-ares, dig) and dnsmasq as the real server, in network and
// mount namespaces of the test's own. Needs root: without, every test says that it was left out.
#include "agent/net/dns_redirect.h"

#include <ares.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netdb.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "agent/net/intercept.h"
#include "agent/net/relay.h"
#include "agent/net/resolver.h"
#include "agent/process/cgroup.h"

#include "agent/net/dns_client.h"  // last: it includes ldns

namespace squall {
namespace {

constexpr char kRight[] = "10.9.8.7 fd00::7";
constexpr char kWrong[] = "192.0.2.1 2001:db8::1";

std::string Temp(const std::string& name) { return absl::StrCat(getenv("TEST_TMPDIR"), "/", name); }

void Write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

void LoopbackUp() {
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  ifreq request = {};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  ioctl(fd, SIOCSIFFLAGS, &request);
  close(fd);
}

// A host of its own: dnsmasq on 127.0.0.1, 127.0.0.2 and ::1, port 53 and, for the last two, 5353.
class Host {
 public:
  Host() {
    int ready[2];
    EXPECT_EQ(pipe2(ready, O_CLOEXEC), 0);
    namespace_pid_ = fork();
    if (namespace_pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) _exit(1);
      mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
      LoopbackUp();
      (void)!write(ready[1], "x", 1);
      pause();
      _exit(0);
    }
    char byte;
    EXPECT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    Serve({"--port=53", "--listen-address=127.0.0.1", "--listen-address=::1", "--host-record=recommend.test,10.9.8.7,fd00::7",
           "--host-record=other.test,10.9.8.8"});
    Serve({"--port=53", "--listen-address=127.0.0.2", "--host-record=recommend.test,10.9.8.2"});
    Serve({"--port=5353", "--listen-address=127.0.0.1", "--host-record=recommend.test,10.9.8.7,fd00::7"});
    for (const char* address : {"127.0.0.1:53", "[::1]:53", "127.0.0.2:53", "127.0.0.1:5353"}) {
      for (int i = 0; i < 5000; ++i) {
        bool there = false;
        EXPECT_TRUE(Namespace().Inside([&] {
          there = DnsClient(ParseAddress(address).value(), /*tcp=*/true).connected();
          return absl::OkStatus();
        }).ok());
        if (there) break;
        absl::SleepFor(absl::Milliseconds(1));
        EXPECT_LT(i, 4999) << "dnsmasq does not listen on " << address;
      }
    }
  }
  ~Host() {
    servers_.push_back(namespace_pid_);
    for (const pid_t pid : servers_) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
  }
  NetNamespace Namespace() const { return NetNamespace::Of(namespace_pid_).value(); }
  // For a child that has one thread: enters, and gives it a resolv.conf of its own.
  void Enter(const std::string& resolv_conf) const {
    const int net = open(absl::StrCat("/proc/", namespace_pid_, "/ns/net").c_str(), O_RDONLY);
    if (setns(net, CLONE_NEWNET) != 0 || unshare(CLONE_NEWNS) != 0) _exit(120);
    mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    const std::string file = Temp(absl::StrCat("resolv-", getpid()));
    Write(file, resolv_conf);
    if (mount(file.c_str(), "/etc/resolv.conf", nullptr, MS_BIND, nullptr) != 0) _exit(121);
    Write(file + "-nsswitch", "hosts: dns\n");
    mount((file + "-nsswitch").c_str(), "/etc/nsswitch.conf", nullptr, MS_BIND, nullptr);
  }

 private:
  void Serve(const std::vector<std::string>& options) {
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int net = open(absl::StrCat("/proc/", namespace_pid_, "/ns/net").c_str(), O_RDONLY);
      if (setns(net, CLONE_NEWNET) != 0) _exit(1);
      std::vector<std::string> argv = {"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                                       "--bind-interfaces", "--user=root", "--pid-file=", "--local=/test/"};
      argv.insert(argv.end(), options.begin(), options.end());
      std::vector<char*> raw;
      for (std::string& argument : argv) raw.push_back(argument.data());
      raw.push_back(nullptr);
      execvp(raw[0], raw.data());
      _exit(127);
    }
    servers_.push_back(pid);
  }

  pid_t namespace_pid_;
  std::vector<pid_t> servers_;
};

struct ChildOptions {
  std::string cgroup;                 // enters it first
  std::string resolv_conf;
  std::function<void(pid_t)> before;  // called with its pid before it does anything
};

// Does `work`, which returns what it saw, in a child process on the host.
std::string InChild(const Host& host, const ChildOptions& options, const std::function<std::string()>& work) {
  int result[2], go[2];
  EXPECT_EQ(pipe2(result, O_CLOEXEC), 0);
  EXPECT_EQ(pipe2(go, O_CLOEXEC), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(60);
    char byte;
    (void)!read(go[0], &byte, 1);
    if (!options.cgroup.empty()) {
      const int fd = open((options.cgroup + "/cgroup.procs").c_str(), O_WRONLY);
      if (write(fd, "0", 1) != 1) _exit(122);
    }
    host.Enter(options.resolv_conf);
    dup2(result[1], 1);
    const std::string seen = work();
    (void)!write(1, seen.data(), seen.size());
    _exit(0);
  }
  close(result[1]);
  if (options.before) options.before(pid);
  (void)!write(go[1], "x", 1);
  std::string seen;
  char buffer[4096];
  ssize_t size;
  while ((size = read(result[0], buffer, sizeof(buffer))) > 0) seen.append(buffer, static_cast<size_t>(size));
  waitpid(pid, nullptr, 0);
  for (const int fd : {result[0], go[0], go[1]}) close(fd);
  return seen;
}

// Becomes the program: what it prints is what was seen.
std::function<std::string()> Program(std::vector<std::string> argv) {
  return [argv = std::move(argv)]() mutable -> std::string {
    std::vector<char*> raw;
    for (std::string& argument : argv) raw.push_back(argument.data());
    raw.push_back(nullptr);
    execvp(raw[0], raw.data());
    _exit(127);
  };
}

// The addresses in what a program printed: words that are one, sorted, each once.
std::string AddressesIn(const std::string& text) {
  std::set<std::string> found;
  for (const absl::string_view word : absl::StrSplit(text, absl::ByAnyChar(" \t\n"), absl::SkipEmpty())) {
    in6_addr address;
    const std::string copy(word);
    if (inet_pton(AF_INET, copy.c_str(), &address) == 1 || inet_pton(AF_INET6, copy.c_str(), &address) == 1) found.insert(copy);
  }
  return absl::StrJoin(found, " ");
}

std::string WithCares(const std::string& server, bool tcp) {
  ares_library_init(ARES_LIB_INIT_ALL);
  ares_channel channel;
  ares_options options = {};
  options.flags = tcp ? ARES_FLAG_USEVC : 0;
  options.timeout = 5000;
  char lookups[] = "b";
  options.lookups = lookups;
  if (ares_init_options(&channel, &options, ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_LOOKUPS) != ARES_SUCCESS) return "init";
  if (ares_set_servers_ports_csv(channel, server.c_str()) != ARES_SUCCESS) return "servers";
  std::string seen;
  const auto take = [](void* out, int status, int, ares_addrinfo* found) {
    auto& text = *static_cast<std::string*>(out);
    text += status == ARES_SUCCESS ? "" : ares_strerror(status);
    for (auto* node = found == nullptr ? nullptr : found->nodes; node != nullptr; node = node->ai_next) {
      char name[NI_MAXHOST];
      getnameinfo(node->ai_addr, node->ai_addrlen, name, sizeof(name), nullptr, 0, NI_NUMERICHOST);
      text += std::string(name) + " ";
    }
    if (found != nullptr) ares_freeaddrinfo(found);
    text += "\n";
  };
  ares_addrinfo_hints hints = {};
  hints.ai_flags = ARES_AI_NOSORT;
  ares_getaddrinfo(channel, "recommend.test", nullptr, &hints, take, &seen);
  while (seen.empty()) {
    fd_set readers, writers;
    FD_ZERO(&readers);
    FD_ZERO(&writers);
    const int count = ares_fds(channel, &readers, &writers);
    timeval wait;
    timeval* timeout = ares_timeout(channel, nullptr, &wait);
    select(count, &readers, &writers, nullptr, timeout);
    ares_process(channel, &readers, &writers);
  }
  return seen;
}

// Built once: Go's own resolver, which asks by itself and knows nothing of glibc.
const std::string& GoLookup() {
  static const auto& program = *new std::string([] {
    const std::string out = Temp("lookup");
    const std::string source = absl::StrCat(getenv("TEST_SRCDIR"), "/squall/agent/net/testdata/lookup.go");
    const std::string command = absl::StrCat("GO111MODULE=off CGO_ENABLED=0 GOPATH=", Temp("go"), " GOCACHE=", Temp("go-cache"),
                                             " GOFLAGS=-p=2 go build -o ", out, " ", source);
    EXPECT_EQ(system(command.c_str()), 0);
    return out;
  }());
  return program;
}

Dns Wrong() {
  Dns dns;
  dns.add_names("recommend.test");
  dns.set_answer(Dns::ANSWER_WRONG_ADDRESS);
  dns.add_addresses("192.0.2.1");
  dns.add_addresses("2001:db8::1");
  return dns;
}

class DnsRedirectTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string why_not = Intercept::WhyNot(/*by_process=*/true);
    if (!why_not.empty()) {
      printf("LEFT OUT: dns_redirect_test: %s\n", why_not.c_str());
      GTEST_SKIP() << why_not;
    }
    host_.emplace();
    ns_.emplace(host_->Namespace());
    cgroup_.emplace(Cgroup::Make("dns-redirect-test").value());
  }
  void TearDown() override {
    resolver_.reset();
    redirect_.reset();
    if (cgroup_) {
      EXPECT_TRUE(cgroup_->Remove().ok());
    }
  }
  void Redirect(bool by_process = false, const std::optional<Address>& nameserver = std::nullopt) {
    auto attached = DnsRedirect::Attach(cgroup_->path(), by_process, nameserver);
    ASSERT_TRUE(attached.ok()) << attached.status();
    redirect_ = *std::move(attached);
    auto resolver = Resolver::Open(*ns_, {std::nullopt, std::nullopt, redirect_.get()});
    ASSERT_TRUE(resolver.ok()) << resolver.status();
    resolver_ = *std::move(resolver);
    ASSERT_TRUE(redirect_->SetNamespace(*ns_).ok());
  }
  std::string Target(const std::string& resolv_conf, const std::function<std::string()>& work) {
    return InChild(*host_, {cgroup_->path(), resolv_conf, nullptr}, work);
  }
  std::string Bystander(const std::string& resolv_conf, const std::function<std::string()>& work) {
    return InChild(*host_, {"", resolv_conf, nullptr}, work);
  }
  int64_t Answered() {
    int64_t all = 0;
    const Evidence evidence = resolver_->EvidenceOf("wrong");
    for (const auto& [name, count] : evidence.answered()) all += count;
    return all;
  }

  std::optional<Host> host_;
  std::optional<NetNamespace> ns_;
  std::optional<Cgroup> cgroup_;
  std::unique_ptr<DnsRedirect> redirect_;
  std::unique_ptr<Resolver> resolver_;
};

struct Way {
  std::string server;
  bool tcp;
};

using Client = std::function<std::function<std::string()>(const Way& way)>;

// Each way with one client: right before, wrong while the fault acts, right for a bystander meanwhile, and right again.
class RealClients : public DnsRedirectTest {
 protected:
  void Check(const Client& client) {
    Redirect();
    for (const Way& way : {Way{"127.0.0.1", false}, Way{"127.0.0.1", true}, Way{"::1", false}, Way{"::1", true}}) {
      SCOPED_TRACE(absl::StrCat(way.server, way.tcp ? " tcp" : " udp"));
      const std::string resolv_conf = absl::StrCat("nameserver ", way.server, "\n", way.tcp ? "options use-vc\n" : "");
      EXPECT_EQ(AddressesIn(Target(resolv_conf, client(way))), kRight) << "without a fault";
      ASSERT_TRUE(resolver_->Inject("wrong", Wrong()).ok());
      EXPECT_EQ(AddressesIn(Target(resolv_conf, client(way))), kWrong) << "with the fault";
      EXPECT_GE(Answered(), 1);
      EXPECT_EQ(AddressesIn(Bystander(resolv_conf, client(way))), kRight) << "a bystander";
      ASSERT_TRUE(resolver_->Heal("wrong").ok());
      EXPECT_EQ(AddressesIn(Target(resolv_conf, client(way))), kRight) << "healed";
    }
    redirect_->Detach();
    EXPECT_EQ(AddressesIn(Target("nameserver 127.0.0.1\n", client({"127.0.0.1", false}))), kRight) << "without redirection";
  }
};

TEST_F(RealClients, Glibc) {
  Check([](const Way&) { return Program({"getent", "ahosts", "recommend.test"}); });
}

TEST_F(RealClients, GosOwnResolver) {
  Check([](const Way&) { return Program({GoLookup(), "recommend.test"}); });
}

TEST_F(RealClients, CAres) {
  Check([](const Way& way) { return [way] { return WithCares(way.server == "::1" ? "[::1]:53" : "127.0.0.1:53", way.tcp); }; });
}

TEST_F(RealClients, Dig) {
  Check([](const Way& way) {
    return Program({"dig", "+short", way.tcp ? "+tcp" : "+notcp", "+tries=1", absl::StrCat("@", way.server), "recommend.test", "A",
                    "recommend.test", "AAAA"});
  });
}

TEST_F(DnsRedirectTest, GlibcAndDigUnderstandEveryAnswer) {
  Redirect();
  const std::string conf = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
  const auto dig = [&] {
    const std::string text = Target(conf, Program({"dig", "+tries=1", "+timeout=1", "@127.0.0.1", "recommend.test"}));
    const size_t at = text.find("status: ");
    return at == std::string::npos ? (absl::StrContains(text, "timed out") ? "timed out" : text) : text.substr(at + 8, text.find(',', at) - at - 8);
  };
  for (const auto& [answer, status] : {std::pair{Dns::ANSWER_NXDOMAIN, "NXDOMAIN"}, {Dns::ANSWER_SERVFAIL, "SERVFAIL"},
                                       {Dns::ANSWER_REFUSED, "REFUSED"}, {Dns::ANSWER_EMPTY, "NOERROR"},
                                       {Dns::ANSWER_TIMEOUT, "timed out"}}) {
    Dns dns = Wrong();
    dns.set_answer(answer);
    dns.clear_addresses();
    ASSERT_TRUE(resolver_->Inject("wrong", dns).ok());
    EXPECT_EQ(dig(), status);
    EXPECT_EQ(Target(conf, Program({"getent", "ahosts", "recommend.test"})), "");
    EXPECT_EQ(AddressesIn(Target(conf, Program({"getent", "ahosts", "other.test"}))), "10.9.8.8");
    ASSERT_TRUE(resolver_->Heal("wrong").ok());
  }
}

// What one unconnected or connected socket sees: "ADDRESS from SENDER".
std::string AskOnSocket(const std::string& to_text, bool v6_socket, bool connected) {
  const Address to = ParseAddress(to_text).value();
  const int fd = socket(v6_socket ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
  sockaddr_storage storage = {};
  socklen_t length = to.ToSockaddr(storage);
  if (v6_socket) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
    v6 = {};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(to.port);
    v6.sin6_addr = to.ip;
    length = sizeof(v6);
  }
  const std::string query = MakeQuery("recommend.test");
  std::string peer;
  if (connected) {
    if (connect(fd, reinterpret_cast<sockaddr*>(&storage), length) != 0) return "connect failed";
    if (send(fd, query.data(), query.size(), 0) < 0) return "send failed";
    length = sizeof(storage);
    getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length);
    peer = absl::StrCat(" of ", FromSockaddr(storage).ToString());
  } else if (sendto(fd, query.data(), query.size(), 0, reinterpret_cast<sockaddr*>(&storage), length) < 0) {
    return "sendto failed";
  }
  char buffer[4096];
  length = sizeof(storage);
  const ssize_t size = recvfrom(fd, buffer, sizeof(buffer), 0, reinterpret_cast<sockaddr*>(&storage), &length);
  if (size < 0) return "recvfrom failed";
  return absl::StrCat(Told(std::string(buffer, static_cast<size_t>(size))), " from ", FromSockaddr(storage).ToString(), peer);
}

TEST_F(DnsRedirectTest, AnswersComeFromTheServerThatWasAskedOnEveryKindOfSocket) {
  Redirect();
  for (const char* expected : {"10.9.8.7", "192.0.2.1"}) {
    if (expected[0] == '1' && expected[1] == '9') {
      ASSERT_TRUE(resolver_->Inject("wrong", Wrong()).ok());
    }
    const std::string told = absl::StrCat("NOERROR ", expected);
    EXPECT_EQ(Target("", [] { return AskOnSocket("127.0.0.1:53", false, false); }), told + " from 127.0.0.1:53");
    EXPECT_EQ(Target("", [] { return AskOnSocket("127.0.0.1:53", false, true); }), told + " from 127.0.0.1:53 of 127.0.0.1:53");
    EXPECT_EQ(Target("", [] { return AskOnSocket("[::1]:53", true, false); }), told + " from [::1]:53");
    EXPECT_EQ(Target("", [] { return AskOnSocket("[::1]:53", true, true); }), told + " from [::1]:53 of [::1]:53");
    // IPv4 over an IPv6 socket.
    EXPECT_EQ(Target("", [] { return AskOnSocket("127.0.0.1:53", true, false); }), told + " from 127.0.0.1:53");
    EXPECT_EQ(Target("", [] { return AskOnSocket("127.0.0.1:53", true, true); }), told + " from 127.0.0.1:53 of 127.0.0.1:53");
  }
  EXPECT_EQ(Answered(), 6);
}

TEST_F(DnsRedirectTest, OneSocketThatAsksTwoServersAtOnceGetsTheAnswerOfEach) {
  Redirect();
  const std::string seen = Target("", [] {
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    const std::string query = MakeQuery("recommend.test");
    for (const char* server : {"127.0.0.1:53", "127.0.0.2:53"}) {
      sockaddr_storage storage;
      const socklen_t length = ParseAddress(server)->ToSockaddr(storage);
      sendto(fd, query.data(), query.size(), 0, reinterpret_cast<sockaddr*>(&storage), length);
    }
    std::set<std::string> answers;
    while (answers.size() < 2) {
      char buffer[4096];
      sockaddr_storage storage;
      socklen_t length = sizeof(storage);
      const ssize_t size = recvfrom(fd, buffer, sizeof(buffer), 0, reinterpret_cast<sockaddr*>(&storage), &length);
      if (size < 0) break;
      answers.insert(absl::StrCat(Told(std::string(buffer, static_cast<size_t>(size))), " from ", FromSockaddr(storage).ToString()));
    }
    return absl::StrJoin(answers, ", ");
  });
  EXPECT_EQ(seen, "NOERROR 10.9.8.2 from 127.0.0.2:53, NOERROR 10.9.8.7 from 127.0.0.1:53");
}

TEST_F(DnsRedirectTest, OfANamedServerOnlyItsQueriesAreRedirected) {
  Redirect(/*by_process=*/false, ParseAddress("127.0.0.1:5353").value());
  ASSERT_TRUE(resolver_->Inject("wrong", Wrong()).ok());
  EXPECT_EQ(Target("", [] { return AskOnSocket("127.0.0.1:5353", false, true); }), "NOERROR 192.0.2.1 from 127.0.0.1:5353 of 127.0.0.1:5353");
  EXPECT_EQ(Target("", [] { return AskOnSocket("127.0.0.1:53", false, true); }), "NOERROR 10.9.8.7 from 127.0.0.1:53 of 127.0.0.1:53");
}

TEST_F(DnsRedirectTest, OfAServiceThatRunsAlreadyOnlyItsProcessesAreRedirectedOldSocketsIncluded) {
  Redirect(/*by_process=*/true);
  ASSERT_TRUE(resolver_->Inject("wrong", Wrong()).ok());
  const auto ask = [] { return AskOnSocket("127.0.0.1:53", false, false); };
  EXPECT_EQ(InChild(*host_, {cgroup_->path(), "", [&](pid_t pid) { EXPECT_TRUE(redirect_->SetProcesses({pid}).ok()); }}, ask),
            "NOERROR 192.0.2.1 from 127.0.0.1:53");
  EXPECT_EQ(Target("", ask), "NOERROR 10.9.8.7 from 127.0.0.1:53") << "a neighbour in the cgroup";
}

TEST_F(DnsRedirectTest, StoppedQueriesGoWhereTheyWantToAndAnswersUnderWayStillFit) {
  Redirect();
  Dns slow = Wrong();
  slow.mutable_delay()->set_seconds(60);
  ASSERT_TRUE(resolver_->Inject("wrong", slow).ok());
  std::thread stopper([&] {
    // Once the query is held: it has been seen by then.
    while (!redirect_->Server(0)) absl::SleepFor(absl::Milliseconds(1));
    absl::SleepFor(absl::Milliseconds(50));
    redirect_->StopQueries();
    EXPECT_TRUE(resolver_->Heal("wrong").ok());
  });
  EXPECT_EQ(Target("", [] { return AskOnSocket("127.0.0.1:53", false, true); }), "NOERROR 10.9.8.7 from 127.0.0.1:53 of 127.0.0.1:53");
  stopper.join();
  ASSERT_TRUE(resolver_->Inject("wrong", Wrong()).ok());
  EXPECT_EQ(Target("", [] { return AskOnSocket("127.0.0.1:53", false, true); }), "NOERROR 10.9.8.7 from 127.0.0.1:53 of 127.0.0.1:53");
}

TEST_F(DnsRedirectTest, WorksBesideTheRedirectionOfAnEdge) {
  for (const bool dns_first : {true, false}) {
    std::unique_ptr<Intercept> intercept;
    Relay relay([](const std::string&, const SeenCall&) {});
    const auto open_edge = [&] {
      intercept = Intercept::Attach(cgroup_->path(), /*by_process=*/false).value();
      Relay::EdgeOptions edge;
      edge.name = "edge";
      edge.to = {ParseAddress("127.0.0.1:5353").value()};
      edge.intercept = intercept.get();
      EXPECT_TRUE(relay.Open(edge, *ns_).ok());
      EXPECT_TRUE(intercept->SetNamespace(*ns_).ok());
    };
    if (!dns_first) open_edge();
    Redirect();
    if (dns_first) open_edge();
    ASSERT_TRUE(resolver_->Inject("wrong", Wrong()).ok());
    const auto over_tcp = [](const char* to) {
      return [to] {
        DnsClient client(ParseAddress(to).value(), /*tcp=*/true);
        sockaddr_storage storage;
        socklen_t length = sizeof(storage);
        getpeername(client.fd(), reinterpret_cast<sockaddr*>(&storage), &length);
        return absl::StrCat(Told(client.Ask(MakeQuery("recommend.test"))), " of ", FromSockaddr(storage).ToString());
      };
    };
    EXPECT_EQ(Target("", over_tcp("127.0.0.1:5353")), "NOERROR 10.9.8.7 of 127.0.0.1:5353");
    EXPECT_EQ(Target("", over_tcp("127.0.0.1:53")), "NOERROR 192.0.2.1 of 127.0.0.1:53");
    EXPECT_EQ(relay.Stats("edge").connections(), 1);
    EXPECT_EQ(Answered(), 1);
    intercept->Detach();
    resolver_.reset();
    redirect_.reset();
  }
}

TEST_F(DnsRedirectTest, DeathOfItsHolderLeavesEverythingAsItWas) {
  int ready[2];
  ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
  const pid_t holder = fork();
  if (holder == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    auto redirect = DnsRedirect::Attach(cgroup_->path(), false, std::nullopt);
    if (!redirect.ok()) _exit(1);
    auto resolver = Resolver::Open(*ns_, {std::nullopt, std::nullopt, redirect->get()});
    if (!resolver.ok() || !(*redirect)->SetNamespace(*ns_).ok() || !(*resolver)->Inject("wrong", Wrong()).ok()) _exit(1);
    (void)!write(ready[1], "x", 1);
    pause();
    _exit(0);
  }
  close(ready[1]);
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  close(ready[0]);
  const auto getent = Program({"getent", "ahosts", "recommend.test"});
  EXPECT_EQ(AddressesIn(Target("nameserver 127.0.0.1\n", getent)), kWrong);
  kill(holder, SIGKILL);
  waitpid(holder, nullptr, 0);
  EXPECT_EQ(AddressesIn(Target("nameserver 127.0.0.1\n", getent)), kRight);
}

}  // namespace
}  // namespace squall
