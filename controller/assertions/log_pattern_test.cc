#include "controller/assertions/log_pattern.h"

#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using Texts = std::vector<std::string>;

// The log of orders, recorded at a time; `more` lines matched beyond those shown.
TimelineBuilder& Wrote(TimelineBuilder& builder, double at, const Texts& matching, int64_t lines = 5, int64_t more = 0,
                       const std::string& assertion = "log") {
  Record record;
  LogLines& log = *record.mutable_log();
  log.set_service("orders");
  log.set_at_ns(TimelineBuilder::Ns(at));
  log.set_lines(lines);
  for (const std::string& text : matching) {
    LogLines::Match& match = *log.add_matches();
    match.set_assertion(assertion);
    match.set_line(text);
  }
  if (more > 0) log.mutable_matches(log.matches_size() - 1)->set_more(more);
  return builder.Put(record);
}

// The fault acts from 12 s to 22 s; requests are sent from 0 s to 40 s; orders writes a line that matches nothing every second.
TimelineBuilder Chatty() {
  TimelineBuilder builder;
  builder.Latency("slow", 12, 22).Answer(0, 40, TimelineBuilder::Reply{});
  for (int at = 1; at < 40; ++at) Wrote(builder, at + 0.5, {});
  return builder;
}
TimelineBuilder Matching(const std::vector<double>& at) {
  TimelineBuilder builder = Chatty();
  for (const double each : at) Wrote(builder, each, {"breaker opened"});
  return builder;
}

LogPattern Wanted(During during = DURING_FAULT, int at_least = 1) {
  LogPattern spec;
  spec.set_service("orders");
  spec.set_matches("breaker .*");
  spec.set_during(during);
  spec.set_at_least(at_least);
  return spec;
}
LogPattern Unwanted(During during = DURING_FAULT) {
  LogPattern spec;
  spec.set_service("orders");
  spec.set_never_matches("breaker .*");
  spec.set_during(during);
  return spec;
}

Judgement Judged(const TimelineBuilder& builder, const LogPattern& spec) {
  const Timeline timeline = builder.Build();
  return JudgeLog(spec, "log", timeline, Stalls(timeline.stalls));
}
Verdict::Result Result(const TimelineBuilder& builder, const LogPattern& spec) { return Judged(builder, spec).verdict.result(); }

TEST(LogPattern, PassesWhenALineMatches) {
  const Judgement judgement = Judged(Matching({14}), Wanted());
  EXPECT_EQ(judgement.verdict.result(), Verdict::PASS) << judgement.verdict.reason();
  EXPECT_EQ(judgement.verdict.reason(), "1 line of orders matched 'breaker .*' while slow acted: \"breaker opened\"");
  EXPECT_EQ(judgement.verdict.measured(), "1 line");
  EXPECT_EQ(judgement.verdict.limit(), "at least 1 line");
  EXPECT_EQ(judgement.verdict.samples(), 110) << "lines written until the fault was over";
  EXPECT_THAT(judgement.verdict.DebugString(), HasSubstr("line that matched"));
  EXPECT_TRUE(judgement.final);
}

TEST(LogPattern, FailsWhenNoLineMatches) {
  const Judgement judgement = Judged(Chatty(), Wanted());
  EXPECT_EQ(judgement.verdict.result(), Verdict::FAIL);
  EXPECT_EQ(judgement.verdict.reason(), "no line of orders matched 'breaker .*' while slow acted; at least 1 is needed");
  EXPECT_TRUE(judgement.final);
}

TEST(LogPattern, CountsTheLinesThatAreNotShownToo) {
  TimelineBuilder builder = Chatty();
  Wrote(builder, 14, {"a", "b", "c", "d"}, 20, 6);
  EXPECT_EQ(Result(builder, Wanted(DURING_FAULT, 10)), Verdict::PASS);
  const Verdict verdict = Judged(builder, Wanted(DURING_FAULT, 11)).verdict;
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.reason(), "10 lines of orders matched 'breaker .*' while slow acted; at least 11 are needed");
  int shown = 0;
  for (const Detail& detail : verdict.details()) shown += detail.name() == "line that matched";
  EXPECT_EQ(shown, 3);
}

TEST(LogPattern, FailsWhenALineMatchesThatMustNot) {
  const Judgement judgement = Judged(Matching({14, 15}), Unwanted());
  EXPECT_EQ(judgement.verdict.result(), Verdict::FAIL);
  EXPECT_EQ(judgement.verdict.reason(), "2 lines of orders matched 'breaker .*' while slow acted: \"breaker opened\"");
  EXPECT_EQ(judgement.verdict.first_broken_ns(), TimelineBuilder::Ns(14));
  EXPECT_EQ(judgement.verdict.limit(), "no line");
  EXPECT_TRUE(judgement.final);
  EXPECT_EQ(Result(Chatty(), Unwanted()), Verdict::PASS);
  LogPattern some = Unwanted();
  some.set_at_least(3);
  EXPECT_EQ(Result(Matching({14, 15}), some), Verdict::PASS);
  EXPECT_EQ(Result(Matching({14, 15, 16}), some), Verdict::FAIL);
}

TEST(LogPattern, LooksAtItsOwnMatchesOnly) {
  TimelineBuilder builder = Chatty();
  Wrote(builder, 14, {"breaker opened"}, 1, 0, "another");
  EXPECT_EQ(Result(builder, Wanted()), Verdict::FAIL);
  EXPECT_EQ(Result(builder, Unwanted()), Verdict::PASS);
}

TEST(LogPattern, LooksAtThePartOfTheRunThatIsMeant) {
  EXPECT_EQ(Result(Matching({5, 30}), Wanted()), Verdict::FAIL);
  EXPECT_EQ(Result(Matching({30}), Wanted(DURING_AFTER)), Verdict::PASS);
  EXPECT_EQ(Result(Matching({5, 14}), Wanted(DURING_AFTER)), Verdict::FAIL);
  EXPECT_EQ(Result(Matching({5}), Wanted(DURING_ALWAYS)), Verdict::PASS);
  EXPECT_EQ(Result(Matching({5, 30}), Unwanted()), Verdict::PASS);
  EXPECT_EQ(Result(Matching({30}), Unwanted(DURING_AFTER)), Verdict::FAIL);
  EXPECT_EQ(Result(Matching({5}), Unwanted(DURING_ALWAYS)), Verdict::FAIL);
}

TEST(LogPattern, TakesALineAtTheInjectionForOneOfTheFaultUnlessSuchCameBefore) {
  EXPECT_EQ(Result(Matching({11}), Wanted()), Verdict::PASS);
  EXPECT_EQ(Result(Matching({10.999}), Wanted()), Verdict::FAIL);
  EXPECT_EQ(Result(Matching({5, 11.9}), Wanted()), Verdict::FAIL);
  EXPECT_EQ(Result(Matching({5, 12}), Wanted()), Verdict::PASS);
  // Written before the healing, and recorded after it.
  EXPECT_EQ(Result(Matching({22.3}), Wanted()), Verdict::PASS);
  EXPECT_EQ(Result(Matching({22.301}), Wanted()), Verdict::FAIL);
}

TEST(LogPattern, BlamesNoLineThatMayHaveBeenWrittenBeforeOrAfter) {
  const Verdict early = Judged(Matching({12.299}), Unwanted()).verdict;
  EXPECT_EQ(early.result(), Verdict::PASS);
  EXPECT_THAT(early.DebugString(), HasSubstr("1 line that matched and may have been written before or after"));
  EXPECT_EQ(Result(Matching({12.3}), Unwanted()), Verdict::FAIL);
  // What was written until 12.1 s is in a record of its own.
  TimelineBuilder split = Chatty();
  Wrote(Wrote(split, 12.1, {}), 12.2, {"breaker opened"});
  EXPECT_EQ(Result(split, Unwanted()), Verdict::FAIL);
  EXPECT_EQ(Result(Matching({22}), Unwanted()), Verdict::FAIL);
  EXPECT_EQ(Result(Matching({22.001}), Unwanted()), Verdict::PASS);
  // The fault is on its way out from the moment in which healing is asked for.
  TimelineBuilder slow = Matching({21.8});
  slow.Event("slow", FaultEvent::HEALING).set_at_ns(TimelineBuilder::Ns(21.5));
  EXPECT_EQ(Result(slow, Unwanted()), Verdict::PASS);
}

TEST(LogPattern, IsInconclusiveWhenNothingWasWritten) {
  TimelineBuilder silent;
  silent.Latency("slow", 12, 22).Answer(0, 40, TimelineBuilder::Reply{});
  for (const LogPattern& spec : {Wanted(), Unwanted()}) {
    const Verdict verdict = Judged(silent, spec).verdict;
    EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
    EXPECT_THAT(verdict.reason(), HasSubstr("orders wrote no line that could be read"));
    EXPECT_THAT(verdict.advice(), HasSubstr("`log_file`"));
    EXPECT_TRUE(Judged(silent, spec).final);
  }
  TimelineBuilder later = silent;
  EXPECT_EQ(Result(Wrote(later, 30, {}), Unwanted()), Verdict::INCONCLUSIVE);
  TimelineBuilder once = silent;
  EXPECT_EQ(Result(Wrote(once, 1, {}, 1), Unwanted()), Verdict::PASS);
}

TEST(LogPattern, IsInconclusiveWithoutTheFault) {
  TimelineBuilder builder = Chatty();
  builder.Event("slow", FaultEvent::HEALED).set_state(FaultEvent::HEALING_NOT_CONFIRMED);
  EXPECT_EQ(Result(builder, Unwanted()), Verdict::INCONCLUSIVE);
  LogPattern spec = Wanted();
  spec.set_fault("another");
  EXPECT_EQ(Result(Matching({14}), spec), Verdict::INCONCLUSIVE);
}

TEST(LogPattern, IsFinalOnceNoLineCanChangeIt) {
  TimelineBuilder acting;
  acting.Latency("slow", 12, 22).Answer(0, 20, TimelineBuilder::Reply{}).StillRunningAt(20);
  acting.Event("slow", FaultEvent::HEALED).set_state(FaultEvent::HEALING);
  Wrote(acting, 5, {});
  EXPECT_FALSE(Judged(acting, Wanted()).final);
  EXPECT_FALSE(Judged(acting, Unwanted()).final);
  TimelineBuilder early = acting;
  EXPECT_TRUE(Judged(Wrote(early, 14, {"breaker opened"}), Wanted()).final);
  EXPECT_TRUE(Judged(early, Unwanted()).final);
  const auto over = [](double now) {
    TimelineBuilder builder;
    builder.Latency("slow", 12, 22).Answer(0, 22, TimelineBuilder::Reply{}).StillRunningAt(now);
    return Wrote(builder, 5, {});
  };
  EXPECT_FALSE(Judged(over(22.3), Wanted()).final);
  EXPECT_EQ(Result(over(22.3), Wanted()), Verdict::INCONCLUSIVE);
  EXPECT_TRUE(Judged(over(22.301), Wanted()).final);
  EXPECT_FALSE(Judged(over(22.3), Unwanted()).final);
  EXPECT_TRUE(Judged(over(22.301), Unwanted()).final);
}

}  // namespace
}  // namespace squall
