#include "controller/report/escape.h"

#include "gtest/gtest.h"

namespace squall {
namespace {

TEST(ValidText, KeepsTextOfAnyScript) {
  EXPECT_EQ(ValidText("größer 中文 🙂\t\n"), "größer 中文 🙂\t\n");
}

TEST(ValidText, ReplacesWhatXmlMayNotHold) {
  EXPECT_EQ(ValidText(absl::string_view("a\0b\x1B[31m", 8)), "a\uFFFDb\uFFFD[31m");
  EXPECT_EQ(ValidText("\xEF\xBF\xBF"), "\uFFFD") << "U+FFFF";
}

TEST(ValidText, CutsBetweenCharacters) {
  EXPECT_EQ(ValidText("größer", 4), "grö");
  EXPECT_EQ(ValidText("größer", 3), "gr");
  EXPECT_EQ(ValidText("a\xFFz", 3), "a") << "what stands for a broken byte has three";
}

TEST(ValidText, ReplacesEachByteOfBrokenUtf8) {
  EXPECT_EQ(ValidText("a\xFFz"), "a\uFFFDz");
  EXPECT_EQ(ValidText("\xC3"), "\uFFFD") << "cut off";
  EXPECT_EQ(ValidText("\xC0\xAF"), "\uFFFD\uFFFD") << "overlong";
  EXPECT_EQ(ValidText("\xE0\x80\x80"), "\uFFFD\uFFFD\uFFFD") << "overlong";
  EXPECT_EQ(ValidText("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD") << "a surrogate";
  EXPECT_EQ(ValidText("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD") << "beyond U+10FFFF";
}

TEST(Escape, LeavesNothingThatMeansSomethingInHtml) {
  EXPECT_EQ(Escape("<a href=\"x\" id='y'>&</a>"),
            "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;&lt;/a&gt;");
}

TEST(TerminalText, PutsEverythingOnOneLine) { EXPECT_EQ(TerminalText("  a\n\n b\t c \r\n"), "a b c"); }

TEST(TerminalText, CannotSteerTheTerminal) {
  EXPECT_EQ(TerminalText("\x1B]0;title\x07"), "\uFFFD]0;title\uFFFD");
  EXPECT_EQ(TerminalText("\u009B31m"), "\uFFFD31m") << "the eight-bit form of ESC [";
  EXPECT_EQ(TerminalText("abc\u202Ecba"), "abc\uFFFDcba") << "right-to-left override";
}

TEST(DisplayWidth, CountsColumnsAndNotBytes) {
  EXPECT_EQ(DisplayWidth(""), 0);
  EXPECT_EQ(DisplayWidth("größer ✓"), 8);
  EXPECT_EQ(DisplayWidth("中文"), 4);
  EXPECT_EQ(DisplayWidth("e\u0301"), 1);
}

}  // namespace
}  // namespace squall
