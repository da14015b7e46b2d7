// Targets on what nobody here wrote: nginx as a proxy, redigo's connection pool on redis, and opossum from npm. Sound, and with
// some settings weakened: then only the assertions about those settings fail.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/target_cases.h"

namespace squall {
namespace {

constexpr char kCart[] = "tests/target/go/cart";
constexpr char kNode[] = "tests/target/node";

std::vector<TargetCase> NginxCases() {
  const std::string quit = "/scenarios/targets/nginx-quit";
  const std::string conns = "/scenarios/targets/nginx-max-conns";
  const std::string next = "/scenarios/targets/nginx-next-upstream";
  return {
      {"NextUpstream", next, {}, "", "", 0, {{"tries-twice", "PASS"}, {"repeats-no-write", "PASS"}}},
      {"NextUpstreamWithoutLimit", next, {"port=23651"}, "2355", "2365", 1,
       {{"tries-twice", "FAIL"}, {"repeats-no-write", "FAIL"}}},
      {"MaxConns", conns, {}, "", "", 0, {{"bulkhead", "PASS"}, {"gives-up", "PASS"}}},
      {"MaxConnsOff", conns, {"port=23661"}, "2356", "2366", 1, {{"bulkhead", "FAIL"}, {"gives-up", "PASS"}}},
      {"Quit", quit, {}, "", "", 0, {{"graceful_shutdown", "PASS"}}},
      {"FastShutdown", quit, {"signal=SIGTERM"}, "2357", "2367", 1, {{"graceful_shutdown", "FAIL"}}},
  };
}

std::vector<TargetCase> RedisCases() {
  const std::string pool = "/scenarios/targets/redis-pool";
  const std::string client = "/scenarios/targets/redis-client";
  const auto pool_verdicts = [](const char* no_more, const char* in_time, const char* keeps, const char* recovers) {
    return Verdicts{{"bulkhead", no_more},
                    {"tells-of-no-more", no_more},
                    {"answers-in-time", in_time}, {"keeps-no-more", keeps}, {"recovers", recovers}};
  };
  return {
      {"Pool", pool, {}, "", "", 0, pool_verdicts("PASS", "PASS", "PASS", "PASS")},
      {"PoolWithoutLimit", pool, {"max_active=0", "port=23620", "redis_port=23621"}, "", "", 1,
       // Nobody waits for a connection, so that nobody waits for as long as may be.
       pool_verdicts("FAIL", "INCONCLUSIVE", "PASS", "PASS")},
      {"PoolThatIsGivenNothingBack", pool, {"give_back=false", "port=23622", "redis_port=23623"}, "", "", 1,
       // redigo itself closes a connection that failed: only its place in the pool is lost.
       pool_verdicts("PASS", "INCONCLUSIVE", "PASS", "FAIL")},
      {"Client", client, {}, "", "", 0, {{"answers-in-time", "PASS"}, {"recovers-from-death", "PASS"}}},
      {"ClientWithoutTimeout", client, {"read_timeout=0s", "port=23630", "redis_port=23631"}, "", "", 1,
       {{"answers-in-time", "FAIL"}, {"recovers-from-death", "PASS"}}},
  };
}

// What opossum's scenario says of a sound checkout, but for `others`.
Verdicts OpossumVerdicts(const Verdicts& others) {
  Verdicts verdicts = others;
  for (const char* assertion : {"answers-in-time", "gives-up", "leaves-the-slow-alone", "falls-back", "tells-that-it-opens",
                                "tells-no-closing", "tells-that-it-closes", "counts-rejects", "stays-ready", "recovers"}) {
    verdicts.emplace(assertion, "PASS");
  }
  return verdicts;
}

std::vector<TargetCase> OpossumCases() {
  const std::string breaker = "/scenarios/targets/opossum";
  return {
      {"Opossum", breaker, {}, "", "", 0, OpossumVerdicts({})},
      {"OpenForAMinuteAndUnready", breaker, {"reset_timeout=60000", "unready=true", "port=23600", "peer_port=23601"}, "", "", 1,
       OpossumVerdicts({{"leaves-the-slow-alone", "FAIL"},
                        {"tells-that-it-closes", "FAIL"},
                        {"stays-ready", "FAIL"},
                        {"recovers", "FAIL"}})},
      {"NoFallbackAndNothingGivenUp", breaker, {"fallback=false", "cancel=false", "port=23602", "peer_port=23603"}, "", "", 1,
       // Calls that go on until they are answered do not fail at the edge.
       OpossumVerdicts({{"gives-up", "FAIL"}, {"falls-back", "FAIL"}, {"leaves-the-slow-alone", "INCONCLUSIVE"}})},
  };
}

std::vector<TargetCase> CapacityCases() {
  const std::string capacity = "/scenarios/targets/opossum-capacity";
  return {
      {"Capacity", capacity, {}, "", "", 0, {{"bulkhead", "PASS"}, {"counts-what-it-turned-away", "PASS"}}},
      {"CapacityOfAThousand", capacity, {"capacity=1000", "port=23610", "peer_port=23611"}, "", "", 1,
       {{"bulkhead", "FAIL"}, {"counts-what-it-turned-away", "FAIL"}}},
  };
}

bool HasOpossum() {
  if (!HasProgram("/usr/bin/node", "nodejs")) return false;
  const char* sources = getenv("TEST_SRCDIR");
  const std::string root = sources == nullptr ? "." : absl::StrCat(sources, "/squall");
  if (std::filesystem::exists(absl::StrCat(root, "/", kNode, "/node_modules/opossum"))) return true;
  printf("LEFT OUT: targets: opossum is missing; run bazel/setup\n");
  return false;
}

TEST(Libraries, AreJudgedByWhatTheirDocumentsPromise) {
  if (!CanRedirect()) GTEST_SKIP();
  std::vector<TargetCase> cases;
  const auto add = [&](const std::vector<TargetCase>& more) { cases.insert(cases.end(), more.begin(), more.end()); };
  const bool opossum = HasOpossum();
  // The longest first.
  if (opossum) add(OpossumCases());
  if (HasProgram("/usr/bin/redis-server", "redis-server")) add(RedisCases());
  if (HasProgram("/usr/sbin/nginx", "nginx-light")) add(NginxCases());
  if (opossum) add(CapacityCases());
  // Most of a run is waiting, and none of these works hard.
  RunTargets(cases, 8, {kCart}, {kNode});
}

TEST(Libraries, HaveNoScenarioThatIsNeverRun) {
  std::set<std::string> run;
  for (const auto& cases : {NginxCases(), RedisCases(), OpossumCases(), CapacityCases()}) {
    for (const TargetCase& test : cases) run.insert(test.scenario);
  }
  std::set<std::string> found;
  const Checkout checkout;
  for (const auto& entry : std::filesystem::directory_iterator(checkout.path() + "/scenarios/targets")) {
    const std::string name = entry.path().stem();
    // go-*: targets_test.
    if (entry.path().extension() == ".yaml" && !absl::StartsWith(name, "go-")) found.insert("/scenarios/targets/" + name);
  }
  EXPECT_EQ(found, run);
}

}  // namespace
}  // namespace squall
