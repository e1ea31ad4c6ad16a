// A runtime with a thread for each process, at its limits. What a user sees of it otherwise is the same: the tests of
// runtime run on it, too (meson.build).
#include "tests/support/runtime_fixture.h"

#include <dlfcn.h>
#include <pthread.h>

namespace {
// How many more threads the system gives; below 0: as many as it can.
std::atomic<int> threads_left{-1};
}  // namespace

// The system's, but for those it is told to refuse.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*main)(void*),
                              void* argument) {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  for (int left = threads_left.load(); left >= 0;) {
    if (left == 0) return EAGAIN;
    if (threads_left.compare_exchange_weak(left, left - 1)) break;
  }
  return create(thread, attributes, main, argument);
}

namespace erlking::testing {
namespace {

class ThreadsTest : public RuntimeTest {
 protected:
  ThreadsTest() { options.scheduler = "threads"; }
  void TearDown() override {
    threads_left = -1;
    RuntimeTest::TearDown();
  }
  /// As many as can be had; one refused while fewer than `least` are is tried again, as in spawn_soon().
  static std::vector<Pid> fill(std::size_t least = 0) {
    std::vector<Pid> made;
    for (int refused = 0;;) {
      const auto pid = try_spawn({.stack = 32 * 1024}, wait_forever);
      if (pid) {
        made.push_back(*pid);
        continue;
      }
      EXPECT_EQ(pid.error(), SpawnError::system_limit);
      if (made.size() >= least || ++refused == 100'000) return made;
      yield();
    }
  }
  static void end(Pid pid) {
    const MonitorRef ref = monitor(pid);
    exit(pid, reason::kill);
    await_down(ref);
  }
  /// A process is gone for others before its worker has cleared up after it.
  static std::expected<Pid, SpawnError> spawn_soon() {
    for (int i = 0; i < 100'000; ++i) {
      const auto pid = try_spawn(wait_forever);
      if (pid || pid.error() != SpawnError::system_limit) return pid;
      yield();
    }
    return std::unexpected(SpawnError::system_limit);
  }
};

#if !defined(__SANITIZE_THREAD__)  // it knows 8,128 threads and fibers, and takes minutes for half of them
TEST_F(ThreadsTest, TwoThousandLiveAtOnceAndTheNextIsSystemLimit) {
  run([] {
    std::vector<Pid> made = fill();
    EXPECT_EQ(made.size(), sched::kMaxThreads - 2) << "besides this one and the one that runs it";
    EXPECT_EQ(made.size() + 2, 2'000u);
    end(made.back());
    made.pop_back();
    const auto again = spawn_soon();
    EXPECT_TRUE(again.has_value());
    EXPECT_EQ(try_spawn([] {}), std::unexpected(SpawnError::system_limit));
    for (const Pid pid : made) exit(pid, reason::kill);
    for (const Pid pid : made) end(pid);
    EXPECT_TRUE(spawn_soon().has_value());
  });
}
#endif

TEST_F(ThreadsTest, WhenTheSystemGivesNoThreadASpawnIsSystemLimit) {
  rt();
  threads_left = 20;
  run([] {
    std::vector<Pid> made = fill();
    EXPECT_EQ(made.size(), 18u) << "besides this one and the one that runs it";
    end(made.back());
    const auto again = spawn_soon();  // on the thread that has become free
    EXPECT_TRUE(again.has_value());
    EXPECT_EQ(fill().size(), 0u);
    threads_left = 5;
    EXPECT_EQ(fill().size(), 5u);
    // A process that does not expect it is ended.
    threads_left = 1;
    const Reason why = await_down(spawn_monitor([] { spawn([] {}); }));
    EXPECT_EQ(why, reason::system_limit);
  });
}

TEST_F(ThreadsTest, FromOutsideItIsSystemLimitToo) {
  rt();
  threads_left = 0;
  EXPECT_EQ(rt().spawn([] {}), std::unexpected(SpawnError::system_limit));
  EXPECT_EQ(rt().spawn_wait(1s, {}, [] {}), std::unexpected(SpawnError::system_limit));
  threads_left = -1;
  EXPECT_TRUE(rt().spawn_wait(60s, {}, [] {}).has_value());
}

TEST_F(ThreadsTest, ARuntimeEndsWhileFiveHundredAreBusy) {
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(rt().spawn({.stack = 32 * 1024}, [] {
      for (;;) yield();
    }));
  }
  EXPECT_TRUE(rt().stop());
  EXPECT_EQ(rt().processes(), 0u);
}

TEST_F(ThreadsTest, MaxProcessesIsHowManyCanBeAlive) {
  options.max_processes = 100;
  run([] {
    for (int round = 0; round < 3; ++round) {
      const std::vector<Pid> made = fill(98);
      EXPECT_EQ(made.size(), 98u) << "besides this one and the one that runs it";
      for (const Pid pid : made) end(pid);
    }
  });
}

TEST_F(ThreadsTest, IdleThreadsKeepNoStacks) {
  run([] {
    for (int round = 0; round < 2; ++round) {
      std::vector<Pid> made;
      for (int i = 0; i < 300; ++i) made.push_back(spawn({.stack = 32 * 1024}, wait_forever));
      for (const Pid pid : made) end(pid);
    }
  });
  EXPECT_TRUE(rt().run_until_idle());
  EXPECT_EQ(rt().stats().stacks.taken, 0u);
}

}  // namespace
}  // namespace erlking::testing
