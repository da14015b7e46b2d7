#include "controller/report/text_layout.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "controller/report/escape.h"

namespace squall {
namespace {

int LongestWord(absl::string_view text) {
  int longest = 0;
  for (const std::string& word : Wrap(text, 0)) longest = std::max(longest, DisplayWidth(word));
  return longest;
}

}  // namespace

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

std::vector<int> FitColumns(const std::vector<TextRow>& rows, int available) {
  std::vector<int> natural(rows[0].size()), least(rows[0].size());
  for (const TextRow& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      natural[i] = std::max(natural[i], DisplayWidth(row[i]));
      least[i] = std::max(least[i], LongestWord(row[i]));
    }
  }
  const int gaps = kTextGap * (static_cast<int>(natural.size()) - 1);
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

}  // namespace squall
