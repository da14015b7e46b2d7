#include "controller/suite/suite.h"

#include <condition_variable>
#include <list>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/version.h"
#include "controller/exit_code.h"
#include "controller/run_folder.h"
#include "controller/run_identity.h"
#include "controller/suite/outcome.h"
#include "controller/suite/schedule.h"
#include "controller/suite/suite_folder.h"

namespace squall {
namespace {

class Suite {
 public:
  Suite(const std::vector<LoadedScenario>& scenarios, const SuiteOptions& options, SuiteWatcher& watcher)
      : scenarios_(scenarios),
        options_(options),
        watcher_(watcher),
        clashes_(FindClashes(scenarios)),
        waiting_(Order(scenarios.size(), options.repeat)),
        started_(scenarios.size(), 0) {}

  absl::StatusOr<FinishedSuite> Execute();

 private:
  // One of the runs that are asked for, with the runs that replace it.
  struct Job {
    size_t scenario = 0;
    int repetition = 1;
    std::thread thread;
    bool done = false;
  };

  bool Interrupted() const { return options_.run.interrupts != nullptr && *options_.run.interrupts > 0; }
  void Begin();
  void Start(size_t waiting);
  void Carry(Job& job);
  SuiteRun CarryOnce(const Job& job);
  void Record(size_t scenario, SuiteRun run);
  void Write(bool at_end = false);

  const std::vector<LoadedScenario>& scenarios_;
  const SuiteOptions& options_;
  SuiteWatcher& watcher_;
  const Clashes clashes_;
  std::string folder_;
  absl::Time began_;
  std::vector<size_t> waiting_;  // the scenarios of the runs that are still to be started
  std::vector<int> started_;     // repetitions of each scenario

  std::mutex mutex_;  // of all below
  std::condition_variable changed_;
  std::list<Job> running_;
  SuiteResult result_;
  std::string stopped_;  // why nothing more is started; empty: it is
  absl::Status written_;
};

void Suite::Begin() {
  result_.set_suite(options_.name);
  result_.set_suite_id(folder_.substr(folder_.rfind('/') + 1));
  result_.set_started(absl::FormatTime(absl::RFC3339_sec, began_, absl::UTCTimeZone()));
  result_.set_inconclusive(options_.inconclusive);
  result_.set_squall_version(kVersion);
  const std::vector<std::string> labels = Labels(scenarios_);
  for (size_t i = 0; i < scenarios_.size(); ++i) {
    ScenarioResult& scenario = *result_.add_scenarios();
    scenario.set_scenario(labels[i]);
    scenario.set_file(scenarios_[i].path);
    scenario.set_description(scenarios_[i].scenario.description());
    *scenario.mutable_tags() = scenarios_[i].scenario.tags();
    scenario.set_repeat(options_.repeat);
    scenario.set_not_run("squall ended before");  // until it is run: true of a suite that was killed
  }
}

void Suite::Start(size_t waiting) {
  Job& job = running_.emplace_back();
  job.scenario = waiting_[waiting];
  job.repetition = ++started_[job.scenario];
  waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(waiting));
  job.thread = std::thread([this, &job] {
    Carry(job);
    const std::lock_guard<std::mutex> lock(mutex_);
    job.done = true;
    changed_.notify_all();
  });
}

void Suite::Carry(Job& job) {
  const int most = options_.inconclusive == SuiteResult::INCONCLUSIVE_RERUN ? 1 + kMostReruns : 1;
  for (int attempt = 1; attempt <= most; ++attempt) {
    std::string which = options_.repeat > 1 ? absl::StrCat("run ", job.repetition, " of ", options_.repeat) : "";
    if (attempt > 1) absl::StrAppend(&which, which.empty() ? "" : ", ", "run again because it was INCONCLUSIVE");
    watcher_.Started(job.scenario, which);
    SuiteRun run = CarryOnce(job);
    watcher_.Finished(job.scenario, run.result());
    const bool again = run.result().exit_code() == kExitInconclusive && attempt < most && !Interrupted();
    run.set_replaced(again);
    Record(job.scenario, std::move(run));
    if (!again) return;
  }
}

SuiteRun Suite::CarryOnce(const Job& job) {
  RunOptions options = options_.run;
  options.runs_folder = folder_;
  options.inconclusive_fails = options_.inconclusive != SuiteResult::INCONCLUSIVE_WARN;
  options.on_progress = [&](const Progress& progress) { watcher_.OnProgress(job.scenario, progress); };
  options.on_event = [&](const std::string& line) { watcher_.OnEvent(job.scenario, line); };
  SuiteRun run;
  run.set_repetition(job.repetition);
  absl::StatusOr<FinishedRun> finished = RunScenario(scenarios_[job.scenario], options);
  if (finished.ok()) {
    run.set_folder(finished->folder.substr(finished->folder.rfind('/') + 1));
    *run.mutable_result() = std::move(finished->result);
    return run;
  }
  RunResult& result = *run.mutable_result();
  result.set_scenario(scenarios_[job.scenario].scenario.name());
  result.set_exit_code(kExitHarness);
  result.set_ending(Footer::HARNESS_FAILED);
  result.set_ending_reason(std::string(finished.status().message()));
  return run;
}

void Suite::Record(size_t index, SuiteRun run) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const int code = run.result().exit_code();
  ScenarioResult& scenario = *result_.mutable_scenarios(static_cast<int>(index));
  if (stopped_.empty() && code == kExitNotHealed) {
    stopped_ = absl::StrCat("healing was not confirmed in ", scenario.scenario(), ", so the host may not be as it was");
  }
  if (stopped_.empty() && options_.fail_fast && !run.replaced() && EndsFailFast(code, options_.inconclusive)) {
    stopped_ = absl::StrCat("--fail-fast, and ", scenario.scenario(), " did not pass");
  }
  *scenario.add_runs() = std::move(run);
  if (!IsIncomplete(scenario)) scenario.clear_not_run();
  Write();
}

void Suite::Write(bool at_end) {
  result_.set_seconds(absl::ToDoubleSeconds(absl::Now() - began_));
  Conclude(result_);
  const absl::Status status = WriteSuite(folder_, result_, at_end);
  if (written_.ok()) written_ = status;
}

absl::StatusOr<FinishedSuite> Suite::Execute() {
  began_ = absl::Now();
  std::random_device random;
  absl::StatusOr<std::string> folder = MakeSuiteFolder(options_.run.runs_folder, MakeRunId(options_.name, began_, random()));
  if (!folder.ok()) return folder.status();
  folder_ = *std::move(folder);
  Begin();

  std::unique_lock<std::mutex> lock(mutex_);
  Write();
  while (true) {
    for (auto job = running_.begin(); job != running_.end();) {
      const auto ended = job++;
      if (!ended->done) continue;
      // It has nothing left to do but to end, for which it needs no lock once it has set `done`.
      std::list<Job> last;
      last.splice(last.begin(), running_, ended);
      lock.unlock();
      last.front().thread.join();
      lock.lock();
    }
    if (Interrupted() && stopped_.empty()) stopped_ = "the suite was interrupted";
    if (stopped_.empty() && running_.size() < static_cast<size_t>(options_.parallel)) {
      std::vector<size_t> running;
      for (const Job& job : running_) running.push_back(job.scenario);
      if (const auto next = NextToStart(waiting_, running, clashes_)) {
        Start(*next);
        continue;
      }
    }
    if (running_.empty()) break;
    // Signals do not wake this up.
    changed_.wait_for(lock, std::chrono::milliseconds(50));
  }
  result_.set_interrupted(Interrupted());
  for (ScenarioResult& scenario : *result_.mutable_scenarios()) {
    if (IsIncomplete(scenario)) scenario.set_not_run(stopped_);
  }
  Write(/*at_end=*/true);
  if (!written_.ok()) return written_;
  return FinishedSuite{result_, folder_};
}

}  // namespace

absl::StatusOr<FinishedSuite> RunSuite(const std::vector<LoadedScenario>& scenarios, const SuiteOptions& options,
                                       SuiteWatcher& watcher) {
  return Suite(scenarios, options, watcher).Execute();
}

}  // namespace squall
