#include "controller/suite/clash.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "controller/scenario_samples.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A scenario of one service whose port ends with `n`, of two digits.
LoadedScenario Plain(const std::string& n, const std::string& more_arguments = "", const std::string& faults = "") {
  const std::string text = absl::StrReplaceAll(R"(squall: 1
name: plain-NN
services:
  orders: {run: [bin/orders, --port=80NN, --deadline=300ms, --workers=400MORE]}
load:
  checkout: {http: {url: "http://127.0.0.1:80NN/order"}, rate: 50/s}
faults:
FAULTS
assert:
  - recovery: {within: 10s}
)",
                                               {{"NN", n},
                                                {"MORE", more_arguments},
                                                {"FAULTS", faults.empty() ? "  - kill: {restart_after: 1s}" : faults}});
  LoadedScenario loaded = ParseScenario(absl::StrCat("suite/", n, ".yaml"), text, {});
  EXPECT_EQ(FormatMistakes(loaded), "");
  return loaded;
}

std::vector<int> PortsIn(const std::string& service_and_rest) {
  const LoadedScenario loaded = ParseScenario("x.yaml", absl::StrCat("squall: 1\nname: x\n", service_and_rest), {});
  return PortsOf(loaded.scenario);
}

TEST(Clash, IsNotThereBetweenScenariosWithNothingInCommon) {
  EXPECT_EQ(Clash(Plain("11"), Plain("12")), "");
}

TEST(Clash, IsThereOnTheSamePort) {
  EXPECT_EQ(Clash(Plain("11"), Plain("12", ", --admin=8011")), "both use port 8011");
}

TEST(Clash, IsAlwaysThereWithItself) {
  const LoadedScenario one = Plain("11");
  EXPECT_THAT(Clash(one, one), HasSubstr("the same scenario"));
}

TEST(Clash, TellsPortsFromOtherNumbers) {
  EXPECT_THAT(PortsIn(R"(
services:
  a: {run: [bin/8080, --port=8081, --deadline=3000ms, --workers=400, --peer=127.0.0.1:82, -p, "8083", v1.8084, "[::1]:8085"]}
)"),
              ElementsAre(82, 8081, 8083, 8085));
  EXPECT_THAT(PortsIn("services:\n  a: {run: [a], env: {PORT: 80, LIMIT: 81, ADDRESS: \":8082\", MODE: fast9}}\n"),
              ElementsAre(80, 8082));
}

TEST(Clash, SeesThePortsOfEveryPart) {
  EXPECT_THAT(PortsIn(R"(
services:
  a:
    run: [a]
    ready: {http: {url: "http://127.0.0.1:7001/healthz"}}
    metrics: {url: "http://[::1]:7002/metrics"}
    nameserver: "127.0.0.53:53"
    resolver_at: "127.0.0.1:7003"
  b: {run: [b], ready: {tcp: "127.0.0.1:7004"}}
  c: {attach: {listen: 7005}}
  d: {attach: {command: "/usr/bin/d --port=7006"}}
edges:
  e: {from: a, to: "db.example:7007", relay_at: "127.0.0.1:7008"}
  f: {from: a, to: ["*:7010", "[::1]:7011"]}
load:
  l: {http: {url: "http://127.0.0.1:7009?x=9999"}, rate: 1/s}
  m: {http: {url: "http://example.test/"}, rate: 1/s}
)"),
              ElementsAre(80, 7001, 7002, 7003, 7004, 7005, 7006, 7007, 7008, 7009, 7010, 7011));
}

TEST(Clash, IsThereBetweenTwoThatAttachSinceTheyMayMeanTheSame) {
  const auto attached = [](const std::string& name, const std::string& by, int port) {
    return ParseScenario(absl::StrCat(name, ".yaml"),
                         absl::StrReplaceAll(kMinimalScenario, {{"{listen: 8080}", by},
                                                                {"127.0.0.1:9090", absl::StrCat("127.0.0.1:", port + 1)},
                                                                {"127.0.0.1:8080", absl::StrCat("127.0.0.1:", port)}}),
                         {});
  };
  EXPECT_THAT(Clash(attached("a", "{pid: 4711}", 7100), attached("b", "{cgroup: /system.slice/orders.service}", 7200)),
              HasSubstr("both attach"));
  EXPECT_EQ(Clash(attached("a", "{pid: 4711}", 7100), Plain("11")), "");
}

TEST(Clash, IsThereWhereTheWholeHostFeelsAFault) {
  const LoadedScenario busy = Plain("11", "", "  - cpu: {load: 75%}\n    for: 5s");
  EXPECT_EQ(Clash(busy, Plain("12")), "the whole host feels fault cpu of plain-11");
  EXPECT_EQ(Clash(Plain("12"), busy), "the whole host feels fault cpu of plain-11");
  for (const char* fault : {"memory: {leave: 1GiB}", "disk: {path: /srv/data}"}) {
    EXPECT_THAT(Clash(Plain("11", "", absl::StrCat("  - ", fault, "\n    for: 5s")), Plain("12")), HasSubstr("the whole host feels fault"));
  }
  for (const char* fault : {"memory: {limit: 1GiB}", "pids: {}", "fds: {}", "pause: {}"}) {
    EXPECT_EQ(Clash(Plain("11", "", absl::StrCat("  - ", fault, "\n    for: 5s")), Plain("12")), "") << fault;
  }
  const LoadedScenario throttled = Plain("13", "", "  - cpu: {quota: 20%}\n    for: 5s");
  EXPECT_EQ(Clash(throttled, Plain("12")), "");
}

TEST(Clash, IsThereWithTheSameFileButNotInTheRunsOwnFolder) {
  EXPECT_EQ(Clash(Plain("11", ", --config=conf/shop.conf"), Plain("12", ", -c, conf/shop.conf")), "both use conf/shop.conf");
  EXPECT_EQ(Clash(Plain("11", ", -c, \"${scenario.folder}/shop.conf\""), Plain("12", ", -c, suite/shop.conf")),
            "both use suite/shop.conf");
  EXPECT_EQ(Clash(Plain("11", ", \"--data=${run.folder}/data\""), Plain("12", ", \"--data=${run.folder}/data\"")), "");
}

TEST(Clash, IsThereWithTheSameAgent) {
  const auto on_agent = [](LoadedScenario loaded, const std::string& agent) {
    loaded.scenario.mutable_services(0)->set_on(agent);
    return loaded;
  };
  EXPECT_EQ(Clash(on_agent(Plain("11"), "shop-1"), on_agent(Plain("12"), "shop-1")), "both need agent shop-1");
  EXPECT_EQ(Clash(on_agent(Plain("11"), "shop-1"), on_agent(Plain("12"), "shop-2")), "");
}

TEST(FindClashes, AreTheSameBothWays) {
  const Clashes clashes = FindClashes({Plain("11"), Plain("12"), Plain("13", ", --admin=8011")});
  EXPECT_EQ(clashes, (Clashes{{true, false, true}, {false, true, false}, {true, false, true}}));
  EXPECT_THAT(FindClashes({}), IsEmpty());
}

}  // namespace
}  // namespace squall
