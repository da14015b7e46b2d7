#include "agent/load/http_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Load GoodLoad() {
  Load load;
  load.set_name("checkout");
  load.mutable_http()->set_url("http://127.0.0.1:8080/order");
  load.mutable_http()->set_method("GET");
  load.mutable_give_up_after()->set_seconds(5);
  return load;
}

// The only request of a load, as HTTP/1.1 writes it, without the traceparent's value.
std::string Written(const Load& load) {
  const absl::StatusOr<HttpRequests> requests = MakeHttpRequests(load, "run-1");
  EXPECT_TRUE(requests.ok()) << requests.status();
  if (!requests.ok() || requests->kinds.size() != 1) return "";
  const auto [before, after] = WriteHttp1(requests->kinds[0], requests->authority);
  return before + after;
}

TEST(HttpRequest, CarriesTheRunsIdAndWhatTheLoadSays) {
  Load load = GoodLoad();
  load.mutable_http()->set_method("POST");
  load.mutable_http()->set_body(R"({"sku": 7})");
  (*load.mutable_http()->mutable_headers())["Authorization"] = "Bearer t";
  (*load.mutable_http()->mutable_headers())["X-Empty"] = "";
  (*load.mutable_http()->mutable_headers())["Content-Type"] = "application/json";
  EXPECT_EQ(Written(load),
            "POST /order HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer t\r\nContent-Type: application/json\r\n"
            "X-Empty:\r\nuser-agent: squall\r\nx-squall-run: run-1\r\naccept: */*\r\nContent-Length: 10\r\ntraceparent: \r\n\r\n{\"sku\": 7}");
}

TEST(HttpRequest, AddsNothingThatTheLoadSaysItself) {
  Load load = GoodLoad();
  for (const char* name : {"HOST", "User-agent", "Accept"}) (*load.mutable_http()->mutable_headers())[name] = "mine";
  EXPECT_EQ(Written(load),
            "GET /order HTTP/1.1\r\nAccept: mine\r\nHOST: mine\r\nUser-agent: mine\r\nx-squall-run: run-1\r\ntraceparent: \r\n\r\n");
}

struct UrlCase {
  std::string url;
  bool https;
  std::string host;
  int port;
  std::string authority;
  std::string path;
};

TEST(HttpRequest, TakesAnUrlApart) {
  const UrlCase cases[] = {
      {"http://shop", false, "shop", 80, "shop", "/"},
      {"https://shop/a/b?c=d&e", true, "shop", 443, "shop", "/a/b?c=d&e"},
      {"http://shop:80/", false, "shop", 80, "shop", "/"},
      {"HTTP://[::1]:8080/x", false, "::1", 8080, "[::1]:8080", "/x"},
      {"https://127.0.0.1:8443?q", true, "127.0.0.1", 8443, "127.0.0.1:8443", "/?q"},
  };
  for (const UrlCase& c : cases) {
    Load load = GoodLoad();
    load.mutable_http()->set_url(c.url);
    const absl::StatusOr<HttpRequests> requests = MakeHttpRequests(load, "run-1");
    ASSERT_TRUE(requests.ok()) << c.url << requests.status();
    EXPECT_EQ(requests->https, c.https) << c.url;
    EXPECT_EQ(requests->host, c.host) << c.url;
    EXPECT_EQ(requests->port, c.port) << c.url;
    EXPECT_EQ(requests->authority, c.authority) << c.url;
    EXPECT_EQ(requests->kinds[0].path, c.path) << c.url;
  }
}

TEST(HttpRequest, SendsTheCredentialsOfAnUrlAsAHeader) {
  Load load = GoodLoad();
  load.mutable_http()->set_url("http://u:p%20w@127.0.0.1:8080/order");
  EXPECT_THAT(Written(load), HasSubstr("Host: 127.0.0.1:8080\r\n"));
  EXPECT_THAT(Written(load), HasSubstr("authorization: Basic dTpwIHc=\r\n"));
}

TEST(HttpRequest, OfSeveralTakesFromTheLoadWhatItLeavesOut) {
  Load load = GoodLoad();
  Http& http = *load.mutable_http();
  http.set_method("POST");
  http.set_body("all");
  (*http.mutable_headers())["X-One"] = "1";
  (*http.mutable_headers())["X-Two"] = "2";
  http.add_requests();
  WeightedHttp& own = *http.add_requests();
  own.set_method("PUT");
  own.set_path("/other?x=1");
  own.set_body("mine");
  (*own.mutable_headers())["x-two"] = "two";
  const absl::StatusOr<HttpRequests> requests = MakeHttpRequests(load, "run-1");
  ASSERT_TRUE(requests.ok()) << requests.status();
  ASSERT_EQ(requests->kinds.size(), 2u);
  EXPECT_EQ(requests->kinds[0].method, "POST");
  EXPECT_EQ(requests->kinds[0].path, "/order");
  EXPECT_EQ(requests->kinds[0].body, "all");
  EXPECT_EQ(*FindHeader(requests->kinds[0].headers, "x-two"), "2");
  EXPECT_EQ(requests->kinds[1].method, "PUT");
  EXPECT_EQ(requests->kinds[1].path, "/other?x=1");
  EXPECT_EQ(requests->kinds[1].body, "mine");
  EXPECT_EQ(*FindHeader(requests->kinds[1].headers, "x-one"), "1");
  EXPECT_EQ(*FindHeader(requests->kinds[1].headers, "X-Two"), "two");
}

struct BadLoad {
  std::function<void(Load&)> spoil;
  std::string message;
};

TEST(HttpRequest, RefusesWhatCannotBeSent) {
  const auto header = [](std::string name, std::string value) {
    return [=](Load& load) { (*load.mutable_http()->mutable_headers())[name] = value; };
  };
  const BadLoad cases[] = {
      {[](Load& load) { load.clear_http(); }, "is not http"},
      {[](Load& load) { load.mutable_http()->set_url(""); }, "cannot be used"},
      {[](Load& load) { load.mutable_http()->set_url("127.0.0.1:8080/"); }, "the URL '127.0.0.1:8080/'"},
      {[](Load& load) { load.mutable_http()->set_url("ftp://127.0.0.1/"); }, "must begin with http:// or https://"},
      {[](Load& load) { load.mutable_http()->set_url("http://127.0.0.1:99999/"); }, "cannot be used"},
      {[](Load& load) { load.mutable_http()->set_url("http://a/\r\nb: c"); }, "cannot be used"},
      {[](Load& load) { load.mutable_http()->set_method("get"); }, "the method 'get' is not known"},
      {[](Load& load) { load.mutable_http()->set_method("GET / HTTP/1.1\r\n"); }, "is not known"},
      {[](Load& load) {
         load.mutable_http()->set_method("HEAD");
         load.mutable_http()->set_body("x");
       },
       "HEAD request has no body"},
      {header("", "x"), "is no name of a header"},
      {header("a b", "x"), "is no name of a header"},
      {header("a:", "x"), "is no name of a header"},
      {header("a", "x\r\nb: c"), "has more than one line"},
      {header("Traceparent", "x"), "is set by squall itself"},
      {header("X-Squall-Run", "x"), "is set by squall itself"},
      {header("Content-Length", "3"), "is set by squall itself"},
      {[](Load& load) { load.mutable_http()->add_requests()->set_path("order"); }, "must begin with /"},
      {[](Load& load) { load.mutable_http()->add_requests()->set_path("/a b"); }, "must begin with /"},
      {[](Load& load) { load.mutable_http()->add_requests()->set_path("/a\r\nb"); }, "must begin with /"},
      {[](Load& load) { load.mutable_http()->add_requests()->set_method("get"); }, "is not known"},
      {[](Load& load) {
         load.mutable_http()->set_version(Http::VERSION_HTTP2);
         (*load.mutable_http()->mutable_headers())["Connection"] = "close";
       },
       "HTTP/2 has no header Connection"},
  };
  for (const BadLoad& c : cases) {
    Load load = GoodLoad();
    c.spoil(load);
    const absl::StatusOr<HttpRequests> request = MakeHttpRequests(load, "run-1");
    EXPECT_EQ(request.status().code(), absl::StatusCode::kInvalidArgument) << load.ShortDebugString();
    EXPECT_THAT(std::string(request.status().message()), HasSubstr(c.message));
  }
}

TEST(HttpRequest, RefusesAnIdThatIsNoHeader) {
  EXPECT_EQ(MakeHttpRequests(GoodLoad(), "").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MakeHttpRequests(GoodLoad(), "a\nb").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(HttpRequest, KeepsTheValueOfAHeaderOutOfItsMessages) {
  Load load = GoodLoad();
  (*load.mutable_http()->mutable_headers())["authorization"] = "hunter2\n";
  EXPECT_THAT(std::string(MakeHttpRequests(load, "run-1").status().message()), Not(HasSubstr("hunter2")));
}

}  // namespace
}  // namespace squall
