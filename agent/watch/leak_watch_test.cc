// Real processes, and a server that answers as pprof does.
#include "agent/watch/leak_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "agent/load/loopback_server.h"
#include "agent/process/puppet.h"
#include "agent/watch/snapshot.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Unchanged(const std::string& peer) { return peer; }

TEST(LookAtProcesses, TellsCountsDescriptorsAndThreads) {
  Puppet one, other;
  one.Open(10);
  const ProcessSnapshot snapshot = LookAtProcesses("orders", {one.id(), other.id()}, one.id(), &Unchanged);
  EXPECT_EQ(snapshot.service(), "orders");
  EXPECT_GT(snapshot.at_ns(), 0);
  EXPECT_EQ(snapshot.sample().pid(), one.pid());
  EXPECT_EQ(snapshot.sample().processes(), 2);
  EXPECT_EQ(snapshot.sample().fds(), 9);
  EXPECT_EQ(snapshot.sample().sockets(), 2) << "through which the puppets are told what to do";
  EXPECT_EQ(snapshot.fds(0).to(), "/dev/null");
  EXPECT_EQ(snapshot.fds(0).count(), 7);
  ASSERT_EQ(snapshot.threads().size(), 1u);
  EXPECT_EQ(snapshot.threads().begin()->second, 2);
}

TEST(LookAtProcesses, CountsThreadsByName) {
  std::atomic<bool> stop = false;
  const auto wait = [&] {
    while (!stop) absl::SleepFor(absl::Milliseconds(1));
  };
  std::thread one(wait), other(wait);
  pthread_setname_np(one.native_handle(), "pool\xFF");
  pthread_setname_np(other.native_handle(), "pool\xFF");
  const ProcessSnapshot snapshot = LookAtProcesses("orders", {ReadStat(getpid())->id}, {}, &Unchanged);
  EXPECT_EQ(snapshot.threads().at("pool\uFFFD"), 2);
  EXPECT_EQ(snapshot.sample().pid(), 0);
  stop = true;
  one.join();
  other.join();
}

TEST(LookAtProcesses, TellsPeersAsTheyAreCalled) {
  LoopbackServer server([](absl::string_view, int) { return LoopbackServer::Reply{}; });
  const std::string at = absl::StrCat("127.0.0.1:", server.port());
  const ProcessSnapshot snapshot = LookAtProcesses("orders", {ReadStat(getpid())->id}, {},
                                                   [&](const std::string& peer) { return peer == at ? "10.0.0.7:443" : peer; });
  bool told = false;
  for (const FdCount& fd : snapshot.fds()) told |= fd.to() == "10.0.0.7:443" && fd.state() == "LISTEN";
  EXPECT_TRUE(told);
}

TEST(LookAtProcesses, OfNobodyIsAllZero) {
  const ProcessSnapshot snapshot = LookAtProcesses("orders", {}, {}, &Unchanged);
  EXPECT_EQ(snapshot.sample().processes(), 0);
  EXPECT_THAT(snapshot.fds(), IsEmpty());
}

class LeakWatchTest : public ::testing::Test {
 protected:
  LeakWatchTest()
      : server_([this](absl::string_view request, int) {
          if (absl::StrContains(request, "heap?gc=1")) {
            ++heaps_;
            return LoopbackServer::Reply{LoopbackServer::Http(200, "heap profile: 1: 1 [1: 1] @ heap/2\n1: 4096 [1: 4096] @ 0x1\n#\t0x1\tmain.h+0x1\t/h.go:1\n\n# HeapAlloc = 5000\n")};
          }
          if (absl::StrContains(request, "debug=2")) {
            return LoopbackServer::Reply{LoopbackServer::Http(200, "goroutine 1 [select, 2 minutes]:\nmain.f()\n\t/f.go:1 +0x1\n\n")};
          }
          if (broken_) return LoopbackServer::Reply{LoopbackServer::Http(500, "no")};
          std::string page = "goroutine profile: total 17\n";
          for (int i = 1; i <= stacks_; ++i) absl::StrAppend(&page, i, " @ 0x1\n#\t0x1\tmain.f+0x1\t/f.go:", i, "\n\n");
          return LoopbackServer::Reply{LoopbackServer::Http(200, page)};
        }) {}

  void Watch(bool pprof, bool peak) {
    watch_ = std::make_unique<LeakWatch>(
        LeakWatch::Of{"orders", [this] { return std::vector<ProcessId>{puppet_.id()}; }, [this] { return puppet_.id(); }, &NetNamespace::Own,
                      pprof ? absl::StrCat("http://127.0.0.1:", server_.port(), "/debug/pprof") : "", peak},
        [this](const Record& record) {
          absl::MutexLock lock(&mutex_);
          snapshots_.push_back(record.snapshot());
        });
  }
  std::vector<ProcessSnapshot> Snapshots(size_t least) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&] {
      mutex_.AssertReaderHeld();
      return snapshots_.size() >= least;
    };
    mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(30));
    return snapshots_;
  }
  ServiceSample Sample() {
    ServiceSample sample;
    watch_->AddTo(sample);
    return sample;
  }

  Puppet puppet_;
  std::atomic<int> heaps_ = 0;
  std::atomic<bool> broken_ = false;
  int stacks_ = 2;
  LoopbackServer server_;
  absl::Mutex mutex_;
  std::vector<ProcessSnapshot> snapshots_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<LeakWatch> watch_;
};

TEST_F(LeakWatchTest, TellsGoroutinesAllTheTimeAndTheHeapWhileLoadsRest) {
  Watch(/*pprof=*/true, /*peak=*/false);
  EXPECT_TRUE(Eventually([&] { return Sample().goroutines() == 17; }));
  EXPECT_EQ(Sample().heap_bytes(), -1);
  EXPECT_EQ(heaps_, 0) << "it would collect garbage under load";
  watch_->SetResting(true);
  EXPECT_TRUE(Eventually([&] { return Sample().heap_bytes() == 5000; }));
  watch_->SetResting(false);
  EXPECT_TRUE(Eventually([&] { return Sample().heap_bytes() == -1; }));
  broken_ = true;
  EXPECT_TRUE(Eventually([&] { return Sample().goroutines() == -1; }));
  EXPECT_THAT(Snapshots(0), IsEmpty());
}

TEST_F(LeakWatchTest, ASnapshotIsProcessesAndProfilesTogether) {
  Watch(/*pprof=*/true, /*peak=*/false);
  watch_->Take(ProcessSnapshot::AT_REST, 3);
  const std::vector<ProcessSnapshot> snapshots = Snapshots(1);
  ASSERT_EQ(snapshots.size(), 1u);
  EXPECT_EQ(snapshots[0].moment(), ProcessSnapshot::AT_REST);
  EXPECT_EQ(snapshots[0].cycle(), 3);
  EXPECT_EQ(snapshots[0].sample().pid(), puppet_.pid());
  EXPECT_EQ(snapshots[0].sample().goroutines(), 17);
  EXPECT_EQ(snapshots[0].sample().heap_bytes(), 5000);
  EXPECT_THAT(snapshots[0].goroutines(0).frames(), ElementsAre("main.f /f.go:2"));
  EXPECT_EQ(snapshots[0].goroutines(0).state(), "");
  EXPECT_EQ(snapshots[0].heap(0).bytes(), 4096);
  EXPECT_EQ(snapshots[0].pprof_error(), "");
}

TEST_F(LeakWatchTest, OfALeakItTellsTheStates) {
  Watch(/*pprof=*/true, /*peak=*/false);
  watch_->Take(ProcessSnapshot::LEAKED, 0);
  EXPECT_EQ(Snapshots(1)[0].goroutines(0).state(), "select, 2 minutes");
  EXPECT_EQ(Snapshots(1)[0].sample().goroutines(), 17);
}

TEST_F(LeakWatchTest, WithoutProfilesItSaysWhyAndTellsTheRest) {
  broken_ = true;
  Watch(/*pprof=*/true, /*peak=*/false);
  watch_->Take(ProcessSnapshot::AT_REST, 0);
  EXPECT_THAT(Snapshots(1)[0].pprof_error(), HasSubstr("answered 500"));
  EXPECT_EQ(Snapshots(1)[0].sample().goroutines(), -1);
  EXPECT_EQ(Snapshots(1)[0].sample().processes(), 1);
  Watch(/*pprof=*/false, /*peak=*/false);
  watch_->Take(ProcessSnapshot::AT_REST, 0);
  EXPECT_EQ(Snapshots(2)[1].pprof_error(), "");
  EXPECT_EQ(Snapshots(2)[1].sample().goroutines(), -1);
}

TEST_F(LeakWatchTest, WhileAFaultActsItLooksForPeaks) {
  stacks_ = 100;
  Watch(/*pprof=*/true, /*peak=*/true);
  EXPECT_TRUE(Eventually([&] { return Sample().goroutines() == 17; }));
  EXPECT_THAT(Snapshots(0), IsEmpty());
  watch_->SetActing(true);
  const std::vector<ProcessSnapshot> snapshots = Snapshots(2);
  ASSERT_GE(snapshots.size(), 2u);
  EXPECT_EQ(snapshots[0].moment(), ProcessSnapshot::AT_PEAK);
  EXPECT_EQ(snapshots[0].goroutines_size(), 40) << "as they are many";
  EXPECT_GE(snapshots[1].at_ns() - snapshots[0].at_ns(), 1'400'000'000);
}

TEST_F(LeakWatchTest, AMetricsPageHasToDoWithoutPprof) {
  Watch(/*pprof=*/false, /*peak=*/false);
  MetricSample metric;
  const auto page_says = [&](const std::string& series, double value) {
    metric.set_series(series);
    metric.set_value(value);
    watch_->TakeMetric(metric);
    return Sample().goroutines();
  };
  EXPECT_EQ(page_says("up", 1), -1);
  EXPECT_EQ(page_says("go_goroutines", 12), 12);
  EXPECT_EQ(page_says("go_goroutines_total", 99), 12);
  EXPECT_EQ(page_says("up", 0), -1);
  EXPECT_EQ(page_says("up", 1), 12) << "it says what it said before";
  EXPECT_EQ(page_says("go_goroutines", 1e300), 1'000'000'000'000'000);
}

TEST(LeakWatch, OneThatHangsEndsAtOnceWhenStopped) {
  LoopbackServer silent([](absl::string_view, int) { return LoopbackServer::Reply{}; });
  LeakWatch watch({"orders", [] { return std::vector<ProcessId>(); }, [] { return std::nullopt; }, &NetNamespace::Own,
                   absl::StrCat("http://127.0.0.1:", silent.port(), "/debug/pprof")},
                  [](const Record&) {});
  EXPECT_TRUE(Eventually([&] { return silent.requests() > 0; }));
  std::thread taking([&] { watch.Take(ProcessSnapshot::AT_REST, 0); });
  EXPECT_TRUE(Eventually([&] { return silent.requests() > 1; }));
  const absl::Time begun = absl::Now();
  watch.Stop();
  taking.join();
  EXPECT_LT(absl::Now() - begun, absl::Seconds(2));
}

TEST(LeakWatch, IsForServicesThatANoLeakIsAbout) {
  Scenario scenario;
  NoLeak& leak = *scenario.add_assertions()->mutable_no_leak();
  leak.set_service("orders");
  EXPECT_TRUE(MustNotLeak(scenario, "orders"));
  EXPECT_FALSE(MustNotLeak(scenario, "recommend"));
  EXPECT_FALSE(HasPeak(scenario, "orders"));
  leak.mutable_peak();
  EXPECT_TRUE(HasPeak(scenario, "orders"));
  EXPECT_FALSE(HasPeak(scenario, "recommend"));
}

}  // namespace
}  // namespace squall
