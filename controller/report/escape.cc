#include "controller/report/escape.h"

#include <cstdint>

#include "absl/strings/str_cat.h"

namespace squall {
namespace {

constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

struct CodePoint {
  char32_t value = 0;
  int length = 0;  // in bytes; of an invalid sequence: how much to skip
  bool valid = false;
};

// The first code point of `text`, by table 3-7 of the Unicode standard: no overlong forms, no surrogates.
// REQUIRES: !text.empty()
CodePoint Decode(absl::string_view text) {
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

// The Char production of XML 1.0.
bool AllowedInXml(char32_t c) {
  return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c != 0xFFFE && c != 0xFFFF);
}

bool SteersTerminal(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c <= 0x9F) || c == 0x200E || c == 0x200F || (c >= 0x202A && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069);
}

bool IsCombining(char32_t c) {
  return (c >= 0x0300 && c <= 0x036F) || (c >= 0x200B && c <= 0x200D) || (c >= 0x20D0 && c <= 0x20FF) ||
         (c >= 0xFE00 && c <= 0xFE0F);
}

bool IsWide(char32_t c) {
  return (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF) || (c >= 0xAC00 && c <= 0xD7A3) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60) ||
         (c >= 0xFFE0 && c <= 0xFFE6) || (c >= 0x1F300 && c <= 0x1FAFF) || (c >= 0x20000 && c <= 0x3FFFD);
}

}  // namespace

std::string ValidText(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = Decode(text);
    absl::StrAppend(&out, c.valid && AllowedInXml(c.value) ? text.substr(0, c.length) : kReplacement);
    text.remove_prefix(c.length);
  }
  return out;
}

std::string Escape(absl::string_view text) {
  std::string out;
  for (const char c : ValidText(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string TerminalText(absl::string_view text) {
  std::string out;
  bool space = false;
  while (!text.empty()) {
    const CodePoint c = Decode(text);
    const absl::string_view bytes = text.substr(0, c.length);
    text.remove_prefix(c.length);
    if (c.valid && (c.value == ' ' || (c.value >= '\t' && c.value <= '\r'))) {
      space = true;
      continue;
    }
    if (space && !out.empty()) out += ' ';
    space = false;
    absl::StrAppend(&out, c.valid && !SteersTerminal(c.value) ? bytes : kReplacement);
  }
  return out;
}

int DisplayWidth(absl::string_view text) {
  int width = 0;
  while (!text.empty()) {
    const CodePoint c = Decode(text);
    text.remove_prefix(c.length);
    width += IsCombining(c.value) ? 0 : IsWide(c.value) ? 2 : 1;
  }
  return width;
}

}  // namespace squall
