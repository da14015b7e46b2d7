// The resolver over real sockets, in front of a real name server. Where a test waits, it waits for a message.
#include "agent/net/resolver.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"

#include "agent/net/dns_client.h"  // last: it includes ldns

namespace squall {
namespace {

constexpr int kNotComing = 200;  // milliseconds after which an answer that must not come is taken for not coming

Address Local(bool v6, uint16_t port) { return ParseAddress(absl::StrCat(v6 ? "[::1]:" : "127.0.0.1:", port)).value(); }

uint16_t FreePort(bool v6) {
  const Address any = Local(v6, 1);
  sockaddr_storage storage;
  socklen_t length = any.ToSockaddr(storage);
  reinterpret_cast<sockaddr_in&>(storage).sin_port = 0;
  const Fd fd(socket(any.Family(), SOCK_STREAM, 0));
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &length);
  return FromSockaddr(storage).port;
}

// The tests' name server as a process of its own.
class NameServer {
 public:
  explicit NameServer(const Address& at) {
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const std::string program = absl::StrCat(getenv("TEST_SRCDIR"), "/squall/tests/target/nameserver");
      execl(program.c_str(), "nameserver", absl::StrCat("--listen=", at.ToString()).c_str(), "--record=recommend.test=127.0.0.7",
            "--record=recommend.test=fd00::7", "--record=other.test=127.0.0.8", nullptr);
      _exit(127);
    }
    for (int i = 0; i < 5000 && !DnsClient(at, /*tcp=*/true).connected(); ++i) absl::SleepFor(absl::Milliseconds(1));
  }
  ~NameServer() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

Dns Fault(Dns::Answer answer, int delay_s = 0) {
  Dns dns;
  dns.add_names("recommend.test");
  dns.set_answer(answer);
  dns.mutable_delay()->set_seconds(delay_s);
  return dns;
}

struct Way {
  bool v6 = false;
  bool tcp = false;
};

class ResolverTest : public ::testing::TestWithParam<Way> {
 protected:
  ResolverTest()
      : server_at_(Local(GetParam().v6, FreePort(GetParam().v6))),
        at_(Local(GetParam().v6, FreePort(GetParam().v6))),
        resolver_(Resolver::Open(own_, {at_, server_at_, nullptr}).value()) {}
  DnsClient Client() { return DnsClient(at_, GetParam().tcp); }
  std::string Ask(const std::string& name, ldns_rr_type type = LDNS_RR_TYPE_A) { return Told(Client().Ask(MakeQuery(name, type))); }

  const NetNamespace own_ = *NetNamespace::Own();
  const Address server_at_, at_;
  std::unique_ptr<Resolver> resolver_;
};

TEST_P(ResolverTest, ForwardsByteForByte) {
  NameServer server(server_at_);
  for (const std::string& query : {MakeQuery("reCOMMend.test"), MakeQuery("nosuch.test", LDNS_RR_TYPE_AAAA, 7)}) {
    const std::string direct = DnsClient(server_at_, GetParam().tcp).Ask(query);
    EXPECT_FALSE(direct.empty());
    EXPECT_EQ(Client().Ask(query), direct);
  }
}

TEST_P(ResolverTest, AnswersAsTheFaultSaysAndForwardsOtherNames) {
  NameServer server(server_at_);
  ASSERT_TRUE(resolver_->Inject("gone", Fault(Dns::ANSWER_NXDOMAIN)).ok());
  EXPECT_EQ(Ask("Recommend.test"), "NXDOMAIN");
  EXPECT_EQ(Ask("recommend.test", LDNS_RR_TYPE_AAAA), "NXDOMAIN");
  EXPECT_EQ(Ask("recommend.test"), "NXDOMAIN");
  EXPECT_EQ(Ask("other.test"), "NOERROR 127.0.0.8");
  const Evidence evidence = resolver_->EvidenceOf("gone");
  EXPECT_EQ(evidence.answered().size(), 2u);
  EXPECT_EQ(evidence.answered().at("recommend.test A"), 2);
  EXPECT_EQ(evidence.answered().at("recommend.test AAAA"), 1);
  EXPECT_EQ(evidence.forwarded(), 1);
}

TEST_P(ResolverTest, HealedTwiceAnswersRightAgainAndKeepsTheEvidence) {
  NameServer server(server_at_);
  ASSERT_TRUE(resolver_->Inject("failing", Fault(Dns::ANSWER_SERVFAIL)).ok());
  EXPECT_EQ(resolver_->Inject("failing", Fault(Dns::ANSWER_SERVFAIL)).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Ask("recommend.test"), "SERVFAIL");
  EXPECT_TRUE(resolver_->Heal("failing").ok());
  EXPECT_TRUE(resolver_->Heal("failing").ok());
  EXPECT_EQ(Ask("recommend.test"), "NOERROR 127.0.0.7");
  EXPECT_EQ(resolver_->EvidenceOf("failing").answered().at("recommend.test A"), 1);
}

TEST_P(ResolverTest, SaysNothingForTimeoutAndGoesOnWithTheNextQueryOfTheSameSocket) {
  NameServer server(server_at_);
  ASSERT_TRUE(resolver_->Inject("silent", Fault(Dns::ANSWER_TIMEOUT)).ok());
  DnsClient client = Client();
  EXPECT_EQ(client.Ask(MakeQuery("recommend.test"), kNotComing), "");
  EXPECT_EQ(Told(client.Ask(MakeQuery("other.test"))), "NOERROR 127.0.0.8");
  EXPECT_EQ(resolver_->EvidenceOf("silent").answered().at("recommend.test A"), 1);
}

TEST_P(ResolverTest, HoldsTheRightAnswerBack) {
  NameServer server(server_at_);
  Dns slow = Fault(Dns::ANSWER_DELAYED);
  slow.mutable_delay()->set_nanos(150'000'000);
  ASSERT_TRUE(resolver_->Inject("slow", slow).ok());
  const int64_t before = BootNanos();
  EXPECT_EQ(Ask("recommend.test"), "NOERROR 127.0.0.7");
  EXPECT_GE(BootNanos() - before, 150'000'000);
  const Evidence evidence = resolver_->EvidenceOf("slow");
  EXPECT_EQ(evidence.answered().at("recommend.test A"), 1);
  EXPECT_EQ(evidence.requested_ns(), 150'000'000);
  EXPECT_GE(evidence.achieved_p50_ns(), 148'000'000);
}

TEST_P(ResolverTest, ChangedDelayHoldsForWhatIsAnsweredFromThenOn) {
  NameServer server(server_at_);
  Dns slow = Fault(Dns::ANSWER_DELAYED);
  EXPECT_EQ(resolver_->ChangeDelay("slow", absl::Seconds(1)).code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(resolver_->Inject("slow", slow).ok());
  for (const int64_t ms : {50, 150, 100}) {
    ASSERT_TRUE(resolver_->ChangeDelay("slow", absl::Milliseconds(ms)).ok());
    const int64_t before = BootNanos();
    EXPECT_EQ(Ask("recommend.test"), "NOERROR 127.0.0.7");
    EXPECT_GE(BootNanos() - before, ms * 1'000'000);
    const Evidence evidence = resolver_->EvidenceOf("slow");
    EXPECT_EQ(evidence.requested_ns(), ms * 1'000'000);
    EXPECT_GE(evidence.achieved_p50_ns(), (ms - 2) * 1'000'000);
    EXPECT_EQ(evidence.achieved_p50_ns(), evidence.achieved_p99_ns()) << "of this one alone";
  }
  EXPECT_EQ(resolver_->EvidenceOf("slow").answered().at("recommend.test A"), 3);
}

TEST_P(ResolverTest, HealedWhileAnswersAreHeldBackGivesTheRightOnesAtOnce) {
  NameServer server(server_at_);
  for (const Dns::Answer answer : {Dns::ANSWER_DELAYED, Dns::ANSWER_NXDOMAIN}) {
    ASSERT_TRUE(resolver_->Inject("late", Fault(answer, /*delay_s=*/60)).ok());
    DnsClient client = Client();
    ASSERT_TRUE(client.Send(MakeQuery("recommend.test")));
    ASSERT_TRUE(client.Send(MakeQuery("other.test")));
    EXPECT_EQ(Told(client.Receive()), "NOERROR 127.0.0.8") << "only the names of the fault wait";
    ASSERT_TRUE(resolver_->Heal("late").ok());
    EXPECT_EQ(Told(client.Receive()), "NOERROR 127.0.0.7");
    EXPECT_TRUE(resolver_->EvidenceOf("late").answered().empty()) << "nothing was answered late";
  }
}

TEST_P(ResolverTest, FirstInjectedOfTwoFaultsCounts) {
  NameServer server(server_at_);
  Dns all = Fault(Dns::ANSWER_REFUSED);
  all.set_names(0, "*");
  ASSERT_TRUE(resolver_->Inject("gone", Fault(Dns::ANSWER_NXDOMAIN)).ok());
  ASSERT_TRUE(resolver_->Inject("all", all).ok());
  EXPECT_EQ(Ask("recommend.test"), "NXDOMAIN");
  EXPECT_EQ(Ask("other.test"), "REFUSED");
}

TEST_P(ResolverTest, FaultThatCannotBeLeavesNothing) {
  NameServer server(server_at_);
  Dns wrong = Fault(Dns::ANSWER_WRONG_ADDRESS);
  wrong.add_addresses("nowhere");
  EXPECT_EQ(resolver_->Inject("wrong", wrong).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Ask("recommend.test"), "NOERROR 127.0.0.7");
  EXPECT_TRUE(resolver_->Heal("wrong").ok());
}

TEST_P(ResolverTest, SurvivesWhateverBytesCome) {
  NameServer server(server_at_);
  ASSERT_TRUE(resolver_->Inject("gone", Fault(Dns::ANSWER_NXDOMAIN)).ok());
  std::mt19937 random(20240612);
  for (int i = 0; i < 300; ++i) {
    std::string bytes = MakeQuery("recommend.test");
    for (unsigned changes = random() % 8; changes > 0; --changes) bytes[random() % bytes.size()] = static_cast<char>(random());
    bytes.resize(random() % (bytes.size() + 1));
    DnsClient client = Client();
    i % 2 == 0 ? client.Send(bytes) : client.Write(bytes);
  }
  EXPECT_EQ(Told(Client().Ask(MakeQuery("recommend.test").substr(0, 20))), "FORMERR");
  EXPECT_EQ(Ask("recommend.test"), "NXDOMAIN");
  EXPECT_EQ(Ask("other.test"), "NOERROR 127.0.0.8");
}

TEST_P(ResolverTest, WithoutItsServerSaysNothingAndLaterEverything) {
  DnsClient early = Client();
  EXPECT_EQ(early.Ask(MakeQuery("other.test"), kNotComing), "");
  NameServer server(server_at_);
  EXPECT_EQ(Ask("other.test"), "NOERROR 127.0.0.8");
}

TEST_P(ResolverTest, MoreClientsThanItKeepsDoNotKeepTheLastFromItsAnswer) {
  NameServer server(server_at_);
  Dns slow = Fault(Dns::ANSWER_DELAYED, /*delay_s=*/60);
  ASSERT_TRUE(resolver_->Inject("slow", slow).ok());
  std::vector<DnsClient> clients;
  for (int i = 0; i < 300; ++i) {
    clients.push_back(Client());
    ASSERT_TRUE(clients.back().Send(MakeQuery("recommend.test")));
  }
  // A burst of datagrams may overflow a socket on the way; a client asks again.
  std::string told;
  for (int i = 0; i < 10 && told.empty(); ++i) told = clients.back().Ask(MakeQuery("other.test"), 1000);
  EXPECT_EQ(Told(told), "NOERROR 127.0.0.8");
}

INSTANTIATE_TEST_SUITE_P(Ways, ResolverTest,
                         ::testing::Values(Way{false, false}, Way{false, true}, Way{true, false}, Way{true, true}),
                         [](const auto& way) {
                           return absl::StrCat(way.param.tcp ? "Tcp" : "Udp", way.param.v6 ? "V6" : "V4");
                         });

TEST(ResolverStream, ManyQueriesOnOneConnectionAreAnsweredAlsoInOnePiece) {
  const NetNamespace own = *NetNamespace::Own();
  const Address server_at = Local(false, FreePort(false)), at = Local(false, FreePort(false));
  NameServer server(server_at);
  const auto resolver = Resolver::Open(own, {at, server_at, nullptr}).value();
  ASSERT_TRUE(resolver->Inject("gone", Fault(Dns::ANSWER_NXDOMAIN)).ok());
  DnsClient client(at, /*tcp=*/true);
  std::string all;
  for (const char* name : {"recommend.test", "other.test", "recommend.test"}) {
    const std::string query = MakeQuery(name);
    all += {static_cast<char>(query.size() >> 8), static_cast<char>(query.size() & 0xff)};
    all += query;
  }
  ASSERT_TRUE(client.Write(all));
  shutdown(client.fd(), SHUT_WR);
  std::multiset<std::string> told;
  for (int i = 0; i < 3; ++i) told.insert(Told(client.Receive()));
  EXPECT_EQ(told, (std::multiset<std::string>{"NOERROR 127.0.0.8", "NXDOMAIN", "NXDOMAIN"}));
  EXPECT_EQ(client.Receive(), "") << "its end follows";
}

}  // namespace
}  // namespace squall
