// Every input that the fuzzers found worth keeping, in an ordinary build.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/fuzz/script.h"
#include "tests/fuzz/timeline_script.h"

namespace squall {
namespace {

// How many there are, and how many of them `run` says true of.
struct Ran {
  int inputs = 0;
  int done = 0;
};
template <typename Run>
Ran RunAll(const std::string& folder, Run run) {
  Ran ran;
  for (const auto& entry : std::filesystem::directory_iterator("tests/fuzz/corpus/" + folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    const std::string input = text.str();
    SCOPED_TRACE(entry.path());
    ran.done += run(reinterpret_cast<const uint8_t*>(input.data()), input.size());
    ++ran.inputs;
  }
  return ran;
}

Ran RunScripts(const std::string& folder, bool http2) {
  return RunAll(folder, [=](const uint8_t* data, size_t size) {
    RunScript(data, size, http2);
    return true;
  });
}

TEST(Corpus, Http1InputsPassUntouchedAndLeaveNothingHeld) { EXPECT_GT(RunScripts("http1", /*http2=*/false).inputs, 20); }
TEST(Corpus, Http2InputsPassUntouchedAndLeaveNothingHeld) { EXPECT_GT(RunScripts("http2", /*http2=*/true).inputs, 20); }

TEST(Corpus, TimelinesAreRefusedOrJudgedWithoutHarm) {
  const Ran ran = RunAll("timeline", JudgeScript);
  EXPECT_GT(ran.done, 10);
  EXPECT_LT(ran.done, ran.inputs) << "none is refused";
}

}  // namespace
}  // namespace squall
