#include <string>

#include "absl/strings/str_cat.h"
#include "controller/report/escape.h"
#include "controller/report/html_parts.h"
#include "controller/report/report.h"
#include "controller/report/words.h"

namespace squall {
namespace {

std::string Time(double seconds) { return RunTime(static_cast<int64_t>(seconds * 1e9)); }

std::string Top(const SuiteResult& result) {
  const Standing standing = StandingOf(result.exit_code());
  const Verdict::Result as = AsResult(standing);
  std::string out =
      absl::StrCat("<header class=\"top ", CssClass(as), "\">\n<p class=\"kind\">squall suite</p>\n<h1>",
                   Escape(result.suite()), "</h1>\n<p class=\"verdict\">", Badge(as, StandingWord(standing)),
                   " <span class=\"headline\">", Escape(Headline(result)), "</span></p>\n");
  int unsure = 0;
  for (const ScenarioResult& scenario : result.scenarios()) {
    for (const SuiteRun& run : scenario.runs()) unsure += run.result().exit_code() == 2;
  }
  if (unsure > 0 && result.inconclusive() == SuiteResult::INCONCLUSIVE_WARN) {
    absl::StrAppend(&out, "<p class=\"story\"><b>Warning:</b> ", Count(unsure, "run is", "runs are"),
                    " INCONCLUSIVE, which <code>--inconclusive=warn</code> does not count as a failure.</p>\n");
  }
  if (result.interrupted()) {
    absl::StrAppend(&out, "<p class=\"story\">The suite was ended from outside before all of it was run.</p>\n");
  }
  absl::StrAppend(&out, "<dl class=\"facts\">", Entry("started", result.started()), Entry("length", Time(result.seconds())),
                  Entry("suite", result.suite_id()), Entry("squall", result.squall_version()),
                  Entry("exit code", absl::StrCat(result.exit_code())), "</dl>\n</header>\n");
  return out;
}

// A link to the report of one run. Folders are named by squall and hold no character that a URL would need escaped.
std::string Link(const SuiteRun& run, absl::string_view words) {
  if (run.folder().empty()) return Escape(words);
  return absl::StrCat("<a href=\"", Escape(run.folder()), "/report.html\">", Escape(words), "</a>");
}

// What is said about a run below its scenario: nothing for the only run of one that passed.
std::string RunHtml(const ScenarioResult& scenario, int index) {
  const SuiteRun& run = scenario.runs(index);
  const bool only = scenario.runs_size() == 1;
  const auto causes = CausesOf(run.result());
  std::string out;
  if (!only) {
    const Standing standing = StandingOf(run.result());
    absl::StrAppend(&out, "<p>", Link(run, absl::StrCat("run ", index + 1)), " ",
                    Badge(AsResult(standing), StandingWord(standing)), " <span class=\"none\">",
                    Time(run.result().seconds()), run.replaced() ? ", does not count: it was run again" : "",
                    "</span></p>");
  }
  if (causes.empty()) return out;
  absl::StrAppend(&out, "<ul class=\"causes\">");
  for (const std::string& cause : causes) absl::StrAppend(&out, "<li>", Prose(Sentence(cause)), "</li>");
  return absl::StrCat(out, "</ul>");
}

std::string ScenarioHtml(const ScenarioResult& scenario) {
  const bool ran = !scenario.runs().empty();
  const Verdict::Result as = ran ? AsResult(StandingOf(scenario.exit_code())) : Verdict::INCONCLUSIVE;
  int assertions = 0, hold = 0;
  double seconds = 0;
  for (const SuiteRun& run : scenario.runs()) {
    seconds += run.result().seconds();
    if (run.replaced()) continue;
    assertions += run.result().verdicts_size();
    for (const Verdict& verdict : run.result().verdicts()) hold += verdict.result() == Verdict::PASS;
  }
  std::string name = absl::StrCat("<b>", scenario.runs_size() == 1 ? Link(scenario.runs(0), scenario.scenario())
                                                                  : Escape(scenario.scenario()),
                                  "</b>");
  if (!scenario.description().empty()) absl::StrAppend(&name, "<br/><span class=\"none\">", Escape(scenario.description()), "</span>");
  std::string below;
  for (int i = 0; i < scenario.runs_size(); ++i) absl::StrAppend(&below, RunHtml(scenario, i));
  if (!scenario.not_run().empty()) {
    absl::StrAppend(&below, "<p>", ran ? "The rest was not run: " : "Not run: ", Escape(Sentence(scenario.not_run())), "</p>");
  }
  std::string tags;
  for (const std::string& tag : scenario.tags()) absl::StrAppend(&tags, tags.empty() ? "" : ", ", tag);
  std::string out = absl::StrCat(
      "<tbody role=\"rowgroup\" class=\"", CssClass(as), "\"><tr role=\"row\">",
      Cell("Verdict", Badge(as, ScenarioWord(scenario)), "lead"), Cell("Scenario", absl::StrCat("<div>", name, "</div>")),
      Cell("Assertions", assertions > 0 ? absl::StrCat(hold, " of ", assertions, " hold") : "", "figure"),
      Cell("Time", ran ? Time(seconds) : "", "figure"), Cell("Tags", Escape(tags)),
      Cell("File", Escape(scenario.file()), "file"), "</tr>\n");
  if (!below.empty()) {
    absl::StrAppend(&out, "<tr role=\"row\" class=\"why\"><td role=\"cell\" colspan=\"6\">", below, "</td></tr>\n");
  }
  return absl::StrCat(out, "</tbody>\n");
}

constexpr absl::string_view kAgain =
    "<section><h2>Judge it again</h2>\n<p>The verdicts follow from the recorded timelines alone. This gives them again, "
    "where SUITE is the folder that this file lies in:</p>\n<pre tabindex=\"0\">squall judge SUITE</pre></section>\n";

}  // namespace

std::string HtmlIndex(const SuiteResult& result) {
  const std::string title =
      absl::StrCat(StandingWord(StandingOf(result.exit_code())), ": ", result.suite(), " - squall");
  std::string out = absl::StrCat(
      PageHead(title), "<main>\n", Top(result),
      "<section><h2>Scenarios</h2>\n<table role=\"table\" class=\"stacks assertions suite\">",
      Heads({"Verdict", "Scenario", "Assertions", "Time", "Tags", "File"}));
  for (const ScenarioResult& scenario : result.scenarios()) absl::StrAppend(&out, ScenarioHtml(scenario));
  absl::StrAppend(&out, "</table></section>\n", kAgain, "</main>\n</body>\n</html>\n");
  return out;
}

}  // namespace squall
