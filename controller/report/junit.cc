#include <tinyxml2.h>

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
void SetTally(XMLElement& element, const RunResult& result, const Tally& tally) {
  Set(element, "name", result.scenario());
  element.SetAttribute("tests", tally.tests);
  element.SetAttribute("failures", tally.failures);
  element.SetAttribute("errors", tally.errors);
  Set(element, "time", absl::StrFormat("%.3f", result.seconds()));
}

}  // namespace

std::string JunitReport(const RunResult& result, bool inconclusive_fails) {
  tinyxml2::XMLDocument document;
  document.InsertEndChild(document.NewDeclaration());
  XMLElement& suites = *document.NewElement("testsuites");
  document.InsertEndChild(&suites);
  XMLElement& suite = *suites.InsertNewChildElement("testsuite");

  XMLElement& properties = *suite.InsertNewChildElement("properties");
  Property(properties, "run_id", result.run_id());
  Property(properties, "seed", absl::StrCat(result.seed()));
  Property(properties, "squall_version", result.squall_version());
  Property(properties, "exit_code", absl::StrCat(result.exit_code()));

  Tally tally;
  for (const Verdict& verdict : result.verdicts())
    AddVerdict(suite, result, verdict, inconclusive_fails, tally);
  AddRun(suite, result, inconclusive_fails, tally);
  suite.InsertNewChildElement("system-out")->SetText(ValidText(TextReport(result, 100, false)).c_str());

  SetTally(suites, result, tally);
  SetTally(suite, result, tally);
  suite.SetAttribute("skipped", tally.skipped);
  absl::Time started;
  std::string error;
  // Readers of JUnit files want the time without a zone.
  if (absl::ParseTime(absl::RFC3339_full, result.started(), &started, &error)) {
    Set(suite, "timestamp", absl::FormatTime("%Y-%m-%dT%H:%M:%S", started, absl::UTCTimeZone()));
  }

  tinyxml2::XMLPrinter printer;
  document.Print(&printer);
  return absl::StrCat(printer.CStr(), "\n");
}

}  // namespace squall
