#include "base/metric_series.h"

#include <cmath>
#include <random>

#include "gtest/gtest.h"

namespace squall {
namespace {

TEST(MetricSeries, ReadsALineWithLabelsValueAndTimestamp) {
  const auto line = ParseMetricLine(R"(state{ name="a,}b" , kind = "x", } 1.5 1700000000)");
  ASSERT_TRUE(line);
  EXPECT_EQ(line->series.name, "state");
  EXPECT_EQ(line->series.labels.at("name"), "a,}b");
  EXPECT_EQ(line->series.labels.at("kind"), "x");
  EXPECT_EQ(line->value, 1.5);
  EXPECT_EQ(ParseMetricLine("up 1")->series.Text(), "up");
  EXPECT_EQ(ParseMetricLine("a:b_2\t-7e3")->value, -7000);
}

TEST(MetricSeries, ReadsWhatIsNoNumberToMost) {
  EXPECT_TRUE(std::isnan(ParseMetricLine("x NaN")->value));
  EXPECT_EQ(ParseMetricLine("x +Inf")->value, HUGE_VAL);
  EXPECT_EQ(ParseMetricLine("x -Inf")->value, -HUGE_VAL);
}

TEST(MetricSeries, WritesLabelsInTheirOrderSoThatItIsTheSameSeriesHoweverAPageOrdersThem) {
  EXPECT_EQ(ParseMetricLine(R"(s{b="2",a="1"} 0)")->series.Text(), R"(s{a="1",b="2"})");
}

TEST(MetricSeries, KeepsWhatIsEscaped) {
  const std::string text = R"(s{path="C:\\x",say="\"hi\"\n"})";
  const auto series = ParseMetricSeries(text);
  ASSERT_TRUE(series);
  EXPECT_EQ(series->labels.at("path"), "C:\\x");
  EXPECT_EQ(series->labels.at("say"), "\"hi\"\n");
  EXPECT_EQ(series->Text(), text);
}

TEST(MetricSeries, SkipsCommentsAndWhatIsMalformed) {
  for (const char* line : {"", "# HELP up Help.", "# TYPE up gauge", "up", "up one", "up 1 2 3", "up 1 later",
                           "1up 1", "up{ 1", "up{a} 1", R"(up{a="x} 1)", R"(up{a="x"b="y"} 1)",
                           R"(up{a="1",a="2"} 1)", R"(up{a="x\)", "up{}1", "<html>", R"(up{,} 1)"}) {
    EXPECT_FALSE(ParseMetricLine(line)) << line;
  }
  EXPECT_FALSE(ParseMetricSeries("up{} "));
}

TEST(MetricSeries, TakesWhateverComes) {
  std::mt19937 random(7);
  const std::string alphabet = "ab{}\",=\\ \n1.#e";
  for (int i = 0; i < 100'000; ++i) {
    std::string line;
    for (unsigned n = random() % 24; n > 0; --n) line += alphabet[random() % alphabet.size()];
    const auto parsed = ParseMetricLine(line);
    if (!parsed) continue;
    const auto again = ParseMetricSeries(parsed->series.Text());
    ASSERT_TRUE(again) << line;
    EXPECT_EQ(again->labels, parsed->series.labels) << line;
  }
}

}  // namespace
}  // namespace squall
