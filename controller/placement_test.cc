#include "controller/placement.h"

#include "controller/scenario.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

constexpr char kTwoHosts[] = R"(squall: 1
name: two-hosts
agents:
  shop-1: {address: "10.0.0.1:7447"}
  shop-2: {address: "10.0.0.2:7447"}
  idle: {address: "10.0.0.3:7447"}
services:
  orders: {on: shop-1, attach: {listen: 8080}}
  recommend: {on: shop-2, run: [recommend, --port=9090]}
edges:
  recommend: {from: orders, to: "10.0.0.2:9090"}
  stock: {from: recommend, to: "10.0.0.4:9090"}
load:
  checkout: {on: shop-2, http: {url: "http://10.0.0.1:8080/order"}, rate: 200/s}
faults:
  - {name: slow, latency: {edge: recommend, delay: 500ms}, for: 10s}
  - {name: gone, kill: {service: recommend}, at: 20s}
  - {name: rush, surge: {times: 2}, at: 25s, for: 5s}
assert:
  - timeout: {fault: slow, deadline: 300ms}
)";

Scenario TwoHosts() {
  const LoadedScenario loaded = ParseScenario("s.yaml", kTwoHosts, {});
  EXPECT_EQ(FormatMistakes(loaded), "");
  return loaded.scenario;
}

TEST(Placement, EdgesAreWhereTheirServiceIsAndFaultsWhereWhatTheyBreakIs) {
  const Scenario scenario = TwoHosts();
  EXPECT_EQ(AgentOfEdge(scenario, "recommend"), "shop-1");
  EXPECT_EQ(AgentOfEdge(scenario, "stock"), "shop-2");
  EXPECT_EQ(AgentOfFault(scenario, "slow"), "shop-1");
  EXPECT_EQ(AgentOfFault(scenario, "gone"), "shop-2");
  EXPECT_EQ(AgentOfFault(scenario, "rush"), "shop-2");
}

TEST(Placement, AgentWithNothingOnItIsNotInUse) {
  EXPECT_EQ(AgentsInUse(TwoHosts()), (std::vector<std::string>{"shop-1", "shop-2"}));
}

TEST(Placement, PartOfAnAgentHoldsWhatIsOnItAndNothingElse) {
  const Scenario scenario = TwoHosts();
  const Scenario first = PartOf(scenario, "shop-1"), second = PartOf(scenario, "shop-2");
  ASSERT_EQ(first.services_size(), 1);
  EXPECT_EQ(first.services(0).name(), "orders");
  ASSERT_EQ(first.edges_size(), 1);
  EXPECT_EQ(first.edges(0).name(), "recommend");
  ASSERT_EQ(first.faults_size(), 1);
  EXPECT_EQ(first.faults(0).name(), "slow");
  EXPECT_EQ(first.load_size(), 0);
  ASSERT_EQ(second.services_size(), 1);
  EXPECT_EQ(second.services(0).name(), "recommend");
  EXPECT_EQ(second.edges(0).name(), "stock");
  ASSERT_EQ(second.faults_size(), 2);
  EXPECT_EQ(second.faults(0).name(), "gone");
  EXPECT_EQ(second.faults(1).name(), "rush");
  EXPECT_EQ(second.load_size(), 1);
}

TEST(Placement, WithoutAgentsEverythingIsOnTheOnlyOne) {
  Scenario scenario = TwoHosts();
  scenario.clear_agents();
  for (Service& service : *scenario.mutable_services()) service.clear_on();
  for (Load& load : *scenario.mutable_load()) load.clear_on();
  EXPECT_EQ(AgentsInUse(scenario), std::vector<std::string>{""});
  EXPECT_EQ(PartOf(scenario, "").SerializeAsString(), scenario.SerializeAsString());
}

// agents.yaml lists more agents than a scenario uses.
TEST(KnownAgents, AreTakenWhenTheyAreNamedAndTheOnlyOneStandsForWhatSaysNothing) {
  AgentsFile known;
  for (const char* name : {"shop-1", "shop-2"}) {
    known.add_agents()->set_name(name);
    known.mutable_agents(known.agents_size() - 1)->set_address(std::string(name) + ":7447");
  }
  const std::string text = R"(squall: 1
name: known
services:
  orders: {ONattach: {listen: 8080}}
edges:
  recommend: {to: "127.0.0.1:9090"}
load:
  checkout: {http: {url: "http://127.0.0.1:8080/order"}, rate: 200/s}
faults:
  - {latency: {delay: 500ms}, for: 10s}
assert:
  - timeout: {deadline: 300ms}
)";
  std::string on = text, here = text;
  on.replace(on.find("ON"), 2, "on: shop-2, ");
  here.replace(here.find("ON"), 2, "");
  const LoadedScenario placed = ParseScenario("s.yaml", on, {}, known);
  EXPECT_EQ(FormatMistakes(placed), "");
  ASSERT_EQ(placed.scenario.agents_size(), 1);
  EXPECT_EQ(placed.scenario.agents(0).address(), "shop-2:7447");
  EXPECT_EQ(placed.scenario.load(0).on(), "shop-2");
  const LoadedScenario local = ParseScenario("s.yaml", here, {}, known);
  EXPECT_EQ(local.scenario.agents_size(), 0) << "the file beside it does not move a scenario to another host";
  EXPECT_EQ(local.scenario.services(0).on(), "");
}

}  // namespace
}  // namespace squall
