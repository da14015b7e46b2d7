#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/report/escape.h"
#include "controller/report/report.h"
#include "controller/report/text_layout.h"
#include "controller/report/words.h"

namespace squall {
namespace {

constexpr int kReadable = 110;    // longer lines of prose are hard to read, however wide the terminal is
constexpr int kReasonIndent = 6;  // of what stands below a scenario
constexpr const char* kBold = "1";
constexpr const char* kDim = "2";

const char* ColorOf(Verdict::Result result) {
  return result == Verdict::PASS ? "32" : result == Verdict::FAIL ? "31" : "33";
}

class SuitePage {
 public:
  SuitePage(const SuiteResult& result, const std::string& folder, int columns, bool color)
      : result_(result),
        folder_(folder),
        columns_(columns <= 0 ? 80 : std::max(columns, 30)),
        prose_(std::min(columns_, kReadable)),
        color_(color) {}

  std::string Render() {
    Top();
    Table();
    return out_;
  }

 private:
  std::string Painted(const std::string& text, const char* how) const {
    return color_ && how != nullptr ? absl::StrCat("\x1b[", how, "m", text, "\x1b[0m") : text;
  }

  void Line(std::string line) {
    while (!line.empty() && line.back() == ' ') line.pop_back();
    absl::StrAppend(&out_, line, "\n");
  }

  // `lead` and then `text`, wrapped, all lines after the first indented by the width of the lead.
  void Paragraph(const std::string& lead, absl::string_view text, const char* how = nullptr,
                 const char* lead_how = nullptr) {
    const int indent = DisplayWidth(lead);
    bool first = true;
    for (const std::string& line : Wrap(text, prose_ - indent)) {
      Line(absl::StrCat(first ? Painted(lead, lead_how) : std::string(static_cast<size_t>(indent), ' '),
                        Painted(line, how)));
      first = false;
    }
  }

  void Top() {
    const Standing standing = StandingOf(result_.exit_code());
    const Verdict::Result as = AsResult(standing);
    Paragraph(absl::StrCat(ResultMark(as), " ", StandingWord(standing), "  "),
              absl::StrCat(result_.suite(), ": ", Headline(result_)), kBold, ColorOf(as));
    std::string rule;
    for (int i = 0; i < prose_; ++i) rule += "─";
    Line(Painted(rule, kDim));
    std::string suite = absl::StrCat("Suite ", result_.suite_id());
    if (!result_.started().empty()) absl::StrAppend(&suite, ", started ", result_.started());
    absl::StrAppend(&suite, ", ", RunTime(static_cast<int64_t>(result_.seconds() * 1e9)), " long");
    Paragraph("", suite, kDim);
    if (result_.inconclusive() == SuiteResult::INCONCLUSIVE_WARN && Unsure() > 0) {
      Paragraph("! ", absl::StrCat("warning: ", Count(Unsure(), "run is", "runs are"),
                                   " INCONCLUSIVE, which --inconclusive=warn does not count as a failure"),
                kBold, ColorOf(Verdict::INCONCLUSIVE));
    }
  }

  int Unsure() const {
    int unsure = 0;
    for (const ScenarioResult& scenario : result_.scenarios()) {
      for (const SuiteRun& run : scenario.runs()) unsure += run.result().exit_code() == 2;
    }
    return unsure;
  }

  static std::string Time(const ScenarioResult& scenario) {
    double seconds = 0;
    for (const SuiteRun& run : scenario.runs()) seconds += run.result().seconds();
    return scenario.runs().empty() ? "-" : RunTime(static_cast<int64_t>(seconds * 1e9));
  }

  void Table() {
    std::vector<TextRow> rows = {{"SCENARIO", "VERDICT", "TIME"}};
    for (const ScenarioResult& scenario : result_.scenarios()) {
      rows.push_back({TerminalText(scenario.scenario()), ScenarioWord(scenario), Time(scenario)});
    }
    // On a terminal that is too narrow for its words, columns stand as they are.
    std::vector<int> widths = FitColumns(rows, columns_ - 4);
    if (widths.empty()) widths = {0, 0, 0};
    Line("");
    Row(rows[0], widths, "    ", kBold);
    for (int i = 0; i < result_.scenarios_size(); ++i) {
      const ScenarioResult& scenario = result_.scenarios(i);
      const Verdict::Result as = AsResult(StandingOf(scenario.exit_code()));
      const bool ran = !scenario.runs().empty();
      const std::string mark = ran ? Painted(ResultMark(as), ColorOf(as)) : "-";
      Row(rows[static_cast<size_t>(i) + 1], widths, absl::StrCat("  ", mark, " "), nullptr);
      Below(scenario);
    }
  }

  void Row(const TextRow& row, const std::vector<int>& widths, const std::string& lead, const char* how) {
    std::vector<std::vector<std::string>> cells;
    size_t lines = 1;
    for (size_t i = 0; i < row.size(); ++i) {
      cells.push_back(widths[i] > 0 ? Wrap(row[i], widths[i]) : std::vector<std::string>{row[i]});
      lines = std::max(lines, cells.back().size());
    }
    for (size_t line = 0; line < lines; ++line) {
      std::string text = line == 0 ? lead : "    ";
      for (size_t i = 0; i < cells.size(); ++i) {
        if (i > 0) text += std::string(kTextGap, ' ');
        text += Painted(Pad(line < cells[i].size() ? cells[i][line] : "", widths[i]), how);
      }
      Line(text);
    }
  }

  // "under slow (latency) and gone (kill): answers-in-time, recovers-from-death hold".
  static std::string Held(const RunResult& run) {
    std::vector<std::string> faults, held;
    for (const FaultResult& fault : run.faults()) {
      faults.push_back(fault.name() == fault.kind() ? fault.name() : absl::StrCat(fault.name(), " (", fault.kind(), ")"));
    }
    for (const Verdict& verdict : run.verdicts()) held.push_back(verdict.assertion());
    if (held.empty()) return "";
    return absl::StrCat(faults.empty() ? "" : absl::StrCat("under ", absl::StrJoin(faults, " and "), ": "),
                        absl::StrJoin(held, ", "), held.size() == 1 ? " holds" : " hold");
  }

  // What held, or why a scenario did not pass, and where more is said.
  void Below(const ScenarioResult& scenario) {
    const std::string indent(kReasonIndent, ' ');
    const std::string runs = RunsWords(scenario);
    if (!runs.empty()) Paragraph(indent, runs);
    for (int i = 0; i < scenario.runs_size(); ++i) {
      const SuiteRun& run = scenario.runs(i);
      const std::string which = scenario.runs_size() > 1 ? absl::StrCat("run ", i + 1, ": ") : "";
      const Verdict::Result as = AsResult(StandingOf(run.result()));
      const std::string held = run.result().exit_code() == 0 ? Held(run.result()) : "";
      if (!held.empty()) Paragraph(absl::StrCat(indent, which), TerminalText(held));
      for (const std::string& cause : CausesOf(run.result())) {
        Paragraph(absl::StrCat(indent, which), cause, nullptr, ColorOf(as));
      }
      // Unbroken, so that it can be copied.
      if (!run.folder().empty()) {
        Line(Painted(absl::StrCat(indent, folder_, "/", run.folder(), "/report.html"), kDim));
      }
    }
    if (!scenario.not_run().empty()) {
      Paragraph(absl::StrCat(indent, scenario.runs().empty() ? "" : "the rest was not run: "), scenario.not_run());
    }
  }

  const SuiteResult& result_;
  const std::string folder_;
  const int columns_;
  const int prose_;
  const bool color_;
  std::string out_;
};

}  // namespace

std::string TextReport(const SuiteResult& result, const std::string& folder, int columns, bool color) {
  return SuitePage(result, folder, columns, color).Render();
}

}  // namespace squall
