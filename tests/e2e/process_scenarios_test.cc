// Every scenario of a fault on processes, resources and load, some at a time, against sound services.
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

// Those of another test, or started with a variable below.
const std::set<std::string> kElsewhere = {"kill.yaml", "cpu-load.yaml", "cpu-quota.yaml", "disk.yaml", "memory-leave.yaml", "pause.yaml", "surge.yaml"};
constexpr int kAtATime = 3;
constexpr int64_t kMemoryTakenMiB = 512;

TEST(ProcessScenarios, PassAgainstASoundService) {
  if (!IsRoot()) {
    printf("LEFT OUT: process_scenarios_test: limiting memory and tasks needs root\n");
    GTEST_SKIP();
  }
  const std::vector<std::string> before = Residue();
  const Checkout checkout({"tests/target/go/storefront"});
  const std::string data = checkout.path() + "/data";
  fs::create_directories(data);
  ASSERT_EQ(mount("tmpfs", data.c_str(), "tmpfs", 0, "size=64m"), 0);
  const auto scenario = [&](const std::string& name) { return absl::StrCat(checkout.path(), "/scenarios/", name, ".yaml"); };
  const std::string runs = checkout.path() + "/runs-";
  const auto start = [&](const std::string& name, const std::string& variable) {
    return std::make_unique<Process>(std::vector<std::string>{checkout.squall(), "run", "--runs=" + runs + variable, "--inconclusive=rerun",
                                                              "--var=" + variable, scenario(name)});
  };
  const auto disk = start("resources/disk", "data=" + data);
  const auto memory = start("resources/memory-leave", absl::StrCat("leave=", AvailableMiB() - kMemoryTakenMiB, "MiB"));
  std::vector<std::string> args = {"--parallel", absl::StrCat(kAtATime), "--inconclusive", "rerun"};
  for (const char* folder : {"process", "resources", "load"}) {
    for (const auto& entry : fs::directory_iterator(absl::StrCat(checkout.path(), "/scenarios/", folder))) {
      if (kElsewhere.count(entry.path().filename()) == 0) args.push_back(entry.path());
    }
  }
  Process run(checkout.Run(args));
  EXPECT_EQ(disk->Wait(absl::Minutes(3)), 0) << disk->Output();
  EXPECT_EQ(memory->Wait(absl::Minutes(3)), 0) << memory->Output();
  EXPECT_EQ(run.Wait(absl::Minutes(6)), 0) << run.Output();
  EXPECT_EQ(umount(data.c_str()), 0);
  EXPECT_EQ(ResidueSince(before), std::vector<std::string>());
}

}  // namespace
}  // namespace squall
