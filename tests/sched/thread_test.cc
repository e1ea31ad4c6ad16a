// A thread beside the workers: it runs once, under its name, and takes no signals.
#include "sched/sched.h"

#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <pthread.h>
#include <string>

namespace erlking::sched {
namespace {

struct Seen {
  std::atomic<int> runs{0};
  std::string name;
  bool takes_signals = true;
};

void* look(void* argument) {
  auto& seen = *static_cast<Seen*>(argument);
  const auto until = base::monotonic_now() + 10'000'000'000;
  while (seen.name != "ek-some" && base::monotonic_now() < until) {  // who starts it names it, a moment later
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof name);
    seen.name = name;
  }
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  seen.takes_signals = sigismember(&blocked, SIGTERM) == 0 || sigismember(&blocked, SIGINT) == 0;
  ++seen.runs;
  return nullptr;
}

TEST(ThreadTest, RunsOnceUnderItsNameAndTakesNoSignals) {
  Seen seen;
  Thread thread;
  ASSERT_TRUE(thread.start("ek-some", &look, &seen));
  thread.join();
  EXPECT_EQ(seen.runs, 1);
  EXPECT_EQ(seen.name, "ek-some");
  EXPECT_FALSE(seen.takes_signals);
}

TEST(ThreadTest, TheProgramsOwnThreadStillTakesSignals) {
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  Seen seen;
  Thread thread;
  ASSERT_TRUE(thread.start("ek-some", &look, &seen));
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
}

TEST(ThreadTest, IsWaitedForAtItsEndAndJoiningTwiceOrUnstartedIsNothing) {
  Seen seen;
  {
    Thread thread;
    ASSERT_TRUE(thread.start("ek-some", &look, &seen));
  }
  EXPECT_EQ(seen.runs, 1);
  Thread never;
  never.join();
  Thread once;
  ASSERT_TRUE(once.start("ek-some", &look, &seen));
  once.join();
  once.join();
  EXPECT_EQ(seen.runs, 2);
}

}  // namespace
}  // namespace erlking::sched
