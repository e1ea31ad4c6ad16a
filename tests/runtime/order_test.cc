// What order messages and signals arrive in: SEMANTICS §1.
#include "tests/support/runtime_fixture.h"

namespace erlking::testing {
namespace {

struct Numbered {
  int sender;
  int n;
};
struct Go {};

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
        try {
          receive(forever, [](Go) {});
        } catch (...) {
          // dead to the world, but what had been accepted before the signal is in the mailbox
          seen = static_cast<int>(self().id != 0);
          throw;
        }
      });
      for (int n = 0; n < 3; ++n) send(p.pid, Numbered{0, n});
      exit(p.pid, Reason("end"));
      EXPECT_EQ(await_down(p), Reason("end"));
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
