// A real service, and servers of the test's for what it would serve.
#include "agent/watch/watches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/load/loopback_server.h"

namespace squall {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class WatchesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    journal_ = Journal::Create(::testing::TempDir()).value();
    main_ = std::thread([this] { main_thread_.Serve(); });
    Service& service = *scenario_.add_services();
    service.set_name("orders");
    for (const auto& [name, pattern] : {std::pair{"any", "."}, std::pair{"opens", "opened"}}) {
      Assertion& assertion = *scenario_.add_assertions();
      assertion.set_name(name);
      assertion.mutable_log()->set_service("orders");
      assertion.mutable_log()->set_matches(pattern);
    }
  }
  void TearDown() override {
    watches_.Stop();
    services_.clear();
    main_thread_.Stop();
    main_.join();
  }
  void Run(const std::string& script) {
    for (const char* word : {"sh", "-c", script.c_str()}) scenario_.mutable_services(0)->add_run(word);
    watches_.StartLogs(scenario_, "/");
    services_["orders"] = std::make_unique<RunningService>(
        scenario_.services(0), RunningService::Context{"/", "test", &main_thread_, &*journal_, &events_, {}, watches_.PrintedBy("orders")});
    ASSERT_TRUE(services_["orders"]->Claim().ok());
    ASSERT_TRUE(services_["orders"]->Start().ok());
  }
  absl::Status Watch() {
    return watches_.Start(scenario_, services_, [](const std::string& peer) { return peer; }, [] { return false; });
  }
  // Whether such a record was told within 20 s.
  template <typename Is>
  bool Told(Is is) {
    absl::MutexLock lock(&mutex_);
    const auto told = [&] {
      mutex_.AssertReaderHeld();
      return std::any_of(records_.begin(), records_.end(), is);
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&told), absl::Seconds(20));
  }
  std::vector<std::string> Lines(const std::string& assertion) {
    absl::MutexLock lock(&mutex_);
    std::vector<std::string> lines;
    for (const Record& record : records_) {
      for (const LogLines::Match& match : record.log().matches()) {
        if (match.assertion() == assertion) lines.push_back(match.line());
      }
    }
    return lines;
  }
  bool LineComes(const std::string& line) {
    return Told([&](const Record& record) {
      const auto& matches = record.log().matches();
      return std::any_of(matches.begin(), matches.end(), [&](const LogLines::Match& match) { return match.line() == line; });
    });
  }

  Events events_;
  MainThread main_thread_;
  std::unique_ptr<Journal> journal_;
  std::thread main_;
  Scenario scenario_;
  absl::Mutex mutex_;
  std::vector<Record> records_ ABSL_GUARDED_BY(mutex_);
  Watches watches_{[this](Record record) {
    absl::MutexLock lock(&mutex_);
    records_.push_back(std::move(record));
  }};
  Watches::Services services_;
};

TEST_F(WatchesTest, ReadsWhatAServicePrintsFromItsFirstLineToItsLastWord) {
  Run("echo starting; echo breaker opened >&2; printf 'last word'");
  EXPECT_TRUE(LineComes("last word"));
  EXPECT_THAT(Lines("any"), ElementsAre("starting", "breaker opened", "last word"));
  EXPECT_THAT(Lines("opens"), ElementsAre("breaker opened"));
}

TEST_F(WatchesTest, WhatWasBegunEndsWithTheProcessAndNotInTheNextOnesLine) {
  Run("printf half; exec sleep 1000");
  ASSERT_TRUE(services_["orders"]->Stop().ok());
  ASSERT_TRUE(services_["orders"]->Claim().ok());
  ASSERT_TRUE(services_["orders"]->Start().ok());
  ASSERT_TRUE(services_["orders"]->Stop().ok());
  EXPECT_TRUE(LineComes("half"));
  watches_.TellLogs();
  EXPECT_THAT(Lines("any"), Contains("half"));
  for (const std::string& line : Lines("any")) EXPECT_EQ(line, "half");
}

TEST_F(WatchesTest, WatchesWhatAssertionsAskFor) {
  LoopbackServer server([](absl::string_view request, int) {
    return LoopbackServer::Reply{LoopbackServer::Http(200, absl::StrContains(request, "/metrics") ? "go_goroutines 12\norders_total 3\nother 1\n" : "ready")};
  });
  const std::string url = absl::StrCat("http://127.0.0.1:", server.port());
  scenario_.mutable_services(0)->mutable_metrics()->set_url(url + "/metrics");
  scenario_.mutable_services(0)->mutable_health()->set_url(url + "/healthz");
  Monitor& monitor = *scenario_.add_monitors();
  monitor.set_name("pager");
  monitor.mutable_alertmanager()->set_listen(absl::StrCat("127.0.0.1:", UnusedPort()));
  Assertion& alert = *scenario_.add_assertions();
  alert.mutable_alert()->set_monitor("pager");
  alert.mutable_alert()->set_alert("OrdersFail");
  MetricBound& bound = *scenario_.add_assertions()->mutable_metric();
  bound.set_service("orders");
  bound.set_metric("orders_total");
  scenario_.add_assertions()->mutable_no_leak()->set_service("orders");
  Run("exec sleep 1000");
  ASSERT_TRUE(Watch().ok());
  EXPECT_TRUE(Told([](const Record& record) { return record.health().status() == 200 && record.health().body() == "ready"; }));
  EXPECT_TRUE(Told([](const Record& record) { return record.metric().series() == "orders_total" && record.metric().value() == 3; }));
  EXPECT_TRUE(Told([](const Record& record) { return record.metric().monitor() == "pager" && record.metric().series() == "up"; }));
  EXPECT_TRUE(Told([](const Record& record) { return record.metric().series() == "go_goroutines"; }));
  ASSERT_NE(watches_.LeakOf("orders"), nullptr);
  ServiceSample sample;
  watches_.LeakOf("orders")->AddTo(sample);
  EXPECT_EQ(sample.goroutines(), 12);
  watches_.TakeSnapshots(ProcessSnapshot::AT_REST, 2);
  EXPECT_TRUE(Told([](const Record& record) {
    return record.snapshot().cycle() == 2 && record.snapshot().sample().processes() == 1 && record.snapshot().sample().goroutines() == 12;
  }));
  const absl::Time begun = absl::Now();
  watches_.Stop();
  EXPECT_LT(absl::Now() - begun, absl::Seconds(2));
}

TEST_F(WatchesTest, NobodyAsksNobodyLooks) {
  scenario_.clear_assertions();
  scenario_.mutable_services(0)->mutable_metrics()->set_url("http://127.0.0.1:1/metrics");
  Monitor& monitor = *scenario_.add_monitors();
  monitor.set_name("pager");
  monitor.mutable_alertmanager()->set_listen("127.0.0.1:1");
  Run("echo starting; exec sleep 1000");
  EXPECT_FALSE(watches_.PrintedBy("orders"));
  ASSERT_TRUE(Watch().ok());
  EXPECT_EQ(watches_.LeakOf("orders"), nullptr);
  watches_.TakeSnapshots(ProcessSnapshot::AT_REST, 0);
  watches_.Stop();
  absl::MutexLock lock(&mutex_);
  EXPECT_TRUE(records_.empty());
}

TEST_F(WatchesTest, AnAddressThatWasTakenMeanwhileIsAnError) {
  LoopbackServer taken([](absl::string_view, int) { return LoopbackServer::Reply{}; });
  Monitor& monitor = *scenario_.add_monitors();
  monitor.set_name("pager");
  monitor.mutable_alertmanager()->set_listen(absl::StrCat("127.0.0.1:", taken.port()));
  Assertion& alert = *scenario_.add_assertions();
  alert.mutable_alert()->set_monitor("pager");
  alert.mutable_alert()->set_alert("OrdersFail");
  Run("exec sleep 1000");
  EXPECT_THAT(std::string(Watch().message()), HasSubstr("monitor pager: cannot listen at"));
  PrepareReply reply;
  EXPECT_THAT(std::string(Watches::Prepare(scenario_, "/", reply).message()), HasSubstr("monitor pager: cannot listen at"));
}

}  // namespace
}  // namespace squall
