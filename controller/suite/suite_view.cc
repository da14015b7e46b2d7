#include "controller/suite/suite_view.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/text.h"
#include "controller/report/words.h"
#include "controller/terminal.h"

namespace squall {
namespace {

constexpr int kMostNameColumns = 28;

std::string NowOf(const Progress& progress) {
  if (!progress.doing.empty()) return progress.doing;
  return progress.phase == PhaseEvent::PHASE_UNSPECIFIED ? "starting" : PhaseName(progress.phase);
}

}  // namespace

std::string ProgressRow(const std::string& name, int name_columns, const Progress& progress, int columns) {
  std::string row = absl::StrFormat("%-*s  %-8s", name_columns, name.substr(0, static_cast<size_t>(name_columns)),
                                    NowOf(progress));
  if (progress.doing.empty() && progress.phase != PhaseEvent::PHASE_UNSPECIFIED) {
    absl::StrAppendFormat(&row, "  %3.0f s left  ok %4.0f/s  errors %3.0f/s  p99 %-7s", absl::ToDoubleSeconds(progress.left),
                          progress.ok + progress.degraded, progress.errors, HumanDuration(progress.p99));
    if (!progress.injected.empty()) absl::StrAppend(&row, "  ", absl::StrJoin(progress.injected, "; "));
  }
  // Names are of ASCII letters, and what is injected in the words of squall: bytes are columns.
  return row.substr(0, static_cast<size_t>(std::max(20, columns)));
}

SuiteView::SuiteView(std::vector<std::string> labels, int runs)
    : labels_(std::move(labels)), runs_(runs), live_(IsTerminal(STDERR_FILENO)), color_(UsesColor(STDERR_FILENO)) {}

SuiteView::~SuiteView() { Erase(); }

void SuiteView::Erase() {
  if (drawn_lines_ > 0) fprintf(stderr, "\033[%dA\r\033[J", drawn_lines_);
  fflush(stderr);
  drawn_lines_ = 0;
}

void SuiteView::Draw() {
  if (!live_) return;
  std::vector<std::string> lines;
  for (const auto& [scenario, drawing] : running_) {
    if (running_.size() == 1) {
      lines.insert(lines.end(), drawing.picture.begin(), drawing.picture.end());
    } else {
      lines.push_back(drawing.line);
    }
  }
  std::string picture = drawn_lines_ > 0 ? absl::StrFormat("\033[%dA\r\033[J", drawn_lines_) : "";
  for (const std::string& line : lines) absl::StrAppend(&picture, line, "\n");
  fputs(picture.c_str(), stderr);
  fflush(stderr);
  drawn_lines_ = static_cast<int>(lines.size());
}

void SuiteView::Say(const std::string& line) {
  Erase();
  fprintf(stderr, "%s\n", line.c_str());
  Draw();
}

void SuiteView::Started(size_t scenario, const std::string& which) {
  const std::lock_guard<std::mutex> lock(mutex_);
  running_[scenario] = {};
  const std::string more = which.empty() ? "" : absl::StrCat(" (", which, ")");
  // On a terminal its picture says so.
  if (!live_ || !which.empty()) Say(absl::StrCat(labels_[scenario], ": started", more));
}

void SuiteView::OnProgress(size_t scenario, const Progress& progress) {
  if (!live_) return;
  size_t name_columns = 0;
  for (const std::string& label : labels_) name_columns = std::max(name_columns, label.size());
  const int columns = TerminalColumns();
  Drawing drawing;
  drawing.picture = DrawProgress(labels_[scenario], progress, columns, color_);
  drawing.line = ProgressRow(labels_[scenario], static_cast<int>(std::min<size_t>(name_columns, kMostNameColumns)), progress,
                             columns - 1);
  const std::lock_guard<std::mutex> lock(mutex_);
  running_[scenario] = std::move(drawing);
  Draw();
}

void SuiteView::OnEvent(size_t scenario, const std::string& line) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Say(absl::StrCat(labels_[scenario], ": ", line));
}

void SuiteView::Finished(size_t scenario, const RunResult& result) {
  const std::lock_guard<std::mutex> lock(mutex_);
  running_.erase(scenario);
  ++finished_;
  const Standing standing = StandingOf(result);
  const Verdict::Result as = AsResult(standing);
  const char* color = as == Verdict::PASS ? "\033[32m" : as == Verdict::FAIL ? "\033[31m" : "\033[33m";
  std::string line = absl::StrCat(ResultMark(as), " ", StandingWord(standing));
  if (color_) line = absl::StrCat(color, line, "\033[0m");
  // Runs that replace others come on top of those that were asked for.
  absl::StrAppend(&line, "  ", labels_[scenario], "  ", RunTime(static_cast<int64_t>(result.seconds() * 1e9)), "  (",
                  finished_, " of ", std::max(runs_, finished_), ")");
  const auto causes = CausesOf(result);
  if (!causes.empty()) absl::StrAppend(&line, "  ", causes[0]);
  Say(line);
}

}  // namespace squall
