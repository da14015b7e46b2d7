// Writes the report of the sample run, to look at it in a browser: sample_report FILE. With "-", the text
// report goes to standard output.

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

#include "controller/report/report.h"
#include "controller/report/sample.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: sample_report FILE\n";
    return 64;
  }
  const squall::SampleRun run = squall::MakeSampleRun();
  if (std::string(argv[1]) == "-") {
    const char* columns = std::getenv("COLUMNS");
    std::cout << squall::TextReport(run.result, columns == nullptr ? 80 : std::atoi(columns), true);
    return 0;
  }
  std::ofstream file(argv[1]);
  file << squall::HtmlReport(run.result, run.timeline);
  return file.good() ? 0 : 1;
}
