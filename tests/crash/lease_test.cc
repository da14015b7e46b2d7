// A lease ends when nothing is heard for as long as it is, whatever is the cause, and for no other reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/fd.h"
#include "controller/agent_client.h"
#include "tests/crash/victims.h"

namespace squall {
namespace {

constexpr absl::Duration kLease = absl::Seconds(5);
constexpr absl::Duration kSlack = absl::Seconds(6);  // of a busy machine

sockaddr_un At(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  return address;
}

// Passes on the bytes of one connection, until it is cut: from then on it says nothing, as a network does that is gone.
class Wire {
 public:
  Wire(const std::string& from, const std::string& to) {
    const sockaddr_un listen_at = At(from), connect_to = At(to);
    listener_ = Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<const sockaddr*>(&listen_at), sizeof(listen_at)), 0);
    EXPECT_EQ(listen(listener_.get(), 1), 0);
    thread_ = std::thread([this, connect_to] {
      pollfd ready = {listener_.get(), POLLIN, 0};
      while (!over_ && poll(&ready, 1, 50) == 0) {
      }
      if (over_) return;
      const Fd controller(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)), agent(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      EXPECT_EQ(connect(agent.get(), reinterpret_cast<const sockaddr*>(&connect_to), sizeof(connect_to)), 0);
      pollfd ends[] = {{controller.get(), POLLIN, 0}, {agent.get(), POLLIN, 0}};
      while (!over_) {
        if (cut_ || poll(ends, 2, 20) <= 0) {
          SleepBriefly();
          continue;
        }
        for (int i = 0; i < 2; ++i) {
          if (ends[i].revents == 0) continue;
          char bytes[65536];
          const ssize_t size = read(ends[i].fd, bytes, sizeof(bytes));
          if (size <= 0) return;
          (void)!write(ends[1 - i].fd, bytes, static_cast<size_t>(size));
        }
      }
    });
  }
  ~Wire() {
    over_ = true;
    thread_.join();
  }
  void Cut() { cut_ = true; }

 private:
  Fd listener_;
  std::atomic<bool> cut_ = false, over_ = false;
  std::thread thread_;
};

class LeaseTest : public ::testing::Test {
 protected:
  // Lowers a limit of a process that squall did not start: needs no root, and nothing but healing brings it back.
  static FaultCase Fds() { return {"fds", "fds", "fds: {service: shop, leave: 50}", ""}; }
  static void ExpectHealedWithin(Victim& victim, absl::Duration most) {
    EXPECT_TRUE(Eventually(most + kSlack, [&] { return victim.NothingPending() && victim.Answers(); })) << victim.Said();
  }
  const Checkout checkout_{{"tests/crash/holder", "tests/crash/clock_step.so"}};
};

TEST_F(LeaseTest, EndsWhenTheControllerIsCutOff) {
  Victim victim(checkout_, Fds());
  ASSERT_TRUE(victim.Start()) << victim.Said();
  const std::string through = checkout_.path() + "/wire.sock";
  Wire wire(through, victim.agent_socket());
  ASSERT_TRUE(victim.InjectThrough(through)) << victim.Said();
  ASSERT_FALSE(victim.NothingPending());
  wire.Cut();
  const int64_t cut_ns = BootNanos();
  ExpectHealedWithin(victim, kLease + absl::Seconds(1));
  EXPECT_GT(BootNanos() - cut_ns, 3'000'000'000) << "the lease, less the age of the last renewal";
}

TEST_F(LeaseTest, DoesNotFollowTheWallClock) {
  const std::string step = checkout_.path() + "/step";
  Victim victim(checkout_, Fds(), {{"LD_PRELOAD", checkout_.path() + "/bazel-bin/tests/crash/clock_step.so"}, {"CLOCK_STEP", step}});
  ASSERT_TRUE(victim.Start()) << victim.Said();
  ASSERT_TRUE(victim.Inject()) << victim.Said();
  // An hour forward ends nothing.
  std::ofstream(step) << "";
  absl::SleepFor(kLease + absl::Seconds(2));
  EXPECT_FALSE(victim.NothingPending()) << "healed although its controller lives";
  // An hour back prolongs nothing.
  ASSERT_GT(victim.controller(), 1);
  kill(victim.controller(), SIGSTOP);
  std::filesystem::remove(step);
  ExpectHealedWithin(victim, kLease + absl::Seconds(1));
}

TEST_F(LeaseTest, AnAgentServesOneControllerAndTellsAnotherWhoHoldsIt) {
  Victim victim(checkout_, Fds());
  ASSERT_TRUE(victim.Start()) << victim.Said();
  ASSERT_TRUE(victim.Inject()) << victim.Said();
  const auto second = AgentClient::Connect("unix:" + victim.agent_socket());
  ASSERT_TRUE(second.ok());
  const absl::Status refused = (*second)->Open("second", "second", absl::Minutes(1), [](const AgentEvent&) {});
  EXPECT_TRUE(absl::IsAlreadyExists(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), ::testing::HasSubstr(absl::StrCat("held by crash-", victim.controller())));
  EXPECT_FALSE(victim.NothingPending()) << "the first goes on";
  EXPECT_EQ(victim.Finish(), "");
  ExpectHealedWithin(victim, absl::Seconds(1));
}

TEST_F(LeaseTest, AnAgentThatIsStoppedIsGivenUp) {
  Victim victim(checkout_, Fds());
  ASSERT_TRUE(victim.Start()) << victim.Said();
  const pid_t agent = victim.Agent();
  ASSERT_GT(agent, 1);
  kill(agent, SIGSTOP);
  const auto client = AgentClient::Connect("unix:" + victim.agent_socket());
  ASSERT_TRUE(client.ok());
  const int64_t began_ns = BootNanos();
  const absl::Status opened = (*client)->Open("nobody-answers", "test", absl::Minutes(1), [](const AgentEvent&) {});
  EXPECT_FALSE(opened.ok());
  EXPECT_LT(BootNanos() - began_ns, absl::ToInt64Nanoseconds(absl::Seconds(6) + kSlack));
  kill(agent, SIGCONT);
}

TEST_F(LeaseTest, AnAgentThatHangsUnguardedIsEndedByTheNextOneOfItsHost) {
  Victim victim(checkout_, Fds());
  ASSERT_TRUE(victim.Start()) << victim.Said();
  ASSERT_TRUE(victim.Inject()) << victim.Said();
  const pid_t agent = victim.Agent(), guardian = victim.GuardianOf(agent);
  ASSERT_GT(agent, 1);
  ASSERT_GT(guardian, 1);
  kill(agent, SIGSTOP);
  kill(guardian, SIGKILL);
  absl::SleepFor(kLease + absl::Seconds(4));
  EXPECT_FALSE(victim.NothingPending()) << "nobody is there who could undo it";
  const auto next = victim.StartAgent(checkout_.path() + "/next.sock");
  EXPECT_TRUE(next->WaitForOutput("serves on ", absl::Seconds(30)));
  EXPECT_THAT(next->Output(), ::testing::HasSubstr("ended 1 agent that hung past its lease, unguarded"));
  EXPECT_TRUE(victim.NothingPending()) << "before it serves";
  EXPECT_TRUE(victim.Answers());
}

// As an older agent sees what it does not know: a field without a meaning.
TEST_F(LeaseTest, AnAgentThatDoesNotKnowAFaultSaysSoBeforeAnythingIsDone) {
  Victim victim(checkout_, Fds());
  ASSERT_TRUE(victim.Start()) << victim.Said();
  const auto client = AgentClient::Connect("unix:" + victim.agent_socket());
  ASSERT_TRUE(client.ok());
  ASSERT_TRUE((*client)->Open("newer", "test", absl::Minutes(1), [](const AgentEvent&) {}).ok());
  PrepareRequest request;
  request.set_run_id("newer");
  request.mutable_scenario()->add_faults()->set_name("tornado");
  request.mutable_scenario()->mutable_faults(0)->GetReflection()->MutableUnknownFields(request.mutable_scenario()->mutable_faults(0))
      ->AddLengthDelimited(500)->append("strong");
  PrepareReply reply;
  const absl::Status prepared = (*client)->Call(&Agent::Stub::Prepare, request, reply);
  EXPECT_TRUE(absl::IsUnimplemented(prepared)) << prepared;
  EXPECT_THAT(std::string(prepared.message()), ::testing::HasSubstr("fault tornado is of a kind that this agent, squall "));
}

}  // namespace
}  // namespace squall
