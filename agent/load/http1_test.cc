#include "agent/load/http1.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace squall {
namespace {

using Turn = Dialogue::Turn;

HttpRequests Requests(const std::string& method, HeaderList headers = {}) {
  HttpRequests requests;
  requests.authority = "shop";
  requests.kinds.push_back({method, "/", std::move(headers), ""});
  return requests;
}

struct AnswerCase {
  std::string name;
  std::vector<std::string> reads;  // "" is the end of the connection
  Turn turn;
  int status;
  std::string body;
  std::string method = "GET";
};

class Http1Answers : public testing::TestWithParam<AnswerCase> {};

// However the bytes come: in the pieces of the table, and one by one.
TEST_P(Http1Answers, End) {
  for (const bool one_by_one : {false, true}) {
    const Http1Requests requests(Requests(GetParam().method), 1, {true, 1000});
    Http1Dialogue dialogue(requests);
    Exchange exchange;
    dialogue.Begin(exchange);
    Turn turn = Turn::kMore;
    for (const std::string& read : GetParam().reads) {
      const size_t step = one_by_one ? 1 : read.size();
      for (size_t i = 0; i < read.size() && turn == Turn::kMore; i += step) turn = dialogue.Read(read.substr(i, step));
      if (read.empty() && turn == Turn::kMore) turn = dialogue.ReadEnd();
    }
    // What comes after the end is seen only with it.
    if (one_by_one && GetParam().name == "More") continue;
    EXPECT_EQ(static_cast<int>(turn), static_cast<int>(GetParam().turn)) << one_by_one;
    EXPECT_EQ(exchange.answer.status, GetParam().status) << one_by_one;
    EXPECT_EQ(exchange.answer.body, GetParam().body) << one_by_one;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, Http1Answers,
    testing::Values(
        AnswerCase{"Length", {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"}, Turn::kAnswered, 200, "hi"},
        AnswerCase{"Half", {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"}, Turn::kMore, 200, "hi"},
        AnswerCase{"HalfAndTheEnd", {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", ""}, Turn::kMore, 200, "hi"},
        AnswerCase{"HalfAHead", {"HTTP/1.1 200 OK\r\nContent-Le", ""}, Turn::kMore, 0, ""},
        AnswerCase{"Nothing", {""}, Turn::kMore, 0, ""},
        AnswerCase{"Chunks", {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n", "1\r\ni\r\n0\r\n\r\n"}, Turn::kAnswered, 200, "hi"},
        AnswerCase{"HalfTheChunks", {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n", ""}, Turn::kMore, 200, "h"},
        AnswerCase{"UntilTheEnd", {"HTTP/1.1 200 OK\r\n\r\nhi", ""}, Turn::kAnsweredLast, 200, "hi"},
        AnswerCase{"Closing", {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"}, Turn::kAnsweredLast, 200, "hi"},
        AnswerCase{"Old", {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"}, Turn::kAnsweredLast, 200, "hi"},
        AnswerCase{"OldThatStays", {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"}, Turn::kAnswered, 200, "hi"},
        AnswerCase{"More", {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1"}, Turn::kAnsweredLast, 200, "hi"},
        AnswerCase{"NoBody", {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"}, Turn::kAnswered, 304, ""},
        AnswerCase{"NoContent", {"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n"}, Turn::kAnswered, 204, ""},
        AnswerCase{"Head", {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"}, Turn::kAnswered, 200, "", "HEAD"},
        AnswerCase{"Interim", {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"}, Turn::kAnswered, 200, "hi"},
        AnswerCase{"OnlyInterim", {"HTTP/1.1 100 Continue\r\n\r\n"}, Turn::kMore, 0, ""},
        AnswerCase{"Another", {"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"}, Turn::kAnsweredLast, 101, ""},
        AnswerCase{"NoHttp", {"220 mail.example ESMTP\r\n"}, Turn::kBroken, 0, ""},
        AnswerCase{"TwoLengths", {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi"}, Turn::kBroken, 0, ""}),
    [](const testing::TestParamInfo<AnswerCase>& param) { return param.param.name; });

TEST(Http1Dialogue, KeepsHeadersOfTheLastAnswerAndTheRetryAfter) {
  const Http1Requests requests(Requests("GET"), 1, {true, 0});
  Http1Dialogue dialogue(requests);
  Exchange exchange;
  dialogue.Begin(exchange);
  dialogue.Read("HTTP/1.1 103 Hints\r\nRetry-After: 1\r\nA: b\r\n\r\nHTTP/1.1 429 No\r\nRETRY-after:  7 \r\nX-A: one\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(exchange.retry_after, "7");
  ASSERT_EQ(exchange.answer.headers.size(), 3u);
  EXPECT_EQ(exchange.answer.headers[1], (std::pair<std::string, std::string>("X-A", "one")));
}

TEST(Http1Dialogue, DoesNotUseAConnectionAgainThatItSaidItWouldClose) {
  const Http1Requests requests(Requests("GET", {{"Connection", "Close"}}), 1, {});
  Http1Dialogue dialogue(requests);
  Exchange exchange;
  dialogue.Begin(exchange);
  EXPECT_TRUE(dialogue.Read("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") == Turn::kAnsweredLast);
}

}  // namespace
}  // namespace squall
