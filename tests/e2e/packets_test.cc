// Packets of a service that squall did not start: its connections from before the run fall silent as well, and those of a
// bystander, which calls the same peer from the same cgroup, do not. Datagrams of an edge get lost without a relay.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/e2e/harness.h"

namespace squall {
namespace {

// The answer to GET /order; empty without one.
std::string Order(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  const std::string request = "GET /order HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n";
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0 &&
      write(fd, request.data(), request.size()) == static_cast<ssize_t>(request.size())) {
    char part[4096];
    for (ssize_t size = read(fd, part, sizeof(part)); size > 0; size = read(fd, part, sizeof(part))) {
      answer.append(part, static_cast<size_t>(size));
    }
  }
  close(fd);
  return answer;
}

bool IsFresh(const std::string& answer) {
  return absl::StrContains(answer, " 200 ") && !absl::StrContains(answer, "x-fallback");
}

constexpr char kAttached[] = R"(squall: 1
name: attached
services:
  orders: {attach: {listen: ORDERS}}
edges:
  recommend: {from: orders, to: "127.0.0.1:PEER"}
load:
  checkout: {http: {url: "http://127.0.0.1:ORDERS/order"}, rate: 50/s, degraded_when: {headers: {x-fallback: "true"}}}
faults:
  - FAULT
    for: 3s
assert:
  - timeout: {deadline: 300ms}
  - recovery: {within: 8s, latency_slack: 20ms}
)";

TEST(Packets, LiveConnectionsOfAnAttachedServiceFallSilentAndThoseOfABystanderDoNot) {
  if (!IsRoot()) {
    printf("LEFT OUT: packets_test: dropping packets needs root\n");
    GTEST_SKIP();
  }
  const std::vector<std::string> before = Residue();
  {
    Checkout checkout;
    const int peer = FreePort(), port = FreePort(), other = FreePort();
    const auto orders = [&](int at) {
      return std::vector<std::string>{checkout.target("orders"), absl::StrCat("--port=", at), absl::StrCat("--recommend=127.0.0.1:", peer),
                                      "--deadline=300ms"};
    };
    Process recommend({checkout.target("recommend"), absl::StrCat("--port=", peer), "--service-time=12ms"});
    Process service(orders(port)), bystander(orders(other));
    for (const int each : {port, other}) {
      ASSERT_TRUE(Eventually(absl::Seconds(20), [&] { return IsFresh(Order(each)); })) << each;
    }
    const std::string text = absl::StrReplaceAll(
        kAttached, {{"ORDERS", absl::StrCat(port)}, {"PEER", absl::StrCat(peer)}, {"FAULT", "blackhole: {edge: recommend}"}});
    std::atomic<bool> over = false;
    std::atomic<int> asked = 0, fresh = 0;
    std::thread asking([&] {
      while (!over) {
        ++asked;
        fresh += IsFresh(Order(other));
        SleepBriefly();
      }
    });
    const JudgedRun run = RunToVerdict(checkout, {checkout.Write("attached.yaml", text)}, 0);
    over = true;
    asking.join();
    EXPECT_EQ(run.exit_code, 0) << run.output;
    EXPECT_TRUE(absl::StrContains(run.output, "packets dropped")) << run.output;
    EXPECT_GT(asked, 100);
    // A paused machine may cost the bystander one deadline, the fault would have cost it all of three seconds.
    EXPECT_GE(fresh, asked - 2);
  }
  EXPECT_EQ(ResidueSince(before), std::vector<std::string>());
}

}  // namespace
}  // namespace squall
