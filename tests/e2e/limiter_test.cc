// Rate limiters: that of orders and that of Debian's nginx pass, and nginx fails for each promise that its configuration breaks. The
// mutants of orders are judge_matrix_test's.
#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "google/protobuf/util/json_util.h"
#include "proto/verdict.pb.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

struct Case {
  std::string name;
  std::string file;  // the scenario in scenarios/, and for nginx its configuration beside it
  std::string from, to;  // what is weakened in the configuration
  int exit_code;
  std::string reason;  // begins so
};

const std::vector<Case>& Cases() {
  static const auto& cases = *new std::vector<Case>{
      {"sound", "limiter/token-bucket", "", "", 0, "admits what it promises (50/s, 20 at once (token bucket))"},
      {"nginx", "nginx/limit-req", "", "", 0, "admits what it promises (100/s, 20 + 1 at once (nginx))"},
      {"nginx nodelay", "nginx/limit-req-nodelay", "", "", 0, "admits what it promises (100/s, 20 + 1 at once (nginx))"},
      {"nginx twice its rate", "nginx/limit-req", "rate=100r/s", "rate=200r/s", 1, "too much is admitted in the long run: of 200/s"},
      {"nginx with a longer queue", "nginx/limit-req", "burst=20", "burst=40", 1, "the queue is longer than promised: "},
      {"nginx nodelay off by the burst", "nginx/limit-req-nodelay", "burst=20", "burst=40", 1, "too many are admitted at once: "},
  };
  return cases;
}

// The scenario on ports of its own, so that all can run side by side. Returns its path.
std::string Prepare(const Checkout& checkout, const Case& each) {
  const std::string folder = checkout.path() + "/scenarios/";
  std::vector<std::pair<std::string, std::string>> changes = {{"18480", absl::StrCat(FreePort())}, {"18481", absl::StrCat(FreePort())}};
  if (!each.from.empty()) changes.push_back({each.from, each.to});
  for (const char* kind : {".yaml", ".conf"}) {
    const std::string path = folder + each.file + kind;
    const std::string text = ReadFile(path);
    if (!text.empty()) std::ofstream(path) << absl::StrReplaceAll(text, changes);
  }
  return folder + each.file + ".yaml";
}

struct Seen {
  JudgedRun run;
  Verdict verdict;
};

Seen RunCase(const Checkout& checkout, const Case& each) {
  std::vector<std::string> args = {Prepare(checkout, each)};
  if (each.file == "limiter/token-bucket") {
    args.insert(args.end(), {absl::StrCat("--var=port=", FreePort()), absl::StrCat("--var=peer_port=", FreePort())});
  }
  Seen seen;
  seen.run = RunToVerdict(checkout, args, each.exit_code);
  RunResult result;
  const auto status =
      google::protobuf::util::JsonStringToMessage(ReadFile(seen.run.folder + "/verdicts.json"), &result);
  if (status.ok() && result.verdicts_size() == 1) seen.verdict = result.verdicts(0);
  return seen;
}

// The figures of a single promise.
std::string DetailOf(const Verdict& verdict, const std::string& name) {
  for (const Detail& detail : verdict.details()) {
    if (absl::StartsWith(detail.name(), name)) return detail.value();
  }
  return "";
}

TEST(RateLimiters, SoundOnesPassAndEachThatBreaksAPromiseFailsForIt) {
  const std::vector<std::string> before = Residue();
  {
    std::vector<Checkout> checkouts(Cases().size());
    std::vector<std::future<Seen>> running;
    for (size_t i = 0; i < Cases().size(); ++i) {
      running.push_back(std::async(std::launch::async, RunCase, std::cref(checkouts[i]), std::cref(Cases()[i])));
    }
    for (size_t i = 0; i < Cases().size(); ++i) {
      const Case& expected = Cases()[i];
      const Seen seen = running[i].get();
      SCOPED_TRACE(expected.name);
      EXPECT_EQ(seen.run.exit_code, expected.exit_code) << seen.run.output;
      EXPECT_TRUE(absl::StartsWith(seen.verdict.reason(), expected.reason)) << seen.verdict.DebugString();
      if (expected.exit_code != 0) {
        EXPECT_EQ(seen.verdict.result(), Verdict::FAIL);
        EXPECT_GT(seen.verdict.first_broken_ns(), 0);
        EXPECT_GT(seen.verdict.examples_size(), 0);
      }
      if (expected.name == "sound") {
        EXPECT_TRUE(absl::StrContains(DetailOf(seen.verdict, "Retry-After"), "1 s to 1 s")) << seen.verdict.DebugString();
        EXPECT_TRUE(absl::StrContains(DetailOf(seen.verdict, "what browse lost"), "0 of ")) << seen.verdict.DebugString();
        // The recorded timeline alone gives the same verdict again.
        const std::string verdicts = ReadFile(seen.run.folder + "/verdicts.json");
        Process judge({checkouts[i].squall(), "judge", seen.run.folder});
        EXPECT_EQ(judge.Wait(absl::Seconds(30)), 0) << judge.Output();
        EXPECT_EQ(ReadFile(seen.run.folder + "/verdicts.json"), verdicts);
      }
    }
  }
  EXPECT_EQ(ResidueSince(before), std::vector<std::string>());
}

}  // namespace
}  // namespace squall
