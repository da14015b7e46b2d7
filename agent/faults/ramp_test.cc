// Ramps of faults that a real relay does, between real sockets. Time is what the tests say it is.
#include "agent/faults/ramp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/durations.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr char kAnswer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
constexpr int64_t kMs = 1'000'000;

Address Local(uint16_t port) { return ResolveAddress(absl::StrCat("127.0.0.1:", port)).value().front(); }

Fd Listen(uint16_t& port) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Address any = Local(1);
  any.port = 0;
  sockaddr_storage storage;
  socklen_t length = any.ToSockaddr(storage);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
  EXPECT_EQ(listen(fd.get(), 16), 0);
  length = sizeof(storage);
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &length);
  port = FromSockaddr(storage).port;
  return fd;
}

class RampTest : public ::testing::Test {
 protected:
  void SetUp() override {
    uint16_t dependency_port, relay_port;
    const Fd listener = Listen(dependency_port);
    Listen(relay_port);  // free again
    Relay::EdgeOptions edge;
    edge.name = "edge";
    edge.to = {Local(dependency_port)};
    edge.relay_at = Local(relay_port);
    const absl::Status status = relay_.Open(edge, ns_);
    ASSERT_TRUE(status.ok()) << status;
    service_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage;
    const socklen_t length = Local(relay_port).ToSockaddr(storage);
    ASSERT_EQ(connect(service_.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    dependency_ = Fd(accept(listener.get(), nullptr, nullptr));
    answering_ = std::thread([this] {
      char buffer[4096];
      while (read(dependency_.get(), buffer, sizeof(buffer)) > 0) (void)!write(dependency_.get(), kAnswer, sizeof(kAnswer) - 1);
    });
  }
  void TearDown() override {
    service_.Reset();
    if (answering_.joinable()) answering_.join();
  }
  std::unique_ptr<ActiveFault> Inject(const Fault& spec) {
    FaultContext context;
    context.relay = &relay_;
    context.seed = 7;
    std::unique_ptr<ActiveFault> fault = MakeFault(RampedAt(spec, absl::ZeroDuration()), context);
    const absl::Status status = fault->Inject();
    EXPECT_TRUE(status.ok()) << status;
    return fault;
  }
  // How long one call takes.
  int64_t Call() {
    const int64_t before = BootNanos();
    EXPECT_EQ(write(service_.get(), kGet, sizeof(kGet) - 1), static_cast<ssize_t>(sizeof(kGet) - 1));
    char buffer[4096];
    for (size_t got = 0; got < sizeof(kAnswer) - 1;) {
      const ssize_t size = read(service_.get(), buffer, sizeof(buffer));
      if (size <= 0) break;
      got += static_cast<size_t>(size);
    }
    return BootNanos() - before;
  }
  // From 20 ms to 180 ms over a second.
  static Fault Growing(Fault fault) {
    fault.set_name("slow");
    fault.mutable_for_()->set_seconds(2);
    Ramp& ramp = *fault.mutable_ramp();
    *ramp.add_delay() = FromDuration(absl::Milliseconds(20));
    *ramp.add_delay() = FromDuration(absl::Milliseconds(180));
    ramp.mutable_over()->set_seconds(1);
    return fault;
  }
  static Fault Latency() {
    Fault fault;
    fault.mutable_latency()->set_edge("edge");
    fault.mutable_latency()->set_direction(DIRECTION_RESPONSE);
    return fault;
  }

  NetNamespace ns_ = *NetNamespace::Own();
  Relay relay_{[](const std::string&, const SeenCall&) {}};
  Fd service_;
  Fd dependency_;
  std::thread answering_;
};

TEST_F(RampTest, DelayGrowsFromStepToStepAndHolds) {
  Fault http;
  http.mutable_http()->set_edge("edge");
  http.mutable_http()->set_percent(100);
  for (const Fault& kind : {Latency(), http}) {
    const Fault spec = Growing(kind);
    const std::unique_ptr<ActiveFault> fault = Inject(spec);
    RunningRamp ramp(spec, fault.get(), /*injected_ns=*/1'000 * kMs);
    int64_t calls = 0;
    for (const auto& [at_ms, delay_ms] : std::vector<std::pair<int64_t, int64_t>>{
             {1000, 20}, {1250, 60}, {1500, 100}, {1750, 140}, {2000, 180}, {2250, 180}}) {
      ASSERT_TRUE(ramp.Step(at_ms * kMs).ok());
      EXPECT_GE(Call(), delay_ms * kMs);
      ++calls;
      const Evidence seen = fault->Seen();
      EXPECT_EQ(seen.requested_ns(), delay_ms * kMs) << "the last that was asked for";
      EXPECT_GE(seen.achieved_p50_ns(), (delay_ms - 1) * kMs) << "and measured";
      EXPECT_EQ(seen.connections(), 1);
      if (kind.has_http()) { EXPECT_EQ(seen.calls(), calls); }
    }
    ASSERT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
    EXPECT_EQ(fault->Seen().requested_ns(), 180 * kMs);
    EXPECT_EQ(ramp.Step(9'000 * kMs).code(), absl::StatusCode::kOk) << "nothing is left to change";
    EXPECT_EQ(fault->Change(spec).code(), absl::StatusCode::kNotFound) << "what is healed is not changed";
  }
}

TEST_F(RampTest, StepThatWasMissedIsMadeUpFor) {
  const Fault spec = Growing(Latency());
  const std::unique_ptr<ActiveFault> fault = Inject(spec);
  RunningRamp ramp(spec, fault.get(), 0);
  ASSERT_TRUE(ramp.Step(750 * kMs).ok());
  EXPECT_EQ(fault->Seen().requested_ns(), 140 * kMs);
}

// Counts what it is asked for, and fails when it is told to.
class Recorder : public ActiveFault {
 public:
  absl::Status Inject() override { return absl::OkStatus(); }
  absl::Status Change(const Fault& fault) override {
    asked.push_back(fault.loss().percent());
    return fails ? absl::InternalError("cannot write a BPF map") : absl::OkStatus();
  }
  absl::Status Heal(HealFor) override { return absl::OkStatus(); }
  Evidence Seen() override { return {}; }

  bool fails = false;
  std::vector<double> asked;
};

Fault Losing() {
  Fault fault;
  fault.set_name("lossy");
  fault.mutable_loss()->set_percent(3);
  fault.mutable_for_()->set_seconds(1);
  fault.mutable_ramp()->add_percent(10);
  fault.mutable_ramp()->add_percent(20);
  return fault;
}

TEST(RunningRamp, AsksForNothingThatIsThereAlready) {
  Recorder recorder;
  RunningRamp ramp(Losing(), &recorder, 0);
  for (const int64_t ms : {0, 0, 500, 500, 1000, 1250, 5000}) EXPECT_TRUE(ramp.Step(ms * kMs).ok());
  EXPECT_EQ(recorder.asked, (std::vector<double>{15, 20}));
}

TEST(RunningRamp, TellsOfAFailureOnceAndStops) {
  Recorder recorder;
  RunningRamp ramp(Losing(), &recorder, 0);
  EXPECT_TRUE(ramp.Step(250 * kMs).ok());
  recorder.fails = true;
  const absl::Status status = ramp.Step(500 * kMs);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("its ramp stopped after 500ms, and it stayed as it was: cannot write a BPF map"));
  recorder.fails = false;
  EXPECT_TRUE(ramp.Step(750 * kMs).ok());
  EXPECT_EQ(recorder.asked, (std::vector<double>{12.5, 15}));
}

TEST(RunningRamp, OfAFaultThatCannotBeChangedFails) {
  const std::unique_ptr<ActiveFault> kill = MakeKill(Kill(), {});
  Fault fault;
  fault.set_name("gone");
  EXPECT_EQ(kill->Change(fault).message(), "fault gone cannot be changed while it acts");
}

}  // namespace
}  // namespace squall
