// Which driver is used: as wanted, or another where that one does not work, and why.
#include "io/io.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace erlking::io {
namespace {

TEST(DriverChoiceTest, EpollIsThereAndUnknownOnesAreRefusedByName) {
  const auto epoll = choose_driver("epoll");
  ASSERT_TRUE(epoll);
  EXPECT_EQ(epoll->name, "epoll");
  EXPECT_TRUE(epoll->non_blocking);
  EXPECT_EQ(epoll->why, "");
  const auto nonsense = choose_driver("kqueue");
  ASSERT_FALSE(nonsense);
  EXPECT_NE(nonsense.error().find("'kqueue'"), std::string::npos);
  for (const std::string_view name : driver_names()) EXPECT_NE(nonsense.error().find(name), std::string::npos);
  EXPECT_EQ(make_driver("kqueue", {nullptr, nullptr}), nullptr);
}

// As a container does it that trusts io_uring with nothing.
bool forbid_io_uring() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(filter), filter};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST(DriverChoiceTest, WhereIoUringIsForbiddenEpollTakesItsPlaceAndSaysWhy) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (!forbid_io_uring()) ::_exit(77);
    const auto choice = choose_driver("uring");
    if (!choice) ::_exit(2);
    if (choice->name != "epoll") ::_exit(3);
    ::_exit(choice->why.find("Operation not permitted") != choice->why.npos ? 0 : 4);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "this machine gives no seccomp filter";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace erlking::io
