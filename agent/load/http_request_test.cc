#include "agent/load/http_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace squall {
namespace {

using ::testing::Contains;
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

TEST(HttpRequest, CarriesTheRunsIdAndWhatTheLoadSays) {
  Load load = GoodLoad();
  load.mutable_http()->set_method("POST");
  load.mutable_http()->set_body(R"({"sku": 7})");
  (*load.mutable_http()->mutable_headers())["Authorization"] = "Bearer t";
  (*load.mutable_http()->mutable_headers())["X-Empty"] = "";
  (*load.mutable_http()->mutable_headers())["Content-Type"] = "application/json";
  load.mutable_give_up_after()->set_nanos(500'000'000);
  const absl::StatusOr<HttpRequest> request = MakeHttpRequest(load, "run-1");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->url, "http://127.0.0.1:8080/order");
  EXPECT_EQ(request->method, "POST");
  EXPECT_EQ(request->body, R"({"sku": 7})");
  EXPECT_EQ(request->patience, absl::Milliseconds(5500));
  EXPECT_THAT(request->headers, Contains("Authorization: Bearer t"));
  EXPECT_THAT(request->headers, Contains("X-Empty;"));
  EXPECT_THAT(request->headers, Contains("Content-Type: application/json"));
  EXPECT_THAT(request->headers, Not(Contains("content-type:")));
  EXPECT_THAT(request->headers, Contains("x-squall-run: run-1"));
}

TEST(HttpRequest, TakesOutWhatLibcurlWouldAdd) {
  const absl::StatusOr<HttpRequest> request = MakeHttpRequest(GoodLoad(), "run-1");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(request->headers, Contains("content-type:"));
  EXPECT_THAT(request->headers, Contains("expect:"));
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
      {[](Load& load) { load.mutable_http()->set_url("https://127.0.0.1/"); }, "must begin with http://"},
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
      {[](Load& load) { load.clear_give_up_after(); }, "give_up_after"},
  };
  for (const BadLoad& c : cases) {
    Load load = GoodLoad();
    c.spoil(load);
    const absl::StatusOr<HttpRequest> request = MakeHttpRequest(load, "run-1");
    EXPECT_EQ(request.status().code(), absl::StatusCode::kInvalidArgument) << load.ShortDebugString();
    EXPECT_THAT(std::string(request.status().message()), HasSubstr(c.message));
  }
}

TEST(HttpRequest, RefusesAnIdThatIsNoHeader) {
  EXPECT_EQ(MakeHttpRequest(GoodLoad(), "").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MakeHttpRequest(GoodLoad(), "a\nb").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(HttpRequest, KeepsTheValueOfAHeaderOutOfItsMessages) {
  Load load = GoodLoad();
  (*load.mutable_http()->mutable_headers())["authorization"] = "hunter2\n";
  EXPECT_THAT(std::string(MakeHttpRequest(load, "run-1").status().message()), Not(HasSubstr("hunter2")));
}

}  // namespace
}  // namespace squall
