#include "controller/explain.h"

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "controller/scenario.h"
#include "controller/scenario_samples.h"
#include "gtest/gtest.h"
#include "proto/timeline.pb.h"

namespace squall {
namespace {

// Every topic of the overview, in its order.
std::vector<std::string> Topics() {
  std::vector<std::string> topics;
  for (absl::string_view line : absl::StrSplit(*Explain(""), '\n')) {
    if (!absl::StartsWith(line, "  ") || absl::StartsWith(line, "   ")) continue;
    topics.emplace_back(line.substr(2, line.find(' ', 2) - 2));
  }
  return topics;
}

std::string ExampleOf(absl::string_view topic) {
  const std::string text = *Explain(topic);
  return std::string(absl::StripAsciiWhitespace(text.substr(text.find("\nExample\n") + 9)));
}

TEST(Explain, SaysOfAFieldItsTypeRangeAndDefault) {
  EXPECT_EQ(*Explain("latency"), R"(latency

  Makes a peer slow: what crosses the edge is held back and passed on in order. Scope: edge.

  edge            name of an edge, default the only edge of the file
    The edge that becomes slow.
  delay           duration, 0s to 10m, required
    How long bytes are held back: the mean of `uniform` and `normal`, the least of `pareto`.
  jitter          duration, 0s to 10m, default 0s
    How far the delay varies; what that means is said by `distribution`. Order is kept.
  direction       response, request or both, default response
      response: From the dependency to the service: one request waits once.
      request: From the service to the dependency.
      both: Both ways: one request waits twice.
  distribution    uniform, normal or pareto, default uniform
      uniform: Evenly between delay - jitter and delay + jitter.
      normal: Normal with mean `delay` and standard deviation `jitter`; what would be negative
        is drawn again.
      pareto: A long tail: delay + a Pareto variable (Lomax) with shape 3 and mean `jitter`.
  correlation     percentage, 0% to 99%, default 0%
    How much a delay depends on the one before it: the rank correlation of neighbours. The
    distribution stays as it is.
  share           percentage, 1% to 100%, default 100%
    The share of connections that is slow.

Example

  faults: [{latency: {edge: recommend, delay: 500ms, jitter: 50ms}, for: 10s}]
)");
}

TEST(Explain, SaysOfAFieldAloneWhatAFlagNeeds) {
  EXPECT_EQ(ExplainField(*Latency::descriptor()->FindFieldByName("delay")),
            "How long bytes are held back: the mean of `uniform` and `normal`, the least of `pareto` (duration, 0s to 10m, required).");
  EXPECT_TRUE(absl::StrContains(ExplainField(*Latency::descriptor()->FindFieldByName("direction")),
                                "\nrequest: From the service to the dependency."));
  EXPECT_TRUE(absl::StartsWith(ExplainMessage(*Kill::descriptor()), "Sends a signal to processes of a service"));
  EXPECT_EQ(ExplainField(*Record::descriptor()->field(0)), "") << "no part of a scenario";
}

TEST(Explain, OverviewGroupsAllTopics) {
  const std::string overview = *Explain("");
  const size_t faults = overview.find("\nFaults\n");
  const size_t assertions = overview.find("\nAssertions\n");
  ASSERT_NE(faults, std::string::npos);
  ASSERT_NE(assertions, std::string::npos);
  const auto is_between = [&](absl::string_view topic, size_t begin, size_t end) {
    const size_t at = overview.find(absl::StrCat("\n  ", topic, " "));
    return at != std::string::npos && at + 1 >= begin && at < end;
  };
  for (const char* topic : {"scenario", "service", "edge", "load", "steady", "fault", "assertion", "http"}) {
    EXPECT_TRUE(is_between(topic, 0, faults)) << topic;
  }
  for (const char* topic : {"latency", "kill"}) EXPECT_TRUE(is_between(topic, faults, assertions)) << topic;
  for (const char* topic : {"timeout", "recovery", "circuit_breaker"}) {
    EXPECT_TRUE(is_between(topic, assertions, overview.size())) << topic;
  }
}

TEST(Explain, KnowsEveryTopicOfItsOverview) {
  EXPECT_GE(Topics().size(), 20u);
  for (const std::string& topic : Topics()) {
    const absl::StatusOr<std::string> text = Explain(topic);
    ASSERT_TRUE(text.ok()) << topic;
    EXPECT_TRUE(absl::StartsWith(*text, absl::StrCat(topic, "\n\n  "))) << *text;
    EXPECT_TRUE(absl::ascii_isupper((*text)[topic.size() + 4])) << "no comment: " << *text;
    EXPECT_NE(text->find("\nExample\n"), std::string::npos) << *text;
  }
}

TEST(Explain, IsAtMostAHundredColumnsWide) {
  std::vector<std::string> topics = Topics();
  topics.push_back("");
  for (const std::string& topic : topics) {
    for (absl::string_view line : absl::StrSplit(*Explain(topic), '\n')) EXPECT_LE(line.size(), 100u) << line;
  }
}

TEST(Explain, SaysWhatTheProfilesOfCircuitBreakersStandFor) {
  // As one line: where it is broken does not matter.
  const std::string text =
      absl::StrJoin(absl::StrSplit(*Explain("circuit_breaker"), absl::ByAnyChar(" \n"), absl::SkipEmpty()), " ");
  for (const char* row : {"gobreaker: sony/gobreaker: the 6th failure in a row; open 60 s; 1 probe.",
                          "resilience4j: resilience4j: 50 % of the last 100 calls; open 60 s; 10 probes.",
                          "opossum: opossum: more than 50 % over 10 s; open 30 s; 1 probe.", "go_resiliency: eapache",
                          "envoy_outlier: Envoy outlier detection: 5 failures in a row, a sweep every 10 s, ejection",
                          "nginx: nginx upstream: max_fails 1, fail_timeout 10 s, for each worker; 1 probe."}) {
    EXPECT_NE(text.find(row), std::string::npos) << row << "\n" << text;
  }
}

TEST(Explain, TakesTheKeyOfTheFileForATopic) {
  EXPECT_EQ(*Explain("services"), *Explain("service"));
  EXPECT_EQ(*Explain("assert"), *Explain("assertion"));
  EXPECT_EQ(*Explain("rejected_when"), *Explain("match"));
}

TEST(Explain, NamesTheNearestTopic) {
  const absl::Status status = Explain("latncy").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "there is no topic \"latncy\"; did you mean \"latency\"?");
  EXPECT_EQ(Explain("zzzzzzzz").status().message(),
            "there is no topic \"zzzzzzzz\"; `squall explain` lists them all");
}

TEST(Explain, ExampleOfAScenarioIsWithoutMistakes) {
  EXPECT_EQ(
      FormatMistakes(ParseScenario("s", absl::StrReplaceAll(ExampleOf("scenario"), {{"\n  ", "\n"}}), {})),
      "");
}

// Each example must do in a real file as it is printed.
TEST(Explain, ExamplesOfFaultsAndAssertionsAreWithoutMistakes) {
  for (const char* topic : {"latency", "kill", "pause", "cpu", "memory", "disk", "fds", "pids", "abandon", "surge", "timeout", "recovery", "circuit_breaker", "error_rate"}) {
    const std::string example = ExampleOf(topic);
    const std::string key = example.substr(0, example.find(':') + 1);
    std::string text =
        absl::StrReplaceAll(kMinimalScenario, {{"{attach: {listen: 8080}}", "{run: [bin/orders]}"}});
    if (key == "faults:") {
      const size_t begin = text.find("faults:");
      text.replace(begin, text.find("assert:") - begin, absl::StrCat(example, "\n"));
      text = absl::StrReplaceAll(text, {{"  - timeout: {deadline: 300ms}\n", ""}, {"  - circuit_breaker: {open_time: 2s}\n", ""}});
    } else if (key == "assert:") {
      text = absl::StrCat(text.substr(0, text.find("assert:")), example, "\n");
    } else {
      absl::StrAppend(&text, example, "\n");
    }
    EXPECT_EQ(FormatMistakes(ParseScenario("s", text, {})), "") << topic << "\n" << text;
  }
}

}  // namespace
}  // namespace squall
