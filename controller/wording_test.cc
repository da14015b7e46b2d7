#include "controller/wording.h"

#include <string>

#include "gtest/gtest.h"

namespace squall {
namespace {

TEST(Nearest, FindsSlipsOfTheFinger) {
  const std::vector<std::string> keys = {"delay", "direction", "edge", "jitter"};
  EXPECT_EQ(Nearest("dleay", keys), "delay");
  EXPECT_EQ(Nearest("Jiter", keys), "jitter");
  EXPECT_EQ(Nearest("edges", keys), "edge");
  EXPECT_EQ(Nearest("colour", keys), "");
  EXPECT_EQ(Nearest("", keys), "");
  EXPECT_EQ(Nearest(std::string(1000, 'd'), keys), "");
}

TEST(Nearest, TakesAContinuedWordForTheSame) {
  EXPECT_EQ(Nearest("assertions", {"assert", "faults"}), "assert");
  EXPECT_EQ(Nearest("desc", {"description", "seed"}), "description");
}

TEST(Alternatives, AreJoinedAsInASentence) {
  EXPECT_EQ(Alternatives({}), "");
  EXPECT_EQ(Alternatives({"a"}), "a");
  EXPECT_EQ(Alternatives({"a", "b"}), "a or b");
  EXPECT_EQ(Alternatives({"a", "b", "c"}), "a, b or c");
  const std::string many = Alternatives(std::vector<std::string>(20, "x"));
  EXPECT_EQ(many.substr(many.size() - 16), "x, x or 4 others");
}

TEST(Quoted, IsSafeOnATerminal) {
  EXPECT_EQ(Quoted("a\x1b[31m\n"), "\"a\\033[31m\\n\"");
  EXPECT_EQ(Quoted("\xC3\xA4"), "\"\xC3\xA4\"");
}

TEST(Quoted, ShortensBetweenCharacters) {
  EXPECT_EQ(Quoted(std::string(100, 'a')), "\"" + std::string(60, 'a') + "...\"");
  // The 60th byte is the middle of a character.
  EXPECT_EQ(Quoted(std::string(59, 'a') + "\xC3\xA4" + std::string(9, 'a')),
            "\"" + std::string(59, 'a') + "...\"");
}

TEST(Wrapped, BreaksBetweenWords) {
  EXPECT_EQ(Wrapped("one two three", 2, 9), "one two\n  three");
  EXPECT_EQ(Wrapped("one  two\nthree", 0, 80), "one two three");
  EXPECT_EQ(Wrapped("unbreakable a", 0, 4), "unbreakable\na");
  EXPECT_EQ(Wrapped("", 4, 10), "");
}

TEST(SnakeCase, SplitsAtCapitals) { EXPECT_EQ(SnakeCase("CircuitBreaker"), "circuit_breaker"); }

}  // namespace
}  // namespace squall
