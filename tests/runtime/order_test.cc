// What order messages and signals arrive in: SEMANTICS §1.
#include "tests/support/runtime_fixture.h"

namespace erlking::testing {
namespace {

struct Numbered {
  int sender;
  int n;
};
struct Go {};

// Counts the Numbered, 0 and up, that lie in the mailbox of a process on its way out.
struct CountAtEnd {
  std::atomic<int>& count;
  ~CountAtEnd() {
    for (bool more = true; more;) {
      receive(
          0s, [&](Numbered got) { EXPECT_EQ(got.n, count++); }, [&](Timeout) { more = false; });
    }
  }
};

struct OrderTest : RuntimeMatrixTest {};
INSTANTIATE_TEST_SUITE_P(Order, OrderTest, every_setting(), name_of_setting);

TEST_P(OrderTest, Rule_1_2_MessagesAndSignalsOfOneSenderKeepTheirOrder) {
  run([] {
    trap_exit(true);
    constexpr int kSenders = 8, kEach = 300;
    std::vector<Pid> senders;
    for (int s = 0; s < kSenders; ++s) {
      senders.push_back(spawn([s, to = self()] {
        for (int n = 0; n < kEach; ++n) {
          if (n % 3 == 2) {
            exit(to, Reason("numbered", std::to_string(n)));  // becomes a message, in its place
          } else {
            ASSERT_EQ(send(to, Numbered{s, n}, 20s), Delivery::queued);
          }
        }
      }));
    }
    std::vector<int> next(kSenders, 0);
    for (int i = 0; i < kSenders * kEach; ++i) {
      receive(
          20s, [&](Numbered got) { ASSERT_EQ(got.n, next[static_cast<std::size_t>(got.sender)]++); },
          [&](Exit got) {
            const auto s =
                static_cast<std::size_t>(std::find(senders.begin(), senders.end(), got.from) - senders.begin());
            ASSERT_LT(s, next.size());
            ASSERT_EQ(got.reason.detail(), std::to_string(next[s]++));
          });
    }
  });
}

TEST_P(OrderTest, Rule_1_3_DownAndExitComeAfterTheMessagesOfTheDead) {
  run([] {
    trap_exit(true);
    register_name("receiver", self());
    for (int round = 0; round < 200; ++round) {
      const bool linked = round % 2 == 0;
      const auto body = [to = self(), round] {
        for (int n = 0; n < 20; ++n) {
          if (n % 2 == 0) {
            send(to, Numbered{round, n});
          } else {
            send(Name{"receiver"}, Numbered{round, n});
          }
        }
      };
      const Monitored made = linked ? Monitored{spawn_link(body), {}} : spawn_monitor(body);
      int next = 0;
      bool over = false;
      while (!over) {
        receive(
            10s,
            [&](Numbered got) {
              ASSERT_EQ(got.sender, round);
              ASSERT_EQ(got.n, next++);
            },
            [&](Down) { over = true; }, [&](Exit) { over = true; });
      }
      ASSERT_EQ(next, 20) << "the death overtook a message";
      ASSERT_TRUE(mailbox_empty());
      static_cast<void>(made);
    }
  });
}

TEST_P(OrderTest, Rule_1_2_AMessageSentBeforeAnExitSignalIsThereFirst) {
  run([] {
    for (int i = 0; i < 300; ++i) {
      std::atomic<int> seen = 0;
      const Monitored p = spawn_monitor([&] {
        CountAtEnd count{seen};
        receive(forever, [](Go) {});
      });
      until_waiting(p.pid);
      for (int n = 0; n < 3; ++n) send(p.pid, Numbered{0, n});
      exit(p.pid, Reason("end"));
      EXPECT_EQ(await_down(p), Reason("end"));
      EXPECT_EQ(seen, 3) << "when the exit acted, something was not there yet";
    }
  });
}

TEST_P(OrderTest, Rule_14_2_NoSignalOvertakesTheMessagesThatFillAMailbox) {
  run([] {
    for (const Reason& why : {reason::kill, Reason("end")}) {
      for (int i = 0; i < 100; ++i) {
        std::atomic<int> seen = 0;
        const Monitored p = spawn_monitor({.mailbox = 5}, [&] {
          CountAtEnd count{seen};
          receive(forever, [](Go) {});
        });
        until_waiting(p.pid);
        for (int n = 0; n < 5; ++n) ASSERT_EQ(send(p.pid, Numbered{0, n}), Delivery::queued);
        ASSERT_EQ(send(p.pid, Numbered{0, 5}), Delivery::full);
        exit(p.pid, why);
        await_down(p);
        ASSERT_EQ(seen, 5);
      }
    }
    trap_exit(true);
    set_mailbox_bound(2);
    for (int i = 0; i < 100; ++i) {
      const Pid p = spawn_link([to = self()] {
        for (int n = 0; n < 2; ++n) EXPECT_EQ(send(to, Numbered{0, n}), Delivery::queued);
        EXPECT_EQ(send(to, Numbered{0, 2}), Delivery::full);
      });
      while (is_alive(p, 10s)) yield();  // nothing is received meanwhile
      std::string order;
      for (int n = 0; n < 3; ++n)
        receive(
            10s, [&](Numbered got) { order += std::to_string(got.n); }, [&](Exit) { order += 'x'; });
      ASSERT_EQ(order, "01x");
    }
  });
}

TEST_P(OrderTest, Rule_1_1_SignalsAreExecutedWithoutAReceive) {
  run([] {
    const Monitored p = spawn_monitor([] {
      for (;;) yield();
    });
    link(p.pid);
    const MonitorRef ref = monitor(p.pid);
    auto info = process_info(p.pid, 10s);
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(info->links.size(), 1u);
    EXPECT_EQ(info->monitored_by.size(), 2u);
    unlink(p.pid);
    EXPECT_TRUE(demonitor(ref));
    info = process_info(p.pid, 10s);
    EXPECT_EQ(info->links.size(), 0u);
    EXPECT_EQ(info->monitored_by.size(), 1u);
    exit(p.pid, Reason("acts"));
    EXPECT_EQ(await_down(p), Reason("acts"));
  });
}

TEST_P(OrderTest, Rule_1_4_SendersInterleaveInAnyOrderButEachKeepsItsOwn) {
  run([] {
    constexpr int kRounds = 300;
    const auto forward = [](Pid to) {  // the way round
      for (int i = 0; i < kRounds; ++i) {
        const int n = receive(20s, [](Numbered got) { return got.n; });
        ASSERT_EQ(send(to, Numbered{1, n}, 20s), Delivery::queued);
      }
    };
    const Pid round = spawn_link(forward, self());
    spawn_link([round, to = self()] {
      for (int n = 0; n < kRounds; ++n) {
        ASSERT_EQ(send(to, Numbered{0, n}, 20s), Delivery::queued);
        ASSERT_EQ(send(round, Numbered{0, n}, 20s), Delivery::queued);
      }
    });
    int next[2] = {0, 0};
    for (int i = 0; i < 2 * kRounds; ++i) {
      receive(20s, [&](Numbered got) { ASSERT_EQ(got.n, next[got.sender]++); });
    }
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_P(OrderTest, Rule_1_5_AnExitAndADownThatBecomeMessagesGoToTheEnd) {
  run([] {
    trap_exit(true);
    for (int i = 0; i < 200; ++i) {
      send(self(), Numbered{0, 0});
      const Monitored p = spawn_monitor([to = self()] {
        send(to, Numbered{1, 1});
        exit(to, Reason("between"));
        send(to, Numbered{1, 2});
      });
      if (i % 2 == 0) until_waiting(p.pid);  // or until it has ended
      std::string order;
      for (int n = 0; n < 5; ++n)
        receive(
            10s, [&](Numbered got) { order += std::to_string(got.n); }, [&](Exit) { order += 'x'; },
            [&](Down) { order += 'd'; });
      ASSERT_EQ(order, "01x2d");
    }
  });
}

TEST_P(OrderTest, Rule_1_6_WhatIsSentToTheDeadVanishesButTiesAndQuestionsAreAnswered) {
  run([] {
    trap_exit(true);
    for (int i = 0; i < 100; ++i) {
      const Monitored gone = spawn_monitor([] {});
      await_down(gone);
      const Monitored heir = spawn_monitor([] { receive(forever, [](Go) {}); });  // in its slot, like as not
      EXPECT_EQ(send(gone.pid, Go{}), Delivery::noproc);
      exit(gone.pid, reason::kill);
      unlink(gone.pid);
      EXPECT_FALSE(demonitor(gone.ref));
      EXPECT_TRUE(mailbox_empty());
      link(gone.pid);
      EXPECT_EQ(await_exit(gone.pid), reason::noproc);
      EXPECT_EQ(await_down(monitor(gone.pid)), reason::noproc);
      EXPECT_FALSE(is_alive(gone.pid, 10s));
      EXPECT_EQ(process_info(gone.pid, 10s).error().kind, CallFailure::noproc);
      EXPECT_TRUE(mailbox_empty());
      const auto info = process_info(heir.pid, 10s);
      ASSERT_TRUE(info.has_value());
      EXPECT_EQ(info->mailbox_depth, 0u);
      EXPECT_EQ(info->links.size(), 0u);
      EXPECT_EQ(info->monitored_by.size(), 1u);
      send(heir.pid, Go{});
      EXPECT_EQ(await_down(heir), reason::normal);
    }
  });
}

TEST_P(OrderTest, Rule_1_7_AfterAKillTheProcessIsNotAliveAndItsNameIsFree) {
  run([] {
    for (int i = 0; i < 500; ++i) {
      const Pid p = spawn({.name = "victim"}, wait_forever);
      if (i % 2 == 0) yield();
      exit(p, reason::kill);
      ASSERT_FALSE(is_alive(p, 10s));
      ASSERT_EQ(whereis("victim"), std::nullopt);
    }
  });
}

TEST_P(OrderTest, Rule_1_7_ProcessInfoSeesTheCallersEarlierMessages) {
  run([] {
    for (int i = 0; i < 200; ++i) {
      const Pid p = spawn(wait_forever);
      for (int n = 0; n < i % 5; ++n) send(p, Numbered{0, n});
      const auto info = process_info(p, 10s);
      ASSERT_TRUE(info.has_value());
      ASSERT_EQ(info->mailbox_depth, static_cast<std::uint32_t>(i % 5));
      exit(p, reason::kill);
      ASSERT_EQ(process_info(p, 10s).error().kind, CallFailure::noproc);
    }
  });
}

struct DoomedTest : RuntimeTest {};

TEST_F(DoomedTest, Rule_1_1_WithoutASafePointWhatIsAskedWaitsButNotWhatIsSent) {
  options.clock = ClockKind::real;  // the manual one stands while somebody runs
  run([] {
    std::atomic<bool> runs = false, go = false;
    const Monitored p = spawn_monitor({.worker = 1}, [&] {
      runs = true;
      while (!go) {
      }
      yield();
      ADD_FAILURE() << "the exit did not act at the safe point";
    });
    const Monitored asking = spawn_monitor({.worker = 0}, [&] {
      while (!runs) yield();
      EXPECT_EQ(send(p.pid, Numbered{0, 0}), Delivery::queued);
      const MonitorRef ref = monitor(p.pid);
      exit(p.pid, Reason("late"));
      EXPECT_EQ(process_info(p.pid, 1ms).error().kind, CallFailure::timeout);
      EXPECT_TRUE(is_alive(p.pid, 1ms));
      EXPECT_TRUE(mailbox_empty());
      go = true;
      EXPECT_EQ(await_down(ref), Reason("late"));
    });
    EXPECT_EQ(await_down(asking), reason::normal);
    EXPECT_EQ(await_down(p), Reason("late"));
  });
}

TEST_F(DoomedTest, Rule_1_7_IsAliveWaitsUntilADyingProcessHasReleasedItsName) {
  run([] {
    struct Slow {
      ~Slow() { sleep(10ms); }
    };
    const Pid p = spawn({.name = "slow"}, [] {
      Slow slow;
      wait_forever();
    });
    until_waiting(p);
    exit(p, reason::kill);
    EXPECT_FALSE(is_alive(p, 10s));
    EXPECT_EQ(whereis("slow"), std::nullopt);
    await_down(monitor(p));
  });
}

TEST_F(DoomedTest, Rule_14_7_AProcessThatDefersItsKillIsAliveUntilItHasEnded) {
  run([] {
    const Pid p = spawn({.name = "slow"}, [] {
      DeferKill guard;
      sleep(10ms);
    });
    until_waiting(p);
    exit(p, reason::kill);
    EXPECT_TRUE(is_alive(p, 1ms)) << "no answer in time: it is alive";
    EXPECT_EQ(whereis("slow"), p);
    EXPECT_FALSE(is_alive(p, 10s));
    EXPECT_EQ(whereis("slow"), std::nullopt);
  });
}

}  // namespace
}  // namespace erlking::testing
