// The operating system's signals: who is told of them, and that all is as before when nobody wants them any more.
#include "tests/support/net_fixture.h"

#include <csignal>
#include <unistd.h>

namespace erlking::testing {
namespace {

class SignalsTest : public NetTest {
 protected:
  void SetUp() override {
    NetTest::SetUp();
    std::signal(SIGUSR1, &count);
    counted() = 0;
  }
  void TearDown() override {
    NetTest::TearDown();
    struct sigaction now {};
    sigaction(SIGUSR1, nullptr, &now);
    EXPECT_EQ(now.sa_handler, &count) << "the handler is not what it was";
    std::signal(SIGUSR1, SIG_DFL);
  }
  static std::atomic<int>& counted() {
    static std::atomic<int> n{0};
    return n;
  }
  static void count(int) { counted().fetch_add(1); }
};
INSTANTIATE_TEST_SUITE_P(Every, SignalsTest, every_place(), name_of_place);

// As from another program: the system picks a thread. ThreadSanitizer puts a handler off until that thread's next call
// that it intercepts; who is just going to sleep in a futex makes none. There the caller runs the handler.
int signal_myself(int number) {
#if defined(__SANITIZE_THREAD__)
  return ::raise(number);
#else
  return ::kill(::getpid(), number);
#endif
}

int next_signal(Bound bound = 20s) {
  return receive(
      bound, [](OsSignal signal) { return signal.number; }, [](Timeout) { return 0; });
}

struct Ready {};

TEST_P(SignalsTest, WhoHasSubscribedIsTold) {
  run([] {
    ASSERT_TRUE(signals::subscribe({SIGUSR1, SIGUSR2}));
    ASSERT_EQ(signal_myself(SIGUSR1), 0);
    EXPECT_EQ(next_signal(), SIGUSR1);
    ASSERT_EQ(signal_myself(SIGUSR2), 0);
    EXPECT_EQ(next_signal(), SIGUSR2);
    EXPECT_EQ(counted(), 0);
    ASSERT_TRUE(signals::subscribe({SIGUSR1, SIGHUP})) << "again: the one it has not";
    ASSERT_EQ(signal_myself(SIGHUP), 0);
    EXPECT_EQ(next_signal(), SIGHUP);
    ASSERT_EQ(signal_myself(SIGUSR1), 0);
    EXPECT_EQ(next_signal(), SIGUSR1);
    EXPECT_EQ(next_signal(20ms), 0) << "told twice";
    EXPECT_TRUE(signals::subscribe({}));
  });
}

TEST_P(SignalsTest, EachOfSeveralIsToldUntilItEnds) {
  run([] {
    ASSERT_TRUE(signals::subscribe({SIGUSR1}));
    const Monitored other = spawn_monitor([to = self()] {
      ASSERT_TRUE(signals::subscribe({SIGUSR1}));
      send(to, Ready{});
      EXPECT_EQ(next_signal(), SIGUSR1);
    });
    receive(20s, [](Ready) {});
    ASSERT_EQ(signal_myself(SIGUSR1), 0);
    EXPECT_EQ(next_signal(), SIGUSR1);
    EXPECT_EQ(await_down(other), reason::normal);
    ASSERT_EQ(signal_myself(SIGUSR1), 0);
    EXPECT_EQ(next_signal(), SIGUSR1);
  });
}

TEST_P(SignalsTest, WhatWasBeforeIsThereAgainAfterTheLast) {
  run([] {
    for (int round = 0; round < 10; ++round) {
      const Monitored one = spawn_monitor([round] {
        ASSERT_TRUE(signals::subscribe({SIGUSR1}));
        if (round % 2 == 0) wait_forever();
      });
      if (round % 2 == 0) until_waiting(one.pid);
      exit(one.pid, reason::kill);
      await_down(one);
    }
    // Its end is heard of a little later by what passes the signals on.
    for (int i = 0; i < 2000; ++i) {
      struct sigaction now {};
      sigaction(SIGUSR1, nullptr, &now);
      if (now.sa_handler == &count) break;
      sleep(10ms);
    }
    ASSERT_EQ(signal_myself(SIGUSR1), 0);
    for (int i = 0; i < 2000 && counted() == 0; ++i) sleep(10ms);
    EXPECT_EQ(counted(), 1);
  });
}

TEST_P(SignalsTest, ThoseThatCannotBeHadAreRefused) {
  run([] {
    for (const int number : {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGURG, 0, -1, 32, 65, 1000}) {
      EXPECT_EQ(failure_of(signals::subscribe({number})), IoFailure::invalid) << number;
      EXPECT_EQ(failure_of(signals::subscribe({SIGUSR1, number})), IoFailure::invalid) << number;
    }
    EXPECT_TRUE(signals::subscribe({SIGRTMIN, SIGRTMAX}));
    ASSERT_EQ(signal_myself(SIGRTMAX), 0);
    EXPECT_EQ(next_signal(), SIGRTMAX);
  });
}

TEST_P(SignalsTest, ManySubscriptionsEndWithALimit) {
  run([] {
    std::vector<Monitored> made;
    const auto outcomes = std::make_shared<std::atomic<int>>(0);
    for (int i = 0; i < 70; ++i) {
      made.push_back(spawn_monitor([outcomes, to = self()] {
        const auto done = signals::subscribe({SIGUSR1});
        if (!done) {
          EXPECT_EQ(done.error().kind, IoFailure::limit);
          outcomes->fetch_add(1);
        }
        send(to, Ready{});
        wait_forever();
      }));
      receive(20s, [](Ready) {});
    }
    EXPECT_EQ(*outcomes, 6);
    for (const Monitored& one : made) exit(one.pid, reason::kill);
    for (const Monitored& one : made) await_down(one);
  });
}

TEST_P(SignalsTest, InAFloodNobodyIsHarmed) {
  run([] {
    std::atomic<bool> over{false};
    const Monitored flood = spawn_monitor([&over] {
      while (!over) {
        signal_myself(SIGUSR1);
        yield();
      }
    });
    for (unsigned round = 0; round < std::max(5u, scaled(50)); ++round) {
      const Monitored one = spawn_monitor([round] {
        ASSERT_TRUE(signals::subscribe({SIGUSR1}));
        if (round % 2 == 0) {
          EXPECT_EQ(next_signal(), SIGUSR1);
        }
      });
      EXPECT_EQ(await_down(one), reason::normal);
    }
    over = true;
    EXPECT_EQ(await_down(flood), reason::normal);
  });
}

}  // namespace
}  // namespace erlking::testing
