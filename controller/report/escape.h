#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "base/utf8.h"

// Text from outside (reasons, names, output of services) made fit for what it is printed into. Pure
// functions.

namespace squall {

// ValidText with the five characters that mean something in HTML and XML escaped: for content and for
// attribute values.
std::string Escape(absl::string_view text);

// `text` as one line that cannot steer a terminal: white space becomes single spaces; control characters and
// marks that change the writing direction become U+FFFD.
std::string TerminalText(absl::string_view text);

// Columns that `text` takes on a terminal: 0 for combining marks, 2 for East Asian wide characters and emoji.
// REQUIRES: valid UTF-8.
int DisplayWidth(absl::string_view text);

}  // namespace squall
