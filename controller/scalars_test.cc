#include "controller/scalars.h"

#include <cmath>
#include <limits>

#include "controller/scenario.h"
#include "controller/scenario_samples.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

Scenario Read(const std::string& text) {
  const LoadedScenario loaded = ParseScenario("s.yaml", text, {});
  EXPECT_EQ(FormatMistakes(loaded), "");
  return loaded.scenario;
}

std::string Wrong(Scenario scenario) { return std::string(CheckValues(scenario).message()); }

TEST(CheckValues, WhatTheReaderMadeIsSound) {
  EXPECT_EQ(Wrong(Read(kMinimalScenario)), "");
  // With the short steps that the plan fills in for a limiter, and a rate below what a user may write.
  for (const char* rate : {"50/s", "0.1/s"}) {
    EXPECT_EQ(Wrong(Read(absl::StrCat("squall: 1\nname: limiter\nservices:\n  orders: {attach: {listen: 8080}}\n"
                                      "load:\n  checkout: {http: {url: \"http://127.0.0.1:8080/\"}}\n"
                                      "assert:\n  - rate_limiter: {rate: ", rate, ", burst: 20}\n"))),
              "");
  }
}

TEST(CheckValues, DefaultsThatAreMissingArePutIn) {
  Scenario old = Read(kMinimalScenario);
  ASSERT_TRUE(old.assertions(0).has_timeout());
  old.mutable_assertions(0)->mutable_timeout()->clear_cancels_within();
  old.mutable_assertions(0)->mutable_timeout()->clear_at_least();
  ASSERT_TRUE(CheckValues(old).ok());
  EXPECT_EQ(old.assertions(0).timeout().cancels_within().nanos(), 200'000'000);
  EXPECT_EQ(old.assertions(0).timeout().at_least(), 20);
}

TEST(CheckValues, WhatBreaksTheRulesIsNamed) {
  Scenario scenario = Read(kMinimalScenario);
  scenario.mutable_assertions(0)->mutable_timeout()->clear_deadline();
  EXPECT_EQ(Wrong(scenario), "assert[0].timeout.deadline is missing");

  scenario = Read(kMinimalScenario);
  scenario.mutable_assertions(0)->mutable_timeout()->mutable_deadline()->set_seconds(-1);
  EXPECT_EQ(Wrong(scenario), "assert[0].timeout.deadline is no value that it can have");
  scenario.mutable_assertions(0)->mutable_timeout()->mutable_deadline()->set_seconds(1'000'000);
  EXPECT_EQ(Wrong(scenario), "assert[0].timeout.deadline is out of its bounds");

  scenario = Read(kMinimalScenario);
  scenario.mutable_assertions(0)->clear_kind();
  EXPECT_EQ(Wrong(scenario), "assert[0] lacks its kind");

  scenario = Read(kMinimalScenario);
  for (const double rate : {std::numeric_limits<double>::infinity(), std::nan(""), -1.0, 1e-9, 1e9}) {
    scenario.mutable_load(0)->set_rate(rate);
    EXPECT_THAT(Wrong(scenario), HasSubstr("load[0].rate")) << rate;
  }

  scenario = Read(kMinimalScenario);
  scenario.mutable_edges(0)->set_protocol(static_cast<Edge::Protocol>(77));
  EXPECT_EQ(Wrong(scenario), "edges[0].protocol is no value that it can have");

  scenario = Read(kMinimalScenario);
  scenario.clear_steady();
  EXPECT_EQ(Wrong(scenario), "steady is missing");
}

}  // namespace
}  // namespace squall
