#include "controller/report/scenario_text.h"

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

std::string TextOf(const std::string& proto) {
  Scenario scenario;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(proto, &scenario));
  return ScenarioText(scenario);
}

TEST(ScenarioText, NestsNamedThingsUnderTheirNames) {
  EXPECT_EQ(TextOf(R"pb(services {
                          name: "orders"
                          run: "bin/orders"
                          run: "--port=8080"
                          env { key: "B" value: "2" }
                          env { key: "A" value: "x y" }
                          ready { tcp: "127.0.0.1:8080" }
                        })pb"),
            "services:\n"
            "  orders:\n"
            "    run: [bin/orders, \"--port=8080\"]\n"
            "    env:\n"
            "      A: x y\n"
            "      B: \"2\"\n"
            "    ready:\n"
            "      tcp: \"127.0.0.1:8080\"\n");
}

TEST(ScenarioText, ListsFaultsAndAssertionsUnderTheirNamesInYaml) {
  EXPECT_EQ(
      TextOf(
          "faults { name: 'slow' for { seconds: 10 } latency { edge: 'recommend' direction: DIRECTION_BOTH "
          "delay { nanos: 250000000 } } } "
          "assertions { timeout { deadline { seconds: 1 nanos: 500000000 } } }"),
      "faults:\n"
      "  - name: slow\n"
      "    latency:\n"
      "      edge: recommend\n"
      "      delay: 250ms\n"
      "      direction: both\n"
      "    for: 10s\n"
      "assert:\n"
      "  - timeout:\n"
      "      deadline: 1.5s\n");
}

TEST(ScenarioText, WritesRatesAndPercentWithTheirUnits) {
  EXPECT_EQ(TextOf(R"pb(load {
                          name: "checkout"
                          rate: 200
                          rejected_when { status: 429 status: 503 }
                        }
                        steady { errors: 0.5 })pb"),
            "load:\n"
            "  checkout:\n"
            "    rate: 200/s\n"
            "    rejected_when:\n"
            "      status: [429, 503]\n"
            "steady:\n"
            "  errors: 0.5%\n");
}

TEST(ScenarioText, QuotesWhatYamlWouldReadAsSomethingElse) {
  EXPECT_EQ(TextOf(R"pb(name: "true" description: "a: \"b\" \\ c\nd" tags: "" tags: "-" tags: "8080")pb"),
            "name: \"true\"\n"
            "description: \"a: \\\"b\\\" \\\\ c\\nd\"\n"
            "tags: [\"\", \"-\", \"8080\"]\n");
}

TEST(ScenarioText, ShowsAMessageThatIsThereWithoutFields) {
  EXPECT_EQ(TextOf("steady {}"), "steady: {}\n");
  EXPECT_EQ(TextOf(""), "");
}

TEST(ScenarioText, NeverHasASecretToShow) {
  EXPECT_EQ(TextOf(R"pb(load {
                          name: "a"
                          http { headers { key: "authorization" value: "${secret.TOKEN}" } }
                        })pb"),
            "load:\n  a:\n    http:\n      headers:\n        authorization: \"${secret.TOKEN}\"\n");
}

}  // namespace
}  // namespace squall
