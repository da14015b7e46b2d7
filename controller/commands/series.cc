// Commands that carry out a scenario again and again: find looks for its margin, calibrate for its noise.

#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "controller/calibration.h"
#include "controller/calibration_file.h"
#include "controller/commands/commands.h"
#include "controller/commands/interrupts.h"
#include "controller/commands/scenario_files.h"
#include "controller/confidence.h"
#include "controller/margin.h"
#include "controller/report/report.h"
#include "controller/run.h"
#include "controller/suite/suite_view.h"
#include "controller/terminal.h"

namespace squall {
namespace {

struct Options {
  std::string path;
  std::vector<std::string> vars;
  std::string runs = "squall-runs";
  std::string agents;
  int count = 20;
  bool json = false;
  bool quiet = false;
};

std::optional<LoadedScenario> LoadOne(const Options& options) {
  auto loaded = LoadFiles({options.path}, options.vars, options.agents);
  if (!loaded) return std::nullopt;
  if (loaded->size() != 1) {
    Complain(kExitUsage, absl::StrCat(options.path, " is a folder; name one scenario"));
    return std::nullopt;
  }
  return loaded->front();
}

// One run of the series. Whatever is not OK ends it.
absl::StatusOr<RunResult> RunOnce(const LoadedScenario& loaded, const Options& options, const std::atomic<int>& interrupts, bool placebo) {
  RunOptions run;
  run.runs_folder = options.runs;
  run.interrupts = &interrupts;
  run.placebo = placebo;
  absl::StatusOr<FinishedRun> finished = absl::UnknownError("");
  if (options.quiet) {
    finished = RunScenario(loaded, run);
  } else {
    ProgressView view(loaded.scenario.name());
    run.on_progress = [&](const Progress& progress) { view.Show(progress); };
    run.on_event = [&](const std::string& line) { view.Event(line); };
    finished = RunScenario(loaded, run);
  }
  if (!finished.ok()) return finished.status();
  const int code = finished->result.exit_code();
  if (code != kExitPass && code != kExitFail && code != kExitInconclusive) {
    return absl::AbortedError(absl::StrCat(finished->result.ending_reason(), "; see ", finished->folder));
  }
  return finished->result;
}

int EndedBy(const absl::Status& status, const std::atomic<int>& interrupts) {
  return Complain(interrupts > 0 ? kExitInterrupted : kExitHarness, status.message());
}

Verdict VerdictOf(const RunResult& result, const std::string& assertion) {
  for (const Verdict& verdict : result.verdicts()) {
    if (verdict.assertion() == assertion) return verdict;
  }
  return {};
}

std::string Counts(const Tried& tried) {
  const int runs = tried.held + tried.tripped;
  if (tried.AlwaysHeld()) return absl::StrCat("held in ", tried.held, " of ", runs);
  if (tried.AlwaysTripped()) return absl::StrCat("tripped in ", tried.tripped, " of ", runs);
  return absl::StrCat("held in ", tried.held, " and tripped in ", tried.tripped, " of ", runs);
}

// "held in 3 of 3 runs; at 95 % confidence it trips in fewer than 63 % of runs".
std::string Sure(const Tried& tried, absl::string_view otherwise) {
  const int runs = tried.held + tried.tripped;
  return absl::StrFormat("%s runs; at 95 %% confidence it %s in fewer than %.0f %% of runs", Counts(tried), otherwise, 100 * MostOf(0, runs));
}

// All tries of one value, or as many as it takes to see that it does both.
absl::StatusOr<Tried> Try(const LoadedScenario& loaded, const Varied& varied, double value, const Options& options,
                          const std::atomic<int>& interrupts) {
  LoadedScenario changed = loaded;
  changed.scenario = WithValue(loaded.scenario, varied, value);
  Tried tried;
  tried.value = value;
  const Margin& find = loaded.scenario.find();
  int unclear = 0;
  while (tried.held + tried.tripped < find.tries() && (tried.held == 0 || tried.tripped == 0)) {
    const absl::StatusOr<RunResult> result = RunOnce(changed, options, interrupts, /*placebo=*/false);
    if (!result.ok()) return result.status();
    const Verdict verdict = VerdictOf(*result, find.assertion());
    if (verdict.result() == Verdict::PASS) {
      ++tried.held;
    } else if (verdict.result() == Verdict::FAIL) {
      ++tried.tripped;
    } else if (++unclear > 1) {
      return absl::FailedPreconditionError(absl::StrCat("at ", varied.Text(value), " it cannot be judged: ", verdict.reason(),
                                                        verdict.advice().empty() ? "" : absl::StrCat("; ", verdict.advice())));
    }
  }
  return tried;
}

void PrintMargin(const Margin& find, const Varied& varied, const MarginSearch& search) {
  const Tried* held = search.LastThatHeld();
  const Tried* tripped = search.FirstThatTripped();
  printf("\n%s of %s: %s trips between %s and %s\n", find.field().c_str(), (find.load().empty() ? find.fault() : find.load()).c_str(),
         find.assertion().c_str(), varied.Text(held->value).c_str(), varied.Text(tripped->value).c_str());
  printf("  %s: %s\n", varied.Text(held->value).c_str(), Sure(*held, "trips").c_str());
  printf("  %s: %s\n", varied.Text(tripped->value).c_str(), Sure(*tripped, "holds").c_str());
}

MarginResult ResultOf(const Margin& find, const Varied& varied, const MarginSearch& search) {
  MarginResult result;
  result.set_assertion(find.assertion());
  result.set_field(find.field());
  result.set_of(find.load().empty() ? find.fault() : find.load());
  result.set_problem(search.Problem());
  const auto tell = [&](const Tried& tried, MarginResult::Tried& of) {
    of.set_value(varied.Text(tried.value));
    of.set_held(tried.held);
    of.set_tripped(tried.tripped);
  };
  if (search.LastThatHeld() != nullptr) tell(*search.LastThatHeld(), *result.mutable_last_that_held());
  if (search.FirstThatTripped() != nullptr) tell(*search.FirstThatTripped(), *result.mutable_first_that_tripped());
  for (const Tried& each : search.tried()) tell(each, *result.add_tried());
  return result;
}

int FindTheMargin(const Options& options) {
  const auto loaded = LoadOne(options);
  if (!loaded) return kExitUsage;
  if (!loaded->scenario.has_find()) {
    return Complain(kExitUsage, absl::StrCat(options.path, " has no `find`; write for example find: {field: delay, from: 50ms, to: 2s}"));
  }
  const Margin& find = loaded->scenario.find();
  const absl::StatusOr<Varied> varied = FindVaried(loaded->scenario);
  if (!varied.ok()) return Complain(kExitUsage, varied.status().message());
  const std::atomic<int>& interrupts = CatchInterrupts();
  MarginSearch search(varied->from, varied->to, find.within() / 100);
  while (const std::optional<double> value = search.Next()) {
    const absl::StatusOr<Tried> tried = Try(*loaded, *varied, *value, options, interrupts);
    if (absl::IsFailedPrecondition(tried.status())) return Complain(kExitInconclusive, tried.status().message());
    if (!tried.ok()) return EndedBy(tried.status(), interrupts);
    if (!options.json) {
      printf("%-12s %s\n", varied->Text(*value).c_str(), Counts(*tried).c_str());
      fflush(stdout);
    }
    search.Tell(*tried);
  }
  if (options.json) fputs(JsonText(ResultOf(find, *varied, search), /*lines=*/true).c_str(), stdout);
  if (!search.Problem().empty()) {
    return Complain(kExitInconclusive, absl::StrCat("no margin of ", find.assertion(), " between ", varied->Text(varied->from), " and ",
                                                    varied->Text(varied->to), ": ", search.Problem()));
  }
  if (!options.json) PrintMargin(find, *varied, search);
  return kExitPass;
}

int Calibrate(const Options& options) {
  const auto loaded = LoadOne(options);
  if (!loaded) return kExitUsage;
  const std::atomic<int>& interrupts = CatchInterrupts();
  std::vector<RunResult> results;
  for (int i = 0; i < options.count; ++i) {
    const absl::StatusOr<RunResult> result = RunOnce(*loaded, options, interrupts, /*placebo=*/true);
    if (!result.ok()) return EndedBy(result.status(), interrupts);
    results.push_back(*result);
    for (const Verdict& verdict : result->verdicts()) {
      if (verdict.result() != Verdict::FAIL || options.json) continue;
      printf("run %d: %s failed on nothing: %s\n", i + 1, verdict.assertion().c_str(), verdict.reason().c_str());
      fflush(stdout);
    }
  }
  const Calibration calibration = CountFalseAlarms(loaded->scenario, results, absl::ToUnixNanos(absl::Now()));
  const absl::Status written = WriteCalibration(options.runs, loaded->scenario, calibration);
  if (!written.ok()) return Complain(kExitHarness, written.message());
  if (options.json) fputs(JsonText(calibration, /*lines=*/true).c_str(), stdout);
  bool failed = false;
  for (const Calibration::OfAssertion& of : calibration.assertions()) {
    failed |= of.failed() > 0;
    if (options.json) continue;
    printf("%s: failed %s%s\n", of.assertion().c_str(), FalseAlarmText(calibration, of.assertion()).c_str(),
           of.inconclusive() > 0 ? absl::StrCat("; not judged in ", of.inconclusive()).c_str() : "");
  }
  return failed ? kExitFail : kExitPass;
}

void AddCommon(CLI::App& command, const std::shared_ptr<Options>& options) {
  command.add_option("FILE", options->path, "The scenario")->required();
  command.add_option("--var", options->vars, "NAME=VALUE for ${vars.NAME}; may be repeated")->expected(1)->take_all();
  command.add_option("--runs", options->runs, "Where the folders of runs go")->capture_default_str();
  command.add_option("--agents", options->agents,
                     "Where the agents are and the certificates for them. Left out: agents.yaml beside the scenario, if there is one");
  command.add_flag("--json", options->json, "Print the result as JSON");
  command.add_flag("-q,--quiet", options->quiet, "No live view");
}

}  // namespace

void AddFind(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "find", "Look for the margin: the smallest value of a fault or a load at which an assertion no longer holds, by bisection\n"
              "over runs, as the scenario's `find` says (squall explain find)");
  AddCommon(*command, options);
  command->callback([options, &exit_code] { exit_code = FindTheMargin(*options); });
}

void AddCalibrate(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "calibrate", "Carry out a scenario again and again without its faults, and keep how often each assertion fails on nothing: later\n"
                   "reports of the same scenario say so. Exit code 1 when one did");
  AddCommon(*command, options);
  command->add_option("--count", options->count, "How often")->check(CLI::Range(1, 100000))->capture_default_str();
  command->callback([options, &exit_code] { exit_code = Calibrate(*options); });
}

}  // namespace squall
