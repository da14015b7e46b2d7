#include <tinyxml2.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "controller/report/escape.h"
#include "controller/report/report.h"
#include "controller/report/sample.h"
#include "controller/report/sample_suite.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StrEq;
using tinyxml2::XMLElement;

// The suite `name` of a JUnit file.
struct Junit {
  explicit Junit(const SuiteResult& result) {
    const std::string xml = JunitReport(result);
    EXPECT_EQ(document.Parse(xml.c_str()), tinyxml2::XML_SUCCESS) << xml;
    suites = document.FirstChildElement("testsuites");
  }
  const XMLElement* Suite(const std::string& name) const {
    for (auto* suite = suites->FirstChildElement("testsuite"); suite; suite = suite->NextSiblingElement("testsuite")) {
      if (name == suite->Attribute("name")) return suite;
    }
    return nullptr;
  }
  const XMLElement* Case(const std::string& suite, const std::string& name) const {
    for (auto* test = Suite(suite)->FirstChildElement("testcase"); test; test = test->NextSiblingElement("testcase")) {
      if (name == test->Attribute("name")) return test;
    }
    return nullptr;
  }
  tinyxml2::XMLDocument document;
  const XMLElement* suites;
};

TEST(SuiteJunit, HasASuiteForEachScenarioAndACaseForEachAssertion) {
  SuiteResult sample = MakeSampleSuite();
  sample.mutable_scenarios(0)->mutable_runs(0)->mutable_result()->set_exit_code(3);
  const Junit junit(sample);
  EXPECT_THAT(junit.suites->Attribute("name"), StrEq("shop"));
  int tests = 0, failures = 0, errors = 0, suites = 0;
  for (auto* suite = junit.suites->FirstChildElement("testsuite"); suite; suite = suite->NextSiblingElement("testsuite")) {
    ++suites;
    tests += suite->IntAttribute("tests");
    failures += suite->IntAttribute("failures");
    errors += suite->IntAttribute("errors");
  }
  EXPECT_EQ(suites, 5);
  EXPECT_EQ(errors, 1);
  EXPECT_EQ(junit.suites->IntAttribute("tests"), tests) << "the file's figures are the sums of those of its suites";
  EXPECT_EQ(junit.suites->IntAttribute("failures"), failures);
  EXPECT_EQ(junit.suites->IntAttribute("errors"), errors);
  EXPECT_NE(junit.Case("recommend-slow-then-gone", "timeout"), nullptr);
  EXPECT_NE(junit.Case("recommend-slow-then-gone", "back-in-time")->FirstChildElement("failure"), nullptr);
  EXPECT_THAT(junit.Case("recommend-slow-then-gone", "timeout")->Attribute("classname"),
              StrEq("recommend-slow-then-gone.timeout"));
}

TEST(SuiteJunit, SkipsWhatWasRunAgainAndCountsTheRunThatReplacedIt) {
  const Junit junit(MakeSampleSuite());
  EXPECT_NE(junit.Case("unsure-at-first", "timeout (run 1 of 2)")->FirstChildElement("skipped"), nullptr);
  EXPECT_THAT(junit.Case("unsure-at-first", "timeout (run 2 of 2)")->FirstChildElement()->Name(), StrEq("system-out"));
  EXPECT_EQ(junit.Suite("unsure-at-first")->IntAttribute("skipped"), 1);
  EXPECT_EQ(junit.Suite("unsure-at-first")->IntAttribute("failures"), 0);
}

TEST(SuiteJunit, HasACaseForEachAssertionOfEachRepetition) {
  const Junit junit(MakeSampleSuite());
  EXPECT_EQ(junit.Case("thrice", "timeout (run 1 of 3)")->FirstChildElement("failure"), nullptr);
  EXPECT_NE(junit.Case("thrice", "timeout (run 2 of 3)")->FirstChildElement("failure"), nullptr);
  EXPECT_EQ(junit.Suite("thrice")->IntAttribute("failures"), 1);
}

TEST(SuiteJunit, CallsWhatWasNotRunSkippedBesideAFailureAndAnErrorWhereAllElseIsGreen) {
  SuiteResult suite = MakeSampleSuite();
  EXPECT_NE(Junit(suite).Case("never", "run")->FirstChildElement("skipped"), nullptr);
  SuiteResult green;
  *green.add_scenarios() = suite.scenarios(0);
  *green.add_scenarios() = suite.scenarios(4);
  ASSERT_EQ(green.scenarios(1).scenario(), "never");
  const Junit junit(green);
  EXPECT_NE(junit.Case("never", "run")->FirstChildElement("error"), nullptr);
  EXPECT_EQ(junit.suites->IntAttribute("errors"), 1);
}

TEST(SuiteJunit, SkipsInconclusiveWhereItIsAWarningOnly) {
  SuiteResult suite;
  ScenarioResult& scenario = *suite.add_scenarios();
  scenario.set_scenario("s");
  scenario.set_repeat(1);
  RunResult& result = *scenario.add_runs()->mutable_result();
  result.set_exit_code(2);
  result.add_verdicts()->set_assertion("timeout");
  result.mutable_verdicts(0)->set_result(Verdict::INCONCLUSIVE);
  suite.set_inconclusive(SuiteResult::INCONCLUSIVE_FAIL);
  EXPECT_NE(Junit(suite).Case("s", "timeout")->FirstChildElement("failure"), nullptr);
  suite.set_inconclusive(SuiteResult::INCONCLUSIVE_WARN);
  EXPECT_NE(Junit(suite).Case("s", "timeout")->FirstChildElement("skipped"), nullptr);
}

TEST(SuiteText, SumsUpInOneTable) {
  const std::string text = TextReport(MakeSampleSuite(), "runs/ID", 100, false);
  EXPECT_THAT(text, HasSubstr("✗ FAIL  shop: 2 of 5 scenarios pass, 2 failed, 1 not run\n"));
  EXPECT_THAT(text, HasSubstr("  ✓ healthy                   PASS     45.30 s\n"
                              "      under slow (latency) and gone (kill): timeout, back-in-time, breaker hold\n"
                              "      runs/ID/r-healthy/report.html\n"));
  EXPECT_THAT(text, HasSubstr("      INCONCLUSIVE, run again: PASS\n"));
  EXPECT_THAT(text, HasSubstr("      3 runs: PASS, FAIL, PASS\n"));
  EXPECT_THAT(text, HasSubstr("      run 2: timeout: 12 of 40 requests were late\n"));
  EXPECT_THAT(text, HasSubstr("  - never                     NOT RUN  -\n      --fail-fast, and thrice did not pass\n"));
  EXPECT_THAT(text, HasSubstr("back-in-time: "));
}

TEST(SuiteText, FitsANarrowTerminalButForPaths) {
  for (const int columns : {44, 60, 80}) {
    for (const auto line : absl::StrSplit(TextReport(MakeSampleSuite(), "r", columns, false), '\n')) {
      if (absl::StrContains(line, "report.html")) continue;
      EXPECT_LE(DisplayWidth(line), columns) << line;
    }
  }
}

TEST(SuiteText, HasColoursWhereTheyAreWanted) {
  EXPECT_THAT(TextReport(MakeSampleSuite(), "r", 80, true), HasSubstr("\x1b[31m✗ FAIL  \x1b[0m"));
  EXPECT_THAT(TextReport(MakeSampleSuite(), "r", 80, false), Not(HasSubstr("\x1b")));
}

TEST(SuiteText, WarnsAloudOfWhatItDoesNotCount) {
  SuiteResult suite = MakeSampleSuite();
  EXPECT_THAT(TextReport(suite, "r", 100, false), Not(HasSubstr("warning")));
  suite.set_inconclusive(SuiteResult::INCONCLUSIVE_WARN);
  EXPECT_THAT(TextReport(suite, "r", 120, false), HasSubstr("! warning: 1 run is INCONCLUSIVE, which --inconclusive=warn"));
  EXPECT_THAT(HtmlIndex(suite), HasSubstr("<b>Warning:</b> 1 run is INCONCLUSIVE"));
}

TEST(SuiteText, OfAPassedSuiteIsShort) {
  SuiteResult suite;
  suite.set_suite("s");
  *suite.add_scenarios() = MakeSampleSuite().scenarios(0);
  EXPECT_THAT(TextReport(suite, "r", 100, false), HasSubstr("✓ PASS  s: the scenario passes\n"));
  *suite.add_scenarios() = MakeSampleSuite().scenarios(0);
  EXPECT_THAT(TextReport(suite, "r", 100, false), HasSubstr("✓ PASS  s: all 2 scenarios pass\n"));
}

TEST(SuiteIndex, IsWellFormedAndLinksToEachRun) {
  const std::string html = HtmlIndex(MakeSampleSuite());
  tinyxml2::XMLDocument document;
  ASSERT_EQ(document.Parse(html.c_str()), tinyxml2::XML_SUCCESS) << document.ErrorStr();
  for (const char* link : {"<a href=\"r-healthy/report.html\">healthy</a>", "<a href=\"r-unsure-2/report.html\">run 2</a>",
                           "<a href=\"r-thrice-3/report.html\">run 3</a>"}) {
    EXPECT_THAT(html, HasSubstr(link));
  }
  EXPECT_THAT(html, HasSubstr("NOT RUN"));
  EXPECT_THAT(html, HasSubstr("does not count: it was run again"));
  EXPECT_THAT(html, HasSubstr("3 of 3 hold"));
  EXPECT_THAT(html, HasSubstr("<title>FAIL: shop - squall</title>"));
  // Nothing is loaded from elsewhere.
  for (const char* reference : {"<script", "<link", "src=", "http://", "https://", "url(http"}) {
    EXPECT_THAT(html, Not(HasSubstr(reference))) << reference;
  }
}

TEST(SuiteIndex, EscapesWhatComesFromScenarios) {
  SuiteResult suite;
  ScenarioResult& scenario = *suite.add_scenarios();
  scenario.set_scenario("<b>&x");
  scenario.set_description("</td><script>alert(1)</script>");
  scenario.set_not_run("<i>why</i>");
  const std::string html = HtmlIndex(suite);
  EXPECT_THAT(html, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(html, HasSubstr("&lt;b&gt;&amp;x"));
  EXPECT_THAT(html, HasSubstr("&lt;i&gt;why&lt;/i&gt;"));
}

TEST(SuiteJson, IsReadBackAsTheSameResult) {
  const SuiteResult suite = MakeSampleSuite();
  SuiteResult read;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(JsonReport(suite), &read).ok());
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(suite, read));
  EXPECT_THAT(JsonReport(SuiteResult()), HasSubstr("\"exit_code\": 0"));
}

}  // namespace
}  // namespace squall
