#include "controller/hand_text.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "controller/report/escape.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

HandTick SlowTick() {
  HandTick tick;
  tick.set_run_id("20261121T080000Z-latency-by-hand-a1b2c3");
  tick.set_state(HandTick::INJECTED);
  tick.set_elapsed(12.3);
  tick.set_left(17.7);
  tick.mutable_fault()->set_name("latency");
  tick.mutable_fault()->mutable_for_()->set_seconds(30);
  tick.mutable_fault()->mutable_latency()->set_edge("recommend");
  tick.mutable_fault()->mutable_latency()->mutable_delay()->set_nanos(200'000'000);
  tick.mutable_evidence()->set_calls(146);
  tick.mutable_evidence()->set_connections(12);
  tick.mutable_evidence()->set_requested_ns(200'000'000);
  tick.mutable_evidence()->set_achieved_p50_ns(200'100'000);
  tick.mutable_evidence()->set_achieved_p99_ns(201'300'000);
  ServiceSample& service = *tick.add_services();
  service.set_service("orders");
  service.set_cpu(3.5);
  service.set_rss_bytes(35 << 20);
  service.set_threads(18);
  service.set_fds(25);
  service.set_processes(1);
  EdgeTick& edge = *tick.add_edges();
  edge.set_edge("recommend");
  edge.set_calls_per_second(48);
  edge.set_answered_per_second(47);
  edge.set_connections(12);
  edge.set_open_connections(3);
  return tick;
}

TEST(HandText, PictureFitsTheTerminalAndSaysWhatIsSeen) {
  for (const int columns : {40, 80, 200}) {
    const std::vector<std::string> lines = DrawTick(SlowTick(), columns, /*color=*/false);
    for (const std::string& line : lines) EXPECT_LT(DisplayWidth(line), columns) << line;
    // Where a line is broken does not matter.
    const std::string all = absl::StrJoin(absl::StrSplit(absl::StrJoin(lines, " "), ' ', absl::SkipEmpty()), " ");
    for (const char* said : {"200 ms", "146 calls", "cpu 3.5 %", "18 threads", "25 fds", "1 process", "48 calls/s", "18 s left"}) {
      EXPECT_TRUE(absl::StrContains(all, said)) << columns << " columns: " << said << "\n" << all;
    }
  }
  EXPECT_FALSE(absl::StrContains(absl::StrJoin(DrawTick(SlowTick(), 80, false), "\n"), "\033"));
  EXPECT_TRUE(absl::StrContains(absl::StrJoin(DrawTick(SlowTick(), 80, true), "\n"), "\033"));
}

TEST(HandText, ServiceWithoutProcessesIsSaidToBeDead) {
  HandTick tick = SlowTick();
  tick.mutable_services(0)->set_processes(0);
  EXPECT_TRUE(absl::StrContains(TickLine(tick), "orders no process is alive")) << TickLine(tick);
}

TEST(HandText, EndSaysWhetherItIsHealedAndWhoEndedIt) {
  HandTick tick = SlowTick();
  tick.set_state(HandTick::HEALED);
  EXPECT_TRUE(absl::StartsWith(EndText(tick, 0), "healed after 12.3 s: 200 ms on every response over recommend\nseen: 146 calls"))
      << EndText(tick, 0);
  tick.set_message("ended by root@shop-1 through squall heal");
  EXPECT_TRUE(absl::StrContains(EndText(tick, 0), "ended by root@shop-1")) << EndText(tick, 0);
  tick.set_state(HandTick::NOT_HEALED);
  tick.add_not_healed("fault latency: something is still held");
  EXPECT_TRUE(absl::StartsWith(EndText(tick, 0), "NOT CONFIRMED AS HEALED")) << EndText(tick, 0);
  EXPECT_TRUE(absl::StrContains(EndText(tick, 0), "something is still held")) << EndText(tick, 0);
}

TEST(HandText, WhatFailedBeforeTheInjectionSaysThatNothingWasInjected) {
  HandTick tick;
  tick.set_state(HandTick::FAILED);
  tick.set_message("service target: no process listens on TCP port 8080");
  EXPECT_EQ(EndText(tick, 0), "nothing was injected: service target: no process listens on TCP port 8080\n");
}

TEST(HandText, StatusSaysWhoHoldsWhatUntilWhen) {
  AgentStates states;
  EXPECT_EQ(StatusText(states, 0), "Nothing is held or injected: no agent of this user runs on this machine.\n");
  AgentState& agent = *states.add_agents();
  agent.set_name("local-4711");
  agent.set_address("unix:/run/squall/agent-4711-1.sock");
  agent.set_reachable(true);
  EXPECT_EQ(StatusText(states, 0), "Nothing is held or injected by the agents that answer.\n");
  HeldRun& run = *agent.add_runs();
  run.set_run_id("20261121T080000Z-drill-a1b2c3");
  run.set_scenario("drill");
  run.set_holder("run 20261121T080000Z-drill-a1b2c3 of root@shop-1 since 08:00:00 until 08:01:00 at the latest");
  run.add_services("orders");
  run.set_until_unix_ns(61'000'000'000);
  run.mutable_lease()->set_seconds(5);
  run.mutable_renewed_ago()->set_nanos(400'000'000);
  HeldFault& held = *run.add_faults();
  *held.mutable_fault() = SlowTick().fault();
  *held.mutable_evidence() = SlowTick().evidence();
  held.mutable_since()->set_seconds(12);
  const std::string text = StatusText(states, 1'000'000'000);
  for (const char* said : {"20261121T080000Z-drill-a1b2c3  (drill)", "root@shop-1", "\n  holds     orders\n", "in 60 s", "5 s, renewed 400 ms ago",
                           "latency: 200 ms on every response over recommend, for 12 s now", "146 calls", "local-4711"}) {
    EXPECT_TRUE(absl::StrContains(text, said)) << said << "\n" << text;
  }
}

TEST(HandText, AgentThatDoesNotAnswerIsNamed) {
  AgentStates states;
  AgentState& agent = *states.add_agents();
  agent.set_name("local-4711");
  agent.set_error("Deadline Exceeded");
  EXPECT_TRUE(absl::StrContains(StatusText(states, 0), "local-4711")) << StatusText(states, 0);
  EXPECT_TRUE(absl::StrContains(AgentsText(states), "does not answer: Deadline Exceeded")) << AgentsText(states);
}

TEST(HandText, HealedSaysWhatIsNotConfirmed) {
  Healed healed;
  healed.add_ended("a");
  EXPECT_EQ(HealedText(healed), "ended a\nEverything is healed, and confirmed.\n");
  healed.add_not_healed("fault slow: held");
  EXPECT_EQ(HealedText(healed), "ended a\nNOT CONFIRMED AS HEALED: fault slow: held\n");
}

}  // namespace
}  // namespace squall
