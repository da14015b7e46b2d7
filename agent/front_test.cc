// squall-front as the agent runs it, against real TLS clients.
#include "agent/front.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "agent/listen.h"
#include "base/mint.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr size_t kMebibyte = 1 << 20;

bool Eventually(absl::Duration patience, const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + patience;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(5));
  }
  return true;
}

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

std::string Noise(size_t size, unsigned seed) {
  std::minstd_rand random(seed);
  std::string noise(size, '\0');
  for (char& c : noise) c = static_cast<char>(random() >> 8);
  return noise;
}

struct Papers {
  KeyPtr key;
  X509Ptr certificate;

  std::string Pem() const {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(bio.get(), certificate.get());
    return TextOf(bio.get());
  }
  std::string KeyPem() const {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    return TextOf(bio.get());
  }
};

Papers Ca(const std::string& name) {
  Papers ca{MintKey(), nullptr};
  ca.certificate = MintCa(name, ca.key.get(), absl::Now() + absl::Hours(1)).value();
  return ca;
}

Papers Issue(const Papers& ca, const std::string& name, const std::string& usage,
             absl::Duration for_how_long = absl::Hours(1)) {
  Papers papers{MintKey(), nullptr};
  const CertificateSpec spec = {name, {name}, usage, absl::Now() - absl::Hours(2), absl::Now() + for_how_long};
  papers.certificate = MintCertificate(spec, papers.key.get(), ca.certificate.get(), ca.key.get()).value();
  return papers;
}

// A connection to the front, from an address of the loopback.
Fd Dial(int port, const char* from = "127.0.0.1") {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, from, &address.sin_addr);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  address.sin_port = htons(static_cast<uint16_t>(port));
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0) << strerror(errno);
  const timeval patience = {20, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  return fd;
}

std::string LocalAddress(const Fd& fd) {
  sockaddr_in address = {};
  socklen_t size = sizeof(address);
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return absl::StrCat("ipv4:127.0.0.1:", ntohs(address.sin_port));
}

struct Manner {
  const Papers* papers = nullptr;  // none: no certificate is shown
  int version = TLS1_3_VERSION;
  std::string protocol = "h2";
};

class TlsClient {
 public:
  TlsClient(int port, const Manner& manner) : fd_(Dial(port)), context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_min_proto_version(context_.get(), manner.version);
    SSL_CTX_set_max_proto_version(context_.get(), manner.version);
    if (manner.papers != nullptr) {
      SSL_CTX_use_certificate(context_.get(), manner.papers->certificate.get());
      SSL_CTX_use_PrivateKey(context_.get(), manner.papers->key.get());
    }
    const std::string offered = absl::StrCat(std::string(1, static_cast<char>(manner.protocol.size())), manner.protocol);
    if (!manner.protocol.empty()) {
      SSL_CTX_set_alpn_protos(context_.get(), reinterpret_cast<const unsigned char*>(offered.data()),
                              static_cast<unsigned>(offered.size()));
    }
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), fd_.get());
    connected_ = SSL_connect(ssl_.get()) == 1;
  }
  bool connected() const { return connected_; }
  const Fd& fd() const { return fd_; }
  SSL* ssl() const { return ssl_.get(); }
  bool Send(const std::string& bytes) { return SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())) > 0; }
  // As many bytes, or those that came before the end.
  std::string Receive(size_t size) {
    std::string got(size, '\0');
    size_t have = 0;
    while (have < size) {
      const int part = SSL_read(ssl_.get(), got.data() + have, static_cast<int>(size - have));
      if (part <= 0) break;
      have += static_cast<size_t>(part);
    }
    got.resize(have);
    return got;
  }
  // Whether the front lets it talk: it hears the agent's greeting.
  bool IsServed() { return connected_ && Receive(1) == "!"; }

 private:
  const Fd fd_;
  const SslContextPtr context_;
  SslPtr ssl_;
  bool connected_ = false;
};

// The agent's end of a connection, which blocks with patience.
struct Accepted {
  Fd fd;
  Caller caller;

  bool Send(const std::string& bytes) const {
    for (size_t at = 0; at < bytes.size();) {
      pollfd ready = {fd.get(), POLLOUT, 0};
      if (poll(&ready, 1, 20'000) != 1) return false;
      const ssize_t part = send(fd.get(), bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (part < 0 && errno != EAGAIN) return false;
      if (part > 0) at += static_cast<size_t>(part);
    }
    return true;
  }
  std::string Receive(size_t size) const {
    std::string got(size, '\0');
    size_t have = 0;
    while (have < size) {
      pollfd ready = {fd.get(), POLLIN, 0};
      if (poll(&ready, 1, 20'000) != 1) break;
      const ssize_t part = recv(fd.get(), got.data() + have, size - have, 0);
      if (part < 0 && errno == EAGAIN) continue;
      if (part <= 0) break;
      have += static_cast<size_t>(part);
    }
    got.resize(have);
    return got;
  }
};

std::map<std::string, std::string> StatusOf(pid_t pid) {
  std::map<std::string, std::string> fields;
  std::ifstream file(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(file, line);) {
    const std::pair<std::string, std::string> field = absl::StrSplit(line, absl::MaxSplits(":\t", 1));
    fields.insert(field);
  }
  return fields;
}

bool IsGone(pid_t pid) {
  const std::map<std::string, std::string> status = StatusOf(pid);
  return status.empty() || absl::StartsWith(status.at("State"), "Z");
}

class FrontTest : public ::testing::Test {
 protected:
  FrontTest() : ca_(Ca("trusted")), other_ca_(Ca("other")), agent_(Issue(ca_, "shop-1", "serverAuth")),
                ci_(Issue(ca_, "ci", "clientAuth")) {
    signal(SIGPIPE, SIG_IGN);
  }

  FrontOptions Options() {
    FrontOptions options;
    TcpListeners listeners = ListenOnTcp("127.0.0.1:0").value();
    port_ = listeners.port;
    options.listeners = std::move(listeners.fds);
    options.identity.cert = agent_.Pem();
    options.identity.key = agent_.KeyPem();
    options.identity.ca = ca_.Pem();
    options.on_connection = [this](Fd fd, const Caller& caller) {
      const absl::MutexLock lock(&mutex_);
      if (greet_) (void)!write(fd.get(), "!", 1);
      accepted_.push_back({std::move(fd), caller});
    };
    options.log = [this](const std::string& line) {
      const absl::MutexLock lock(&mutex_);
      log_.push_back(line);
    };
    return options;
  }
  void Start() {
    absl::StatusOr<std::unique_ptr<Front>> front = Front::Start(Options());
    ASSERT_TRUE(front.ok()) << front.status();
    front_ = *std::move(front);
  }
  // The agent's end of the connection that comes next.
  Accepted Accept() {
    Accepted next;
    EXPECT_TRUE(Eventually(absl::Seconds(20), [&] {
      const absl::MutexLock lock(&mutex_);
      if (accepted_.empty()) return false;
      next = std::move(accepted_.front());
      accepted_.pop_front();
      return true;
    })) << Log();
    return next;
  }
  size_t Waiting() {
    const absl::MutexLock lock(&mutex_);
    return accepted_.size();
  }
  std::string Log() {
    const absl::MutexLock lock(&mutex_);
    return absl::StrJoin(log_, "\n");
  }
  Manner Good() const { return {&ci_}; }

  const Papers ca_, other_ca_, agent_, ci_;
  int port_ = 0;
  bool greet_ = true;
  absl::Mutex mutex_;
  std::deque<Accepted> accepted_;
  std::vector<std::string> log_;
  std::unique_ptr<Front> front_;
};

TEST_F(FrontTest, PassesBytesBothWaysAndSaysWhoseTheyAre) {
  greet_ = false;
  Start();
  TlsClient client(port_, Good());
  ASSERT_TRUE(client.connected()) << Log();
  const Accepted accepted = Accept();
  EXPECT_EQ(accepted.caller.name, "ci");
  EXPECT_EQ(accepted.caller.address, LocalAddress(client.fd()));
  const std::string there = Noise(kMebibyte, 1), back = Noise(kMebibyte, 2);
  // All four at once: neither way waits for the other. OpenSSL's object is not for two threads, so the client writes first.
  std::string got_there;
  std::thread agent_reads([&] { got_there = accepted.Receive(there.size()); });
  std::thread agent_writes([&] { EXPECT_TRUE(accepted.Send(back)); });
  EXPECT_TRUE(client.Send(there));
  EXPECT_TRUE(client.Receive(back.size()) == back);
  agent_reads.join();
  agent_writes.join();
  EXPECT_TRUE(got_there == there);
}

TEST_F(FrontTest, TakesNoMoreFromAPeerThanTheAgentReads) {
  greet_ = false;
  Start();
  TlsClient client(port_, Good());
  const Accepted accepted = Accept();
  const std::string much = Noise(32 * kMebibyte, 3);
  fcntl(client.fd().get(), F_SETFL, O_NONBLOCK);
  SSL_set_mode(client.ssl(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  size_t taken = 0;
  absl::Time last = absl::Now();
  const auto push = [&] {
    const int part = SSL_write(client.ssl(), much.data() + taken, static_cast<int>(std::min<size_t>(16384, much.size() - taken)));
    if (part <= 0) return false;
    taken += static_cast<size_t>(part);
    last = absl::Now();
    return true;
  };
  while (taken < much.size() && absl::Now() - last < absl::Seconds(1)) {
    if (!push()) absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_LT(taken, much.size()) << "the agent read nothing, and somebody kept it all";
  const std::string rss = StatusOf(front_->pid())["VmRSS"];
  EXPECT_LT(atoi(rss.c_str()), 64 << 10) << rss;
  std::string got;
  std::thread agent_reads([&] { got = accepted.Receive(much.size()); });
  while (taken < much.size() && absl::Now() - last < absl::Seconds(20)) {
    if (!push()) absl::SleepFor(absl::Milliseconds(1));
  }
  agent_reads.join();
  EXPECT_TRUE(got == much);
}

TEST_F(FrontTest, TakesNoMoreFromTheAgentThanAPeerReads) {
  greet_ = false;
  Start();
  TlsClient client(port_, Good());
  const Accepted accepted = Accept();
  const std::string much = Noise(32 * kMebibyte, 4);
  size_t taken = 0;
  absl::Time last = absl::Now();
  while (taken < much.size() && absl::Now() - last < absl::Seconds(1)) {
    const ssize_t part = send(accepted.fd.get(), much.data() + taken, std::min<size_t>(65536, much.size() - taken), MSG_NOSIGNAL);
    if (part > 0) {
      taken += static_cast<size_t>(part);
      last = absl::Now();
    } else {
      absl::SleepFor(absl::Milliseconds(5));
    }
  }
  EXPECT_LT(taken, much.size());
  TlsClient bystander(port_, Good());
  EXPECT_TRUE(bystander.connected());
  const Accepted beside = Accept();
  EXPECT_TRUE(bystander.Send("ping"));
  EXPECT_EQ(beside.Receive(4), "ping") << "one that does not read is in nobody's way";
  std::thread agent_writes([&] { EXPECT_TRUE(accepted.Send(much.substr(taken))); });
  EXPECT_TRUE(client.Receive(much.size()) == much);
  agent_writes.join();
}

TEST_F(FrontTest, WhatWasSentBeforeAnEndArrivesBeforeIt) {
  greet_ = false;
  Start();
  {
    TlsClient client(port_, Good());
    Accepted accepted = Accept();
    const std::string last_words = Noise(kMebibyte / 8, 5);
    ASSERT_TRUE(accepted.Send(last_words));
    accepted.fd.Reset();
    EXPECT_TRUE(client.Receive(last_words.size() + 1) == last_words) << "from the agent";
    EXPECT_EQ(SSL_get_error(client.ssl(), 0), SSL_ERROR_ZERO_RETURN) << "an orderly end";
  }
  auto client = std::make_unique<TlsClient>(port_, Good());
  const Accepted accepted = Accept();
  const std::string last_words = Noise(kMebibyte / 8, 6);
  ASSERT_TRUE(client->Send(last_words));
  client.reset();  // hangs up without a word, as gRPC does
  EXPECT_TRUE(accepted.Receive(last_words.size() + 1) == last_words) << "from the peer";
}

TEST_F(FrontTest, TheEndOfTheAgentWaitsForWhatIsOnItsWay) {
  greet_ = false;
  Start();
  TlsClient client(port_, Good());
  Accepted accepted = Accept();
  const std::string last_words = Noise(kMebibyte / 8, 7);
  ASSERT_TRUE(accepted.Send(last_words));
  accepted.fd.Reset();
  front_.reset();
  EXPECT_TRUE(client.Receive(last_words.size() + 1) == last_words);
}

TEST_F(FrontTest, RefusesWhoeverIsNotOfTheCaOrDoesNotSpeakTls13) {
  Start();
  const Papers stranger = Issue(other_ca_, "ci", "clientAuth");
  const Papers agent = Issue(ca_, "shop-2", "serverAuth");
  const Papers late = Issue(ca_, "ci", "clientAuth", -absl::Hours(1));
  struct Case {
    std::string who;
    Manner manner;
    std::string why;
  };
  const std::vector<Case> cases = {
      {"without a certificate", {}, "no TLS 1.3 with a certificate: peer did not return a certificate"},
      {"of another CA", {&stranger}, "its certificate is not signed by the CA that is trusted here"},
      {"an agent", {&agent}, "its certificate is not one of a controller"},
      {"expired", {&late}, "its certificate has expired"},
      {"TLS 1.2", {&ci_, TLS1_2_VERSION}, "no TLS 1.3 with a certificate: unsupported protocol"},
      {"HTTP/1.1", {&ci_, TLS1_3_VERSION, "http/1.1"}, "no TLS 1.3 with a certificate: no application protocol"},
      {"no protocol", {&ci_, TLS1_3_VERSION, ""}, "it does not speak HTTP/2"},
  };
  for (const Case& one : cases) {
    // One refusal a second is told, the others are counted.
    EXPECT_TRUE(Eventually(absl::Seconds(20), [&] {
      TlsClient client(port_, one.manner);
      EXPECT_FALSE(client.IsServed()) << one.who;
      absl::SleepFor(absl::Milliseconds(100));
      return absl::StrContains(Log(), one.why);
    })) << one.who << ":\n" << Log();
  }
  const Fd plain = Dial(port_);
  const std::string hello = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  ASSERT_EQ(send(plain.get(), hello.data(), hello.size(), MSG_NOSIGNAL), static_cast<ssize_t>(hello.size()));
  char byte;
  EXPECT_LE(recv(plain.get(), &byte, 1, 0), 0) << "plain text gets no answer";
  EXPECT_EQ(Waiting(), 0u) << "nobody of them reached the agent";
  EXPECT_THAT(Log(), HasSubstr(" others before it"));
  EXPECT_TRUE(TlsClient(port_, Good()).IsServed()) << Log();
}

TEST_F(FrontTest, GarbageOfAllKindsEndsItsConnectionOnly) {
  Start();
  const pid_t pid = front_->pid();
  TlsClient bystander(port_, Good());
  ASSERT_TRUE(bystander.IsServed());
  const Accepted beside = Accept();
  std::minstd_rand random(8);
  for (unsigned i = 0; i < 200; ++i) {
    const Fd fd = Dial(port_);
    std::string garbage = Noise(random() % 3000, i);
    // Half of them begin as a handshake does.
    if (i % 2 == 0) garbage = std::string("\x16\x03\x01", 3) + static_cast<char>(random() % 64) + garbage;
    send(fd.get(), garbage.data(), garbage.size(), MSG_NOSIGNAL);
  }
  // A peer that turns to garbage after its handshake.
  TlsClient turns(port_, Good());
  ASSERT_TRUE(turns.IsServed());
  const Accepted turned = Accept();
  const std::string garbage = Noise(3000, 9);
  send(turns.fd().get(), garbage.data(), garbage.size(), MSG_NOSIGNAL);
  EXPECT_EQ(turned.Receive(1), "") << "ended";
  EXPECT_TRUE(bystander.Send("ping"));
  EXPECT_EQ(beside.Receive(4), "ping");
  EXPECT_EQ(front_->pid(), pid) << Log();
}

TEST_F(FrontTest, SilentPeersAreDroppedAndInNobodysWay) {
  Start();
  std::vector<Fd> silent;
  const pid_t pid = front_->pid();
  const absl::Time began = absl::Now();
  for (int i = 0; i < 200; ++i) silent.push_back(Dial(port_, "127.0.0.2"));
  // And one in the middle of its handshake, from elsewhere.
  silent.push_back(Dial(port_, "127.0.0.3"));
  ASSERT_EQ(send(silent.back().get(), "\x16\x03\x01\x01", 4, MSG_NOSIGNAL), 4);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(TlsClient(port_, Good()).IsServed()) << Log();
  EXPECT_LT(absl::Now() - began, absl::Seconds(9)) << "good ones waited until the silent ones had their time";
  EXPECT_LT(atoi(StatusOf(front_->pid())["VmRSS"].c_str()), 64 << 10);
  // Four waves of 64, of which the last has 10 s.
  for (const Fd& fd : silent) {
    char byte;
    EXPECT_LE(recv(fd.get(), &byte, 1, 0), 0);
    EXPECT_NE(errno, EAGAIN);
  }
  EXPECT_LT(absl::Now() - began, absl::Seconds(40));
  EXPECT_THAT(Log(), HasSubstr("refused, from ipv4:127.0.0.2:"));
  EXPECT_THAT(Log(), HasSubstr("made room for others"));
  EXPECT_EQ(front_->pid(), pid) << "it answered the agent all the time:\n" << Log();
}

TEST_F(FrontTest, ManyComeAtOnceAndAllAreServed) {
  Start();
  std::vector<std::thread> clients;
  std::atomic<int> served = 0;
  for (int i = 0; i < 150; ++i) {
    clients.emplace_back([&] {
      TlsClient client(port_, Good());
      if (client.IsServed()) ++served;
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(served, 150) << Log();
}

TEST_F(FrontTest, RunsWithoutPrivileges) {
  Start();
  const pid_t pid = front_->pid();
  std::map<std::string, std::string> status = StatusOf(pid);
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"}) EXPECT_EQ(status[set], "0000000000000000") << set;
  EXPECT_EQ(status["NoNewPrivs"], "1");
  EXPECT_THAT(Log(), HasSubstr("without capabilities"));
  std::ifstream limits(absl::StrCat("/proc/", pid, "/limits"));
  std::stringstream text;
  text << limits.rdbuf();
  for (const char* zero : {"Max processes", "Max file size", "Max core file size", "Max locked memory"}) {
    const size_t at = text.str().find(zero);
    ASSERT_NE(at, std::string::npos) << zero;
    const std::vector<std::string> words =
        absl::StrSplit(text.str().substr(at + strlen(zero), 40), absl::ByAnyChar(" \n"), absl::SkipEmpty());
    EXPECT_EQ(words[0], "0") << zero;
    EXPECT_EQ(words[1], "0") << zero;
  }
  if (geteuid() != 0) {
    printf("LEFT OUT: front_test: there are no privileges to give up without root\n");
    EXPECT_EQ(std::vector<std::string>(absl::StrSplit(status["Uid"], '\t'))[0], absl::StrCat(getuid()));
    GTEST_SKIP();
  }
  EXPECT_EQ(status["Uid"], "65534\t65534\t65534\t65534");
  EXPECT_EQ(status["Gid"], "65534\t65534\t65534\t65534");
  EXPECT_EQ(std::string(absl::StripAsciiWhitespace(status["Groups"])), "");
  EXPECT_EQ(status["CapBnd"], "0000000000000000");
  EXPECT_THAT(Log(), HasSubstr("as nobody (uid 65534), in an empty root"));
  const std::string root = absl::StrCat("/proc/", pid, "/root");
  std::error_code error;
  EXPECT_FALSE(std::filesystem::exists(root + "/etc", error));
  EXPECT_THAT(std::filesystem::read_symlink(root, error).string(), HasSubstr("(deleted)"));
  // Nothing of the agent's own is open in it.
  std::set<std::string> open;
  for (const auto& entry : std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/fd"))) {
    const std::string to = std::filesystem::read_symlink(entry.path(), error).string();
    open.insert(to.substr(0, to.find_first_of(":[")));
  }
  EXPECT_EQ(open, (std::set<std::string>{"/dev/null", "anon_inode", "socket"}));
}

TEST_F(FrontTest, OneThatDiesIsReplacedOnTheSamePort) {
  Start();
  TlsClient client(port_, Good());
  ASSERT_TRUE(client.IsServed());
  const Accepted accepted = Accept();
  const pid_t first = front_->pid();
  ASSERT_EQ(kill(first, SIGKILL), 0);
  EXPECT_EQ(accepted.Receive(1), "") << "what went through it is cut, for the agent";
  EXPECT_EQ(client.Receive(1), "") << "and for the peer";
  EXPECT_TRUE(TlsClient(port_, Good()).IsServed()) << "a connection that came meanwhile waits for the next one";
  EXPECT_NE(front_->pid(), first);
  EXPECT_TRUE(IsGone(first));
  EXPECT_THAT(Log(), HasSubstr("squall-front was ended by signal 9; connections through it are cut, and it is started again"));
}

TEST_F(FrontTest, OneThatHangsIsReplaced) {
  Start();
  const pid_t first = front_->pid();
  const absl::Time began = absl::Now();
  ASSERT_EQ(kill(first, SIGSTOP), 0);
  EXPECT_TRUE(TlsClient(port_, Good()).IsServed());
  EXPECT_GT(absl::Now() - began, absl::Milliseconds(1500)) << "it had its time to answer";
  EXPECT_TRUE(IsGone(first));
  EXPECT_THAT(Log(), HasSubstr("did not answer any more"));
}

TEST_F(FrontTest, WhoeverDiesAgainAndAgainIsStartedMoreAndMoreSeldom) {
  Start();
  std::vector<absl::Time> starts;
  pid_t last = 0;
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(Eventually(absl::Seconds(20), [&] { return front_->pid() != 0 && front_->pid() != last; }));
    last = front_->pid();
    starts.push_back(absl::Now());
    kill(last, SIGKILL);
  }
  EXPECT_GT(starts[4] - starts[3], absl::Milliseconds(800)) << "0.1, 0.2, 0.4 and 0.8 s";
}

TEST_F(FrontTest, EndsWithTheAgentHoweverThatDies) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const pid_t agent = fork();
  ASSERT_GE(agent, 0);
  if (agent == 0) {
    Start();
    const pid_t pid = front_ == nullptr ? 0 : front_->pid();
    (void)!write(write_end.get(), &pid, sizeof(pid));
    for (;;) pause();
  }
  write_end.Reset();
  pid_t front = 0;
  EXPECT_EQ(read(read_end.get(), &front, sizeof(front)), static_cast<ssize_t>(sizeof(front)));
  EXPECT_GT(front, 0);
  EXPECT_FALSE(IsGone(front));
  kill(agent, SIGKILL);
  waitpid(agent, nullptr, 0);
  EXPECT_TRUE(Eventually(absl::Seconds(5), [&] { return IsGone(front); }));
}

TEST_F(FrontTest, AnOrdinaryUsersRunsAsThatUser) {
  if (geteuid() != 0) {
    printf("LEFT OUT: front_test: becoming another user needs root\n");
    GTEST_SKIP();
  }
  // Where that user can execute it.
  char folder[] = "/tmp/squall-front-test-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe");
  for (const char* name : {"front_test", "squall-front"}) {
    std::filesystem::copy_file(here.parent_path() / name, absl::StrCat(folder, "/", name));
  }
  chmod(folder, 0755);
  const std::string test = absl::StrCat(folder, "/front_test");
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0 || chdir("/") != 0) _exit(99);
    for (const char* name : {"TEST_TMPDIR", "XML_OUTPUT_FILE", "GTEST_OUTPUT", "TEST_WARNINGS_OUTPUT_FILE",
                             "TEST_PREMATURE_EXIT_FILE", "TEST_SHARD_STATUS_FILE"}) {
      unsetenv(name);
    }
    execl(test.c_str(), test.c_str(), "--gtest_filter=FrontTest.RunsWithoutPrivileges:FrontTest.PassesBytes*", nullptr);
    _exit(98);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  std::filesystem::remove_all(folder);
}

TEST_F(FrontTest, ACertificateThatCannotServeIsAnErrorAtTheStart) {
  FrontOptions options = Options();
  options.identity.key = ci_.KeyPem();
  const absl::StatusOr<std::unique_ptr<Front>> front = Front::Start(std::move(options));
  ASSERT_FALSE(front.ok());
  EXPECT_THAT(std::string(front.status().message()), HasSubstr("OpenSSL does not take the agent's certificate"));
}

TEST(FrontByHand, SaysThatItIsNotForThat) {
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe");
  const int status = system((here.parent_path() / "squall-front").string().append(" 2>/dev/null </dev/null").c_str());
  EXPECT_EQ(WEXITSTATUS(status), 64);
}

TEST(ListenOnTcp, APortThatIsTakenIsAnErrorAndAnyAddressIsOfBothFamilies) {
  const absl::StatusOr<TcpListeners> any = ListenOnTcp("0.0.0.0:0");
  ASSERT_TRUE(any.ok()) << any.status();
  EXPECT_GT(any->port, 0);
  EXPECT_EQ(any->fds.size(), 1u);
  EXPECT_TRUE(Dial(any->port));
  const absl::StatusOr<TcpListeners> again = ListenOnTcp(absl::StrCat("127.0.0.1:", any->port));
  ASSERT_FALSE(again.ok());
  EXPECT_THAT(std::string(again.status().message()), HasSubstr("is the address taken, or not of this host?"));
  const absl::StatusOr<TcpListeners> elsewhere = ListenOnTcp("192.0.2.1:0");
  EXPECT_FALSE(elsewhere.ok());
  const absl::StatusOr<TcpListeners> local = ListenOnTcp("localhost:0");
  ASSERT_TRUE(local.ok()) << local.status();
  EXPECT_TRUE(Dial(local->port));
}

}  // namespace
}  // namespace squall
