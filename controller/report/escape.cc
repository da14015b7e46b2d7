#include "controller/report/escape.h"

#include "absl/strings/str_cat.h"

namespace squall {
namespace {

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
    const CodePoint c = FirstCodePoint(text);
    const absl::string_view bytes = text.substr(0, c.length);
    text.remove_prefix(c.length);
    if (c.valid && (c.value == ' ' || (c.value >= '\t' && c.value <= '\r'))) {
      space = true;
      continue;
    }
    if (space && !out.empty()) out += ' ';
    space = false;
    absl::StrAppend(&out, c.valid && !SteersTerminal(c.value) ? bytes : kReplacementCharacter);
  }
  return out;
}

int DisplayWidth(absl::string_view text) {
  int width = 0;
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    text.remove_prefix(c.length);
    width += IsCombining(c.value) ? 0 : IsWide(c.value) ? 2 : 1;
  }
  return width;
}

}  // namespace squall
