#include "controller/hand_text.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "base/durations.h"
#include "base/text.h"
#include "controller/assertions/judge.h"
#include "controller/plan.h"
#include "controller/report/escape.h"
#include "controller/wording.h"

namespace squall {
namespace {

constexpr int kLabel = 10;      // columns of "injected  ", and of "recommend "
constexpr int kIndented = 12;   // of "  injected  "
constexpr int kReadable = 110;  // longer lines are hard to read, however wide the terminal is
constexpr char kReset[] = "\033[0m";
constexpr char kBold[] = "\033[1m";
constexpr char kDim[] = "\033[2m";
constexpr char kRed[] = "\033[31m";

std::string Paint(bool color, const char* how, const std::string& text) {
  return color ? absl::StrCat(how, text, kReset) : text;
}

std::string Seconds(double seconds) { return HumanDuration(absl::Seconds(seconds)); }

std::string Counted(int64_t count, const std::string& singular, const std::string& plural) {
  return absl::StrCat(count, " ", count == 1 ? singular : plural);
}

bool HasEnd(const HandTick& tick) { return tick.fault().has_for_(); }

std::string ServiceSigns(const ServiceSample& sample) {
  if (sample.processes() == 0) return "no process is alive";
  return absl::StrCat("cpu ", HumanPercent(sample.cpu()), ", rss ", HumanBytes(sample.rss_bytes()), ", ",
                      Counted(sample.threads(), "thread", "threads"), ", ", Counted(sample.fds(), "fd", "fds"), ", ",
                      Counted(sample.processes(), "process", "processes"));
}

std::string EdgeSigns(const EdgeTick& edge) {
  std::string signs = absl::StrFormat("%.0f calls/s", edge.calls_per_second());
  if (edge.answered_per_second() < edge.calls_per_second()) {
    absl::StrAppendFormat(&signs, " (%.0f answered)", edge.answered_per_second());
  }
  return absl::StrCat(signs, ", ", edge.open_connections(), " of ", Counted(edge.connections(), "connection", "connections"),
                      " open");
}

// `text` behind a label, in as many lines as it takes, all of them from column `indent` on.
void Labelled(const std::string& label, const std::string& text, int indent, int columns, std::vector<std::string>& lines) {
  const int width = std::clamp(columns - 1, 2 * indent, kReadable);
  const std::string wrapped = Wrapped(TerminalText(text), indent, width);
  const std::string head = label + std::string(static_cast<size_t>(std::max(1, indent - DisplayWidth(label))), ' ');
  for (const absl::string_view line : absl::StrSplit(absl::StrCat(head, wrapped), '\n')) lines.emplace_back(line);
}

std::string Bar(const HandTick& tick, int width, bool color) {
  const double share = tick.elapsed() / std::max(1e-9, tick.elapsed() + tick.left());
  const int done = std::clamp(static_cast<int>(std::lround(share * width)), 0, width);
  std::string past, rest;
  for (int i = 0; i < done; ++i) past += "━";
  for (int i = done; i < width; ++i) rest += "─";
  return Paint(color, kRed, past) + Paint(color, kDim, rest);
}

std::string TimeOfDay(int64_t unix_ns) {
  return absl::FormatTime("%H:%M:%S", absl::FromUnixNanos(unix_ns), absl::LocalTimeZone());
}

void AppendRun(const AgentState& agent, const HeldRun& run, int64_t now_unix_ns, std::vector<std::string>& lines) {
  lines.push_back(absl::StrCat(run.run_id(), run.scenario().empty() ? "" : absl::StrCat("  (", run.scenario(), ")")));
  const auto add = [&](const std::string& label, const std::string& text) {
    Labelled(absl::StrCat("  ", label), text, kIndented, kReadable, lines);
  };
  add("held by", run.holder());
  if (run.services_size() > 0) add("holds", absl::StrJoin(run.services(), ", "));
  const absl::Duration left = absl::Nanoseconds(run.until_unix_ns() - now_unix_ns);
  add("until", absl::StrCat(TimeOfDay(run.until_unix_ns()), " at the latest",
                            left > absl::ZeroDuration() ? absl::StrCat(", in ", HumanDuration(left)) : ""));
  add("lease", absl::StrCat(HumanDuration(ToDuration(run.lease())), ", renewed ",
                            HumanDuration(ToDuration(run.renewed_ago())), " ago"));
  add("agent", absl::StrCat(agent.name(), " at ", agent.address()));
  if (run.faults().empty()) add("faults", "nothing is injected now");
  for (const HeldFault& held : run.faults()) {
    add("injected", absl::StrCat(held.fault().name(), ": ", DescribeFault(held.fault()), ", for ",
                                 HumanDuration(ToDuration(held.since())), " now"));
    add("seen", SeenText(held.fault(), held.evidence()));
  }
}

}  // namespace

std::vector<std::string> DrawTick(const HandTick& tick, int columns, bool color) {
  std::vector<std::string> lines;
  const int width = std::clamp(columns - 1, 20, kReadable);
  Labelled("injected", DescribeFault(tick.fault()), kLabel, columns, lines);
  for (std::string& line : lines) line = Paint(color, kBold, line);
  if (HasEnd(tick)) {
    const std::string left = absl::StrFormat(" %.0f s left", std::ceil(tick.left()));
    lines.push_back(absl::StrCat(Bar(tick, width - static_cast<int>(left.size()), color), left));
  }
  Labelled("seen", SeenText(tick.fault(), tick.evidence()), kLabel, columns, lines);
  for (const ServiceSample& sample : tick.services()) Labelled(sample.service(), ServiceSigns(sample), kLabel, columns, lines);
  for (const EdgeTick& edge : tick.edges()) Labelled(edge.edge(), EdgeSigns(edge), kLabel, columns, lines);
  const size_t before = lines.size();
  Labelled("end", "Ctrl-C heals; so does squall heal, from anywhere on this machine", kLabel, columns, lines);
  for (size_t i = before; i < lines.size(); ++i) lines[i] = Paint(color, kDim, lines[i]);
  return lines;
}

std::string TickLine(const HandTick& tick) {
  std::vector<std::string> parts = {absl::StrFormat("%5.1f s", tick.elapsed()),
                                    SeenText(tick.fault(), tick.evidence())};
  for (const ServiceSample& sample : tick.services()) parts.push_back(absl::StrCat(sample.service(), " ", ServiceSigns(sample)));
  for (const EdgeTick& edge : tick.edges()) parts.push_back(absl::StrCat(edge.edge(), " ", EdgeSigns(edge)));
  if (HasEnd(tick)) parts.push_back(absl::StrFormat("%.0f s left", std::ceil(tick.left())));
  return TerminalText(absl::StrJoin(parts, " | "));
}

std::string EndText(const HandTick& tick, int columns) {
  const std::string what = DescribeFault(tick.fault());
  std::string end;
  switch (tick.state()) {
    case HandTick::HEALED:
      end = HasEnd(tick) ? absl::StrCat("healed after ", Seconds(tick.elapsed()), ": ", what) : absl::StrCat("done: ", what);
      break;
    case HandTick::NOT_HEALED:
      end = absl::StrCat("NOT CONFIRMED AS HEALED: ", what);
      break;
    default:
      end = absl::StrCat(tick.elapsed() > 0 ? "ended: " : "nothing was injected: ", tick.message());
  }
  if (tick.state() != HandTick::FAILED && !tick.message().empty()) absl::StrAppend(&end, "; ", tick.message());
  if (tick.elapsed() > 0) absl::StrAppend(&end, "\nseen: ", SeenText(tick.fault(), tick.evidence()));
  for (const std::string& left : tick.not_healed()) absl::StrAppend(&end, "\nnot confirmed: ", left);
  std::string text;
  for (const absl::string_view line : absl::StrSplit(end, '\n')) {
    absl::StrAppend(&text, columns > 0 ? Wrapped(line, 2, columns) : std::string(line), "\n");
  }
  return text;
}

std::string StatusText(const AgentStates& states, int64_t now_unix_ns) {
  std::vector<std::string> lines;
  for (const AgentState& agent : states.agents()) {
    for (const HeldRun& run : agent.runs()) {
      if (!lines.empty()) lines.push_back("");
      AppendRun(agent, run, now_unix_ns, lines);
    }
  }
  if (lines.empty()) {
    lines.push_back(states.agents().empty() ? "Nothing is held or injected: no agent of this user runs on this machine."
                                            : "Nothing is held or injected by the agents that answer.");
  }
  for (const AgentState& agent : states.agents()) {
    if (agent.reachable()) continue;
    lines.push_back(absl::StrCat("agent ", agent.name(), " at ", agent.address(), " does not answer: ", agent.error()));
  }
  return absl::StrCat(absl::StrJoin(lines, "\n"), "\n");
}

std::string AgentsText(const AgentStates& states) {
  if (states.agents().empty()) return "No agent of this user runs on this machine.\n";
  std::vector<std::vector<std::string>> rows = {{"AGENT", "VERSION", "HOST", "SERVES", "ADDRESS"}};
  for (const AgentState& agent : states.agents()) {
    std::vector<std::string> runs;
    for (const HeldRun& run : agent.runs()) runs.push_back(run.run_id());
    const std::string serves = !agent.reachable() ? absl::StrCat("does not answer: ", agent.error())
                               : runs.empty()     ? "nothing"
                                                  : absl::StrJoin(runs, ", ");
    rows.push_back({agent.name(), agent.reachable() ? agent.version() : "-", agent.reachable() ? agent.host() : "-", serves,
                    agent.address()});
  }
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      absl::StrAppend(&text, row[i]);
      if (i + 1 < row.size()) text.append(widths[i] - row[i].size() + 2, ' ');
    }
    text += '\n';
  }
  return text;
}

std::string HealedText(const Healed& healed) {
  std::string text;
  for (const std::string& run : healed.ended()) absl::StrAppend(&text, "ended ", run, "\n");
  for (const std::string& left : healed.not_healed()) absl::StrAppend(&text, "NOT CONFIRMED AS HEALED: ", left, "\n");
  if (!healed.ended().empty() && healed.not_healed().empty()) absl::StrAppend(&text, "Everything is healed, and confirmed.\n");
  return text;
}

}  // namespace squall
