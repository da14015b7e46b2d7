// Loads over plain TCP.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "agent/load/load_generator.h"
#include "agent/load/load_recorder.h"
#include "agent/load/loopback_server.h"
#include "agent/load/tcp.h"
#include "agent/load/test_certificates.h"
#include "agent/load/test_daemon.h"

namespace squall {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::Field;
using ::testing::HasSubstr;

Load MakeLoad(int port, const std::string& send, const std::string& until) {
  Load load;
  load.set_name("checkout");
  load.mutable_tcp()->set_address(absl::StrCat("127.0.0.1:", port));
  load.mutable_tcp()->set_send(send);
  load.mutable_tcp()->set_until(until);
  load.set_rate(200);
  load.mutable_give_up_after()->set_seconds(30);
  load.set_max_in_flight(1000);
  return load;
}

void Drive(const Load& load, Recorder& recorder, size_t rows = 50) {
  auto started = LoadGenerator::Start(load, "run-1", 7, recorder.Sink());
  ASSERT_TRUE(started.ok()) << started.status();
  ASSERT_TRUE(recorder.WaitFor(rows));
  (*started)->Stop(absl::InfiniteDuration());
}

int Fresh(Recorder& recorder) {
  const std::vector<Row> rows = recorder.Rows();
  return static_cast<int>(std::count_if(rows.begin(), rows.end(), [](const Row& row) { return !row.reused; }));
}

std::unique_ptr<TestDaemon> StartRedis(const std::string& more = "", const std::string& value = "") {
  const int port = UnusedPort();
  std::vector<std::string> command = {"redis-server", "--port", absl::StrCat(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--logfile", "/dev/null"};
  if (!more.empty()) command.insert(command.end(), {more, value});
  return std::make_unique<TestDaemon>(command, port);
}

TEST(TcpLoad, IsAnsweredByRedisOnConnectionsThatAreKept) {
  const auto redis = StartRedis();
  Recorder recorder;
  Drive(MakeLoad(redis->port(), "PING\r\n", "+PONG"), recorder, 100);
  EXPECT_THAT(recorder.Rows(), Each(AllOf(Field(&Row::outcome, OK), Field(&Row::status, 0))));
  EXPECT_GE(Fresh(recorder), 1);
  EXPECT_LT(Fresh(recorder), 50);
}

TEST(TcpLoad, ConnectsForEachRequestWhereItIsAskedTo) {
  const auto redis = StartRedis();
  Load load = MakeLoad(redis->port(), "PING\r\n", "+PONG");
  load.mutable_tcp()->set_reconnect(true);
  Recorder recorder;
  Drive(load, recorder);
  EXPECT_THAT(recorder.Rows(), Each(AllOf(Field(&Row::outcome, OK), Field(&Row::reused, false))));
}

TEST(TcpLoad, DrawsSeveralMessagesAndTellsTheirAnswersApart) {
  const auto redis = StartRedis();
  Load load = MakeLoad(redis->port(), "PING\r\n", "\r\n");
  load.mutable_tcp()->add_requests()->set_weight(3);
  load.mutable_tcp()->add_requests()->set_send("NOSUCH\r\n");
  load.mutable_tcp()->add_requests()->set_send("GET nothing\r\n");
  load.mutable_rejected_when()->set_body("-ERR");
  load.mutable_degraded_when()->set_body("$-1");
  Recorder recorder;
  Drive(load, recorder, 200);
  std::map<uint32_t, int> kinds;
  for (const Row& row : recorder.Rows()) {
    ++kinds[row.kind];
    EXPECT_EQ(row.outcome, row.kind == 0 ? OK : row.kind == 1 ? REJECTED : DEGRADED) << row;
  }
  EXPECT_GT(kinds[0], kinds[1]);
  EXPECT_GT(kinds[1], 0);
  EXPECT_GT(kinds[2], 0);
}

TEST(TcpLoad, TellsAServerThatIsKilledFromOneThatRefuses) {
  const auto redis = StartRedis();
  Recorder recorder;
  auto started = LoadGenerator::Start(MakeLoad(redis->port(), "PING\r\n", "+PONG"), "run-1", 7, recorder.Sink());
  ASSERT_TRUE(recorder.WaitFor(50));
  redis->Kill();
  ASSERT_TRUE(recorder.WaitFor(recorder.Rows().size() + 100));
  redis->Start();
  ASSERT_TRUE(recorder.WaitFor(recorder.Rows().size() + 100));
  (*started)->Stop(absl::InfiniteDuration());
  auto outcomes = recorder.Outcomes();
  EXPECT_GE(outcomes[OK], 100);
  EXPECT_GE(outcomes[REFUSED], 50);
  EXPECT_EQ(outcomes[OK] + outcomes[REFUSED] + outcomes[RESET], recorder.Sent());
  EXPECT_EQ(recorder.Rows().back().outcome, OK);
}

TEST(TcpLoad, IsResetWhenTheConnectionEndsBeforeTheAnswer) {
  for (const auto then : {LoopbackServer::Then::kClose, LoopbackServer::Then::kReset}) {
    LoopbackServer server([=](absl::string_view, int) { return LoopbackServer::Reply{"+PO", then}; });
    Recorder recorder;
    Drive(MakeLoad(server.port(), "PING\r\n\r\n", "+PONG"), recorder, 10);
    EXPECT_THAT(recorder.Rows(), Each(Field(&Row::outcome, RESET)));
  }
}

TEST(TcpLoad, GivesUpOnAServerThatSaysNothingOrNotEnough) {
  for (const std::string said : {"", "+PON"}) {
    LoopbackServer server([=](absl::string_view, int) { return LoopbackServer::Reply{said}; });
    Recorder recorder;
    Load load = MakeLoad(server.port(), "PING\r\n\r\n", "+PONG");
    load.mutable_give_up_after()->set_seconds(0);
    load.mutable_give_up_after()->set_nanos(300'000'000);
    Drive(load, recorder, 10);
    EXPECT_THAT(recorder.Rows(), Each(Field(&Row::outcome, TIMED_OUT)));
  }
}

TEST(TcpLoad, LooksForTheEndInTheFirstMiBOnly) {
  for (const bool within : {true, false}) {
    const std::string said = std::string(kTcpAnswer - (within ? 5 : 4), 'x') + "+PONG";
    LoopbackServer server([=](absl::string_view, int) { return LoopbackServer::Reply{said}; });
    Recorder recorder;
    Load load = MakeLoad(server.port(), "PING\r\n\r\n", "+PONG");
    load.set_rate(20);
    Drive(load, recorder, 3);
    EXPECT_THAT(recorder.Rows(), Each(Field(&Row::outcome, within ? OK : ERROR)));
    if (!within) EXPECT_THAT(recorder.Errors()[0], HasSubstr("does not contain"));
  }
}

TEST(TcpLoad, FindsTheEndHoweverTheBytesCome) {
  const std::vector<TcpRequest> requests = {{"PING", "aab"}};
  for (const std::string said : {"aab", "aaab", "xaabx", "aaxaab"}) {
    TcpDialogue dialogue(requests, /*reconnect=*/false);
    Exchange exchange;
    EXPECT_EQ(dialogue.Begin(exchange), "PING");
    size_t read = 0;
    for (; read < said.size() && dialogue.Read(said.substr(read, 1)) == Dialogue::Turn::kMore; ++read) {
    }
    EXPECT_EQ(read, said.find("aab") + 2) << said;
  }
}

TEST(TcpLoad, SpeaksTls) {
  TestCa ca;
  const TestCa::Pem shown = ca.Issue({"localhost"});
  const int port = UnusedPort();
  const TestDaemon redis({"redis-server", "--port", "0", "--tls-port", absl::StrCat(port), "--bind", "127.0.0.1", "--save", "", "--tls-cert-file",
                          WriteTestFile("redis.crt", shown.cert), "--tls-key-file", WriteTestFile("redis.key", shown.key), "--tls-ca-cert-file",
                          WriteTestFile("redis-ca.crt", ca.pem()), "--tls-auth-clients", "no", "--logfile", "/dev/null"},
                         port);
  Load load = MakeLoad(port, "PING\r\n", "+PONG");
  load.mutable_tcp()->mutable_tls()->set_ca(ca.pem());
  load.mutable_tcp()->mutable_tls()->set_server_name("localhost");
  Recorder recorder;
  Drive(load, recorder);
  EXPECT_THAT(recorder.Rows(), Each(Field(&Row::outcome, OK)));
}

TEST(TcpLoad, FindsAHostByItsName) {
  const auto redis = StartRedis();
  Load load = MakeLoad(redis->port(), "PING\r\n", "+PONG");
  // ::1 may come first, where nobody listens.
  load.mutable_tcp()->set_address(absl::StrCat("localhost:", redis->port()));
  Recorder recorder;
  Drive(load, recorder);
  EXPECT_THAT(recorder.Rows(), Each(Field(&Row::outcome, OK)));
}

TEST(TcpLoad, RefusesToStartWhatCannotBeSent) {
  Recorder recorder;
  const auto start = [&](const Load& load) { return LoadGenerator::Start(load, "run-1", 7, recorder.Sink()).status(); };
  EXPECT_THAT(std::string(start(MakeLoad(1, "PING", "")).message()), HasSubstr("`until`"));
  Load load = MakeLoad(1, "PING", "x");
  load.mutable_tcp()->set_address("nowhere");
  EXPECT_THAT(std::string(start(load).message()), HasSubstr("is not host:port"));
}

}  // namespace
}  // namespace squall
