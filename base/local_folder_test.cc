#include "base/local_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

namespace squall {
namespace {

TEST(LocalFolder, SocketOfThisProcessIsReadBackAndAlive) {
  const absl::StatusOr<std::string> own = OwnLocalSocket();
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_EQ(own->substr(0, own->rfind('/')), LocalFolder());
  LocalSocket socket;
  ASSERT_TRUE(ParseLocalSocket(*own, socket)) << *own;
  EXPECT_EQ(socket.pid, getpid());
  EXPECT_TRUE(IsAlive(socket));
}

TEST(LocalFolder, PidThatWasGivenToSomebodyElseIsNotAlive) {
  LocalSocket socket;
  ASSERT_TRUE(ParseLocalSocket(*OwnLocalSocket(), socket));
  ++socket.start_ticks;
  EXPECT_FALSE(IsAlive(socket));
}

TEST(LocalFolder, OtherFilesAreNoSockets) {
  LocalSocket socket;
  for (const char* name : {"agent-1.sock", "agent-1-2-3.sock", "agent--1-2.sock", "agent-x-2.sock", "agent-1-2.lock", "1-2.sock", ""}) {
    EXPECT_FALSE(ParseLocalSocket(std::string("/run/squall/") + name, socket)) << name;
  }
  EXPECT_TRUE(ParseLocalSocket("/run/squall/agent-1-2.sock", socket));
}

TEST(LocalFolder, OnlyAFolderOfThisUserAloneIsPrivate) {
  char path[] = "/tmp/squall-local-folder-XXXXXX";
  ASSERT_NE(mkdtemp(path), nullptr);
  const std::string folder = path;
  EXPECT_EQ(WhyNotPrivate(folder), "");
  chmod(path, 0750);
  EXPECT_EQ(WhyNotPrivate(folder), folder + " is open to others: chmod 700 " + folder);
  chmod(path, 0700);
  // What somebody else put in its place: a link to a folder that is private.
  const std::string link = folder + "-link";
  ASSERT_EQ(symlink(path, link.c_str()), 0);
  EXPECT_EQ(WhyNotPrivate(link), link + " is not a folder: remove it");
  unlink(link.c_str());
  if (geteuid() == 0) {
    ASSERT_EQ(chown(path, 65534, 65534), 0);
    EXPECT_EQ(WhyNotPrivate(folder), folder + " belongs to uid 65534: ask for it to be removed");
  }
  rmdir(path);
  EXPECT_EQ(WhyNotPrivate(folder), folder + " is not there");
}

TEST(LocalFolder, AgentsCanBeKeptApart) {
  setenv("SQUALL_RUNTIME_DIR", "/tmp/of-its-own", 1);
  EXPECT_EQ(LocalFolder(), "/tmp/of-its-own");
  setenv("SQUALL_RUNTIME_DIR", "", 1);
  EXPECT_NE(LocalFolder(), "");
  unsetenv("SQUALL_RUNTIME_DIR");
}

TEST(LocalFolder, RuntimeFolderOfSomebodyElseIsNotUsed) {
  if (geteuid() == 0) GTEST_SKIP() << "root has a folder of its own";
  setenv("XDG_RUNTIME_DIR", "/proc", 1);
  EXPECT_EQ(LocalFolder(), "/tmp/squall-" + std::to_string(geteuid()));
}

}  // namespace
}  // namespace squall
