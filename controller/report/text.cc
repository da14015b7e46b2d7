#include "base/text.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "controller/report/escape.h"
#include "controller/report/report.h"
#include "controller/report/words.h"

namespace squall {
namespace {

constexpr int kGap = 2;           // between the columns of the table
constexpr int kReasonIndent = 6;  // of what stands below an assertion
constexpr int kReadable = 110;    // longer lines of prose are hard to read, however wide the terminal is

// Lines of at most `width` columns, broken between words only: a word that is longer has a line of its own.
// At least one line.
std::vector<std::string> Wrap(absl::string_view text, int width) {
  std::vector<std::string> lines = {""};
  const std::string clean = TerminalText(text);
  for (const absl::string_view word : absl::StrSplit(clean, ' ', absl::SkipEmpty())) {
    std::string& line = lines.back();
    if (line.empty()) {
      line = std::string(word);
    } else if (DisplayWidth(line) + 1 + DisplayWidth(word) <= width) {
      absl::StrAppend(&line, " ", word);
    } else {
      lines.emplace_back(word);
    }
  }
  return lines;
}

std::string Pad(const std::string& text, int width) {
  return text + std::string(std::max(0, width - DisplayWidth(text)), ' ');
}

int LongestWord(absl::string_view text) {
  int longest = 0;
  for (const std::string& word : Wrap(text, 0)) longest = std::max(longest, DisplayWidth(word));
  return longest;
}

using Row = std::vector<std::string>;

// Widths with which a table of `rows` fits into `available` columns when cells are wrapped between words.
// Empty when no widths do.
std::vector<int> FitColumns(const std::vector<Row>& rows, int available) {
  std::vector<int> natural(rows[0].size()), least(rows[0].size());
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      natural[i] = std::max(natural[i], DisplayWidth(row[i]));
      least[i] = std::max(least[i], LongestWord(row[i]));
    }
  }
  const int gaps = kGap * (static_cast<int>(natural.size()) - 1);
  while (std::accumulate(natural.begin(), natural.end(), gaps) > available) {
    // Takes from the widest column that can still give.
    int widest = -1;
    for (int i = 0; i < static_cast<int>(natural.size()); ++i) {
      if (natural[i] > least[i] && (widest < 0 || natural[i] > natural[widest])) widest = i;
    }
    if (widest < 0) return {};
    --natural[widest];
  }
  return natural;
}

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

  static std::string ResultMarkOf(Standing standing) {
    return ResultMark(standing == Standing::kPass           ? Verdict::PASS
                      : standing == Standing::kInconclusive ? Verdict::INCONCLUSIVE
                                                            : Verdict::FAIL);
  }

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
    std::vector<Row> rows = {{"  ASSERTION", "MEASURED", "LIMIT", "MARGIN"}};
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
  void Cells(const Row& row, const std::vector<int>& widths, const std::string& lead, Paint paint) {
    std::vector<std::vector<std::string>> cells;
    size_t lines = 1;
    for (size_t i = 0; i < row.size(); ++i) {
      cells.push_back(Wrap(row[i], widths[i]));
      lines = std::max(lines, cells.back().size());
    }
    for (size_t line = 0; line < lines; ++line) {
      std::string text = line == 0 ? lead : "    ";
      for (size_t i = 0; i < cells.size(); ++i) {
        if (i > 0) text += std::string(kGap, ' ');
        const std::string cell = line < cells[i].size() ? cells[i][line] : "";
        const bool last = i + 1 == cells.size();
        text += cell.empty() && last ? "" : Painted(last ? cell : Pad(cell, widths[i]), paint);
      }
      Line(text);
    }
  }

  // For terminals that are too narrow for a table.
  void Stacked(const Row& heads, const Row& row, const std::string& lead) {
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
    if (verdict.result() == Verdict::PASS) return;
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

  void Ends(const RunResult& result) {
    if (!result.not_healed().empty()) {
      Heading("NOT CONFIRMED AS UNDONE");
      for (const std::string& item : result.not_healed()) Paragraph("  ✗ ", item, kRed);
    }
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
