// Counting what the kernel refuses, in real processes. A bystander of the same kind is refused the same in every test, and not counted.
#include "agent/process/refusals.h"

#include <gtest/gtest.h>

#include <fstream>

#include "agent/process/cgroup.h"
#include "agent/process/puppet.h"

namespace squall {
namespace {

class RefusalsTest : public ::testing::Test {
 protected:
  void Start(const std::string& cgroup = "") {
    absl::StatusOr<std::unique_ptr<Refusals>> refusals = Refusals::Start(cgroup);
    if (!refusals.ok()) {
      printf("LEFT OUT: refusals_test: needs root and a kernel with BPF: %s\n", std::string(refusals.status().message()).c_str());
      GTEST_SKIP();
    }
    refusals_ = *std::move(refusals);
    for (Puppet* puppet : {&target_, &bystander_}) puppet->SetSoftLimit(8);
  }
  int64_t Seen(std::initializer_list<int> errors = {EMFILE}) { return refusals_->Seen(errors); }

  Puppet target_, bystander_;
  std::unique_ptr<Refusals> refusals_;
};

TEST_F(RefusalsTest, CountsEachRefusalOfAWatchedProcessAndNoneOfOthers) {
  Start();
  if (refusals_ == nullptr) return;
  ASSERT_TRUE(refusals_->Watch({target_.id()}).ok());
  EXPECT_EQ(bystander_.OpenAll().error, EMFILE);
  EXPECT_EQ(Seen(), 0);
  EXPECT_EQ(target_.OpenAll().error, EMFILE);
  EXPECT_EQ(Seen(), 1);
  for (int i = 0; i < 10; ++i) target_.OpenAll();
  EXPECT_EQ(Seen(), 11);
}

TEST_F(RefusalsTest, KeepsErrorsApart) {
  Start();
  if (refusals_ == nullptr) return;
  ASSERT_TRUE(refusals_->Watch({target_.id()}).ok());
  EXPECT_EQ(target_.Close(77).error, EBADF);
  EXPECT_EQ(target_.Write("/dev/full", 1).error, ENOSPC);
  EXPECT_EQ(target_.Write("/dev/full", 1).error, ENOSPC);
  EXPECT_EQ(target_.OpenAll().error, EMFILE);
  EXPECT_EQ(Seen({EMFILE}), 1);
  EXPECT_EQ(Seen({ENOSPC}), 2);
  EXPECT_EQ(Seen({ENOSPC, EDQUOT}), 2);
  EXPECT_EQ(Seen({ENFILE, EDQUOT}), 0);
}

TEST_F(RefusalsTest, WatchesThoseNamedLastAndKeepsWhatItHasCounted) {
  Start();
  if (refusals_ == nullptr) return;
  ASSERT_TRUE(refusals_->Watch({target_.id()}).ok());
  target_.OpenAll();
  ASSERT_TRUE(refusals_->Watch({bystander_.id()}).ok());
  target_.OpenAll();
  EXPECT_EQ(Seen(), 1);
  bystander_.OpenAll();
  EXPECT_EQ(Seen(), 2);
}

TEST_F(RefusalsTest, SeesInACgroupAlsoAChildThatIsGoneAtOnce) {
  absl::StatusOr<Cgroup> cgroup = Cgroup::Make("refusals");
  Start(cgroup.ok() ? cgroup->path() : "");
  if (refusals_ == nullptr) return;
  ASSERT_TRUE(cgroup.ok()) << cgroup.status();
  std::ofstream(cgroup->path() + "/cgroup.procs") << target_.pid();
  EXPECT_EQ(target_.OpenAllInAChild().value, 4);
  EXPECT_EQ(bystander_.OpenAllInAChild().value, 4);
  EXPECT_EQ(Seen(), 1);
  target_.End();
  EXPECT_TRUE(cgroup->Remove().ok());
}

TEST_F(RefusalsTest, OfACgroupThatIsNotThereIsAnError) {
  Start();
  if (refusals_ == nullptr) return;
  EXPECT_EQ(Refusals::Start("/sys/fs/cgroup/there-is-none").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace squall
