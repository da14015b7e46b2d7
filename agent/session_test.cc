// What a run records besides its load, its edges and its faults: against a real process that squall attaches to.
#include "agent/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/load/loopback_server.h"
#include "agent/process/puppet.h"

namespace squall {
namespace {

using ::testing::SizeIs;

class SessionTest : public ::testing::Test {
 protected:
  SessionTest()
      : server_([](absl::string_view request, int) {
          const bool heap = absl::StrContains(request, "/heap?");
          return LoopbackServer::Reply{LoopbackServer::Http(200, heap ? "heap profile: @ heap/2\n# HeapAlloc = 5000\n" : "goroutine profile: total 17\n")};
        }) {
    log_ = absl::StrCat(::testing::TempDir(), "/orders.log");
    Scenario& scenario = *request_.mutable_scenario();
    Service& service = *scenario.add_services();
    service.set_name("orders");
    service.mutable_attach()->set_pid(puppet_.pid());
    service.set_log_file(log_);
    service.mutable_health()->set_url(server_.Url());
    service.mutable_pprof()->set_url(server_.Url());
    Load& load = *scenario.add_load();
    load.set_name("users");
    load.mutable_http()->set_url(server_.Url());
    load.mutable_http()->set_method("GET");
    load.set_rate(100);
    load.set_max_in_flight(100);
    load.mutable_give_up_after()->set_seconds(1);
    Assertion& log = *scenario.add_assertions();
    log.set_name("says-so");
    log.mutable_log()->set_service("orders");
    log.mutable_log()->set_matches("line");
    NoLeak& leak = *scenario.add_assertions()->mutable_no_leak();
    leak.set_service("orders");
    leak.mutable_peak()->mutable_deadline()->set_seconds(1);
  }
  void SetUp() override {
    journal_ = Journal::Create(::testing::TempDir()).value();
    session_ = std::make_unique<Session>("run-1", "test", absl::Seconds(60), absl::Seconds(60), &main_thread_, &*journal_);
    const auto prepared = session_->Prepare(request_);
    ASSERT_TRUE(prepared.ok()) << prepared.status();
    const auto started = session_->StartServices();
    ASSERT_TRUE(started.ok()) << started.status();
    ASSERT_TRUE(session_->StartLoad().ok());
  }
  void TearDown() override {
    session_.reset();
    unlink(log_.c_str());
  }
  void Log(const std::string& text) const { std::ofstream(log_, std::ios::app) << text << "\n"; }
  const std::vector<Record>& Records() {
    for (AgentEvent event; session_->events().Pop(event, absl::ZeroDuration());) {
      if (event.has_record()) records_.push_back(event.record());
    }
    return records_;
  }
  template <typename Is>
  int Count(Is is) {
    const std::vector<Record>& all = Records();
    return static_cast<int>(std::count_if(all.begin(), all.end(), is));
  }

  Puppet puppet_;
  LoopbackServer server_;
  std::string log_;
  PrepareRequest request_;
  MainThread main_thread_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<Session> session_;
  std::vector<Record> records_;
};

TEST_F(SessionTest, SamplesTellTheLeaderAndWhatANoLeakIsAbout) {
  const auto whole = [&](const Record& record) {
    const ServiceSample& sample = record.sample();
    return sample.pid() == puppet_.pid() && sample.started_ticks() == static_cast<int64_t>(puppet_.id().start_ticks) && sample.sockets() == 1 &&
           sample.goroutines() == 17 && sample.heap_bytes() == -1;
  };
  EXPECT_TRUE(Eventually([&] { return Count(whole) > 0; }));
  EXPECT_TRUE(Eventually([&] { return Count([](const Record& record) { return record.health().status() == 200; }) > 1; }));
}

TEST_F(SessionTest, ALoadRestsAndGoesOnAndTheHeapIsLookedAtMeanwhile) {
  EXPECT_TRUE(Eventually([&] { return Count([](const Record& record) { return record.requests().intended_us_size() > 0; }) > 0; }));
  ASSERT_TRUE(session_->ShareLoad(0).ok());
  EXPECT_TRUE(Eventually([&] { return Count([](const Record& record) { return record.has_load_share() && record.load_share().share() == 0; }) == 1; }));
  EXPECT_TRUE(Eventually([&] { return Count([](const Record& record) { return record.sample().heap_bytes() == 5000; }) > 0; }));
  ASSERT_TRUE(session_->ShareLoad(1).ok());
  EXPECT_TRUE(Eventually([&] { return Count([](const Record& record) { return record.load_share().share() == 1; }) == 1; }));
  EXPECT_EQ(session_->ShareLoad(2).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(SessionTest, ASnapshotIsThereWhenTheCallReturns) {
  ASSERT_TRUE(session_->TakeSnapshot(ProcessSnapshot::AT_REST, 2).ok());
  EXPECT_EQ(Count([&](const Record& record) {
              return record.snapshot().moment() == ProcessSnapshot::AT_REST && record.snapshot().cycle() == 2 &&
                     record.snapshot().sample().pid() == puppet_.pid() && record.snapshot().sample().heap_bytes() == 5000;
            }),
            1);
  EXPECT_EQ(session_->TakeSnapshot(ProcessSnapshot::MOMENT_UNSPECIFIED, 0).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(SessionTest, WhatWasLoggedBeforeAFaultIsToldBeforeIt) {
  Fault fault;
  fault.set_name("more");
  fault.mutable_surge()->set_load("users");
  fault.mutable_surge()->set_times(2);
  Log("line before");
  ASSERT_TRUE(session_->Inject(fault).ok());
  Log("line meanwhile");
  EXPECT_TRUE(Eventually([&] { return Count([](const Record& record) { return record.snapshot().moment() == ProcessSnapshot::AT_PEAK; }) > 0; }));
  ASSERT_TRUE(session_->Heal("more").ok());
  const int peaks = Count([](const Record& record) { return record.has_snapshot(); });
  Log("line after");
  const int samples = Count([](const Record& record) { return record.has_sample(); });
  EXPECT_TRUE(Eventually([&] { return Count([](const Record& record) { return record.has_sample(); }) >= samples + 5; }));
  session_->Finish(absl::ZeroDuration());
  std::string order;
  for (const Record& record : Records()) {
    if (record.fault().state() == FaultEvent::INJECTED) order += "injected, ";
    if (record.fault().state() == FaultEvent::HEALED) order += "healed, ";
    for (const LogLines::Match& match : record.log().matches()) absl::StrAppend(&order, match.line(), ", ");
  }
  EXPECT_EQ(order, "line before, injected, line meanwhile, healed, line after, ");
  EXPECT_LE(Count([](const Record& record) { return record.has_snapshot(); }), peaks + 1) << "no peaks without a fault";
}

TEST_F(SessionTest, AfterTheRunNothingIsLookedAt) {
  session_->Finish(absl::ZeroDuration());
  EXPECT_EQ(session_->TakeSnapshot(ProcessSnapshot::AT_REST, 0).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(session_->ShareLoad(0).code(), absl::StatusCode::kFailedPrecondition);
  Records();
  absl::SleepFor(absl::Milliseconds(600));
  const size_t before = records_.size();
  EXPECT_THAT(Records(), SizeIs(before));
}

TEST_F(SessionTest, AProfileThatHangsHoldsUpNoEnd) {
  LoopbackServer silent([](absl::string_view, int) { return LoopbackServer::Reply{}; });
  request_.mutable_scenario()->mutable_services(0)->mutable_pprof()->set_url(silent.Url());
  session_.reset();
  journal_.reset();
  SetUp();
  std::thread taking([&] { session_->TakeSnapshot(ProcessSnapshot::AT_REST, 0).IgnoreError(); });
  EXPECT_TRUE(Eventually([&] { return silent.requests() > 1; }));
  const absl::Time begun = absl::Now();
  session_->Cancel();
  session_->Finish(absl::ZeroDuration());
  EXPECT_LT(absl::Now() - begun, absl::Seconds(4));
  taking.join();
}

}  // namespace
}  // namespace squall
