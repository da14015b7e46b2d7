#include "controller/assertions/log_pattern.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/assertions/during.h"
#include "controller/assertions/fault_time.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

// What was written is recorded so much later at most.
constexpr int64_t kRecordedWithinNs = 300'000'000;
// A fault may act for so long before its injection is confirmed.
constexpr int64_t kInjectingNs = 1'000'000'000;
constexpr size_t kShownLines = 3;

// Lines that matched, where they count, and those so close to the bounds that nobody knows on which side they were written.
struct Matches {
  int64_t lines = 0;  // of any kind, until the end of the span
  int64_t count = 0;
  int64_t unsure = 0;
  int64_t first_ns = 0;
  std::vector<std::string> shown;

  void Add(int64_t lines_matched, int64_t at_ns, const std::vector<std::string>& texts) {
    if (count == 0) first_ns = at_ns;
    count += lines_matched;
    for (const std::string& text : texts) {
      if (shown.size() < kShownLines) shown.push_back(text);
    }
  }
};

// Those of one record.
struct Found {
  int64_t count = 0;
  std::vector<std::string> texts;
};
Found FoundIn(const LogLines& record, absl::string_view name) {
  Found found;
  for (const LogLines::Match& match : record.matches()) {
    if (match.assertion() != name) continue;
    found.count += 1 + match.more();
    found.texts.push_back(match.line());
  }
  return found;
}

// The bounds are read in favour of who is judged. A line that must come may have been written while the fault was being injected
// or healed, unless lines like it came before; one that must not come counts only where the fault acted for certain.
Matches MatchesOf(const LogPattern& spec, absl::string_view name, const std::vector<LogLines>& records, const Span& span,
                  int64_t healing_took_ns) {
  Matches matches;
  const bool wanted = spec.how_case() == LogPattern::kMatches;
  const bool about_fault = spec.during() == DURING_FAULT || spec.during() == DURING_UNSPECIFIED;
  const bool about_faults = about_fault || spec.during() == DURING_AFTER;
  const int64_t near_ns = about_faults ? kInjectingNs + (about_fault ? 0 : healing_took_ns) : 0;
  const int64_t sure_end_ns = span.end_ns - (about_fault && span.over ? healing_took_ns : 0);
  Matches near;
  bool before = false;
  int64_t known_ns = INT64_MIN;  // what was written until then is in earlier records
  for (const LogLines& record : records) {
    const int64_t at_ns = record.at_ns();
    const int64_t from_ns = std::max(known_ns, at_ns - kRecordedWithinNs);
    known_ns = at_ns;
    if (at_ns > span.end_ns + kRecordedWithinNs) break;
    matches.lines += record.lines();
    const Found found = FoundIn(record, name);
    if (found.count == 0) continue;
    if (wanted) {
      if (at_ns < span.begin_ns - near_ns) {
        before = true;
      } else {
        (at_ns < span.begin_ns ? near : matches).Add(found.count, at_ns, found.texts);
      }
    } else if (from_ns >= span.begin_ns && at_ns <= sure_end_ns) {
      matches.Add(found.count, at_ns, found.texts);
    } else if (at_ns >= span.begin_ns) {
      matches.unsure += found.count;
    }
  }
  if (!before && near.count > 0) {
    near.Add(matches.count, matches.first_ns, matches.shown);
    near.lines = matches.lines;
    return near;
  }
  return matches;
}

}  // namespace

Judgement JudgeLog(const LogPattern& spec, absl::string_view name, const Timeline& timeline, const Stalls& /*stalls*/) {
  if (auto obstacle = DuringGate(spec.during(), spec.fault(), timeline)) return Obstructed(*obstacle);
  const Span span = *SpanOf(spec.during(), spec.fault(), timeline);
  const std::string when = DuringText(spec.during(), spec.fault(), timeline);
  static const std::vector<LogLines> kNone;
  const auto records = timeline.logs.find(spec.service());
  const Matches matches = MatchesOf(spec, name, records == timeline.logs.end() ? kNone : records->second, span,
                                    TimeOf(timeline, spec.fault()).healing_took_ns);
  const bool wanted = spec.how_case() == LogPattern::kMatches;
  const std::string pattern = absl::StrCat("'", wanted ? spec.matches() : spec.never_matches(), "'");
  const int64_t at_least = std::max(1, spec.at_least());
  const bool complete = span.over && (timeline.footer.has_value() || timeline.last_ns > span.end_ns + kRecordedWithinNs);

  Verdict verdict;
  verdict.set_samples(matches.lines);
  verdict.set_measured(Counted(matches.count, "line"));
  verdict.set_limit(wanted         ? absl::StrCat("at least ", Counted(at_least, "line"))
                    : at_least > 1 ? absl::StrCat("fewer than ", Counted(at_least, "line"))
                                   : "no line");
  AddDetail(verdict, "pattern", pattern);
  AddDetail(verdict, "lines written until then", Grouped(matches.lines));
  for (const std::string& line : matches.shown) AddDetail(verdict, "line that matched", line);
  if (matches.unsure > 0) {
    AddDetail(verdict, "left out",
              absl::StrCat(Counted(matches.unsure, "line"), " that matched and may have been written before or after"));
  }
  if (matches.lines == 0) {
    Judgement judgement =
        Obstructed({absl::StrCat(spec.service(), " wrote no line that could be read, so that it proves nothing"),
                    "name the file that it writes to in its `log_file`, or have it print to stdout or stderr without a buffer"},
                   std::move(verdict));
    judgement.final = complete;
    return judgement;
  }
  const std::string seen = absl::StrCat(matches.count == 0 ? "no line" : Counted(matches.count, "line"), " of ", spec.service());
  const std::string first = matches.shown.empty() ? "" : absl::StrCat(": \"", matches.shown.front().substr(0, 200), "\"");
  if (wanted ? matches.count >= at_least : matches.count < at_least) {
    verdict.set_result(Verdict::PASS);
    verdict.set_reason(absl::StrCat(seen, " matched ", pattern, " ", when, wanted ? first : ""));
    return {std::move(verdict), wanted || complete};
  }
  if (wanted && !complete)
    return Obstructed({absl::StrCat(seen, " matched ", pattern, " ", when, " so far"), ""}, std::move(verdict));
  verdict.set_result(Verdict::FAIL);
  verdict.set_first_broken_ns(wanted ? span.end_ns : matches.first_ns);
  verdict.set_reason(wanted ? absl::StrCat(seen, " matched ", pattern, " ", when, "; at least ", at_least,
                                           at_least == 1 ? " is" : " are", " needed")
                            : absl::StrCat(seen, " matched ", pattern, " ", when, first));
  return {std::move(verdict), true};
}

}  // namespace squall
