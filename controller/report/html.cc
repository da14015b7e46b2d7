#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/text.h"
#include "controller/plan.h"
#include "controller/report/charts.h"
#include "controller/report/escape.h"
#include "controller/report/html_parts.h"
#include "controller/report/report.h"
#include "controller/report/ribbon.h"
#include "controller/report/scenario_text.h"
#include "controller/report/words.h"

namespace squall {
namespace {

constexpr size_t kMostEvents = 300;
constexpr size_t kMostCauses = 4;
constexpr size_t kMostChanges = 50;

// Why the run did not pass, for those who read no further.
std::string Causes(const RunResult& result) {
  const std::vector<const Verdict*> decisive = Decisive(result);
  if (decisive.empty()) return "";
  std::string out = "<ul class=\"causes\">";
  for (size_t i = 0; i < std::min(decisive.size(), kMostCauses); ++i) {
    absl::StrAppend(&out, "<li><b>", Escape(decisive[i]->assertion()), ":</b> ",
                    Prose(Sentence(decisive[i]->reason())), "</li>");
  }
  if (decisive.size() > kMostCauses) {
    absl::StrAppend(&out, "<li>and ", decisive.size() - kMostCauses, " more, below</li>");
  }
  return absl::StrCat(out, "</ul>\n");
}

std::string Top(const RunResult& result, const Timeline& timeline) {
  const Standing standing = StandingOf(result);
  const Verdict::Result as = AsResult(standing);
  std::string out =
      absl::StrCat("<header class=\"top ", CssClass(as), "\">\n<p class=\"kind\">squall run</p>\n<h1>",
                   Escape(result.scenario()), "</h1>\n");
  if (!result.description().empty()) {
    absl::StrAppend(&out, "<p class=\"description\">", Escape(result.description()), "</p>\n");
  }
  absl::StrAppend(&out, "<p class=\"verdict\">", Badge(as, StandingWord(standing)),
                  " <span class=\"headline\">", Escape(Headline(result)), "</span></p>\n<p class=\"story\">",
                  Prose(Story(result)), "</p>\n", Causes(result));
  const int64_t uncertainty = timeline.header.clock_uncertainty_ns();
  absl::StrAppend(&out, "<dl class=\"facts\">", Entry("started", result.started()),
                  Entry("length", RunTime(static_cast<int64_t>(result.seconds() * 1e9))),
                  Entry("host", timeline.header.host()), Entry("run", result.run_id()),
                  Entry("seed", absl::StrCat(result.seed())), Entry("squall", result.squall_version()),
                  Entry("exit code", absl::StrCat(result.exit_code())),
                  uncertainty > 0 ? Entry("clocks agree within", HumanNanos(uncertainty)) : "",
                  "</dl>\n</header>\n");
  return out;
}

std::string NotHealed(const RunResult& result) {
  if (result.not_healed().empty()) return "";
  std::string out =
      "<section class=\"alarm\" role=\"alert\"><h2>Not confirmed as undone</h2><p>Look at the host before "
      "anything "
      "else.</p><ul>";
  for (const std::string& item : result.not_healed()) absl::StrAppend(&out, "<li>", Prose(item), "</li>");
  return absl::StrCat(out, "</ul></section>\n");
}

// What stands below the figures of an assertion.
std::string Why(const Verdict& verdict) {
  std::string out;
  if (!verdict.reason().empty())
    absl::StrAppend(&out, "<p class=\"reason\">", Prose(verdict.reason()), "</p>");
  if (!verdict.advice().empty()) {
    absl::StrAppend(&out, "<p class=\"advice\"><b>To have it judged:</b> ", Prose(verdict.advice()), "</p>");
  }
  std::string details;
  if (verdict.first_broken_ns() > 0) {
    absl::StrAppend(&details, Entry("first broken at", RunTime(verdict.first_broken_ns())));
  }
  for (const Detail& detail : verdict.details())
    absl::StrAppend(&details, Entry(detail.name(), detail.value()));
  if (!details.empty()) absl::StrAppend(&out, "<dl class=\"details\">", details, "</dl>");
  if (!verdict.examples().empty()) {
    absl::StrAppend(&out, "<p class=\"examples\"><span>trace ids of requests that broke it</span>");
    for (const std::string& example : verdict.examples())
      absl::StrAppend(&out, " <code>", Escape(example), "</code>");
    absl::StrAppend(&out, "</p>");
  }
  return out;
}

std::string Assertions(const RunResult& result) {
  if (result.verdicts().empty()) return "";
  std::string out =
      absl::StrCat("<section><h2>Assertions</h2>\n<table role=\"table\" class=\"stacks assertions\">",
                   Heads({"Verdict", "Assertion", "Measured", "Limit", "Margin", "Samples"}));
  for (const Verdict& verdict : result.verdicts()) {
    std::string name = absl::StrCat("<b>", Escape(verdict.assertion()), "</b>");
    if (verdict.kind() != verdict.assertion()) {
      absl::StrAppend(&name, " <span class=\"none\">", Escape(verdict.kind()), "</span>");
    }
    absl::StrAppend(
        &out, "<tbody role=\"rowgroup\" class=\"", CssClass(verdict.result()), "\"><tr role=\"row\">",
        Cell("Verdict", Badge(verdict.result(), ResultWord(verdict.result())), "lead"),
        Cell("Assertion", name), Cell("Measured", Prose(verdict.measured()), "figure measured"),
        Cell("Limit", Prose(verdict.limit()), "figure"), Cell("Margin", Prose(verdict.margin()), "figure"),
        Cell("Samples", Thousands(verdict.samples()), "figure"), "</tr>\n");
    const std::string why = Why(verdict);
    if (!why.empty()) {
      absl::StrAppend(&out, "<tr role=\"row\" class=\"why\"><td role=\"cell\" colspan=\"6\">", why,
                      "</td></tr>\n");
    }
    absl::StrAppend(&out, "</tbody>\n");
  }
  return absl::StrCat(out, "</table></section>\n");
}

// What was counted and measured where the fault acts, asked beside achieved.
std::string EvidenceHtml(const FaultResult& fault) {
  const Evidence& evidence = fault.evidence();
  std::string html = Prose(SeenWords(fault));
  std::string more;
  if (evidence.bytes() > 0) absl::StrAppend(&more, HumanBytes(evidence.bytes()), " passed");
  if (!evidence.pids().empty()) absl::StrAppend(&more, evidence.pids_size() == 1 ? "pid" : "pids");
  for (const int pid : evidence.pids()) absl::StrAppend(&more, " ", pid);
  if (!more.empty())
    absl::StrAppend(&html, html.empty() ? "" : "<br/>", "<span class=\"none\">", Prose(more), "</span>");
  return html;
}

std::string Faults(const RunResult& result) {
  if (result.faults().empty()) return "";
  std::string out =
      absl::StrCat("<section><h2>Faults</h2>\n<table role=\"table\" class=\"stacks\">",
                   Heads({"Fault", "What", "Injected at", "Healed at", "Healing took", "Evidence"}),
                   "<tbody role=\"rowgroup\">");
  for (const FaultResult& fault : result.faults()) {
    const bool injected = fault.injected_ns() > 0;
    absl::StrAppend(
        &out, "<tr role=\"row\">", Cell("Fault", absl::StrCat("<b>", Escape(fault.name()), "</b>"), "lead"),
        Cell("What", Prose(fault.what())),
        Cell("Injected at", injected ? RunTime(fault.injected_ns()) : "never injected", "figure"),
        Cell("Healed at", injected ? HealedWords(fault) : "", "figure"),
        Cell("Healing took", fault.healed_ns() > 0 ? HumanNanos(fault.healing_took_ns()) : "", "figure"),
        Cell("Evidence", EvidenceHtml(fault)), "</tr>\n");
  }
  return absl::StrCat(out, "</tbody></table></section>\n");
}

struct Event {
  int64_t at_ns = 0;
  std::string who, what, more;
};

std::vector<Event> Events(const Timeline& timeline) {
  std::vector<Event> events;
  for (const PhaseEvent& phase : timeline.phases) {
    if (phase.phase() == PhaseEvent::DONE) continue;
    events.push_back({phase.at_ns(), "run", absl::StrCat("phase ", PhaseName(phase.phase())), ""});
  }
  for (const FaultSpan& fault : timeline.faults) {
    const auto add = [&](const std::optional<int64_t>& at_ns, const char* what, const std::string& more) {
      if (at_ns) events.push_back({*at_ns, fault.name, what, more});
    };
    add(fault.injected_ns, "injected", "");
    add(fault.heal_asked_ns, "healing asked for", "");
    add(fault.healed_ns, "healed", fault.message);
  }
  for (const ServiceEvent& event : timeline.services) {
    std::string more = event.pid() > 0 ? absl::StrCat("pid ", event.pid()) : "";
    if (!event.message().empty()) absl::StrAppend(&more, more.empty() ? "" : ", ", event.message());
    events.push_back({event.at_ns(), event.service(), ServiceWord(event), more});
  }
  std::stable_sort(events.begin(), events.end(),
                   [](const Event& a, const Event& b) { return a.at_ns < b.at_ns; });
  return events;
}

std::string EventsHtml(const Timeline& timeline) {
  const std::vector<Event> events = Events(timeline);
  if (events.empty()) return "";
  std::string out =
      absl::StrCat("<section><h2>Events</h2>\n<div class=\"scrolls\" tabindex=\"0\"><table class=\"events\">",
                   "<thead><tr><th scope=\"col\">At</th><th scope=\"col\">Who</th><th scope=\"col\">What</th>"
                   "<th scope=\"col\">More</th></tr></thead>\n<tbody>");
  for (size_t i = 0; i < std::min(events.size(), kMostEvents); ++i) {
    const Event& event = events[i];
    absl::StrAppend(&out, "<tr><td class=\"figure\">", RunTime(event.at_ns), "</td><td>", Escape(event.who),
                    "</td><td>", Escape(event.what), "</td><td>", Escape(event.more), "</td></tr>\n");
  }
  absl::StrAppend(&out, "</tbody></table></div>");
  if (events.size() > kMostEvents) {
    absl::StrAppend(&out, "<p class=\"none\">", Thousands(static_cast<int64_t>(events.size() - kMostEvents)),
                    " later events are in the timeline.</p>");
  }
  return absl::StrCat(out, "</section>\n");
}

std::string Host(const RunResult& result) {
  const std::vector<std::string> words = HostWords(result);
  if (words.empty()) return "";
  std::string out = "<section><h2>The host, before and after</h2>\n";
  for (const std::string& line : words) absl::StrAppend(&out, "<p>", Prose(Sentence(line)), "</p>\n");
  if (result.host_changes().empty()) return absl::StrCat(out, "</section>\n");
  absl::StrAppend(&out, "<table role=\"table\" class=\"stacks\">",
                  Heads({"What", "Before", "After", "By", "What puts it back"}), "<tbody role=\"rowgroup\">");
  const int shown = std::min<int>(result.host_changes_size(), static_cast<int>(kMostChanges));
  for (int i = 0; i < shown; ++i) {
    const HostChange& change = result.host_changes(i);
    const auto state = [](const std::string& text) { return text.empty() ? std::string("was not there") : text; };
    absl::StrAppend(&out, "<tr role=\"row\">",
                    Cell("What", Prose(absl::StrCat(change.agent().empty() ? "" : absl::StrCat(change.agent(), ": "), change.kind(), " ",
                                                    change.name())),
                         "lead"),
                    Cell("Before", Prose(state(change.before()))),
                    Cell("After", Prose(change.after().empty() ? "is gone" : change.after())),
                    Cell("By", change.by_squall() ? "<b>squall</b>" : "others"), Cell("What puts it back", Prose(change.command())), "</tr>\n");
  }
  absl::StrAppend(&out, "</tbody></table>");
  if (result.host_changes_size() > shown) {
    absl::StrAppend(&out, "<p class=\"none\">", Thousands(result.host_changes_size() - shown), " more are in verdicts.json.</p>");
  }
  return absl::StrCat(out, "</section>\n");
}

std::string Notes(const RunResult& result) {
  if (result.notes().empty()) return "";
  std::string out = "<section><h2>Notes</h2><ul class=\"notes\">";
  for (const std::string& note : result.notes()) absl::StrAppend(&out, "<li>", Prose(note), "</li>");
  return absl::StrCat(out, "</ul></section>\n");
}

void AddMechanisms(absl::string_view title, const google::protobuf::Map<std::string, std::string>& by_name, std::string& out) {
  if (by_name.empty()) return;
  // A map of protobuf has no order of its own.
  std::vector<std::pair<std::string, std::string>> mechanisms(by_name.begin(), by_name.end());
  std::sort(mechanisms.begin(), mechanisms.end());
  absl::StrAppend(&out, "<h3>", title, "</h3><dl class=\"details\">");
  for (const auto& [name, mechanism] : mechanisms) absl::StrAppend(&out, Entry(name, mechanism));
  absl::StrAppend(&out, "</dl>\n");
}

std::string ScenarioHtml(const Timeline& timeline) {
  std::string out =
      "<section><h2>The scenario</h2>\n<p class=\"none\">As it was carried out: defaults and references "
      "filled in, "
      "secrets left out.</p>\n<pre tabindex=\"0\">";
  absl::StrAppend(&out, Escape(ScenarioText(timeline.header.scenario())), "</pre>\n");
  AddMechanisms("How each edge was reached", timeline.header.edge_mechanisms(), out);
  AddMechanisms("How queries for names were reached", timeline.header.resolver_mechanisms(), out);
  return absl::StrCat(out, "</section>\n");
}

constexpr absl::string_view kAgain =
    "<section><h2>Judge it again</h2>\n<p>The verdicts follow from the recorded timeline alone. This gives "
    "them again, "
    "where RUN is the folder that this file lies in:</p>\n<pre tabindex=\"0\">squall judge "
    "RUN</pre></section>\n";

}  // namespace

std::string HtmlReport(const RunResult& result, const Timeline& timeline) {
  const std::string title =
      absl::StrCat(StandingWord(StandingOf(result)), ": ", result.scenario(), " - squall");
  std::string out = absl::StrCat(PageHead(title), ChartPatterns());
  absl::StrAppend(&out, "<main>\n", Top(result, timeline), NotHealed(result), Assertions(result),
                  Faults(result));
  absl::StrAppend(
      &out,
      "<section><h2>What happened</h2>\n<p class=\"hint\">The charts scroll sideways, all at once.</p>\n",
      ChartsHtml(result, timeline), "</section>\n");
  absl::StrAppend(&out, EventsHtml(timeline), Host(result), Notes(result), ScenarioHtml(timeline), kAgain,
                  "</main>\n</body>\n</html>\n");
  return out;
}

}  // namespace squall
