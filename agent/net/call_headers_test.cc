#include "agent/net/call_headers.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/load/trace.h"
#include "agent/net/conversation_harness.h"

namespace squall {
namespace {

TEST(ParseTraceparent, ReadsThatOfALoadsRequest) {
  for (const int64_t number : {int64_t{0}, int64_t{1}, int64_t{123456789}, int64_t{1} << 40, (int64_t{1} << 48) - 1}) {
    const auto trace = ParseTraceparent(Traceparent(0x4bf92f3577b34da6, number));
    ASSERT_TRUE(trace) << number;
    EXPECT_EQ(trace->prefix, 0x4bf92f3577b34da6u);
    EXPECT_EQ(trace->number, number);
  }
}

TEST(ParseTraceparent, ReadsWhatAServiceMakesOfIt) {
  // Another span, not sampled, and a version to come.
  for (const char* value : {"00-4bf92f3577b34da600000000000000ff-00f067aa0ba902b7-00", " 00-4bf92f3577b34da600000000000000ff-00f067aa0ba902b7-01\t",
                            "01-4bf92f3577b34da600000000000000ff-00f067aa0ba902b7-01", "cc-4bf92f3577b34da600000000000000ff-00f067aa0ba902b7-01-more"}) {
    const auto trace = ParseTraceparent(value);
    ASSERT_TRUE(trace) << value;
    EXPECT_EQ(trace->number, 255);
  }
}

TEST(ParseTraceparent, IgnoresWhatIsMalformedOrOfNoLoad) {
  const std::vector<std::string> values = {
      "",
      "-",
      "00",
      "00-4bf92f3577b34da600000000000000ff-00f067aa0ba902b7-0",      // one short
      "00-4bf92f3577b34da600000000000000ff-00f067aa0ba902b7-010",    // one long
      "00-4bf92f3577b34da600000000000000ff-00f067aa0ba902b7-01-x",   // version 00 ends there
      "ff-4bf92f3577b34da600000000000000ff-00f067aa0ba902b7-01",     // no version
      "0g-4bf92f3577b34da600000000000000ff-00f067aa0ba902b7-01",
      "00-4BF92F3577B34DA600000000000000FF-00F067AA0BA902B7-01",     // upper case
      "00-4bf92f3577b34da600000000000000f -00f067aa0ba902b7-01",
      "00_4bf92f3577b34da600000000000000ff_00f067aa0ba902b7_01",
      "00-4bf92f3577b34da600000000000000ff-0000000000000000-01",     // no span
      "00-00000000000000000000000000000000-00f067aa0ba902b7-01",     // no trace
      "00-000000000000000000000000000000ff-00f067aa0ba902b7-01",     // no prefix
      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",     // drawn at random
      "00-4bf92f3577b34da60001000000000000-00f067aa0ba902b7-01",     // 2^48
      std::string(55, '\0'),
      std::string(100'000, '0'),
  };
  for (const std::string& value : values) EXPECT_FALSE(ParseTraceparent(value)) << value.substr(0, 80);
}

TEST(ParseDeadline, ReadsMillisecondsAndDurationsRoundedUp) {
  const std::vector<std::pair<std::string, int64_t>> values = {
      {"250", 250}, {"0", 0}, {" 15000 ", 15000}, {"000250", 250}, {"999999999999999", 999999999999999},
      {"250ms", 250}, {"2s", 2000}, {"1m", 60'000}, {"1m30s", 90'000}, {"1.5s", 1500}, {"1h", 3'600'000},
      {"0s", 0}, {"1us", 1}, {"1500us", 2}, {"1ns", 1}, {"2562047h", 2562047 * int64_t{3'600'000}},
      {"250m", 250 * 60'000},  // minutes, as Go has them: milliseconds are gRPC's, and in its own header only
  };
  for (const auto& [text, ms] : values) EXPECT_EQ(ParseDeadline(text), ms) << text;
}

TEST(ParseDeadline, IgnoresAnythingElse) {
  for (const char* text : {"", " ", "soon", "250 ms", "-5", "-5ms", "2S", "100u", "9n", "5H", "1.5", "0x10", "1e3", "inf", "250ms,500ms",
                           "1000000000000000", "99999999999999999999", "99999999999999999999h"}) {
    EXPECT_FALSE(ParseDeadline(text)) << text;
  }
}

SeenCall Told(const std::string& deadline_header, bool grpc, const std::vector<std::pair<std::string, std::string>>& fields) {
  CallHeaders headers(deadline_header);
  for (const auto& [name, value] : fields) headers.Add(name, value);
  SeenCall call;
  headers.Fill(grpc, call);
  return call;
}

TEST(CallHeaders, OfSeveralDeadlinesTheSoonerCounts) {
  EXPECT_EQ(Told("x-wait", true, {{"x-wait", "300"}, {"grpc-timeout", "250m"}}).timeout_ms, 250);
  EXPECT_EQ(Told("x-wait", true, {{"grpc-timeout", "1S"}, {"x-wait", "300"}}).timeout_ms, 300);
  EXPECT_EQ(Told("x-wait", true, {{"grpc-timeout", "1S"}, {"x-wait", "soon"}}).timeout_ms, 1000);
  EXPECT_EQ(Told("x-wait", true, {{"grpc-timeout", "soon"}, {"x-wait", "300"}}).timeout_ms, 300);
}

TEST(CallHeaders, GrpcTimeoutIsForGrpcUnlessItIsTheDeadlineHeader) {
  EXPECT_FALSE(Told("", false, {{"grpc-timeout", "250m"}}).timeout_ms);
  EXPECT_EQ(Told("", true, {{"grpc-timeout", "250m"}}).timeout_ms, 250);
  EXPECT_EQ(Told("grpc-timeout", false, {{"grpc-timeout", "250m"}}).timeout_ms, 250);
  EXPECT_EQ(Told("grpc-timeout", false, {{"grpc-timeout", "2S"}}).timeout_ms, 2000);
  EXPECT_FALSE(Told("grpc-timeout", false, {{"grpc-timeout", "250ms"}}).timeout_ms) << "its units are gRPC's";
}

TEST(CallHeaders, OtherHeadersSayNothing) {
  const SeenCall call = Told("", false, {{"x-wait", "300"}, {"", "1"}, {"tracestate", "a=b"}});
  EXPECT_FALSE(call.timeout_ms);
  EXPECT_FALSE(call.trace);
}

constexpr char kTrace[] = "00-4bf92f3577b34da60000000000000007-00f067aa0ba902b7-01";

struct Edge {
  explicit Edge(const std::string& deadline_header)
      : conversation(true, 5, &faults, [this](const SeenCall& call) { calls.push_back(call); }, deadline_header) {}
  RequestFaults faults;
  std::vector<SeenCall> calls;
  Conversation conversation;
};

TEST(CallHeaders, AreReadOfHttp1InWhateverPiecesTheyCome) {
  const std::string request =
      absl::StrCat("POST /a HTTP/1.1\r\nHost: x\r\nTraceparent: ", kTrace, " \r\nX-Wait: 1.5s\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "2\r\nab\r\n0\r\nX-Wait: 9s\r\ntraceparent: none\r\n\r\n");
  for (const bool fault : {false, true}) {
    for (size_t at = 1; at < request.size(); ++at) {
      Edge edge("x-wait");
      HttpFault elsewhere;
      elsewhere.set_path("/b");
      elsewhere.set_percent(100);
      if (fault) edge.faults.Set(elsewhere, 7);
      edge.conversation.FromService(request.substr(0, at), 10);
      edge.conversation.FromService(request.substr(at), 11);
      // The next one has none.
      edge.conversation.FromService("GET /a HTTP/1.1\r\nHost: x\r\n\r\n", 12);
      EXPECT_EQ(edge.conversation.TakeToDependency().bytes, request + "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
      edge.conversation.OnClose(PEER_LEFT, 20);
      ASSERT_EQ(edge.calls.size(), 2u) << at;
      ASSERT_TRUE(edge.calls[0].trace) << at;
      EXPECT_EQ(edge.calls[0].trace->number, 7);
      EXPECT_EQ(edge.calls[0].timeout_ms, 1500) << "trailers are no headers";
      EXPECT_FALSE(edge.calls[1].trace);
      EXPECT_FALSE(edge.calls[1].timeout_ms);
    }
  }
}

TEST(CallHeaders, OfACallThatSquallAnswersAreReadToo) {
  Edge edge("x-wait");
  HttpFault all;
  all.set_status(503);
  all.set_percent(100);
  edge.faults.Set(all, 7);
  edge.conversation.FromService(absl::StrCat("GET /a HTTP/1.1\r\nx-wait: 250\r\ntraceparent: ", kTrace, "\r\n\r\n"), 10);
  const size_t size = edge.conversation.TakeToService().bytes.size();
  edge.conversation.Written(size, 11);
  ASSERT_EQ(edge.calls.size(), 1u);
  EXPECT_EQ(edge.calls[0].status, 503);
  EXPECT_EQ(edge.calls[0].timeout_ms, 250);
  EXPECT_EQ(edge.calls[0].trace->prefix, 0x4bf92f3577b34da6u);
}

}  // namespace
}  // namespace squall
