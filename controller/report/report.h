#pragma once

#include <string>

#include "controller/timeline.h"
#include "google/protobuf/message.h"
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

}  // namespace squall
