// Prints services x assertions x verdict, with recall and false alarms: bazel run //tests:judge_matrix -- [--repeat N] [--only TEXT]
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/match.h"
#include "tests/e2e/matrix.h"
#include "tests/e2e/quick.h"

int main(int argc, char** argv) {
  int repeat = 1, parallel = 8;
  std::string only, out;
  CLI::App app("Judges correct services and broken ones by the shipped scenarios, and says how often the judge was right.");
  app.add_option("--repeat", repeat, "How often each is judged")->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--parallel", parallel, "How many runs at a time")->check(CLI::Range(1, 64))->capture_default_str();
  app.add_option("--only", only, "Only those whose scenario or service contains this");
  app.add_option("--out", out, "Write the table there, too");
  CLI11_PARSE(app, argc, argv);

  squall::Checkout checkout({"tests/target/go/shop", "tests/target/go/depot"});
  std::vector<squall::MatrixCell> cells;
  for (int i = 0; i < repeat; ++i) {
    for (const squall::MatrixCell& cell : squall::MatrixCells(squall::RunfilePath("tests/target/go"))) {
      if (absl::StrContains(cell.scenario, only) || absl::StrContains(cell.service, only)) cells.push_back(cell);
    }
  }
  const auto results = squall::RunMatrix(checkout, cells, parallel, [](const std::string& line) {
    printf("%s\n", line.c_str());
    fflush(stdout);
  });
  const std::string table = squall::MatrixTable(results);
  printf("\n%s", table.c_str());
  if (!out.empty()) {
    FILE* file = fopen(out.c_str(), "we");
    if (file != nullptr) fputs(table.c_str(), file), fclose(file);
  }
  return std::any_of(results.begin(), results.end(), [](const squall::MatrixResult& result) { return !result.wrong.empty(); }) ? 1 : 0;
}
