#include "agent/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "absl/strings/str_cat.h"
#include "agent/leftovers.h"
#include "agent/undo.h"
#include "base/clock.h"
#include "base/frames.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<std::string> Files(const std::vector<PendingUndo>& pending) {
  std::vector<std::string> files;
  for (const PendingUndo& each : pending) files.push_back(each.undo().file().path());
  return files;
}

class JournalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/squall-journal-test-XXXXXX";
    folder_ = mkdtemp(name);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return absl::StrCat(folder_, "/", name); }
  static void Write(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }
  Undo FileAt(const std::string& name) const {
    Undo undo;
    undo.mutable_file()->set_path(Path(name));
    return undo;
  }
  // A journal of somebody who is gone, of this boot or another, with a file and a stopped process in it.
  std::string Left(const std::string& boot_id, const std::vector<Undo>& undos) const {
    std::string bytes = absl::StrCat("squall journal 2       \n", std::string(8, '\0'));
    JournalEntry entry;
    entry.mutable_owner()->set_boot_id(boot_id);
    entry.mutable_owner()->mutable_agent()->set_pid(1);
    AppendFrame(entry.SerializeAsString(), bytes);
    uint64_t number = 0;
    for (const Undo& undo : undos) {
      entry.mutable_pending()->set_number(++number);
      *entry.mutable_pending()->mutable_undo() = undo;
      AppendFrame(entry.SerializeAsString(), bytes);
    }
    return bytes;
  }
  static std::string ThisBoot() {
    std::string id;
    std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
    return id;
  }

  std::string folder_;
};

TEST_F(JournalTest, WhatIsPendingCanBeReadByOthersBeforeItIsDone) {
  const auto journal = Journal::Create(folder_).value();
  const uint64_t first = journal->Pend(FileAt("a")).value();
  const uint64_t second = journal->Pend(FileAt("b")).value();
  EXPECT_NE(first, second);
  const JournalContent read = ReadJournal(journal->path()).value();
  EXPECT_THAT(Files(read.pending), ElementsAre(Path("a"), Path("b")));
  EXPECT_EQ(read.owner.agent().pid(), getpid());
  EXPECT_FALSE(read.torn);
}

TEST_F(JournalTest, WhatIsDoneIsNoLongerPending) {
  const auto journal = Journal::Create(folder_).value();
  const uint64_t first = journal->Pend(FileAt("a")).value();
  journal->Pend(FileAt("b")).value();
  journal->Done(first);
  journal->Done(first);  // again does nothing
  EXPECT_THAT(Files(ReadJournal(journal->path())->pending), ElementsAre(Path("b")));
  EXPECT_THAT(Files(journal->Pending()), ElementsAre(Path("b")));
}

TEST_F(JournalTest, SaysUntilWhenItMayStayAndKeepsItsEntries) {
  const auto journal = Journal::Create(folder_).value();
  EXPECT_EQ(ReadJournal(journal->path())->expires_ns, 0);
  journal->SetExpiry(0x0102030405060708);
  journal->SetExpiry(0x0102030405060709);
  EXPECT_EQ(ReadJournal(journal->path())->expires_ns, 0x0102030405060708) << "next to the same";
  journal->Pend(FileAt("a")).value();
  journal->SetExpiry(0x1112131415161718);
  const JournalContent read = ReadJournal(journal->path()).value();
  EXPECT_EQ(read.expires_ns, 0x1112131415161718);
  EXPECT_THAT(Files(read.pending), ElementsAre(Path("a")));
  EXPECT_FALSE(read.torn);
  EXPECT_EQ(read.owner.agent().pid(), getpid());
}

TEST_F(JournalTest, DoesNotGrowForEver) {
  const auto journal = Journal::Create(folder_).value();
  const auto empty = std::filesystem::file_size(journal->path());
  for (int i = 0; i < 20; ++i) journal->Done(journal->Pend(FileAt("a")).value());
  EXPECT_EQ(std::filesystem::file_size(journal->path()), empty);
  EXPECT_THAT(ReadJournal(journal->path())->pending, IsEmpty());
}

TEST_F(JournalTest, GoesWithItsAgentUnlessSomethingIsLeft) {
  std::string path;
  {
    const auto journal = Journal::Create(folder_).value();
    path = journal->path();
    journal->Done(journal->Pend(FileAt("a")).value());
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  {
    const auto journal = Journal::Create(folder_).value();
    journal->Pend(FileAt("a")).value();
  }
  EXPECT_THAT(ReadJournal(path)->pending, SizeIs(1));
}

TEST_F(JournalTest, AnEndThatWasCutOffHidesNothingBeforeIt) {
  const std::string whole = Left(ThisBoot(), {FileAt("a"), FileAt("b")});
  const std::string first = Left(ThisBoot(), {FileAt("a")});
  for (size_t size = first.size(); size < whole.size(); ++size) {
    const JournalContent read = ParseJournal(whole.substr(0, size)).value();
    EXPECT_THAT(Files(read.pending), ElementsAre(Path("a"))) << size;
    EXPECT_EQ(read.torn, size != first.size());
  }
}

TEST_F(JournalTest, DamageIsNoticedAndWhatFollowsItIsNotBelieved) {
  const std::string whole = Left(ThisBoot(), {FileAt("a"), FileAt("b")});
  for (size_t at = Left(ThisBoot(), {FileAt("a")}).size(); at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x20);
    const JournalContent read = ParseJournal(damaged).value();
    EXPECT_TRUE(read.torn) << at;
    EXPECT_THAT(Files(read.pending), ElementsAre(Path("a"))) << at;
  }
}

TEST_F(JournalTest, NoContentCrashesIt) {
  std::mt19937 random(7);
  const std::string whole = Left(ThisBoot(), {FileAt("a"), FileAt("b")});
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = whole;
    for (int change = random() % 5; change >= 0; --change) bytes[random() % bytes.size()] = static_cast<char>(random());
    bytes.resize(random() % (bytes.size() + 1));
    ParseJournal(bytes).IgnoreError();
  }
  EXPECT_TRUE(absl::IsDataLoss(ParseJournal("").status()));
  EXPECT_TRUE(absl::IsDataLoss(ParseJournal("something else\n").status()));
  EXPECT_TRUE(absl::IsUnimplemented(ParseJournal("squall journal 9       \nwhatever that says").status()));
}

TEST_F(JournalTest, WhatAnAgentThatIsGoneLeftIsTakenBackAndItsJournalRemoved) {
  Write(Path("fill"), "x");
  Write(Path("1-2.journal"), Left(ThisBoot(), {FileAt("fill")}));
  const Recovered recovered = TakeBackLeftovers(folder_);
  EXPECT_EQ(recovered.taken_back, 1);
  EXPECT_THAT(recovered.left, IsEmpty());
  EXPECT_THAT(std::filesystem::exists(Path("fill")), false);
  EXPECT_THAT(std::filesystem::exists(Path("1-2.journal")), false);
}

TEST_F(JournalTest, TheJournalOfALivingAgentIsLeftAlone) {
  Write(Path("fill"), "x");
  const pid_t agent = fork();
  if (agent == 0) {
    const auto journal = Journal::Create(folder_).value();
    journal->Pend(FileAt("fill")).value();
    Write(Path("ready"), "");
    pause();
  }
  while (!std::filesystem::exists(Path("ready"))) usleep(1000);
  EXPECT_EQ(TakeBackLeftovers(folder_).taken_back, 0);
  EXPECT_TRUE(std::filesystem::exists(Path("fill")));
  kill(agent, SIGKILL);
  waitpid(agent, nullptr, 0);
  EXPECT_EQ(TakeBackLeftovers(folder_).taken_back, 1);
  EXPECT_FALSE(std::filesystem::exists(Path("fill")));
}

// As it is where agent and guardian were stopped, or the guardian was killed while the agent hung.
TEST_F(JournalTest, AnAgentThatHangsUnguardedPastItsExpiryIsEndedByTheNextOne) {
  constexpr int64_t kSecond = 1'000'000'000;
  const struct {
    int64_t from_now_ns;  // 0: never
    bool ended;
  } kCases[] = {{-4 * kSecond, true},
                {-kSecond / 10, false},  // its guardian's to end
                {60 * kSecond, false},
                {0, false}};
  for (const auto& [from_now_ns, ended] : kCases) {
    SCOPED_TRACE(from_now_ns);
    const int64_t expires_ns = from_now_ns == 0 ? 0 : BootNanos() + from_now_ns;
    Write(Path("fill"), "x");
    const pid_t agent = fork();
    if (agent == 0) {
      prctl(PR_SET_NAME, "squall-agent");
      const auto journal = Journal::Create(folder_).value();
      journal->SetExpiry(expires_ns);
      journal->Pend(FileAt("fill")).value();
      raise(SIGSTOP);
      _exit(1);
    }
    int status = 0;
    waitpid(agent, &status, WUNTRACED);
    ASSERT_TRUE(WIFSTOPPED(status));
    const Recovered recovered = TakeBackLeftovers(folder_);
    EXPECT_EQ(recovered.ended_agents, ended ? 1 : 0);
    EXPECT_EQ(recovered.taken_back, ended ? 1 : 0);
    EXPECT_EQ(std::filesystem::exists(Path("fill")), !ended);
    if (!ended) kill(agent, SIGKILL);
    waitpid(agent, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    TakeBackLeftovers(folder_);
  }
}

TEST_F(JournalTest, AStrangerWithTheNumberOfAnAgentIsNotEnded) {
  const pid_t stranger = fork();
  if (stranger == 0) {
    pause();
    _exit(1);
  }
  EXPECT_FALSE(EndAgent(ReadStat(stranger)->id));
  EXPECT_TRUE(IsAlive(ReadStat(stranger)->id));
  kill(stranger, SIGKILL);
  waitpid(stranger, nullptr, 0);
}

TEST_F(JournalTest, OfAnotherBootOnlyFilesMatter) {
  Write(Path("fill"), "x");
  const pid_t stopped = fork();
  if (stopped == 0) {
    raise(SIGSTOP);
    _exit(0);
  }
  int status = 0;
  waitpid(stopped, &status, WUNTRACED);
  Undo go_on;
  *go_on.mutable_stopped()->add_processes() = ToProto(ReadStat(stopped)->id);
  Write(Path("1-2.journal"), Left("another-boot", {FileAt("fill"), go_on}));
  EXPECT_EQ(TakeBackLeftovers(folder_).taken_back, 1);
  EXPECT_FALSE(std::filesystem::exists(Path("fill")));
  EXPECT_EQ(ReadStat(stopped)->state, 'T') << "a process of another boot only has the same number";
  kill(stopped, SIGKILL);
  waitpid(stopped, nullptr, 0);
}

TEST_F(JournalTest, WhatCannotBeTakenBackIsToldAndKeptForTheNextTime) {
  Undo unknown;
  Write(Path("fill"), "x");
  Write(Path("1-2.journal"), Left(ThisBoot(), {FileAt("fill"), unknown}));
  const Recovered recovered = TakeBackLeftovers(folder_);
  EXPECT_EQ(recovered.taken_back, 1) << "it goes on past errors";
  ASSERT_THAT(recovered.left, SizeIs(1));
  EXPECT_THAT(ToText(recovered.left[0]), ::testing::StartsWith("NOT HEALED: something that a newer squall changed: "));
  EXPECT_TRUE(std::filesystem::exists(Path("1-2.journal")));
}

TEST_F(JournalTest, OneOfAnotherVersionIsKeptForThatVersion) {
  Write(Path("1-2.journal"), absl::StrCat("squall journal 9       \n", std::string(100, 'x')));
  const Recovered recovered = TakeBackLeftovers(folder_);
  ASSERT_THAT(recovered.left, SizeIs(1));
  EXPECT_EQ(recovered.left[0].command, "squall-agent heal, of the squall that wrote it");
  EXPECT_TRUE(std::filesystem::exists(Path("1-2.journal")));
}

TEST_F(JournalTest, FolderOfOthersIsRefused) {
  setenv("SQUALL_STATE_DIR", Path("state").c_str(), 1);
  EXPECT_EQ(JournalFolder().value(), Path("state"));
  chmod(Path("state").c_str(), 0777);
  EXPECT_EQ(JournalFolder().value(), Path("state")) << "its own is mended";
  struct stat about;
  stat(Path("state").c_str(), &about);
  EXPECT_EQ(about.st_mode & 022, 0u);
  if (geteuid() == 0) {
    ASSERT_EQ(chown(Path("state").c_str(), 65534, 65534), 0);
    EXPECT_TRUE(absl::IsPermissionDenied(JournalFolder().status()));
  }
  unsetenv("SQUALL_STATE_DIR");
}

}  // namespace
}  // namespace squall
