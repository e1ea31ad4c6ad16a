// The mailbox's bound, as users meet it: exact, reported, waited for; signals pass. SEMANTICS §14.
#include "runtime/mailbox.h"

#include "tests/stress/stress.h"

namespace erlking::testing {
namespace {

struct Number {
  int n;
};
struct Go {};
struct Ask {
  using Reply = int;
};
struct Fixed {  // cannot be assigned
  const int n;
  std::unique_ptr<int> held;
  Fixed(int number, std::unique_ptr<int> what) : n(number), held(std::move(what)) {}
  Fixed(Fixed&&) = default;
};

struct MailboxTest : RuntimeTest {};

struct BoundTest : RuntimeTest, ::testing::WithParamInterface<std::uint32_t> {};

TEST_P(BoundTest, HoldsExactlyTheBoundAndNotOneMore) {
  const int bound = static_cast<int>(GetParam());
  run([&] {
    const Monitored p = spawn_monitor({.mailbox = GetParam()}, wait_forever);
    until_waiting(p.pid);  // the first message would be handed over to a waiting receiver: that counts, too
    int sent = 0;
    while (send(p.pid, Number{sent}) == Delivery::queued) ASSERT_LE(++sent, bound);
    EXPECT_EQ(sent, bound);
    EXPECT_EQ(send(p.pid, Number{-1}), Delivery::full);
    const auto info = process_info(p.pid, 10s);
    EXPECT_EQ(info->mailbox_depth, GetParam());
    EXPECT_EQ(info->mailbox_bound, GetParam());
    EXPECT_EQ(info->refused, 2u);
    exit(p.pid, reason::kill);
    await_down(p);
  });
}

TEST_P(BoundTest, WhatIsTakenMakesRoomForExactlyAsMuch) {
  const int bound = static_cast<int>(GetParam());
  run([&] {
    ASSERT_TRUE(set_mailbox_bound(GetParam()));
    int in = 0, out = 0;
    for (const int take : {1, (bound + 1) / 2, bound}) {
      while (send(self(), Number{in}) == Delivery::queued) ++in;
      ASSERT_EQ(in - out, bound);
      for (int i = 0; i < take; ++i) ASSERT_EQ(receive(0s, [](Number number) { return number.n; }), out++);
    }
  });
}
INSTANTIATE_TEST_SUITE_P(Mailbox, BoundTest, ::testing::Values(1u, 2u, 3u, 1024u, 500'000u),
                         ::testing::PrintToStringParamName());

TEST_F(MailboxTest, ASlidingMailboxStaysExact) {
  run([] {
    for (std::uint32_t bound : {1u, 2u, 7u, 64u}) {
      set_mailbox_bound(bound);
      const int size = static_cast<int>(bound);
      int in = 0, out = 0;
      for (int round = 0; round < 3000; ++round) {
        while (in - out < size) ASSERT_EQ(send(self(), Number{in++}), Delivery::queued);
        ASSERT_EQ(send(self(), Number{-1}), Delivery::full) << "a send to the own full mailbox says so";
        for (int i = 0; i <= round % size; ++i) ASSERT_EQ(receive(0s, [](Number number) { return number.n; }), out++);
      }
      flush();
    }
  });
}

TEST_F(MailboxTest, Rule_14_4_ARefusedObjectIsHandedBackIntact) {
  run([] {
    const Pid full = spawn({.mailbox = 1}, wait_forever);
    const Monitored gone = spawn_monitor([] {});
    await_down(gone);
    send(full, Go{});
    std::string text(1000, 'x');
    EXPECT_EQ(send(full, std::move(text)), Delivery::full);
    EXPECT_EQ(text, std::string(1000, 'x'));
    EXPECT_EQ(send(full, std::move(text), 5ms), Delivery::full);
    EXPECT_EQ(text, std::string(1000, 'x'));
    EXPECT_EQ(send(gone.pid, std::move(text)), Delivery::noproc);
    EXPECT_EQ(send(gone.pid, std::move(text), 5ms), Delivery::noproc);
    EXPECT_EQ(text, std::string(1000, 'x'));
    Fixed fixed(7, std::make_unique<int>(8));
    EXPECT_EQ(send(full, std::move(fixed)), Delivery::full);
    EXPECT_EQ(send(full, std::move(fixed), 5ms), Delivery::full);
    EXPECT_EQ(fixed.n, 7);
    ASSERT_TRUE(fixed.held);
    EXPECT_EQ(*fixed.held, 8);
    exit(full, reason::kill);
  });
}

TEST_F(MailboxTest, Rule_14_4_RefusalsAreCountedOnTheReceiver) {
  run([] {
    const Pid p = spawn({.mailbox = 2}, wait_forever);
    for (int i = 0; i < 10; ++i) send(p, Number{i});
    EXPECT_EQ(process_info(p, 1s)->refused, 8u);
    EXPECT_EQ(send(p, Number{0}, 1ms), Delivery::full);
    EXPECT_EQ(process_info(p, 1s)->refused, 9u);
    EXPECT_EQ(call(p, Ask{}, 0s).error().kind, CallFailure::full);
    EXPECT_EQ(process_info(p, 1s)->refused, 10u);
    EXPECT_EQ(process_info(p, 1s)->mailbox_depth, 2u);
    exit(p, reason::kill);
  });
}

TEST_F(MailboxTest, Rule_14_1_SignalsPassAFullMailbox) {
  run([] {
    const Monitored p = spawn_monitor({.mailbox = 1}, [to = self()] {
      trap_exit(true);
      const Monitored dying = spawn_monitor([] { receive(1s, [](Go) {}); });
      link(dying.pid);
      EXPECT_EQ(send(self(), Number{1}), Delivery::queued);
      EXPECT_EQ(send(self(), Number{2}), Delivery::full);
      send(dying.pid, Go{});
      await_down(dying);
      await_exit(dying.pid);
      send(to, Go{});
      EXPECT_EQ(await_exit(to), Reason("explicit"));
      EXPECT_EQ(receive(0s, [](Number number) { return number.n; }), 1);
    });
    receive(1s, [](Go) {});
    EXPECT_TRUE(is_alive(p.pid, 1s));
    exit(p.pid, Reason("explicit"));
    EXPECT_EQ(await_down(p), reason::normal);
  });
}

TEST_F(MailboxTest, Rule_14_1_DownAndExitTakeNoPlace) {
  run([] {
    set_mailbox_bound(1);
    trap_exit(true);
    for (int i = 0; i < 100; ++i) spawn_monitor([] {});
    for (int i = 0; i < 100; ++i) spawn_link([] {});
    sleep(1ms);
    EXPECT_EQ(process_info(self(), 1s)->mailbox_depth, 0u);
    EXPECT_EQ(send(self(), Number{1}), Delivery::queued);
    EXPECT_EQ(send(self(), Number{1}), Delivery::full);
    EXPECT_EQ(flush(), 201u);
    EXPECT_EQ(process_info(self(), 1s)->mailbox_depth, 0u);
    EXPECT_EQ(send(self(), Number{1}), Delivery::queued);
  });
}

TEST_F(MailboxTest, Rule_14_3_ADownSentOnTakesAPlaceAndGivesItBack) {
  run([] {
    set_mailbox_bound(1);
    spawn_monitor([] {});
    receive(1s, [](Message down) { EXPECT_EQ(send(self(), std::move(down)), Delivery::queued); });
    EXPECT_EQ(send(self(), Number{1}), Delivery::full);
    receive(1s, [](Down) {});
    EXPECT_EQ(send(self(), Number{1}), Delivery::queued);
    EXPECT_EQ(flush(), 1u);
  });
}

TEST_F(MailboxTest, Rule_14_1_AReplyPassesAFullMailbox) {
  run([] {
    set_mailbox_bound(1);
    const Pid server = spawn([] { receive(1s, [](Ask, From<Ask> from) { from.reply(5); }); });
    send(self(), Number{1});
    EXPECT_EQ(call(server, Ask{}, 1s).value_or(-1), 5);
    EXPECT_EQ(receive(0s, [](Number number) { return number.n; }), 1);
  });
}

TEST_F(MailboxTest, Rule_14_6_AProcessWithAFullMailboxCanBeWatchedAskedAndStopped) {
  run([] {
    const Pid p = spawn({.mailbox = 1}, wait_forever);
    send(p, Number{1});
    EXPECT_TRUE(is_alive(p, 1s));
    EXPECT_EQ(process_info(p, 1s)->mailbox_depth, 1u);
    const MonitorRef ref = monitor(p);
    exit(p, reason::shutdown);
    EXPECT_EQ(await_down(ref), reason::shutdown);
  });
}

TEST_F(MailboxTest, Rule_14_3_WithoutMemoryForMessagesExitsAndDownsStillCome) {
  options.max_heap_bytes = 8 * 1024 * 1024;
  struct Block {
    char bytes[4000];
  };
  run([] {
    trap_exit(true);
    const Pid hoarder = spawn({.mailbox = 500'000}, wait_forever);
    std::atomic<bool> go = false;
    const Monitored p = spawn_monitor([&] {
      while (!go) yield();
      exit(Reason("paid_for"));
    });
    link(p.pid);
    const MonitorRef again = monitor(p.pid);
    EXPECT_TRUE(is_alive(p.pid, 5s)) << "it has both ties now";
    const auto hoard = [&](auto sized) {
      try {
        for (;;) {
          auto block = sized;
          ASSERT_EQ(send(hoarder, std::move(block)), Delivery::queued);
        }
      } catch (const std::bad_alloc&) {
      }
    };
    hoard(Block{});
    hoard(Number{});
    go = true;
    // Without bounds: a process's first wait with one takes memory for its timer, and none above needed to wait.
    for (const MonitorRef ref : {p.ref, again}) {
      receive(forever, when([&](const Down& down) { return down.ref == ref; },
                            [](const Down& down) { EXPECT_EQ(down.reason, Reason("paid_for")); }));
    }
    receive(forever, [&](const Exit& exit) {
      EXPECT_EQ(exit.from, p.pid);
      EXPECT_EQ(exit.reason, Reason("paid_for"));
    });
    // The hoarder stays: there may be no memory for a signal to it, which would end this process.
  });
}

TEST_F(MailboxTest, Rule_14_5_ARefusedSendLeavesNoTrace) {
  struct Tracked {
    int n;
    std::shared_ptr<int> value;
  };
  auto value = std::make_shared<int>();
  run([&] {
    set_mailbox_bound(2);
    EXPECT_EQ(send(self(), Tracked{1, value}), Delivery::queued);
    EXPECT_EQ(send(self(), Tracked{2, value}), Delivery::queued);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(send(self(), Tracked{3, value}), Delivery::full);
    EXPECT_EQ(value.use_count(), 3);
    EXPECT_EQ(process_info(self(), 1s)->mailbox_depth, 2u);
    EXPECT_EQ(receive(0s, [](Tracked got) { return got.n; }), 1);
    EXPECT_EQ(send(self(), Tracked{4, value}), Delivery::queued);
    EXPECT_EQ(receive(0s, [](Tracked got) { return got.n; }), 2);
    EXPECT_EQ(receive(0s, [](Tracked got) { return got.n; }), 4) << "the refused one is not there to be waited for";
    EXPECT_TRUE(mailbox_empty());
    EXPECT_EQ(value.use_count(), 1);
  });
}

// --- set_mailbox_bound -----------------------------------------------------------------------------------------------

TEST_F(MailboxTest, Rule_8_3_TheBoundChangesAtRunTimeAndQueuedMessagesStay) {
  run([] {
    EXPECT_FALSE(set_mailbox_bound(0));
    EXPECT_FALSE(set_mailbox_bound(500'001));
    EXPECT_EQ(process_info(self(), 1s)->mailbox_bound, 1024u);
    EXPECT_TRUE(set_mailbox_bound(500'000));
    EXPECT_TRUE(set_mailbox_bound(10));
    for (int i = 0; i < 10; ++i) EXPECT_EQ(send(self(), Number{i}), Delivery::queued);
    EXPECT_TRUE(set_mailbox_bound(3));
    EXPECT_EQ(send(self(), Number{0}), Delivery::full);
    for (int i = 0; i < 7; ++i) receive(0s, [&](Number number) { EXPECT_EQ(number.n, i); });
    EXPECT_EQ(send(self(), Number{0}), Delivery::full);
    receive(0s, [](Number) {});
    EXPECT_EQ(send(self(), Number{10}), Delivery::queued);
    EXPECT_EQ(send(self(), Number{11}), Delivery::full);
    EXPECT_EQ(flush(), 3u);
  });
}

TEST_F(MailboxTest, ALargerBoundFreesWaitingSenders) {
  run([] {
    std::vector<Monitored> senders;
    set_mailbox_bound(1);
    send(self(), Number{-1});
    for (int i = 0; i < 20; ++i) {
      senders.push_back(spawn_monitor([to = self(), i] {
        const Delivery sent = send(to, Number{i}, 10s);
        exit(Reason(sent == Delivery::queued ? "queued" : "other"));
      }));
    }
    for (auto& sender : senders) until_waiting(sender.pid);
    set_mailbox_bound(100);
    for (auto& sender : senders) EXPECT_EQ(await_down(sender), Reason("queued"));
    EXPECT_EQ(flush(), 21u);
  });
}

// --- waiting for room ------------------------------------------------------------------------------------------------

TEST_F(MailboxTest, AWaitingSendIsQueuedWhenThereIsRoom) {
  run([] {
    set_mailbox_bound(1);
    send(self(), Number{1});
    const Monitored sender = spawn_monitor([to = self()] { EXPECT_EQ(send(to, Number{2}, 10s), Delivery::queued); });
    until_waiting(sender.pid);
    receive(1s, [](Number number) { EXPECT_EQ(number.n, 1); });
    receive(1s, [](Number number) { EXPECT_EQ(number.n, 2); });
    EXPECT_EQ(await_down(sender), reason::normal);
  });
}

TEST_F(MailboxTest, ASignalDuringAWaitForRoomIsExecutedAndTheWaitGoesOn) {
  run([] {
    set_mailbox_bound(1);
    send(self(), Number{1});
    const Monitored sender = spawn_monitor([to = self()] {
      trap_exit(true);
      EXPECT_EQ(send(to, Number{2}, 10s), Delivery::queued);
      EXPECT_EQ(await_exit(to), Reason("knock"));
    });
    until_waiting(sender.pid);
    exit(sender.pid, Reason("knock"));
    EXPECT_TRUE(is_alive(sender.pid, 1s));
    receive(1s, [](Number number) { EXPECT_EQ(number.n, 1); });
    receive(1s, [](Number number) { EXPECT_EQ(number.n, 2); });
    EXPECT_EQ(await_down(sender), reason::normal);
  });
}

TEST_F(MailboxTest, AllWaitingSendersGetRoomInTurn) {
  run([] {
    set_mailbox_bound(1);
    constexpr int kSenders = 16, kEach = 50;
    std::vector<Monitored> senders;
    for (int s = 0; s < kSenders; ++s) {
      senders.push_back(spawn_monitor([to = self(), s] {
        for (int i = 0; i < kEach; ++i) EXPECT_EQ(send(to, Number{s * kEach + i}, 60s), Delivery::queued);
      }));
    }
    std::vector<int> next(kSenders, 0);
    for (int i = 0; i < kSenders * kEach; ++i) {
      const int n = receive(60s, [](Number number) { return number.n; });
      EXPECT_EQ(n % kEach, next[static_cast<std::size_t>(n / kEach)]++);
      if (i % 10 == 0) yield();
    }
    for (auto& sender : senders) EXPECT_EQ(await_down(sender), reason::normal);
  });
}

TEST_F(MailboxTest, AWaitingSendEndsWhenItsBoundPasses) {
  run([] {
    const Pid p = spawn({.mailbox = 1}, wait_forever);
    send(p, Go{});
    const auto began = now();
    EXPECT_EQ(send(p, Go{}, 10ms), Delivery::full);
    EXPECT_GE(now() - began, 10ms);
    EXPECT_EQ(send(p, Go{}, 0s), Delivery::full) << "looks once";
    EXPECT_EQ(send(p, Go{}, now() + 5ms), Delivery::full);
    exit(p, reason::kill);
  });
}

TEST_F(MailboxTest, Rule_14_4_AWaitingSendEndsWhenTheReceiverDies) {
  run([] {
    for (int i = 0; i < 200; ++i) {
      const Pid p = spawn({.mailbox = 1}, wait_forever);
      send(p, Go{});
      std::vector<Monitored> senders;
      for (int s = 0; s < 3; ++s) {
        senders.push_back(
            spawn_monitor([p] { exit(Reason(send(p, Go{}, forever) == Delivery::noproc ? "noproc" : "other")); }));
      }
      if (i % 2 == 0) until_waiting(senders.back().pid);
      exit(p, reason::kill);
      for (auto& sender : senders) EXPECT_EQ(await_down(sender), reason::noproc);
    }
  });
}

// A waiting sender that looks after a signal must not use up, or miss, the wake that the receiver's death gives it.
TEST_F(MailboxTest, AWakeThatMeetsASignalIsNotLost) {
  options.workers = 4;
  run([] {
    for (unsigned i = 0; i < scaled(1'000); ++i) {
      const Pid p = spawn({.mailbox = 1, .worker = 0}, wait_forever);
      send(p, Go{});
      std::atomic<bool> traps{false};
      const Monitored sender = spawn_monitor({.worker = 1}, [p, &traps] {
        trap_exit(true);
        traps = true;
        EXPECT_EQ(send(p, Go{}, forever), Delivery::noproc);
      });
      const Monitored knocker = spawn_monitor({.worker = 2}, [to = sender.pid, &traps] {
        while (!traps) yield();
        for (int k = 0; k < 30; ++k) exit(to, Reason("knock"));
      });
      while (!traps) yield();
      for (int turns = 0; turns < static_cast<int>(i % 20); ++turns) yield();
      exit(p, reason::kill);
      EXPECT_EQ(await_down(sender), reason::normal);
      await_down(knocker);
    }
  });
}

TEST_F(MailboxTest, Rule_14_4_AWaitingSenderCanBeKilled) {
  struct Held {
    std::shared_ptr<int> value;
  };
  auto value = std::make_shared<int>();
  run([&] {
    const Pid p = spawn({.mailbox = 1}, wait_forever);
    send(p, Go{});
    for (int i = 0; i < 100; ++i) {
      const Monitored sender = spawn_monitor([&] { send(p, Held{value}, forever); });
      if (i % 2 == 0) until_waiting(sender.pid);
      exit(sender.pid, reason::kill);
      EXPECT_EQ(await_down(sender), reason::killed);
      EXPECT_EQ(value.use_count(), 1) << "its message is gone with it";
    }
    exit(p, reason::kill);
    await_down(monitor(p));
  });
}

TEST_F(MailboxTest, Rule_14_4_TwoThatWaitForEachOthersRoomCanBeStopped) {
  run([] {
    const auto fill = [](Pid peer) {
      while (send(peer, Number{1}, forever) == Delivery::queued) {
      }
    };
    const Monitored a = spawn_monitor(
        {.mailbox = 2},
        [fill](Pid report) {
          const Pid peer = receive(1s, [](Pid pid) { return pid; });
          send(report, Go{});
          fill(peer);
        },
        self());
    // Says who it is before it fills a's mailbox, and its own mailbox needs nothing: who is first does not matter.
    const Monitored b = spawn_monitor(
        {.mailbox = 2},
        [fill](Pid peer) {
          send(peer, self());
          fill(peer);
        },
        a.pid);
    receive(1s, [](Go) {});
    until_waiting(a.pid);
    until_waiting(b.pid);
    exit(a.pid, reason::shutdown);
    EXPECT_EQ(await_down(a), reason::shutdown);
    EXPECT_EQ(await_down(b), reason::normal) << "its send ended with noproc";
  });
}

TEST_F(MailboxTest, Rule_14_6_AWaitingSendToOneselfEndsAtItsBound) {
  run([] {
    set_mailbox_bound(1);
    send(self(), Go{});
    EXPECT_EQ(send(self(), Go{}, 5ms), Delivery::full);
    flush();
    EXPECT_EQ(send(self(), Go{}, 5ms), Delivery::queued);
    const Monitored p = spawn_monitor({.mailbox = 1}, [] {
      send(self(), Go{});
      send(self(), Go{}, forever);
      ADD_FAILURE() << "there was never room";
    });
    until_waiting(p.pid);
    exit(p.pid, Reason("enough"));
    EXPECT_EQ(await_down(p), Reason("enough"));
  });
}

// 8 senders with and without waiting, small bounds: sent = received + refused, pair order kept, the bound never passed.
struct MailboxStressTest : RuntimeMatrixTest {};
INSTANTIATE_TEST_SUITE_P(Mailbox, MailboxStressTest, every_setting(), name_of_setting);

TEST_P(MailboxStressTest, NothingIsLostAndTheBoundIsNeverPassed) {
  for (std::uint32_t bound : {1u, 2u, 16u, 1024u}) {
    run([&] {
      constexpr int kSenders = 8, kEach = 400;
      std::atomic<int> queued = 0, refused = 0;
      std::atomic<bool> over = false;
      const Monitored receiver = spawn_monitor({.mailbox = bound}, [&] {
        std::vector<int> last(kSenders, -1);
        int received = 0;
        const auto take = [&](Number number) {
          const auto s = static_cast<std::size_t>(number.n / kEach);
          EXPECT_GT(number.n % kEach, last[s]);
          last[s] = number.n % kEach;
          ++received;
          if (received % 64 == 0) {
            EXPECT_LE(process_info(self(), 0s)->mailbox_depth, bound);
          }
        };
        bool empty = false;
        while (!(empty && over)) {
          empty = over;
          for (bool more = true; more;) {
            more = receive(
                1ms, [&](Number number) { return take(number), true; }, [](Timeout) { return false; });
            empty = empty && !more;
          }
        }
        EXPECT_EQ(received, queued);
      });
      std::vector<Monitored> senders;
      for (int s = 0; s < kSenders; ++s) {
        senders.push_back(spawn_monitor([&, s] {
          for (int i = 0; i < kEach; ++i) {
            const Delivery sent =
                s % 2 == 0 ? send(receiver.pid, Number{s * kEach + i}) : send(receiver.pid, Number{s * kEach + i}, 10s);
            ++(sent == Delivery::queued ? queued : refused);
            EXPECT_NE(sent, Delivery::noproc);
            if (s % 2 == 1) {
              EXPECT_EQ(sent, Delivery::queued);
            }
          }
        }));
      }
      for (auto& sender : senders) EXPECT_EQ(await_down(sender), reason::normal);
      EXPECT_EQ(queued + refused, kSenders * kEach);
      over = true;
      EXPECT_EQ(await_down(receiver), reason::normal);
    });
  }
}

}  // namespace
}  // namespace erlking::testing
