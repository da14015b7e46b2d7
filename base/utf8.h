#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

// Text from outside (names, paths, output of services), which may be any bytes. Pure functions.
namespace squall {

inline constexpr absl::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

struct CodePoint {
  char32_t value = 0;
  int length = 0;  // in bytes; of an invalid sequence: how much to skip
  bool valid = false;
};

// The first code point of `text`, by table 3-7 of the Unicode standard: no overlong forms, no surrogates.
// REQUIRES: !text.empty()
CodePoint FirstCodePoint(absl::string_view text);

// `text` as valid UTF-8 that XML may hold, cut off between characters after at most `most_bytes`: what is not valid becomes
// U+FFFD.
std::string ValidText(absl::string_view text, size_t most_bytes = std::string::npos);

}  // namespace squall
