#include "agent/metrics/metrics_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/load/loopback_server.h"
#include "agent/metrics/needed.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

using Values = std::vector<std::pair<std::string, double>>;

// Reads a page that the test serves.
class MetricsReaderTest : public ::testing::Test {
 protected:
  void Read(LoopbackServer::Script script) {
    server_ = std::make_unique<LoopbackServer>(std::move(script));
    ReadAt(server_->port());
  }
  void ReadAt(int port) {
    reader_ = std::make_unique<MetricsReader>(
        MetricsReader::Page{
            "orders", absl::StrCat("http://127.0.0.1:", port, "/metrics"), {"state", "opened"}},
        &NetNamespace::Own, [this](const Record& record) {
          absl::MutexLock lock(&mutex_);
          values_.emplace_back(record.metric().series(), record.metric().value());
        });
  }
  // What was told once so many pages were asked for.
  Values After(int64_t pages) {
    const absl::Time until = absl::Now() + absl::Seconds(10);
    while (server_->requests() < pages && absl::Now() < until) absl::SleepFor(absl::Milliseconds(2));
    return Told();
  }
  Values TellsAtLeast(size_t count) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&] {
      mutex_.AssertReaderHeld();
      return values_.size() >= count;
    };
    mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(10));
    return values_;
  }
  Values Told() {
    absl::MutexLock lock(&mutex_);
    return values_;
  }

  absl::Mutex mutex_;
  Values values_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<LoopbackServer> server_;
  std::unique_ptr<MetricsReader> reader_;
};

TEST_F(MetricsReaderTest, TellsTheValuesThatChangedOfTheMetricsAskedFor) {
  Read([](absl::string_view, int nth) {
    return LoopbackServer::Reply{
        LoopbackServer::Http(200, absl::StrCat("# TYPE state gauge\nstate{name=\"a\"} ", nth < 3 ? 0 : 1,
                                               "\nopened 0\nother 7\nstate_of 1\n"))};
  });
  EXPECT_THAT(After(6), ElementsAre(Pair("state{name=\"a\"}", 0), Pair("opened", 0), Pair("up", 1),
                                    Pair("state{name=\"a\"}", 1)));
}

TEST_F(MetricsReaderTest, SkipsMalformedLinesAndWhatIsNoNumber) {
  Read([](absl::string_view, int) {
    return LoopbackServer::Reply{
        LoopbackServer::Http(200, "state{ 1\nstate one\nstate{a=\"b\"} NaN\nopened 2")};
  });
  EXPECT_THAT(After(2), ElementsAre(Pair("opened", 2), Pair("up", 1)));
}

TEST_F(MetricsReaderTest, SaysWhenThePageCannotBeReadAndWhenItCanAgain) {
  // curl connects anew after an error: what it asks on each connection is its first.
  Read([pages = 0](absl::string_view, int) mutable {
    return LoopbackServer::Reply{LoopbackServer::Http(++pages == 1 ? 500 : 200, "state 1\n")};
  });
  EXPECT_THAT(TellsAtLeast(3), ElementsAre(Pair("up", 0), Pair("state", 1), Pair("up", 1)));
  reader_.reset();
  ReadAt(UnusedPort());
  EXPECT_THAT(TellsAtLeast(4).back(), Pair("up", 0));
}

TEST_F(MetricsReaderTest, ReadsNoPageOfMoreThanAMebibyte) {
  Read([pages = 0](absl::string_view, int) mutable {
    std::string page = "state 1\n";
    page.append(MetricsReader::kMostBytes - page.size() + (++pages == 1 ? 1 : 0), '#');
    return LoopbackServer::Reply{LoopbackServer::Http(200, page)};
  });
  EXPECT_THAT(TellsAtLeast(3), ElementsAre(Pair("up", 0), Pair("state", 1), Pair("up", 1)));
}

TEST_F(MetricsReaderTest, TellsNoMoreSeriesThanItsBound) {
  Read([](absl::string_view, int) {
    std::string page;
    for (int i = 0; i < 5000; ++i) absl::StrAppend(&page, "state{i=\"", i, "\"} 1\n");
    return LoopbackServer::Reply{LoopbackServer::Http(200, page)};
  });
  EXPECT_EQ(After(2).size(), MetricsReader::kMostSeries + 1) << "and up";
}

TEST_F(MetricsReaderTest, GivesUpOnAPageThatHangsAndEndsAtOnceWhenTold) {
  Read([](absl::string_view, int) { return LoopbackServer::Reply{}; });
  const absl::Time begun = absl::Now();
  EXPECT_THAT(TellsAtLeast(1), ElementsAre(Pair("up", 0)));
  EXPECT_GE(absl::Now() - begun, absl::Milliseconds(900));
  // In the middle of the next.
  const absl::Time ended = absl::Now();
  reader_.reset();
  EXPECT_LT(absl::Now() - ended, absl::Milliseconds(1500));
}

TEST(NeededMetrics, AreThoseOfTheServiceThatCallsOverTheEdge) {
  Scenario scenario;
  Edge& edge = *scenario.add_edges();
  edge.set_name("recommend");
  edge.set_from("orders");
  CircuitBreaker& breaker = *scenario.add_assertions()->mutable_circuit_breaker();
  breaker.set_edge("recommend");
  EXPECT_THAT(NeededMetrics(scenario, "orders"), IsEmpty());
  breaker.mutable_state()->set_metric("state");
  breaker.mutable_state()->set_opened("opened");
  EXPECT_THAT(NeededMetrics(scenario, "orders"), ElementsAre("opened", "state"));
  EXPECT_THAT(NeededMetrics(scenario, "recommend"), IsEmpty());
}

TEST(NeededMetrics, AreThoseThatAreBoundAndOfGosRuntimeWhereALeakIsLookedFor) {
  Scenario scenario;
  MetricBound& bound = *scenario.add_assertions()->mutable_metric();
  bound.set_service("orders");
  bound.set_metric("orders_total");
  EXPECT_THAT(NeededMetrics(scenario, "orders"), ElementsAre("orders_total"));
  EXPECT_THAT(NeededMetrics(scenario, "recommend"), IsEmpty());
  bound.set_monitor("prometheus");
  EXPECT_THAT(NeededMetrics(scenario, "orders"), IsEmpty());
  scenario.add_assertions()->mutable_no_leak()->set_service("orders");
  EXPECT_THAT(NeededMetrics(scenario, "orders"), ElementsAre("go_goroutines", "go_memstats_heap_inuse_bytes"));
}

}  // namespace
}  // namespace squall
