#include "controller/fault_clock.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using absl::Milliseconds;
using absl::Seconds;

struct Timed {
  std::string name;
  absl::Duration at, until;
};

class FaultClockTest : public testing::Test {
 protected:
  FaultClock Clock(const std::vector<Timed>& faults, const std::string& supervised = "") {
    for (const Timed& timed : faults) {
      Fault* fault = scenario_.add_faults();
      fault->set_name(timed.name);
      if (timed.name == supervised) fault->mutable_kill()->mutable_supervisor_within()->set_seconds(10);
    }
    Plan plan;
    for (size_t i = 0; i < faults.size(); ++i) {
      plan.faults.push_back({&scenario_.faults(static_cast<int>(i)), faults[i].at, faults[i].until});
    }
    return FaultClock(plan);
  }

  // What is next, "1s: +a +b"; it is done, and took so long.
  static std::string Step(FaultClock& clock, absl::Duration took = absl::ZeroDuration()) {
    std::string step = absl::StrCat(absl::FormatDuration(clock.Due()), ":");
    for (const Action& action : clock.Next()) absl::StrAppend(&step, action.inject ? " +" : " -", action.fault->name());
    clock.Done(took);
    return step;
  }

 private:
  Scenario scenario_;
};

TEST_F(FaultClockTest, InjectsAndHealsInTheOrderOfThePlan) {
  FaultClock clock = Clock({{"a", Seconds(0), Seconds(3)}, {"b", Seconds(1), Seconds(2)}});
  EXPECT_EQ(Step(clock), "0: +a");
  EXPECT_EQ(Step(clock), "1s: +b");
  EXPECT_EQ(Step(clock), "2s: -b");
  EXPECT_EQ(Step(clock), "3s: -a");
  EXPECT_TRUE(clock.Next().empty());
}

TEST_F(FaultClockTest, DoesWhatIsDueAtOneInstantAtOnce) {
  FaultClock clock = Clock({{"a", Seconds(1), Seconds(2)}, {"b", Seconds(1), Seconds(2)}});
  EXPECT_EQ(Step(clock), "1s: +a +b");
  EXPECT_EQ(Step(clock), "2s: -a -b");
  EXPECT_TRUE(clock.Next().empty());
}

TEST_F(FaultClockTest, MakesRoomBeforeWhatBegins) {
  FaultClock clock = Clock({{"b", Seconds(1), Seconds(2)}, {"a", Seconds(0), Seconds(1)}});
  EXPECT_EQ(Step(clock), "0: +a");
  EXPECT_EQ(Step(clock), "1s: -a");
  EXPECT_EQ(Step(clock), "1s: +b");
}

TEST_F(FaultClockTest, InjectsWhatHasNoLengthBeforeItIsHealed) {
  FaultClock clock = Clock({{"kill", Seconds(1), Seconds(1)}});
  EXPECT_EQ(Step(clock), "1s: +kill");
  EXPECT_EQ(Step(clock), "1s: -kill");
}

TEST_F(FaultClockTest, StandsStillWhileAFaultIsInjectedSoThatItActsForItsWholeLength) {
  FaultClock clock = Clock({{"a", Seconds(1), Seconds(2)}, {"b", Seconds(2), Seconds(4)}});
  EXPECT_EQ(Step(clock, Milliseconds(900)), "1s: +a");
  EXPECT_EQ(Step(clock), "2.9s: -a");
  EXPECT_EQ(Step(clock, Milliseconds(100)), "2.9s: +b");
  EXPECT_EQ(Step(clock), "5s: -b");
}

TEST_F(FaultClockTest, StandsStillWhileASupervisorIsWaitedFor) {
  FaultClock clock = Clock({{"gone", Seconds(1), Seconds(1)}, {"b", Seconds(2), Seconds(4)}}, /*supervised=*/"gone");
  EXPECT_EQ(Step(clock), "1s: +gone");
  EXPECT_EQ(Step(clock, Seconds(6)), "1s: -gone");
  EXPECT_EQ(Step(clock), "8s: +b");
  EXPECT_EQ(Step(clock), "10s: -b");
}

TEST_F(FaultClockTest, GoesOnWhileAFaultIsHealed) {
  FaultClock clock = Clock({{"a", Seconds(1), Seconds(2)}, {"b", Seconds(5), Seconds(6)}});
  EXPECT_EQ(Step(clock), "1s: +a");
  EXPECT_EQ(Step(clock, Seconds(2)), "2s: -a");
  EXPECT_EQ(Step(clock), "5s: +b");
}

}  // namespace
}  // namespace squall
