#include "agent/watch/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/load/loopback_server.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

class HealthWatchTest : public ::testing::Test {
 protected:
  void Watch(const std::string& url) {
    watch_ = std::make_unique<HealthWatch>("orders", url, &NetNamespace::Own, [this](const Record& record) {
      absl::MutexLock lock(&mutex_);
      samples_.push_back(record.health());
    });
  }
  void Watch(LoopbackServer::Script script) {
    server_ = std::make_unique<LoopbackServer>(std::move(script));
    Watch(server_->Url());
  }
  std::vector<HealthSample> First(size_t count) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&] {
      mutex_.AssertReaderHeld();
      return samples_.size() >= count;
    };
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(20)));
    return samples_;
  }

  absl::Mutex mutex_;
  std::vector<HealthSample> samples_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<LoopbackServer> server_;
  std::unique_ptr<HealthWatch> watch_;
};

TEST_F(HealthWatchTest, TellsEachAnswerAndBodiesThatChanged) {
  Watch([](absl::string_view, int nth) {
    return LoopbackServer::Reply{LoopbackServer::Http(nth < 3 ? 200 : 503, nth < 3 ? "ok" : "recommend is down")};
  });
  const std::vector<HealthSample> samples = First(4);
  EXPECT_EQ(samples[0].service(), "orders");
  EXPECT_EQ(samples[0].status(), 200);
  EXPECT_TRUE(samples[0].body_changed());
  EXPECT_EQ(samples[0].body(), "ok");
  EXPECT_FALSE(samples[1].body_changed());
  EXPECT_EQ(samples[1].body(), "");
  EXPECT_EQ(samples[2].status(), 503);
  EXPECT_EQ(samples[2].body(), "recommend is down");
  EXPECT_FALSE(samples[3].body_changed());
  EXPECT_GE(samples[1].at_ns() - samples[0].at_ns(), 240'000'000);
  EXPECT_GT(samples[0].took_ns(), 0);
}

TEST_F(HealthWatchTest, NoAnswerHasNoStatus) {
  Watch(absl::StrCat("http://127.0.0.1:", UnusedPort(), "/healthz"));
  EXPECT_EQ(First(2)[1].status(), 0);
}

TEST_F(HealthWatchTest, OneThatHangsIsGivenUpAfterASecondAndEndsAtOnceWhenTold) {
  Watch([](absl::string_view, int) { return LoopbackServer::Reply{}; });
  const HealthSample first = First(1)[0];
  EXPECT_EQ(first.status(), 0);
  EXPECT_GE(first.took_ns(), 900'000'000);
  while (server_->requests() < 2) absl::SleepFor(absl::Milliseconds(1));
  const absl::Time ended = absl::Now();
  watch_.reset();
  EXPECT_LT(absl::Now() - ended, absl::Milliseconds(700));
}

TEST_F(HealthWatchTest, OfAHugeBodyTheBeginningCountsAndBrokenTextIsMadeValid) {
  Watch([](absl::string_view, int) { return LoopbackServer::Reply{LoopbackServer::Http(503, "down \xFF" + std::string(10 << 20, 'x'))}; });
  const std::vector<HealthSample> samples = First(2);
  EXPECT_EQ(samples[0].status(), 503);
  EXPECT_EQ(samples[0].body().size(), 1000u);
  EXPECT_THAT(samples[0].body(), HasSubstr("down \uFFFDxxx"));
  EXPECT_FALSE(samples[1].body_changed());
}

TEST_F(HealthWatchTest, ABodyOnItsBoundIsWholeAndSoIsOneOfUmlauts) {
  Watch([](absl::string_view, int nth) {
    std::string body(nth == 1 ? 998 : 999, 'x');
    return LoopbackServer::Reply{LoopbackServer::Http(200, body + "ö")};
  });
  const std::vector<HealthSample> samples = First(2);
  EXPECT_EQ(samples[0].body().size(), 1000u);
  EXPECT_EQ(samples[1].body().size(), 999u) << "half of a character is none";
}

}  // namespace
}  // namespace squall
