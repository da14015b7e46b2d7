// Against servers that answer as they should not.
#include "agent/net/http_get.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/load/loopback_server.h"

namespace squall {
namespace {

using Reply = LoopbackServer::Reply;
constexpr size_t kMost = 1000;

absl::StatusOr<HttpGetter::Answer> GetFrom(const LoopbackServer& server, HttpGetter::Bounds bounds) {
  return HttpGetter(&NetNamespace::Own, std::move(bounds)).Get(server.Url());
}

HttpGetter::Bounds Bounds(bool cut = false) {
  return {.timeout = absl::Milliseconds(300), .most_bytes = kMost, .cut = cut};
}

TEST(HttpGetter, GivesStatusAndBodyWhateverTheStatusIs) {
  LoopbackServer server([](absl::string_view, int) { return Reply{LoopbackServer::Http(503, "recommend is down")}; });
  const auto answer = GetFrom(server, Bounds());
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->status, 503);
  EXPECT_EQ(answer->body, "recommend is down");
  EXPECT_FALSE(answer->cut);
}

TEST(HttpGetter, KeepsItsConnectionAndNothingOfThePageBefore) {
  std::atomic<int> most = 0;
  LoopbackServer server([&](absl::string_view, int nth) {
    most = nth;
    return Reply{LoopbackServer::Http(200, absl::StrCat("page ", nth))};
  });
  HttpGetter getter(&NetNamespace::Own, Bounds());
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(getter.Get(server.Url())->body, absl::StrCat("page ", i));
  EXPECT_EQ(most, 3);
}

TEST(HttpGetter, ABodyOnTheBoundIsWholeAndOneByteMoreIsAnErrorOrCut) {
  std::string body(kMost, 'x');
  LoopbackServer server([&](absl::string_view, int) { return Reply{LoopbackServer::Http(200, body)}; });
  EXPECT_EQ(GetFrom(server, Bounds())->body, body);
  body += "y";
  EXPECT_EQ(GetFrom(server, Bounds()).status().code(), absl::StatusCode::kResourceExhausted);
  const auto cut = GetFrom(server, Bounds(/*cut=*/true));
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_EQ(cut->body, std::string(kMost, 'x'));
  EXPECT_EQ(cut->status, 200);
  EXPECT_TRUE(cut->cut);
}

TEST(HttpGetter, GivesUpOnHeadersWithoutAnEnd) {
  std::string headers;
  for (int i = 0; i < 20'000; ++i) absl::StrAppend(&headers, "x-", i, ": ", std::string(100, 'x'), "\r\n");
  LoopbackServer server([&](absl::string_view, int) { return Reply{LoopbackServer::Http(200, "ok", headers)}; });
  EXPECT_EQ(GetFrom(server, Bounds(/*cut=*/true)).status().code(), absl::StatusCode::kUnavailable);
}

TEST(HttpGetter, SaysWhyThereIsNoAnswer) {
  LoopbackServer silent([](absl::string_view, int) { return Reply{}; });
  EXPECT_TRUE(absl::StrContains(GetFrom(silent, Bounds()).status().message(), "Timeout"));
  LoopbackServer half([](absl::string_view, int) {
    return Reply{"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", LoopbackServer::Then::kReset};
  });
  EXPECT_EQ(GetFrom(half, Bounds(/*cut=*/true)).status().code(), absl::StatusCode::kUnavailable);
  LoopbackServer foreign([](absl::string_view, int) { return Reply{"SSH-2.0-squall\r\n", LoopbackServer::Then::kClose}; });
  EXPECT_EQ(GetFrom(foreign, Bounds()).status().code(), absl::StatusCode::kUnavailable);
  const auto nobody = HttpGetter(&NetNamespace::Own, Bounds()).Get(absl::StrCat("http://127.0.0.1:", UnusedPort(), "/"));
  EXPECT_EQ(nobody.status().code(), absl::StatusCode::kUnavailable);
  const auto file = HttpGetter(&NetNamespace::Own, Bounds()).Get("file:///etc/hostname");
  EXPECT_FALSE(file.ok());
}

TEST(HttpGetter, EndsAtOnceWhenStopped) {
  LoopbackServer silent([](absl::string_view, int) { return Reply{}; });
  std::atomic<bool> stop = false;
  HttpGetter getter(&NetNamespace::Own,
                    {.timeout = absl::Seconds(60), .most_bytes = kMost, .stopped = [&] { return stop.load(); }});
  std::thread stopper([&] {
    while (silent.requests() == 0) absl::SleepFor(absl::Milliseconds(1));
    stop = true;
  });
  const absl::Time begun = absl::Now();
  EXPECT_EQ(getter.Get(silent.Url()).status().code(), absl::StatusCode::kCancelled);
  EXPECT_LT(absl::Now() - begun, absl::Seconds(5));
  stopper.join();
}

TEST(HttpGetter, WithoutAPlaceItUsesTheOneBefore) {
  LoopbackServer server([](absl::string_view, int) { return Reply{LoopbackServer::Http(200, "ok")}; });
  bool gone = true;
  HttpGetter getter(
      [&]() -> absl::StatusOr<NetNamespace> {
        if (gone) return absl::NotFoundError("service orders does not run");
        return NetNamespace::Own();
      },
      Bounds());
  EXPECT_EQ(getter.Get(server.Url()).status().message(), "service orders does not run");
  gone = false;
  EXPECT_TRUE(getter.Get(server.Url()).ok());
  gone = true;
  EXPECT_TRUE(getter.Get(server.Url()).ok());
}

}  // namespace
}  // namespace squall
