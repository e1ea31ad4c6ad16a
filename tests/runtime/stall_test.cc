// Processes that compute on: the others of their worker go on beside them.
#include "tests/support/runtime_fixture.h"

#include <atomic>
#include <thread>

namespace erlking::testing {
namespace {

using namespace std::chrono_literals;

/// Computes without a safe point for so long, in code of its own.
[[gnu::noinline]] std::uint64_t hog(Duration length) {
  const base::Nanos until = base::monotonic_now() + length.count();
  std::uint64_t sum = 0;
  do {
    for (int i = 0; i < 100'000; ++i) {
      sum += static_cast<std::uint64_t>(i) * 7;
      asm volatile("" : "+r"(sum));
    }
  } while (base::monotonic_now() < until);
  return sum;
}

template <class F>
Pid start(Runtime& runtime, F&& f) {
  return runtime.spawn(std::forward<F>(f)).value();
}

bool hands_over() {
#if defined(__SANITIZE_THREAD__)
  return false;
#else
  const char* const scheduler = std::getenv("ERLKING_SCHEDULER");
  return scheduler == nullptr || std::string_view(scheduler) == "steal";
#endif
}

struct Ping {
  int n;
};
struct Pong {
  int n;
};
struct Done {};

class StallTest : public ::testing::Test {
 protected:
  static Options options(unsigned workers = 1) {
    Options made;
    if (const char* const scheduler = std::getenv("ERLKING_SCHEDULER")) made.scheduler = scheduler;
    made.workers = made.scheduler == "steal" ? workers : 0;
    return made;
  }
};

TEST_F(StallTest, SleepersGoOnBesideAHog) {
  if (!hands_over()) GTEST_SKIP();
  Runtime runtime(options());
  std::atomic<int> rounds{0}, at_end{-1};
  std::atomic<bool> ends{false};
  start(runtime, [&] {
    while (!ends.load()) {
      sleep(5ms);
      rounds.fetch_add(1);
    }
  });
  const Pid hogs = start(runtime, [&] {
    sleep(20ms);
    const int before = rounds.load();
    hog(1s);
    at_end = rounds.load() - before;
  });
  ASSERT_TRUE(runtime.wait(hogs, 60s));
  ends = true;
  EXPECT_GE(at_end.load(), 5);
  EXPECT_GE(runtime.stats().hand_overs, 1u);
  EXPECT_EQ(runtime.stats().workers, 1u);
}

TEST_F(StallTest, ItGoesBackAndMayHogAgain) {
  if (!hands_over()) GTEST_SKIP();
  Runtime runtime(options());
  const Pid pid = start(runtime, [] {
    for (int i = 0; i < 10; ++i) {
      hog(30ms);
      sleep(1ms);
      receive(0ms, [](Timeout) {});
    }
  });
  ASSERT_TRUE(runtime.wait(pid, 60s));
  EXPECT_GE(runtime.stats().hand_overs, 3u);
}

TEST_F(StallTest, WhatAHogSendsAndSpawnsRunsBesideIt) {
  if (!hands_over()) GTEST_SKIP();
  Runtime runtime(options());
  std::atomic<int> echoed{0}, born{0}, timed{0};
  std::atomic<int> seen{-1};
  const Pid echo = start(runtime, [&] {
    for (;;) receive(forever, [&](Ping) { ++echoed; });
  });
  const Pid pid = start(runtime, [&] {
    hog(100ms);
    const Pid me = self();
    for (int i = 0; i < 20; ++i) {
      send(echo, Ping{i});
      spawn([&] { ++born; });
      send_after(1ms, me, Pong{i});
      hog(20ms);
    }
    seen = echoed.load() + born.load();
    for (int i = 0; i < 20; ++i) receive(10s, [&](Pong) { ++timed; });
  });
  ASSERT_EQ(runtime.wait(pid, 60s), reason::normal);
  EXPECT_GE(seen.load(), 10);
  EXPECT_EQ(timed.load(), 20);
}

TEST_F(StallTest, MoreHogsThanSpares) {
  Options few = options(2);
  few.spare_workers = 1;
  Runtime runtime(few);
  std::vector<Pid> hogs;
  for (int i = 0; i < 6; ++i) {
    hogs.push_back(start(runtime, [] {
      for (int turn = 0; turn < 5; ++turn) {
        hog(15ms);
        sleep(1ms);
      }
    }));
  }
  for (const Pid pid : hogs) EXPECT_EQ(runtime.wait(pid, 60s), reason::normal);
}

TEST_F(StallTest, WithoutSparesNothingIsHandedOver) {
  Options none = options();
  none.spare_workers = 0;
  Runtime runtime(none);
  const Pid pid = start(runtime, [] { hog(50ms); });
  EXPECT_EQ(runtime.wait(pid, 60s), reason::normal);
  EXPECT_EQ(runtime.stats().hand_overs, 0u);
}

TEST_F(StallTest, AHogIsKilledAtItsNextSafePoint) {
  Runtime runtime(options());
  std::atomic<bool> begun{false}, beyond{false};
  const Pid pid = start(runtime, [&] {
    begun = true;
    hog(200ms);
    sleep(0ms);
    beyond = true;
  });
  while (!begun) std::this_thread::sleep_for(1ms);
  runtime.exit(pid, reason::kill);
  EXPECT_EQ(runtime.wait(pid, 60s), reason::killed);
  EXPECT_FALSE(beyond.load());
}

TEST_F(StallTest, StopWaitsForAHog) {
  std::atomic<bool> begun{false}, ended{false};
  {
    Runtime runtime(options());
    start(runtime, [&] {
      begun = true;
      hog(200ms);
      ended = true;
    });
    while (!begun) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(20ms);
    EXPECT_TRUE(runtime.stop());
  }
  EXPECT_TRUE(ended.load());
}

struct SlowToDie {
  Duration length;
  std::atomic<int>* died = nullptr;
  SlowToDie(Duration d, std::atomic<int>* counter) : length(d), died(counter) {}
  SlowToDie(SlowToDie&& other) noexcept : length(other.length), died(std::exchange(other.died, nullptr)) {}
  ~SlowToDie() {
    if (died == nullptr) return;
    hog(length);
    ++*died;
  }
};

struct HogsInHandle {
  std::atomic<int>* handled;
  void handle(Message message) {
    match(message, [&](Ping ping) {
      hog(10ms);
      if (++*handled == ping.n) exit(reason::normal);
    });
  }
};

TEST_F(StallTest, HogsInHandlersDestructorsClausesAndGuards) {
  Runtime runtime(options());
  std::atomic<int> handled{0}, died{0}, rounds{0};
  std::atomic<bool> ends{false};
  start(runtime, [&] {
    while (!ends.load()) {
      sleep(2ms);
      ++rounds;
    }
  });
  const Pid pid = start(runtime, [&] {
    const auto [handler, ref] = spawn_handler_monitor(HogsInHandle{&handled});
    for (int i = 0; i < 10; ++i) send(handler, Ping{10});
    const Pid other = spawn([&] {
      for (int i = 0; i < 5; ++i) {
        receive(10s, when([](const SlowToDie&) { return hog(10ms) != 0; }, [](SlowToDie) { hog(10ms); }));
      }
      receive(0ms, [](Timeout) {});
      sleep(30ms);  // what comes meanwhile is destroyed as it ends
    });
    const MonitorRef watch = monitor(other);
    for (int i = 0; i < 10; ++i) send(other, SlowToDie(10ms, &died));
    for (int i = 0; i < 2; ++i) receive(30s, [](Down) {});
    static_cast<void>(ref);
    static_cast<void>(watch);
  });
  EXPECT_EQ(runtime.wait(pid, 60s), reason::normal);
  ends = true;
  EXPECT_EQ(handled.load(), 10);
  EXPECT_EQ(died.load(), 10);
  EXPECT_TRUE(!hands_over() || runtime.stats().hand_overs > 0);
}

// Processes that hog and exchange messages, with bounds, timers, calls, births and deaths: nothing is lost.
TEST_F(StallTest, NothingIsLost) {
  Runtime runtime(options(2));
  constexpr int kPairs = 12, kRounds = 60;
  std::atomic<int> sent{0}, received{0}, short_lived{0}, timers{0};
  std::vector<Pid> all;
  for (int pair = 0; pair < kPairs; ++pair) {
    all.push_back(start(runtime, [&, pair] {
      const Pid me = self();
      const Pid other = spawn_link([&, me, pair] {
        for (int i = 0; i < kRounds; ++i) {
          receive(30s, [&](Ping) { ++received; });
          if ((i + pair) % 7 == 0) hog(4ms);
          send(me, Pong{i});
          ++sent;
        }
      });
      for (int i = 0; i < kRounds; ++i) {
        if ((i * 3 + pair) % 5 == 0) hog(3ms);
        send(other, Ping{i});
        ++sent;
        if (i % 6 == 0) spawn([&] { ++short_lived; });
        if (i % 4 == 0) send_after(1ms, me, Done{});
        receive(30s, [&](Pong) { ++received; });
        if (i % 4 == 0) receive(30s, [&](Done) { ++timers; });
      }
    }));
  }
  for (const Pid pid : all) EXPECT_EQ(runtime.wait(pid, 120s), reason::normal);
  EXPECT_EQ(sent.load(), kPairs * kRounds * 2);
  EXPECT_EQ(received.load(), sent.load());
  EXPECT_EQ(timers.load(), kPairs * kRounds / 4);
  runtime.stop();
  EXPECT_EQ(short_lived.load(), kPairs * kRounds / 6);
  const RuntimeStats stats = runtime.stats();
  EXPECT_EQ(stats.spawned, stats.exited);
}

}  // namespace
}  // namespace erlking::testing
