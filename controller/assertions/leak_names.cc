#include "controller/assertions/leak_names.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/text.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

constexpr size_t kMostSites = 3;
constexpr size_t kMostFrames = 8;

// What packages of the standard library begin with; no module of one's own may be named so.
constexpr std::array<absl::string_view, 51> kStandard = {
    "archive",  "bufio",    "builtin", "bytes",  "cmp",    "compress", "container", "context", "crypto", "database", "debug",
    "embed",    "encoding", "errors",  "expvar", "flag",   "fmt",      "go",        "hash",    "html",   "image",    "index",
    "internal", "io",       "iter",    "log",    "maps",   "math",     "mime",      "net",     "os",     "path",     "plugin",
    "reflect",  "regexp",   "runtime", "slices", "sort",   "strconv",  "strings",   "structs", "sync",   "syscall",  "testing",
    "text",     "time",     "unicode", "unique", "unsafe", "vendor",   "weak"};

enum class Of { kGoroutines, kHeap };

struct Frame {
  absl::string_view function;
  absl::string_view file;
};

// A path may hold blanks, and so may a function's type parameters.
Frame Split(absl::string_view text) {
  size_t blank = text.find(" /");
  if (blank == absl::string_view::npos) blank = text.rfind(' ');
  if (blank == absl::string_view::npos) return {text, ""};
  return {text.substr(0, blank), text.substr(blank + 1)};
}

// "net/http" of "net/http.(*Transport).dial", "main" of "main.Map[...]".
absl::string_view PackageOf(absl::string_view function) {
  const absl::string_view plain = function.substr(0, function.find_first_of("([{"));
  const size_t slash = plain.rfind('/');
  const size_t dot = plain.find('.', slash == absl::string_view::npos ? 0 : slash);
  return plain.substr(0, dot);
}

bool IsStandard(absl::string_view package) {
  const absl::string_view first = package.substr(0, package.find('/'));
  return std::find(kStandard.begin(), kStandard.end(), first) != kStandard.end();
}

bool IsOwn(const Frame& frame) {
  const absl::string_view package = PackageOf(frame.function);
  if (package.empty() || IsStandard(package)) return false;
  if (package == "main") return true;
  // Go keeps what it fetched in folders with the version in their name.
  if (absl::StrContains(frame.file, "@v") || absl::StrContains(frame.file, "/vendor/")) return false;
  return !absl::StartsWith(package, "golang.org/") && !absl::StartsWith(package, "google.golang.org/");
}

bool IsRuntime(const std::string& frame) {
  const absl::string_view package = PackageOf(Split(frame).function);
  const absl::string_view first = package.substr(0, package.find('/'));
  return first == "runtime" || first == "internal" || first == "sync" || first == "syscall";
}

// Of a stack without a line of one's own: what a goroutine was started as, and what allocated heap.
std::string LibraryFrame(const std::vector<std::string>& frames, Of of) {
  const auto told = [](const std::string& frame) { return !IsRuntime(frame); };
  if (of == Of::kGoroutines) {
    const auto outermost = std::find_if(frames.rbegin(), frames.rend(), told);
    if (outermost != frames.rend()) return *outermost;
  }
  const auto innermost = std::find_if(frames.begin(), frames.end(), told);
  if (innermost != frames.end()) return *innermost;
  return frames.empty() ? "a stack that is not known" : frames.front();
}

template <typename Key>
std::vector<std::pair<Key, int64_t>> Grown(const std::map<Key, int64_t>& before, const std::map<Key, int64_t>& after) {
  std::vector<std::pair<Key, int64_t>> grown;
  for (const auto& [key, amount] : after) {
    const auto was = before.find(key);
    const int64_t by = amount - (was == before.end() ? 0 : was->second);
    if (by > 0) grown.emplace_back(key, by);
  }
  std::stable_sort(grown.begin(), grown.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  return grown;
}

// Where stacks that grew have their line.
struct Site {
  std::string frame;
  bool own = false;
  int64_t by = 0;
  std::vector<std::string> stack;  // the one of them that grew most
  int64_t stack_by = 0;
  std::string state;
};

std::pair<std::string, bool> SiteOf(const std::vector<std::string>& frames, Of of) {
  std::string own = OwnFrame(frames);
  return own.empty() ? std::pair(LibraryFrame(frames, of), false) : std::pair(std::move(own), true);
}

using Stacks = std::map<std::vector<std::string>, int64_t>;

// The service's own line comes first, unless a library's grew more than twice as much: then it is not that which leaks.
std::vector<Site> SitesOf(const Stacks& before, const Stacks& after, Of of) {
  std::map<std::string, Site> by_frame;
  for (const auto& [frames, by] : Grown(before, after)) {
    auto [frame, own] = SiteOf(frames, of);
    Site& site = by_frame[frame];
    site.frame = frame;
    site.own = own;
    site.by += by;
    if (by > site.stack_by) site.stack = frames, site.stack_by = by;
  }
  std::vector<Site> sites;
  for (auto& [frame, site] : by_frame) sites.push_back(std::move(site));
  std::stable_sort(sites.begin(), sites.end(), [](const Site& a, const Site& b) { return a.by > b.by; });
  const auto own = std::find_if(sites.begin(), sites.end(), [](const Site& site) { return site.own; });
  if (own != sites.end() && own->by * 2 >= sites.front().by) std::rotate(sites.begin(), own, own + 1);
  return sites;
}

// What most of the goroutines with that line wait for.
std::string StateAt(const Site& site, const ProcessSnapshot* leaked) {
  if (leaked == nullptr) return "";
  std::map<std::string, int64_t> states;
  for (const StackCount& stack : leaked->goroutines()) {
    const std::vector<std::string> frames(stack.frames().begin(), stack.frames().end());
    if (SiteOf(frames, Of::kGoroutines).first == site.frame) states[stack.state()] += stack.count();
  }
  const auto most =
      std::max_element(states.begin(), states.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == states.end() ? "" : most->first;
}

void AddTo(LeakName& name, std::string what, std::string value) {
  Detail& detail = name.details.emplace_back();
  detail.set_name(std::move(what));
  detail.set_value(std::move(value));
}

// Where it is, and all lines of the service's own, which brought it there; what lies between them is left out. Of a stack without such a
// line the innermost ones.
std::string StackText(const std::vector<std::string>& frames) {
  std::vector<std::string> told;
  bool gap = false;
  const bool has_own = !OwnFrame(frames).empty();
  for (size_t i = 0; i < frames.size() && told.size() < kMostFrames; ++i) {
    if (i > 0 && has_own && !IsOwn(Split(frames[i]))) {
      gap = true;
      continue;
    }
    if (gap) told.push_back("...");
    gap = false;
    told.push_back(frames[i]);
  }
  const bool cut = gap || told.size() >= kMostFrames;
  return absl::StrCat(absl::StrJoin(told, " < "), cut && told.back() != "..." ? " < ..." : "");
}

// The line of the service's own that called the one that is shown; empty: there is none.
std::string CallerOf(const std::vector<std::string>& frames) {
  bool past = false;
  for (const std::string& frame : frames) {
    if (!IsOwn(Split(frame))) continue;
    if (past) return frame;
    past = true;
  }
  return "";
}

LeakName NameSites(std::vector<Site> sites, absl::string_view what, std::string (*text)(int64_t), const ProcessSnapshot* leaked) {
  LeakName name;
  if (sites.size() > kMostSites) sites.resize(kMostSites);
  for (Site& site : sites) {
    site.state = StateAt(site, leaked);
    const std::string state = site.state.empty() ? "" : absl::StrCat(" (", site.state, ")");
    if (name.brief.empty()) {
      const std::string caller = site.own ? CallerOf(site.stack) : "";
      name.brief = absl::StrCat(text(site.by), " more at ", site.frame, caller.empty() ? "" : ", called at ", caller, state);
      name.own = site.own;
    }
    AddTo(name, absl::StrCat(what, site.own ? "" : ", none of whose lines is the service's own"),
          absl::StrCat(text(site.by), " more", state, ": ", StackText(site.stack)));
  }
  return name;
}

// What is told by single keys or, where none of them is at least half of it, by what many have in common.
LeakName NameKeys(const std::map<std::string, int64_t>& before, const std::map<std::string, int64_t>& after,
                  std::string (*coarse)(const std::string&), absl::string_view what) {
  std::vector<std::pair<std::string, int64_t>> grown = Grown(before, after);
  int64_t all = 0;
  for (const auto& [key, by] : grown) all += by;
  if (!grown.empty() && grown.front().second * 2 < all) {
    std::map<std::string, int64_t> was, is;
    for (const auto& [key, amount] : before) was[coarse(key)] += amount;
    for (const auto& [key, amount] : after) is[coarse(key)] += amount;
    grown = Grown(was, is);
  }
  LeakName name;
  if (grown.size() > kMostSites) grown.resize(kMostSites);
  for (const auto& [key, by] : grown) {
    const std::string text = absl::StrCat(Grouped(by), " more ", key);
    if (name.brief.empty()) name.brief = text;
    AddTo(name, std::string(what), text);
  }
  return name;
}

std::string FdKey(const FdCount& fd) {
  const std::string state = fd.state().empty() ? "" : absl::StrCat(" in ", fd.state());
  const std::string kind =
      fd.kind() == "file" ? "of" : absl::StrCat(fd.kind(), fd.kind() == "tcp" || fd.kind() == "udp" ? " sockets to" : "");
  return absl::StrCat(fd.to().empty() && fd.kind() == "file" ? "files" : kind, fd.to().empty() ? "" : " ", fd.to(), state);
}

// The peer without its port, the folder of a file.
std::string CoarseFd(const std::string& key) {
  const size_t in = std::min(key.rfind(" in "), key.size());
  const bool file = absl::StartsWith(key, "of ");
  const size_t cut = key.rfind(file ? '/' : ':', in);
  if (cut == std::string::npos) return key;
  return absl::StrCat(file ? "files in " : key.substr(0, cut), file ? key.substr(3, cut - 3) : "", key.substr(in));
}

// "worker-17" and "worker-18" are workers.
std::string CoarseThread(const std::string& key) {
  const size_t last = key.find_last_not_of("0123456789");
  return last == std::string::npos ? key : absl::StrCat(key.substr(0, last + 1), last + 1 < key.size() ? "*" : "");
}

std::map<std::string, int64_t> FdsOf(const ProcessSnapshot& snapshot, absl::string_view state) {
  std::map<std::string, int64_t> fds;
  for (const FdCount& fd : snapshot.fds()) {
    if (state.empty() || fd.state() == state) fds[FdKey(fd)] += fd.count();
  }
  return fds;
}

std::map<std::string, int64_t> ThreadsOf(const ProcessSnapshot& snapshot) {
  std::map<std::string, int64_t> threads;
  for (const auto& [name, count] : snapshot.threads()) threads[absl::StrCat("named ", name)] += count;
  return threads;
}

Stacks StacksOf(const ProcessSnapshot& snapshot, Of of) {
  Stacks stacks;
  for (const StackCount& stack : of == Of::kHeap ? snapshot.heap() : snapshot.goroutines()) {
    stacks[{stack.frames().begin(), stack.frames().end()}] += of == Of::kHeap ? stack.bytes() : stack.count();
  }
  return stacks;
}

}  // namespace

std::string OwnFrame(const std::vector<std::string>& frames) {
  for (const std::string& frame : frames) {
    if (IsOwn(Split(frame))) return frame;
  }
  return "";
}

LeakName NameGoroutines(const ProcessSnapshot& before, const ProcessSnapshot& after, const ProcessSnapshot* leaked) {
  const Of of = Of::kGoroutines;
  return NameSites(SitesOf(StacksOf(before, of), StacksOf(after, of), of), "more goroutines", &Grouped, leaked);
}

LeakName NameHeap(const ProcessSnapshot& before, const ProcessSnapshot& after) {
  return NameSites(SitesOf(StacksOf(before, Of::kHeap), StacksOf(after, Of::kHeap), Of::kHeap), "more heap", &HumanBytes,
                   nullptr);
}

LeakName NameFds(const ProcessSnapshot& before, const ProcessSnapshot& after, absl::string_view state) {
  return NameKeys(FdsOf(before, state), FdsOf(after, state), &CoarseFd, "more descriptors");
}

LeakName NameThreads(const ProcessSnapshot& before, const ProcessSnapshot& after) {
  return NameKeys(ThreadsOf(before), ThreadsOf(after), &CoarseThread, "more threads");
}

}  // namespace squall
