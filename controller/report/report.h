#pragma once

#include <string>

#include "controller/timeline.h"
#include "google/protobuf/message.h"
#include "proto/suite.pb.h"
#include "proto/verdict.pb.h"

namespace squall {

// Each of these renders a finished run. Pure functions.

// The verdict table for a terminal of `columns`, with colour when `color`.
std::string TextReport(const RunResult& result, int columns, bool color);

// RunResult in proto3 JSON, indented, names as in the proto.
std::string JsonReport(const RunResult& result);
// The same for any message; all in one line unless `lines`.
std::string JsonText(const google::protobuf::Message& message, bool lines);

// One test case an assertion, in one suite a scenario: FAIL is a failure, INCONCLUSIVE is a failure or
// `skipped` according to `inconclusive_fails`, a harness failure is an error.
std::string JunitReport(const RunResult& result, bool inconclusive_fails);

// One self-contained HTML file: inline SVG, no JavaScript needed, light and dark.
std::string HtmlReport(const RunResult& result, const Timeline& timeline);

// The same of a suite: concluded, as by Conclude. `folder` is the suite's, for the paths of the reports.
std::string TextReport(const SuiteResult& result, const std::string& folder, int columns, bool color);
std::string JsonReport(const SuiteResult& result);
// One suite a scenario, one test case an assertion of each run that counts; what could not be judged before a run was
// carried out again, and what was not run beside something that failed, is `skipped`.
std::string JunitReport(const SuiteResult& result);
// The page that links to the report of each run, by paths relative to the suite's folder.
std::string HtmlIndex(const SuiteResult& result);

}  // namespace squall
