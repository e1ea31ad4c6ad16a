#include "sched/cpus.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sched.h>
#include <string>
#include <thread>

namespace erlking::sched {
namespace {

namespace fs = std::filesystem;

// A made-up /proc and /sys under a folder of its own.
class CpuLimitsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "cpus_test.XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root = pattern;
  }
  void TearDown() override { fs::remove_all(root); }

  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root + path).substr(0, (root + path).rfind('/')));
    std::ofstream(root + path) << text;
  }
  CpuLimits read() { return read_cpu_limits(root + "/proc", root); }

  void version_2(const std::string& cgroup, const std::string& mounted_root = "/") {
    write("/proc/self/cgroup", "0::" + cgroup + "\n");
    write("/proc/self/mountinfo",
          "22 27 0:21 / /proc rw,nosuid shared:13 - proc proc rw\n"
          "30 23 0:26 " +
              mounted_root + " /sys/fs/cgroup rw,nosuid,nodev shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
  }
  void version_1(const std::string& cgroup, const std::string& mounted_root) {
    write("/proc/self/cgroup", "5:memory:/elsewhere\n4:cpu,cpuacct:" + cgroup + "\n1:name=systemd:/x\n0::/unified\n");
    write("/proc/self/mountinfo", "33 32 0:28 " + mounted_root +
                                      " /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
                                      "34 32 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  }

  std::string root;
};

TEST_F(CpuLimitsTest, NothingReadableIsNoLimit) {
  EXPECT_FALSE(read().quota);
  EXPECT_FALSE(read().cpus());
}

TEST_F(CpuLimitsTest, Version2QuotaIsRoundedUp) {
  version_2("/app");
  write("/sys/fs/cgroup/app/cpu.max", "150000 100000\n");
  EXPECT_DOUBLE_EQ(read().quota.value(), 1.5);
  EXPECT_EQ(read().cpus(), 2u);
  EXPECT_EQ(read().source, root + "/sys/fs/cgroup/app/cpu.max");
}

TEST_F(CpuLimitsTest, AFractionOfACpuIsOne) {
  version_2("/app");
  write("/sys/fs/cgroup/app/cpu.max", "1000 100000\n");
  EXPECT_EQ(read().cpus(), 1u);
}

TEST_F(CpuLimitsTest, MaxIsNoLimit) {
  version_2("/app");
  write("/sys/fs/cgroup/app/cpu.max", "max 100000\n");
  EXPECT_FALSE(read().quota);
}

TEST_F(CpuLimitsTest, AnAncestorsLimitCounts) {
  version_2("/slice/service/app");
  write("/sys/fs/cgroup/slice/service/app/cpu.max", "800000 100000\n");
  write("/sys/fs/cgroup/slice/cpu.max", "300000 100000\n");
  EXPECT_EQ(read().cpus(), 3u);
  EXPECT_EQ(read().source, root + "/sys/fs/cgroup/slice/cpu.max");
}

TEST_F(CpuLimitsTest, TheMountPointItselfCounts) {
  version_2("/");  // inside a container with a cgroup namespace
  write("/sys/fs/cgroup/cpu.max", "200000 100000\n");
  EXPECT_EQ(read().cpus(), 2u);
}

TEST_F(CpuLimitsTest, ACgroupOutsideOfTheNamespaceIsReadAtTheMountPoint) {
  version_2("/../../other");
  write("/sys/fs/cgroup/cpu.max", "400000 100000\n");
  EXPECT_EQ(read().cpus(), 4u);
}

TEST_F(CpuLimitsTest, AMountedSubtreeIsTakenOffThePath) {
  version_2("/docker/abc/app", "/docker/abc");
  write("/sys/fs/cgroup/app/cpu.max", "max 100000\n");
  write("/sys/fs/cgroup/cpu.max", "500000 100000\n");
  EXPECT_EQ(read().cpus(), 5u);
}

TEST_F(CpuLimitsTest, ALikeNamedSubtreeIsAnotherOne) {
  version_2("/docker/abcdef", "/docker/abc");
  write("/sys/fs/cgroup/def/cpu.max", "100000 100000\n");
  write("/sys/fs/cgroup/cpu.max", "700000 100000\n");
  EXPECT_EQ(read().cpus(), 7u);
}

TEST_F(CpuLimitsTest, Version1ReadsQuotaAndPeriodUpward) {
  version_1("/docker/abc/app", "/docker/abc");
  write("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "-1\n");
  write("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "100000\n");
  write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n");
  write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(read().quota.value(), 2.5);
  EXPECT_EQ(read().cpus(), 3u);
}

TEST_F(CpuLimitsTest, EscapedMountPointsAreFound) {
  write("/proc/self/cgroup", "0::/app\n");
  write("/proc/self/mountinfo", "30 23 0:26 / /my\\040groups rw - cgroup2 none rw\n");
  write("/my groups/app/cpu.max", "100000 50000\n");
  EXPECT_EQ(read().cpus(), 2u);
}

TEST_F(CpuLimitsTest, MalformedFilesAreNoLimit) {
  for (const char* text : {"", "max", "x 100000\n", "100000\n", "100000 0\n", "-1 100000\n", "0 100000\n",
                           "99999999999999999999 100000\n", "100000 100000 7\n"}) {
    version_2("/app");
    write("/sys/fs/cgroup/app/cpu.max", text);
    EXPECT_FALSE(read().quota) << text;
  }
  for (const char* text : {"", "\n", "::\n", "0\n", "30 23\n", " - \n", "a b c d e - cgroup2", "0::/app"}) {
    write("/proc/self/mountinfo", text);
    EXPECT_FALSE(read().quota) << text;
    write("/proc/self/cgroup", text);
    EXPECT_FALSE(read().quota) << text;
  }
}

TEST_F(CpuLimitsTest, AHugeQuotaStaysANumber) {
  version_2("/app");
  write("/sys/fs/cgroup/app/cpu.max", "9223372036854775807 1\n");
  EXPECT_EQ(read().cpus(), 1'000'000u);
}

TEST(CpusTest, TheRealMachineHasAtLeastOneUsableCpu) {
  const std::vector<int> allowed = allowed_cpus();
  ASSERT_FALSE(allowed.empty());
  EXPECT_TRUE(std::is_sorted(allowed.begin(), allowed.end()));
  EXPECT_GE(usable_cpus(), 1u);
  EXPECT_LE(usable_cpus(), allowed.size());
}

TEST(CpusTest, APinnedThreadRunsOnItsCpuOnly) {
  const int cpu = allowed_cpus().back();
  std::thread([cpu] {
    ASSERT_TRUE(pin_thread(cpu));
    EXPECT_EQ(allowed_cpus(), std::vector<int>{cpu});
    EXPECT_EQ(::sched_getcpu(), cpu);
    EXPECT_EQ(usable_cpus(), 1u);
  }).join();
  EXPECT_FALSE(pin_thread(-1));
  EXPECT_FALSE(pin_thread(CPU_SETSIZE));
}

}  // namespace
}  // namespace erlking::sched
