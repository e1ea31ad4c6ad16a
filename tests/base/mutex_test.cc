#include "base/mutex.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace erlking::base {
namespace {

template <class Lock, class Guard>
int count_under_lock() {
  Lock lock;
  int count = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20'000; ++i) {
        Guard guard(lock);
        ++count;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  return count;
}

TEST(MutexTest, ExcludesOthers) { EXPECT_EQ((count_under_lock<Mutex, MutexLock>()), 80'000); }

TEST(SpinLockTest, ExcludesOthers) { EXPECT_EQ((count_under_lock<SpinLock, SpinLockGuard>()), 80'000); }

TEST(SpinLockTest, TryLockTakesAFreeLockOnly) {
  SpinLock lock;
  for (int i = 0; i < 2; ++i) {
    if (!lock.try_lock()) FAIL() << "it is free";
    bool taken_twice = false;
    std::thread([&] {
      if (lock.try_lock()) {
        taken_twice = true;
        lock.unlock();
      }
    }).join();
    EXPECT_FALSE(taken_twice);
    lock.unlock();
  }
}

TEST(CondVarTest, WaitEndsWhenTheConditionIsMade) {
  Mutex mutex;
  CondVar cond;
  bool made = false;
  std::thread maker([&] {
    MutexLock lock(mutex);
    made = true;
    cond.notify_one();
  });
  {
    MutexLock lock(mutex);
    while (!made) cond.wait(mutex);
  }
  maker.join();
  MutexLock lock(mutex);
  EXPECT_TRUE(cond.wait_until(mutex, monotonic_now() - 1) == false);
}

TEST(CondVarTest, WaitUntilEndsAtItsDeadline) {
  Mutex mutex;
  CondVar cond;
  MutexLock lock(mutex);
  const Nanos deadline = monotonic_now() + 2'000'000;
  while (cond.wait_until(mutex, deadline)) {
  }
  EXPECT_GE(monotonic_now(), deadline);
}

TEST(FutexTest, DoesNotSleepOnAnotherValue) {
  std::atomic<std::uint32_t> word{1};
  EXPECT_EQ(futex_wait(word, 0), FutexResult::changed);
}

TEST(FutexTest, TimesOut) {
  std::atomic<std::uint32_t> word{0};
  const Nanos start = monotonic_now();
  EXPECT_EQ(futex_wait(word, 0, 1'000'000), FutexResult::timed_out);
  EXPECT_GE(monotonic_now() - start, 1'000'000);
  EXPECT_EQ(futex_wait(word, 0, 0), FutexResult::timed_out);
  EXPECT_EQ(futex_wait(word, 0, -5), FutexResult::timed_out);
}

TEST(FutexTest, AWakeReachesASleeper) {
  std::atomic<std::uint32_t> word{0};
  std::thread sleeper([&] {
    while (word.load() == 0) futex_wait(word, 0, kForever);
  });
  word.store(1);
  futex_wake(word);
  sleeper.join();
  EXPECT_EQ(futex_wake(word, 5), 0u);
}

}  // namespace
}  // namespace erlking::base
