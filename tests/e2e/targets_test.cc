// Targets on what nobody here wrote: a Go service on golang.org/x/time/rate and eapache/go-resiliency, and nginx's
// max_fails. Sound, and with one setting weakened: then only the assertion about that setting fails.
#include <gtest/gtest.h>
#include <httplib.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/target_cases.h"

namespace squall {
namespace {

constexpr char kStorefront[] = "tests/target/go/storefront";

std::vector<TargetCase> GoCases() {
  const std::string scenario = "/scenarios/targets/go-latency-kill";
  const auto verdicts = [](const char* in_time, const char* slow, const char* dead) {
    return Verdicts{{"answers-in-time", in_time},
                    {"leaves-the-slow-alone", slow},
                    {"leaves-the-dead-alone", dead},
                    {"recovers-from-slowness", "PASS"},
                    {"recovers-from-death", "PASS"}};
  };
  return {
      {"Sound", scenario, {}, "", "", 0, verdicts("PASS", "PASS", "PASS")},
      // Calls that are waited for however long they take do not fail: the breaker has nothing to do.
      {"NoDeadline", scenario, {"deadline=0s", "port=23340", "peer_port=23341"}, "", "", 1,
       verdicts("FAIL", "INCONCLUSIVE", "PASS")},
      {"NoBreaker", scenario, {"failures=0", "port=23350", "peer_port=23351"}, "", "", 1,
       verdicts("PASS", "FAIL", "FAIL")},
  };
}

std::vector<TargetCase> NginxCases() {
  const std::string scenario = "/scenarios/nginx/max-fails";
  const auto verdicts = [](const char* taken_out) {
    return Verdicts{{"takes-the-slow-out", taken_out},
                    {"takes-the-dead-out", taken_out},
                    {"after-slowness", "PASS"},
                    {"after-death", "PASS"}};
  };
  return {
      {"MaxFails", scenario, {}, "", "", 0, verdicts("PASS")},
      {"MaxFailsOff", scenario, {"port=23391"}, "2338", "2339", 1, verdicts("FAIL")},
  };
}

std::vector<TargetCase> CpuCases() {
  const std::string scenario = "/scenarios/targets/go-cpu";
  return {
      {"Starved", scenario, {}, "", "", 0, {{"recovery", "PASS"}}},
      {"StarvedAndOpenForAMinute", scenario, {"open_time=60s", "port=23360", "peer_port=23361"}, "", "", 1,
       {{"recovery", "FAIL"}}},
  };
}

std::vector<TargetCase> DnsCases() {
  const std::string scenario = "/scenarios/targets/go-dns";
  const auto ports = [](int first) {
    return std::vector<std::string>{absl::StrCat("port=", first), absl::StrCat("peer_port=", first + 1),
                                    absl::StrCat("dns_port=", first + 2)};
  };
  std::vector<std::string> no_deadline = ports(23400);
  no_deadline.push_back("deadline=0s");
  std::vector<std::string> open_for_a_minute = ports(23410);
  open_for_a_minute.push_back("open_time=60s");
  return {
      {"NoNames", scenario, {}, "", "", 0,
       {{"answers-in-time", "PASS"}, {"recovers-from-silence", "PASS"}, {"recovers-from-nxdomain", "PASS"}}},
      {"NoNamesAndNoDeadline", scenario, no_deadline, "", "", 1,
       {{"answers-in-time", "FAIL"}, {"recovers-from-silence", "PASS"}, {"recovers-from-nxdomain", "PASS"}}},
      // The breaker is still open when the second fault comes, which is not judged.
      {"NoNamesAndOpenForAMinute", scenario, open_for_a_minute, "", "", 1,
       {{"answers-in-time", "PASS"}, {"recovers-from-silence", "FAIL"}}},
  };
}

std::vector<TargetCase> RateLimitCases() {
  const std::string scenario = "/scenarios/targets/go-rate-limit";
  return {
      {"Limited", scenario, {}, "", "", 0, {{"rate_limiter", "PASS"}}},
      {"LimitDoubled", scenario, {"limit=200", "port=23370"}, "", "", 1, {{"rate_limiter", "FAIL"}}},
  };
}

TEST(Targets, AreJudgedByWhatTheirSettingsPromise) {
  if (!CanRedirect()) GTEST_SKIP();
  std::vector<TargetCase> cases = GoCases();
  const auto add = [&](const std::vector<TargetCase>& more) { cases.insert(cases.end(), more.begin(), more.end()); };
  if (HasProgram("/usr/sbin/dnsmasq", "dnsmasq-base")) add(DnsCases());
  if (HasProgram("/usr/sbin/nginx", "nginx-light")) add(NginxCases());
  add(CpuCases());
  add(RateLimitCases());
  // Most of a run is waiting.
  RunTargets(cases, 8, {kStorefront});
}

// The Go service with what it calls, on ports of its own.
class Storefront : public ::testing::Test {
 protected:
  // Waits until it listens.
  void Start(std::vector<std::string> flags) {
    port_ = FreePort();
    flags.insert(flags.begin(), {checkout_.path() + "/bazel-bin/" + kStorefront, absl::StrCat("--port=", port_)});
    services_.push_back(std::make_unique<Process>(flags));
    ASSERT_TRUE(Eventually(absl::Seconds(20), [this] { return TryConnect(port_) == 0; })) << services_.back()->Output();
  }

  int StartRecommend() {
    const int port = FreePort();
    services_.push_back(std::make_unique<Process>(
        std::vector<std::string>{checkout_.target("recommend"), absl::StrCat("--port=", port), "--service-time=1ms"}));
    EXPECT_TRUE(Eventually(absl::Seconds(20), [port] { return TryConnect(port) == 0; }));
    return port;
  }

  httplib::Result Get(const std::string& path) const {
    httplib::Client client("127.0.0.1", port_);
    client.set_read_timeout(20);
    return client.Get(path);
  }

  Checkout checkout_{{kStorefront}};
  int port_ = 0;
  std::vector<std::unique_ptr<Process>> services_;
};

TEST_F(Storefront, FindsItsDependencyThroughTheNameserverThatItIsTold) {
  if (!HasProgram("/usr/sbin/dnsmasq", "dnsmasq-base")) GTEST_SKIP();
  const int dns = FreePort();
  services_.push_back(std::make_unique<Process>(std::vector<std::string>{
      "/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=", "--no-resolv",
      "--no-hosts", absl::StrCat("--port=", dns), "--listen-address=127.0.0.1", "--bind-interfaces",
      "--host-record=recommend.test,127.0.0.1"}));
  ASSERT_TRUE(Eventually(absl::Seconds(20), [dns] { return TryConnect(dns) == 0; })) << services_.back()->Output();
  Start({absl::StrCat("--dependency=recommend.test:", StartRecommend()), absl::StrCat("--nameserver=127.0.0.1:", dns)});
  const httplib::Result answer = Get("/order");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_FALSE(answer->has_header("x-fallback"));
  EXPECT_TRUE(absl::StrContains(answer->body, "[7,11,13]")) << answer->body;
}

// A socket that never answers.
int BindSilent(int* port) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0) return -1;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  *port = ntohs(address.sin_port);
  return fd;
}

TEST_F(Storefront, KeepsItsDeadlineWhenTheNameserverIsSilent) {
  int silent = 0;
  const int fd = BindSilent(&silent);
  ASSERT_GE(fd, 0);
  Start({"--dependency=recommend.test:1", absl::StrCat("--nameserver=127.0.0.1:", silent), "--deadline=200ms"});
  const absl::Time start = NowTime();
  const httplib::Result answer = Get("/order");
  const absl::Duration took = NowTime() - start;
  close(fd);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->get_header_value("x-fallback"), "true");
  EXPECT_GE(took, absl::Milliseconds(190));
  // Go's resolver alone would wait for 5 s, twice.
  EXPECT_LT(took, absl::Seconds(4));
}

TEST_F(Storefront, OpensItsBreakerAfterTheFailuresThatItIsTold) {
  // Told to wait for a dependency that accepts and says nothing.
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(fd, 16), 0);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  Start({absl::StrCat("--dependency=127.0.0.1:", ntohs(address.sin_port)), "--deadline=300ms", "--breaker-failures=2",
         "--breaker-open-time=60s"});
  for (const bool waits : {true, true, false}) {
    const absl::Time start = NowTime();
    const httplib::Result answer = Get("/order");
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->get_header_value("x-fallback"), "true");
    EXPECT_EQ(NowTime() - start >= absl::Milliseconds(290), waits);
  }
  close(fd);
}

TEST_F(Storefront, AdmitsABurstOfSearchesAndTellsTheRestWhenToComeBack) {
  Start({"--dependency=127.0.0.1:1", "--limit=0.25", "--burst=3"});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Get("/search")->status, 200);
  const httplib::Result rejected = Get("/search");
  EXPECT_EQ(rejected->status, 429);
  EXPECT_EQ(rejected->get_header_value("Retry-After"), "4");
}

TEST_F(Storefront, RefusesFlagsThatMakeNoSense) {
  for (const char* flag : {"--port=0", "--dependency=nowhere", "--deadline=-1s", "--no-such-flag", "order"}) {
    Process process({checkout_.path() + "/bazel-bin/" + kStorefront, "--port=1", "--dependency=127.0.0.1:1", flag});
    EXPECT_GT(process.Wait(absl::Seconds(20)), 0) << flag;
    EXPECT_LT(process.Wait(absl::Seconds(20)), 126) << flag;
  }
}

}  // namespace
}  // namespace squall
