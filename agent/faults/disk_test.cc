// disk on filesystems of 64 MiB that the test makes, in a mount namespace of its own. A bystander writes to another one in every test.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/faults/fault.h"
#include "agent/faults/fill_file.h"
#include "agent/leftovers.h"
#include "agent/process/puppet.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kNobody = 65534;
constexpr char kWorld[] = "/mnt";  // in the test's own mount namespace

int64_t FreeIn(const std::string& path) {
  struct statvfs space = {};
  statvfs(path.c_str(), &space);
  return static_cast<int64_t>(space.f_bavail * space.f_frsize);
}

int64_t ReserveOf(const std::string& path) {
  struct statvfs space = {};
  statvfs(path.c_str(), &space);
  return static_cast<int64_t>((space.f_bfree - space.f_bavail) * space.f_frsize);
}

int FilesIn(const std::string& path) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(path)) count += entry.is_regular_file();
  return count;
}

class DiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(::testing::TempDir(), "disk_test-", getpid());
    fs::create_directories(folder_ + "/data");
    fs::create_directories(folder_ + "/other");
    if (unshare(CLONE_NEWNS) != 0 || mount("", "/", "", MS_REC | MS_PRIVATE, nullptr) != 0) {
      printf("LEFT OUT: disk_test: mounting filesystems of its own needs root\n");
      GTEST_SKIP();
    }
    // Where another user may walk to: the folder for tests may lie in one that is root's alone.
    ASSERT_EQ(mount(folder_.c_str(), kWorld, "", MS_BIND, nullptr), 0);
    data_ = absl::StrCat(kWorld, "/data");
    other_ = absl::StrCat(kWorld, "/other");
    ASSERT_TRUE(MountTmpfs(other_, "64m"));
    target_ = std::make_unique<Puppet>();
    bystander_ = std::make_unique<Puppet>();
    journal_ = Journal::Create(folder_).value();
    Service service;
    service.set_name("target");
    service.mutable_attach()->set_pid(target_->pid());
    services_["target"] = std::make_unique<RunningService>(
        service, RunningService::Context{"/", "test", /*main_thread=*/nullptr, journal_.get(), &events_});
    const absl::Status claimed = services_["target"]->Claim();
    ASSERT_TRUE(claimed.ok()) << claimed;
  }
  void TearDown() override {
    if (bystander_ != nullptr) {
      EXPECT_EQ(bystander_->Write(other_ + "/notes", 10 * kMiB).value, 10 * kMiB) << "the fault hit a bystander";
      EXPECT_TRUE(journal_->Pending().empty());
    }
    services_.clear();
    target_.reset();
    bystander_.reset();
    journal_.reset();
    while (!data_.empty() && umount(data_.c_str()) == 0) {
    }
    if (!other_.empty()) {
      EXPECT_EQ(umount(other_.c_str()), 0);
      EXPECT_EQ(umount(kWorld), 0);
    }
    fs::remove_all(folder_);
  }

  static bool MountTmpfs(const std::string& at, const std::string& size) {
    return mount("tmpfs", at.c_str(), "tmpfs", 0, absl::StrCat("size=", size, ",mode=1777").c_str()) == 0;
  }
  // A disk in a file: `kind` with a twentieth kept for root.
  void MountDisk(const std::string& kind) {
    const std::string image = absl::StrCat(kWorld, "/", kind, ".img");
    const std::string command = absl::StrCat("PATH=$PATH:/sbin:/usr/sbin; truncate -s 64M ", image, " && mkfs.", kind, " -q -m 5 ", image,
                                             " && mount -o loop ", image, " ", data_, " && chmod 1777 ", data_);
    ASSERT_EQ(system(command.c_str()), 0);
  }

  FaultContext Context(Journal* journal) {
    FaultContext context;
    context.services = &services_;
    context.journal = journal;
    context.folder = kWorld;
    return context;
  }
  std::unique_ptr<ActiveFault> Leave(int64_t bytes) { return MakeDisk(Spec(bytes), Context(journal_.get())); }
  static Disk Spec(int64_t leave, const std::string& path = "data") {
    Disk disk;
    disk.set_service("target");
    disk.set_path(path);
    disk.set_leave(leave);
    return disk;
  }
  static void Inject(ActiveFault& fault) {
    const absl::Status status = fault.Inject();
    ASSERT_TRUE(status.ok()) << status;
  }
  static void Heal(ActiveFault& fault) {
    const absl::Status status = fault.Heal(HealFor::kFaultOver);
    EXPECT_TRUE(status.ok()) << status;
  }
  Puppet::Answer Write(int64_t bytes) { return target_->Write(data_ + "/log", bytes); }

  std::string folder_, data_, other_;
  std::unique_ptr<Puppet> target_, bystander_;
  std::unique_ptr<Journal> journal_;
  Events events_;
  std::map<std::string, std::unique_ptr<RunningService>> services_;
};

TEST_F(DiskTest, LeavesNothingAndGivesItAllBackOnceItIsHealedTwice) {
  ASSERT_TRUE(MountTmpfs(data_, "64m"));
  Write(4096);
  const int64_t before = FreeIn(data_);
  auto fault = Leave(0);
  Inject(*fault);
  EXPECT_EQ(FreeIn(data_), 0);
  EXPECT_EQ(FilesIn(data_), 1) << "only the service's: it has no name";
  const Puppet::Answer written = Write(kMiB);
  EXPECT_EQ(written.value, 0);
  EXPECT_EQ(written.error, ENOSPC);
  Heal(*fault);
  EXPECT_EQ(FreeIn(data_), before);
  Heal(*fault);
  EXPECT_EQ(Write(kMiB).value, kMiB);
}

TEST_F(DiskTest, SaysWhatItHeldWhatWasLeftAndHowOftenTheServiceWasRefused) {
  ASSERT_TRUE(MountTmpfs(data_, "64m"));
  const int64_t before = FreeIn(data_);
  auto fault = Leave(8 * kMiB);
  Inject(*fault);
  Evidence evidence = fault->Seen();
  EXPECT_EQ(evidence.requested_left_bytes(), 8 * kMiB);
  EXPECT_EQ(evidence.achieved_left_bytes(), 8 * kMiB);
  EXPECT_EQ(evidence.held_bytes(), before - 8 * kMiB);
  EXPECT_TRUE(evidence.refusals_seen());
  EXPECT_EQ(evidence.refusals(), 0);
  EXPECT_EQ(Write(100 * kMiB).error, ENOSPC);
  EXPECT_EQ(bystander_->Write("/dev/full", 1).error, ENOSPC);
  EXPECT_EQ(fault->Seen().refusals(), 1);
  Heal(*fault);
  evidence = fault->Seen();
  EXPECT_EQ(evidence.refusals(), 1);
  EXPECT_GE(evidence.held_bytes(), before - 8 * kMiB) << "what it held is said when it is over, too";
}

TEST_F(DiskTest, KeepsAsMuchLeftWhenOthersUseAndFreeSpace) {
  ASSERT_TRUE(MountTmpfs(data_, "64m"));
  auto fault = Leave(8 * kMiB);
  Inject(*fault);
  EXPECT_EQ(Write(6 * kMiB).value, 6 * kMiB);
  EXPECT_TRUE(Eventually([&] { return FreeIn(data_) == 8 * kMiB; })) << FreeIn(data_);
  target_->Remove(data_ + "/log");
  EXPECT_TRUE(Eventually([&] { return FreeIn(data_) == 8 * kMiB; })) << FreeIn(data_);
  Heal(*fault);
}

TEST_F(DiskTest, KeepsAFloorWhereTheHostLives) {
  ASSERT_TRUE(MountTmpfs(data_, "64m"));
  const char* had = getenv("TMPDIR");
  const std::string before = had == nullptr ? "" : had;
  setenv("TMPDIR", data_.c_str(), 1);
  auto fault = Leave(0);
  Inject(*fault);
  had == nullptr ? unsetenv("TMPDIR") : setenv("TMPDIR", before.c_str(), 1);
  constexpr int64_t kFloor = 64 * kMiB / 20;
  EXPECT_GE(FreeIn(data_), kFloor);
  EXPECT_LT(FreeIn(data_), kFloor + 8192);
  EXPECT_EQ(fault->Seen().requested_left_bytes(), 0);
  EXPECT_EQ(fault->Seen().achieved_left_bytes(), FreeIn(data_));
  Heal(*fault);
}

TEST_F(DiskTest, TakesWhatIsKeptForRootOnlyFromAServiceThatMayUseIt) {
  MountDisk("ext4");
  ASSERT_GT(ReserveOf(data_), kMiB);
  auto of_root = Leave(0);
  Inject(*of_root);
  EXPECT_EQ(Write(kMiB).error, ENOSPC) << "the target is root";
  Heal(*of_root);

  target_->Remove(data_ + "/log");
  target_->BecomeUser(kNobody);
  auto of_nobody = Leave(0);
  Inject(*of_nobody);
  EXPECT_EQ(Write(kMiB).error, ENOSPC);
  EXPECT_GT(ReserveOf(data_), kMiB);
  EXPECT_EQ(bystander_->Write(data_ + "/root", 64 << 10).value, 64 << 10) << "root has its own left";
  Heal(*of_nobody);
}

TEST_F(DiskTest, WritesWhereSpaceCannotBeReserved) {
  MountDisk("ext2");
  const int64_t before = FreeIn(data_);
  auto fault = Leave(8 * kMiB);
  Inject(*fault);
  EXPECT_LT(std::abs(fault->Seen().achieved_left_bytes() - 8 * kMiB), kMiB);
  Heal(*fault);
  EXPECT_EQ(FreeIn(data_), before);
}

TEST_F(DiskTest, TheKernelFreesTheSpaceWhenTheAgentIsKilled) {
  MountDisk("ext4");
  const int64_t before = FreeIn(data_);
  int said[2];
  ASSERT_EQ(pipe(said), 0);
  const pid_t agent = fork();
  if (agent == 0) {
    auto fault = Leave(0);
    const bool ok = fault->Inject().ok();
    (void)!write(said[1], ok ? "y" : "n", 1);
    while (true) pause();
  }
  char byte = 0;
  ASSERT_EQ(read(said[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  EXPECT_EQ(Write(kMiB).error, ENOSPC);
  EXPECT_TRUE(journal_->Pending().empty()) << "nothing has to be remembered";
  kill(agent, SIGKILL);
  waitpid(agent, nullptr, 0);
  EXPECT_TRUE(Eventually([&] { return FreeIn(data_) >= before - 8192; }));
  close(said[0]);
  close(said[1]);
}

TEST_F(DiskTest, AFileThatMustHaveANameIsInTheJournalAndRemovedFromIt) {
  MountDisk("ext4");
  const int64_t before = FreeIn(data_);
  const std::string folder = folder_ + "/of-the-dead";
  fs::create_directory(folder);
  int said[2];
  ASSERT_EQ(pipe(said), 0);
  const pid_t agent = fork();
  if (agent == 0) {
    const std::unique_ptr<Journal> journal = Journal::Create(folder).value();
    const auto file = FillFile::Make(data_, journal.get(), /*may_be_nameless=*/false).value();
    const bool ok = file->Grow(16 * kMiB).value() == 16 * kMiB;
    (void)!write(said[1], ok ? "y" : "n", 1);
    while (true) pause();
  }
  char byte = 0;
  ASSERT_EQ(read(said[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  kill(agent, SIGKILL);
  waitpid(agent, nullptr, 0);
  EXPECT_EQ(FilesIn(data_), 1) << "it outlives the agent";
  const Recovered recovered = TakeBackLeftovers(folder);
  for (const Leftover& left : recovered.left) ADD_FAILURE() << ToText(left);
  EXPECT_EQ(recovered.taken_back, 1);
  EXPECT_EQ(FilesIn(data_), 0);
  EXPECT_GE(FreeIn(data_), before - 8192);
  close(said[0]);
  close(said[1]);
}

TEST_F(DiskTest, FilesWithNamesAreApartAndGoneWhenRemovedTwice) {
  ASSERT_TRUE(MountTmpfs(data_, "64m"));
  const auto one = FillFile::Make(data_, journal_.get(), false).value();
  const auto other = FillFile::Make(data_, journal_.get(), false).value();
  EXPECT_EQ(FilesIn(data_), 2);
  EXPECT_EQ(journal_->Pending().size(), 2u);
  EXPECT_TRUE(one->Remove().ok());
  EXPECT_TRUE(one->Remove().ok());
  EXPECT_EQ(FilesIn(data_), 1);
  EXPECT_EQ(journal_->Pending().size(), 1u);
  EXPECT_EQ(other->Grow(kMiB).value(), kMiB);
  EXPECT_TRUE(other->Remove().ok());
  EXPECT_EQ(FreeIn(data_), 64 * kMiB);
}

TEST_F(DiskTest, WithoutAJournalNoFileWithANameIsMade) {
  ASSERT_TRUE(MountTmpfs(data_, "64m"));
  signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit none = {1, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
  const absl::Status made = FillFile::Make(data_, journal_.get(), false).status();
  // Nor does a fault whose file may not grow leave anything.
  auto fault = Leave(0);
  const absl::Status injected = fault->Inject();
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_TRUE(absl::StrContains(made.message(), "journal")) << made;
  EXPECT_TRUE(absl::StrContains(injected.message(), "squall may make no larger file")) << injected;
  EXPECT_EQ(FilesIn(data_), 0);
  EXPECT_EQ(FreeIn(data_), 64 * kMiB);
  Heal(*fault);
}

TEST_F(DiskTest, LeavesTheHostsMemoryAlone) {
  ASSERT_TRUE(MountTmpfs(data_, "1000g"));
  const int64_t before = FreeIn(data_);
  auto fault = Leave(0);
  const absl::Status status = fault->Inject();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "is in memory: filling it takes 1024000 MiB")) << status;
  EXPECT_EQ(FreeIn(data_), before);
  // As much as is asked for by far is left: nothing to take.
  auto nothing = Leave(int64_t{1} << 50);
  Inject(*nothing);
  EXPECT_EQ(nothing->Seen().held_bytes(), 0);
  Heal(*nothing);
}

TEST_F(DiskTest, CheckSaysWhyAFolderCannotBeFilled) {
  ASSERT_TRUE(MountTmpfs(data_, "64m"));
  std::ofstream(absl::StrCat(kWorld, "/file")) << "x";
  const auto check = [&](const std::string& path) { return CheckDisk(Spec(0, path), kWorld).ToString(); };
  EXPECT_EQ(check("data"), "OK");
  EXPECT_EQ(check("./other/../data"), "OK");
  EXPECT_EQ(check(data_), "OK");
  EXPECT_EQ(FilesIn(data_), 0) << "touches nothing";
  EXPECT_TRUE(absl::StrContains(check("missing"), absl::StrCat("there is no folder ", kWorld, "/missing"))) << check("missing");
  EXPECT_TRUE(absl::StrContains(check("file"), "is no folder")) << check("file");
  for (const char* nothing : {"/proc", "/proc/self", "/sys", "/sys/kernel"}) {
    EXPECT_TRUE(absl::StrContains(check(nothing), "has no space to fill")) << check(nothing);
  }
  ASSERT_EQ(mount("", data_.c_str(), "", MS_REMOUNT | MS_RDONLY, nullptr), 0);
  EXPECT_TRUE(absl::StrContains(check("data"), "mounted read-only")) << check("data");
  auto fault = Leave(0);
  EXPECT_FALSE(fault->Inject().ok());
  Heal(*fault);
}

}  // namespace
}  // namespace squall
