// Time: bounds never end early, end when the clock says so, and leave nothing behind.
#include "sched/timer_wheel.h"
#include "tests/support/runtime_fixture.h"

namespace erlking::testing {
namespace {

struct Go {};
struct Number {
  int n;
};

constexpr Duration kTick{sched::TimerWheel::kTick};

struct TimeoutTest : RuntimeTest {};

TEST_F(TimeoutTest, Rule_7_2_AReceiveDoesNotEndOneTickEarly) {
  for (const Duration bound :
       {Duration(1ms), Duration(10ms), Duration(1s), Duration(1h), Duration(1ns), Duration(123'456'789)}) {
    std::atomic<bool> fired = false;
    Clock::time_point ended{};
    const Clock::time_point began = rt().now();
    start([&] {
      receive(
          bound, [](Go) {},
          [&](Timeout) {
            ended = now();
            fired = true;
          });
    });
    if (bound > 2 * kTick) {
      rt().advance(bound - 2 * kTick);
      EXPECT_FALSE(fired) << bound.count();
      EXPECT_LT(rt().now(), began + bound);
    }
    rt().advance(4 * kTick);
    EXPECT_TRUE(fired) << bound.count();
    EXPECT_GE(ended, began + bound);
  }
}

TEST_F(TimeoutTest, Rule_7_2_ASleepDoesNotEndOneTickEarly) {
  std::atomic<bool> over = false;
  start([&] {
    sleep(10ms);
    over = true;
  });
  rt().advance(10ms - 2 * kTick);
  EXPECT_FALSE(over);
  rt().advance(4 * kTick);
  EXPECT_TRUE(over);
}

TEST_F(TimeoutTest, NothingHappensWhileTimeStands) {
  std::atomic<bool> over = false;
  start([&] {
    sleep(1ns);
    over = true;
  });
  std::this_thread::sleep_for(2ms);
  EXPECT_TRUE(rt().run_until_idle());
  EXPECT_FALSE(over);
  rt().advance(2 * kTick);
  EXPECT_TRUE(over);
}

TEST_F(TimeoutTest, Rule_7_3_AMessageThatCameCancelsTheTimeout) {
  std::atomic<int> timeouts = 0, messages = 0;
  const Pid p = start([&] {
    receive(
        10ms, [&](Go) { ++messages; }, [&](Timeout) { ++timeouts; });
    receive(
        50ms, [&](Go) { ++messages; }, [&](Timeout) { ++timeouts; });
  });
  rt().advance(5ms);
  rt().send(p, Go{});
  rt().run_until_idle();
  EXPECT_EQ(messages, 1);
  rt().advance(20ms);  // the first one's time is over
  EXPECT_EQ(timeouts, 0);
  rt().advance(40ms);
  EXPECT_EQ(timeouts, 1);
}

// ThreadSanitizer takes up to 20 ms for a process's fiber where memory comes slowly.
#if defined(__SANITIZE_THREAD__)
constexpr int kThousands = 1'000;
#else
constexpr int kThousands = 5'000;
#endif

TEST_F(TimeoutTest, ThousandsOfBoundsEndInTheirOrder) {
  if (has_own_workers()) GTEST_SKIP() << "an order is promised of one worker only, and it has too few threads";
  options.workers = 1;
  run([] {
    constexpr int kCount = kThousands;
    std::vector<int> order;
    std::vector<Monitored> all;
    for (int i = 0; i < kCount; ++i) {
      const int turn = static_cast<int>((i * 7919L) % kCount);  // a permutation
      all.push_back(spawn_monitor({.stack = 16 * 1024}, [&order, turn] {
        receive(
            std::chrono::milliseconds(turn + 100), [](Go) {}, [&](Timeout) { order.push_back(turn); });
      }));
    }
    for (auto& one : all) await_down(one);
    ASSERT_EQ(order.size(), static_cast<std::size_t>(kCount));
    for (int i = 0; i < kCount; ++i) ASSERT_EQ(order[static_cast<std::size_t>(i)], i);
  });
}

TEST_F(TimeoutTest, ThousandsOfBoundsOnManyWorkersAllEndAndNoneEarly) {
  options.workers = 4;
  const int count = has_own_workers() ? 200 : kThousands;
  run([count] {
    std::vector<Monitored> all;
    for (int i = 0; i < count; ++i) {
      all.push_back(spawn_monitor({.stack = 16 * 1024}, [i] {
        const auto bound = std::chrono::microseconds((i * 7919L) % 100'003);
        const auto began = now();
        if (i % 2 == 0) {
          sleep(bound);
        } else {
          receive(
              bound, [](Go) {}, [](Timeout) {});
        }
        EXPECT_GE(now() - began, bound);
      }));
    }
    for (auto& one : all) EXPECT_EQ(await_down(one), reason::normal);
  });
}

TEST_F(TimeoutTest, Rule_7_7_BoundsMayBeVeryLong) {
  run([] {
    const auto began = now();
    sleep(std::chrono::hours(24 * 365));
    EXPECT_GE(now() - began, std::chrono::hours(24 * 365));
  });
}

TEST_F(TimeoutTest, Rule_7_7_ASleepOfNothingReturnsAtOnce) {
  run([] {
    const auto began = now();
    sleep(0s);
    sleep(-1s);
    sleep(now() - 1s);
    EXPECT_LT(now() - began, 1s);
  });
}

TEST_F(TimeoutTest, SleepIsNotEndedByMessagesNorByTrappedSignals) {
  run([] {
    const Monitored sleeper = spawn_monitor([] {
      trap_exit(true);
      const auto began = now();
      sleep(20ms);
      EXPECT_GE(now() - began, 20ms);
      EXPECT_EQ(flush(), 4u);
    });
    until_waiting(sleeper.pid);
    for (int i = 0; i < 2; ++i) {
      send(sleeper.pid, Go{});
      exit(sleeper.pid, Reason("knock"));
      sleep(1ms);
    }
    EXPECT_EQ(await_down(sleeper), reason::normal);
  });
}

TEST_F(TimeoutTest, AProcessKilledInItsSleepEndsAtOnce) {
  std::atomic<bool> over = false;
  const Pid p = start([&] {
    struct AtEnd {
      std::atomic<bool>& over;
      ~AtEnd() { over = true; }
    } at_end{over};
    sleep(1h);
  });
  rt().exit(p, reason::kill);
  rt().run_until_idle();
  EXPECT_TRUE(over);
  EXPECT_EQ(rt().processes(), 0u);
  rt().advance(2h);  // its timer finds nobody
}

TEST_F(TimeoutTest, Rule_7_4_ATimerOfADeadProcessDoesNotTouchTheNextTenantOfItsSlot) {
  options.max_processes = 300;
  run([] {
    for (int round = 0; round < 30; ++round) {
      std::vector<Monitored> sleepers;
      for (int i = 0; i < 20; ++i) sleepers.push_back(spawn_monitor([] { sleep(5ms); }));
      for (auto& one : sleepers) until_waiting(one.pid);
      for (auto& one : sleepers) exit(one.pid, reason::kill);
      for (auto& one : sleepers) await_down(one);
      const auto began = now();
      std::vector<Monitored> heirs;
      for (int i = 0; i < 20; ++i)
        heirs.push_back(spawn_monitor([] {
          receive(
              100ms, [](Go) {}, [](Timeout) { exit(Reason("mine")); });
        }));
      for (auto& one : heirs) EXPECT_EQ(await_down(one), Reason("mine"));
      EXPECT_GE(now() - began, 100ms);
    }
  });
}

TEST_F(TimeoutTest, AWaitThatMovedToAnotherWorkerIsStillTimed) {
  options.workers = 4;
  run([] {
    std::vector<Monitored> all;
    for (int i = 0; i < 64; ++i) {
      all.push_back(spawn_monitor([] {
        for (int n = 0; n < 100; ++n) {
          receive(
              std::chrono::microseconds(n * 13), [](Go) {}, [](Timeout) {});
          for (int y = 0; y < n % 5; ++y) yield();
        }
      }));
    }
    for (auto& one : all) EXPECT_EQ(await_down(one), reason::normal);
  });
}

// Message and timeout meet again and again: each wait ends once, and no message is lost.
struct TimeoutRaceTest : RuntimeMatrixTest {};
INSTANTIATE_TEST_SUITE_P(Timeout, TimeoutRaceTest, every_setting(), name_of_setting);

TEST_P(TimeoutRaceTest, Rule_7_8_AMessageThatMeetsATimeoutIsNotLost) {
  run([] {
    constexpr int kRounds = 2000;
    const Monitored sender = spawn_monitor([to = self()] {
      for (int i = 0; i < kRounds; ++i) {
        send(to, Number{i}, 20s);
        sleep(std::chrono::microseconds(i % 60));
      }
    });
    int next = 0, timeouts = 0;
    while (next < kRounds) {
      // At least 1 µs: on the manual clock time stands still while somebody polls.
      receive(
          std::chrono::microseconds(1 + next % 50), [&](Number number) { ASSERT_EQ(number.n, next++); },
          [&](Timeout) { ++timeouts; });
    }
    EXPECT_EQ(await_down(sender), reason::normal);
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_P(TimeoutRaceTest, Rule_7_8_ACallHasItsOwnReplyOrTimeoutAndNeverBoth) {
  run([] {
    struct Ask {
      int n;
      using Reply = int;
    };
    constexpr int kCalls = 1000;  // they all find room, however far the server lags behind
    std::atomic<int> delivered = 0;
    const Monitored server = spawn_monitor([&] {
      for (int i = 0; i < kCalls; ++i) {
        receive(forever, [&](Ask ask, From<Ask> from) {
          if (ask.n % 3 != 0) sleep(std::chrono::microseconds(ask.n % 40));
          if (from.reply(ask.n)) ++delivered;
        });
      }
    });
    int replies = 0;
    for (int n = 0; n < kCalls; ++n) {
      const auto got = call(server.pid, Ask{n}, std::chrono::microseconds(1 + n % 40));
      if (got) {
        ASSERT_EQ(*got, n) << "another call's reply";
        ++replies;
      } else {
        ASSERT_EQ(got.error().kind, CallFailure::timeout);
      }
    }
    EXPECT_EQ(await_down(server), reason::normal);
    EXPECT_EQ(replies, delivered) << "a reply that was accepted is returned, one that came late is told so";
    EXPECT_TRUE(mailbox_empty());
  });
}

// Each of them runs once: nothing but births and deaths moves the worker on to its next tick.
TEST_F(TimeoutTest, ATimerFiresDuringAChainOfBirthsAndDeaths) {
  options.workers = 1;
  options.clock = ClockKind::real;
  run([] {
    static std::atomic<bool> fired;
    fired = false;
    struct Link {
      void operator()() const {
        if (!fired) spawn(Link{});
      }
    };
    const Monitored timed = spawn_monitor([] {
      receive(
          1ms, [](Go) {}, [](Timeout) { fired = true; });
    });
    spawn(Link{});
    EXPECT_EQ(await_down(timed), reason::normal);
  });
}

}  // namespace
}  // namespace erlking::testing
