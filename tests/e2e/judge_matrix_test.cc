// Every correct service passes, and every broken one fails for its own reason, once: the matrix without the demo's scenarios, which break
// the same promises of the same services. All of it ten times over is `bazel/test --full`.
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "tests/e2e/go_bugs_table.h"
#include "tests/e2e/matrix.h"
#include "tests/e2e/quick.h"

namespace squall {
namespace {

// Most of a run is waiting; with more of them two cores are not enough for all.
constexpr int kAtATime = 13;

TEST(JudgeMatrix, CorrectServicesPassAndBrokenOnesFailForTheirOwnReason) {
  if (!IsRoot()) {
    printf("LEFT OUT: judge_matrix_test: redirecting connects needs root\n");
    GTEST_SKIP();
  }
  const std::vector<std::string> before = Residue();
  {
    Checkout checkout({"tests/target/go/shop", "tests/target/go/depot"});
    std::vector<MatrixCell> cells;
    for (const MatrixCell& cell : MatrixCells(RunfilePath("tests/target/go"))) {
      if (!absl::StartsWith(cell.scenario, "demo/")) cells.push_back(cell);
    }
    ASSERT_GE(cells.size(), 85u);
    const auto say = [](const std::string& line) { printf("%s\n", line.c_str()); };
    std::vector<MatrixCell> unclear;
    for (const MatrixResult& result : RunMatrix(checkout, cells, kAtATime, say)) {
      EXPECT_EQ(result.wrong, "") << result.cell.scenario << " with " << result.cell.service;
      if (result.wrong.empty() && result.inconclusive) unclear.push_back(result.cell);
    }
    // One in ten may be INCONCLUSIVE on a busy machine, once.
    EXPECT_LE(unclear.size(), cells.size() / 10);
    for (const MatrixResult& result : RunMatrix(checkout, unclear, kAtATime / 3, say)) {
      EXPECT_EQ(result.wrong, "") << result.cell.scenario << " with " << result.cell.service;
      EXPECT_FALSE(result.inconclusive) << result.cell.scenario << " with " << result.cell.service << ": " << result.run.DebugString();
    }
  }
  EXPECT_EQ(ResidueSince(before), std::vector<std::string>());
}

TEST(GoCorpus, MarksTheLinesThatProfilesName) {
  for (const GoBug& bug : GoBugs()) {
    if (bug.file.empty()) continue;
    EXPECT_GT(LineThatShows(bug.bug, ReadFile(RunfilePath("tests/target/go/" + bug.file))), 0) << bug.bug;
  }
}

}  // namespace
}  // namespace squall
