#include "controller/wording.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace squall {
namespace {

constexpr size_t kLongestQuote = 60;
// Longer words are never a slip of the finger; comparing them would only cost time.
constexpr size_t kLongestCompared = 64;
constexpr size_t kMostAlternatives = 16;

// The number of insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
int EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<int> before_last(b.size() + 1);
  std::vector<int> last(b.size() + 1);
  std::vector<int> current(b.size() + 1);
  std::iota(last.begin(), last.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    current[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      current[j] = std::min({last[j] + 1, current[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        current[j] = std::min(current[j], before_last[j - 2] + 1);
      }
    }
    std::swap(before_last, last);
    std::swap(last, current);
  }
  return last[b.size()];
}

// How far apart two words are, in edits; one that continues the other ("assertions", "assert") counts as one
// edit.
int Distance(absl::string_view word, absl::string_view candidate) {
  const bool continues = std::min(word.size(), candidate.size()) >= 3 &&
                         (absl::StartsWith(word, candidate) || absl::StartsWith(candidate, word));
  const int edits = EditDistance(word, candidate);
  return continues ? std::min(edits, 1) : edits;
}

bool IsContinuationByte(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

std::string Quoted(absl::string_view text) {
  if (text.size() <= kLongestQuote) return absl::StrCat("\"", absl::Utf8SafeCEscape(text), "\"");
  size_t end = kLongestQuote;
  while (end > 0 && IsContinuationByte(text[end])) --end;
  return absl::StrCat("\"", absl::Utf8SafeCEscape(text.substr(0, end)), "...\"");
}

std::string Nearest(absl::string_view word, const std::vector<std::string>& candidates) {
  if (word.empty() || word.size() > kLongestCompared) return "";
  const std::string lower = absl::AsciiStrToLower(word);
  std::string nearest;
  int least = std::max<int>(1, static_cast<int>(word.size()) / 3) + 1;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kLongestCompared) continue;
    const int distance = Distance(lower, absl::AsciiStrToLower(candidate));
    if (distance < least) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::string Alternatives(const std::vector<std::string>& words) {
  if (words.size() == 1) return words[0];
  if (words.size() > kMostAlternatives) {
    return absl::StrCat(absl::StrJoin(words.begin(), words.begin() + kMostAlternatives, ", "), " or ",
                        words.size() - kMostAlternatives, " others");
  }
  return words.empty()
             ? ""
             : absl::StrCat(absl::StrJoin(words.begin(), words.end() - 1, ", "), " or ", words.back());
}

std::string Suggestion(absl::string_view word, const std::vector<std::string>& candidates) {
  const std::string nearest = Nearest(word, candidates);
  return nearest.empty() ? absl::StrCat("write ", Alternatives(candidates))
                         : absl::StrCat("did you mean ", Quoted(nearest), "?");
}

std::string Wrapped(absl::string_view text, int indent, int width) {
  std::string out;
  size_t column = indent;
  bool first = true;
  for (absl::string_view word : absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty())) {
    if (!first && column + 1 + word.size() > static_cast<size_t>(width)) {
      absl::StrAppend(&out, "\n", std::string(indent, ' '));
      column = indent;
    } else if (!first) {
      out += ' ';
      ++column;
    }
    absl::StrAppend(&out, word);
    column += word.size();
    first = false;
  }
  return out;
}

std::string SnakeCase(absl::string_view camel_case) {
  std::string out;
  for (char c : camel_case) {
    if (absl::ascii_isupper(c) && !out.empty()) out += '_';
    out += absl::ascii_tolower(c);
  }
  return out;
}

}  // namespace squall
