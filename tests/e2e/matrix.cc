#include "tests/e2e/matrix.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <map>
#include <numeric>
#include <random>
#include <regex>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/util/json_util.h"
#include "tests/e2e/go_bugs_table.h"
#include "tests/e2e/judge_table.h"

namespace squall {
namespace {

// Below those that the kernel gives away by itself. Two of these at the same time begin far from each other.
constexpr int kFirstPort = 27000;
constexpr int kLastPort = 32000;
constexpr int kApart = 250;
// What starts takes a core for a moment: not all at once.
constexpr absl::Duration kBetweenStarts = absl::Milliseconds(500);

// The variables of the scenario that are ports, each with one that nobody listens on.
std::vector<std::string> OwnPorts(const std::string& text, int& next_port) {
  const size_t vars = text.find("\nvars:");
  const std::string line = text.substr(vars + 1, text.find('}', vars) - vars);
  std::vector<std::string> assignments;
  const std::regex is_port("([a-z_]*port): [0-9]+");
  for (std::sregex_iterator match(line.begin(), line.end(), is_port), end; match != end; ++match) {
    do {
      next_port = next_port >= kLastPort ? kFirstPort : next_port + 1;
    } while (TryConnect(next_port) == 0);
    assignments.push_back(absl::StrCat((*match)[1].str(), "=", next_port));
  }
  return assignments;
}

std::string Told(const Verdict& verdict) {
  std::string text = verdict.reason();
  for (const Detail& detail : verdict.details()) absl::StrAppend(&text, "\n", detail.name(), ": ", detail.value());
  return text;
}

// Why the verdicts are not what they must be; empty: they are. `inconclusive`: none is wrong, and one is missing.
std::string Wrong(const MatrixCell& cell, const RunResult& run, bool& inconclusive) {
  bool found = false;
  for (const Verdict& verdict : run.verdicts()) {
    const bool may = std::count(cell.may_fail.begin(), cell.may_fail.end(), verdict.assertion()) > 0;
    if (verdict.result() == Verdict::INCONCLUSIVE && !may) {
      inconclusive = true;
      continue;
    }
    if (verdict.assertion() != cell.must_fail) {
      if (verdict.result() == Verdict::FAIL && !may) return absl::StrCat(verdict.assertion(), " failed: ", verdict.reason());
      continue;
    }
    found = true;
    if (verdict.result() != Verdict::FAIL) return absl::StrCat(verdict.assertion(), " passed: ", verdict.reason());
    for (const std::string& pattern : cell.evidence) {
      if (!std::regex_search(Told(verdict), std::regex(pattern))) {
        return absl::StrCat(verdict.assertion(), " failed, but nothing matches ", pattern, " in: ", Told(verdict));
      }
    }
  }
  if (run.verdicts().empty() || run.exit_code() > 2) return absl::StrCat("no verdict: exit code ", run.exit_code(), ", ", run.ending_reason());
  if (!cell.must_fail.empty() && !found && !inconclusive) return absl::StrCat("there is no assertion ", cell.must_fail);
  return "";
}

RunResult ResultIn(const std::string& runs) {
  RunResult result;
  result.set_exit_code(-1);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(runs, error)) {
    const std::string json = ReadFile(entry.path().string() + "/verdicts.json");
    if (!json.empty() && !google::protobuf::util::JsonStringToMessage(json, &result).ok()) result.set_ending_reason("verdicts.json is damaged");
  }
  return result;
}

std::string Letter(const MatrixResult& result, const std::string& assertion) {
  for (const Verdict& verdict : result.run.verdicts()) {
    if (verdict.assertion() != assertion) continue;
    return verdict.result() == Verdict::PASS ? "PASS" : verdict.result() == Verdict::FAIL ? "FAIL" : "INCONCLUSIVE";
  }
  return "-";
}

}  // namespace

std::vector<MatrixCell> MatrixCells(const std::string& go_sources) {
  std::vector<MatrixCell> cells;
  for (const JudgeRow& row : JudgeRows()) {
    MatrixCell cell{row.scenario, row.mutant, {absl::StrCat("mutant=", row.mutant)}, row.assertion, {}, {}};
    if (!row.reason.empty()) {
      // Literally.
      cell.evidence.push_back(std::regex_replace(row.reason, std::regex(R"([.^$|()\[\]{}*+?\\])"), R"(\$&)"));
    }
    cells.push_back(std::move(cell));
  }
  for (const GoBug& bug : GoBugs()) {
    const std::string source = bug.file.empty() ? "" : ReadFile(absl::StrCat(go_sources, "/", bug.file));
    const std::string scenario = absl::StrCat("go/", bug.scenario), var = absl::StrCat("bug=", bug.bug);
    cells.push_back({scenario, bug.bug, {var, "fixed=false"}, bug.fails, bug.may_fail, EvidenceIn(bug, source)});
    cells.push_back({scenario, absl::StrCat(bug.bug, " fixed"), {var, "fixed=true"}, "", {}, {}});
  }
  return cells;
}

std::vector<MatrixResult> RunMatrix(const Checkout& checkout, const std::vector<MatrixCell>& cells, int parallel,
                                    const std::function<void(const std::string&)>& say) {
  struct Going {
    size_t cell;
    std::string runs;
    std::unique_ptr<Process> process;
  };
  std::vector<MatrixResult> results(cells.size());
  // Those that work hard stand side by side in the tables.
  std::vector<size_t> order(cells.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  std::vector<Going> going;
  size_t next = 0;
  absl::Time next_start = NowTime();
  int port = kFirstPort + getpid() % ((kLastPort - kFirstPort) / kApart) * kApart;
  static int round = 0;
  ++round;
  while (next < cells.size() || !going.empty()) {
    if (next < cells.size() && static_cast<int>(going.size()) < parallel && NowTime() >= next_start) {
      next_start = NowTime() + kBetweenStarts;
      const MatrixCell& cell = cells[order[next]];
      const std::string path = absl::StrCat(checkout.path(), "/scenarios/", cell.scenario, ".yaml");
      const std::string runs = absl::StrCat(checkout.path(), "/matrix/", round, "-", next);
      std::vector<std::string> argv = {checkout.squall(), "run", "--quiet", absl::StrCat("--runs=", runs), path};
      for (const std::string& var : OwnPorts(ReadFile(path), port)) argv.push_back(absl::StrCat("--var=", var));
      for (const std::string& var : cell.vars) argv.push_back(absl::StrCat("--var=", var));
      going.push_back({order[next++], runs, std::make_unique<Process>(argv)});
    }
    if (going.empty()) SleepBriefly();
    for (auto each = going.begin(); each != going.end();) {
      const int code = each->process->Wait(absl::Milliseconds(20));
      if (code == -1) {
        ++each;
        continue;
      }
      MatrixResult& result = results[each->cell];
      result.cell = cells[each->cell];
      result.run = ResultIn(each->runs);
      result.wrong = Wrong(result.cell, result.run, result.inconclusive);
      if (result.run.verdicts().empty()) absl::StrAppend(&result.wrong, " ", each->process->Output().substr(0, 2000));
      say(absl::StrFormat("%-32s %-28s %s", result.cell.scenario, result.cell.service,
                          !result.wrong.empty()  ? absl::StrCat("WRONG: ", result.wrong)
                          : result.inconclusive ? "INCONCLUSIVE"
                                                : "right"));
      each = going.erase(each);
    }
  }
  return results;
}

std::string MatrixTable(const std::vector<MatrixResult>& results) {
  std::string table = "| scenario | service | must fail | verdicts | |\n|---|---|---|---|---|\n";
  int mutants = 0, caught = 0, sound = 0, alarms = 0, inconclusive = 0;
  for (const MatrixResult& result : results) {
    std::vector<std::string> verdicts;
    for (const Verdict& verdict : result.run.verdicts()) verdicts.push_back(absl::StrCat(verdict.assertion(), " ", Letter(result, verdict.assertion())));
    absl::StrAppend(&table, "| ", result.cell.scenario, " | ", result.cell.service, " | ", result.cell.must_fail.empty() ? "-" : result.cell.must_fail,
                    " | ", absl::StrJoin(verdicts, ", "), " | ",
                    !result.wrong.empty() ? "WRONG" : result.inconclusive ? "inconclusive" : "right", " |\n");
    inconclusive += result.inconclusive;
    if (result.cell.must_fail.empty()) {
      ++sound;
      alarms += !result.wrong.empty();
    } else {
      ++mutants;
      caught += result.wrong.empty() && !result.inconclusive;
    }
  }
  absl::StrAppendFormat(&table, "\nRecall: %d of %d broken services failed for their own reason. False alarms: %d of %d sound ones. Inconclusive: %d.\n",
                        caught, mutants, alarms, sound, inconclusive);
  return table;
}

}  // namespace squall
