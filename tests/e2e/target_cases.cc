#include "tests/e2e/target_cases.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <semaphore>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

void ReplaceIn(const std::string& path, const std::string& from, const std::string& to) {
  if (!fs::exists(path)) return;
  const std::string text = absl::StrReplaceAll(ReadFile(path), {{from, to}});
  std::ofstream(path) << text;
}

std::unique_ptr<Checkout> CheckoutFor(const TargetCase& test, const std::vector<std::string>& programs,
                                      const std::vector<std::string>& folders) {
  auto checkout = std::make_unique<Checkout>(programs);
  const char* sources = getenv("TEST_SRCDIR");
  for (const std::string& folder : folders) {
    const fs::path copy = fs::path(checkout->path()) / folder;
    fs::create_directories(copy);
    fs::copy((sources == nullptr ? fs::current_path() : fs::path(sources) / "squall") / folder, copy, fs::copy_options::recursive);
  }
  if (test.ports_from.empty()) return checkout;
  for (const char* extension : {".yaml", ".conf"}) {
    ReplaceIn(checkout->path() + test.scenario + extension, test.ports_from, test.ports_to);
  }
  return checkout;
}

struct CaseResult {
  int exit_code = -1;
  Verdicts verdicts;
  std::string output;
};

CaseResult RunOnce(const TargetCase& test, const Checkout& checkout) {
  fs::remove_all(checkout.path() + "/runs");
  std::vector<std::string> args = {checkout.path() + test.scenario + ".yaml"};
  for (const std::string& var : test.vars) args.push_back("--var=" + var);
  Process process(checkout.Run(args));
  CaseResult result;
  result.exit_code = process.Wait(absl::Seconds(150));
  result.output = process.Output();
  for (const auto& [assertion, expected] : test.verdicts) {
    result.verdicts[assertion] = VerdictOf(checkout.OnlyRun(), assertion);
  }
  return result;
}

// As RunToVerdict does, one verdict of all cases that is INCONCLUSIVE without being meant to be is forgiven.
CaseResult RunCase(const TargetCase& test, const Checkout& checkout) {
  static std::atomic<int> inconclusive = 0;
  while (true) {
    CaseResult result = RunOnce(test, checkout);
    bool unsure = false;
    for (const auto& [assertion, expected] : test.verdicts) {
      const std::string& verdict = result.verdicts[assertion];
      unsure |= verdict == "INCONCLUSIVE" && verdict != expected;
    }
    if (!unsure || result.exit_code > 2 || ++inconclusive > 1) return result;
    printf("INCONCLUSIVE once, %s is run again:\n%s\n", test.name.c_str(), result.output.c_str());
  }
}

}  // namespace

bool CanRedirect() {
  if (IsRoot()) return true;
  printf("LEFT OUT: targets: redirecting connects needs root\n");
  return false;
}

bool HasProgram(const char* path, const char* package) {
  if (access(path, X_OK) == 0) return true;
  printf("LEFT OUT: targets: %s is missing; install %s\n", path, package);
  return false;
}

void RunTargets(const std::vector<TargetCase>& cases, int at_a_time, const std::vector<std::string>& programs,
                const std::vector<std::string>& folders) {
  const std::vector<std::string> before = Residue();
  // All are made before the first process is: a child that was forked while a program is being written keeps that from
  // being executed.
  std::vector<std::unique_ptr<Checkout>> checkouts;
  for (const TargetCase& test : cases) checkouts.push_back(CheckoutFor(test, programs, folders));
  std::counting_semaphore<> free(at_a_time);
  std::vector<std::future<CaseResult>> results;
  for (size_t i = 0; i < cases.size(); ++i) {
    results.push_back(std::async(std::launch::async, [&, i] {
      free.acquire();
      CaseResult result = RunCase(cases[i], *checkouts[i]);
      free.release();
      return result;
    }));
  }
  for (size_t i = 0; i < cases.size(); ++i) {
    const CaseResult result = results[i].get();
    SCOPED_TRACE(cases[i].name);
    EXPECT_EQ(result.exit_code, cases[i].exit_code) << result.output;
    EXPECT_EQ(result.verdicts, cases[i].verdicts) << result.output;
  }
  EXPECT_EQ(ResidueSince(before), std::vector<std::string>());
}

}  // namespace squall
