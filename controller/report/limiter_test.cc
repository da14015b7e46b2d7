#include "controller/report/limiter.h"

#include <tinyxml2.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "controller/assertions/limited_run.h"
#include "controller/report/report.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Assertion Limited() {
  Assertion assertion;
  assertion.set_name("orders-limit");
  RateLimiter& spec = *assertion.mutable_rate_limiter();
  spec.set_load("checkout");
  spec.set_rate(100);
  spec.set_burst(20);
  spec.set_instances(1);
  return assertion;
}

int CountOf(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(LimiterFigures, ShowBothBurstsAndTheTimeAboveTheLimit) {
  const LimitedRun run(Limited().rate_limiter(), Bucket(100, 20));
  const std::string html = LimiterFigures(Limited(), run.Build());
  EXPECT_EQ(CountOf(html, "<figure"), 3);
  EXPECT_EQ(CountOf(html, "curve-admitted"), 3);
  EXPECT_EQ(CountOf(html, "<h4>Burst, from "), 2);
  EXPECT_EQ(CountOf(html, "<h4>200/s offered, from "), 1);
  EXPECT_THAT(html, HasSubstr("Rate limiter: orders-limit"));
  // What was offered in a burst, what was admitted of it, and what may be.
  EXPECT_THAT(html, HasSubstr(">admitted 25<"));
  EXPECT_THAT(html, HasSubstr(">at most 26<"));
  tinyxml2::XMLDocument document;
  EXPECT_EQ(document.Parse(absl::StrCat("<div>", html, "</div>").c_str()), tinyxml2::XML_SUCCESS) << document.ErrorStr();
}

TEST(LimiterFigures, OfALoadThatOfferedNothingOfTheKindAreNone) {
  LimitedRun run(Limited().rate_limiter(), Bucket(100, 20));
  run.load.clear_steps();
  run.load.set_rate(10);
  EXPECT_EQ(LimiterFigures(Limited(), run.Build()), "");
  Assertion other = Limited();
  other.mutable_rate_limiter()->set_load("none");
  EXPECT_EQ(LimiterFigures(other, run.Build()), "");
}

TEST(TextReport, SaysWhatElseIsKnownOfARateLimiter) {
  RunResult result;
  Verdict& verdict = *result.add_verdicts();
  verdict.set_assertion("orders-limit");
  verdict.set_kind("rate_limiter");
  verdict.set_result(Verdict::PASS);
  Detail& detail = *verdict.add_details();
  detail.set_name("rejections");
  detail.set_value("1,020 requests, p99 1.1 ms");
  EXPECT_THAT(TextReport(result, 80, false), HasSubstr("\n      rejections: 1,020 requests, p99 1.1 ms\n"));
  verdict.set_kind("recovery");
  EXPECT_THAT(TextReport(result, 80, false), Not(HasSubstr("rejections")));
}

}  // namespace
}  // namespace squall
