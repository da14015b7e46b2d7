// Where a target may live: another network namespace, another user's account, beside a bystander.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

// Runs a command of the host's to its end.
int Do(const std::vector<std::string>& argv) {
  Process process(argv);
  const int code = process.Wait(absl::Seconds(10));
  EXPECT_EQ(code, 0) << argv[0] << " " << argv[1] << ": " << process.Output();
  return code;
}

// A network namespace joined to the host's by a veth pair: 10.231.7.1 here, 10.231.7.2 there.
class Host {
 public:
  Host() {
    Do({"ip", "netns", "add", "squall-e2e"});
    Do({"ip", "link", "add", "sqe2e0", "type", "veth", "peer", "name", "sqe2e1", "netns", "squall-e2e"});
    Do({"ip", "address", "add", "10.231.7.1/30", "dev", "sqe2e0"});
    Do({"ip", "link", "set", "sqe2e0", "up"});
    Do({"ip", "-n", "squall-e2e", "address", "add", "10.231.7.2/30", "dev", "sqe2e1"});
    Do({"ip", "-n", "squall-e2e", "link", "set", "sqe2e1", "up"});
    Do({"ip", "-n", "squall-e2e", "link", "set", "lo", "up"});
  }
  ~Host() { Do({"ip", "netns", "delete", "squall-e2e"}); }
};

class PlacesTest : public ::testing::Test {
 protected:
  Checkout checkout_;
  const std::vector<std::string> before_ = Residue();
};

TEST_F(PlacesTest, TargetInANetworkNamespaceOfItsOwn) {
  if (!IsRoot()) {
    printf("LEFT OUT: places_test: network namespaces need root\n");
    GTEST_SKIP();
  }
  const Host host;
  // Both services live inside and talk over the loopback there; the load comes from outside.
  const std::string path = checkout_.Write("netns.yaml", R"(squall: 1
name: netns
services:
  recommend:
    run: [ip, netns, exec, squall-e2e, "../../bazel-bin/tests/target/recommend", --port=9090, --service-time=5ms]
  orders:
    run: [ip, netns, exec, squall-e2e, "../../bazel-bin/tests/target/orders", --host=0.0.0.0, --port=8080,
          "--recommend=127.0.0.1:9090", --deadline=300ms]
    ready: {http: {url: "http://127.0.0.1:8080/healthz"}}
edges:
  recommend: {from: orders, to: "127.0.0.1:9090"}
load:
  checkout:
    http: {url: "http://10.231.7.2:8080/order"}
    rate: 100/s
    degraded_when: {headers: {x-fallback: "true"}}
faults:
  - latency: {edge: recommend, delay: 500ms}
    for: 5s
assert:
  - timeout: {deadline: 300ms}
  - recovery: {within: 8s, latency_slack: 20ms}
)");
  const JudgedRun run = RunToVerdict(checkout_, {path}, 0);
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_EQ(VerdictOf(run.folder, "timeout"), "PASS") << "the fault reached the edge inside the namespace";
  EXPECT_EQ(ResidueSince(before_), std::vector<std::string>());
}

TEST_F(PlacesTest, OrdinaryUserWithRelayAt) {
  const JudgedRun run = RunToVerdict(checkout_,
                                     {checkout_.path() + "/scenarios/demo/unprivileged/recommend.yaml",
                                      absl::StrCat("--var=port=", FreePort()), absl::StrCat("--var=peer_port=", FreePort()),
                                      absl::StrCat("--var=relay_port=", FreePort())},
                                     0, /*as_ordinary_user=*/true);
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_EQ(ResidueSince(before_), std::vector<std::string>());
}

TEST_F(PlacesTest, WithoutRootRedirectionIsRefusedBeforeAnythingIsTouchedAndTheWayOutIsNamed) {
  const JudgedRun run = RunToVerdict(checkout_,
                                     {checkout_.path() + "/scenarios/demo/recommend.yaml",
                                      absl::StrCat("--var=port=", FreePort()), absl::StrCat("--var=peer_port=", FreePort())},
                                     3, /*as_ordinary_user=*/true);
  EXPECT_EQ(run.exit_code, 3) << run.output;
  EXPECT_TRUE(absl::StrContains(ReadFile(run.folder + "/verdicts.json"),
                                "redirecting connects needs root; without, write relay_at"))
      << run.output;
  EXPECT_EQ(ResidueSince(before_), std::vector<std::string>());
}

// A second orders beside the target, of the same program and on the same peer, must feel neither fault.
TEST_F(PlacesTest, BystanderFeelsNeitherFault) {
  if (!IsRoot()) {
    printf("LEFT OUT: places_test: redirecting connects needs root\n");
    GTEST_SKIP();
  }
  const int peer = FreePort(), port = FreePort(), spare = FreePort(), other = FreePort();
  Process recommend({checkout_.target("recommend"), absl::StrCat("--port=", peer), "--service-time=5ms"});
  Process bystander({checkout_.target("orders"), absl::StrCat("--port=", other),
                     absl::StrCat("--recommend=127.0.0.1:", peer), "--deadline=300ms"});
  ASSERT_TRUE(Eventually(absl::Seconds(10), [&] { return TryConnect(other) == 0 && TryConnect(peer) == 0; }));
  // The bystander gets the same load, as a load of the same run: each answer of it must be as before. The killed service
  // is a spare of the same program.
  const std::string path = checkout_.Write(
      "bystander.yaml", absl::StrReplaceAll(R"(squall: 1
name: bystander
services:
  orders:
    run: ["../../bazel-bin/tests/target/orders", --port=PORT, "--recommend=127.0.0.1:PEER", --deadline=300ms]
    ready: {http: {url: "http://127.0.0.1:PORT/healthz"}}
  spare:
    run: ["../../bazel-bin/tests/target/orders", --port=SPARE, "--recommend=127.0.0.1:PEER", --deadline=300ms]
edges:
  recommend: {from: orders, to: "127.0.0.1:PEER"}
load:
  target:
    http: {url: "http://127.0.0.1:PORT/order"}
    rate: 60/s
    degraded_when: {headers: {x-fallback: "true"}}
  bystander:
    http: {url: "http://127.0.0.1:OTHER/order"}
    rate: 60/s
    degraded_when: {headers: {x-fallback: "true"}}
faults:
  - name: slow
    latency: {edge: recommend, delay: 500ms}
    for: 5s
  - name: gone
    kill: {service: spare}
    at: 2s
assert:
  - name: felt
    timeout: {load: target, fault: slow, deadline: 300ms}
  - name: not-felt
    timeout: {load: bystander, fault: slow, deadline: 300ms}
)",
                                            {{"PORT", absl::StrCat(port)},
                                             {"PEER", absl::StrCat(peer)},
                                             {"SPARE", absl::StrCat(spare)},
                                             {"OTHER", absl::StrCat(other)}}));
  Process run(checkout_.Run({path}));
  // No request of the bystander ran into the deadline, so there is nothing to judge: just what is wanted here.
  EXPECT_EQ(run.Wait(absl::Seconds(120)), 2) << run.Output();
  EXPECT_EQ(VerdictOf(checkout_.OnlyRun(), "felt"), "PASS") << run.Output();
  EXPECT_EQ(VerdictOf(checkout_.OnlyRun(), "not-felt"), "INCONCLUSIVE") << run.Output();
  EXPECT_EQ(TryConnect(other), 0) << "and it still lives";
  for (Process* process : {&recommend, &bystander}) {
    process->Signal(SIGTERM);
    EXPECT_EQ(process->Wait(absl::Seconds(10)), 0);
  }
  EXPECT_EQ(ResidueSince(before_), std::vector<std::string>());
}

}  // namespace
}  // namespace squall
