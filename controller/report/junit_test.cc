#include <tinyxml2.h>

#include <string>

#include "controller/report/report.h"
#include "controller/report/sample.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StrEq;
using tinyxml2::XMLElement;

// A report that was read again.
struct Read {
  explicit Read(const std::string& xml) {
    EXPECT_EQ(document.Parse(xml.c_str()), tinyxml2::XML_SUCCESS) << xml;
    suites = document.FirstChildElement("testsuites");
    suite = suites->FirstChildElement("testsuite");
  }
  const XMLElement* Case(const std::string& name) const {
    for (auto* test = suite->FirstChildElement("testcase"); test;
         test = test->NextSiblingElement("testcase")) {
      if (name == test->Attribute("name")) return test;
    }
    return nullptr;
  }
  tinyxml2::XMLDocument document;
  const XMLElement* suites;
  const XMLElement* suite;
};

TEST(JunitReport, HasOneCaseAnAssertion) {
  const Read read(JunitReport(MakeSampleRun().result, true));
  EXPECT_THAT(read.suite->Attribute("name"), StrEq("recommend-slow-then-gone"));
  EXPECT_EQ(read.suite->IntAttribute("tests"), 3);
  EXPECT_EQ(read.suite->IntAttribute("failures"), 2);
  EXPECT_EQ(read.suite->IntAttribute("errors"), 0);
  EXPECT_EQ(read.suite->IntAttribute("skipped"), 0);
  EXPECT_EQ(read.suites->IntAttribute("failures"), 2);
  EXPECT_THAT(read.suite->Attribute("timestamp"), StrEq("2026-03-01T10:15:02"));
  EXPECT_THAT(read.suite->Attribute("time"), StrEq("45.300"));
  EXPECT_THAT(read.Case("timeout")->Attribute("classname"), StrEq("recommend-slow-then-gone.timeout"));
  EXPECT_EQ(read.Case("timeout")->FirstChildElement("failure"), nullptr);
  const XMLElement* failure = read.Case("back-in-time")->FirstChildElement("failure");
  ASSERT_NE(failure, nullptr);
  EXPECT_THAT(failure->Attribute("type"), StrEq("FAIL"));
  EXPECT_THAT(failure->Attribute("message"), HasSubstr("16.6 s after gone was injected"));
  EXPECT_THAT(failure->GetText(), HasSubstr("trace id: 4bf92f3577b34da60000000000001b7c"));
}

TEST(JunitReport, SkipsWhatCouldNotBeJudgedWhenThatIsNoFailure) {
  const Read read(JunitReport(MakeSampleRun().result, false));
  EXPECT_EQ(read.suite->IntAttribute("failures"), 1);
  EXPECT_EQ(read.suite->IntAttribute("skipped"), 1);
  ASSERT_NE(read.Case("breaker")->FirstChildElement("skipped"), nullptr);
  EXPECT_THAT(read.Case("breaker")->FirstChildElement("skipped")->GetText(),
              HasSubstr("advice: Raise `rate`"));
}

TEST(JunitReport, NeverLosesAHarnessFailureBehindPassedAssertions) {
  RunResult result;
  result.set_scenario("s");
  Verdict& verdict = *result.add_verdicts();
  verdict.set_assertion("timeout");
  verdict.set_result(Verdict::PASS);
  result.set_exit_code(3);
  result.set_ending_reason("the agent was lost");
  const Read lost(JunitReport(result, false));
  EXPECT_EQ(lost.suite->IntAttribute("tests"), 2);
  EXPECT_EQ(lost.suite->IntAttribute("errors"), 1);
  const XMLElement* error = lost.Case("run")->FirstChildElement("error");
  ASSERT_NE(error, nullptr);
  EXPECT_THAT(error->Attribute("type"), StrEq("HARNESS FAILED"));
  EXPECT_THAT(error->GetText(), HasSubstr("the agent was lost"));

  result.set_exit_code(5);
  result.add_not_healed("tc qdisc del");
  EXPECT_THAT(Read(JunitReport(result, false)).Case("run")->FirstChildElement("error")->GetText(),
              HasSubstr("not healed: tc qdisc del"));
}

TEST(JunitReport, CallsATrippedGuardrailAFailureOfTheTarget) {
  RunResult result;
  result.set_exit_code(4);
  const Read read(JunitReport(result, false));
  EXPECT_EQ(read.suite->IntAttribute("failures"), 1);
  EXPECT_NE(read.Case("run")->FirstChildElement("failure"), nullptr);
}

TEST(JunitReport, IsNotGreenWhenAllIsWellButNothingWasJudged) {
  RunResult result;
  result.set_exit_code(2);
  EXPECT_EQ(Read(JunitReport(result, true)).suite->IntAttribute("failures"), 1);
  EXPECT_EQ(Read(JunitReport(result, false)).suite->IntAttribute("skipped"), 1);
}

TEST(JunitReport, HoldsOnlyWhatXmlAllows) {
  RunResult result;
  result.set_scenario("a<b>&\"c\"");
  Verdict& verdict = *result.add_verdicts();
  verdict.set_assertion("x");
  verdict.set_result(Verdict::FAIL);
  verdict.set_reason(std::string("\0\x01\x1b[31m \xFF ]]> <&>", 17));
  const std::string xml = JunitReport(result, true);
  EXPECT_THAT(xml, Not(::testing::ContainsRegex("[\x01-\x08\x0b-\x1f\xFF]")));
  const Read read(xml);
  EXPECT_THAT(read.suite->Attribute("name"), StrEq("a<b>&\"c\""));
  EXPECT_THAT(read.Case("x")->FirstChildElement("failure")->Attribute("message"),
              StrEq("\uFFFD\uFFFD\uFFFD[31m \uFFFD ]]> <&>"));
}

TEST(JunitReport, HasNoTimestampRatherThanAWrongOne) {
  RunResult result;
  result.set_started("yesterday");
  EXPECT_EQ(Read(JunitReport(result, true)).suite->Attribute("timestamp"), nullptr);
}

}  // namespace
}  // namespace squall
