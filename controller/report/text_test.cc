#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "controller/report/escape.h"
#include "controller/report/report.h"
#include "controller/report/sample.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> LinesOf(const std::string& text) { return absl::StrSplit(text, '\n'); }

// The text without line breaks, indentation and the order of columns: only its words, for comparing layouts.
std::string OneLine(const std::string& text) { return TerminalText(text); }

TEST(TextReport, FitsIntoEveryTerminal) {
  const RunResult result = MakeSampleRun().result;
  for (int columns = 50; columns <= 240; ++columns) {
    for (const std::string& line : LinesOf(TextReport(result, columns, false))) {
      EXPECT_LE(DisplayWidth(line), columns) << line;
    }
  }
}

TEST(TextReport, NeverBreaksAWord) {
  RunResult result = MakeSampleRun().result;
  const std::string path(90, 'x');
  result.mutable_verdicts(1)->set_reason(absl::StrCat("see ", path, " for more"));
  for (const int columns : {30, 40, 80, 200}) {
    const std::string text = TextReport(result, columns, false);
    EXPECT_THAT(text, HasSubstr(path)) << columns;
    for (const char* word :
         {"recommend-slow-then-gone-20260301-101502,", "INCONCLUSIVE", "back-in-time", "processes"}) {
      EXPECT_THAT(text, HasSubstr(word)) << columns;
    }
  }
}

TEST(TextReport, PutsEachAssertionOnOneLineAtEightyColumns) {
  const std::string text = TextReport(MakeSampleRun().result, 80, false);
  EXPECT_THAT(text, HasSubstr("    ASSERTION     MEASURED         LIMIT           MARGIN\n"
                              "  ✓ timeout       331 ms           at most 402 ms  71 ms\n"
                              "  ✗ back-in-time  16.6 s           at most 10 s    -6.57 s\n"));
}

TEST(TextReport, WrapsCellsThatDoNotFitSideBySide) {
  RunResult result;
  result.set_exit_code(0);
  Verdict& verdict = *result.add_verdicts();
  verdict.set_assertion("recovery");
  verdict.set_result(Verdict::PASS);
  verdict.set_measured("a long measured value in words");
  verdict.set_limit("at most something else that is long as well");
  EXPECT_THAT(TextReport(result, 60, false),
              HasSubstr("  ✓ recovery   a long measured    at most something   -\n"
                        "               value in words     else that is long\n"
                        "                                  as well\n"));
}

TEST(TextReport, GivesUpTheTableWhereNoneFits) {
  RunResult result;
  Verdict& verdict = *result.add_verdicts();
  verdict.set_assertion("recovery-of-the-checkout-load");
  verdict.set_measured("12.4 s");
  verdict.set_limit("10 s");
  EXPECT_THAT(TextReport(result, 40, false), HasSubstr("  ? recovery-of-the-checkout-load\n"
                                                       "      MEASURED 12.4 s\n"
                                                       "      LIMIT 10 s\n"
                                                       "      MARGIN -\n"));
}

TEST(TextReport, SaysWhyForWhatDidNotPassAndOnlyForThat) {
  const std::string text = OneLine(TextReport(MakeSampleRun().result, 80, false));
  EXPECT_THAT(text, HasSubstr("FAIL: checkout was back in its band 16.6 s after gone was injected"));
  EXPECT_THAT(text, HasSubstr("INCONCLUSIVE: 18 calls at recommend failed"));
  EXPECT_THAT(text, HasSubstr("→ Raise `rate` above 200/s"));
  EXPECT_THAT(text, HasSubstr("first broken at 31.03 s"));
  EXPECT_THAT(text, Not(HasSubstr("the slowest took 331 ms")));
}

TEST(TextReport, ShowsWhatWasSeenOfEveryFault) {
  const std::string text = OneLine(TextReport(MakeSampleRun().result, 120, false));
  EXPECT_THAT(text, HasSubstr("achieved p50 501.3 ms, p99 549.8 ms of 500 ms asked"));
  EXPECT_THAT(text, HasSubstr("seen: 2 of 2 processes gone, started again once"));
}

TEST(TextReport, SaysWhyAFaultWasNeverInjected) {
  RunResult result;
  result.add_faults()->set_name("slow");
  EXPECT_THAT(TextReport(result, 80, false), HasSubstr("never injected"));
  result.mutable_faults(0)->set_seen("could not be injected: no cgroup");
  EXPECT_THAT(TextReport(result, 80, false), HasSubstr("could not be injected: no cgroup"));
}

TEST(TextReport, ColoursOnlyWhenAsked) {
  const RunResult result = MakeSampleRun().result;
  const std::string plain = TextReport(result, 80, false);
  EXPECT_THAT(plain, Not(HasSubstr("\x1b")));
  std::string coloured = TextReport(result, 80, true);
  EXPECT_THAT(coloured, HasSubstr("\x1b[31m✗ FAIL"));
  for (const char* code : {"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"}) {
    coloured = absl::StrReplaceAll(coloured, {{code, ""}});
  }
  EXPECT_EQ(coloured, plain) << "colour changes no layout";
}

TEST(TextReport, LetsNoServiceSteerTheTerminal) {
  RunResult result = MakeSampleRun().result;
  result.mutable_verdicts(1)->set_reason("it said \x1b]0;owned\x07 and\r\nleft");
  result.add_notes("\x1b[2J");
  EXPECT_THAT(TextReport(result, 80, false), Not(::testing::ContainsRegex("[\x01-\x09\x0b-\x1f]")));
}

TEST(TextReport, ShoutsAboutWhatMayStillBeThere) {
  RunResult result;
  result.set_exit_code(5);
  result.add_not_healed("tc qdisc del dev lo root");
  const std::string text = TextReport(result, 80, false);
  EXPECT_TRUE(absl::StartsWith(text, "✗ NOT HEALED")) << text;
  EXPECT_THAT(text, HasSubstr("NOT CONFIRMED AS UNDONE\n  ✗ tc qdisc del dev lo root\n"));
}

TEST(TextReport, SaysThatTheHostIsAsBeforeAndWhatOthersDidInALineEach) {
  RunResult result;
  DigestedHost& host = *result.add_digested_hosts();
  (*host.mutable_compared())["cgroups"] = 12;
  (*host.mutable_compared())["files"] = 3;
  (*host.mutable_compared())["nftables tables"] = 0;
  EXPECT_THAT(TextReport(result, 80, false), HasSubstr("\nhost as before: 12 cgroups, 3 files compared\n"));
  (*host.mutable_not_seen())["BPF programs"] = 1;
  HostChange& change = *result.add_host_changes();
  change.set_kind("cgroup");
  change.set_name("/sys/fs/cgroup/session-7.scope");
  change.set_after("there");
  const std::string text = TextReport(result, 200, false);
  EXPECT_THAT(text, HasSubstr("\nhost as before: 12 cgroups, 3 files compared; this user may not see all BPF programs\n"));
  EXPECT_THAT(text, HasSubstr("\nhost: others changed meanwhile: cgroup /sys/fs/cgroup/session-7.scope was made\n"));
  change.set_by_squall(true);
  EXPECT_THAT(TextReport(result, 200, false), HasSubstr("\nhost NOT as before, 1 change of squall's: 12 cgroups"));
}

TEST(TextReport, TakesAnUnknownWidthForEightyColumns) {
  const RunResult result = MakeSampleRun().result;
  EXPECT_EQ(TextReport(result, 0, false), TextReport(result, 80, false));
}

}  // namespace
}  // namespace squall
