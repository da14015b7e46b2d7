#include "controller/assertions/process_evidence.h"

#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

template <typename Message>
Message Of(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

// The kind of one fault, "bad", of service shop.
class Bad {
 public:
  explicit Bad(const std::string& kind) : fault_(Of<Fault>("name: \"bad\" " + kind)) {}

  std::string Seen(const std::string& evidence) const { return ProcessSeen(fault_, Of<Evidence>(evidence)); }
  // What is in the way; empty: nothing.
  std::string Gate(const std::string& evidence) const {
    const std::optional<Obstacle> obstacle = ProcessGate(fault_, Of<Evidence>(evidence));
    EXPECT_TRUE(!obstacle || !obstacle->advice.empty()) << "says what to do";
    return obstacle ? obstacle->reason : "";
  }
  std::string Note(const std::string& evidence) const { return ProcessNote(fault_, Of<Evidence>(evidence)); }

 private:
  Fault fault_;
};

TEST(CpuEvidence, OfALoadThatGrewIsHeldAgainstWhatWasAskedForMeanwhile) {
  const Bad grew(R"(cpu { service: "shop" load: 1 } ramp { load: 1 load: 91 })");
  EXPECT_THAT(grew.Gate("burned_ns: 1 requested_percent: 91 achieved_percent: 24"), IsEmpty());
  EXPECT_THAT(grew.Gate("burned_ns: 1 requested_percent: 91 achieved_percent: 22"), HasSubstr("did not act as asked"));
  EXPECT_THAT(grew.Note("burned_ns: 1 requested_percent: 91 achieved_percent: 46"), IsEmpty());
  EXPECT_THAT(grew.Note("burned_ns: 1 requested_percent: 91 achieved_percent: 30"), HasSubstr("because others wanted them too"));
  const Bad fell(R"(cpu { service: "shop" load: 1 } ramp { load: 90 load: 10 })");
  EXPECT_THAT(fell.Gate("burned_ns: 1 requested_percent: 10 achieved_percent: 6"), IsEmpty());
  EXPECT_THAT(fell.Gate("burned_ns: 1 requested_percent: 10 achieved_percent: 4"), HasSubstr("did not act as asked"));
}

TEST(KillEvidence, SaysWhoIsGoneAndWhoIsBack) {
  const Bad kill(R"(kill { service: "shop" })");
  EXPECT_EQ(kill.Seen("signalled: 1 gone: 1"), "1 of 1 process gone");
  EXPECT_EQ(kill.Seen("signalled: 3 gone: 2 restarts: 1"), "2 of 3 processes gone, started again once");
  const Bad supervised(R"(kill { service: "shop" supervisor_within { seconds: 10 } })");
  EXPECT_EQ(supervised.Seen("signalled: 2 gone: 2"), "2 of 2 processes gone, not seen back yet");
  EXPECT_EQ(supervised.Seen("signalled: 2 gone: 2 restarts: 1"), "2 of 2 processes gone, brought back by its supervisor");
}

TEST(KillEvidence, SaysWhomTheGraceEnded) {
  EXPECT_EQ(Bad(R"(kill { service: "shop" signal: "SIGTERM" grace { seconds: 2 } })").Seen("signalled: 2 gone: 2 ended_by_grace: 1"),
            "2 of 2 processes gone, 1 of them by SIGKILL after the grace");
}

TEST(KillEvidence, ThatSomeStayedKeepsTheGateClosed) {
  const Bad kill(R"(kill { service: "shop" })");
  EXPECT_THAT(kill.Gate("signalled: 2 gone: 2"), IsEmpty());
  EXPECT_THAT(kill.Gate("signalled: 2 gone: 1"), HasSubstr("only 1 of 2 signalled processes went away"));
  EXPECT_THAT(kill.Gate(""), HasSubstr("no process of shop was there to be killed"));
}

TEST(PauseEvidence, IsThatAllProcessesWereSeenStopped) {
  const Bad pause(R"(pause { service: "shop" each { nanos: 200000000 } })");
  EXPECT_EQ(pause.Seen("pauses: 5 paused_ns: 1001200000 requested_ns: 1000000000"), "stopped 5 times, for 1.0 s in all of 1.0 s asked");
  EXPECT_EQ(pause.Seen("pauses: 1 paused_ns: 200000000"), "stopped once, for 200.0 ms in all");
  EXPECT_EQ(pause.Seen(""), "never seen stopped");
  EXPECT_THAT(pause.Gate("pauses: 5 paused_ns: 1001200000 requested_ns: 1000000000"), IsEmpty());
  EXPECT_THAT(pause.Gate(""), HasSubstr("the processes of shop were never all seen stopped"));
}

TEST(PauseEvidence, OfHalfTheTimeIsNotedAndOfLessKeepsTheGateClosed) {
  const Bad pause(R"(pause { service: "shop" } for { seconds: 10 })");
  EXPECT_EQ(pause.Seen("pauses: 1 paused_ns: 9990000000"), "stopped once, for 10.0 s in all of 10.0 s asked");
  EXPECT_THAT(pause.Note("pauses: 1 paused_ns: 9600000000"), IsEmpty());
  EXPECT_THAT(pause.Note("pauses: 1 paused_ns: 9400000000"), HasSubstr("for 9.4 s in all instead of 10.0 s"));
  EXPECT_THAT(pause.Gate("pauses: 1 paused_ns: 5000000000"), IsEmpty());
  EXPECT_THAT(pause.Gate("pauses: 1 paused_ns: 4900000000"), HasSubstr("did not act as asked"));
}

TEST(MemoryLimitEvidence, IsThatTheLimitWasReached) {
  const Bad limit(R"(memory { service: "shop" limit: 268435456 })");
  const std::string used = "limit_bytes: 268435456 used_bytes: 134217728 ";
  EXPECT_EQ(limit.Seen(used + "reclaims: 12"), "limit reached 12 times; used 128 MiB at most of 256 MiB");
  EXPECT_EQ(limit.Seen(used + "reclaims: 12 oom_kills: 1"),
            "limit reached 12 times; used 128 MiB at most of 256 MiB; 1 process killed for want of memory");
  EXPECT_EQ(limit.Seen(used), "limit never reached; used 128 MiB at most of 256 MiB");
  EXPECT_THAT(limit.Gate(used + "reclaims: 1"), IsEmpty());
  EXPECT_THAT(limit.Gate(used + "oom_kills: 1"), IsEmpty());
  EXPECT_THAT(limit.Gate(used), HasSubstr("shop never reached the limit, and used 128 MiB at most of 256 MiB"));
}

TEST(MemoryLeaveEvidence, IsHowMuchWasTakenOfWhatHadToBe) {
  const Bad leave(R"(memory { service: "shop" leave: 1000 })");
  EXPECT_EQ(leave.Seen("held_bytes: 3145728 requested_left_bytes: 1048576 achieved_left_bytes: 1048576"),
            "held 3 MiB; left 1 MiB, 1 MiB asked");
  EXPECT_THAT(leave.Gate("held_bytes: 1000 requested_left_bytes: 1000 achieved_left_bytes: 1000"), IsEmpty());
  EXPECT_THAT(leave.Gate("held_bytes: 1000 requested_left_bytes: 1000 achieved_left_bytes: 900"), IsEmpty());
  EXPECT_THAT(leave.Gate("held_bytes: 1000 requested_left_bytes: 1000 achieved_left_bytes: 2000"), IsEmpty());
  EXPECT_THAT(leave.Note("held_bytes: 1000 requested_left_bytes: 1000 achieved_left_bytes: 2000"), HasSubstr("instead of"));
  EXPECT_THAT(leave.Note("held_bytes: 1000 requested_left_bytes: 1000 achieved_left_bytes: 1050"), IsEmpty());
  EXPECT_THAT(leave.Gate("held_bytes: 1000 requested_left_bytes: 1000 achieved_left_bytes: 2001"), HasSubstr("did not act as asked"));
  EXPECT_THAT(leave.Gate("requested_left_bytes: 1000 achieved_left_bytes: 900"), HasSubstr("took no memory"));
}

TEST(DiskEvidence, IsThatAWriteFailedOrElseThatTheFilesystemWasFull) {
  const Bad full(R"(disk { service: "shop" path: "/srv" })");
  const std::string filled = "held_bytes: 1073741824 achieved_left_bytes: 4096 ";
  EXPECT_EQ(full.Seen(filled + "refusals_seen: true refusals: 3"),
            "held 1 GiB; left 4 KiB, 0 B asked; 3 writes of the service refused (ENOSPC)");
  EXPECT_THAT(full.Gate(filled + "refusals_seen: true refusals: 3"), IsEmpty());
  EXPECT_THAT(full.Gate(filled + "refusals_seen: true"), HasSubstr("was full, and shop was refused nothing"));
  EXPECT_THAT(full.Gate(filled), IsEmpty());
  EXPECT_THAT(full.Note(filled), HasSubstr("cannot be seen on this host"));
  EXPECT_THAT(full.Note(filled + "refusals_seen: true refusals: 3"), IsEmpty());
  EXPECT_THAT(full.Gate("held_bytes: 1073741824 achieved_left_bytes: 33554432"), HasSubstr("32 MiB were left on the filesystem of /srv"));
  EXPECT_THAT(full.Gate("achieved_left_bytes: 4096"), HasSubstr("filled nothing"));
}

// A service may look at what is free, and need not fail to write before it does something about it.
TEST(DiskEvidence, WithSomethingLeftNeedsNoFailedWrite) {
  const Bad low(R"(disk { service: "shop" path: "/srv" leave: 1048576 })");
  EXPECT_THAT(low.Gate("held_bytes: 1073741824 requested_left_bytes: 1048576 achieved_left_bytes: 1048576 refusals_seen: true"), IsEmpty());
}

TEST(LeftEvidence, IsThatSomethingWasRefused) {
  for (const auto& [kind, seen] : std::vector<std::pair<std::string, std::string>>{
           {R"(fds { service: "shop" leave: 5 })", "5 descriptors left at the beginning, 0 at the fewest; 7 refused (EMFILE)"},
           {R"(pids { service: "shop" leave: 5 })", "5 tasks left at the beginning, 0 at the fewest; 7 refused (EAGAIN)"}}) {
    const Bad few(kind);
    EXPECT_EQ(few.Seen("requested_left: 5 refusals_seen: true refusals: 7"), seen);
    EXPECT_THAT(few.Gate("requested_left: 5 refusals_seen: true refusals: 7"), IsEmpty());
    EXPECT_THAT(few.Gate("requested_left: 5 fewest_left: 2 refusals_seen: true"), HasSubstr("shop was refused none"));
    EXPECT_THAT(few.Gate("requested_left: 5 refusals_seen: true"), HasSubstr("shop was refused none")) << "used up, and no more wanted";
  }
}

// Where refusals cannot be seen, it tells that all were used up; where none was left from the beginning, nothing tells.
TEST(LeftEvidence, WithoutRefusalsIsThatAllWereUsedUp) {
  const Bad few(R"(fds { service: "shop" leave: 5 })");
  EXPECT_THAT(few.Gate("requested_left: 5 fewest_left: 0"), IsEmpty());
  EXPECT_THAT(few.Gate("requested_left: 5 fewest_left: 1"), HasSubstr("1 of the 5 descriptors that it was left were left at the fewest"));
  EXPECT_THAT(Bad(R"(fds { service: "shop" })").Gate("requested_left: 0 fewest_left: 0"), HasSubstr("cannot be seen on this host"));
}

}  // namespace
}  // namespace squall
