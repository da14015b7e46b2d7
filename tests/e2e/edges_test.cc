// Edges whose addresses change, and edges of any address: the fault follows the service and nobody else.
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

// How long a GET takes, -1 s when it fails.
absl::Duration TimeOf(int port, const std::string& path) {
  Process curl({"curl", "--silent", "--fail", "--output", "/dev/null", "--max-time", "5", "--write-out", "%{time_total}",
                absl::StrCat("http://127.0.0.1:", port, path)});
  double seconds = -1;
  if (curl.Wait(absl::Seconds(10)) != 0 || !absl::SimpleAtod(curl.Output(), &seconds)) return absl::Seconds(-1);
  return absl::Seconds(seconds);
}

class EdgesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!IsRoot()) {
      printf("LEFT OUT: edges_test: redirecting the connects of a running service needs root\n");
      GTEST_SKIP();
    }
    setenv("SQUALL_RUNTIME_DIR", checkout_.path().c_str(), 1);
    LeadTo("127.0.0.2");
    names_ = std::make_unique<Process>(std::vector<std::string>{
        "/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=",
        "--listen-address=127.0.0.1", "--bind-interfaces", absl::StrCat("--port=", dns_), absl::StrCat("--addn-hosts=", Zone())});
    StartPeers();
    for (auto& [process, port] : {std::pair{&orders_, port_}, {&bystander_, other_}}) {
      *process = std::make_unique<Process>(std::vector<std::string>{
          checkout_.target("orders"), absl::StrCat("--port=", port), absl::StrCat("--recommend=recommend.test:", peer_),
          absl::StrCat("--nameserver=127.0.0.1:", dns_), "--deadline=4s"});
    }
    ASSERT_TRUE(Eventually(absl::Seconds(10), [&] { return TryConnect(port_) == 0 && TryConnect(other_) == 0 && TryConnect(dns_) == 0; }));
  }

  std::string Zone() const { return checkout_.path() + "/zone"; }
  // The name is there from now on: dnsmasq reads its file anew.
  void LeadTo(const std::string& address) {
    std::ofstream(Zone()) << address << " recommend.test\n";
    if (names_ != nullptr) names_->Signal(SIGHUP);
  }
  void StartPeers() {
    for (const char* host : {"127.0.0.2", "127.0.0.3"}) {
      peers_.push_back(std::make_unique<Process>(std::vector<std::string>{
          checkout_.target("recommend"), absl::StrCat("--host=", host), absl::StrCat("--port=", peer_), "--service-time=1ms"}));
    }
  }
  std::unique_ptr<Process> Inject(const std::vector<std::string>& more) {
    std::vector<std::string> argv = {checkout_.squall(), "inject", "latency", "--delay=400ms", "--for=60s"};
    argv.insert(argv.end(), more.begin(), more.end());
    auto inject = std::make_unique<Process>(argv);
    EXPECT_TRUE(Eventually(absl::Seconds(20), [&] { return absl::StrContains(inject->Output(), "\ninjected: "); })) << inject->Output();
    return inject;
  }
  bool IsSlow() { return TimeOf(port_, "/order") > absl::Milliseconds(395); }
  // A machine that is busy can make one call slow, not five in a row.
  bool IsFast(int port) {
    for (int i = 0; i < 5; ++i) {
      const absl::Duration took = TimeOf(port, "/order");
      if (took >= absl::ZeroDuration() && took < absl::Milliseconds(300)) return true;
    }
    return false;
  }
  static void End(Process& inject) {
    inject.Signal(SIGINT);
    EXPECT_EQ(inject.Wait(absl::Seconds(20)), 130) << inject.Output();
  }

  Checkout checkout_;
  const int port_ = FreePort(), other_ = FreePort(), peer_ = FreePort(), dns_ = FreePort();
  std::unique_ptr<Process> names_, orders_, bystander_;
  std::vector<std::unique_ptr<Process>> peers_;
};

TEST_F(EdgesTest, FaultFollowsTheNameOfItsEdge) {
  const std::string file = checkout_.Write("by-name.yaml", absl::StrCat(
      "squall: 1\nservices:\n  orders: {attach: {listen: ", port_, "}, nameserver: \"127.0.0.1:", dns_,
      "\"}\nedges:\n  recommend: {to: \"recommend.test:", peer_, "\"}\n"));
  const auto inject = Inject({absl::StrCat("--scenario=", file)});
  EXPECT_TRUE(IsSlow()) << inject->Output();
  EXPECT_TRUE(IsFast(other_)) << "the bystander is untouched";
  LeadTo("127.0.0.3");
  absl::SleepFor(absl::Seconds(2.5));  // within a second or so it is looked up again
  peers_[0]->Signal(SIGKILL);          // whose connection orders keeps
  peers_[0]->Wait(absl::Seconds(5));
  EXPECT_TRUE(Eventually(absl::Seconds(5), [&] { return TimeOf(port_, "/order") >= absl::ZeroDuration(); }));
  EXPECT_TRUE(IsSlow()) << inject->Output();
  EXPECT_TRUE(IsFast(other_)) << "the bystander is untouched";
  End(*inject);
  EXPECT_TRUE(IsFast(port_));
}

TEST_F(EdgesTest, FaultIsWhereverThePortIs) {
  const auto inject = Inject({absl::StrCat("--listen=", port_), absl::StrCat("--to=*:", peer_)});
  EXPECT_TRUE(IsSlow()) << inject->Output();
  LeadTo("127.0.0.3");
  peers_[0]->Signal(SIGKILL);
  peers_[0]->Wait(absl::Seconds(5));
  EXPECT_TRUE(Eventually(absl::Seconds(5), [&] { return TimeOf(port_, "/order") >= absl::ZeroDuration(); }));
  EXPECT_TRUE(IsSlow()) << "another address, never seen before";
  EXPECT_TRUE(IsFast(other_)) << "the bystander is untouched";
  End(*inject);
  EXPECT_TRUE(IsFast(port_));
}

TEST_F(EdgesTest, NameThatNobodyKnowsIsAnErrorThatNamesEdgeAndName) {
  Process inject({checkout_.squall(), "inject", "latency", "--delay=400ms", "--for=60s", "--scenario",
                  checkout_.Write("unknown.yaml", absl::StrCat("squall: 1\nservices:\n  orders: {attach: {listen: ", port_,
                                                               "}, nameserver: \"127.0.0.1:", dns_,
                                                               "\"}\nedges:\n  db: {to: \"nobody.test:5432\"}\n"))});
  EXPECT_EQ(inject.Wait(absl::Seconds(20)), 3) << inject.Output();
  EXPECT_TRUE(absl::StrContains(inject.Output(), "edge db: cannot look up nobody.test as orders does: ")) << inject.Output();
}

TEST(Scenarios, OfAnEdgeByNameWhoseServerTheRunStartsPasses) {
  if (!IsRoot()) {
    printf("LEFT OUT: edges_test: redirecting connects needs root\n");
    GTEST_SKIP();
  }
  const std::vector<std::string> before = Residue();
  {
    Checkout checkout;
    std::vector<std::string> args = {checkout.path() + "/scenarios/network/edge-by-name.yaml"};
    for (const char* name : {"port", "peer_port", "dns_port"}) args.push_back(absl::StrCat("--var=", name, "=", FreePort()));
    const JudgedRun run = RunToVerdict(checkout, args, 0);
    EXPECT_EQ(run.exit_code, 0) << run.output;
  }
  EXPECT_EQ(ResidueSince(before), std::vector<std::string>());
}

}  // namespace
}  // namespace squall
