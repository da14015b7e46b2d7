#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

// How text is set in the columns of a terminal. Pure functions.

namespace squall {

constexpr int kTextGap = 2;  // between the columns of a table

// Lines of at most `width` columns, broken between words only: a word that is longer has a line of its own.
// At least one line.
std::vector<std::string> Wrap(absl::string_view text, int width);

// `text` with spaces behind it, up to `width` columns.
std::string Pad(const std::string& text, int width);

using TextRow = std::vector<std::string>;

// Widths with which a table of `rows` fits into `available` columns when cells are wrapped between words.
// Empty when no widths do.
std::vector<int> FitColumns(const std::vector<TextRow>& rows, int available);

}  // namespace squall
