// blocking(): foreign code on spare threads, and every way a wait for it ends.
#include "tests/support/runtime_fixture.h"

#include <atomic>
#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

namespace erlking::testing {
namespace {

class BlockingTest : public RuntimeTest {
 protected:
  void SetUp() override {
    RuntimeTest::SetUp();
    options.clock = ClockKind::real;
  }
};

struct Number {
  int value;
};

// A door that foreign code waits at.
struct Gate {
  std::atomic<bool> open{false};
  std::atomic<int> inside{0}, through{0};
  void pass() {
    ++inside;
    while (!open.load()) std::this_thread::sleep_for(1ms);
    ++through;
  }
};

TEST_F(BlockingTest, GivesWhatTheFunctionReturns) {
  run([] {
    const std::thread::id here = std::this_thread::get_id();
    EXPECT_EQ(blocking(10s, [] { return 42; }), 42);
    EXPECT_EQ(*blocking(10s, [] { return std::make_unique<int>(7); }).value(), 7);
    bool ran = false;
    EXPECT_TRUE(blocking(10s, [&] { ran = std::this_thread::get_id() != here; }));
    EXPECT_TRUE(ran) << "on another thread";
  });
}

TEST_F(BlockingTest, RethrowsWhatTheFunctionThrows) {
  run([] {
    EXPECT_THROW(blocking(10s, []() -> int { throw std::out_of_range("far"); }), std::out_of_range);
    EXPECT_EQ(blocking(10s, [] { return 1; }), 1) << "and the thread goes on";
  });
}

TEST_F(BlockingTest, NobodyElseWaits) {
  options.workers = 1;
  auto gate = std::make_shared<Gate>();
  run([&] {
    const Monitored waits = spawn_monitor([gate] { EXPECT_TRUE(blocking(60s, [gate] { gate->pass(); })); });
    for (int i = 0; i < 100; ++i) yield();
    while (gate->inside == 0) sleep(1ms);
    gate->open = true;
    EXPECT_EQ(await_down(waits), reason::normal);
  });
}

TEST_F(BlockingTest, ABoundThatPassesLeavesItBehind) {
  auto gate = std::make_shared<Gate>();
  auto alive = std::make_shared<int>();
  run([&] {
    while (gate->inside == 0) {  // again if no thread has begun with it in time: then it is not run
      EXPECT_EQ(blocking(20ms, [gate, alive] { gate->pass(); }), std::nullopt);
    }
    EXPECT_EQ(blocking(0s, [gate, alive] { gate->pass(); }), std::nullopt);
    EXPECT_GT(alive.use_count(), 1) << "what it holds lives on while it runs";
    gate->open = true;
    while (alive.use_count() > 1) sleep(1ms);
    EXPECT_EQ(blocking(10s, [] { return 1; }), 1);
  });
}

TEST_F(BlockingTest, WhatWaitsInLineLeavesItUnrun) {
  options.spare_threads = 1;
  auto gate = std::make_shared<Gate>();
  auto ran = std::make_shared<std::atomic<int>>(0);
  run([&] {
    const Monitored first = spawn_monitor([gate] { static_cast<void>(blocking(60s, [gate] { gate->pass(); })); });
    while (gate->inside == 0) sleep(1ms);
    EXPECT_EQ(blocking(20ms, [ran] { ++*ran; }), std::nullopt);
    gate->open = true;
    EXPECT_EQ(await_down(first), reason::normal);
    EXPECT_EQ(blocking(10s,
                       [ran] {
                         ++*ran;
                         return 5;
                       }),
              5);
    EXPECT_EQ(*ran, 1) << "in turn, and what nobody waits for is not begun";
  });
}

TEST_F(BlockingTest, AKilledProcessDoesNotWait) {
  auto gate = std::make_shared<Gate>();
  auto alive = std::make_shared<int>();
  run([&] {
    const Monitored victim =
        spawn_monitor([gate, alive] { static_cast<void>(blocking(forever, [gate, alive] { gate->pass(); })); });
    while (gate->inside == 0) sleep(1ms);
    exit(victim.pid, reason::kill);
    EXPECT_EQ(await_down(victim), reason::killed) << "while the function still runs";
    EXPECT_EQ(gate->through, 0);
    gate->open = true;
    while (alive.use_count() > 1) sleep(1ms);
  });
}

TEST_F(BlockingTest, TheRuntimeEndsWithoutWhatWasLeftBehind) {
  auto gate = std::make_shared<Gate>();
  auto alive = std::make_shared<int>();
  {
    Options mine = options;
    Runtime runtime(mine);
    EXPECT_EQ(runtime.run([gate, alive] {
      EXPECT_EQ(blocking(10ms, [gate, alive] { gate->pass(); }), std::nullopt);
      while (gate->inside == 0) sleep(1ms);
    }),
              0);
  }  // does not wait for the gate
  EXPECT_EQ(gate->through, 0);
  gate->open = true;
  while (alive.use_count() > 1) std::this_thread::sleep_for(1ms);
}

TEST_F(BlockingTest, ManyProcessesShareFewThreads) {
  options.spare_threads = 3;
  auto at_once = std::make_shared<std::atomic<int>>(0);
  auto most = std::make_shared<std::atomic<int>>(0);
  run([&] {
    std::vector<Monitored> made;
    for (int i = 0; i < 60; ++i) {
      made.push_back(spawn_monitor([=] {
        EXPECT_TRUE(blocking(60s, [=] {
          const int now = ++*at_once;
          for (int seen = *most; seen < now && !most->compare_exchange_weak(seen, now);) {
          }
          std::this_thread::sleep_for(1ms);
          --*at_once;
        }));
      }));
    }
    for (const Monitored& each : made) EXPECT_EQ(await_down(each), reason::normal);
  });
  EXPECT_LE(*most, 3);
  EXPECT_GE(*most, 1);
}

TEST_F(BlockingTest, AMessageCanBeSentFromThere) {
  run([&runtime = rt()] {
    const Pid me = self();
    EXPECT_TRUE(blocking(10s, [&runtime, me] { runtime.send(me, Number{3}); }));
    receive(10s, [](Number number) { EXPECT_EQ(number.value, 3); });
    EXPECT_THROW(blocking(10s, [] { return self(); }), std::logic_error) << "no process there";
  });
}

TEST_F(BlockingTest, KilledAtAnyTimeNothingIsLeft) {
  auto alive = std::make_shared<int>();
  run([&] {
    for (int i = 0; i < 200; ++i) {
      const Monitored victim = spawn_monitor([alive] {
        for (;;) static_cast<void>(blocking(1ms, [alive] { std::this_thread::yield(); }));
      });
      sleep(std::chrono::microseconds(i * 7));
      exit(victim.pid, reason::kill);
      EXPECT_EQ(await_down(victim), reason::killed);
    }
    while (alive.use_count() > 1) sleep(1ms);
  });
}

}  // namespace
}  // namespace erlking::testing
