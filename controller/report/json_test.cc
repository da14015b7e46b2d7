#include <string>

#include "absl/strings/str_cat.h"
#include "controller/report/report.h"
#include "controller/report/sample.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

TEST(JsonReport, IsReadBackAsTheSameResult) {
  const RunResult result = MakeSampleRun().result;
  RunResult read;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(JsonReport(result), &read).ok());
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(result, read));
}

TEST(JsonReport, KeepsTheNamesOfTheSchemaAndPrintsWhatIsZero) {
  const std::string json = JsonReport(RunResult());
  EXPECT_THAT(json, HasSubstr("\"exit_code\": 0"));
  EXPECT_THAT(json, HasSubstr("\"not_healed\": []"));
  EXPECT_THAT(json, HasSubstr("\"squall_version\": \"\""));
  EXPECT_EQ(json.back(), '\n');
}

TEST(JsonReport, SurvivesTextThatIsNotUtf8) {
  RunResult result;
  result.add_verdicts()->set_reason("a\xFFz");
  result.add_notes("\xC3");
  RunResult read;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(JsonReport(result), &read).ok());
  EXPECT_EQ(read.verdicts(0).reason(), "a\uFFFDz");
  EXPECT_EQ(read.notes(0), "\uFFFD");
}

TEST(JsonReport, IsTheSameEveryTimeThoughMapsHaveNoOrder) {
  const auto text = [](bool backwards) {
    RunResult result;
    auto& compared = *result.add_digested_hosts()->mutable_compared();
    for (int i = 0; i < 40; ++i) compared[absl::StrCat("kind ", backwards ? 39 - i : i)] = 1;
    return JsonReport(result);
  };
  for (int i = 0; i < 10; ++i) ASSERT_EQ(text(true), text(false));
}

}  // namespace
}  // namespace squall
