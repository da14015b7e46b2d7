#include "controller/suite/suite_folder.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <regex>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "controller/exit_code.h"
#include "controller/report/report.h"
#include "controller/run_folder.h"
#include "controller/suite/outcome.h"
#include "google/protobuf/util/json_util.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

std::string SuitePath(const std::string& folder) { return absl::StrCat(folder, "/suite.json"); }

absl::StatusOr<SuiteResult> ReadSuite(const std::string& folder) {
  std::ifstream file(SuitePath(folder), std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", SuitePath(folder)));
  SuiteResult suite;
  const auto status = google::protobuf::util::JsonStringToMessage(text.str(), &suite);
  if (status.ok()) return suite;
  return absl::DataLossError(absl::StrCat(SuitePath(folder), " is not what squall wrote: ", status.ToString()));
}

// A run or suite that goes on: what squall writes last is not there, and it wrote something lately.
bool GoesOn(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder / "index.html", error)) return false;
  if (!IsSuiteFolder(folder) && fs::exists(folder / "report.html", error)) return false;
  const auto lately = fs::file_time_type::clock::now() - std::chrono::hours(1);
  for (const auto& entry : fs::recursive_directory_iterator(folder, error)) {
    if (entry.last_write_time(error) > lately && !error) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<std::string> MakeSuiteFolder(const std::string& runs_folder, const std::string& suite_id) {
  const std::string folder = absl::StrCat(runs_folder, "/", suite_id);
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error) return folder;
  return absl::PermissionDeniedError(absl::StrCat("cannot make the suite's folder ", folder, ": ", error.message(),
                                                  "; choose another place with --runs=FOLDER"));
}

absl::Status WriteSuite(const std::string& folder, const SuiteResult& result, bool at_end) {
  // At once or not at all: a suite that is killed while it writes can still be judged.
  const std::string half = absl::StrCat(SuitePath(folder), ".new");
  absl::Status status = WriteFile(half, JsonReport(result));
  std::error_code error;
  if (status.ok()) fs::rename(half, SuitePath(folder), error);
  if (error) return absl::UnknownError(absl::StrCat("cannot write ", SuitePath(folder), ": ", error.message()));
  if (status.ok()) status = WriteFile(absl::StrCat(folder, "/junit.xml"), JunitReport(result));
  if (status.ok() && at_end) status = WriteFile(absl::StrCat(folder, "/index.html"), HtmlIndex(result));
  return status;
}

bool IsSuiteFolder(const std::string& folder) {
  std::error_code error;
  return fs::exists(SuitePath(folder), error);
}

absl::StatusOr<SuiteResult> JudgeSuite(const std::string& folder) {
  absl::StatusOr<SuiteResult> suite = ReadSuite(folder);
  if (!suite.ok()) return suite.status();
  const bool inconclusive_fails = suite->inconclusive() != SuiteResult::INCONCLUSIVE_WARN;
  for (ScenarioResult& scenario : *suite->mutable_scenarios()) {
    for (SuiteRun& run : *scenario.mutable_runs()) {
      if (run.folder().empty()) continue;
      absl::StatusOr<Judged> judged = JudgeFolder(absl::StrCat(folder, "/", run.folder()), inconclusive_fails);
      if (judged.ok()) {
        *run.mutable_result() = std::move(judged->result);
        continue;
      }
      RunResult& result = *run.mutable_result();
      result.clear_verdicts();
      result.set_exit_code(kExitHarness);
      result.set_ending(Footer::HARNESS_FAILED);
      result.set_ending_reason(absl::StrCat("it cannot be judged again: ", judged.status().message()));
    }
    // With other rules the run that was replaced may be one that can be judged: it counts then beside the other.
    for (SuiteRun& run : *scenario.mutable_runs()) {
      if (run.replaced() && run.result().exit_code() != kExitInconclusive) run.set_replaced(false);
    }
  }
  Conclude(*suite);
  const absl::Status written = WriteSuite(folder, *suite, /*at_end=*/true);
  if (!written.ok()) return written;
  return suite;
}

std::vector<std::string> ToPrune(std::vector<std::string> names, int keep) {
  static const std::regex kId("[0-9]{8}T[0-9]{6}Z-.+-[0-9a-f]{6}");
  names.erase(std::remove_if(names.begin(), names.end(), [](const std::string& name) { return !std::regex_match(name, kId); }),
              names.end());
  // Names sort as runs were started.
  std::sort(names.begin(), names.end(), std::greater<>());
  names.erase(names.begin(), names.begin() + std::min<std::ptrdiff_t>(keep, static_cast<std::ptrdiff_t>(names.size())));
  return names;
}

absl::StatusOr<std::vector<std::string>> Prune(const std::string& runs_folder, int keep) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(runs_folder, error)) {
    if (entry.is_directory(error) && !entry.is_symlink(error)) names.push_back(entry.path().filename());
  }
  std::vector<std::string> deleted;
  for (const std::string& name : ToPrune(std::move(names), keep)) {
    const fs::path folder = fs::path(runs_folder) / name;
    if (GoesOn(folder)) continue;
    fs::remove_all(folder, error);
    if (error) return absl::UnknownError(absl::StrCat("--keep: cannot delete ", folder.string(), ": ", error.message()));
    deleted.push_back(folder);
  }
  return deleted;
}

}  // namespace squall
