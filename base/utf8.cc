#include "base/utf8.h"

#include <algorithm>
#include <cstdint>

namespace squall {
namespace {

// The Char production of XML 1.0.
bool AllowedInXml(char32_t c) {
  return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c != 0xFFFE && c != 0xFFFF);
}

}  // namespace

CodePoint FirstCodePoint(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {first, 1, true};
  const int length = first >= 0xC2 && first <= 0xDF   ? 2
                     : first >= 0xE0 && first <= 0xEF ? 3
                     : first >= 0xF0 && first <= 0xF4 ? 4
                                                      : 0;
  if (length == 0 || text.size() < static_cast<size_t>(length)) return {0, 1, false};
  char32_t value = first & (0x7F >> length);
  for (int i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {0, 1, false};
    value = value << 6 | (byte(i) & 0x3F);
  }
  const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (overlong || surrogate || value > 0x10FFFF) return {0, 1, false};
  return {value, length, true};
}

std::string ValidText(absl::string_view text, size_t most_bytes) {
  std::string out;
  out.reserve(std::min(text.size(), most_bytes));
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    const absl::string_view bytes = c.valid && AllowedInXml(c.value) ? text.substr(0, c.length) : kReplacementCharacter;
    if (out.size() + bytes.size() > most_bytes) break;
    out.append(bytes.data(), bytes.size());
    text.remove_prefix(c.length);
  }
  return out;
}

}  // namespace squall
