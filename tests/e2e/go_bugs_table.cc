#include "tests/e2e/go_bugs_table.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace squall {
namespace {

const char kGoroutines[] = "shop_goroutines.go";
const char kMemory[] = "shop_memory.go";

// A frame of shop's own: function, file and line.
std::string At(const std::string& function) { return absl::StrCat("main\\.", function, " [^ ]*FILE:LINE\\b"); }
std::string AtMethod(const std::string& method) { return At(absl::StrCat("\\(\\*shop\\)\\.", method)); }

// Frames of the library's own, and the peer.
std::string Connection(const std::string& what) { return absl::StrCat("net/http\\.\\(\\*persistConn\\)\\.", what, "\\b"); }
const char kPeer[] = "127\\.0\\.0\\.1:[0-9]+";

std::vector<GoBug> MakeBugs() {
  std::vector<GoBug> bugs;

  // While the fault acts: what comes late is let go when the peer answers again.
  bugs.push_back({"no-deadline", "hung-peer", "no_leak", {"answers-in-time", "gives-up", "tells-its-deadline"},
                  {AtMethod("noDeadline")}, kGoroutines});
  bugs.push_back({"background-context", "hung-peer", "no_leak", {"gives-up", "tells-its-deadline"}, {AtMethod("prices")}, kGoroutines});
  bugs.push_back({"nested-timeouts", "hung-peer", "no_leak", {"gives-up", "tells-its-deadline"}, {AtMethod("stock")}, kGoroutines});
  bugs.push_back({"after-hangup", "abandoned", "no_leak", {}, {AtMethod("afterHangup")}, kGoroutines});
  bugs.push_back({"defer-in-loop", "hung-peer", "no_leak", {}, {"/dev/urandom"}, ""});
  bugs.push_back({"no-cancel", "dead-peer", "no_leak", {}, {AtMethod("noCancel")}, kMemory});

  // For ever, or for a minute.
  bugs.push_back({"select-forever", "slow-peer", "no_leak", {}, {AtMethod("selectForever\\.func1")}, kGoroutines});
  bugs.push_back({"send-no-receiver", "slow-peer", "no_leak", {}, {AtMethod("sendNoReceiver\\.func1")}, kGoroutines});
  bugs.push_back({"range-never-closed", "failing-peer", "no_leak", {}, {AtMethod("rangeNeverClosed\\.func1")}, kGoroutines});
  bugs.push_back({"time-after", "hung-peer", "no_leak", {}, {AtMethod("timeAfter")}, kMemory});
  bugs.push_back({"ticker-not-stopped", "hung-peer", "no_leak", {}, {AtMethod("tickerNotStopped")}, kMemory});
  // The answer's end is waited for by the one, the next answer by the other.
  bugs.push_back({"body-not-closed", "failing-peer", "no_leak", {}, {Connection("readLoop"), kPeer}, ""});
  bugs.push_back({"client-per-request", "failing-peer", "no_leak", {}, {Connection("readLoop"), kPeer}, ""});

  // Nothing is held.
  bugs.push_back({"swallowed-error", "dead-peer", "sessions-come-back", {"recovery"}, {"shop_free_sessions"}, ""});
  bugs.push_back({"half-open-hangs", "failing-then-slow", "circuit_breaker", {"recovery"}, {"did not close"}, ""});
  bugs.push_back({"error-as-success", "failing-peer", "errors-are-no-success", {},
                  {"result=success bytes=[0-9]+ err=.*answered with 500"}, ""});
  return bugs;
}

}  // namespace

const std::vector<GoBug>& GoBugs() {
  static const auto* const bugs = new std::vector<GoBug>(MakeBugs());
  return *bugs;
}

int LineThatShows(const std::string& bug, const std::string& source) {
  int number = 0;
  for (const auto& line : absl::StrSplit(source, '\n')) {
    ++number;
    if (absl::EndsWith(line, absl::StrCat("// shows ", bug))) return number;
  }
  return 0;
}

std::vector<std::string> EvidenceIn(const GoBug& bug, const std::string& source) {
  std::vector<std::string> evidence;
  for (const std::string& pattern : bug.evidence) {
    evidence.push_back(absl::StrReplaceAll(pattern, {{"FILE", absl::StrReplaceAll(bug.file, {{".", "\\."}})},
                                                     {"LINE", absl::StrCat(LineThatShows(bug.bug, source))}}));
  }
  return evidence;
}

}  // namespace squall
