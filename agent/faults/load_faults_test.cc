#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "agent/faults/fault.h"
#include "agent/load/load_generator.h"
#include "agent/load/loopback_server.h"
#include "base/durations.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

struct Row {
  int64_t number;
  int64_t intended_us;
  int64_t waited_us;  // since it was sent
  Outcome outcome;
};

// False when a minute was not enough.
bool WaitUntil(const std::function<bool()>& condition) {
  for (int i = 0; i < 60'000; ++i) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return false;
}

int OpenDescriptors() {
  int count = 0;
  DIR* const folder = opendir("/proc/self/fd");
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count;
}

// A load with what became of its requests.
class RunningLoad {
 public:
  RunningLoad(const std::string& name, const std::string& url, double rate, const std::vector<std::pair<double, int>>& steps = {}) {
    Load load;
    load.set_name(name);
    load.mutable_http()->set_url(url);
    load.mutable_http()->set_method("GET");
    load.set_rate(rate);
    for (const auto& [step_rate, seconds] : steps) {
      load.add_steps()->set_rate(step_rate);
      load.mutable_steps(load.steps_size() - 1)->mutable_for_()->set_seconds(seconds);
    }
    load.mutable_give_up_after()->set_seconds(60);
    load.set_max_in_flight(20'000);
    auto started = LoadGenerator::Start(load, "run-1", 7, [this](Record record) { Take(record); });
    EXPECT_TRUE(started.ok()) << started.status();
    load_ = *std::move(started);
  }

  LoadGenerator* get() { return load_.get(); }
  void Stop(absl::Duration patience) { load_->Stop(patience); }

  std::vector<Row> Rows() {
    absl::MutexLock lock(&mutex_);
    std::vector<Row> rows = rows_;
    std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.number < b.number; });
    return rows;
  }
  std::map<Outcome, int> Outcomes() {
    std::map<Outcome, int> outcomes;
    for (const Row& row : Rows()) ++outcomes[row.outcome];
    return outcomes;
  }
  std::set<int64_t> Abandoned() {
    std::set<int64_t> numbers;
    for (const Row& row : Rows()) {
      if (row.outcome == ABANDONED) numbers.insert(row.number);
    }
    return numbers;
  }
  int64_t NotSent() {
    absl::MutexLock lock(&mutex_);
    return not_sent_;
  }

 private:
  void Take(const Record& record) {
    absl::MutexLock lock(&mutex_);
    not_sent_ += record.load_stats().not_sent();
    const Requests& columns = record.requests();
    int64_t number = 0, intended_us = 0;
    for (int i = 0; i < columns.outcome_size(); ++i) {
      number += columns.number(i);
      intended_us += columns.intended_us(i);
      rows_.push_back({number, intended_us, int64_t{columns.latency_us(i)} - int64_t{columns.lag_us(i)}, columns.outcome(i)});
    }
  }

  absl::Mutex mutex_;
  std::vector<Row> rows_ ABSL_GUARDED_BY(mutex_);
  int64_t not_sent_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<LoadGenerator> load_;
};

LoopbackServer::Script Answers() {
  return [](absl::string_view, int) { return LoopbackServer::Reply{LoopbackServer::Http(200, "x")}; };
}
LoopbackServer::Script IsSilent() {
  return [](absl::string_view, int) { return LoopbackServer::Reply{}; };
}

class LoadFaults : public testing::Test {
 protected:
  std::unique_ptr<ActiveFault> Make(const Fault& fault, uint64_t seed = 1) {
    FaultContext context;
    context.loads = &loads_;
    context.seed = seed;
    return MakeFault(fault, context);
  }
  std::unique_ptr<ActiveFault> MakeAbandonOf(double share, absl::Duration patience, uint64_t seed = 1) {
    Fault fault;
    fault.mutable_abandon()->set_load("checkout");
    fault.mutable_abandon()->set_share(share);
    *fault.mutable_abandon()->mutable_patience() = FromDuration(patience);
    return Make(fault, seed);
  }
  std::unique_ptr<ActiveFault> MakeSurgeOf(double times) {
    Fault fault;
    fault.mutable_surge()->set_load("checkout");
    fault.mutable_surge()->set_times(times);
    return Make(fault);
  }

  std::map<std::string, LoadGenerator*> loads_;
};

using AbandonTest = LoadFaults;
using SurgeTest = LoadFaults;

TEST_F(AbandonTest, HangsUpOnAShareOfTheRequestsInTheMiddleOfThem) {
  LoopbackServer server(IsSilent());
  LoopbackServer bystanders_server(Answers());
  RunningLoad load("checkout", server.Url(), 1000);
  RunningLoad bystander("browse", bystanders_server.Url(), 100);
  loads_ = {{"checkout", load.get()}, {"browse", bystander.get()}};
  ASSERT_TRUE(WaitUntil([&] { return server.requests() >= 50; }));
  const auto fault = MakeAbandonOf(30, absl::Milliseconds(40));
  ASSERT_TRUE(fault->Inject().ok());
  ASSERT_TRUE(WaitUntil([&] { return fault->Seen().abandoned() >= 300; }));
  ASSERT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  const Evidence seen = fault->Seen();
  // A request that came to the server, and then a connection that was closed.
  EXPECT_TRUE(WaitUntil([&] { return server.left() >= seen.abandoned(); })) << server.left();
  EXPECT_EQ(server.left(), seen.abandoned());
  ASSERT_TRUE(WaitUntil([&] { return static_cast<int64_t>(load.Abandoned().size()) >= seen.abandoned(); }));
  EXPECT_EQ(static_cast<int64_t>(load.Abandoned().size()), seen.abandoned());
  for (const Row& row : load.Rows()) EXPECT_GE(row.waited_us, 40'000 - 1);
  // Of the last there was no time to hang up on.
  const double share = static_cast<double>(seen.abandoned()) / static_cast<double>(seen.requests());
  EXPECT_GT(share, 0.15);
  EXPECT_LT(share, 0.36);
  EXPECT_EQ(load.NotSent(), 0);
  bystander.Stop(absl::InfiniteDuration());
  EXPECT_EQ(bystander.Outcomes().size(), 1u);
  EXPECT_GT(bystander.Outcomes()[OK], 0);
}

TEST_F(AbandonTest, TakesTheShareThatWasAskedForAndTheSameRequestsForTheSameSeed) {
  std::set<int64_t> chosen[3];
  int64_t first[3];
  for (const size_t run : {0u, 1u, 2u}) {
    LoopbackServer server(IsSilent());
    RunningLoad load("checkout", server.Url(), 2000);
    loads_ = {{"checkout", load.get()}};
    // The second begins later.
    ASSERT_TRUE(WaitUntil([&] { return server.requests() >= (run == 1 ? 300 : 10); }));
    const auto fault = MakeAbandonOf(20, absl::Milliseconds(1), run == 2 ? 5 : 4);
    ASSERT_TRUE(fault->Inject().ok());
    ASSERT_TRUE(WaitUntil([&] { return fault->Seen().requests() >= 3000; }));
    ASSERT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
    const int64_t abandoned = fault->Seen().abandoned();
    ASSERT_TRUE(WaitUntil([&] { return static_cast<int64_t>(load.Abandoned().size()) == abandoned; }));
    chosen[run] = load.Abandoned();
    first[run] = *chosen[run].begin();
    EXPECT_NEAR(static_cast<double>(abandoned) / static_cast<double>(fault->Seen().requests()), 0.2, 0.05);
  }
  // Where both acted.
  const int64_t from = std::max(first[0], first[1]);
  int64_t agreed = 0;
  for (int64_t number = from; number < from + 2000; ++number) {
    EXPECT_EQ(chosen[0].count(number), chosen[1].count(number)) << number;
    agreed += static_cast<int64_t>(chosen[0].count(number));
  }
  EXPECT_GT(agreed, 300);
  EXPECT_NE(chosen[0], chosen[2]);
}

TEST_F(AbandonTest, LeavesWhatIsAnsweredInTime) {
  LoopbackServer server(Answers());
  RunningLoad load("checkout", server.Url(), 500);
  loads_ = {{"checkout", load.get()}};
  const auto fault = MakeAbandonOf(100, absl::Seconds(30));
  ASSERT_TRUE(fault->Inject().ok());
  ASSERT_TRUE(WaitUntil([&] { return fault->Seen().requests() >= 200; }));
  ASSERT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  load.Stop(absl::InfiniteDuration());
  EXPECT_EQ(fault->Seen().abandoned(), 0);
  EXPECT_EQ(load.Outcomes().size(), 1u);
  EXPECT_GT(load.Outcomes()[OK], 0);
}

TEST_F(AbandonTest, HealedHasNobodyHangUpAnyMoreNotEvenThoseWhoWait) {
  absl::Mutex mutex;
  bool answering = false;
  // The first request is answered once the fault is healed, and all others behind it.
  LoopbackServer server([&](absl::string_view, int) {
    absl::MutexLock lock(&mutex);
    mutex.AwaitWithTimeout(absl::Condition(&answering), absl::Minutes(1));
    return LoopbackServer::Reply{LoopbackServer::Http(200, "late")};
  });
  RunningLoad load("checkout", server.Url(), 200);
  loads_ = {{"checkout", load.get()}};
  const auto fault = MakeAbandonOf(100, absl::Seconds(1));
  ASSERT_TRUE(fault->Inject().ok());
  ASSERT_TRUE(WaitUntil([&] { return fault->Seen().requests() >= 50; }));
  ASSERT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  const Evidence seen = fault->Seen();
  ASSERT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  absl::SleepFor(absl::Milliseconds(1100));  // beyond the patience of each of them
  {
    absl::MutexLock lock(&mutex);
    answering = true;
  }
  load.Stop(absl::InfiniteDuration());
  EXPECT_EQ(seen.requests(), fault->Seen().requests());
  EXPECT_EQ(fault->Seen().abandoned(), seen.abandoned());
  EXPECT_EQ(static_cast<int64_t>(load.Abandoned().size()), seen.abandoned());
  EXPECT_GT(load.Outcomes()[OK], 50);
}

TEST_F(AbandonTest, HealedLeavesAnotherOneToHangUpOnTheSameRequestsLater) {
  LoopbackServer server(IsSilent());
  RunningLoad load("checkout", server.Url(), 200);
  loads_ = {{"checkout", load.get()}};
  const auto sooner = MakeAbandonOf(100, absl::Milliseconds(500)), later = MakeAbandonOf(100, absl::Milliseconds(600));
  ASSERT_TRUE(sooner->Inject().ok());
  ASSERT_TRUE(later->Inject().ok());
  ASSERT_TRUE(WaitUntil([&] { return later->Seen().requests() >= 20; }));
  ASSERT_TRUE(sooner->Heal(HealFor::kFaultOver).ok());
  const int64_t by_sooner = sooner->Seen().abandoned();
  const auto hung_up = [&](int64_t number) { return load.Abandoned().count(number) > 0; };
  EXPECT_TRUE(WaitUntil([&] { return hung_up(5) && hung_up(15); }));
  EXPECT_EQ(sooner->Seen().abandoned(), by_sooner);
  EXPECT_GT(later->Seen().abandoned(), 0);
}

TEST_F(AbandonTest, GoesOnWithNewConnectionsAndLeavesNoDescriptorBehind) {
  const int before = OpenDescriptors();
  {
    std::atomic<bool> silent{true};
    LoopbackServer server([&](absl::string_view, int) {
      return silent ? LoopbackServer::Reply{} : LoopbackServer::Reply{LoopbackServer::Http(200, "x")};
    });
    RunningLoad load("checkout", server.Url(), 500);
    loads_ = {{"checkout", load.get()}};
    for (int round = 0; round < 5; ++round) {
      const auto fault = MakeAbandonOf(100, absl::Milliseconds(20));
      ASSERT_TRUE(fault->Inject().ok());
      ASSERT_TRUE(WaitUntil([&] { return fault->Seen().abandoned() >= 50; }));
      ASSERT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
    }
    silent = false;
    const int64_t requests = server.requests();
    ASSERT_TRUE(WaitUntil([&] { return server.requests() >= requests + 200; }));
    ASSERT_TRUE(WaitUntil([&] { return load.Outcomes()[OK] >= 150; }));
    load.Stop(absl::ZeroDuration());
    EXPECT_EQ(load.NotSent(), 0);
    EXPECT_EQ(load.Outcomes()[OK] + load.Outcomes()[ABANDONED], static_cast<int>(load.Rows().size()));
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(LoadFaults, RefuseWhatCannotBeDoneAndChangeNothing) {
  LoopbackServer server(Answers());
  RunningLoad load("browse", server.Url(), 1000);
  loads_ = {{"browse", load.get()}};
  std::unique_ptr<ActiveFault> faults[] = {MakeAbandonOf(50, absl::Milliseconds(1)), MakeSurgeOf(3)};
  for (const auto& fault : faults) {
    const absl::Status status = fault->Inject();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr("no load 'checkout'"));
    EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
    EXPECT_EQ(fault->Seen().requests(), 0);
  }
  loads_["checkout"] = load.get();
  for (const double times : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(MakeSurgeOf(times)->Inject().code(), absl::StatusCode::kInvalidArgument) << times;
  }
  for (const double share : {0.0, -1.0, 101.0, std::nan("")}) {
    EXPECT_EQ(MakeAbandonOf(share, absl::Milliseconds(1))->Inject().code(), absl::StatusCode::kInvalidArgument) << share;
  }
  EXPECT_EQ(MakeAbandonOf(50, absl::ZeroDuration())->Inject().code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(WaitUntil([&] { return server.requests() >= 100; }));
  load.Stop(absl::InfiniteDuration());
  const std::vector<Row> rows = load.Rows();
  for (size_t i = 1; i < rows.size(); ++i) ASSERT_EQ(rows[i].intended_us - rows[i - 1].intended_us, 1000);
}

TEST_F(LoadFaults, OfALoadThatHasStoppedDoNothingAndAreHealed) {
  LoopbackServer server(Answers());
  RunningLoad load("checkout", server.Url(), 1000);
  loads_ = {{"checkout", load.get()}};
  const auto before = MakeSurgeOf(2);
  ASSERT_TRUE(before->Inject().ok());
  load.Stop(absl::InfiniteDuration());
  EXPECT_TRUE(before->Heal(HealFor::kRunOver).ok());
  const auto abandon = MakeAbandonOf(100, absl::Milliseconds(1));
  EXPECT_TRUE(abandon->Inject().ok());
  EXPECT_TRUE(abandon->Heal(HealFor::kRunOver).ok());
  EXPECT_EQ(abandon->Seen().requests(), 0);
}

// How many requests stand so many microseconds apart.
std::map<int64_t, int> Gaps(const std::vector<Row>& rows) {
  std::map<int64_t, int> gaps;
  for (size_t i = 1; i < rows.size(); ++i) ++gaps[rows[i].intended_us - rows[i - 1].intended_us];
  return gaps;
}

TEST_F(SurgeTest, MultipliesTheRateAndEndsWithoutABurstOrAGap) {
  LoopbackServer server(Answers());
  LoopbackServer bystanders_server(Answers());
  RunningLoad load("checkout", server.Url(), 200);
  RunningLoad bystander("browse", bystanders_server.Url(), 100);
  loads_ = {{"checkout", load.get()}, {"browse", bystander.get()}};
  ASSERT_TRUE(WaitUntil([&] { return server.requests() >= 20; }));
  const auto fault = MakeSurgeOf(5);
  ASSERT_TRUE(fault->Inject().ok());
  ASSERT_TRUE(WaitUntil([&] { return server.requests() >= 520; }));
  ASSERT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  const Evidence seen = fault->Seen();
  ASSERT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  const int64_t healed = server.requests();
  ASSERT_TRUE(WaitUntil([&] { return server.requests() >= healed + 40; }));
  load.Stop(absl::InfiniteDuration());
  bystander.Stop(absl::InfiniteDuration());

  // Every 5 ms, then every ms, then every 5 ms again; in between once as much as was left of the one before.
  const std::vector<Row> rows = load.Rows();
  std::vector<int64_t> phases = {5000};
  int others = 0;
  for (size_t i = 1; i < rows.size(); ++i) {
    const int64_t gap = rows[i].intended_us - rows[i - 1].intended_us;
    ASSERT_GE(gap, 1000);
    ASSERT_LE(gap, 5000);
    if (gap != 1000 && gap != 5000) {
      ++others;
    } else if (gap != phases.back()) {
      phases.push_back(gap);
    }
  }
  EXPECT_EQ(phases, (std::vector<int64_t>{5000, 1000, 5000}));
  EXPECT_LE(others, 2);
  EXPECT_GE(Gaps(rows)[1000], 400);
  EXPECT_NEAR(seen.base_rate(), 200, 0.01);
  EXPECT_NEAR(seen.requested_requests_rate(), 1000, 0.01);
  EXPECT_GT(seen.achieved_requests_rate(), 500);
  EXPECT_LT(seen.achieved_requests_rate(), 1100);
  EXPECT_EQ(fault->Seen().achieved_requests_rate(), seen.achieved_requests_rate());
  EXPECT_EQ(load.NotSent(), 0);
  EXPECT_EQ(Gaps(bystander.Rows()).size(), 1u);
}

TEST_F(SurgeTest, SeveralMultiplyWithEachOtherInWhateverOrderTheyEnd) {
  LoopbackServer server(Answers());
  RunningLoad load("checkout", server.Url(), 100);
  loads_ = {{"checkout", load.get()}};
  const auto wait_for_more = [&] {
    const int64_t now = server.requests();
    ASSERT_TRUE(WaitUntil([&] { return server.requests() >= now + 30; }));
  };
  const auto twice = MakeSurgeOf(2), five_times = MakeSurgeOf(5);
  ASSERT_TRUE(twice->Inject().ok());
  wait_for_more();
  ASSERT_TRUE(five_times->Inject().ok());
  wait_for_more();
  ASSERT_TRUE(twice->Heal(HealFor::kFaultOver).ok());
  wait_for_more();
  ASSERT_TRUE(five_times->Heal(HealFor::kFaultOver).ok());
  wait_for_more();
  load.Stop(absl::InfiniteDuration());
  std::map<int64_t, int> gaps = Gaps(load.Rows());
  EXPECT_GE(gaps[5000], 20);
  EXPECT_GE(gaps[1000], 20);
  EXPECT_GE(gaps[2000], 20);
  EXPECT_GE(gaps[10'000], 20);
  // Without the second, the first would have had 200/s, and then 1,000/s.
  EXPECT_GT(twice->Seen().requested_requests_rate(), 200);
  EXPECT_NEAR(twice->Seen().requested_requests_rate(), 2 * twice->Seen().base_rate(), 1e-6);
}

TEST_F(SurgeTest, ChangedMultipliesByAnotherFactorAndTellsTheAverage) {
  LoopbackServer server(Answers());
  RunningLoad load("checkout", server.Url(), 200);
  loads_ = {{"checkout", load.get()}};
  ASSERT_TRUE(WaitUntil([&] { return server.requests() >= 10; }));
  const auto fault = MakeSurgeOf(1);
  ASSERT_TRUE(fault->Inject().ok());
  for (const double times : {2.5, 5.0, 1.25}) {
    Fault next;
    next.mutable_surge()->set_load("checkout");
    next.mutable_surge()->set_times(times);
    ASSERT_TRUE(fault->Change(next).ok());
    const int64_t now = server.requests();
    ASSERT_TRUE(WaitUntil([&] { return server.requests() >= now + 100; }));
  }
  Fault never;
  never.mutable_surge()->set_times(0);
  EXPECT_EQ(fault->Change(never).code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  const Evidence seen = fault->Seen();
  const int64_t healed = server.requests();
  ASSERT_TRUE(WaitUntil([&] { return server.requests() >= healed + 20; }));
  load.Stop(absl::InfiniteDuration());
  // Every 5 ms, then 2 ms, 1 ms, 4 ms and 5 ms.
  std::vector<int64_t> phases = {5000};
  const std::vector<Row> rows = load.Rows();
  for (size_t i = 1; i < rows.size(); ++i) {
    const int64_t gap = rows[i].intended_us - rows[i - 1].intended_us;
    if (gap % 1000 == 0 && gap != phases.back()) phases.push_back(gap);
  }
  EXPECT_EQ(phases, (std::vector<int64_t>{5000, 2000, 1000, 4000, 5000}));
  EXPECT_NEAR(seen.base_rate(), 200, 1);
  EXPECT_GT(seen.requested_requests_rate(), 250);
  EXPECT_LT(seen.requested_requests_rate(), 1000);
  EXPECT_EQ(fault->Seen().requested_requests_rate(), seen.requested_requests_rate());
}

TEST_F(SurgeTest, MultipliesTheStepsOfALoad) {
  LoopbackServer server(Answers());
  RunningLoad load("checkout", server.Url(), 0, {{100, 1}, {50, 1}});
  loads_ = {{"checkout", load.get()}};
  const auto fault = MakeSurgeOf(10);
  ASSERT_TRUE(fault->Inject().ok());
  load.get()->StartSteps();
  ASSERT_TRUE(WaitUntil([&] { return server.requests() >= 1050; }));
  load.Stop(absl::InfiniteDuration());
  ASSERT_TRUE(fault->Heal(HealFor::kRunOver).ok());
  std::map<int64_t, int> gaps = Gaps(load.Rows());
  EXPECT_GE(gaps[1000], 950);
  EXPECT_GE(gaps[2000], 30);
}

}  // namespace
}  // namespace squall
