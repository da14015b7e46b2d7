#include "agent/net/http_tap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace squall {
namespace {

struct Listening {
  explicit Listening(bool parse = true)
      : tap(parse, /*opened_ns=*/5, [this](const SeenCall& call) { calls.push_back(call); }) {}
  std::vector<SeenCall> calls;
  HttpTap tap;
};

constexpr char kGet[] = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr char kAnswer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

TEST(HttpTap, CountsOneCallFromTheFirstByteOfTheRequestToTheLastOfTheAnswer) {
  Listening on;
  on.tap.OnRequestBytes("GET /a HT", 10);
  on.tap.OnRequestBytes("TP/1.1\r\nHost: x\r\n\r\n", 20);
  on.tap.OnResponseBytes("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nn", 30);
  EXPECT_TRUE(on.calls.empty());
  on.tap.OnResponseBytes("o", 40);
  ASSERT_EQ(on.calls.size(), 1u);
  EXPECT_EQ(on.calls[0].start_ns, 10);
  EXPECT_EQ(on.calls[0].end_ns, 40);
  EXPECT_EQ(on.calls[0].status, 503);
  EXPECT_EQ(on.calls[0].result, FAILED);
}

TEST(HttpTap, TellsPipelinedCallsApart) {
  Listening on;
  on.tap.OnRequestBytes(std::string(kGet) + kGet + kGet, 10);
  EXPECT_EQ(on.tap.OpenCalls(), 3);
  on.tap.OnResponseBytes(std::string(kAnswer) + kAnswer, 20);
  EXPECT_EQ(on.calls.size(), 2u);
  on.tap.OnClose(PEER_LEFT, 30);
  ASSERT_EQ(on.calls.size(), 3u);
  EXPECT_EQ(on.calls[2].result, PEER_LEFT);
}

TEST(HttpTap, AnswerToHeadHasNoBody) {
  Listening on;
  on.tap.OnRequestBytes("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n", 10);
  on.tap.OnResponseBytes("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", 20);
  ASSERT_EQ(on.calls.size(), 1u);
  on.tap.OnRequestBytes(kGet, 30);
  on.tap.OnResponseBytes(kAnswer, 40);
  EXPECT_EQ(on.calls.size(), 2u);
}

TEST(HttpTap, InterimAnswersAreNoAnswer) {
  Listening on;
  on.tap.OnRequestBytes(kGet, 10);
  on.tap.OnResponseBytes("HTTP/1.1 100 Continue\r\n\r\n", 20);
  EXPECT_TRUE(on.calls.empty());
  on.tap.OnResponseBytes(kAnswer, 30);
  ASSERT_EQ(on.calls.size(), 1u);
  EXPECT_EQ(on.calls[0].status, 200);
}

TEST(HttpTap, AnswerWithoutLengthEndsWithTheConnection) {
  Listening on;
  on.tap.OnRequestBytes(kGet, 10);
  on.tap.OnResponseBytes("HTTP/1.0 200 OK\r\n\r\nsome", 20);
  on.tap.OnClose(PEER_LEFT, 30);
  ASSERT_EQ(on.calls.size(), 1u);
  EXPECT_EQ(on.calls[0].result, ANSWERED);
}

TEST(HttpTap, BytesThatAreNoHttpAreOneConnection) {
  Listening on;
  on.tap.OnRequestBytes("*1\r\n$4\r\nPING\r\n", 10);
  on.tap.OnResponseBytes("+PONG\r\n", 20);
  on.tap.OnRequestBytes(kGet, 30);
  EXPECT_FALSE(on.tap.Idle());
  on.tap.OnClose(CALLER_LEFT, 40);
  ASSERT_EQ(on.calls.size(), 1u);
  EXPECT_EQ(on.calls[0].result, CONNECTION);
  EXPECT_EQ(on.calls[0].start_ns, 5);
}

TEST(HttpTap, WithoutParsingEveryConnectionIsOneCall) {
  Listening on(/*parse=*/false);
  on.tap.OnRequestBytes(kGet, 10);
  on.tap.OnResponseBytes(kAnswer, 20);
  on.tap.OnClose(CALLER_LEFT, 30);
  ASSERT_EQ(on.calls.size(), 1u);
  EXPECT_EQ(on.calls[0].result, CONNECTION);
}

TEST(HttpTap, IdleConnectionIsNoCall) {
  Listening on;
  on.tap.OnRequestBytes(kGet, 10);
  EXPECT_FALSE(on.tap.Idle());
  on.tap.OnResponseBytes(kAnswer, 20);
  EXPECT_TRUE(on.tap.Idle());
  on.tap.OnClose(CALLER_LEFT, 30);
  EXPECT_EQ(on.calls.size(), 1u);
}

TEST(HttpTap, RefusedConnectionIsOneRefusedCall) {
  Listening on;
  on.tap.OnClose(CONNECT_REFUSED, 30);
  ASSERT_EQ(on.calls.size(), 1u);
  EXPECT_EQ(on.calls[0].result, CONNECT_REFUSED);
}

TEST(HttpTap, EndlessPipelineStopsBeingCountedInsteadOfGrowing) {
  Listening on;
  for (int i = 0; i < 2 * HttpTap::kMaxOpenCalls; ++i) on.tap.OnRequestBytes(kGet, i);
  EXPECT_EQ(on.tap.OpenCalls(), 0);
  EXPECT_FALSE(on.tap.Idle());
}

}  // namespace
}  // namespace squall
