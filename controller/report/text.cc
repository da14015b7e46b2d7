#include "base/text.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/calibration.h"
#include "controller/report/escape.h"
#include "controller/report/report.h"
#include "controller/report/text_layout.h"
#include "controller/report/words.h"

namespace squall {
namespace {

constexpr int kReasonIndent = 6;  // of what stands below an assertion
constexpr int kReadable = 110;    // longer lines of prose are hard to read, however wide the terminal is

class TextPage {
 public:
  TextPage(int columns, bool color)
      : columns_(columns <= 0 ? 80 : std::max(columns, 30)),
        prose_(std::min(columns_, kReadable)),
        color_(color) {}

  std::string Render(const RunResult& result) {
    Top(result);
    Faults(result);
    Assertions(result);
    Ends(result);
    return out_;
  }

 private:
  enum Paint { kPlain, kBold, kDim, kGreen, kRed, kYellow };

  std::string Painted(const std::string& text, Paint paint) const {
    static constexpr const char* kCodes[] = {"", "1", "2", "32", "31", "33"};
    if (!color_ || paint == kPlain) return text;
    return absl::StrCat("\x1b[", kCodes[paint], "m", text, "\x1b[0m");
  }

  static Paint PaintOf(Verdict::Result result) {
    return result == Verdict::PASS ? kGreen : result == Verdict::FAIL ? kRed : kYellow;
  }
  static Paint PaintOf(Standing standing) {
    return standing == Standing::kPass ? kGreen : standing == Standing::kInconclusive ? kYellow : kRed;
  }

  // Trailing spaces are left out, so that a narrower window does not break lines.
  void Line(std::string line) {
    while (!line.empty() && line.back() == ' ') line.pop_back();
    absl::StrAppend(&out_, line, "\n");
  }

  // `lead` and then `text`, wrapped, all lines after the first indented by the width of the lead.
  void Paragraph(const std::string& lead, absl::string_view text, Paint paint = kPlain,
                 Paint lead_paint = kPlain) {
    const int indent = DisplayWidth(lead);
    bool first = true;
    for (const std::string& line : Wrap(text, prose_ - indent)) {
      Line(absl::StrCat(first ? Painted(lead, lead_paint) : std::string(indent, ' '), Painted(line, paint)));
      first = false;
    }
  }

  void Top(const RunResult& result) {
    const Standing standing = StandingOf(result);
    const std::string word = StandingWord(standing);
    Paragraph(absl::StrCat(ResultMarkOf(standing), " ", word, "  "),
              absl::StrCat(result.scenario(), ": ", Headline(result)), kBold, PaintOf(standing));
    std::string rule;
    for (int i = 0; i < std::min(columns_, kReadable); ++i) rule += "─";
    Line(Painted(rule, kDim));
    if (!result.description().empty()) Paragraph("", result.description());
    std::string run = absl::StrCat("Run ", result.run_id());
    if (!result.started().empty()) absl::StrAppend(&run, ", started ", result.started());
    absl::StrAppend(&run, ", ", RunTime(static_cast<int64_t>(result.seconds() * 1e9)), " long, seed ",
                    result.seed());
    Paragraph("", run, kDim);
    if (!result.ending_reason().empty()) Paragraph("", result.ending_reason());
  }

  static std::string ResultMarkOf(Standing standing) { return ResultMark(AsResult(standing)); }

  void Heading(const std::string& heading) {
    Line("");
    Line(Painted(heading, kBold));
  }

  void Faults(const RunResult& result) {
    if (result.faults().empty()) return;
    Heading("FAULTS");
    int width = 0;
    for (const FaultResult& fault : result.faults())
      width = std::max(width, DisplayWidth(TerminalText(fault.name())));
    width = std::min(width, prose_ / 3);
    for (const FaultResult& fault : result.faults()) {
      Paragraph(absl::StrCat("  ", Pad(TerminalText(fault.name()), width), "  "), fault.what());
      const std::string indent(width + 4, ' ');
      if (fault.injected_ns() <= 0) {
        Paragraph(indent, fault.seen().empty() ? "never injected" : fault.seen(), kYellow);
        continue;
      }
      std::string when = absl::StrCat("injected at ", RunTime(fault.injected_ns()));
      if (fault.healed_ns() > 0) {
        absl::StrAppend(&when, ", healed at ", HealedWords(fault), ", ", HumanNanos(fault.healing_took_ns()),
                        " after asking");
      } else {
        absl::StrAppend(&when, ", healing: ", HealedWords(fault));
      }
      Paragraph(indent, when, kDim);
      const std::string seen = SeenWords(fault);
      if (!seen.empty()) Paragraph(indent, absl::StrCat("seen: ", seen), kDim);
    }
  }

  void Assertions(const RunResult& result) {
    if (result.verdicts().empty()) return;
    std::vector<TextRow> rows = {{"  ASSERTION", "MEASURED", "LIMIT", "MARGIN"}};
    for (const Verdict& verdict : result.verdicts()) {
      const auto cell = [](const std::string& text) {
        return text.empty() ? std::string("-") : TerminalText(text);
      };
      rows.push_back({cell(verdict.assertion()), cell(verdict.measured()), cell(verdict.limit()),
                      cell(verdict.margin())});
    }
    rows[0][0] = "ASSERTION";
    const std::vector<int> widths = FitColumns(rows, columns_ - 4);
    Line("");
    if (!widths.empty()) Cells(rows[0], widths, "    ", kBold);
    for (int i = 0; i < result.verdicts_size(); ++i) {
      const Verdict& verdict = result.verdicts(i);
      const std::string lead =
          absl::StrCat("  ", Painted(ResultMark(verdict.result()), PaintOf(verdict.result())), " ");
      if (widths.empty()) {
        Stacked(rows[0], rows[i + 1], lead);
      } else {
        Cells(rows[i + 1], widths, lead, kPlain);
      }
      Why(verdict);
    }
  }

  // One row of the table, on as many lines as its highest cell.
  void Cells(const TextRow& row, const std::vector<int>& widths, const std::string& lead, Paint paint) {
    std::vector<std::vector<std::string>> cells;
    size_t lines = 1;
    for (size_t i = 0; i < row.size(); ++i) {
      cells.push_back(Wrap(row[i], widths[i]));
      lines = std::max(lines, cells.back().size());
    }
    for (size_t line = 0; line < lines; ++line) {
      std::string text = line == 0 ? lead : "    ";
      for (size_t i = 0; i < cells.size(); ++i) {
        if (i > 0) text += std::string(kTextGap, ' ');
        const std::string cell = line < cells[i].size() ? cells[i][line] : "";
        const bool last = i + 1 == cells.size();
        text += cell.empty() && last ? "" : Painted(last ? cell : Pad(cell, widths[i]), paint);
      }
      Line(text);
    }
  }

  // For terminals that are too narrow for a table.
  void Stacked(const TextRow& heads, const TextRow& row, const std::string& lead) {
    Line(absl::StrCat(lead, row[0]));
    for (size_t i = 1; i < row.size(); ++i) Paragraph(absl::StrCat("      ", heads[i], " "), row[i]);
  }

  // What a breaker's calls show of its state, and what it says itself, side by side.
  void States(const Verdict& verdict) {
    for (const Detail& detail : verdict.details()) {
      if (!absl::StrContains(detail.name(), "state ")) continue;
      const bool contradiction = detail.name() == "state disagrees";
      Paragraph(absl::StrCat(std::string(kReasonIndent, ' '), detail.name(), ": "), detail.value(),
                contradiction ? kYellow : kDim, contradiction ? kYellow : kDim);
    }
  }

  void Why(const Verdict& verdict) {
    if (verdict.kind() == "circuit_breaker") States(verdict);
    if (verdict.result() != Verdict::PASS) Broken(verdict);
    Facts(verdict);
  }

  void Broken(const Verdict& verdict) {
    const std::string indent(kReasonIndent, ' ');
    const Paint paint = PaintOf(verdict.result());
    Paragraph(absl::StrCat(indent, ResultWord(verdict.result()), ": "), verdict.reason(), kPlain, paint);
    if (!verdict.advice().empty()) Paragraph(absl::StrCat(indent, "→ "), verdict.advice());
    if (verdict.first_broken_ns() > 0) {
      Paragraph(indent, absl::StrCat("first broken at ", RunTime(verdict.first_broken_ns())), kDim);
    }
    if (!verdict.examples().empty()) {
      Paragraph(indent, absl::StrCat("example: trace id ", verdict.examples(0)), kDim);
    }
  }

  // A rate limiter makes several promises, of which the table shows one. What was calibrated says how noisy it is.
  void Facts(const Verdict& verdict) {
    for (const Detail& detail : verdict.details()) {
      if (verdict.kind() != "rate_limiter" && detail.name() != kFailedOnNothing) continue;
      Paragraph(absl::StrCat(std::string(kReasonIndent, ' '), TerminalText(detail.name()), ": "), detail.value(), kDim, kDim);
    }
  }

  void Ends(const RunResult& result) {
    if (!result.not_healed().empty()) {
      Heading("NOT CONFIRMED AS UNDONE");
      for (const std::string& item : result.not_healed()) Paragraph("  ✗ ", item, kRed);
    }
    const std::vector<std::string> host = HostWords(result);
    if (!host.empty()) Line("");
    for (const std::string& line : host) Paragraph("", line, kDim);
    if (!result.notes().empty()) {
      Heading("NOTES");
      for (const std::string& note : result.notes()) Paragraph("  • ", note);
    }
  }

  const int columns_;
  const int prose_;
  const bool color_;
  std::string out_;
};

}  // namespace

std::string TextReport(const RunResult& result, int columns, bool color) {
  return TextPage(columns, color).Render(result);
}

}  // namespace squall
