// Whatever is in the file: a scenario or mistakes, soon. Not a crash, a hang or an exception.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/plan.h"
#include "controller/scenario.h"
#include "controller/scenario_samples.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kSeed = 20240607;
constexpr int kMutations = 4000;
constexpr size_t kMiB = 1 << 20;
// Far more than any of it takes, also on a busy machine and with sanitizers.
constexpr std::chrono::seconds kBound(60);

std::string ReadAll(const fs::path& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

// Scenarios that are good or nearly so: the wrong ones differ from a good one in a place each.
std::vector<std::string> Seeds() {
  std::vector<fs::path> paths;
  for (const fs::directory_entry& entry : fs::directory_iterator("tests/scenarios/wrong")) {
    if (entry.path().extension() == ".yaml") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> seeds(paths.size(), kMinimalScenario);
  seeds.insert(seeds.end(), paths.size(), kFullScenario);
  for (const fs::path& path : paths) seeds.push_back(ReadAll(path));
  return seeds;
}

// Reads it, and does with a good one what `squall check` does. Returns the number of mistakes.
size_t Check(const std::string& text) {
  const LoadedScenario loaded = ParseScenario("f.yaml", text, {});
  EXPECT_LE(loaded.mistakes.size(), 101u);
  const auto lines = std::count(text.begin(), text.end(), '\n') + 1;
  for (const Mistake& mistake : loaded.mistakes) {
    EXPECT_GE(mistake.line, 1);
    EXPECT_LE(mistake.line, lines + 1);
    EXPECT_GE(mistake.column, 1);
    EXPECT_FALSE(mistake.message.empty());
    EXPECT_LT(mistake.message.size(), 4000u);
  }
  if (loaded.mistakes.empty()) {
    const Plan plan = MakePlan(loaded.scenario);
    EXPECT_FALSE(DescribePlan(loaded.scenario, plan).empty());
    EXPECT_LE(plan.Longest(), absl::Hours(24));
  }
  return loaded.mistakes.size();
}

// The same, for what cannot be a scenario: bounded, and with something to say.
void ExpectMistakes(const std::string& text) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_GE(Check(text), 1u) << text.substr(0, 80);
  EXPECT_LT(std::chrono::steady_clock::now() - start, kBound) << text.substr(0, 80);
}

std::string Repeated(const std::string& part, size_t times) {
  std::string out;
  out.reserve(part.size() * times);
  for (size_t i = 0; i < times; ++i) out += part;
  return out;
}

class Mutator {
 public:
  explicit Mutator(std::vector<std::string> seeds) : seeds_(std::move(seeds)), random_(kSeed) {}

  std::string Next() {
    std::string text = seeds_[Below(seeds_.size())];
    for (size_t changes = 1 + Below(4); changes > 0; --changes) Change(text);
    return text;
  }

 private:
  size_t Below(size_t bound) { return random_() % std::max<size_t>(bound, 1); }

  void Change(std::string& text) {
    static const std::vector<std::string> kParts = {"{",
                                                    "}",
                                                    "[",
                                                    "]",
                                                    ":",
                                                    ": ",
                                                    "- ",
                                                    "? ",
                                                    "#",
                                                    "&a ",
                                                    "*a",
                                                    "!!str ",
                                                    "|",
                                                    ">",
                                                    "\"",
                                                    "'",
                                                    "\n",
                                                    "\t",
                                                    " ",
                                                    "<<: ",
                                                    "${",
                                                    "}",
                                                    "$${",
                                                    "${vars.rate}",
                                                    "0",
                                                    "-1",
                                                    "1e9",
                                                    "~",
                                                    "null",
                                                    "---\n",
                                                    "...\n",
                                                    "%YAML 1.2\n",
                                                    "\xff",
                                                    "\xC3",
                                                    "\\x00",
                                                    "after: slow",
                                                    "999999999999999999999s",
                                                    "inf",
                                                    "\r",
                                                    "@",
                                                    "`",
                                                    ","};
    const size_t at = Below(text.size());
    switch (Below(6)) {
      case 0:
        text.resize(at);
        return;
      case 1:
        text.insert(at, kParts[Below(kParts.size())]);
        return;
      case 2:
        text.erase(at, 1 + Below(12));
        return;
      case 3:
        if (!text.empty()) text[at] = static_cast<char>(Below(256));
        return;
      case 4: {
        const std::string copied = text.substr(at, 1 + Below(80));
        text.insert(Below(text.size()), copied);
        return;
      }
      default: {
        const std::string& other = seeds_[Below(seeds_.size())];
        text.insert(at, other.substr(Below(other.size()), 1 + Below(60)));
        return;
      }
    }
  }

  std::vector<std::string> seeds_;
  std::mt19937_64 random_;
};

TEST(ScenarioFuzz, MutatedScenariosAreReadOrRefused) {
  Mutator mutator(Seeds());
  size_t good = 0;
  for (int i = 0; i < kMutations; ++i) good += Check(mutator.Next()) == 0;
  // Were none or all of them good, the mutations would test little.
  EXPECT_GT(good, 10u);
  EXPECT_LT(good, kMutations - 1000u);
}

TEST(ScenarioFuzz, TruncatedScenariosAreReadOrRefused) {
  for (const std::string text : {kMinimalScenario, kFullScenario}) {
    for (size_t length = 0; length < text.size(); ++length) Check(text.substr(0, length));
  }
}

TEST(ScenarioFuzz, DeepNestingIsRefused) {
  for (size_t depth : {600u, 10'000u}) {
    ExpectMistakes(Repeated("[", depth));
    ExpectMistakes(Repeated("[", depth) + Repeated("]", depth));
    ExpectMistakes(Repeated("{a: ", depth) + Repeated("}", depth));
    ExpectMistakes(Repeated("- ", depth) + "a");
    ExpectMistakes(Repeated("? ", depth) + "a");
    ExpectMistakes("faults: " + Repeated("[", depth) + Repeated("]", depth));
  }
  std::string block;
  for (size_t indent = 0; indent < 1400; ++indent) absl::StrAppend(&block, std::string(indent, ' '), "a:\n");
  ExpectMistakes(block);
}

TEST(ScenarioFuzz, AMebibyteOfAnythingIsRefused) {
  for (const char* part :
       {"[",   "{",     "]",   "? ", "- ",  "-\n",   "a: ", "a:\n",     ": ",   "\"",    "'",    "|\n",
        "&a ", "*a ",   "!a ", "#",  "\n",  " ",     "\t",  ",",        "%",    "---\n", "x",    "[]",
        "{}",  "- a\n", "\\",  "${", "- [", "? -\n", "!<",  "\xC3\xA4", "\r\n", "a\n",   "? a\n"}) {
    const std::string unit(part);
    ExpectMistakes(Repeated(unit, kMiB / unit.size()));
    ExpectMistakes("squall: 1\nname: " + Repeated(unit, 900'000 / unit.size()));
    ExpectMistakes("squall: 1\nfaults: [" + Repeated(unit + ", ", 900'000 / (unit.size() + 2)));
  }
}

TEST(ScenarioFuzz, MoreThanAMebibyteIsRefused) {
  const LoadedScenario loaded = ParseScenario("f.yaml", std::string(kMiB + 1, '#'), {});
  EXPECT_EQ(
      FormatMistakes(loaded),
      "f.yaml:1:1: the file is larger than 1 MiB; a scenario is a small file, so is this the right one?\n");
}

TEST(ScenarioFuzz, HugeKeysAndScalarsAreRefusedWithShortMessages) {
  const std::string huge(900'000, 'x');
  ExpectMistakes(huge + ": 1");
  ExpectMistakes("name: " + huge);
  ExpectMistakes("load: {checkout: {rate: " + huge + "}}");
  ExpectMistakes("faults: [{latency: {delay: " + std::string(900'000, '9') + "s}}]");
  ExpectMistakes("services: {" + huge + ": {run: [" + "x]}}");
  ExpectMistakes("edges: {e: {to: \"" + huge + ":1\"}}");
}

TEST(ScenarioFuzz, ManyOfAnythingAreRefused) {
  std::string faults = "faults:\n";
  std::string services = "services:\n";
  std::string vars = "vars:\n";
  std::string keys;
  for (int i = 0; i < 12'000; ++i) {
    absl::StrAppend(&faults, "  - {kill: {}, name: f", i, ", after: f", i + 1, "}\n");
    absl::StrAppend(&services, "  s", i, ": {attach: {pid: ", i + 2, "}}\n");
    absl::StrAppend(&vars, "  v", i, ": 1\n");
    absl::StrAppend(&keys, "fault", i, ": 1\n");
  }
  for (const std::string& text : {faults, services, vars, keys, faults + services}) ExpectMistakes(text);
}

TEST(ScenarioFuzz, AThousandFaultsThatWaitForEachOtherAreRefused) {
  std::string chain = "services: {a: {attach: {pid: 2}}}\nfaults:\n";
  for (int i = 0; i < 1000; ++i)
    absl::StrAppend(&chain, "  - {kill: {}, name: f", i, ", after: f", (i + 1) % 1000, "}\n");
  ExpectMistakes(chain);
  std::string line = "services: {a: {attach: {pid: 2}}}\nfaults:\n";
  for (int i = 0; i < 1000; ++i)
    absl::StrAppend(&line, "  - {kill: {}, name: f", i, i == 999 ? "" : ", after: f",
                    i == 999 ? "" : std::to_string(i + 1), "}\n");
  ExpectMistakes(line);
}

TEST(ScenarioFuzz, AliasBombsAreRefused) {
  std::string bomb = "tags: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 30; ++i) {
    absl::StrAppend(&bomb, "k", i, ": &a", i, " [");
    for (int k = 0; k < 10; ++k) absl::StrAppend(&bomb, "*a", i - 1, k < 9 ? ", " : "]\n");
  }
  ExpectMistakes(bomb);
  // A list of a thousand, each with a thousand times the same.
  std::string wide = "x: &run [" + Repeated("a, ", 999) + "a]\ny: &s {run: *run}\nservices:\n";
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&wide, "  s", i, ": *s\n");
  const LoadedScenario loaded = ParseScenario("f.yaml", wide, {});
  const std::string mistakes = FormatMistakes(loaded);
  EXPECT_NE(mistakes.find("with its aliases the file has more than 50000 values"), std::string::npos)
      << mistakes;
  ExpectMistakes("faults: &a [*a]");
  ExpectMistakes("faults: &a\n  - *a\n");
  ExpectMistakes("a: &a {b: *a}");
  ExpectMistakes("*a");
}

TEST(ScenarioFuzz, ReferencesAreNotExpandedAgain) {
  std::string text =
      "vars: {a: \"" + std::string(10'000, 'x') + "\"}\nname: \"" + Repeated("${vars.a}", 20'000) + "\"\n";
  ExpectMistakes(text);
}

}  // namespace
}  // namespace squall
