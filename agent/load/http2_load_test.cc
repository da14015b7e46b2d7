// Loads over HTTP/2.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/load/http2_server.h"
#include "agent/load/load_generator.h"
#include "agent/load/load_recorder.h"
#include "agent/load/loopback_server.h"
#include "agent/load/test_certificates.h"
#include "agent/load/test_nginx.h"
#include "agent/load/trace.h"

namespace squall {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using Reply = Http2Server::Reply;

Load MakeLoad(const std::string& url, double rate, absl::Duration patience = absl::Seconds(30)) {
  Load load;
  load.set_name("checkout");
  load.mutable_http()->set_url(url);
  load.mutable_http()->set_version(Http::VERSION_HTTP2);
  load.set_rate(rate);
  load.mutable_give_up_after()->set_seconds(absl::ToInt64Seconds(patience));
  load.mutable_give_up_after()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(patience % absl::Seconds(1))));
  load.set_max_in_flight(4000);
  return load;
}
Load LoadTo(int port, double rate = 200, absl::Duration patience = absl::Seconds(30)) {
  return MakeLoad(absl::StrCat("http://127.0.0.1:", port, "/order"), rate, patience);
}

std::unique_ptr<LoadGenerator> MustStart(const Load& load, Recorder& recorder) {
  auto started = LoadGenerator::Start(load, "run-1", 7, recorder.Sink());
  EXPECT_TRUE(started.ok()) << started.status();
  return *std::move(started);
}

void Drive(const Load& load, Recorder& recorder, size_t rows) {
  const std::unique_ptr<LoadGenerator> running = MustStart(load, recorder);
  ASSERT_TRUE(recorder.WaitFor(rows));
  running->Stop(absl::InfiniteDuration());
}

Http2Server::Script Always(const Reply& reply) {
  return [reply](const Http2Server::Request&) { return reply; };
}

TEST(Http2Load, SharesOneConnectionAndSendsEveryRequestOnce) {
  Http2Server server(Always({}));
  Recorder recorder;
  Drive(LoadTo(server.port(), 1000), recorder, 500);
  EXPECT_THAT(recorder.Rows(), Each(AllOf(Field(&Row::outcome, OK), Field(&Row::status, 200))));
  EXPECT_EQ(server.requests(), recorder.Sent());
  EXPECT_EQ(server.connections(), 1);
  int fresh = 0;
  for (const Row& row : recorder.Rows()) fresh += !row.reused;
  EXPECT_GE(fresh, 1);
  EXPECT_LT(fresh, 250);
  EXPECT_FALSE(recorder.Rows().front().reused);
  EXPECT_TRUE(recorder.Rows().back().reused);
}

TEST(Http2Load, SendsMethodHeadersBodyAndIds) {
  absl::Mutex mutex;
  std::vector<Http2Server::Request> seen;
  Http2Server server([&](const Http2Server::Request& request) {
    absl::MutexLock lock(&mutex);
    seen.push_back(request);
    return Reply{};
  });
  Load load = LoadTo(server.port(), 50);
  load.mutable_http()->set_method("POST");
  load.mutable_http()->set_body(std::string(200'000, 'b'));  // larger than the window of a stream
  (*load.mutable_http()->mutable_headers())["X-Shop"] = "one";
  (*load.mutable_http()->mutable_headers())["Host"] = "shop.example";
  Recorder recorder;
  Drive(load, recorder, 3);
  EXPECT_THAT(recorder.Rows(), Each(Field(&Row::outcome, OK)));
  absl::MutexLock lock(&mutex);
  ASSERT_GE(seen.size(), 3u);
  auto& headers = seen[0].headers;
  EXPECT_EQ(headers[":method"], "POST");
  EXPECT_EQ(headers[":path"], "/order");
  EXPECT_EQ(headers[":scheme"], "http");
  EXPECT_EQ(headers[":authority"], "shop.example");
  EXPECT_EQ(headers.count("host"), 0u);
  EXPECT_EQ(headers["x-shop"], "one");
  EXPECT_EQ(headers["x-squall-run"], "run-1");
  EXPECT_EQ(headers["user-agent"], "squall");
  EXPECT_EQ(headers["content-length"], "200000");
  EXPECT_EQ(headers["traceparent"], Traceparent(recorder.Last().trace_prefix(), 0));
  EXPECT_EQ(seen[0].body, std::string(200'000, 'b'));
}

struct OutcomeCase {
  std::string name;
  Reply reply;
  Outcome outcome;
  int status;
};

class Http2LoadOutcomes : public testing::TestWithParam<OutcomeCase> {};

TEST_P(Http2LoadOutcomes, AreToldApart) {
  Http2Server server(Always(GetParam().reply));
  Load load = LoadTo(server.port());
  (*load.mutable_degraded_when()->mutable_headers())["x-fallback"] = "true";
  Recorder recorder;
  Drive(load, recorder, 20);
  EXPECT_THAT(recorder.Rows(), Each(AllOf(Field(&Row::outcome, GetParam().outcome), Field(&Row::status, GetParam().status))));
  EXPECT_EQ(recorder.Errors().size(), GetParam().status == 0 ? 1u : 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Table, Http2LoadOutcomes,
    testing::Values(OutcomeCase{"Ok", {}, OK, 200}, OutcomeCase{"NoContent", {Reply::kAnswer, "204", ""}, OK, 204},
                    OutcomeCase{"Large", {Reply::kAnswer, "200", std::string(300'000, 'x')}, OK, 200},
                    OutcomeCase{"Missing", {Reply::kAnswer, "404"}, ERROR, 404},
                    OutcomeCase{"Limited", {Reply::kAnswer, "429", "", 0, {{"retry-after", "1"}}}, REJECTED, 429},
                    OutcomeCase{"Fallback", {Reply::kAnswer, "200", "x", 0, {{"x-fallback", "true"}}}, DEGRADED, 200},
                    OutcomeCase{"FallbackInTrailers", {Reply::kAnswer, "200", "x", 0, {}, {{"x-fallback", "true"}}}, DEGRADED, 200},
                    OutcomeCase{"StreamRefused", {Reply::kRst, "", "", NGHTTP2_REFUSED_STREAM}, REFUSED, 0},
                    OutcomeCase{"StreamCancelled", {Reply::kRst, "", "", NGHTTP2_CANCEL}, RESET, 0},
                    OutcomeCase{"StreamFailed", {Reply::kRst, "", "", NGHTTP2_INTERNAL_ERROR}, RESET, 0},
                    OutcomeCase{"StreamEndedWithoutAnAnswer", {Reply::kRst, "", "", NGHTTP2_NO_ERROR}, RESET, 0},
                    OutcomeCase{"WantsHttp1", {Reply::kRst, "", "", NGHTTP2_HTTP_1_1_REQUIRED}, ERROR, 0},
                    OutcomeCase{"GoneAway", {Reply::kGoAway}, REFUSED, 0}, OutcomeCase{"Cut", {Reply::kCut}, RESET, 0}),
    [](const testing::TestParamInfo<OutcomeCase>& param) { return param.param.name; });

TEST(Http2Load, KeepsTheRetryAfterOfARejectedAnswer) {
  Http2Server server(Always({Reply::kAnswer, "429", "", 0, {{"retry-after", "2"}}}));
  Recorder recorder;
  Drive(LoadTo(server.port()), recorder, 5);
  EXPECT_THAT(recorder.Rows(), Each(Field(&Row::retry_after_ms, 2002u)));
}

TEST(Http2Load, OpensAnotherConnectionWhenAllAreFull) {
  Http2Server server(Always({Reply::kNothing}), /*streams=*/10);
  Load load = LoadTo(server.port(), 500);
  load.set_max_in_flight(45);
  Recorder recorder;
  const std::unique_ptr<LoadGenerator> running = MustStart(load, recorder);
  ASSERT_TRUE(recorder.WaitForIntended(100));
  EXPECT_EQ(recorder.Last().in_flight(), 45);
  running->Stop(absl::ZeroDuration());
  EXPECT_EQ(server.most_streams(), 10);
  EXPECT_GE(server.connections(), 5);
  EXPECT_LE(server.connections(), 10);
  EXPECT_EQ(server.requests(), 45);
  EXPECT_EQ(recorder.Outcomes(), (std::map<Outcome, int>{{ABANDONED, 45}}));
}

TEST(Http2Load, GoesElsewhereAfterAGoAwayAndLetsWhatIsOnItsWayBeAnswered) {
  Http2Server server([](const Http2Server::Request& request) {
    return Reply{request.nth == 10 ? Reply::kGoAwayAndAnswer : Reply::kAnswer};
  });
  Recorder recorder;
  Drive(LoadTo(server.port(), 200), recorder, 100);
  EXPECT_GE(server.connections(), 9);
  auto outcomes = recorder.Outcomes();
  // One that crosses with the GOAWAY is refused, and everything else answered.
  EXPECT_EQ(outcomes[OK] + outcomes[REFUSED], recorder.Sent());
  EXPECT_GE(outcomes[OK], 90);
}

TEST(Http2Load, GivesUpAfterThePatienceAndCancels) {
  Http2Server server(Always({Reply::kNothing}));
  Recorder recorder;
  Drive(LoadTo(server.port(), 200, absl::Milliseconds(300)), recorder, 40);
  EXPECT_THAT(recorder.Rows(), Each(AllOf(Field(&Row::outcome, TIMED_OUT), Field(&Row::status, 0))));
  for (const Row& row : recorder.Rows()) ASSERT_GE(row.latency_us - row.lag_us, 300'000 - 1000);
  for (int i = 0; i < 2000 && server.Resets(NGHTTP2_CANCEL) < 40; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_GE(server.Resets(NGHTTP2_CANCEL), 40);
}

TEST(Http2Load, HangsUpWithACancelAndKeepsTheConnection) {
  std::atomic<bool> silent{false};
  Http2Server server([&](const Http2Server::Request&) { return Reply{silent ? Reply::kNothing : Reply::kAnswer}; });
  Recorder recorder;
  const std::unique_ptr<LoadGenerator> running = MustStart(LoadTo(server.port()), recorder);
  ASSERT_TRUE(recorder.WaitFor(10));
  silent = true;
  const int id = running->StartHangUps({100, 50'000'000, 3});
  for (int i = 0; i < 2000 && running->SeenHangUps(id).abandoned < 20; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  running->EndHangUps(id);
  silent = false;
  ASSERT_TRUE(recorder.WaitFor(recorder.Rows().size() + 40));
  running->Stop(absl::ZeroDuration());
  auto outcomes = recorder.Outcomes();
  EXPECT_GE(outcomes[ABANDONED], 20);
  EXPECT_EQ(outcomes[OK] + outcomes[ABANDONED], recorder.Sent());
  EXPECT_GE(server.Resets(NGHTTP2_CANCEL), 20);
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http2Load, LeavesAConnectionThatSaysNothingWhenAnotherMayBeAnswered) {
  // As after a partition: the first connection never says anything, and later ones answer.
  Http2Server server([](const Http2Server::Request& request) { return Reply{request.connection == 1 ? Reply::kNothing : Reply::kAnswer}; });
  Recorder recorder;
  Drive(LoadTo(server.port(), 100, absl::Milliseconds(300)), recorder, 100);
  EXPECT_EQ(recorder.Rows().back().outcome, OK);
  EXPECT_GE(recorder.Outcomes()[OK], 50);
}

TEST(Http2Load, ClosesConnectionsThatNobodyUses) {
  Http2Server server(Always({}));
  Recorder recorder;
  const std::unique_ptr<LoadGenerator> running = MustStart(LoadTo(server.port()), recorder);
  ASSERT_TRUE(recorder.WaitFor(10));
  ASSERT_TRUE(running->SetShare(0).ok());
  std::this_thread::sleep_for(std::chrono::seconds(2));
  EXPECT_EQ(server.connections(), 1);
  ASSERT_TRUE(running->SetShare(1).ok());
  ASSERT_TRUE(recorder.WaitFor(recorder.Rows().size() + 20));
  running->Stop(absl::InfiniteDuration());
  EXPECT_EQ(server.connections(), 2);
  EXPECT_THAT(recorder.Rows(), Each(Field(&Row::outcome, OK)));
}

TEST(Http2Load, IsRefusedWhereNobodyListens) {
  Recorder recorder;
  Drive(LoadTo(UnusedPort(), 500), recorder, 200);
  EXPECT_THAT(recorder.Rows(), Each(AllOf(Field(&Row::outcome, REFUSED), Field(&Row::status, 0))));
  EXPECT_THAT(recorder.Errors()[0], HasSubstr("Connection refused"));
}

TEST(Http2Load, CountsAServerThatSpeaksHttp1AsAnError) {
  const auto nginx = StartNginx("", "location / { return 200; }");
  Recorder recorder;
  Drive(LoadTo(nginx->port()), recorder, 10);
  EXPECT_THAT(recorder.Rows(), Each(Field(&Row::outcome, ERROR)));
  EXPECT_THAT(recorder.Errors()[0], HasSubstr("is no HTTP/2"));
}

TEST(Http2Load, CountsAServerThatSaysNothingAtAllAsTimedOut) {
  LoopbackServer silent([](absl::string_view, int) { return LoopbackServer::Reply{}; });
  Recorder recorder;
  Drive(LoadTo(silent.port(), 200, absl::Milliseconds(300)), recorder, 40);
  EXPECT_THAT(recorder.Rows(), Each(Field(&Row::outcome, TIMED_OUT)));
}

TEST(Http2Load, SurvivesTheDeathOfARealServer) {
  const auto nginx = StartNginx("http2", "location / { return 200 \"fine\"; }");
  Recorder recorder;
  const std::unique_ptr<LoadGenerator> running = MustStart(LoadTo(nginx->port(), 200), recorder);
  ASSERT_TRUE(recorder.WaitFor(50));
  nginx->Kill();
  ASSERT_TRUE(recorder.WaitFor(recorder.Rows().size() + 100));
  nginx->Start();
  ASSERT_TRUE(recorder.WaitFor(recorder.Rows().size() + 100));
  running->Stop(absl::InfiniteDuration());
  auto outcomes = recorder.Outcomes();
  EXPECT_GE(outcomes[OK], 100);
  EXPECT_GE(outcomes[REFUSED], 50);
  EXPECT_EQ(outcomes[OK] + outcomes[REFUSED] + outcomes[RESET], recorder.Sent());
  EXPECT_EQ(recorder.Rows().back().outcome, OK);
}

class Http2Tls : public testing::Test {
 protected:
  std::unique_ptr<TestDaemon> Serve(const std::string& listen) {
    const TestCa::Pem shown = ca_.Issue({"127.0.0.1"});
    return StartNginx(listen, absl::StrCat("ssl_certificate ", WriteTestFile("h2.crt", shown.cert), "; ssl_certificate_key ",
                                           WriteTestFile("h2.key", shown.key), "; location / { return 200 \"$server_protocol\"; }"));
  }
  Load To(int port) {
    Load load = MakeLoad(absl::StrCat("https://127.0.0.1:", port, "/"), 200);
    load.mutable_http()->mutable_tls()->set_ca(ca_.pem());
    load.mutable_ok_when()->set_body("HTTP/2.0");
    return load;
  }
  TestCa ca_;
  Recorder recorder_;
};

TEST_F(Http2Tls, IsChosenByAlpn) {
  const auto nginx = Serve("ssl http2");
  Drive(To(nginx->port()), recorder_, 50);
  EXPECT_THAT(recorder_.Rows(), Each(Field(&Row::outcome, OK)));
}

TEST_F(Http2Tls, IsAnErrorWhereTheServerDoesNotChooseIt) {
  const auto nginx = Serve("ssl");
  Drive(To(nginx->port()), recorder_, 10);
  EXPECT_THAT(recorder_.Rows(), Each(Field(&Row::outcome, ERROR)));
  EXPECT_THAT(recorder_.Errors()[0], HasSubstr("no application protocol"));  // others choose another, or none
}

TEST_F(Http2Tls, IsAnErrorWhereTheServerKnowsNoAlpn) {
  const TestCa::Pem shown = ca_.Issue({"127.0.0.1"});
  const int port = UnusedPort();
  const TestDaemon redis({"redis-server", "--port", "0", "--tls-port", absl::StrCat(port), "--bind", "127.0.0.1", "--save", "", "--logfile",
                          "/dev/null", "--tls-cert-file", WriteTestFile("redis.crt", shown.cert), "--tls-key-file",
                          WriteTestFile("redis.key", shown.key), "--tls-ca-cert-file", WriteTestFile("redis-ca.crt", ca_.pem()),
                          "--tls-auth-clients", "no"},
                         port);
  Drive(To(port), recorder_, 10);
  EXPECT_THAT(recorder_.Rows(), Each(Field(&Row::outcome, ERROR)));
  EXPECT_THAT(recorder_.Errors()[0], HasSubstr("it did not choose h2 (ALPN)"));
}

TEST_F(Http2Tls, IsAnErrorWhereTheServerIsNotTrusted) {
  const auto nginx = Serve("ssl http2");
  Load load = To(nginx->port());
  load.mutable_http()->mutable_tls()->set_ca(TestCa().pem());
  Drive(load, recorder_, 10);
  EXPECT_THAT(recorder_.Rows(), Each(Field(&Row::outcome, ERROR)));
  EXPECT_THAT(recorder_.Errors(), SizeIs(1));
  EXPECT_THAT(recorder_.Errors()[0], HasSubstr("certificate is not trusted"));
}

}  // namespace
}  // namespace squall
