#include "agent/host_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace squall {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr ProcessId kAgent = {100, 1000};
constexpr ProcessId kOther = {200, 2000};
constexpr ProcessId kService = {300, 3000};
constexpr ProcessId kBystander = {400, 4000};
constexpr char kTop[] = "/sys/fs/cgroup";
constexpr char kShop[] = "/sys/fs/cgroup/shop";

// An agent, another one, a service and a bystander, who are alive and as they should be.
HostState Host() {
  HostState host;
  host.places = {kTop, kShop, "nftables", "BPF", "eth0"};
  host.things[{"cgroup", kShop}] = {"there", std::nullopt, kTop};
  host.things[{"file", "/etc/resolv.conf"}] = {"23 bytes, 1", std::nullopt, ""};
  host.things[{"qdisc", "eth0 root"}] = {"fq_codel 0:", std::nullopt, "eth0"};
  for (const auto& [id, name] : {std::pair(kAgent, "squall-agent"), {kOther, "squall-agent"}, {kService, "shop"}, {kBystander, "till"}}) {
    host.processes[id] = {name, 1, std::pair<uint64_t, uint64_t>(1024, 4096), ""};
  }
  return host;
}

Touched NothingTouched() { return {kAgent, {}, {}, {}, {}}; }

// "cgroup /x", with "by squall: " or "by others: " before it.
std::vector<std::string> Words(const std::vector<HostChange>& changes) {
  std::vector<std::string> words;
  for (const HostChange& change : changes) {
    words.push_back(absl::StrCat(change.by_squall() ? "by squall: " : "by others: ", change.kind(), " ", change.name()));
  }
  return words;
}

std::vector<std::string> Changed(const HostState& after, const Touched& touched = NothingTouched()) {
  return Words(Compare(Host(), after, touched));
}

HostThing Of(const ProcessId& agent, const std::string& within) { return {"there", agent, within}; }

TEST(HostChanges, AHostThatIsAsItWasHasNone) { EXPECT_THAT(Changed(Host()), IsEmpty()); }

TEST(HostChanges, ACgroupOfThisAgentThatIsLeftIsSquallsDoingAndTheCommandRemovesIt) {
  HostState after = Host();
  after.things[{"cgroup", "/sys/fs/cgroup/squall-100-1000/shop"}] = Of(kAgent, kTop);
  after.things[{"cgroup", "/sys/fs/cgroup/squall-cpu-100-1000/shop"}] = Of(kAgent, kTop);
  const std::vector<HostChange> changes = Compare(Host(), after, NothingTouched());
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_TRUE(changes[0].by_squall());
  EXPECT_EQ(changes[0].before(), "");
  EXPECT_EQ(changes[0].command(),
            "echo 1 > /sys/fs/cgroup/squall-100-1000/shop/cgroup.kill; rmdir /sys/fs/cgroup/squall-100-1000/shop");
  EXPECT_THAT(changes[1].command(), HasSubstr("/cgroup.procs; done")) << "what is in it is not killed";
  EXPECT_THAT(ToText(changes[0]), HasSubstr("was not there before the run, and now it is; run: echo 1 > "));
}

TEST(HostChanges, WhatAnotherLivingAgentMakesIsNone) {
  HostState after = Host();
  after.things[{"cgroup", "/sys/fs/cgroup/squall-200-2000/api"}] = Of(kOther, kTop);
  after.things[{"cgroup limit", "/sys/fs/cgroup/shop/cpu.max"}] = {"1000 100000", kOther, kShop};
  after.things[{"nftables table", "inet squall-200-1"}] = Of({200, 0}, "nftables");
  after.things[{"BPF program", "7 connect4 (cgroup_sock_addr)"}] = Of(kOther, "BPF");
  after.things[{"file", "/run/squall/agent-200-2000.sock"}] = Of(kOther, "");
  EXPECT_THAT(Changed(after), IsEmpty());
}

TEST(HostChanges, WhatADeadAgentLeftIsToldAndNotThisOnes) {
  HostState after = Host();
  after.things[{"cgroup", "/sys/fs/cgroup/squall-555-1/api"}] = Of({555, 1}, kTop);
  after.things[{"cgroup", "/sys/fs/cgroup/squall-200-1999/api"}] = Of({200, 1999}, kTop);  // the number is another's now
  EXPECT_THAT(Changed(after), ElementsAre("by others: cgroup /sys/fs/cgroup/squall-200-1999/api",
                                          "by others: cgroup /sys/fs/cgroup/squall-555-1/api"));
}

TEST(HostChanges, WhatSquallTookAwayIsNone) {
  HostState before = Host();
  before.things[{"cgroup", "/sys/fs/cgroup/squall-555-1/api"}] = Of({555, 1}, kTop);
  before.things[{"nftables table", "inet squall-100-1"}] = Of({100, 0}, "nftables");
  EXPECT_THAT(Compare(before, Host(), NothingTouched()), IsEmpty());
}

TEST(HostChanges, TheTableOfAnEarlierProcessOfTheSameNumberIsThatOfThisAgentToo) {
  HostState after = Host();
  after.things[{"nftables table", "inet squall-100-3"}] = Of({100, 0}, "nftables");
  const std::vector<HostChange> changes = Compare(Host(), after, NothingTouched());
  EXPECT_THAT(Words(changes), ElementsAre("by squall: nftables table inet squall-100-3"));
  EXPECT_EQ(changes[0].command(), "nft delete table inet squall-100-3");
}

TEST(HostChanges, WhatOtherSoftwareDoesMeanwhileIsToldOnly) {
  HostState after = Host();
  after.things.erase({"cgroup", kShop});
  after.things[{"cgroup", "/sys/fs/cgroup/session-7.scope"}] = {"there", std::nullopt, kTop};
  after.things[{"nftables table", "ip nat"}] = {"there", std::nullopt, "nftables"};
  after.things[{"file", "/etc/resolv.conf"}].value = "24 bytes, 2";
  after.things[{"qdisc", "eth0 root"}].value = "netem 1:";
  EXPECT_THAT(Changed(after),
              ElementsAre("by others: cgroup /sys/fs/cgroup/shop", "by others: file /etc/resolv.conf", "by others: qdisc eth0 root",
                          "by others: cgroup /sys/fs/cgroup/session-7.scope", "by others: nftables table ip nat"));
}

TEST(HostChanges, ALimitIsSquallsDoingWhereAFaultTouchedIt) {
  HostState after = Host();
  after.things[{"cgroup limit", "/sys/fs/cgroup/shop/cpu.max"}] = {"20000 100000", std::nullopt, kShop};
  EXPECT_THAT(Changed(after), ElementsAre("by others: cgroup limit /sys/fs/cgroup/shop/cpu.max"));
  Touched touched = NothingTouched();
  Undo undo;
  undo.mutable_cpu_limit()->set_folder(kShop);
  AddTo(touched, undo);
  const std::vector<HostChange> changes = Compare(Host(), after, touched);
  ASSERT_THAT(Words(changes), ElementsAre("by squall: cgroup limit /sys/fs/cgroup/shop/cpu.max"));
  EXPECT_EQ(changes[0].before(), "max 100000") << "what it says without a limit";
  EXPECT_EQ(changes[0].command(), "echo 'max 100000' > /sys/fs/cgroup/shop/cpu.max");
}

TEST(HostChanges, TheLimitOfACgroupThatCameOrWentIsNoneOfItsOwn) {
  HostState after = Host();
  after.things[{"cgroup", "/sys/fs/cgroup/new"}] = {"there", std::nullopt, kTop};
  after.things[{"cgroup limit", "/sys/fs/cgroup/new/pids.max"}] = {"10", std::nullopt, "/sys/fs/cgroup/new"};
  EXPECT_THAT(Changed(after), ElementsAre("by others: cgroup /sys/fs/cgroup/new"));
}

TEST(HostChanges, AListThatCouldNotBeReadBothTimesIsNotCompared) {
  HostState after = Host();
  after.things[{"nftables table", "ip nat"}] = {"there", std::nullopt, "nftables in network namespace 7"};
  after.places.insert("nftables in network namespace 7");
  after.things.erase({"qdisc", "eth0 root"});
  after.places.erase("eth0");
  EXPECT_THAT(Changed(after), IsEmpty());
}

TEST(HostChanges, ALoweredSoftLimitIsSquallsDoingWhereAFaultLoweredIt) {
  HostState after = Host();
  after.processes[kService].files->first = 10;
  after.processes[kBystander].files->second = 10;
  Touched touched = NothingTouched();
  Undo undo;
  undo.mutable_soft_limit()->add_processes()->mutable_process()->set_pid(kService.pid);
  undo.mutable_soft_limit()->mutable_processes(0)->mutable_process()->set_start_ticks(kService.start_ticks);
  AddTo(touched, undo);
  const std::vector<HostChange> changes = Compare(Host(), after, touched);
  ASSERT_THAT(Words(changes), ElementsAre("by squall: limit of open files pid 300 (shop)", "by others: limit of open files pid 400 (till)"));
  EXPECT_EQ(changes[0].before(), "soft 1024, hard 4096");
  EXPECT_EQ(changes[0].after(), "soft 10, hard 4096");
  EXPECT_EQ(changes[0].command(), "prlimit --pid 300 --nofile=1024:");
}

TEST(HostChanges, AProcessThatIsStillStoppedIsSquallsDoingWhereAFaultStoppedIt) {
  HostState after = Host();
  after.processes[kService].standing = "stopped";
  after.processes[kBystander].standing = "stopped by a tracer";
  Touched touched = NothingTouched();
  touched.processes.insert(kService);
  const std::vector<HostChange> changes = Compare(Host(), after, touched);
  ASSERT_THAT(Words(changes), ElementsAre("by squall: process pid 300 (shop)", "by others: process pid 400 (till)"));
  EXPECT_EQ(changes[0].command(), "kill -CONT 300");
}

TEST(HostChanges, ProcessesThatBeginAndEndAreNone) {
  HostState after = Host();
  after.processes.erase(kBystander);
  after.processes[{500, 5000}] = {"sh", 1, std::nullopt, ""};
  after.processes[{501, 5000}] = {"sh", 1, std::nullopt, "stopped"};
  after.processes[{300, 3001}] = after.processes[kService];  // the number again
  after.processes.erase(kService);
  EXPECT_THAT(Changed(after), IsEmpty());
}

TEST(HostChanges, AProcessOfSquallsOwnThatShouldHaveEndedIsItsDoing) {
  HostState after = Host();
  after.processes[{500, 5000}] = {"squall-burner", kAgent.pid, std::nullopt, ""};
  after.processes[{501, 5000}] = {"squall-guardian", kAgent.pid, std::nullopt, ""};  // one that died was replaced
  const std::vector<HostChange> changes = Compare(Host(), after, NothingTouched());
  ASSERT_THAT(Words(changes), ElementsAre("by squall: process pid 500 (squall-burner)"));
  EXPECT_EQ(changes[0].command(), "kill -KILL 500");
}

TEST(HostChanges, AFileThatAFaultMadeIsItsDoing) {
  HostState after = Host();
  after.things[{"file", "/srv/data/squall-fill"}] = {"there", std::nullopt, ""};
  Touched touched = NothingTouched();
  Undo undo;
  undo.mutable_file()->set_path("/srv/data/squall-fill");
  AddTo(touched, undo);
  const std::vector<HostChange> changes = Compare(Host(), after, touched);
  ASSERT_THAT(Words(changes), ElementsAre("by squall: file /srv/data/squall-fill"));
  EXPECT_EQ(changes[0].command(), "rm /srv/data/squall-fill");
}

TEST(HostChanges, ALockFileIsSquallsDoingWhenItIsOfAServiceOfTheRun) {
  HostState after = Host();
  after.things[{"lock", "/run/lock/squall-300-3000.lock"}] = Of(kService, "");
  after.things[{"lock", "/run/lock/squall-400-4000.lock"}] = Of(kBystander, "");  // held by another run
  EXPECT_THAT(Changed(after), IsEmpty());
  Touched touched = NothingTouched();
  touched.services.insert(kService);
  EXPECT_THAT(Changed(after, touched), ElementsAre("by squall: file /run/lock/squall-300-3000.lock"));
}

}  // namespace
}  // namespace squall
