#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

// How the controller words what it says about text that a user wrote. Pure functions.
namespace squall {

// `text` in double quotes, shortened to about 60 bytes, with control characters escaped: safe on a terminal.
std::string Quoted(absl::string_view text);

// The candidate that the writer of `word` most likely meant; empty when none is close.
std::string Nearest(absl::string_view word, const std::vector<std::string>& candidates);

// "a, b or c". Of more than sixteen only the first are named.
std::string Alternatives(const std::vector<std::string>& words);

// `did you mean "latency"?`, or `write latency or kill` when nothing is close. REQUIRES: candidates not
// empty.
std::string Suggestion(absl::string_view word, const std::vector<std::string>& candidates);

// `text` broken at spaces into lines of at most `width` columns, all but the first indented by `indent`
// spaces. The first is taken to begin at column `indent` too. A word that is too long gets a line of its own.
// Without a newline at the end.
std::string Wrapped(absl::string_view text, int indent, int width);

// "circuit_breaker" for "CircuitBreaker".
std::string SnakeCase(absl::string_view camel_case);

}  // namespace squall
