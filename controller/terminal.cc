#include "controller/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/text.h"

namespace squall {
namespace {

constexpr char kReset[] = "\033[0m";
constexpr char kBold[] = "\033[1m";
constexpr char kDim[] = "\033[2m";
constexpr char kRed[] = "\033[31m";

std::string Paint(bool color, const char* how, const std::string& text) {
  return color ? absl::StrCat(how, text, kReset) : text;
}

// Cuts by characters, not bytes.
std::string Cut(const std::string& text, int columns) {
  int width = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) == 0x80) continue;
    if (++width > columns) return text.substr(0, i);
  }
  return text;
}

// The phases as a ribbon, as long as they are planned, with the faults below and a mark for now.
struct Ribbon {
  std::string phases;
  std::string faults;
};

Ribbon DrawRibbon(const Progress& progress, int width, bool color) {
  const Plan& plan = *progress.plan;
  const double longest = absl::ToDoubleSeconds(plan.Longest());
  const auto column = [&](absl::Duration at) {
    return std::clamp(static_cast<int>(std::lround(absl::ToDoubleSeconds(at) / longest * width)), 0, width);
  };
  const absl::Duration faults_at = progress.faults_at > absl::ZeroDuration() ? progress.faults_at : plan.FaultsStart();
  const int limits = plan.limits > absl::ZeroDuration() ? column(plan.baseline) : -1;
  const int rest = plan.rest > absl::ZeroDuration() ? column(plan.baseline + plan.limits) : -1;
  const int faults = column(faults_at);
  const int recovery = column(faults_at + plan.faults_end);
  const int now = std::min(column(progress.elapsed), width - 1);
  std::string labels(static_cast<size_t>(width), ' ');
  const auto label = [&](int from, int to, const std::string& text) {
    const int room = to - from - 2;
    if (room > 0) labels.replace(static_cast<size_t>(from) + 1, std::min(text.size(), static_cast<size_t>(room)),
                                 text.substr(0, static_cast<size_t>(room)));
  };
  label(0, limits >= 0 ? limits : rest >= 0 ? rest : faults, "baseline");
  if (limits >= 0) label(limits, rest >= 0 ? rest : faults, "limits");
  if (rest >= 0) label(rest, faults, "rest");
  label(faults, recovery, "faults");
  label(recovery, width, "recovery");
  Ribbon ribbon;
  for (int i = 0; i < width; ++i) {
    const bool edge = i == limits || i == rest || i == faults || i == recovery;
    const char c = labels[static_cast<size_t>(i)];
    std::string cell = c != ' ' ? std::string(1, c) : edge ? "│" : i <= now ? "━" : "─";
    if (i == now) cell = "●";
    ribbon.phases += i > now ? Paint(color, kDim, cell) : i == now ? Paint(color, kBold, cell) : cell;
  }
  for (int i = 0; i < width; ++i) {
    bool on = false, past = i <= now;
    for (const PlannedFault& fault : plan.faults) {
      const int from = column(faults_at + fault.at);
      on |= i >= from && i < std::max(from + 1, column(faults_at + fault.until));
    }
    ribbon.faults += !on ? " " : Paint(color, past ? kRed : kDim, past ? "▀" : "▔");
  }
  return ribbon;
}

}  // namespace

bool IsTerminal(int fd) { return isatty(fd) == 1; }

bool UsesColor(int fd) {
  const char* no_color = getenv("NO_COLOR");
  return IsTerminal(fd) && (no_color == nullptr || *no_color == '\0');
}

int TerminalColumns() {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

void Picture::Draw(const std::vector<std::string>& lines) {
  std::string picture;
  if (drawn_lines_ > 0) picture = absl::StrFormat("\033[%dA\r\033[J", drawn_lines_);
  for (const std::string& line : lines) absl::StrAppend(&picture, line, "\n");
  fputs(picture.c_str(), stderr);
  fflush(stderr);
  drawn_lines_ = static_cast<int>(lines.size());
}

void Picture::Erase() {
  if (drawn_lines_ > 0) fprintf(stderr, "\033[%dA\r\033[J", drawn_lines_);
  fflush(stderr);
  drawn_lines_ = 0;
}

std::vector<std::string> DrawProgress(const std::string& title, const Progress& progress, int columns, bool color) {
  std::vector<std::string> lines;
  const int width = std::max(20, columns - 2);
  if (progress.phase == PhaseEvent::PHASE_UNSPECIFIED || !progress.doing.empty()) {
    return {Paint(color, kBold, Cut(absl::StrCat(title, ": ", progress.doing, " ..."), width))};
  }
  const std::string left = absl::StrFormat("at most %.0f s left", absl::ToDoubleSeconds(progress.left));
  const std::string name = Cut(title, std::max(0, width - static_cast<int>(left.size()) - 2));
  const int gap = std::max(1, width - static_cast<int>(name.size()) - static_cast<int>(left.size()));
  lines.push_back(absl::StrCat(Paint(color, kBold, name), std::string(static_cast<size_t>(gap), ' '), left));
  const Ribbon ribbon = DrawRibbon(progress, width, color);
  lines.push_back(ribbon.phases);
  lines.push_back(ribbon.faults);
  std::string rates = absl::StrFormat("offered %4.0f/s  ok %4.0f/s  degraded %4.0f/s  errors %3.0f/s  p99 %s", progress.offered,
                                      progress.ok, progress.degraded, progress.errors, HumanDuration(progress.p99));
  if (progress.rejected > 0) absl::StrAppendFormat(&rates, "  rejected %.0f/s", progress.rejected);
  if (columns >= 110) absl::StrAppendFormat(&rates, "  calls at edges %.0f/s", progress.arrivals);
  lines.push_back(Cut(rates, width));
  lines.push_back(progress.injected.empty()
                      ? Paint(color, kDim, "nothing is injected")
                      : Paint(color, kRed, Cut(absl::StrCat("injected: ", absl::StrJoin(progress.injected, "; ")), width)));
  return lines;
}

std::string ProgressLine(const Progress& progress) {
  if (progress.phase == PhaseEvent::PHASE_UNSPECIFIED || !progress.doing.empty()) return progress.doing;
  return absl::StrFormat(
      "%5.1f s %-8s  offered %.0f/s ok %.0f/s degraded %.0f/s rejected %.0f/s errors %.0f/s p99 %s  %s  <= %.0f s left",
      absl::ToDoubleSeconds(progress.elapsed), PhaseName(progress.phase), progress.offered, progress.ok, progress.degraded,
      progress.rejected, progress.errors, HumanDuration(progress.p99),
      progress.injected.empty() ? "nothing injected" : absl::StrJoin(progress.injected, "; "),
      absl::ToDoubleSeconds(progress.left));
}

ProgressView::ProgressView(std::string title)
    : title_(std::move(title)), live_(IsTerminal(STDERR_FILENO)), color_(UsesColor(STDERR_FILENO)) {}

ProgressView::~ProgressView() { picture_.Erase(); }

void ProgressView::Show(const Progress& progress) {
  if (live_) {
    picture_.Draw(DrawProgress(title_, progress, TerminalColumns(), color_));
    return;
  }
  if (BootNanos() < next_line_ns_) return;
  next_line_ns_ = BootNanos() + 5'000'000'000;
  fprintf(stderr, "%s\n", ProgressLine(progress).c_str());
}

void ProgressView::Event(const std::string& line) {
  picture_.Erase();
  fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace squall
