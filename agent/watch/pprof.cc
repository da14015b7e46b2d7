#include "agent/watch/pprof.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/utf8.h"

namespace squall {
namespace {

constexpr size_t kMostOfFrame = 300;
// Beyond them stacks are left out, so that a text made of nothing but stacks takes no more memory than it must.
constexpr size_t kMostKept = 100'000;

absl::string_view NextLine(absl::string_view& text) {
  const size_t end = text.find('\n');
  const absl::string_view line = text.substr(0, end);
  text.remove_prefix(end == absl::string_view::npos ? text.size() : end + 1);
  return line;
}

bool IsAnswering(absl::string_view frames) { return absl::StrContains(frames, "net/http/pprof."); }

absl::Status IsNone(absl::string_view what, absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat("the answer is no profile of ", what, ": it begins with '", ValidText(text, 60), "'"));
}

// "#\t0x4a2b\tmain.f+0x12\t\t/src/x.go:41" is "main.f /src/x.go:41".
std::string FrameOf(absl::string_view line) {
  const std::vector<absl::string_view> fields = absl::StrSplit(line, '\t', absl::SkipEmpty());
  if (fields.size() < 2 || fields[0] != "#") return "";
  if (fields.size() == 2) return ValidText(fields[1], kMostOfFrame);
  const size_t offset = fields[2].rfind("+0x");
  return ValidText(fields.size() == 3 ? std::string(fields[2].substr(0, offset)) : absl::StrCat(fields[2].substr(0, offset), " ", fields[3]),
                   kMostOfFrame);
}

struct Counted {
  double count = 0;
  double bytes = 0;
};
// By the text of their frames, which is looked at only for those that are told.
using ByFrames = absl::flat_hash_map<absl::string_view, Counted>;

void Add(absl::string_view frames, const Counted& counted, ByFrames& all) {
  if (all.size() >= kMostKept && !all.contains(frames)) return;
  Counted& sum = all[frames];
  sum.count += counted.count;
  sum.bytes += counted.bytes;
}

// What fits, whatever a malformed text adds up to.
int64_t Whole(double value) { return static_cast<int64_t>(std::clamp(value, 0.0, 9e15)); }

bool IsLarger(const StackCount& a, const StackCount& b) {
  if (a.bytes() != b.bytes()) return a.bytes() > b.bytes();
  return a.count() > b.count();
}

std::vector<StackCount> Largest(const ByFrames& all) {
  std::vector<std::pair<absl::string_view, Counted>> order(all.begin(), all.end());
  const auto larger = [](const auto& a, const auto& b) {
    if (a.second.bytes != b.second.bytes) return a.second.bytes > b.second.bytes;
    return a.second.count != b.second.count ? a.second.count > b.second.count : a.first < b.first;
  };
  const size_t kept = std::min(order.size(), kMostStacks);
  std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(kept), order.end(), larger);
  order.resize(kept);
  std::vector<StackCount> stacks;
  for (auto [text, counted] : order) {
    StackCount& stack = stacks.emplace_back();
    stack.set_count(Whole(counted.count));
    stack.set_bytes(Whole(counted.bytes));
    while (!text.empty() && stack.frames_size() < kMostFrames) {
      std::string frame = FrameOf(NextLine(text));
      if (!frame.empty()) stack.add_frames(std::move(frame));
    }
  }
  return stacks;
}

// The lines from here on that tell frames.
absl::string_view TakeFrames(absl::string_view& text) {
  const absl::string_view from = text;
  while (absl::StartsWith(text, "#\t")) NextLine(text);
  return from.substr(0, from.size() - text.size());
}

// A sample of about one in `period` bytes stands for more: what legacy_profile.go of github.com/google/pprof calls
// scaleHeapSample.
Counted Scaled(const Counted& sampled, double period) {
  if (sampled.count <= 0 || sampled.bytes <= 0 || period <= 1) return sampled;
  const double scale = 1 / (1 - std::exp(-(sampled.bytes / sampled.count) / period));
  return {sampled.count * scale, sampled.bytes * scale};
}

// "1: 4096 [3: 9999] @ 0x1234": what is alive.
bool TakeHeapLine(absl::string_view line, Counted& counted) {
  const size_t colon = line.find(": ");
  const size_t bracket = line.find(" [");
  if (colon == absl::string_view::npos || bracket == absl::string_view::npos || bracket < colon + 2) return false;
  return absl::SimpleAtod(line.substr(0, colon), &counted.count) && absl::SimpleAtod(line.substr(colon + 2, bracket - colon - 2), &counted.bytes) &&
         std::isfinite(counted.count) && std::isfinite(counted.bytes) && counted.count >= 0 && counted.bytes >= 0;
}

// "chan receive, 2 minutes, locked to thread": the state, and the wait.
std::pair<absl::string_view, int64_t> StateOf(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ", ");
  int64_t minutes = 0;
  for (absl::string_view part : parts) {
    int64_t number = 0;
    if (absl::ConsumeSuffix(&part, " minutes") && absl::SimpleAtoi(part, &number)) minutes = number;
  }
  return {parts[0], minutes};
}

// "main.(*Orders).call.func1(0xc0000, {0x1, 0x2})" without its arguments.
absl::string_view WithoutArguments(absl::string_view line) { return line.substr(0, line.rfind('(')); }

std::string UrlOf(absl::string_view base, absl::string_view profile) {
  while (absl::ConsumeSuffix(&base, "/")) {
  }
  return absl::StrCat(base, "/", profile);
}

absl::StatusOr<HttpGetter::Answer> GetProfile(HttpGetter& getter, const std::string& url) {
  absl::StatusOr<HttpGetter::Answer> answer = getter.Get(url);
  if (answer.ok() && answer->status >= 400) return absl::UnavailableError(absl::StrCat("GET ", url, " answered ", answer->status));
  return answer;
}

}  // namespace

absl::StatusOr<GoroutineCounts> ParseGoroutines(absl::string_view text) {
  GoroutineCounts counts;
  absl::string_view first = text, rest = text;
  first = NextLine(rest);
  if (!absl::ConsumePrefix(&first, "goroutine profile: total ")) return IsNone("goroutines", text);
  if (!absl::SimpleAtoi(first, &counts.total) || counts.total < 0) counts.total = -1;
  ByFrames all;
  while (!rest.empty()) {
    const absl::string_view line = NextLine(rest);
    const size_t at = line.find(" @");
    Counted counted;
    if (at == absl::string_view::npos || !absl::SimpleAtod(line.substr(0, at), &counted.count) || !std::isfinite(counted.count) || counted.count < 0) continue;
    if (absl::StartsWith(rest, "# labels:")) NextLine(rest);
    const absl::string_view frames = TakeFrames(rest);
    if (!IsAnswering(frames)) Add(frames, counted, all);
  }
  counts.stacks = Largest(all);
  return counts;
}

absl::StatusOr<GoroutineCounts> ParseGoroutineStates(absl::string_view text) {
  if (!absl::StartsWith(text, "goroutine ")) return IsNone("goroutines", text);
  GoroutineCounts counts;
  counts.total = 0;
  struct Waiting {
    int64_t count = 0;
    int64_t minutes = 0;
    std::vector<std::string> frames;
  };
  std::map<std::pair<std::string, std::string>, Waiting> all;  // by state and frames
  while (!text.empty()) {
    const absl::string_view line = NextLine(text);
    const size_t open = line.find('['), close = line.rfind("]:");
    if (!absl::StartsWith(line, "goroutine ") || open == absl::string_view::npos || close == absl::string_view::npos || close < open) continue;
    ++counts.total;
    const auto [state, minutes] = StateOf(line.substr(open + 1, close - open - 1));
    std::vector<std::string> frames;
    bool answering = false;
    while (!text.empty() && text[0] != '\n' && !absl::StartsWith(text, "goroutine ")) {
      const absl::string_view function = NextLine(text);
      absl::string_view place = absl::StartsWith(text, "\t") ? NextLine(text).substr(1) : "";
      place = place.substr(0, place.rfind(" +0x"));
      answering |= absl::StartsWith(function, "net/http/pprof.");
      // Who created it is no frame of it.
      if (absl::StartsWith(function, "created by ") || absl::StartsWith(function, "[") || absl::StartsWith(function, "...") ||
          frames.size() >= static_cast<size_t>(kMostFrames)) {
        continue;
      }
      frames.push_back(ValidText(absl::StrCat(WithoutArguments(function), place.empty() ? "" : " ", place), kMostOfFrame));
    }
    if (answering) continue;
    std::pair<std::string, std::string> key(ValidText(state, 100), absl::StrJoin(frames, "\n"));
    if (all.size() >= kMostKept && all.count(key) == 0) continue;
    Waiting& waiting = all[std::move(key)];
    ++waiting.count;
    waiting.minutes = std::max(waiting.minutes, minutes);
    if (waiting.frames.empty()) waiting.frames = std::move(frames);
  }
  for (auto& [key, waiting] : all) {
    StackCount& stack = counts.stacks.emplace_back();
    stack.set_count(waiting.count);
    stack.set_state(waiting.minutes == 0 ? key.first : absl::StrCat(key.first, ", ", waiting.minutes, waiting.minutes == 1 ? " minute" : " minutes"));
    for (std::string& frame : waiting.frames) stack.add_frames(std::move(frame));
  }
  std::stable_sort(counts.stacks.begin(), counts.stacks.end(), IsLarger);
  if (counts.stacks.size() > kMostStacks) counts.stacks.resize(kMostStacks);
  return counts;
}

absl::StatusOr<HeapCounts> ParseHeap(absl::string_view text) {
  HeapCounts counts;
  absl::string_view rest = text;
  const absl::string_view first = NextLine(rest);
  if (!absl::StartsWith(first, "heap profile: ")) return IsNone("the heap", text);
  // The number there is twice the mean distance of samples.
  double period = 0;
  const size_t slash = first.rfind("@ heap/");
  if (slash == absl::string_view::npos || !absl::SimpleAtod(first.substr(slash + 7), &period) || !std::isfinite(period)) period = 0;
  ByFrames all;
  while (!rest.empty()) {
    absl::string_view line = NextLine(rest);
    if (absl::ConsumePrefix(&line, "# HeapAlloc = ")) {
      if (!absl::SimpleAtoi(line, &counts.bytes) || counts.bytes < 0) counts.bytes = -1;
      continue;
    }
    Counted counted;
    if (!TakeHeapLine(line, counted)) continue;
    const absl::string_view frames = TakeFrames(rest);
    if (counted.count > 0 && !IsAnswering(frames)) Add(frames, Scaled(counted, period / 2), all);
  }
  counts.stacks = Largest(all);
  return counts;
}

HttpGetter::Bounds ProfileBounds(std::function<bool()> stopped) {
  return {.timeout = absl::Seconds(5), .most_bytes = 16 << 20, .cut = true, .stopped = std::move(stopped)};
}

Profiles ReadProfiles(HttpGetter& getter, const std::string& url, bool states) {
  Profiles profiles;
  std::vector<std::string> errors;
  const auto read = [&](const std::string& profile, auto parse, auto& counts) {
    const absl::StatusOr<HttpGetter::Answer> answer = GetProfile(getter, UrlOf(url, profile));
    const auto parsed = answer.ok() ? parse(answer->body) : answer.status();
    if (parsed.ok()) counts = *std::move(parsed);
    if (!parsed.ok()) errors.push_back(std::string(parsed.status().message()));
    if (answer.ok() && answer->cut) errors.push_back(absl::StrCat(profile, " is longer than 16 MiB, of which the rest was not read"));
  };
  GoroutineCounts waiting;
  read("goroutine?debug=1", &ParseGoroutines, profiles.goroutines);
  if (states) read("goroutine?debug=2", &ParseGoroutineStates, waiting);
  if (!waiting.stacks.empty()) profiles.goroutines.stacks = std::move(waiting.stacks);
  read("heap?gc=1&debug=1", &ParseHeap, profiles.heap);
  if (profiles.heap.bytes < 0 && errors.empty()) errors.push_back("heap?debug=1 does not tell HeapAlloc");
  profiles.error = absl::StrJoin(errors, "; ");
  return profiles;
}

absl::StatusOr<int64_t> ReadGoroutineTotal(HttpGetter& getter, const std::string& url) {
  const absl::StatusOr<HttpGetter::Answer> answer = GetProfile(getter, UrlOf(url, "goroutine?debug=1"));
  if (!answer.ok()) return answer.status();
  const absl::StatusOr<GoroutineCounts> counts = ParseGoroutines(answer->body.substr(0, answer->body.find('\n')));
  if (!counts.ok()) return counts.status();
  if (counts->total < 0) return absl::InvalidArgumentError("the profile tells no number of goroutines");
  return counts->total;
}

}  // namespace squall
