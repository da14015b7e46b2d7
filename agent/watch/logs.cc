#include "agent/watch/logs.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/utf8.h"

namespace squall {
namespace {

constexpr absl::Duration kReadsEvery = absl::Milliseconds(50);

absl::Status CheckFile(const std::string& file, std::string& note) {
  const Fd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd && errno == ENOENT) {
    note = absl::StrCat("log_file ", file, " is not there: it is read from its beginning once it is");
    return absl::OkStatus();
  }
  if (!fd) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read log_file ", file));
  struct stat about;
  if (fstat(fd.get(), &about) != 0 || !S_ISREG(about.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat("log_file ", file, " is no regular file; name the file that the service writes to"));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<LinePattern> LinePatterns(const Scenario& scenario, const std::string& service) {
  std::vector<LinePattern> patterns;
  for (const Assertion& assertion : scenario.assertions()) {
    const LogPattern& log = assertion.log();
    if (!assertion.has_log() || log.service() != service) continue;
    patterns.push_back({assertion.name(), log.how_case() == LogPattern::kMatches ? log.matches() : log.never_matches()});
  }
  return patterns;
}

std::string LogFile(const Service& service, const std::string& folder) {
  const std::string& file = service.log_file();
  return file.empty() || file[0] == '/' ? file : absl::StrCat(folder, "/", file);
}

absl::Status CheckLogs(const Scenario& scenario, const std::string& folder, PrepareReply& reply) {
  for (const Service& service : scenario.services()) {
    const std::vector<LinePattern> patterns = LinePatterns(scenario, service.name());
    for (const LinePattern& wanted : patterns) {
      const RE2 pattern(wanted.pattern, RE2::Quiet);
      if (pattern.ok()) continue;
      return absl::InvalidArgumentError(absl::StrCat("assertion ", wanted.assertion, ": '", wanted.pattern, "' is no regular expression: ", pattern.error()));
    }
    const std::string file = LogFile(service, folder);
    if (patterns.empty()) continue;
    if (file.empty() && service.has_attach()) {
      return absl::FailedPreconditionError(absl::StrCat("assertion ", patterns[0].assertion, ": what ", service.name(), " prints cannot be seen, "
                                                        "since it is attached to; write log_file: PATH in it"));
    }
    std::string note;
    const absl::Status status = file.empty() ? absl::OkStatus() : CheckFile(file, note);
    if (!status.ok()) return absl::Status(status.code(), absl::StrCat("service ", service.name(), ": ", status.message()));
    if (!note.empty()) reply.add_notes(absl::StrCat("service ", service.name(), ": ", note));
  }
  return absl::OkStatus();
}

LogWatch::LogWatch(std::string service, const std::string& file, const std::vector<LinePattern>& patterns, Sink sink)
    : service_(std::move(service)), sink_(std::move(sink)) {
  {
    absl::MutexLock lock(&mutex_);
    for (const LinePattern& pattern : patterns) looked_.push_back(std::make_unique<Looked>(pattern));
    if (!file.empty()) file_.emplace(file);
  }
  thread_ = std::thread([this] { Run(); });
}

LogWatch::~LogWatch() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
  absl::MutexLock lock(&mutex_);
  const auto take = [this](absl::string_view line) ABSL_NO_THREAD_SAFETY_ANALYSIS { Take(line); };
  ReadFile();
  printed_.End(take);
  if (file_) file_->End(take);
  TellLines();
}

void LogWatch::Printed(absl::string_view text) {
  absl::MutexLock lock(&mutex_);
  const auto take = [this](absl::string_view line) ABSL_NO_THREAD_SAFETY_ANALYSIS { Take(line); };
  text.empty() ? printed_.End(take) : printed_.Add(text, take);
}

void LogWatch::Tell() {
  absl::MutexLock lock(&mutex_);
  ReadFile();
  TellLines();
}

void LogWatch::Run() {
  prctl(PR_SET_NAME, "logs");
  absl::Time next = absl::Now() + kTellsEvery;
  absl::MutexLock lock(&mutex_);
  while (!stop_) {
    const bool more = ReadFile();
    if (absl::Now() >= next) {
      TellLines();
      next = absl::Now() + kTellsEvery;
    }
    mutex_.AwaitWithTimeout(absl::Condition(&stop_), more ? absl::Milliseconds(1) : kReadsEvery);
  }
}

bool LogWatch::ReadFile() {
  return file_ && file_->Read([this](absl::string_view line) ABSL_NO_THREAD_SAFETY_ANALYSIS { Take(line); });
}

void LogWatch::Take(absl::string_view line) {
  ++lines_;
  // Most are plain, and need not be copied to be valid.
  std::string valid;
  if (!std::all_of(line.begin(), line.end(), [](char c) { return absl::ascii_isprint(c) || c == '\t'; })) {
    valid = ValidText(line);
    line = valid;
  }
  for (const auto& looked : looked_) {
    if (!RE2::PartialMatch(re2::StringPiece(line.data(), line.size()), looked->pattern)) continue;
    if (looked->lines.size() < kMostMatches) {
      looked->lines.push_back(ValidText(line, kMostOfLine));
    } else {
      ++looked->more;
    }
  }
}

void LogWatch::TellLines() {
  if (lines_ == 0) return;
  Record record;
  LogLines& told = *record.mutable_log();
  told.set_service(service_);
  told.set_at_ns(BootNanos());
  told.set_lines(std::exchange(lines_, 0));
  for (const auto& looked : looked_) {
    LogLines::Match* match = nullptr;
    for (std::string& line : looked->lines) {
      match = told.add_matches();
      match->set_assertion(looked->assertion);
      match->set_line(std::move(line));
    }
    if (match != nullptr) match->set_more(std::exchange(looked->more, 0));
    looked->lines.clear();
  }
  sink_(std::move(record));
}

}  // namespace squall
