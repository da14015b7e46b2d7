// Writes a report of the sample run, to look at it: sample_report FILE [FACTOR]. FACTOR makes the run that
// many times as long. The end of FILE's name says which report: ".json", ".xml" for JUnit, ".txt" for a
// terminal of COLUMNS columns, "index.html" for the index of a suite, and HTML otherwise.

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

#include "absl/strings/match.h"
#include "controller/report/report.h"
#include "controller/report/sample.h"
#include "controller/report/sample_suite.h"

namespace {

std::string ReportFor(const std::string& path, const squall::SampleRun& run) {
  if (absl::EndsWith(path, ".json")) return squall::JsonReport(run.result);
  if (absl::EndsWith(path, ".xml")) return squall::JunitReport(run.result, false);
  if (absl::EndsWith(path, ".txt")) {
    const char* columns = std::getenv("COLUMNS");
    return squall::TextReport(run.result, columns == nullptr ? 80 : std::atoi(columns), true);
  }
  if (absl::EndsWith(path, "index.html")) return squall::HtmlIndex(squall::MakeSampleSuite());
  return squall::HtmlReport(run.result, run.timeline);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::cerr << "usage: sample_report FILE [FACTOR]\n";
    return 64;
  }
  const double factor = argc == 3 ? std::atof(argv[2]) : 1;
  std::ofstream file(argv[1]);
  file << ReportFor(argv[1], squall::Stretched(squall::MakeSampleRun(), factor));
  file.close();
  return file.good() ? 0 : 1;
}
