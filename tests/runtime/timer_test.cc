// Timers: the rules of SEMANTICS §7, the limits, names, intervals, and what is left when somebody dies.
#include "sched/timer_wheel.h"
#include "tests/stress/stress.h"

#include <set>

namespace erlking::testing {
namespace {

struct Tick {
  int n = 0;
};
struct Big {
  std::unique_ptr<int> owned;
  std::array<char, 500> filler{};
};
struct Done {};

constexpr Duration kTick{sched::TimerWheel::kTick};

template <class T>
bool arrives(Bound bound) {
  return receive(
      bound, [](T) { return true; }, [](Timeout) { return false; });
}
/// The n of the next Tick; -1: none within the bound.
int next_tick(Bound bound) {
  return receive(
      bound, [](Tick t) { return t.n; }, [](Timeout) { return -1; });
}

class TimerMatrixTest : public RuntimeMatrixTest {};
INSTANTIATE_TEST_SUITE_P(Every, TimerMatrixTest, every_setting(), name_of_setting);
struct TimerTest : RuntimeTest {};

// --- the rules -------------------------------------------------------------------------------------------------------

TEST_P(TimerMatrixTest, Rule_7_1_SendAfterSendsTheMessageItselfAndStartTimerSaysWhoseItIs) {
  run([] {
    EXPECT_TRUE(send_after(2ms, self(), Tick{7}));
    EXPECT_EQ(next_tick(10s), 7);
    const auto a = start_timer(2ms, self(), Tick{8});
    const auto b = start_timer(4ms, self(), Tick{9});
    ASSERT_TRUE(a && b);
    EXPECT_NE(*a, *b);
    for (int i = 0; i < 2; ++i) {
      receive(10s, [&](Expired<Tick> e) { EXPECT_EQ(e.timer, e.message.n == 8 ? *a : *b); });
    }
  });
}

TEST_P(TimerMatrixTest, Rule_7_1_AnInstantMayBeGivenAndAPastOneFiresAtOnce) {
  run([] {
    const auto began = now();
    EXPECT_TRUE(send_after(began + 5ms, self(), Tick{1}));
    EXPECT_TRUE(send_after(began - 1h, self(), Tick{2}));
    EXPECT_TRUE(send_after(Clock::time_point{}, self(), Tick{3}));
    EXPECT_TRUE(send_after(Clock::time_point::min(), self(), Tick{4}));
    EXPECT_TRUE(send_after(0s, self(), Tick{5}));
    std::set<int> came;
    for (int i = 0; i < 5; ++i) {
      const int n = next_tick(10s);
      came.insert(n);
      if (n == 1) {
        EXPECT_GE(now(), began + 5ms);
      }
    }
    EXPECT_EQ(came, (std::set<int>{1, 2, 3, 4, 5}));
  });
}

TEST_F(TimerTest, Rule_7_1_APastInstantNeedsNoTimeToPass) {
  std::atomic<int> got = 0;
  start([&] {
    EXPECT_TRUE(send_after(now() - 1s, self(), Tick{1}));
    got = next_tick(forever);
  });
  EXPECT_EQ(got, 1);
}

TEST_F(TimerTest, Rule_7_2_NoTimerFiresOneTickEarly) {
  for (const Duration d : {Duration(1ms), Duration(10ms), Duration(1s), Duration(1h), Duration(123'456'789)}) {
    for (const bool absolute : {false, true}) {
      std::atomic<bool> fired = false;
      Clock::time_point ended{};
      const Clock::time_point began = rt().now();
      start([&] {
        EXPECT_TRUE(absolute ? send_after(began + d, self(), Tick{}) : send_after(d, self(), Tick{}));
        receive(forever, [&](Tick) {
          ended = now();
          fired = true;
        });
      });
      rt().advance(d - 2 * kTick);
      EXPECT_FALSE(fired) << d.count();
      rt().advance(4 * kTick);
      EXPECT_TRUE(fired) << d.count();
      EXPECT_GE(ended, began + d);
    }
  }
}

TEST_P(TimerMatrixTest, Rule_7_3_CancelAnswersTheTimeLeftOnce) {
  run([this] {
    const auto t = send_after(1h, self(), Tick{});
    ASSERT_TRUE(t);
    const auto read = read_timer(*t);
    ASSERT_TRUE(read);
    EXPECT_LE(*read, 1h);
    EXPECT_GT(*read, 59min);
    sleep(3ms);
    const auto later = read_timer(*t);
    ASSERT_TRUE(later);
    EXPECT_LE(*later, 1h - 3ms);
    const auto left = cancel_timer(*t);
    ASSERT_TRUE(left);
    EXPECT_LE(*left, *later);
    EXPECT_FALSE(cancel_timer(*t));
    EXPECT_FALSE(read_timer(*t));
    EXPECT_FALSE(cancel_timer(TimerRef{}));
    EXPECT_FALSE(cancel_timer(TimerRef{0xfff0'0000'0000'0001}));
    EXPECT_FALSE(read_timer(TimerRef{~std::uint64_t{0}}));
    if (options.clock == ClockKind::manual) sleep(2h);
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_P(TimerMatrixTest, Rule_7_3_AFiredTimerHasNoTimeLeftAndItsMessageIsThere) {
  run([] {
    const auto t = send_after(1ms, self(), Tick{4});
    ASSERT_TRUE(t);
    while (read_timer(*t)) sleep(1ms);
    EXPECT_FALSE(cancel_timer(*t));
    EXPECT_EQ(next_tick(10s), 4);
    EXPECT_FALSE(read_timer(*t));
    EXPECT_FALSE(cancel_timer(*t));
  });
}

TEST_P(TimerMatrixTest, Rule_7_3_AnyProcessMayCancelAndRead) {
  run([] {
    for (int i = 0; i < 50; ++i) {
      const auto t = send_after(1h, self(), Tick{});
      ASSERT_TRUE(t);
      await_down(spawn_monitor([ref = *t] {
        const auto read = read_timer(ref);
        ASSERT_TRUE(read);
        EXPECT_LE(*read, 1h);
        EXPECT_GT(*read, 59min);
        const auto left = cancel_timer(ref);
        ASSERT_TRUE(left);
        EXPECT_LE(*left, *read);
        EXPECT_FALSE(cancel_timer(ref));
      }));
      EXPECT_FALSE(cancel_timer(*t));
    }
  });
}

TEST_F(TimerTest, Rule_7_3_AnotherWorkerCancelsAtOnceAndTheFirstPutsItAway) {
  run([] {
    Pid me = self();
    std::vector<TimerRef> refs;
    await_down(spawn_monitor({.worker = 0}, [&] {
      for (int i = 0; i < 500; ++i) refs.push_back(*send_after(1h, me, Tick{i}));
    }));
    await_down(spawn_monitor({.worker = 1}, [&] {
      for (const TimerRef ref : refs) EXPECT_TRUE(cancel_timer(ref));
      for (const TimerRef ref : refs) EXPECT_FALSE(read_timer(ref));
    }));
    await_down(spawn_monitor({.worker = 0}, [] { sleep(1ms); }));
  });
  EXPECT_EQ(rt().stats().timers, 0u);
  EXPECT_GE(rt().stats().timer_places, 500u);
}

TEST_P(TimerMatrixTest, Rule_7_4_ATimerForAProcessThatEndsIsGone) {
  run([] {
    const Monitored target = spawn_monitor(wait_forever);
    const auto t = send_after(1h, target.pid, Tick{});
    ASSERT_TRUE(t);
    EXPECT_TRUE(read_timer(*t));
    exit(target.pid, reason::kill);
    await_down(target);
    EXPECT_FALSE(read_timer(*t));
    EXPECT_FALSE(cancel_timer(*t));
    const auto late = send_after(1ms, target.pid, Tick{});  // dead at the start
    ASSERT_TRUE(late);
    EXPECT_NE(*late, *t);
    EXPECT_FALSE(read_timer(*late));
    EXPECT_FALSE(cancel_timer(*late));
    EXPECT_TRUE(start_timer(1ms, Pid{}, Tick{}));
  });
}

TEST_F(TimerTest, Rule_7_4_TimersForTheDeadLeakNothing) {
  options.workers = 1;
  run([] {
    for (unsigned i = 0; i < scaled(20'000); ++i) {
      const Monitored target = spawn_monitor(wait_forever);
      EXPECT_TRUE(send_after(1000h, target.pid, Big{std::make_unique<int>(static_cast<int>(i))}));
      exit(target.pid, reason::kill);
      await_down(target);
    }
  });
  EXPECT_LE(rt().stats().timer_places, 1024u);
  EXPECT_LE(rt().stats().timers, 1024u);
}

TEST_P(TimerMatrixTest, Rule_7_5_TheEndOfWhoStartedItDoesNotCancel) {
  run([] {
    await_down(spawn_monitor([to = self()] {
      EXPECT_TRUE(send_after(5ms, to, Tick{1}));
      EXPECT_TRUE(send_after(5ms, Name{"keeper"}, Tick{2}));
    }));
    EXPECT_TRUE(register_name("keeper", self()));
    EXPECT_EQ(next_tick(10s) + next_tick(10s), 3);
  });
}

TEST_P(TimerMatrixTest, Rule_7_6_ANameIsLookedUpWhenTheTimeHasCome) {
  run([] {
    const auto give_name = [](const char* name) {
      return spawn_monitor({.name = name},
                           [] { receive(10s, [](Tick t) { exit(Reason(t.n == 1 ? "one" : "two")); }); });
    };
    const Monitored first = give_name("clerk");
    EXPECT_TRUE(send_after(20ms, Name{"clerk"}, Tick{2}));
    EXPECT_TRUE(unregister("clerk"));
    const Monitored second = give_name("clerk");
    EXPECT_EQ(await_down(second), Reason("two"));
    EXPECT_EQ(send(first.pid, Tick{1}), Delivery::queued);
    EXPECT_EQ(await_down(first), Reason("one"));
  });
}

TEST_P(TimerMatrixTest, Rule_7_6_AFreeNameGetsNothingAndItsTimerCanBeReadAndCancelled) {
  run([] {
    const auto unheard = send_after(1ms, Name{"nobody"}, Tick{1});
    const auto t = send_after(1h, Name{"nobody"}, Tick{2});
    const auto far = send_after(1ms, Name{"nobody", "elsewhere@host"}, Tick{3});
    const auto nameless = send_after(1ms, Name{""}, Tick{4});
    while (read_timer(*unheard) || read_timer(*far) || read_timer(*nameless)) sleep(1ms);
    EXPECT_FALSE(cancel_timer(*unheard));
    ASSERT_TRUE(register_name("nobody", self()));
    EXPECT_TRUE(read_timer(*t));
    EXPECT_TRUE(cancel_timer(*t));
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(TimerTest, Rule_7_7_VeryLongTimesWork) {
  using std::chrono::milliseconds;
  std::atomic<int> fired = 0;
  std::atomic<bool> ready = false;
  start([&] {
    const auto never = send_after(forever, self(), Tick{9});
    EXPECT_EQ(read_timer(*never), std::optional(Duration::max()));
    EXPECT_TRUE(send_after(milliseconds(1ll << 31), self(), Tick{1}));
    EXPECT_TRUE(send_after(milliseconds(1ll << 33), self(), Tick{2}));
    EXPECT_TRUE(send_after(std::chrono::hours::max(), self(), Tick{9}));
    EXPECT_TRUE(send_after(Clock::time_point::max(), self(), Tick{9}));
    for (int i = 1; i <= 2; ++i) {
      EXPECT_EQ(next_tick(forever), i);
      fired = i;
    }
    EXPECT_EQ(cancel_timer(*never), std::optional(Duration::max()));
    ready = true;
    wait_forever();
  });
  rt().advance(milliseconds((1ll << 31) - 1));
  EXPECT_EQ(fired, 0);
  rt().advance(2ms);
  EXPECT_EQ(fired, 1);
  rt().advance(milliseconds((1ll << 33) - (1ll << 31) - 2));
  EXPECT_EQ(fired, 1);
  rt().advance(2ms);
  EXPECT_EQ(fired, 2);
  EXPECT_TRUE(ready);
}

TEST_P(TimerMatrixTest, Rule_7_7_ANegativeTimeIsNone) {
  run([] {
    EXPECT_TRUE(send_after(-5s, self(), Tick{1}));
    EXPECT_EQ(next_tick(10s), 1);
  });
}

TEST_P(TimerMatrixTest, Rule_7_8_EitherTheMessageComesOrTheTimeLeftIsAnswered) {
  run([] {
    int cancelled = 0, came = 0;
    constexpr int kCount = 300;
    for (int i = 0; i < kCount; ++i) {
      const auto t = start_timer(std::chrono::microseconds(i % 40), self(), Tick{i});
      ASSERT_TRUE(t);
      sleep(std::chrono::microseconds((i * 7) % 40));
      if (cancel_timer(*t)) {
        ++cancelled;
        EXPECT_FALSE(arrives<Expired<Tick>>(0s));
      } else {
        receive(10s, [&](Expired<Tick> e) {
          ++came;
          EXPECT_EQ(e.timer, *t);
        });
      }
    }
    EXPECT_EQ(cancelled + came, kCount);
    EXPECT_TRUE(mailbox_empty());
  });
}

// --- the mailbox -----------------------------------------------------------------------------------------------------

TEST_P(TimerMatrixTest, AFullMailboxTakesATimersMessageAndItsBoundIsUntouched) {
  run([] {
    const Monitored target = spawn_monitor({.mailbox = 2}, [] {
      receive(10s, [](Done) {});
      int sum = 0;
      while (const int n = next_tick(0s) + 1) sum += n;
      exit(Reason(std::to_string(sum)));
    });
    EXPECT_EQ(send(target.pid, Tick{9}), Delivery::queued);
    EXPECT_EQ(send(target.pid, Tick{9}), Delivery::queued);
    EXPECT_EQ(send(target.pid, Tick{9}), Delivery::full);
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(send_after(1ms, target.pid, Tick{99}));
    EXPECT_TRUE(send_after(10ms, target.pid, Done{}));
    EXPECT_EQ(await_down(target), Reason("520"));
  });
}

TEST_P(TimerMatrixTest, AMessageOfATimerThatIsSentOnIsAnOrdinaryOne) {
  run([] {
    const Monitored target = spawn_monitor({.mailbox = 1}, [] {
      receive(10s, [](Done) {});
      receive(10s, [](Tick) {});
    });
    EXPECT_TRUE(send_after(1ms, self(), Tick{1}));
    EXPECT_TRUE(send_after(1ms, self(), Tick{2}));
    receive(10s, [&](Message m) { EXPECT_EQ(send(target.pid, std::move(m)), Delivery::queued); });
    receive(10s, [&](Message m) { EXPECT_EQ(send(target.pid, std::move(m)), Delivery::full); });
    EXPECT_TRUE(send_after(1ms, target.pid, Done{}));
    EXPECT_EQ(await_down(target), reason::normal);
  });
}

TEST_P(TimerMatrixTest, ATimersMessageDoesNotEndASleepOrACall) {
  run([] {
    const auto began = now();
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(send_after(std::chrono::milliseconds(i), self(), Tick{i}));
    sleep(20ms);
    EXPECT_GE(now(), began + 20ms);
    for (int i = 0; i < 10; ++i) EXPECT_GE(next_tick(0s), 0);
  });
}

TEST_F(TimerTest, FlushTakesThemAndAnEndDropsThem) {
  run([] {
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(send_after(1ms, self(), Big{std::make_unique<int>(i)}));
    sleep(5ms);
    EXPECT_EQ(flush(), 5u);
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(send_after(1ms, self(), Big{std::make_unique<int>(i)}));
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(send_after(1h, self(), Big{std::make_unique<int>(i)}));
    sleep(5ms);
  });
}

// --- limits ----------------------------------------------------------------------------------------------------------

TEST_P(TimerMatrixTest, BeyondItsPlacesATimerIsRefusedAndTheMessageComesBack) {
  run([] {
    const Monitored target = spawn_monitor({.timers = 3}, [] {
      const auto fill = [](int n) {
        for (int i = 0; i < n; ++i) EXPECT_TRUE(send_after(1ms, self(), Tick{i}));
        Big big{std::make_unique<int>(5)};
        const auto refused = send_after(1ms, self(), std::move(big));
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error(), TimerError::system_limit);
        ASSERT_TRUE(big.owned);
        const auto again = start_timer(1ms, self(), std::move(big));
        ASSERT_FALSE(again);
        ASSERT_TRUE(big.owned);
        EXPECT_EQ(*big.owned, 5);
      };
      const auto receive_all = [](int n) {
        for (int i = 0; i < n; ++i) EXPECT_GE(next_tick(10s), 0);
      };
      fill(3);
      sleep(10ms);  // fired, not received: the places are taken
      fill(0);
      receive_all(1);
      fill(1);
      receive_all(3);
      const auto t = send_after(1h, self(), Tick{});
      fill(2);
      EXPECT_TRUE(cancel_timer(*t));
      fill(1);
      receive_all(3);
      fill(3);
    });
    EXPECT_EQ(await_down(target), reason::normal);
  });
}

TEST_P(TimerMatrixTest, OthersShareTheReceiversPlaces) {
  run([] {
    const Monitored target = spawn_monitor({.timers = 4}, [] {
      receive(10s, [](Done) {});
      for (int i = 0; i < 3; ++i) EXPECT_GE(next_tick(10s), 0);
      EXPECT_TRUE(send_after(1ms, self(), Tick{}));
      EXPECT_TRUE(send_after(1ms, self(), Tick{}));
      EXPECT_TRUE(send_after(1ms, self(), Tick{}));
      EXPECT_TRUE(send_after(1ms, self(), Tick{}));
      EXPECT_FALSE(send_after(1ms, self(), Tick{}));
    });
    std::vector<TimerRef> refs;
    for (int i = 0; i < 4; ++i) refs.push_back(*send_after(1h, target.pid, Tick{}));
    EXPECT_EQ(send_after(1h, target.pid, Tick{}).error(), TimerError::system_limit);
    await_down(spawn_monitor([&] {
      for (const TimerRef ref : refs) EXPECT_TRUE(cancel_timer(ref));
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(send_after(1ms, target.pid, Tick{i}));
    }));
    sleep(5ms);
    EXPECT_EQ(send(target.pid, Done{}), Delivery::queued);
    EXPECT_EQ(await_down(target), reason::normal);
  });
}

TEST_F(TimerTest, ATimerForANameTakesAPlaceOfWhoStartsIt) {
  run([] {
    const Monitored starter = spawn_monitor({.timers = 2}, [] {
      const auto t = send_after(1h, Name{"x"}, Tick{});
      EXPECT_TRUE(send_after(1ms, Name{"x"}, Tick{}));
      EXPECT_FALSE(send_after(1ms, Name{"x"}, Tick{}));
      sleep(5ms);  // it has fired, for nobody
      EXPECT_TRUE(send_after(1h, Name{"x"}, Tick{}));
      EXPECT_FALSE(send_after(1ms, Name{"x"}, Tick{}));
      EXPECT_TRUE(cancel_timer(*t));
      EXPECT_TRUE(send_after(1ms, Name{"x"}, Tick{}));
    });
    EXPECT_EQ(await_down(starter), reason::normal);
  });
}

TEST_F(TimerTest, TheDefaultLimitIsTheOptions) {
  options.max_timers = 5;
  run([] {
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(send_after(1h, self(), Tick{}));
    EXPECT_FALSE(send_after(1h, self(), Tick{}));
    EXPECT_EQ(try_spawn({.timers = kMaxTimers + 1}, [] {}).error(), SpawnError::bad_options);
  });
  options.max_timers = 0;
  EXPECT_THROW(Runtime{options}, std::invalid_argument);
  options.max_timers = kMaxTimers + 1;
  EXPECT_THROW(Runtime{options}, std::invalid_argument);
}

TEST_F(TimerTest, WithoutMemoryATimerIsRefusedAndTheNodeLives) {
  options.workers = 1;
  options.max_heap_bytes = 4 << 20;
  run([] {
    std::vector<TimerRef> refs;
    for (;;) {
      Big big{std::make_unique<int>(1)};
      const auto t = send_after(1h, self(), std::move(big));
      if (t) {
        refs.push_back(*t);
        continue;
      }
      EXPECT_EQ(t.error(), TimerError::no_memory);
      EXPECT_TRUE(big.owned);
      break;
    }
    EXPECT_GT(refs.size(), 1000u);
    for (const TimerRef ref : refs) EXPECT_TRUE(cancel_timer(ref));
    EXPECT_TRUE(send_after(1ms, self(), Tick{3}));
    EXPECT_EQ(next_tick(1s), 3);
  });
}

TEST_F(TimerTest, AMillionAreArmedAndCancelledAndTheirPlacesUsedAgain) {
  options.workers = 1;
  static constexpr int kCount = 1'000'000;
  run([] {
    await_down(spawn_monitor({.timers = 2 * kCount}, [] {
      std::vector<TimerRef> refs(kCount);
      for (int round = 0; round < 2; ++round) {
        for (int i = 0; i < kCount; ++i) {
          const auto t = send_after(1h + std::chrono::microseconds(i * 7919ll % kCount), self(), Tick{i});
          if (!t) FAIL() << to_string(t.error());
          refs[static_cast<std::size_t>(i)] = *t;
        }
        int cancelled = 0;
        for (const TimerRef ref : refs) cancelled += cancel_timer(ref) ? 1 : 0;
        EXPECT_EQ(cancelled, kCount);
      }
    }));
  });
  EXPECT_EQ(rt().stats().timers, 0u);
  EXPECT_EQ(rt().stats().timer_places, static_cast<std::uint64_t>(kCount));
}

// --- intervals -------------------------------------------------------------------------------------------------------

TEST_P(TimerMatrixTest, AnIntervalSendsUntilItIsCancelled) {
  run([] {
    const auto began = now();
    const auto t = send_every(2ms, self(), Tick{6});
    ASSERT_TRUE(t);
    EXPECT_LE(*read_timer(*t), 2ms);
    for (int i = 1; i <= 10; ++i) {
      EXPECT_EQ(next_tick(10s), 6);
      EXPECT_GE(now(), began + 2ms * i);
    }
    const auto left = cancel_timer(*t);
    ASSERT_TRUE(left);
    EXPECT_LE(*left, 2ms);
    EXPECT_FALSE(cancel_timer(*t));
    while (next_tick(0s) >= 0) {
    }
    sleep(20ms);
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(TimerTest, AnIntervalMayCallAFunctionForEachMessage) {
  run([] {
    const auto t = send_every(1ms, self(), [n = 0]() mutable { return Big{std::make_unique<int>(++n)}; });
    for (int i = 1; i <= 5; ++i) receive(1s, [&](Big b) { EXPECT_EQ(*b.owned, i); });
    EXPECT_TRUE(cancel_timer(*t));
  });
}

TEST_F(TimerTest, AnIntervalLeavesOutWhatItsWorkerCameTooLateFor) {
  options.workers = 1;
  options.spare_workers = 0;  // else it goes on beside who computes
  options.clock = ClockKind::real;
  run([] {
    const auto began = now();
    const auto t = send_every(1ms, self(), Tick{});
    yield();
    while (now() < began + 50ms) {
    }
    const auto looked = now();
    long beats = arrives<Tick>(10s) ? 1 : 0;
    while (arrives<Tick>(0s)) ++beats;
    EXPECT_GE(beats, 1);
    EXPECT_LE(beats, 2 + (now() - looked) / 1ms);  // not the fifty that were due
    EXPECT_TRUE(cancel_timer(*t));
  });
}

TEST_F(TimerTest, AnIntervalEndsWithItsProcessAndGoesOnForAName) {
  run([] {
    const Monitored target = spawn_monitor([] { receive(1s, [](Tick) {}); });
    const auto t = send_every(1ms, target.pid, Tick{});
    const auto named = send_every(1ms, Name{"late"}, Tick{8});
    await_down(target);
    EXPECT_FALSE(read_timer(*t));
    sleep(5ms);
    ASSERT_TRUE(register_name("late", self()));
    EXPECT_EQ(next_tick(1s), 8);
    EXPECT_TRUE(cancel_timer(*named));
    EXPECT_FALSE(cancel_timer(*t));
  });
  EXPECT_EQ(rt().stats().timers, 0u);
}

TEST_F(TimerTest, AnIntervalStopsAtTheReceiversPlacesAndGoesOnWhenThereAreSome) {
  run([] {
    await_down(spawn_monitor({.timers = 4}, [] {
      const auto t = send_every(1ms, self(), Tick{1});
      sleep(100ms);
      for (int i = 0; i < 3; ++i) EXPECT_EQ(next_tick(0s), 1);
      EXPECT_EQ(next_tick(0s), -1);
      EXPECT_EQ(next_tick(5ms), 1);
      EXPECT_TRUE(cancel_timer(*t));
    }));
  });
}

TEST_F(TimerTest, AnIntervalWhoseFunctionThrowsEnds) {
  run([] {
    const auto t = send_every(1ms, self(), [n = 0]() mutable {
      if (++n == 3) throw std::runtime_error("enough");
      return Tick{n};
    });
    EXPECT_EQ(next_tick(1s), 1);
    EXPECT_EQ(next_tick(1s), 2);
    EXPECT_EQ(next_tick(100ms), -1);
    EXPECT_FALSE(cancel_timer(*t));
  });
  ASSERT_EQ(reports().size(), 1u);
  EXPECT_EQ(reports()[0].component, "timer");
}

// --- repeat_every ----------------------------------------------------------------------------------------------------

TEST_F(TimerTest, RepeatAtAFixedRateKeepsItsPhaseAndLeavesMissedTurnsOut) {
  run([] {
    const auto began = now();
    std::vector<long> at;  // tenths of a period
    const auto missed = repeat_every(10ms, 5, [&] {
      at.push_back((now() - began) / 1ms);
      if (at.size() == 2) sleep(25ms);
    });
    EXPECT_EQ(missed, 2u);
    EXPECT_EQ(at, (std::vector<long>{10, 20, 50, 60, 70}));
  });
}

TEST_F(TimerTest, RepeatWithAFixedPauseCountsFromTheEndOfATurn) {
  run([] {
    const auto began = now();
    std::vector<long> at;
    EXPECT_EQ(repeat_every(
                  10ms, 3,
                  [&] {
                    at.push_back((now() - began) / 1ms);
                    sleep(25ms);
                  },
                  Pace::fixed_pause),
              0u);
    EXPECT_EQ(at, (std::vector<long>{10, 45, 80}));
  });
}

TEST_F(TimerTest, RepeatEndsByFalseAtItsCountAndByAnExit) {
  run([] {
    int turns = 0;
    repeat_every(1ms, 100, [&] { return ++turns < 4; });
    EXPECT_EQ(turns, 4);
    repeat_every(1ms, 0, [&] { ++turns; });
    EXPECT_EQ(turns, 4);
    const Monitored forever_at_it = spawn_monitor([] { repeat_every(1ms, ~std::uint64_t{0}, [] {}); });
    sleep(10ms);
    exit(forever_at_it.pid, reason::kill);
    EXPECT_EQ(await_down(forever_at_it), reason::killed);
  });
}

// --- from outside ----------------------------------------------------------------------------------------------------

TEST_P(TimerMatrixTest, AThreadThatIsNoProcessStartsReadsAndCancels) {
  std::atomic<int> got = 0;
  const auto p = rt().spawn([&] {
    receive(forever, [&](Tick t) { got += t.n; });
    receive(forever, [&](Expired<Tick> e) { got += e.message.n; });
  });
  ASSERT_TRUE(p);
  const auto never = rt().send_after(1h, *p, Tick{100});
  ASSERT_TRUE(never);
  EXPECT_LE(rt().read_timer(*never), std::optional<Duration>(1h));
  EXPECT_TRUE(rt().cancel_timer(*never));
  EXPECT_FALSE(rt().cancel_timer(*never));
  EXPECT_FALSE(rt().read_timer(*never));
  EXPECT_TRUE(rt().send_after(1ms, *p, Tick{1}));
  EXPECT_TRUE(rt().start_timer(1ms, *p, Tick{2}));
  EXPECT_TRUE(drive([&] { return rt().processes() == 0; }));
  EXPECT_EQ(got, 3);
}

// --- what cannot be written ------------------------------------------------------------------------------------------

template <class T>
concept CanSendAfter = requires(T&& x) {
  send_after(std::chrono::seconds(1), Pid{}, std::forward<T>(x));
};
static_assert(CanSendAfter<Tick> && !CanSendAfter<Tick&> && !CanSendAfter<const Tick&> && !CanSendAfter<char*>);
template <class W>
concept CanWait = requires(W w) {
  send_after(w, Pid{}, Tick{});
};
static_assert(CanWait<Duration> && CanWait<Clock::time_point> && !CanWait<int>);

TEST_F(TimerTest, OutsideAProcessTheVerbsSaySo) {
  EXPECT_THROW(static_cast<void>(send_after(1s, Pid{}, Tick{})), std::logic_error);
  EXPECT_THROW(static_cast<void>(cancel_timer(TimerRef{})), std::logic_error);
}

}  // namespace
}  // namespace erlking::testing
