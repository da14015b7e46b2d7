#include "agent/watch/monitors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmath>
#include <memory>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "agent/load/loopback_server.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr absl::string_view kAlerts =
    R"({"status":"success","data":{"alerts":[
      {"labels":{"alertname":"OrdersFail","severity":"page"},"annotations":{},"state":"firing","activeAt":"2026-01-01T00:00:00Z","value":"1e+00"},
      {"labels":{"alertname":"OrdersFail","severity":"ticket"},"state":"pending"},
      {"labels":{"alertname":"Other"},"state":"firing"},
      {"labels":{"alertname":"OrdersFail","severity":"odd"},"state":"inactive"}, 7, null, {"labels":"none"}]}})";
constexpr absl::string_view kVector =
    R"({"status":"success","data":{"resultType":"vector","result":[
      {"metric":{"job":"orders","code":"500"},"value":[1700000000.5,"12.5"]},
      {"metric":{},"value":[1700000000.5,"NaN"]},
      {"metric":{"job":"x"},"value":[1700000000.5]}, {"metric":{"job":"y"},"value":[1,"many"]}, []]}})";
constexpr absl::string_view kNotification =
    R"({"version":"4","groupKey":"{}","status":"firing","receiver":"squall","alerts":[
      {"status":"firing","labels":{"alertname":"OrdersFail"},"startsAt":"2026-01-01T00:00:00Z"},
      {"status":"resolved","labels":{"alertname":"Other"}}, {"status":"muted","labels":{"alertname":"Third"}}]})";

TEST(ParseAlerts, TellsThoseThatArePendingOrFire) {
  const auto alerts = ParseAlerts(kAlerts);
  ASSERT_TRUE(alerts.ok()) << alerts.status();
  EXPECT_THAT(*alerts, ElementsAre(Pair(Labels{{"alertname", "OrdersFail"}, {"severity", "page"}}, AlertSample::FIRING),
                                   Pair(Labels{{"alertname", "OrdersFail"}, {"severity", "ticket"}}, AlertSample::PENDING),
                                   Pair(Labels{{"alertname", "Other"}}, AlertSample::FIRING)));
}

TEST(ParseQueryResult, TellsVectorsAndScalars) {
  const auto vector = ParseQueryResult(kVector);
  ASSERT_TRUE(vector.ok()) << vector.status();
  ASSERT_THAT(*vector, SizeIs(2));
  EXPECT_EQ(vector->at(Labels{{"job", "orders"}, {"code", "500"}}), 12.5);
  EXPECT_TRUE(std::isnan(vector->at(Labels{})));
  EXPECT_THAT(*ParseQueryResult(R"({"status":"success","data":{"resultType":"scalar","result":[1.5,"+Inf"]}})"),
              ElementsAre(Pair(Labels{}, HUGE_VAL)));
  EXPECT_THAT(std::string(ParseQueryResult(R"({"status":"success","data":{"resultType":"matrix","result":[]}})").status().message()),
              HasSubstr("gives a matrix"));
}

TEST(ParseNotification, TellsWhatFiresAndWhatIsResolved) {
  EXPECT_THAT(*ParseNotification(kNotification), ElementsAre(Pair(Labels{{"alertname", "OrdersFail"}}, AlertSample::FIRING),
                                                             Pair(Labels{{"alertname", "Other"}}, AlertSample::INACTIVE)));
  EXPECT_FALSE(ParseNotification(R"({"version":"3","alerts":[]})").ok());
  EXPECT_FALSE(ParseNotification(R"({"version":"4"})").ok());
}

TEST(ParseMonitors, WhatIsSomethingElseIsAnErrorThatShowsIt) {
  EXPECT_THAT(std::string(ParseAlerts("<html>\xFF").status().message()), HasSubstr("no JSON object: it begins with '<html>\uFFFD'"));
  EXPECT_THAT(std::string(ParseQueryResult(R"({"status":"error","error":"parse error at char 3"})").status().message()),
              HasSubstr("parse error at char 3"));
  for (const absl::string_view text : {"", "[]", "{", "null", "{\"status\":\"success\",\"data\":[]}", "{\"status\":7}"}) {
    EXPECT_FALSE(ParseAlerts(text).ok()) << text;
    EXPECT_FALSE(ParseNotification(text).ok()) << text;
  }
  EXPECT_FALSE(ParseAlerts(std::string(1 << 20, '[')).ok()) << "as deep as it is long";
  std::string deep = R"({"version":"4","alerts":)";
  EXPECT_FALSE(ParseNotification(absl::StrCat(deep, std::string(500'000, '['), std::string(500'000, ']'), "}")).ok());
}

TEST(ParseMonitors, TakeNoMoreTimeThanTheTextIsLong) {
  const std::string prefix = R"({"version":"4","alerts":[)", suffix = "null]}";
  for (const absl::string_view piece : {"[],", "{},", "[[[[[]]]]],", "\"\\u00ff\",", "{\"a\":{\"a\":[{}]}},", "1e9,", "'[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[',"}) {
    std::string text = prefix;
    while (text.size() < WebhookReceiver::kMostBytes) absl::StrAppend(&text, piece);
    const absl::Time begun = absl::Now();
    ParseNotification(text + suffix).IgnoreError();
    EXPECT_LT(absl::Now() - begun, absl::Seconds(10)) << piece;
  }
}

TEST(ParseMonitors, SurviveDamageOfAnyKind) {
  std::mt19937 random(7);
  for (const absl::string_view text : {kAlerts, kVector, kNotification}) {
    for (int i = 0; i < 5000; ++i) {
      std::string damaged(text);
      for (int hits = static_cast<int>(random() % 3); hits >= 0; --hits) {
        const size_t at = random() % damaged.size();
        if (random() % 2 == 0) damaged[at] = "\"{}[]:,\\u\xFF"[random() % 10];
        else damaged.erase(at, random() % 20);
      }
      for (const auto& alerts : {ParseAlerts(damaged), ParseNotification(damaged)}) {
        if (!alerts.ok()) continue;
        for (const auto& [labels, state] : *alerts) {
          Record record;
          record.mutable_alert()->mutable_labels()->insert(labels.begin(), labels.end());
          EXPECT_TRUE(Record().ParseFromString(record.SerializeAsString())) << "all of it is UTF-8";
        }
      }
      ParseQueryResult(damaged).IgnoreError();
    }
  }
}

TEST(WantedOfMonitors, AreAlertsAndQueriesOfAssertionsThatNameIt) {
  Scenario scenario;
  Alert& alert = *scenario.add_assertions()->mutable_alert();
  alert.set_monitor("prometheus");
  alert.set_alert("OrdersFail");
  MetricBound& metric = *scenario.add_assertions()->mutable_metric();
  metric.set_monitor("prometheus");
  metric.set_query("sum(x)");
  scenario.add_assertions()->mutable_metric()->set_metric("of_a_page");
  EXPECT_THAT(WantedOf(scenario, "prometheus").alerts, ElementsAre("OrdersFail"));
  EXPECT_THAT(WantedOf(scenario, "prometheus").queries, ElementsAre("sum(x)"));
  EXPECT_FALSE(WantedOf(scenario, "other").Any());
}

// What a watch told, in words.
class Told {
 public:
  MonitorStory::Sink Sink() {
    return [this](const Record& record) {
      absl::MutexLock lock(&mutex_);
      if (record.has_alert()) {
        std::string labels;
        for (const char* name : {"alertname", "severity"}) {
          const auto found = record.alert().labels().find(name);
          if (found != record.alert().labels().end()) absl::StrAppend(&labels, labels.empty() ? "" : " ", found->second);
        }
        lines_.push_back(absl::StrCat(labels, " ", AlertSample::State_Name(record.alert().state())));
      } else {
        lines_.push_back(absl::StrCat(record.metric().series(), " ", record.metric().value()));
      }
    };
  }
  std::vector<std::string> Lines(size_t least) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&] {
      mutex_.AssertReaderHeld();
      return lines_.size() >= least;
    };
    mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(20));
    return lines_;
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
};

TEST(MonitorStory, TellsChangesOnlyAndOfThoseAskedForOnly) {
  Told told;
  MonitorStory story("prometheus", {"OrdersFail"}, told.Sink());
  const Labels page = {{"alertname", "OrdersFail"}, {"severity", "page"}};
  story.TellAllAlerts({});
  story.TellAllAlerts({{page, AlertSample::PENDING}, {{{"alertname", "Other"}}, AlertSample::FIRING}});
  story.TellAllAlerts({{page, AlertSample::PENDING}});
  story.TellAllAlerts({{page, AlertSample::FIRING}});
  story.TellAllAlerts({});
  story.TellAllAlerts({});
  EXPECT_THAT(told.Lines(3), ElementsAre("OrdersFail page PENDING", "OrdersFail page FIRING", "OrdersFail page INACTIVE"));
}

TEST(MonitorStory, ASeriesThatIsGoneHasNoValueUntilItIsBack) {
  Told told;
  MonitorStory story("prometheus", {}, told.Sink());
  const Labels a = {{"a", "1"}, {"b", "\""}};
  for (const auto& result : {std::map<Labels, double>{{a, 1}}, {{a, 1}}, {}, {}, {{a, 1}}, {{a, std::nan("")}}}) story.TellResult("sum(x)", result);
  EXPECT_THAT(told.Lines(4), ElementsAre(R"(sum(x){a="1",b="\""} 1)", R"(sum(x){a="1",b="\""} nan)", R"(sum(x){a="1",b="\""} 1)",
                                         R"(sum(x){a="1",b="\""} nan)"));
}

TEST(MonitorStory, TellsNoMoreSeriesThanItsBound) {
  Told told;
  MonitorStory story("prometheus", {"Many"}, told.Sink());
  for (int i = 0; i < 3000; ++i) {
    const std::string number = absl::StrCat(i);
    story.TellAlert({{"alertname", "Many"}, {"i", number}}, AlertSample::FIRING);
    story.TellResult(number, {{{}, 1}});
  }
  story.TellUp(true);
  EXPECT_LE(told.Lines(2000).size(), 2003u);
}

Monitor Prometheus(const std::string& url) {
  Monitor monitor;
  monitor.set_name("prometheus");
  monitor.mutable_prometheus()->set_url(url);
  return monitor;
}

TEST(PrometheusWatch, AsksForAlertsAndQueriesAndSaysWhetherItAnswers) {
  std::atomic<bool> down = false;
  std::string asked;
  LoopbackServer server([&](absl::string_view request, int) {
    if (down) return LoopbackServer::Reply{LoopbackServer::Http(503, "starting")};
    const bool alerts = absl::StrContains(request, "GET /prom/api/v1/alerts ");
    if (!alerts) asked = std::string(request.substr(0, request.find('\r')));
    return LoopbackServer::Reply{LoopbackServer::Http(200, alerts ? kAlerts : kVector)};
  });
  Told told;
  {
    PrometheusWatch watch(Prometheus(absl::StrCat("http://127.0.0.1:", server.port(), "/prom/")), {{"OrdersFail"}, {"sum by (job) (x{a=\"b\"})"}},
                          told.Sink());
    EXPECT_THAT(told.Lines(4), ElementsAre("OrdersFail page FIRING", "OrdersFail ticket PENDING",
                                           R"(sum by (job) (x{a="b"}){code="500",job="orders"} 12.5)", "up 1"));
    down = true;
    EXPECT_EQ(told.Lines(5).back(), "up 0");
    down = false;
    EXPECT_EQ(told.Lines(6).back(), "up 1") << "what it knew before is still so";
  }
  EXPECT_EQ(asked, "GET /prom/api/v1/query?query=sum%20by%20%28job%29%20%28x%7Ba%3D%22b%22%7D%29 HTTP/1.1");
}

TEST(PrometheusWatch, AQueryThatItCannotAnswerIsNoSilence) {
  LoopbackServer server([](absl::string_view request, int) {
    return absl::StrContains(request, "/alerts") ? LoopbackServer::Reply{LoopbackServer::Http(200, kAlerts)}
                                                 : LoopbackServer::Reply{LoopbackServer::Http(422, R"({"status":"error","error":"many-to-many"})")};
  });
  Told told;
  PrometheusWatch watch(Prometheus(absl::StrCat("http://127.0.0.1:", server.port())), {{"Third"}, {"x"}}, told.Sink());
  EXPECT_THAT(told.Lines(1), ElementsAre("up 1"));
}

TEST(PrometheusWatch, HugeMalformedAndSilentAnswersAreNoAnswers) {
  for (const LoopbackServer::Reply& reply :
       {LoopbackServer::Reply{}, LoopbackServer::Reply{LoopbackServer::Http(200, std::string(5 << 20, ' '))},
        LoopbackServer::Reply{LoopbackServer::Http(200, "{\"status\":")}, LoopbackServer::Reply{"", LoopbackServer::Then::kReset}}) {
    LoopbackServer server([&](absl::string_view, int) { return reply; });
    Told told;
    auto watch = std::make_unique<PrometheusWatch>(Prometheus(absl::StrCat("http://127.0.0.1:", server.port())),
                                                   WantedOfMonitor{{"OrdersFail"}, {}}, told.Sink());
    EXPECT_THAT(told.Lines(1), ElementsAre("up 0"));
    const absl::Time ended = absl::Now();
    watch.reset();
    EXPECT_LT(absl::Now() - ended, absl::Seconds(1));
  }
}

// A client of the webhook that sends what it is told.
class Client {
 public:
  explicit Client(int port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    const timeval patience = {20, 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }
  void Send(absl::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      text.remove_prefix(static_cast<size_t>(sent));
    }
  }
  // All that comes until the connection ends.
  std::string Answer() {
    std::string answer;
    char buffer[4096];
    ssize_t size;
    while ((size = recv(fd_.get(), buffer, sizeof(buffer), 0)) > 0) answer.append(buffer, static_cast<size_t>(size));
    return answer;
  }

 private:
  Fd fd_;
};

std::string Post(absl::string_view body) {
  return absl::StrCat("POST /hook HTTP/1.1\r\nhost: squall\r\ncontent-length: ", body.size(), "\r\n\r\n", body);
}

class AlertmanagerTest : public ::testing::Test {
 protected:
  AlertmanagerTest() : port_(UnusedPort()) {
    monitor_.set_name("pager");
    monitor_.mutable_alertmanager()->set_listen(absl::StrCat("127.0.0.1:", port_));
    auto watch = AlertmanagerWatch::Listen(monitor_, {{"OrdersFail"}, {}}, told_.Sink());
    EXPECT_TRUE(watch.ok()) << watch.status();
    watch_ = *std::move(watch);
  }
  std::string Ask(absl::string_view text) {
    Client client(port_);
    client.Send(text);
    return client.Answer();
  }
  const int port_;
  Monitor monitor_;
  Told told_;
  std::unique_ptr<AlertmanagerWatch> watch_;
};

TEST_F(AlertmanagerTest, TellsWhatItIsSentWhenItChanges) {
  EXPECT_THAT(told_.Lines(1), ElementsAre("up 1"));
  EXPECT_THAT(Ask(Post(kNotification)), HasSubstr("200 OK"));
  EXPECT_THAT(Ask(Post(kNotification)), HasSubstr("200 OK"));
  EXPECT_THAT(Ask(Post(R"({"version":"4","alerts":[{"status":"resolved","labels":{"alertname":"OrdersFail"}}]})")), HasSubstr("200 OK"));
  EXPECT_THAT(told_.Lines(3), ElementsAre("up 1", "OrdersFail FIRING", "OrdersFail INACTIVE"));
}

TEST_F(AlertmanagerTest, TakesABodyInPieces) {
  Client client(port_);
  client.Send("POST / HTTP/1.1\r\nhost: squall\r\ntransfer-encoding: chunked\r\n\r\n");
  const size_t half = kNotification.size() / 2;
  for (const absl::string_view part : {kNotification.substr(0, half), kNotification.substr(half)}) {
    client.Send(absl::StrFormat("%x\r\n%s\r\n", part.size(), part));
    absl::SleepFor(absl::Milliseconds(5));
  }
  client.Send("0\r\n\r\n");
  EXPECT_THAT(client.Answer(), HasSubstr("200 OK"));
  EXPECT_EQ(told_.Lines(2).back(), "OrdersFail FIRING");
}

TEST_F(AlertmanagerTest, RefusesWhatItDoesNotUnderstand) {
  EXPECT_THAT(Ask(Post("hello")), HasSubstr("HTTP/1.1 400"));
  EXPECT_THAT(Ask("GET / HTTP/1.1\r\nhost: squall\r\n\r\n"), HasSubstr("HTTP/1.1 405"));
  EXPECT_THAT(Ask("\x16\x03\x01 no HTTP at all\r\n\r\n"), HasSubstr("HTTP/1.1 400"));
  EXPECT_THAT(Ask(Post(std::string(WebhookReceiver::kMostBytes, ' '))), HasSubstr("HTTP/1.1 400")) << "on the bound: read, and no JSON";
  EXPECT_THAT(Ask(Post(std::string(WebhookReceiver::kMostBytes + 1, ' '))), HasSubstr("HTTP/1.1 413"));
  EXPECT_THAT(Ask(Post(kNotification)), HasSubstr("200 OK")) << "it goes on";
}

TEST_F(AlertmanagerTest, ManyThatSayNothingDelayOthersForFiveSecondsAtMost) {
  std::vector<std::unique_ptr<Client>> silent;
  for (size_t i = 0; i < WebhookReceiver::kMostConnections; ++i) silent.push_back(std::make_unique<Client>(port_));
  const absl::Time begun = absl::Now();
  EXPECT_THAT(Ask(Post(kNotification)), HasSubstr("200 OK"));
  EXPECT_GT(absl::Now() - begun, absl::Seconds(2)) << "it waited in the queue";
}

TEST_F(AlertmanagerTest, EndsAtOnceWhateverIsOpen) {
  Client silent(port_), half(port_);
  half.Send("POST / HTTP/1.1\r\ncontent-length: 100\r\n\r\n{");
  EXPECT_THAT(Ask(Post(kNotification)), HasSubstr("200 OK"));
  const absl::Time begun = absl::Now();
  watch_.reset();
  EXPECT_LT(absl::Now() - begun, absl::Seconds(1));
}

class CheckMonitorsTest : public AlertmanagerTest {
 protected:
  CheckMonitorsTest() {
    Alert& alert = *scenario_.add_assertions()->mutable_alert();
    alert.set_alert("OrdersFail");
  }
  absl::Status Check() {
    scenario_.mutable_assertions(0)->mutable_alert()->set_monitor(scenario_.monitors(0).name());
    return CheckMonitors(scenario_, reply_);
  }
  Scenario scenario_;
  PrepareReply reply_;
};

TEST_F(CheckMonitorsTest, RefusesAnAddressThatIsTaken) {
  *scenario_.add_monitors() = monitor_;
  EXPECT_THAT(std::string(Check().message()), HasSubstr(absl::StrCat("monitor pager: cannot listen at 127.0.0.1:", port_, ": Address already in use")));
  watch_.reset();
  EXPECT_TRUE(Check().ok());
  EXPECT_TRUE(Check().ok()) << "it gave the address back";
}

TEST_F(CheckMonitorsTest, RefusesAQueryThatPrometheusDoesNotUnderstand) {
  LoopbackServer server([](absl::string_view request, int) {
    return absl::StrContains(request, "/alerts") ? LoopbackServer::Reply{LoopbackServer::Http(200, kAlerts)}
                                                 : LoopbackServer::Reply{LoopbackServer::Http(400, R"({"status":"error","error":"unclosed left parenthesis"})")};
  });
  *scenario_.add_monitors() = Prometheus(absl::StrCat("http://127.0.0.1:", server.port()));
  EXPECT_TRUE(Check().ok());
  MetricBound& metric = *scenario_.add_assertions()->mutable_metric();
  metric.set_monitor("prometheus");
  metric.set_query("sum(");
  EXPECT_THAT(std::string(Check().message()), HasSubstr("unclosed left parenthesis"));
}

TEST_F(CheckMonitorsTest, NotesAPrometheusThatIsNotThereYet) {
  *scenario_.add_monitors() = Prometheus(absl::StrCat("http://127.0.0.1:", UnusedPort()));
  EXPECT_TRUE(Check().ok());
  EXPECT_THAT(reply_.notes(), ElementsAre(HasSubstr("monitor prometheus does not answer now: ")));
  scenario_.mutable_assertions(0)->clear_alert();
  reply_.Clear();
  EXPECT_TRUE(CheckMonitors(scenario_, reply_).ok());
  EXPECT_THAT(reply_.notes(), IsEmpty()) << "nobody needs it";
}

}  // namespace
}  // namespace squall
