// fds against real processes. A bystander of the same kind runs beside the target in every test.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/faults/fault.h"
#include "agent/leftovers.h"
#include "agent/process/puppet.h"
#include "agent/undo.h"

namespace squall {
namespace {

constexpr rlim_t kBefore = 200;

rlimit LimitOf(pid_t pid) {
  rlimit limit = {};
  prlimit(pid, RLIMIT_NOFILE, nullptr, &limit);
  return limit;
}

class FdsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(::testing::TempDir(), "/fds_test-", getpid());
    std::filesystem::create_directories(folder_);
    for (Puppet* puppet : {&target_, &bystander_}) puppet->SetSoftLimit(kBefore);
    hard_ = LimitOf(target_.pid()).rlim_max;
    journal_ = Journal::Create(folder_).value();
    Service service;
    service.set_name("target");
    service.mutable_attach()->set_pid(target_.pid());
    services_["target"] = std::make_unique<RunningService>(
        service, RunningService::Context{"/", "test", /*main_thread=*/nullptr, journal_.get(), &events_});
    const absl::Status claimed = services_["target"]->Claim();
    ASSERT_TRUE(claimed.ok()) << claimed;
  }
  void TearDown() override {
    EXPECT_EQ(bystander_.SoftLimit(), kBefore) << "the fault hit a bystander";
    bystander_.OpenAll();
    EXPECT_EQ(CountFds(bystander_.pid()), static_cast<int>(kBefore)) << "it can open as many as ever";
    for (const pid_t pid : forked_) kill(pid, SIGKILL);
    services_.clear();
    journal_.reset();
    std::filesystem::remove_all(folder_);
  }

  std::unique_ptr<ActiveFault> Leave(int32_t leave) {
    Fds fds;
    fds.set_service("target");
    fds.set_leave(leave);
    FaultContext context;
    context.services = &services_;
    context.journal = journal_.get();
    return MakeFds(fds, context);
  }
  static void Inject(ActiveFault& fault) {
    const absl::Status status = fault.Inject();
    ASSERT_TRUE(status.ok()) << status;
  }
  static void Heal(ActiveFault& fault) {
    const absl::Status status = fault.Heal(HealFor::kFaultOver);
    EXPECT_TRUE(status.ok()) << status;
  }
  pid_t Fork(Puppet& parent) {
    forked_.push_back(parent.Fork());
    return forked_.back();
  }

  std::string folder_;
  Puppet target_, bystander_;
  rlim_t hard_ = 0;
  std::unique_ptr<Journal> journal_;
  Events events_;
  std::map<std::string, std::unique_ptr<RunningService>> services_;
  std::vector<pid_t> forked_;
};

TEST_F(FdsTest, LeavesAsManyAsAskedForThenNoneAndAllOnceItIsHealedTwice) {
  auto fault = Leave(5);
  Inject(*fault);
  const Puppet::Answer opened = target_.OpenAll();
  EXPECT_EQ(opened.value, 5);
  EXPECT_EQ(opened.error, EMFILE);
  EXPECT_EQ(LimitOf(target_.pid()).rlim_max, hard_) << "the hard limit is not touched";
  Heal(*fault);
  EXPECT_EQ(target_.SoftLimit(), kBefore);
  EXPECT_EQ(LimitOf(target_.pid()).rlim_max, hard_);
  EXPECT_TRUE(journal_->Pending().empty());
  Heal(*fault);
  EXPECT_EQ(target_.SoftLimit(), kBefore);
  EXPECT_EQ(target_.OpenAll().value, static_cast<int64_t>(kBefore) - 9);
}

TEST_F(FdsTest, LeavesNoneWithoutANumberAndKeepsWhatIsOpen) {
  auto fault = Leave(0);
  Inject(*fault);
  EXPECT_EQ(target_.OpenAll().value, 0);
  for (int number = 0; number < 4; ++number) EXPECT_EQ(target_.Use(number).value, 0) << number;
  Heal(*fault);
}

TEST_F(FdsTest, CountsHolesAsFreeAndKeepsWhatIsOpenAboveTheLimit) {
  // Open: 0 to 3, 6, 7, 100. Free below 100: 4, 5 and from 8 on.
  for (const int number : {6, 7, 100}) target_.Open(number);
  auto fault = Leave(3);
  Inject(*fault);
  EXPECT_EQ(target_.SoftLimit(), 9u);
  EXPECT_EQ(target_.OpenAll().value, 3);
  EXPECT_EQ(target_.Use(100).value, 0) << "open, above the limit";
  EXPECT_EQ(target_.Close(6).value, 0);
  EXPECT_EQ(target_.OpenAll().value, 1) << "what is closed can be opened again";
  Heal(*fault);

  auto in_a_hole = Leave(0);
  target_.Close(5);
  Inject(*in_a_hole);
  EXPECT_EQ(target_.OpenAll().value, 0);
  EXPECT_EQ(target_.Use(8).value, 0);
  Heal(*in_a_hole);
  EXPECT_EQ(target_.SoftLimit(), kBefore);
}

TEST_F(FdsTest, SaysHowManyWereLeftAndHowOftenItWasRefused) {
  auto fault = Leave(5);
  Inject(*fault);
  EXPECT_EQ(fault->Seen().requested_left(), 5);
  EXPECT_EQ(fault->Seen().fewest_left(), 5);
  EXPECT_EQ(fault->Seen().refusals(), 0);
  target_.OpenAll();
  // Nobody asks meanwhile.
  EXPECT_TRUE(Eventually([&] { return fault->Seen().fewest_left() == 0; }));
  target_.OpenAll();
  bystander_.OpenAll();
  Heal(*fault);
  const Evidence evidence = fault->Seen();
  EXPECT_EQ(evidence.fewest_left(), 0);
  if (geteuid() == 0) EXPECT_TRUE(evidence.refusals_seen());
  EXPECT_EQ(evidence.refusals(), evidence.refusals_seen() ? 2 : 0);
  target_.OpenAll();
  EXPECT_EQ(fault->Seen().refusals(), evidence.refusals()) << "what comes after is not the fault's";
}

TEST_F(FdsTest, NeverRaisesALimitThatLeavesFewerAlready) {
  target_.SetSoftLimit(6);
  auto fault = Leave(100);
  Inject(*fault);
  EXPECT_EQ(target_.SoftLimit(), 6u);
  EXPECT_EQ(fault->Seen().fewest_left(), 2);
  EXPECT_TRUE(journal_->Pending().empty()) << "nothing was changed";
  Heal(*fault);
  EXPECT_EQ(target_.SoftLimit(), 6u);
  target_.SetSoftLimit(kBefore);
}

TEST_F(FdsTest, LowersEveryProcessByWhatItHasOpenAndHealsWhatWasForkedMeanwhile) {
  const pid_t child = Fork(target_);
  target_.Open(4);
  auto fault = Leave(2);
  Inject(*fault);
  EXPECT_EQ(target_.SoftLimit(), 7u);
  EXPECT_EQ(LimitOf(child).rlim_cur, 6u);
  const pid_t later = Fork(target_);
  EXPECT_EQ(LimitOf(later).rlim_cur, 7u) << "inherited";
  Heal(*fault);
  EXPECT_EQ(target_.SoftLimit(), kBefore);
  EXPECT_EQ(LimitOf(child).rlim_cur, kBefore);
  EXPECT_EQ(LimitOf(later).rlim_cur, kBefore);
}

TEST_F(FdsTest, LeavesALimitAloneThatTheServiceHasChangedSince) {
  auto fault = Leave(20);
  Inject(*fault);
  target_.SetSoftLimit(150);
  Heal(*fault);
  EXPECT_EQ(target_.SoftLimit(), 150u);
}

TEST_F(FdsTest, LeavesAloneAProcessThatHadSuchALimitBefore) {
  // Leave(5) of four that are open is 9, which the bystander has, and so has what it forks.
  bystander_.SetSoftLimit(9);
  auto fault = Leave(5);
  Inject(*fault);
  EXPECT_EQ(target_.SoftLimit(), 9u);
  const pid_t of_target = Fork(target_);
  const pid_t of_bystander = Fork(bystander_);
  Heal(*fault);
  EXPECT_EQ(LimitOf(of_target).rlim_cur, kBefore);
  EXPECT_EQ(LimitOf(of_bystander).rlim_cur, 9u);
  EXPECT_EQ(bystander_.SoftLimit(), 9u);
  bystander_.SetSoftLimit(kBefore);
}

TEST_F(FdsTest, AnAgentThatDiesIsUndoneFromItsJournalAlsoForOrphans) {
  // Another agent, which dies with the fault acting.
  int said[2];
  ASSERT_EQ(pipe(said), 0);
  const std::string folder = folder_ + "/of-the-dead";
  std::filesystem::create_directory(folder);
  const pid_t agent = fork();
  if (agent == 0) {
    const std::unique_ptr<Journal> journal = Journal::Create(folder).value();
    FaultContext context;
    context.services = &services_;
    context.journal = journal.get();
    Fds fds;
    fds.set_service("target");
    fds.set_leave(3);
    auto fault = MakeFds(fds, context);
    const bool ok = fault->Inject().ok();
    (void)!write(said[1], ok ? "y" : "n", 1);
    while (true) pause();
  }
  char byte = 0;
  ASSERT_EQ(read(said[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'y');
  const pid_t orphan = Fork(target_);
  kill(agent, SIGKILL);
  waitpid(agent, nullptr, 0);
  EXPECT_EQ(target_.OpenAll().value, 3) << "the limit outlives the agent";
  EXPECT_EQ(LimitOf(orphan).rlim_cur, 7u);
  // Its parent dies before anybody has looked.
  target_.End();
  const Recovered recovered = TakeBackLeftovers(folder);
  for (const Leftover& left : recovered.left) ADD_FAILURE() << ToText(left);
  EXPECT_EQ(recovered.taken_back, 1);
  EXPECT_EQ(LimitOf(orphan).rlim_cur, kBefore);
  close(said[0]);
  close(said[1]);
}

TEST_F(FdsTest, OnAServiceThatIsGoneIsAnError) {
  target_.End();
  auto fault = Leave(5);
  const absl::Status status = fault->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "service target: it has no process")) << status;
  EXPECT_TRUE(journal_->Pending().empty());
  Heal(*fault);
}

TEST_F(FdsTest, ThatCannotWriteItsJournalChangesNothing) {
  signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit none = {1, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
  auto fault = Leave(0);
  const absl::Status status = fault->Inject();
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_TRUE(absl::StrContains(status.message(), "journal")) << status;
  EXPECT_EQ(target_.SoftLimit(), kBefore);
  Heal(*fault);
}

TEST_F(FdsTest, CheckSaysWhyAnotherUsersProcessCannotBeLimited) {
  Service service;
  service.set_name("target");
  service.mutable_attach()->set_pid(target_.pid());
  Fds fds;
  fds.set_service("target");
  const absl::Status may = CheckFds(fds, service);
  EXPECT_TRUE(may.ok()) << may;
  if (geteuid() != 0) {
    printf("LEFT OUT: fds_test: becoming another user needs root\n");
    GTEST_SKIP();
  }
  // As a user without rights, in a process of its own.
  int said[2];
  ASSERT_EQ(pipe(said), 0);
  const pid_t nobody = fork();
  if (nobody == 0) {
    if (setuid(65534) != 0) _exit(1);
    const std::string text = CheckFds(fds, service).ToString();
    (void)!write(said[1], text.data(), text.size());
    _exit(0);
  }
  close(said[1]);
  char text[1024] = {};
  EXPECT_GT(read(said[0], text, sizeof(text) - 1), 0);
  waitpid(nobody, nullptr, 0);
  close(said[0]);
  EXPECT_TRUE(absl::StartsWith(text, "FAILED_PRECONDITION: leaving target few descriptors")) << text;
  EXPECT_TRUE(absl::StrContains(text, absl::StrCat("pid ", target_.pid()))) << text;
  EXPECT_TRUE(absl::StrContains(text, "run squall as root")) << text;
}

}  // namespace
}  // namespace squall
