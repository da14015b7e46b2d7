#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/verdict.pb.h"

// The pieces that all HTML pages are made of. Pure functions that return HTML.

namespace squall {

// From the doctype to the start of the body, with the style in it.
std::string PageHead(absl::string_view title);

// "pass", "fail", "unsure".
absl::string_view CssClass(Verdict::Result result);

// A sentence for HTML: what stands in backquotes as code, and no line break between a figure and its unit.
std::string Prose(absl::string_view text);

std::string Badge(Verdict::Result result, absl::string_view word);

// A term and what it says; nothing when there is nothing to say.
std::string Entry(absl::string_view term, absl::string_view text);

// A cell whose heading is repeated beside it where the page is too narrow for a table.
std::string Cell(absl::string_view heading, absl::string_view html, absl::string_view css_class = "");

std::string Heads(const std::vector<absl::string_view>& heads);

}  // namespace squall
