// Suites: folders of scenarios, in order or side by side, and what sums them up.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "google/protobuf/util/json_util.h"
#include "proto/suite.pb.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/quick.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

SuiteResult ParseSuite(const std::string& json) {
  SuiteResult suite;
  const auto status = google::protobuf::util::JsonStringToMessage(json, &suite);
  EXPECT_TRUE(status.ok()) << status.ToString() << json;
  return suite;
}

// The folder of the only suite of a checkout.
std::string OnlySuite(const Checkout& checkout) {
  const std::string folder = checkout.OnlyRun();
  for (const char* file : {"suite.json", "junit.xml", "index.html"}) EXPECT_TRUE(fs::exists(folder + "/" + file)) << file;
  return folder;
}

void ExpectValidJunit(const std::string& path) {
  Process xmllint({"xmllint", "--noout", "--schema", RunfilePath("tests/e2e/junit.xsd"), path});
  EXPECT_EQ(xmllint.Wait(absl::Seconds(20)), 0) << xmllint.Output();
}

// Every link of the index leads somewhere.
void ExpectLinksLead(const std::string& folder) {
  const std::string html = ReadFile(folder + "/index.html");
  int links = 0;
  for (size_t at = html.find("href=\""); at != std::string::npos; at = html.find("href=\"", at)) {
    at += 6;
    const std::string target = html.substr(at, html.find('"', at) - at);
    EXPECT_TRUE(fs::exists(folder + "/" + target)) << target;
    ++links;
  }
  EXPECT_GT(links, 0);
}

// A scenario whose service cannot start: it ends at once with exit code 3.
std::string Broken(const std::string& name) {
  return absl::StrReplaceAll(QuickScenario(name), {{"--service-time=5ms", "--no-such-flag"}});
}

// A folder with a checkout of its own, so that its runs are its own.
struct Folder {
  explicit Folder(const std::string& name) : path(checkout.path() + "/scenarios/" + name) { fs::create_directories(path); }
  void Write(const std::string& file, const std::string& text) const { std::ofstream(path + "/" + file) << text; }
  std::unique_ptr<Process> Run(std::vector<std::string> args) const {
    args.push_back(path);
    return std::make_unique<Process>(checkout.Run(args));
  }
  Checkout checkout;
  std::string path;
};

// A program in the scenarios' folder that is `first` when it is started for the first time, and `then` later.
void WriteTwoFaced(const Folder& folder, const std::string& first, const std::string& then) {
  folder.Write("two-faced", absl::StrCat("#!/bin/sh\ncd \"$(dirname \"$0\")\"\nif [ -e started ]; then exec ", then,
                                         "; fi\ntouch started\nexec ", first, "\n"));
  fs::permissions(folder.path + "/two-faced", fs::perms::owner_all);
}

TEST(Suite, OfManyKindsIsCarriedOutAndSummedUp) {
  // Side by side: `sound` and `mutant` at once, `alone` after `sound`, since both use one port.
  const Folder parallel("shop");
  const int shared = FreePort();
  parallel.Write("1-sound.yaml", QuickScenario("sound", {.port = shared}));
  parallel.Write("2-mutant.yaml", QuickScenario("mutant", {.mutant = "ignores-deadline"}));
  parallel.Write("3-broken.yaml", absl::StrReplaceAll(Broken("broken"), {{"--no-such-flag", absl::StrCat("--no-such-flag=", shared)}}));
  auto parallel_run = parallel.Run({"--parallel=3", "--inconclusive=rerun"});

  // Not steady at first, and therefore inconclusive.
  const Folder unsure("unsure");
  unsure.Write("a.yaml", absl::StrReplaceAll(QuickScenario("a"), {{"../../bazel-bin/tests/target/orders", "./two-faced"}}));
  WriteTwoFaced(unsure, "../../bazel-bin/tests/target/recommend --service-time=1ms $1", "../../bazel-bin/tests/target/orders \"$@\"");
  auto unsure_run = unsure.Run({"--inconclusive=rerun"});

  // Sound at first, and then not.
  const Folder repeated("repeated");
  repeated.Write("a.yaml", absl::StrReplaceAll(QuickScenario("a"), {{"../../bazel-bin/tests/target/orders", "./two-faced"}}));
  WriteTwoFaced(repeated, "../../bazel-bin/tests/target/orders \"$@\"", "false");
  auto repeated_run = repeated.Run({"--repeat=2"});

  // Interrupted while the first has its fault on.
  const Folder cut("cut");
  cut.Write("a.yaml", absl::StrReplaceAll(QuickScenario("a"), {{"for: 2s", "for: 60s"}}));
  cut.Write("b.yaml", QuickScenario("b"));
  auto cut_run = cut.Run({});

  ASSERT_TRUE(cut_run->WaitForOutput("injected latency", absl::Seconds(60))) << cut_run->Output();
  cut_run->Signal(SIGINT);
  EXPECT_EQ(cut_run->Wait(absl::Seconds(30)), 130) << cut_run->Output();
  {
    const std::string folder = OnlySuite(cut.checkout);
    const SuiteResult suite = ParseSuite(ReadFile(folder + "/suite.json"));
    EXPECT_TRUE(suite.interrupted());
    ASSERT_EQ(suite.scenarios_size(), 2);
    EXPECT_EQ(suite.scenarios(0).exit_code(), 130);
    EXPECT_TRUE(suite.scenarios(0).runs(0).result().not_healed().empty());
    EXPECT_EQ(suite.scenarios(1).runs_size(), 0);
    EXPECT_EQ(suite.scenarios(1).not_run(), "the suite was interrupted");
    EXPECT_TRUE(absl::StrContains(cut_run->Output(), "1 interrupted, 1 not run")) << cut_run->Output();
    ExpectValidJunit(folder + "/junit.xml");
    ExpectLinksLead(folder);
    Process judge({cut.checkout.squall(), "judge", folder});
    EXPECT_EQ(judge.Wait(absl::Seconds(30)), 130) << judge.Output();
  }

  EXPECT_EQ(parallel_run->Wait(absl::Seconds(120)), 3) << parallel_run->Output();
  {
    const std::string folder = OnlySuite(parallel.checkout);
    const std::string json = ReadFile(folder + "/suite.json");
    const SuiteResult suite = ParseSuite(json);
    EXPECT_EQ(suite.suite(), "shop");
    ASSERT_EQ(suite.scenarios_size(), 3);
    EXPECT_EQ(suite.scenarios(0).scenario(), "sound") << "in the order of the files' names";
    EXPECT_EQ(suite.scenarios(0).exit_code(), 0) << parallel_run->Output();
    EXPECT_EQ(suite.scenarios(1).exit_code(), 1) << parallel_run->Output();
    EXPECT_EQ(suite.scenarios(2).exit_code(), 3) << parallel_run->Output();
    const std::string output = parallel_run->Output();
    EXPECT_TRUE(absl::StrContains(output, absl::StrCat("sound and broken run one after the other: both use port ", shared)));
    EXPECT_LT(output.find("mutant: started"), output.find("PASS  sound")) << "at the same time\n" << output;
    EXPECT_GT(output.find("broken: started"), output.find("PASS  sound")) << "not at the same time\n" << output;
    EXPECT_TRUE(absl::StrContains(output, "timeout: ")) << "the reason is in the table\n" << output;
    EXPECT_TRUE(absl::StrContains(ReadFile(folder + "/junit.xml"), "classname=\"mutant.timeout\""));
    ExpectValidJunit(folder + "/junit.xml");
    ExpectLinksLead(folder);

    // From the timelines alone the same again.
    const std::string junit = ReadFile(folder + "/junit.xml"), index = ReadFile(folder + "/index.html");
    for (const char* file : {"/junit.xml", "/index.html"}) fs::remove(folder + file);
    for (const ScenarioResult& scenario : suite.scenarios()) {
      for (const auto& run : scenario.runs()) fs::remove(folder + "/" + run.folder() + "/verdicts.json");
    }
    Process judge({parallel.checkout.squall(), "judge", "--json", folder});
    EXPECT_EQ(judge.Wait(absl::Seconds(60)), 3) << judge.Output();
    EXPECT_EQ(judge.Output(), json);
    EXPECT_EQ(ReadFile(folder + "/suite.json"), json);
    EXPECT_EQ(ReadFile(folder + "/junit.xml"), junit);
    EXPECT_EQ(ReadFile(folder + "/index.html"), index);
    EXPECT_EQ(VerdictOf(folder + "/" + suite.scenarios(1).runs().rbegin()->folder(), "timeout"), "FAIL") << "the one that counts";
  }

  EXPECT_EQ(repeated_run->Wait(absl::Seconds(60)), 3) << repeated_run->Output();
  {
    const SuiteResult suite = ParseSuite(ReadFile(OnlySuite(repeated.checkout) + "/suite.json"));
    ASSERT_EQ(suite.scenarios(0).runs_size(), 2);
    EXPECT_LE(suite.scenarios(0).runs(0).result().exit_code(), 2) << "0, or 2 where the machine was not quiet";
    EXPECT_EQ(suite.scenarios(0).runs(1).result().exit_code(), 3);
    EXPECT_TRUE(absl::StrContains(repeated_run->Output(), ", HARNESS FAILED\n")) << repeated_run->Output();
    ExpectValidJunit(OnlySuite(repeated.checkout) + "/junit.xml");
  }

  EXPECT_EQ(unsure_run->Wait(absl::Seconds(90)), 0) << unsure_run->Output();
  {
    const std::string folder = OnlySuite(unsure.checkout);
    const SuiteResult suite = ParseSuite(ReadFile(folder + "/suite.json"));
    const ScenarioResult& scenario = suite.scenarios(0);
    ASSERT_GE(scenario.runs_size(), 2);
    EXPECT_TRUE(scenario.runs(0).replaced());
    EXPECT_EQ(scenario.runs(0).result().ending(), Footer::NOT_STEADY);
    EXPECT_FALSE(scenario.runs(scenario.runs_size() - 1).replaced());
    for (const SuiteRun& run : scenario.runs()) EXPECT_TRUE(fs::exists(folder + "/" + run.folder() + "/report.html"));
    EXPECT_TRUE(absl::StrContains(unsure_run->Output(), "INCONCLUSIVE, run again: ")) << unsure_run->Output();
    ExpectValidJunit(folder + "/junit.xml");
    ExpectLinksLead(folder);
  }
  for (const Folder* folder : {&parallel, &unsure, &repeated, &cut}) {
    EXPECT_EQ(LeftBy(folder->checkout), std::vector<std::string>());
  }
}

TEST(Suite, FailFastStartsNothingMore) {
  const Folder folder("fast");
  folder.Write("1-first.yaml", Broken("b"));
  folder.Write("1.yaml", Broken("a"));  // by name: what comes after the name does not count
  auto run = folder.Run({"--fail-fast", "--json", "--quiet"});
  EXPECT_EQ(run->Wait(absl::Seconds(30)), 3) << run->Output();
  const SuiteResult suite = ParseSuite(run->Output());
  EXPECT_EQ(suite.scenarios(0).exit_code(), 3);
  EXPECT_EQ(suite.scenarios(1).not_run(), "--fail-fast, and a did not pass");
  ExpectValidJunit(OnlySuite(folder.checkout) + "/junit.xml");
}

TEST(Suite, IsNotTouchedWhenOneScenarioHasAMistake) {
  const Folder folder("mistaken");
  folder.Write("a.yaml", Broken("a"));
  folder.Write("b.yaml", absl::StrReplaceAll(Broken("b"), {{"rate:", "rte:"}}));
  folder.Write("c.yml", absl::StrReplaceAll(Broken("c"), {{"deadline: 200ms,", "deadline: 200,"}}));
  folder.Write("notes.txt", "not a scenario");
  auto run = folder.Run({});
  EXPECT_EQ(run->Wait(absl::Seconds(20)), 64) << run->Output();
  EXPECT_TRUE(absl::StrContains(run->Output(), "b.yaml:")) << run->Output();
  EXPECT_TRUE(absl::StrContains(run->Output(), "c.yml:")) << run->Output();
  EXPECT_FALSE(fs::exists(folder.checkout.path() + "/runs"));
}

TEST(Suite, GivesAVariableToThoseThatHaveIt) {
  const Folder folder("vars");
  folder.Write("a.yaml", absl::StrReplaceAll(QuickScenario("a"), {{"name: a\n", "name: a\nvars: {rate: 30/s}\n"},
                                                                  {"rate: 30/s", "rate: ${vars.rate}"}}));
  folder.Write("b.yaml", QuickScenario("b"));
  Process known({folder.checkout.squall(), "check", "--var=rate=77/s", folder.path});
  EXPECT_EQ(known.Wait(absl::Seconds(20)), 0) << known.Output();
  EXPECT_TRUE(absl::StrContains(known.Output(), "77/s") && absl::StrContains(known.Output(), "30/s")) << known.Output();
  Process unknown({folder.checkout.squall(), "check", "--var=rat=77/s", folder.path});
  EXPECT_EQ(unknown.Wait(absl::Seconds(20)), 64) << unknown.Output();
  EXPECT_TRUE(absl::StrContains(unknown.Output(), "did you mean \"rate\"?")) << unknown.Output();
}

TEST(Suite, TagsChooseAndOldRunsAreDeleted) {
  const Folder folder("tagged");
  folder.Write("a.yaml", absl::StrReplaceAll(Broken("a"), {{"name: a\n", "name: a\ntags: [nightly]\n"}}));
  folder.Write("b.yaml", Broken("b"));
  auto wrong = folder.Run({"--tag=nightli"});
  EXPECT_EQ(wrong->Wait(absl::Seconds(20)), 64) << wrong->Output();
  EXPECT_TRUE(absl::StrContains(wrong->Output(), "there are: nightly")) << wrong->Output();
  std::vector<std::string> suites;
  for (int i = 0; i < 3; ++i) {
    auto run = folder.Run({"--tag=nightly", "--tag=x", "--keep=2", "--json", "--quiet"});
    EXPECT_EQ(run->Wait(absl::Seconds(20)), 3) << run->Output();
    const SuiteResult suite = ParseSuite(run->Output());
    EXPECT_EQ(suite.scenarios_size(), 1);
    suites.push_back(suite.suite_id());
    // Ids are of seconds.
    const absl::Time second = NowTime() + absl::Milliseconds(1100);
    while (NowTime() < second) SleepBriefly();
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(fs::exists(folder.checkout.path() + "/runs/" + suites[static_cast<size_t>(i)]), i > 0);
  }
}

TEST(Suite, WarningsAreLoudAndGreen) {
  const Folder folder("warned");
  // Not steady: the load asks for what is not there.
  folder.Write("a.yaml", absl::StrReplaceAll(QuickScenario("a"), {{"/order\"", "/no-such-path\""}}));
  auto suite = folder.Run({"--inconclusive=warn"});
  // One file alone is no suite, and warned of in the same way.
  const Checkout alone;
  Process one(alone.Run({"--inconclusive=warn",
                         alone.Write("b.yaml", absl::StrReplaceAll(QuickScenario("b"), {{"/order\"", "/no-such-path\""}}))}));
  EXPECT_EQ(suite->Wait(absl::Seconds(60)), 0) << suite->Output();
  EXPECT_TRUE(absl::StrContains(suite->Output(), "warning: 1 run is INCONCLUSIVE")) << suite->Output();
  EXPECT_TRUE(absl::StrContains(ReadFile(OnlySuite(folder.checkout) + "/junit.xml"), "<skipped"));
  EXPECT_EQ(one.Wait(absl::Seconds(60)), 0) << one.Output();
  EXPECT_TRUE(absl::StrContains(one.Output(), "warning: INCONCLUSIVE")) << one.Output();
  EXPECT_TRUE(absl::StrContains(ReadFile(alone.OnlyRun() + "/junit.xml"), "<skipped"));
}

}  // namespace
}  // namespace squall
