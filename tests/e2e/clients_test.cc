// Clients that nobody here wrote go through every network fault that means something to them: what each sees is what the table
// (clients_table.cc) says, its neighbour that asks the same of the same server at the same time sees nothing, and all is well once
// the fault is healed. Each client has edges of its own and takes the faults one after the other on each, side by side with the others.
#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <mutex>
#include <optional>
#include <regex>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "controller/assertions/network_evidence.h"
#include "tests/e2e/client_runner.h"
#include "tests/e2e/client_servers.h"
#include "tests/e2e/clients_table.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/held_agent.h"

namespace squall {
namespace {

// A client of the target that says nothing for so long waits.
constexpr absl::Duration kSilence = absl::Milliseconds(1700);
constexpr absl::Duration kKeptSilence = absl::Milliseconds(700);
// What was held back or lost comes when the kernel sends it again: after twice as long as before, each time.
constexpr absl::Duration kComesBack = absl::Seconds(10);
// A machine that is busy can make one call of the neighbour slow, not five in a row.
constexpr int kTries = 5;
// wrk makes a few hundred in its second, and no more than forty over an edge that is slow.
const Sees kManyRequests = {Sees::kSays, "0", "[1-9][0-9][0-9]+ requests in", 0, 5};
// The name in the certificates and of the name server.
constexpr char kServer[] = "server.test";

const std::vector<Client> kPlain = {Client::kCurl, Client::kCurl6, Client::kWrk, Client::kRedis, Client::kPsql, Client::kGrpc};
const std::vector<Client> kOverTls = {Client::kCurlTls, Client::kWrkTls, Client::kRedisTls, Client::kGrpcTls};

std::string Slug(const std::string& name) { return absl::StrReplaceAll(name, {{" ", "-"}, {",", ""}, {"_", "-"}}); }
std::string FaultName(Client client, const Row& row) { return absl::StrCat(NameOf(client), "-", Slug(row.name)); }

std::string Short(const Ran& ran) {
  std::string said = absl::StrCat(ran.out.substr(0, 600), ran.out.size() > 600 ? absl::StrCat(" (", ran.out.size(), " bytes) ") : "",
                                  ran.err.substr(0, 2000));
  return absl::StrCat("exit ", ran.exit, " after ", absl::ToDoubleSeconds(ran.took), " s: ", absl::StripAsciiWhitespace(said));
}

class ClientsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string missing = ClientServers::Missing();
    if (!missing.empty() || !IsRoot()) {
      printf("LEFT OUT: clients_test: %s\n", missing.empty() ? "redirecting connects needs root" : missing.c_str());
      GTEST_SKIP();
    }
    before_ = Residue();
    checkout_ = std::make_unique<Checkout>(std::vector<std::string>{"tests/target/runner", "tests/target/grpc_echo"});
    servers_ = std::make_unique<ClientServers>(checkout_->target("grpc_echo"));
    // Those who look names up ask a server of the test's own, and no other.
    nameserver_ = std::make_unique<Process>(std::vector<std::string>{checkout_->target("nameserver"), absl::StrCat("--listen=", dns_, ":53"),
                                                                     "--record=server.test=127.0.0.1"});
    std::ofstream(resolv_conf()) << "nameserver " << dns_ << "\n";
    neighbour_ = std::make_unique<Process>(std::vector<std::string>{
        checkout_->target("runner"), absl::StrCat("--port=", outside_port_), absl::StrCat("--resolv-conf=", resolv_conf())});
    ASSERT_TRUE(Eventually(absl::Seconds(10), [this] { return TryConnect(outside_port_) == 0; })) << neighbour_->Output();
  }
  void TearDown() override {
    agent_.reset();
    neighbour_.reset();
    nameserver_.reset();
    servers_.reset();
    checkout_.reset();
    EXPECT_EQ(ResidueSince(before_), std::vector<std::string>());
  }

  static bool Applies(const Row& row, Client client, bool redirected) {
    return (redirected ? row.redirected : row.relay_at) && row.For(client).what != Sees::kNotApplicable;
  }

  std::string resolv_conf() const { return checkout_->path() + "/resolv.conf"; }

  std::string ScenarioText(bool as_nobody, const std::string& edges, const std::string& faults) {
    return absl::StrCat("squall: 1\nname: clients\nservices:\n  clients:\n    run: [", checkout_->target("runner"), ", --port=",
                        inside_port_, as_nobody ? "" : absl::StrCat(", --resolv-conf=", resolv_conf()),
                        "]\n    ready: {tcp: \"127.0.0.1:", inside_port_, "\"}\n", edges,
                        "load:\n  none: {http: {url: \"http://127.0.0.1:", inside_port_, "/\"}, rate: 20/s}\nfaults:\n", faults,
                        "assert:\n  - recovery: {within: 5s}\n");
  }

  // An edge and the faults on it, one after the other.
  struct Lane {
    Client client;
    std::string edge;
    std::string host;  // of the server
    int port = 0;      // that the client calls: the server's, or the relay's
    std::vector<Row> rows;
  };
  // Those of a client take turns with its rows.
  std::vector<Lane> Lanes(const std::vector<Client>& clients, const std::vector<Row>& rows, bool redirected) {
    std::vector<Lane> lanes;
    for (const Client client : clients) {
      const size_t first = lanes.size();
      for (const std::string& host : servers_->HostsOf(client)) {
        lanes.push_back({client, absl::StrCat(NameOf(client), "-", lanes.size() - first + 1), host,
                         redirected ? servers_->PortOf(client) : FreePort(), {}});
      }
      size_t next = 0;
      for (const Row& row : rows) {
        if (Applies(row, client, redirected)) lanes[first + next++ % (lanes.size() - first)].rows.push_back(row);
      }
    }
    return lanes;
  }

  std::string Scenario(const std::vector<Lane>& lanes, bool redirected) {
    std::string edges, faults;
    for (const Lane& lane : lanes) {
      const Client client = lane.client;
      const bool http = client == Client::kCurl || client == Client::kCurl6 || client == Client::kWrk || client == Client::kGrpc;
      absl::StrAppend(&edges, "  ", lane.edge, ": {from: clients, to: \"", lane.host, ":", servers_->PortOf(client),
                      "\", protocol: ", http ? "http" : "tcp");
      if (!redirected) absl::StrAppend(&edges, ", relay_at: \"", lane.host, ":", lane.port, "\"");
      edges += "}\n";
      std::string after;
      for (const Row& row : lane.rows) {
        absl::StrAppend(&faults, "  - name: ", FaultName(client, row), "\n    ",
                        absl::StrReplaceAll(row.fault, {{"EDGE", lane.edge},
                                                        {"CACERT", servers_->ca_cert()},
                                                        {"CAKEY", servers_->ca_key()}}),
                        "\n    for: 10s\n", after.empty() ? "" : absl::StrCat("    after: ", after, "\n"));
        after = FaultName(client, row);
      }
    }
    return ScenarioText(!redirected, absl::StrCat("edges:\n", edges), faults);
  }

  void EachGoesThrough(const std::vector<Client>& clients, const std::vector<Row>& rows, bool redirected) {
    const std::vector<Lane> lanes = Lanes(clients, rows, redirected);
    agent_ = std::make_unique<HeldAgent>(*checkout_, Scenario(lanes, redirected), /*as_nobody=*/!redirected);
    ASSERT_TRUE(agent_->Holds());
    std::vector<std::thread> threads;
    for (const Lane& lane : lanes) {
      threads.emplace_back([&] {
        for (const Row& row : lane.rows) GoThrough(lane, row, redirected);
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& [kind, hits] : hits_) EXPECT_GT(hits, 0) << kind << " hit no packet of any client";
  }

  void GoThrough(const Lane& lane, const Row& row, bool redirected) {
    const Client client = lane.client;
    const std::string& host = lane.host;
    const int port = lane.port;
    const std::string who = absl::StrCat(row.name, redirected ? "" : " (relay_at)", ", ", NameOf(client));
    const std::string right = servers_->RightAnswer(client, row.size);
    const std::vector<std::string> asks = servers_->Command(client, host, port, row.size, row.patience);

    std::optional<Runner::Session> stays;
    if (row.Kept(client).what != Sees::kNotApplicable) {
      stays.emplace(inside_, servers_->Stays(client, host, port, row.size, row.patience));
      const Ran ran = stays->Say(servers_->Typed(client, row.size), right.size(), absl::Seconds(10));
      EXPECT_TRUE(ran.out == right) << who << ": before the fault: " << Short(ran);
    }
    const std::string fault = FaultName(client, row);
    const std::string why_not = agent_->Inject(fault);
    EXPECT_EQ(why_not, "") << who;
    if (!why_not.empty()) return;

    auto kept = std::async(std::launch::async, [&] { return stays ? AskAgain(*stays, client, row, right) : Ran(); });
    auto neighbour = std::async(std::launch::async, [&] { ExpectUntouched(client, row, who, host); });
    const Sees& expected = row.For(client);
    const bool waits = expected.what == Sees::kWaits;
    const Ran ran = inside_.Run(asks, waits ? kSilence : absl::Seconds(expected.at_most + 2));
    Judge(who, expected, ran, right);
    const Ran again = kept.get();
    if (stays) Judge(who + ", connected before", row.Kept(client), again, right);
    neighbour.get();

    Evidence evidence;
    EXPECT_EQ(agent_->Heal(fault, &evidence), "") << who;
    ExpectActed(fault, evidence, stays.has_value(), who);
    if (stays && row.Kept(client).what == Sees::kWaits) {
      const Ran late = stays->Say("", right.size(), kComesBack);
      EXPECT_TRUE(late.out == right) << who << ", connected before: what was held back does not come: " << Short(late);
    }
    // wrk would take a second for it.
    const Client then = client == Client::kWrk ? Client::kCurl : client == Client::kWrkTls ? Client::kCurlTls : client;
    const Ran healed = inside_.Run(servers_->Command(then, host, port, Size::kSmall, 5), absl::Seconds(10));
    EXPECT_EQ(Difference({Sees::kAnswer, "0", "", 0, 5}, healed, servers_->RightAnswer(then, Size::kSmall)), "")
        << who << ": after the fault: " << Short(healed);
  }

  // What a client sees of lost or doubled packets is a right answer: whether there were any is told by the fault's own count. A client
  // has few packets, and none of them may be hit; of all clients' some are.
  void ExpectActed(const std::string& fault, const Evidence& evidence, bool stays, const std::string& who) {
    for (const Fault& each : agent_->faults()) {
      if (each.name() != fault) continue;
      // Who comes anew has nothing that was established.
      if (!stays && each.partition().connections() == Partition::CONNECTIONS_ESTABLISHED) continue;
      if (each.has_loss() || each.has_duplicate() || each.has_reorder() || each.has_corrupt()) {
        EXPECT_GT(evidence.packets_to_dependency() + evidence.packets_to_service(), 0) << who;
        const std::lock_guard<std::mutex> lock(mutex_);
        hits_[each.GetReflection()->GetOneofFieldDescriptor(each, each.GetDescriptor()->FindOneofByName("kind"))->name()] += evidence.hit_to_dependency() + evidence.hit_to_service();
        continue;
      }
      const std::optional<Obstacle> obstacle = NetworkGate(each, evidence);
      EXPECT_FALSE(obstacle.has_value()) << who << ": " << obstacle->reason;
    }
  }

  // A fault of the service's resolver is every client's.
  void AllGoThrough(const std::vector<Row>& rows) {
    std::string faults, after;
    for (const Row& row : rows) {
      absl::StrAppend(&faults, "  - name: ", Slug(row.name), "\n    ", row.fault, "\n    for: 10s\n",
                      after.empty() ? "" : absl::StrCat("    after: ", after, "\n"));
      after = Slug(row.name);
    }
    agent_ = std::make_unique<HeldAgent>(*checkout_, ScenarioText(/*as_nobody=*/false, "", faults), /*as_nobody=*/false);
    ASSERT_TRUE(agent_->Holds());
    const std::vector<Client> clients = {Client::kCurl, Client::kWrk, Client::kRedis, Client::kPsql, Client::kGrpc};
    for (const Row& row : rows) {
      ASSERT_EQ(agent_->Inject(Slug(row.name)), "");
      std::vector<std::thread> lanes;
      for (const Client client : clients) {
        lanes.emplace_back([&, client] { LooksUp(client, row); });
        lanes.emplace_back([&, client] { ExpectUntouched(client, row, absl::StrCat(row.name, ", ", NameOf(client)), kServer); });
      }
      for (std::thread& lane : lanes) lane.join();
      Evidence evidence;
      EXPECT_EQ(agent_->Heal(Slug(row.name), &evidence), "");
      EXPECT_FALSE(evidence.answered().empty()) << row.name << ": no query was answered as asked for";
      const Ran healed = inside_.Run(Asks(Client::kRedis, kServer, row), absl::Seconds(10));
      EXPECT_EQ(Difference({Sees::kAnswer, "0", "", 0, 5}, healed, servers_->RightAnswer(Client::kRedis, row.size)), "")
          << row.name << ": after the fault: " << Short(healed);
    }
  }

  void LooksUp(Client client, const Row& row) {
    const Sees& expected = row.For(client);
    const bool waits = expected.what == Sees::kWaits;
    const Ran ran = inside_.Run(Asks(client, kServer, row), waits ? kSilence : absl::Seconds(expected.at_most + 2));
    Judge(absl::StrCat(row.name, ", ", NameOf(client)), expected, ran, servers_->RightAnswer(client, row.size));
  }

  std::vector<std::string> Asks(Client client, const std::string& host, const Row& row) {
    return servers_->Command(client, host, servers_->PortOf(client), row.size, row.patience);
  }

  Ran AskAgain(Runner::Session& stays, Client client, const Row& row, const std::string& right) {
    const Sees& expected = row.Kept(client);
    const bool waits = expected.what == Sees::kWaits;
    // A gRPC client tells errors as it does answers.
    const size_t bytes = expected.what == Sees::kSays ? 10 : right.size();
    return stays.Say(servers_->Typed(client, row.size), bytes, waits ? kKeptSilence : absl::Seconds(expected.at_most + 1));
  }

  void ExpectUntouched(Client client, const Row& row, const std::string& who, const std::string& host) {
    const bool wrk = client == Client::kWrk || client == Client::kWrkTls;
    // Sooner than what is the least for the target; where that is soon too, the answer is what counts.
    const double least = row.For(client).at_least;
    const Sees as_ever = {Sees::kAnswer, "0", "", 0, wrk || least <= 0 ? 5 : least};
    const std::string right = servers_->RightAnswer(client, row.size);
    Ran ran;
    for (int i = 0; i < kTries; ++i) {
      ran = outside_.Run(servers_->Command(client, host, servers_->PortOf(client), row.size, wrk ? 1 : 5), absl::Seconds(10));
      const bool is_right = Difference({Sees::kAnswer, "0", "", 0, 10}, ran, right).empty();
      if (is_right && Difference(as_ever, ran, right).empty() && (!wrk || Difference(kManyRequests, ran, right).empty())) return;
      if (!is_right) break;
    }
    ADD_FAILURE() << who << ": its neighbour sees something: " << Difference(as_ever, ran, right) << ": " << Short(ran);
  }

  void Judge(const std::string& who, const Sees& expected, const Ran& ran, const std::string& right) {
    const std::string difference = Difference(expected, ran, right);
    EXPECT_EQ(difference, "") << who << ": " << Short(ran);
    if (!difference.empty()) return;
    std::smatch match;
    const std::string said = ran.out + ran.err;
    const bool speaks = expected.what == Sees::kSays && std::regex_search(said, match, std::regex(expected.text));
    const std::lock_guard<std::mutex> lock(mutex_);
    printf("%-60s %4s %6.3f s  %s\n", who.c_str(), ran.exit.c_str(), absl::ToDoubleSeconds(ran.took),
           speaks ? std::string(absl::StripAsciiWhitespace(match.str())).c_str() : expected.what == Sees::kAnswer ? "(right)" : "");
    fflush(stdout);
  }

  std::vector<std::string> before_;
  std::unique_ptr<Checkout> checkout_;
  std::unique_ptr<ClientServers> servers_;
  std::unique_ptr<Process> neighbour_, nameserver_;
  std::unique_ptr<HeldAgent> agent_;
  std::mutex mutex_;
  std::map<std::string, int64_t> hits_;  // packets, by kind of fault
  // An address of the loopback that is nobody else's.
  const std::string dns_ = absl::StrCat("127.53.", getpid() / 250 % 250, ".", getpid() % 250 + 1);
  const int inside_port_ = FreePort(), outside_port_ = FreePort();
  const Runner inside_{inside_port_}, outside_{outside_port_};
};

// The rows that SQUALL_CLIENTS_ROWS names by their beginnings, with commas between; all without it.
std::vector<Row> Chosen(const std::vector<Row>& rows) {
  const char* wanted = getenv("SQUALL_CLIENTS_ROWS");
  std::vector<Row> chosen;
  for (const Row& row : rows) {
    bool is_wanted = wanted == nullptr;
    for (const absl::string_view begin : absl::StrSplit(wanted == nullptr ? "" : wanted, ',')) {
      is_wanted |= wanted != nullptr && absl::StartsWith(row.name, begin);
    }
    if (is_wanted) chosen.push_back(row);
  }
  return chosen;
}

TEST_F(ClientsTest, SeeWhatTheTableSaysWhereTheirConnectsAreRedirected) {
  EachGoesThrough(kPlain, Chosen(NetworkRows()), /*redirected=*/true);
}

TEST_F(ClientsTest, SeeWhatTheTableSaysThroughARelayWithoutPrivileges) {
  EachGoesThrough(kPlain, Chosen(NetworkRows()), /*redirected=*/false);
}

TEST_F(ClientsTest, RefuseAPeerWhoseTlsHandshakeIsSpoiled) { EachGoesThrough(kOverTls, Chosen(TlsRows()), /*redirected=*/true); }

TEST_F(ClientsTest, RefuseAPeerWhoseTlsHandshakeIsSpoiledWithoutPrivileges) {
  EachGoesThrough(kOverTls, Chosen(TlsRows()), /*redirected=*/false);
}

TEST_F(ClientsTest, SeeWhatTheTableSaysOfTheirResolver) { AllGoThrough(Chosen(DnsRows())); }

}  // namespace
}  // namespace squall
