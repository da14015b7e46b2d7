#include <tinyxml2.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "controller/report/escape.h"
#include "controller/report/report.h"
#include "controller/report/words.h"

namespace squall {
namespace {

using tinyxml2::XMLElement;

struct Tally {
  int tests = 0;
  int failures = 0;
  int errors = 0;
  int skipped = 0;
};

void Set(XMLElement& element, const char* name, absl::string_view value) {
  element.SetAttribute(name, ValidText(value).c_str());
}

void Property(XMLElement& properties, const char* name, absl::string_view value) {
  XMLElement& property = *properties.InsertNewChildElement("property");
  Set(property, "name", name);
  Set(property, "value", value);
}

XMLElement& AddCase(XMLElement& suite, const RunResult& result, absl::string_view name,
                    absl::string_view kind, Tally& tally) {
  XMLElement& test = *suite.InsertNewChildElement("testcase");
  Set(test, "name", name);
  Set(test, "classname", absl::StrCat(result.scenario(), ".", kind));
  ++tally.tests;
  return test;
}

void Add(XMLElement& test, const char* element_name, absl::string_view type, absl::string_view message,
         absl::string_view text) {
  XMLElement& element = *test.InsertNewChildElement(element_name);
  Set(element, "type", type);
  Set(element, "message", message);
  if (!text.empty()) element.SetText(ValidText(text).c_str());
}

// Everything that is known about a verdict, for the page of one test.
std::string Figures(const Verdict& verdict) {
  std::string text;
  const auto line = [&](absl::string_view name, absl::string_view value) {
    if (!value.empty()) absl::StrAppend(&text, name, ": ", value, "\n");
  };
  line("advice", verdict.advice());
  line("measured", verdict.measured());
  line("limit", verdict.limit());
  line("margin", verdict.margin());
  line("samples", absl::StrCat(verdict.samples()));
  if (verdict.first_broken_ns() > 0) line("first broken at", RunTime(verdict.first_broken_ns()));
  for (const Detail& detail : verdict.details()) line(detail.name(), detail.value());
  for (const std::string& example : verdict.examples()) line("trace id", example);
  return text;
}

void AddVerdict(XMLElement& suite, const RunResult& result, const Verdict& verdict, bool inconclusive_fails,
                Tally& tally) {
  XMLElement& test = AddCase(suite, result, verdict.assertion(), verdict.kind(), tally);
  const std::string figures = Figures(verdict);
  if (verdict.result() == Verdict::PASS) {
    test.InsertNewChildElement("system-out")->SetText(ValidText(figures).c_str());
    return;
  }
  const bool skips = verdict.result() != Verdict::FAIL && !inconclusive_fails;
  Add(test, skips ? "skipped" : "failure", ResultWord(verdict.result()), verdict.reason(), figures);
  ++(skips ? tally.skipped : tally.failures);
}

// A run that did not go as planned must be seen even when every assertion that was judged passed.
void AddRun(XMLElement& suite, const RunResult& result, bool inconclusive_fails, Tally& tally) {
  const Standing standing = StandingOf(result);
  const bool judged =
      standing == Standing::kPass || standing == Standing::kFail || standing == Standing::kInconclusive;
  if (judged && !(result.verdicts().empty() && standing != Standing::kPass)) return;
  XMLElement& test = AddCase(suite, result, "run", "squall", tally);
  std::string text = result.ending_reason();
  for (const std::string& item : result.not_healed()) absl::StrAppend(&text, "\nnot healed: ", item);
  const bool fails = standing == Standing::kGuardrail || standing == Standing::kFail;
  const bool skips = standing == Standing::kInconclusive && !inconclusive_fails;
  const bool errs = !fails && standing != Standing::kInconclusive;
  Add(test, errs ? "error" : skips ? "skipped" : "failure", StandingWord(standing), Headline(result), text);
  ++(errs ? tally.errors : skips ? tally.skipped : tally.failures);
}

// Everything but `skipped`, which belongs to a suite only.
void SetTally(XMLElement& element, absl::string_view name, const Tally& tally, double seconds) {
  Set(element, "name", name);
  element.SetAttribute("tests", tally.tests);
  element.SetAttribute("failures", tally.failures);
  element.SetAttribute("errors", tally.errors);
  Set(element, "time", absl::StrFormat("%.3f", seconds));
}

void SetTimestamp(XMLElement& suite, const std::string& started) {
  absl::Time time;
  std::string error;
  // Readers of JUnit files want the time without a zone.
  if (absl::ParseTime(absl::RFC3339_full, started, &time, &error)) {
    Set(suite, "timestamp", absl::FormatTime("%Y-%m-%dT%H:%M:%S", time, absl::UTCTimeZone()));
  }
}

void AddProperties(XMLElement& properties, const RunResult& result) {
  Property(properties, "run_id", result.run_id());
  Property(properties, "seed", absl::StrCat(result.seed()));
  Property(properties, "squall_version", result.squall_version());
  Property(properties, "exit_code", absl::StrCat(result.exit_code()));
}

std::string Print(const tinyxml2::XMLDocument& document) {
  tinyxml2::XMLPrinter printer;
  document.Print(&printer);
  return absl::StrCat(printer.CStr(), "\n");
}

// What follows the names of the cases of one run where a scenario has several: " (run 2 of 3)".
std::string WhichRun(const ScenarioResult& scenario, int index) {
  if (scenario.runs_size() == 1 && scenario.repeat() <= 1) return "";
  return absl::StrCat(" (run ", index + 1, " of ", std::max(scenario.runs_size(), scenario.repeat()), ")");
}

void AppendToName(XMLElement& test, const std::string& words) {
  if (!words.empty()) Set(test, "name", absl::StrCat(test.Attribute("name"), words));
}

// The cases of one run. Of one that was replaced, those that could not be judged, as skipped: the run after it counts.
void AddRunOfSuite(XMLElement& suite, const SuiteRun& run, const std::string& which, bool inconclusive_fails, Tally& tally) {
  const XMLElement* last = suite.LastChildElement("testcase");
  if (run.replaced()) {
    for (const Verdict& verdict : run.result().verdicts()) {
      if (verdict.result() != Verdict::PASS) AddVerdict(suite, run.result(), verdict, false, tally);
    }
  } else {
    for (const Verdict& verdict : run.result().verdicts()) {
      AddVerdict(suite, run.result(), verdict, inconclusive_fails, tally);
    }
    AddRun(suite, run.result(), inconclusive_fails, tally);
  }
  XMLElement* added = last == nullptr ? suite.FirstChildElement("testcase")
                                      : const_cast<XMLElement*>(last)->NextSiblingElement("testcase");
  for (; added != nullptr; added = added->NextSiblingElement("testcase")) AppendToName(*added, which);
}

// What was not run is skipped beside something that is red, and an error where the file would be green without it.
void AddNotRun(XMLElement& suite, const ScenarioResult& scenario, bool red_elsewhere, Tally& tally) {
  RunResult named;
  named.set_scenario(scenario.scenario());
  XMLElement& test = AddCase(suite, named, "run", "squall", tally);
  Add(test, red_elsewhere ? "skipped" : "error", "NOT RUN", absl::StrCat("not run: ", scenario.not_run()), "");
  ++(red_elsewhere ? tally.skipped : tally.errors);
}

// A suite fails in CI for more than a run that was cut short by a signal.
bool HasRed(const SuiteResult& result) {
  for (const ScenarioResult& scenario : result.scenarios()) {
    for (const SuiteRun& run : scenario.runs()) {
      const int code = run.result().exit_code();
      const bool unsure = code == 2 && (run.replaced() || result.inconclusive() == SuiteResult::INCONCLUSIVE_WARN);
      if (code != 0 && !unsure) return true;
    }
  }
  return false;
}

}  // namespace

std::string JunitReport(const RunResult& result, bool inconclusive_fails) {
  tinyxml2::XMLDocument document;
  document.InsertEndChild(document.NewDeclaration());
  XMLElement& suites = *document.NewElement("testsuites");
  document.InsertEndChild(&suites);
  XMLElement& suite = *suites.InsertNewChildElement("testsuite");
  AddProperties(*suite.InsertNewChildElement("properties"), result);
  Tally tally;
  for (const Verdict& verdict : result.verdicts())
    AddVerdict(suite, result, verdict, inconclusive_fails, tally);
  AddRun(suite, result, inconclusive_fails, tally);
  suite.InsertNewChildElement("system-out")->SetText(ValidText(TextReport(result, 100, false)).c_str());

  SetTally(suites, result.scenario(), tally, result.seconds());
  SetTally(suite, result.scenario(), tally, result.seconds());
  suite.SetAttribute("skipped", tally.skipped);
  SetTimestamp(suite, result.started());
  return Print(document);
}

std::string JunitReport(const SuiteResult& result) {
  tinyxml2::XMLDocument document;
  document.InsertEndChild(document.NewDeclaration());
  XMLElement& suites = *document.NewElement("testsuites");
  document.InsertEndChild(&suites);
  const bool inconclusive_fails = result.inconclusive() != SuiteResult::INCONCLUSIVE_WARN;
  const bool red = HasRed(result);
  Tally all;
  for (const ScenarioResult& scenario : result.scenarios()) {
    XMLElement& suite = *suites.InsertNewChildElement("testsuite");
    XMLElement& properties = *suite.InsertNewChildElement("properties");
    Property(properties, "file", scenario.file());
    Property(properties, "exit_code", absl::StrCat(scenario.exit_code()));
    Tally tally;
    double seconds = 0;
    std::string text;
    for (int i = 0; i < scenario.runs_size(); ++i) {
      const SuiteRun& run = scenario.runs(i);
      const std::string which = WhichRun(scenario, i);
      Property(properties, absl::StrCat("run_id", which).c_str(), run.result().run_id());
      AddRunOfSuite(suite, run, which, inconclusive_fails, tally);
      seconds += run.result().seconds();
      absl::StrAppend(&text, text.empty() ? "" : "\n", TextReport(run.result(), 100, false));
    }
    if (!scenario.not_run().empty()) AddNotRun(suite, scenario, red, tally);
    if (!text.empty()) suite.InsertNewChildElement("system-out")->SetText(ValidText(text).c_str());
    SetTally(suite, scenario.scenario(), tally, seconds);
    suite.SetAttribute("skipped", tally.skipped);
    if (!scenario.runs().empty()) SetTimestamp(suite, scenario.runs(0).result().started());
    all.tests += tally.tests;
    all.failures += tally.failures;
    all.errors += tally.errors;
  }
  SetTally(suites, result.suite(), all, result.seconds());
  return Print(document);
}

}  // namespace squall
