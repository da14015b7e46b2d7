// Every input that the fuzzers found worth keeping, in an ordinary build.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/fuzz/script.h"

namespace squall {
namespace {

int RunAll(const std::string& folder, bool http2) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("tests/fuzz/corpus/" + folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    const std::string input = text.str();
    SCOPED_TRACE(entry.path());
    RunScript(reinterpret_cast<const uint8_t*>(input.data()), input.size(), http2);
    ++count;
  }
  return count;
}

TEST(Corpus, Http1InputsPassUntouchedAndLeaveNothingHeld) { EXPECT_GT(RunAll("http1", /*http2=*/false), 20); }
TEST(Corpus, Http2InputsPassUntouchedAndLeaveNothingHeld) { EXPECT_GT(RunAll("http2", /*http2=*/true), 20); }

}  // namespace
}  // namespace squall
