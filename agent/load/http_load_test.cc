#include "agent/load/load_generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "agent/load/load_recorder.h"
#include "agent/load/loopback_server.h"
#include "agent/load/trace.h"
#include "base/clock.h"

namespace squall {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Then = LoopbackServer::Then;

Load MakeLoad(const std::string& url, double rate, absl::Duration patience = absl::Seconds(30)) {
  Load load;
  load.set_name("checkout");
  load.mutable_http()->set_url(url);
  load.mutable_http()->set_method("GET");
  load.set_rate(rate);
  load.mutable_give_up_after()->set_seconds(absl::ToInt64Seconds(patience));
  load.mutable_give_up_after()->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(patience - absl::Floor(patience, absl::Seconds(1)))));
  load.set_max_in_flight(4000);
  return load;
}

std::unique_ptr<LoadGenerator> MustStart(const Load& load, Recorder& recorder) {
  absl::StatusOr<std::unique_ptr<LoadGenerator>> started = LoadGenerator::Start(load, "run-1", 7, recorder.Sink());
  EXPECT_TRUE(started.ok()) << started.status();
  return *std::move(started);
}

// Sends until `rows` requests have ended and waits for the rest.
void Drive(const Load& load, Recorder& recorder, size_t rows) {
  const std::unique_ptr<LoadGenerator> http = MustStart(load, recorder);
  ASSERT_TRUE(recorder.WaitFor(rows));
  http->Stop(absl::InfiniteDuration());
}

LoopbackServer::Script Always(const std::string& bytes, Then then = Then::kKeepOpen) {
  return [=](absl::string_view, int) { return LoopbackServer::Reply{bytes, then}; };
}

TEST(HttpLoad, SendsEveryRequestOnceAndRecordsItsIntendedTime) {
  LoopbackServer server(Always(LoopbackServer::Http(200, "hi")));
  Recorder recorder;
  const std::unique_ptr<LoadGenerator> http = MustStart(MakeLoad(server.Url(), 400), recorder);
  ASSERT_TRUE(recorder.WaitFor(200));
  http->Stop(absl::InfiniteDuration());
  const std::vector<Row> rows = recorder.Rows();
  EXPECT_EQ(static_cast<int64_t>(rows.size()), server.requests());
  EXPECT_EQ(recorder.Intended(), server.requests());
  EXPECT_EQ(recorder.Sent(), server.requests());
  EXPECT_EQ(recorder.NotSent(), 0);
  EXPECT_EQ(recorder.Last().in_flight(), 0);
  for (size_t i = 0; i < rows.size(); ++i) {
    ASSERT_EQ(rows[i].number, static_cast<int64_t>(i));
    ASSERT_EQ(rows[i].intended_us, (http->StartedNs() + static_cast<int64_t>(i) * 2'500'000) / 1000);
    ASSERT_EQ(rows[i].status, 200);
    ASSERT_EQ(rows[i].outcome, OK);
    ASSERT_GE(rows[i].latency_us, rows[i].lag_us);
  }
}

TEST(HttpLoad, SendsMethodHeadersBodyAndIds) {
  for (const std::string method : {"GET", "HEAD", "POST", "PUT", "DELETE"}) {
    SCOPED_TRACE(method);
    absl::Mutex mutex;
    std::vector<std::string> seen;
    LoopbackServer server([&](absl::string_view request, int) {
      absl::MutexLock lock(&mutex);
      seen.emplace_back(request);
      return LoopbackServer::Reply{LoopbackServer::Http(200, method == "HEAD" ? "" : "fine")};
    });
    const bool with_body = method != "GET" && method != "HEAD";
    Load load = MakeLoad(server.Url(), 50);
    load.mutable_http()->set_method(method);
    if (with_body) load.mutable_http()->set_body("{\"sku\": 7}");
    (*load.mutable_http()->mutable_headers())["X-Shop"] = "one";
    (*load.mutable_http()->mutable_headers())["X-Empty"] = "";
    Recorder recorder;
    Drive(load, recorder, 3);
    EXPECT_THAT(recorder.Rows(), Each(Field(&Row::outcome, OK)));
    absl::MutexLock lock(&mutex);
    ASSERT_EQ(seen.size(), recorder.Rows().size());
    for (size_t i = 0; i < seen.size(); ++i) {
      EXPECT_THAT(seen[i], StartsWith(method + " /order HTTP/1.1\r\n"));
      EXPECT_THAT(seen[i], EndsWith(with_body ? "\r\n\r\n{\"sku\": 7}" : "\r\n\r\n"));
      EXPECT_THAT(seen[i], HasSubstr("\r\nX-Shop: one\r\n"));
      EXPECT_THAT(seen[i], HasSubstr("\r\nX-Empty:\r\n"));
      EXPECT_THAT(seen[i], HasSubstr("\r\nx-squall-run: run-1\r\n"));
      // Those that were sent at once, after the thread stood still, arrive in any order.
      EXPECT_THAT(seen, Contains(HasSubstr(absl::StrCat(
                            "\r\ntraceparent: ", Traceparent(recorder.Last().trace_prefix(), static_cast<int64_t>(i)), "\r\n"))));
      EXPECT_FALSE(absl::StrContains(absl::AsciiStrToLower(seen[i]), "content-type:"));
      EXPECT_FALSE(absl::StrContains(absl::AsciiStrToLower(seen[i]), "expect:"));
    }
  }
}

struct OutcomeCase {
  std::string name;
  LoopbackServer::Reply reply;
  Outcome outcome;
  int status;
};

class HttpLoadOutcomes : public testing::TestWithParam<OutcomeCase> {};

TEST_P(HttpLoadOutcomes, AreToldApart) {
  LoopbackServer server(Always(GetParam().reply.bytes, GetParam().reply.then));
  Load load = MakeLoad(server.Url(), 200);
  (*load.mutable_degraded_when()->mutable_headers())["x-fallback"] = "true";
  Recorder recorder;
  Drive(load, recorder, 20);
  EXPECT_THAT(recorder.Rows(),
              Each(AllOf(Field(&Row::outcome, GetParam().outcome), Field(&Row::status, GetParam().status))));
  EXPECT_EQ(server.requests(), recorder.Sent());
}

INSTANTIATE_TEST_SUITE_P(
    Table, HttpLoadOutcomes,
    testing::Values(
        OutcomeCase{"Ok", {LoopbackServer::Http(200, "x")}, OK, 200},
        OutcomeCase{"NoContent", {"HTTP/1.1 204 No Content\r\n\r\n"}, OK, 204},
        // Said beforehand: nobody can tell a request that meets the end of a kept connection from one that was reset.
        OutcomeCase{"OkAndClosed", {LoopbackServer::Http(200, "x", "Connection: close\r\n"), Then::kClose}, OK, 200},
        OutcomeCase{"OkUntilClosed", {"HTTP/1.1 200 OK\r\n\r\nall", Then::kClose}, OK, 200},
        OutcomeCase{"RedirectIsNotFollowed", {LoopbackServer::Http(302, "", "Location: /x\r\n")}, OK, 302},
        OutcomeCase{"Missing", {LoopbackServer::Http(404, "x")}, ERROR, 404},
        OutcomeCase{"Unavailable", {LoopbackServer::Http(503, "x")}, ERROR, 503},
        OutcomeCase{"Limited", {LoopbackServer::Http(429, "x")}, REJECTED, 429},
        OutcomeCase{"Fallback", {LoopbackServer::Http(200, "x", "X-Fallback: true\r\n")}, DEGRADED, 200},
        OutcomeCase{"FallbackInAnInterimAnswer",
                    {"HTTP/1.1 103 Early Hints\r\nX-Fallback: true\r\n\r\n" + LoopbackServer::Http(200, "x")},
                    OK,
                    200},
        OutcomeCase{"Closed", {"", Then::kClose}, RESET, 0},
        OutcomeCase{"Reset", {"", Then::kReset}, RESET, 0},
        OutcomeCase{"ClosedInTheMiddle",
                    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Then::kClose},
                    RESET,
                    200},
        OutcomeCase{"Garbage", {"220 mail.example ESMTP\r\n", Then::kClose}, ERROR, 0}),
    [](const testing::TestParamInfo<OutcomeCase>& param) { return param.param.name; });

TEST(HttpLoad, NeverSendsARequestTwiceWhenAKeptConnectionDies) {
  LoopbackServer server([](absl::string_view, int nth) {
    return nth == 1 ? LoopbackServer::Reply{LoopbackServer::Http(200, "x")}
                    : LoopbackServer::Reply{"", LoopbackServer::Then::kClose};
  });
  Recorder recorder;
  Drive(MakeLoad(server.Url(), 100), recorder, 40);
  EXPECT_EQ(server.requests(), recorder.Sent());
  EXPECT_GT(recorder.Outcomes()[RESET], 0);
  EXPECT_GT(recorder.Outcomes()[OK], 0);
  EXPECT_EQ(recorder.Outcomes()[RESET] + recorder.Outcomes()[OK], recorder.Sent());
  // What dies is told from what is new.
  for (const Row& row : recorder.Rows()) EXPECT_EQ(row.reused, row.outcome == RESET) << row;
}

TEST(HttpLoad, DoesNotUseAConnectionThatWasClosedWhileItWasIdle) {
  LoopbackServer server(Always(LoopbackServer::Http(200, "x"), Then::kClose));
  Recorder recorder;
  Drive(MakeLoad(server.Url(), 50), recorder, 40);
  // Only one that crosses with the close can fail.
  EXPECT_GE(recorder.Outcomes()[OK], 35);
}

TEST(HttpLoad, MatchesBodiesAndReadsLargeOnesToTheirEnd) {
  const std::string large(1 << 20, 'x');
  LoopbackServer server([&](absl::string_view request, int) {
    if (absl::StrContains(request, "/early"))
      return LoopbackServer::Reply{LoopbackServer::Http(200, "fallback" + large)};
    return LoopbackServer::Reply{LoopbackServer::Http(200, std::string(70'000, 'x') + "fallback")};
  });
  for (const bool early : {true, false}) {
    Load load = MakeLoad(absl::StrCat("http://127.0.0.1:", server.port(), early ? "/early" : "/late"), 20);
    load.mutable_degraded_when()->set_body("fallback");
    Recorder recorder;
    Drive(load, recorder, 3);
    EXPECT_THAT(recorder.Rows(), Each(Field(&Row::outcome, early ? DEGRADED : OK)));
  }
}

TEST(HttpLoad, DrawsSeveralRequestsByTheirWeights) {
  LoopbackServer server([](absl::string_view request, int) {
    return LoopbackServer::Reply{LoopbackServer::Http(absl::StartsWith(request, "PUT /stock?n=1 ") ? 204 : 200, "")};
  });
  Load load = MakeLoad(server.Url(), 500);
  load.mutable_http()->add_requests()->set_weight(3);
  WeightedHttp& other = *load.mutable_http()->add_requests();
  other.set_method("PUT");
  other.set_path("/stock?n=1");
  Recorder recorder, again;
  Drive(load, recorder, 300);
  Drive(load, again, 300);
  int puts = 0;
  const std::vector<Row> rows = recorder.Rows(), same = again.Rows();
  for (size_t i = 0; i < 300; ++i) {
    EXPECT_EQ(rows[i].status, rows[i].kind == 1 ? 204 : 200) << rows[i];
    EXPECT_EQ(rows[i].kind, same[i].kind);  // as its seed is
    puts += rows[i].kind == 1;
  }
  EXPECT_NEAR(puts, 75, 38);
}

TEST(HttpLoad, HoldsAnEmptyAnswerForAnErrorWhereOkWhenWantsMore) {
  LoopbackServer server([](absl::string_view, int nth) {
    return LoopbackServer::Reply{LoopbackServer::Http(200, nth % 2 == 0 ? "" : "{\"total\": 7}")};
  });
  Load load = MakeLoad(server.Url(), 200);
  load.mutable_ok_when()->set_body("\"total\"");
  Recorder recorder;
  Drive(load, recorder, 40);
  EXPECT_GT(recorder.Outcomes()[OK], 5);
  EXPECT_GT(recorder.Outcomes()[ERROR], 5);
  EXPECT_EQ(recorder.Outcomes()[OK] + recorder.Outcomes()[ERROR], recorder.Sent());
}

TEST(HttpLoad, SaysWhyTheFirstRequestGotNoAnswerOnce) {
  Recorder recorder;
  Drive(MakeLoad(absl::StrCat("http://127.0.0.1:", UnusedPort(), "/"), 200), recorder, 100);
  EXPECT_THAT(recorder.Errors(), ElementsAre(HasSubstr("Connection refused")));
}

TEST(HttpLoad, GoesToNoProxyOfTheEnvironment) {
  LoopbackServer server(Always(LoopbackServer::Http(200, "x")));
  const std::string nobody = absl::StrCat("http://127.0.0.1:", UnusedPort());
  setenv("http_proxy", nobody.c_str(), 1);
  setenv("all_proxy", nobody.c_str(), 1);
  Recorder recorder;
  Drive(MakeLoad(server.Url(), 100), recorder, 5);
  unsetenv("http_proxy");
  unsetenv("all_proxy");
  EXPECT_THAT(recorder.Rows(), Each(Field(&Row::outcome, OK)));
}

TEST(HttpLoad, SpeaksIPv6) {
  LoopbackServer server(Always(LoopbackServer::Http(200, "x")), /*ipv6=*/true);
  Recorder recorder;
  Drive(MakeLoad(server.Url(), 100), recorder, 5);
  EXPECT_THAT(recorder.Rows(), Each(Field(&Row::outcome, OK)));
}

TEST(HttpLoad, KeepsItsPaceWhenTheTargetRefuses) {
  Recorder recorder;
  Drive(MakeLoad(absl::StrCat("http://127.0.0.1:", UnusedPort(), "/"), 1000), recorder, 1000);
  EXPECT_THAT(recorder.Rows(), Each(AllOf(Field(&Row::outcome, REFUSED), Field(&Row::status, 0))));
  EXPECT_EQ(recorder.NotSent(), 0);
}

TEST(HttpLoad, KeepsItsPaceWhenTheTargetSaysNothingAndGivesUpAfterThePatience) {
  LoopbackServer server(Always(""));
  Recorder recorder;
  Drive(MakeLoad(server.Url(), 1000, absl::Milliseconds(400)), recorder, 1000);
  const std::vector<Row> rows = recorder.Rows();
  EXPECT_THAT(rows, Each(Field(&Row::outcome, TIMED_OUT)));
  // The patience counts from the actual send.
  for (const Row& row : rows) ASSERT_GE(row.latency_us - row.lag_us, 400'000 - 1000);
  EXPECT_EQ(recorder.NotSent(), 0);
  // Pace: had a silent target held sends up, request n would have been sent with a lag that is a multiple of
  // the patience.
  std::vector<int64_t> lags;
  for (const Row& row : rows) lags.push_back(row.lag_us);
  std::nth_element(lags.begin(), lags.begin() + lags.size() / 2, lags.end());
  EXPECT_LT(lags[lags.size() / 2], 200'000);
}

TEST(HttpLoad, CountsWhatIsBeyondMaxInFlightAsNotSent) {
  LoopbackServer server(Always(""));
  Load load = MakeLoad(server.Url(), 500);
  load.set_max_in_flight(10);
  Recorder recorder;
  const std::unique_ptr<LoadGenerator> http = MustStart(load, recorder);
  ASSERT_TRUE(recorder.WaitForIntended(100));
  EXPECT_EQ(recorder.Last().in_flight(), 10);
  http->Stop(absl::ZeroDuration());
  EXPECT_EQ(recorder.Sent(), 10);
  EXPECT_EQ(recorder.NotSent(), recorder.Intended() - 10);
  EXPECT_EQ(recorder.Outcomes(), (std::map<Outcome, int>{{ABANDONED, 10}}));
  EXPECT_EQ(recorder.Rows().back().number, 9);
}

TEST(HttpLoad, StopWaitsForAnswersWithinThePatience) {
  // Answers come a second after the request that they belong to, all of them after the stop.
  absl::Mutex mutex;
  bool stopping = false;
  LoopbackServer server([&](absl::string_view, int) {
    absl::MutexLock lock(&mutex);
    mutex.AwaitWithTimeout(absl::Condition(&stopping), absl::Minutes(1));
    return LoopbackServer::Reply{LoopbackServer::Http(200, "late")};
  });
  Recorder recorder;
  const std::unique_ptr<LoadGenerator> http = MustStart(MakeLoad(server.Url(), 200), recorder);
  ASSERT_TRUE(recorder.WaitForIntended(20));
  EXPECT_THAT(recorder.Rows(), SizeIs(0));
  std::thread stop([&] { http->Stop(absl::Minutes(1)); });
  {
    absl::MutexLock lock(&mutex);
    stopping = true;
  }
  stop.join();
  EXPECT_EQ(static_cast<int64_t>(recorder.Rows().size()), recorder.Sent());
  EXPECT_THAT(recorder.Rows(), Each(Field(&Row::outcome, OK)));
  http->Stop(absl::ZeroDuration());
}

TEST(HttpLoad, NothingReachesTheSinkAfterStop) {
  LoopbackServer server(Always(LoopbackServer::Http(200, "x")));
  std::atomic<bool> stopped{false};
  std::atomic<int> late{0};
  auto http =
      LoadGenerator::Start(MakeLoad(server.Url(), 1000), "run-1", 7, [&](Record) { late += stopped ? 1 : 0; });
  ASSERT_TRUE(http.ok());
  (*http)->StartSteps();
  (*http)->Stop(absl::InfiniteDuration());
  stopped = true;
  (*http)->Stop(absl::InfiniteDuration());
  (*http)->StartSteps();
  http->reset();
  EXPECT_EQ(late, 0);
}

TEST(HttpLoad, StepsBeginWhenTheyAreToldTo) {
  LoopbackServer server(Always(LoopbackServer::Http(200, "x")));
  Load load = MakeLoad(server.Url(), 0);
  for (const double rate : {100.0, 1000.0, 0.0}) {
    Step* step = load.add_steps();
    step->set_rate(rate);
    step->mutable_for_()->set_nanos(200'000'000);
  }
  Recorder recorder;
  const std::unique_ptr<LoadGenerator> http = MustStart(load, recorder);
  ASSERT_TRUE(recorder.WaitFor(60));  // three times the first step, at its rate still
  http->StartSteps();
  const size_t before = recorder.Rows().size();
  // Another 20 at 100/s, then 200 at 1000/s, then none.
  ASSERT_TRUE(recorder.WaitFor(before + 219));
  http->Stop(absl::InfiniteDuration());
  const std::vector<Row> rows = recorder.Rows();
  std::map<int64_t, int> gaps;
  for (size_t i = 1; i < rows.size(); ++i)
    ++gaps[(rows[i].intended_us - rows[i - 1].intended_us + 500) / 1000];
  EXPECT_GE(gaps[10], 60);
  EXPECT_EQ(gaps[1], 199);
}

TEST(HttpLoad, SendsRejectedRequestsAgainWhileItRestsOneAtATime) {
  std::atomic<bool> rejecting{false};
  LoopbackServer server([&](absl::string_view, int) {
    return LoopbackServer::Reply{rejecting ? LoopbackServer::Http(429, "no", "Retry-After: 0\r\n")
                                           : LoopbackServer::Http(200, "x")};
  });
  Load load = MakeLoad(server.Url(), 0);
  for (const auto& [rate, ms] : {std::pair(100.0, 100), std::pair(1000.0, 30), std::pair(0.0, 600), std::pair(100.0, 100)}) {
    Step* step = load.add_steps();
    step->set_rate(rate);
    step->mutable_for_()->set_nanos(ms * 1'000'000);
  }
  Recorder recorder;
  const std::unique_ptr<LoadGenerator> http = MustStart(load, recorder);
  ASSERT_TRUE(recorder.WaitFor(5));
  rejecting = true;
  // 10 ms apart, and none in the last 450 ms of the quiet time.
  http->StartSteps(Retries::Rules{10'000'000, 450'000'000});
  const auto resumed = [&] {
    int64_t offered_us = 0, again_us = INT64_MAX;
    for (const Row& row : recorder.Rows()) (row.retried ? again_us : offered_us) = row.intended_us;
    return offered_us > again_us;
  };
  for (int i = 0; i < 2000 && !resumed(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  http->Stop(absl::InfiniteDuration());
  std::vector<Row> again;
  int64_t rejected = 0, quiet_us = 0, resumed_us = 0, before_us = 0;
  for (const Row& row : recorder.Rows()) {
    if (row.retried) {
      again.push_back(row);
      continue;
    }
    EXPECT_EQ(row.retry_after_ms, row.status == 429 ? 2u : 0u);
    rejected += row.status == 429;
    if (before_us > 0 && row.intended_us - before_us > 500'000) {
      quiet_us = before_us;
      resumed_us = row.intended_us;
    }
    before_us = row.intended_us;
  }
  EXPECT_GT(rejected, 30);
  ASSERT_GT(again.size(), 1u);
  EXPECT_LE(again.size(), Retries::kKept);
  ASSERT_GT(resumed_us, 0);
  for (size_t i = 0; i < again.size(); ++i) {
    EXPECT_GE(again[i].number, int64_t{1} << 40);
    EXPECT_GT(again[i].intended_us, quiet_us);
    EXPECT_LE(again[i].intended_us, resumed_us - 440'000);
    EXPECT_GE(again[i].intended_us - (i == 0 ? 0 : again[i - 1].intended_us), 10'000);
  }
}

TEST(HttpLoad, OffersTheShareThatItIsSetTo) {
  LoopbackServer server(Always(LoopbackServer::Http(200, "x")));
  Recorder recorder;
  const std::unique_ptr<LoadGenerator> http = MustStart(MakeLoad(server.Url(), 1000), recorder);
  ASSERT_TRUE(recorder.WaitFor(100));
  ASSERT_TRUE(http->SetShare(0).ok());
  // A surge multiplies what is left: nothing.
  const int surge = http->StartSurge(10);
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  const SurgeRates rates = http->SeenSurge(surge);
  EXPECT_EQ(rates.base, 0);
  EXPECT_EQ(rates.requested, 0);
  http->EndSurge(surge);
  ASSERT_TRUE(http->SetShare(0.5).ok());
  ASSERT_TRUE(recorder.WaitFor(recorder.Rows().size() + 200));
  ASSERT_TRUE(http->SetShare(1).ok());
  const int64_t restored_us = BootNanos() / 1000;
  for (int i = 0; i < 2000 && recorder.Rows().back().intended_us < restored_us + 100'000; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  http->Stop(absl::InfiniteDuration());

  const std::vector<LoadShare> shares = recorder.Shares();
  ASSERT_THAT(shares, SizeIs(3));
  EXPECT_EQ(shares[0].load(), "checkout");
  EXPECT_EQ(shares[0].share(), 0);
  EXPECT_EQ(shares[1].share(), 0.5);
  EXPECT_EQ(shares[2].share(), 1);
  int64_t before_us = 0;
  int at_half = 0, whole = 0;
  for (const Row& row : recorder.Rows()) {
    EXPECT_FALSE(row.intended_us * 1000 > shares[0].at_ns() && row.intended_us * 1000 < shares[1].at_ns() - 1000) << row.number;
    const int64_t gap_us = row.intended_us - std::exchange(before_us, row.intended_us);
    if ((row.intended_us - gap_us) * 1000 > shares[1].at_ns() && row.intended_us * 1000 < shares[2].at_ns()) {
      EXPECT_NEAR(static_cast<double>(gap_us), 2000, 2);
      ++at_half;
    }
    if ((row.intended_us - gap_us) * 1000 > shares[2].at_ns()) {
      EXPECT_NEAR(static_cast<double>(gap_us), 1000, 2);
      ++whole;
    }
  }
  EXPECT_GE(at_half, 190);
  EXPECT_GE(whole, 90);
}

TEST(HttpLoad, RefusesWhatIsNoShare) {
  LoopbackServer server(Always(LoopbackServer::Http(200, "x")));
  Recorder recorder;
  const std::unique_ptr<LoadGenerator> http = MustStart(MakeLoad(server.Url(), 10), recorder);
  for (const double share : {-0.1, 1.1, std::nan("")}) {
    EXPECT_EQ(http->SetShare(share).code(), absl::StatusCode::kInvalidArgument) << share;
  }
  http->Stop(absl::ZeroDuration());
  EXPECT_THAT(recorder.Shares(), SizeIs(0));
}

TEST(HttpLoad, SendsNothingAgainWhileItsShareIsZero) {
  LoopbackServer server(Always(LoopbackServer::Http(429, "no", "Retry-After: 0\r\n")));
  Load load = MakeLoad(server.Url(), 0);
  for (const double rate : {200.0, 0.0}) {
    Step* step = load.add_steps();
    step->set_rate(rate);
    step->mutable_for_()->set_seconds(rate > 0 ? 0 : 60);
    step->mutable_for_()->set_nanos(rate > 0 ? 100'000'000 : 0);
  }
  Recorder recorder;
  const std::unique_ptr<LoadGenerator> http = MustStart(load, recorder);
  http->StartSteps(Retries::Rules{10'000'000, 0});
  const auto again = [&] {
    const std::vector<Row> rows = recorder.Rows();
    return std::count_if(rows.begin(), rows.end(), [](const Row& row) { return row.retried; });
  };
  for (int i = 0; i < 2000 && again() == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ASSERT_GT(again(), 0);
  ASSERT_TRUE(http->SetShare(0).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  http->Stop(absl::InfiniteDuration());
  const int64_t rests_us = recorder.Shares().at(0).at_ns() / 1000;
  for (const Row& row : recorder.Rows()) EXPECT_LE(row.intended_us, rests_us + 5'000);
}

TEST(HttpLoad, SendsOverdueRequestsAtOnceWithTheirIntendedTime) {
  // The sink runs on the load's thread, so a sink that blocks is a thread that stands still.
  LoopbackServer server(Always(LoopbackServer::Http(200, "x")));
  Recorder recorder;
  const LoadGenerator::Sink record = recorder.Sink();
  absl::Mutex mutex;
  bool held = false, released = false;
  int64_t held_us = 0;
  auto http = LoadGenerator::Start(MakeLoad(server.Url(), 1000), "run-1", 7, [&](Record r) {
    record(std::move(r));
    absl::MutexLock lock(&mutex);
    if (!held) held_us = BootNanos() / 1000;
    held = true;
    mutex.AwaitWithTimeout(absl::Condition(&released), absl::Minutes(1));
  });
  ASSERT_TRUE(http.ok());
  int64_t at_release_us = 0;
  {
    absl::MutexLock lock(&mutex);
    ASSERT_TRUE(mutex.AwaitWithTimeout(absl::Condition(&held), absl::Minutes(1)));
    bool never = false;
    mutex.AwaitWithTimeout(absl::Condition(&never), absl::Milliseconds(300));  // the stand-still itself
    at_release_us = BootNanos() / 1000;
    released = true;
  }
  ASSERT_TRUE(recorder.WaitFor(700));
  (*http)->Stop(absl::InfiniteDuration());
  const std::vector<Row> rows = recorder.Rows();
  int overdue = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    ASSERT_EQ(rows[i].intended_us, (*http)->StartedNs() / 1000 + static_cast<int64_t>(i) * 1000);
    const int64_t sent_us = rows[i].intended_us + rows[i].lag_us;
    // What a busy machine made late before is not of the stand-still.
    if (rows[i].lag_us < 10'000 || sent_us < held_us) continue;
    EXPECT_GE(sent_us, at_release_us);
    ++overdue;
  }
  EXPECT_GE(overdue, 250);
  EXPECT_EQ(recorder.NotSent(), 0);
}

TEST(HttpLoad, RefusesToStartWhatCannotBeSent) {
  Recorder recorder;
  Load load = MakeLoad("ftp://127.0.0.1/", 1);
  EXPECT_EQ(LoadGenerator::Start(load, "run-1", 7, recorder.Sink()).status().code(),
            absl::StatusCode::kInvalidArgument);
  load = MakeLoad("http://127.0.0.1:1/", 0);
  EXPECT_EQ(LoadGenerator::Start(load, "run-1", 7, recorder.Sink()).status().code(),
            absl::StatusCode::kInvalidArgument);
  load = MakeLoad("http://127.0.0.1:1/", 1);
  load.clear_give_up_after();
  EXPECT_EQ(LoadGenerator::Start(load, "run-1", 7, recorder.Sink()).status().code(),
            absl::StatusCode::kInvalidArgument);
  load = MakeLoad("http://127.0.0.1:1/", 1);
  load.set_max_in_flight(0);
  EXPECT_EQ(LoadGenerator::Start(load, "run-1", 7, recorder.Sink()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace squall
