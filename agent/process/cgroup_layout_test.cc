#include "agent/process/cgroup_layout.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"

namespace squall {
namespace {

// As on hosts that were seen; unrelated mounts are left in.
constexpr char kV1[] =
    "21 27 0:19 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"
    "30 21 0:25 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755\n"
    "33 30 0:29 / /sys/fs/cgroup/cpuset rw,nosuid shared:15 - cgroup cgroup rw,cpuset\n"
    "34 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:16 - cgroup cgroup rw,cpu,cpuacct\n"
    "35 30 0:31 / /sys/fs/cgroup/memory rw,nosuid shared:17 - cgroup cgroup rw,memory\n";
constexpr char kHybrid[] =
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
    "33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n";
constexpr char kV2[] =
    "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n"
    "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
constexpr char kContainer[] =
    "812 805 0:29 /docker/4f5a /sys/fs/cgroup/cpu,cpuacct ro,nosuid master:16 - cgroup cgroup rw,cpu,cpuacct\n";

CgroupMount Cpu(absl::string_view mountinfo) {
  const std::optional<CgroupMount> mount = HierarchyOf(ParseCgroupMounts(mountinfo), "cpu");
  EXPECT_TRUE(mount);
  return mount.value_or(CgroupMount());
}

TEST(Hierarchy, OfCpuOnV1IsTheMountThatHasItAlsoBesideAnother) {
  EXPECT_EQ(Cpu(kV1).version, 1);
  EXPECT_EQ(Cpu(kV1).folder, "/sys/fs/cgroup/cpu,cpuacct");
}

TEST(Hierarchy, OfCpuOnAHybridHostIsOnV1AlthoughV2IsMountedFirst) {
  EXPECT_EQ(Cpu(kHybrid).version, 1);
  EXPECT_EQ(Cpu(kHybrid).folder, "/sys/fs/cgroup/cpu");
}

TEST(Hierarchy, OfCpuOnPureV2IsTheOnlyOne) {
  EXPECT_EQ(Cpu(kV2).version, 2);
  EXPECT_EQ(Cpu(kV2).folder, "/sys/fs/cgroup");
}

TEST(Hierarchy, IsNotTakenForAnotherOfWhichItsNameIsAPart) {
  EXPECT_FALSE(HierarchyOf(ParseCgroupMounts("33 30 0:29 / /c rw - cgroup cgroup rw,cpuset,cpuacct\n"), "cpu"));
}

TEST(Hierarchy, IsNowhereWithoutCgroups) {
  EXPECT_FALSE(HierarchyOf(ParseCgroupMounts("24 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\nnonsense\n1 2 - cgroup\n"), "cpu"));
}

TEST(Hierarchy, MayBeMountedInAFolderWithASpace) {
  EXPECT_EQ(Cpu("33 30 0:29 / /my\\040c\\134d rw - cgroup cgroup rw,cpu\n").folder, "/my c\\d");
}

TEST(CgroupFolder, IsTheLineOfTheController) {
  constexpr char kProcess[] = "12:cpuset:/a\n4:cpuacct,cpu:/b/c\n1:name=systemd:/d\n0::/e\n";
  EXPECT_EQ(*CgroupFolder(Cpu(kV1), "cpu", kProcess), "/sys/fs/cgroup/cpu,cpuacct/b/c");
  EXPECT_EQ(*CgroupFolder(Cpu(kV2), "cpu", kProcess), "/sys/fs/cgroup/e");
  EXPECT_EQ(*CgroupFolder(Cpu(kHybrid), "cpu", "1:cpu:/\n0::/e\n"), "/sys/fs/cgroup/cpu");
}

TEST(CgroupFolder, InAContainerIsRelativeToWhatIsSeen) {
  EXPECT_EQ(*CgroupFolder(Cpu(kContainer), "cpu", "4:cpu,cpuacct:/docker/4f5a\n"), "/sys/fs/cgroup/cpu,cpuacct");
  EXPECT_EQ(*CgroupFolder(Cpu(kContainer), "cpu", "4:cpu,cpuacct:/docker/4f5a/x\n"), "/sys/fs/cgroup/cpu,cpuacct/x");
  for (const char* elsewhere : {"4:cpu,cpuacct:/docker/4f5ab\n", "4:cpu,cpuacct:/\n"}) {
    const auto folder = CgroupFolder(Cpu(kContainer), "cpu", elsewhere);
    EXPECT_EQ(folder.status().code(), absl::StatusCode::kNotFound) << elsewhere;
    EXPECT_TRUE(absl::StrContains(folder.status().message(), "is not seen under")) << folder.status();
  }
}

TEST(CgroupFolder, OfAProcessThatIsGoneIsNotFound) {
  EXPECT_EQ(CgroupFolder(Cpu(kV1), "cpu", "").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(CgroupFolder(Cpu(kV1), "cpu", "4:cpuset:/a\n0::/\n").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace squall
