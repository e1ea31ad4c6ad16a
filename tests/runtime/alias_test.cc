// Aliases: SEMANTICS §5.
#include "runtime/alias.h"

#include "tests/support/runtime_fixture.h"

#include <functional>

namespace erlking::testing {
namespace {

struct Number {
  int n;
};
struct To {
  Alias alias;
};
struct Ask {
  int n;
  Alias reply_to;
};
struct Answer {
  int n;
};
struct Sum {
  int a, b;
  using Reply = int;
};

/// Calls back when it is destroyed and has not been moved away.
struct AtDrop {
  explicit AtDrop(std::function<void()> given) : run(std::move(given)) {}
  AtDrop(AtDrop&& other) noexcept : run(std::exchange(other.run, nullptr)) {}
  AtDrop& operator=(AtDrop&& other) noexcept {
    std::swap(run, other.run);
    return *this;
  }
  ~AtDrop() {
    if (run) run();
  }
  std::function<void()> run;
};

/// What a process does that is sent an Ask by its parent.
void answer_once() {
  receive(forever, [](Ask ask) { send(ask.reply_to, Answer{ask.n + 1}); });
}

/// Has everything sent so far delivered; takes nothing.
void look() { mailbox_empty(); }

Number next_number() {
  return receive(
      10s, [](Number n) { return n; }, [](Timeout) { return Number{-1}; });
}

struct AliasTest : RuntimeTest {};

TEST_F(AliasTest, Rule_5_1_AMessageByAnAliasIsLikeOneToThePid) {
  run([] {
    const Alias me = alias();
    EXPECT_TRUE(me);
    EXPECT_EQ(me.owner, self());
    EXPECT_EQ(send(me, Number{1}), Delivery::queued);
    EXPECT_EQ(next_number().n, 1);
    const Monitored other = spawn_monitor([me] {
      EXPECT_EQ(send(me, Number{2}), Delivery::queued);
      EXPECT_EQ(send(me, Number{3}, 1s), Delivery::queued);
    });
    EXPECT_EQ(next_number().n, 2);  // handed over while this process waits, or queued
    EXPECT_EQ(next_number().n, 3);
    await_down(other);
  });
}

TEST_F(AliasTest, Rule_5_1_ItTravelsInMessagesAndAReceivedMessageCanBePassedOnByIt) {
  run([] {
    const Monitored other = spawn_monitor([] {
      const Alias back = receive(10s, [](To to) { return to.alias; });
      receive(10s, [&](Message any) { EXPECT_EQ(send(back, std::move(any)), Delivery::queued); });
    });
    send(other.pid, To{alias()});
    send(other.pid, Number{7});
    EXPECT_EQ(next_number().n, 7);
    await_down(other);
  });
}

TEST_F(AliasTest, Rule_5_1_PairOrderHoldsAcrossPidNameAndAlias) {
  run([] {
    constexpr int kMany = 30'000;
    const Pid me = self();
    const Alias mine = alias();
    ASSERT_TRUE(register_name("sink", me));
    const Monitored sender = spawn_monitor([me, mine] {
      for (int i = 0; i < kMany; i += 3) {
        send(me, Number{i}, forever);
        send(mine, Number{i + 1}, forever);
        send(Name{"sink"}, Number{i + 2}, forever);
      }
    });
    for (int i = 0; i < kMany; ++i) ASSERT_EQ(next_number().n, i);
    EXPECT_EQ(await_down(sender), reason::normal);
  });
}

TEST_F(AliasTest, Rule_5_1_ACallGoesByAnAliasToo) {
  run([] {
    const Pid parent = self();
    const Pid server = spawn([parent] {
      send(parent, To{alias()});
      receive(10s, [](Sum& sum, From<Sum> from) { from.reply(sum.a + sum.b); });
      wait_forever();
    });
    const Alias there = receive(10s, [](To to) { return to.alias; });
    EXPECT_EQ(call(there, Sum{2, 3}, 10s), 5);
    EXPECT_EQ(call(alias(), Sum{2, 3}, 10s).error().kind, CallFailure::calling_self);
    exit(server, reason::kill);
    await_down(monitor(server));
    EXPECT_EQ(call(there, Sum{2, 3}, 10s).error().kind, CallFailure::noproc);
    EXPECT_EQ(send(there, Number{1}), Delivery::noproc);
  });
}

TEST_F(AliasTest, Rule_5_1_AThreadSendsByAnAlias) {
  std::atomic<Pid> owner{};
  std::atomic<std::uint64_t> ref{0};
  std::atomic<int> got{0};
  const Pid pid = start([&] {
    const Alias mine = alias(AliasKind::reply);
    owner = mine.owner;
    ref = mine.ref;
    got = next_number().n;
    wait_forever();
  });
  const Alias there{owner, ref};
  EXPECT_EQ(rt().send(there, Number{5}), Delivery::queued);
  EXPECT_TRUE(rt().run_until_idle());
  EXPECT_EQ(got, 5);
  EXPECT_EQ(rt().call(there, Sum{1, 1}, 10s).error().kind, CallFailure::died) << "inactive: the request is dropped";
  rt().exit(pid, reason::kill);
}

TEST_F(AliasTest, Rule_5_2_UnaliasRightAfterASelfSendDropsIt) {
  run([] {
    const Alias me = alias();
    EXPECT_EQ(send(me, Number{1}), Delivery::queued) << "activity is not the sender's to know";
    EXPECT_TRUE(unalias(me));
    EXPECT_TRUE(mailbox_empty());
    EXPECT_EQ(send(me, Number{2}), Delivery::queued);
    EXPECT_TRUE(mailbox_empty());
    EXPECT_EQ(process_info(self(), 1s)->mailbox_depth, 0u);
  });
}

TEST_F(AliasTest, Rule_5_2_WhatIsInTheMailboxAtUnaliasStays) {
  run([] {
    const Alias me = alias();
    send(me, Number{1});
    look();
    EXPECT_TRUE(unalias(me));
    send(me, Number{2});
    EXPECT_EQ(next_number().n, 1);
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(AliasTest, Rule_5_2_AWaitingProcessIsNotWokenByAnInactiveAlias) {
  run([] {
    const Pid parent = self();
    const Monitored other = spawn_monitor([parent] {
      const Alias mine = alias();
      send(parent, To{mine});
      unalias(mine);
      const auto began = now();
      EXPECT_TRUE(receive(
          5s, [](Number) { return false; }, [](Timeout) { return true; }));
      EXPECT_GE(now() - began, 5s) << "what was dropped does not end the wait";
      EXPECT_LT(now() - began, 6s) << "nor begins it anew";
      send(parent, Number{0});
      EXPECT_EQ(next_number().n, 3);
    });
    const Alias there = receive(10s, [](To to) { return to.alias; });
    until_waiting(other.pid);
    sleep(2s);
    EXPECT_EQ(send(there, Number{1}), Delivery::queued);
    next_number();
    until_waiting(other.pid);
    send(there, Number{2});
    send(other.pid, Number{3});
    EXPECT_EQ(await_down(other), reason::normal);
  });
}

TEST_F(AliasTest, Rule_5_2_ADroppedMessageGivesItsPlaceInTheBoundBack) {
  run([] {
    const Monitored other = spawn_monitor({.mailbox = 2}, [] {
      const Alias mine = alias();
      for (int round = 0; round < 5; ++round) {
        EXPECT_EQ(send(mine, Number{1}), Delivery::queued);
        EXPECT_EQ(send(mine, Number{2}), Delivery::queued);
        EXPECT_EQ(send(mine, Number{3}), Delivery::full);
        unalias(mine);
        EXPECT_TRUE(mailbox_empty());
      }
    });
    EXPECT_EQ(await_down(other), reason::normal);
  });
}

TEST_F(AliasTest, Rule_5_2_RoomMadeByADroppedMessageGoesToASenderThatWaitsForIt) {
  run([] {
    const Pid parent = self();
    const Monitored owner = spawn_monitor({.mailbox = 1}, [parent] {
      const Alias mine = alias();
      send(mine, Number{1});
      unalias(mine);
      send(parent, To{mine});
      const Pid sender = spawn([me = self()] { EXPECT_EQ(send(me, Number{2}, forever), Delivery::queued); });
      until_waiting(sender);
      EXPECT_EQ(next_number().n, 2);
    });
    EXPECT_EQ(await_down(owner), reason::normal);
  });
}

TEST_F(AliasTest, Rule_5_3_UnaliasTellsWhetherItWasAnActiveAliasOfTheCaller) {
  run([] {
    const Alias me = alias();
    const Alias once = alias(AliasKind::reply);
    EXPECT_NE(me, once);
    EXPECT_EQ(await_down(spawn_monitor([me] {
                EXPECT_FALSE(unalias(me)) << "another's";
                EXPECT_FALSE(unalias(Alias{self(), me.ref}));
              })),
              reason::normal);
    EXPECT_FALSE(unalias(Alias{}));
    send(me, Number{1});
    EXPECT_EQ(next_number().n, 1) << "nobody else could revoke it";
    EXPECT_TRUE(unalias(me));
    EXPECT_FALSE(unalias(me));
    EXPECT_TRUE(unalias(once));
  });
}

TEST_F(AliasTest, Rule_5_3_NobodyInventsAnAlias) {
  run([] {
    const Alias me = alias();
    EXPECT_EQ(send(Alias{self(), me.ref + (std::uint64_t{1} << 40)}, Number{1}), Delivery::queued);
    EXPECT_EQ(send(Alias{self(), 0}, Number{2}), Delivery::queued);
    EXPECT_EQ(send(Alias{}, Number{3}), Delivery::noproc);
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(AliasTest, Rule_5_4_AReplyAliasEndsWithItsFirstMessage) {
  run([] {
    const Alias once = alias(AliasKind::reply);
    const Alias more = alias(AliasKind::explicit_unalias);
    for (int i = 1; i <= 3; ++i) {
      send(once, Number{i});
      send(more, Number{10 * i});
    }
    EXPECT_EQ(next_number().n, 1);
    for (const int n : {10, 20, 30}) EXPECT_EQ(next_number().n, n);
    EXPECT_TRUE(mailbox_empty());
    EXPECT_FALSE(unalias(once));
    EXPECT_TRUE(unalias(more));
  });
}

TEST_F(AliasTest, Rule_5_4_AMessageToThePidDoesNotEndAReplyAlias) {
  run([] {
    const Alias once = alias(AliasKind::reply);
    send(self(), Number{1});
    send(once, Number{2});
    EXPECT_EQ(next_number().n, 1);
    EXPECT_EQ(next_number().n, 2);
  });
}

TEST_F(AliasTest, Rule_5_5_AnExplicitAliasOutlivesDownDemonitorAndNoproc) {
  run([] {
    const Pid p = spawn(wait_forever);
    const Watch a = monitor(p, {.alias = AliasKind::explicit_unalias});
    const Watch b = monitor(p, {.alias = AliasKind::explicit_unalias});
    EXPECT_EQ(a.ref.id, a.alias.ref) << "one ref";
    EXPECT_TRUE(demonitor(a));
    exit(p, reason::kill);
    await_down(b);
    const Watch gone = monitor(p, {.alias = AliasKind::explicit_unalias});
    EXPECT_EQ(await_down(gone), reason::noproc);
    const Watch nobody = monitor(Name{"nobody"}, {.alias = AliasKind::explicit_unalias});
    EXPECT_EQ(await_down(nobody), reason::noproc);
    int n = 0;
    for (const Watch& watch : {a, b, gone, nobody}) {
      send(watch.alias, Number{++n});
      EXPECT_EQ(next_number().n, n);
      EXPECT_TRUE(unalias(watch.alias));
    }
  });
}

TEST_F(AliasTest, Rule_5_5_ADemonitorAliasEndsWithItsMonitor) {
  run([] {
    for (const AliasKind kind : {AliasKind::demonitor, AliasKind::reply_demonitor}) {
      const Pid p = spawn(wait_forever);
      const Watch a = monitor(p, {.alias = kind});
      const Watch b = monitor(p, {.alias = kind});
      send(a.alias, Number{1});
      EXPECT_TRUE(demonitor(a));
      EXPECT_TRUE(mailbox_empty()) << "ended before the message was delivered";
      exit(p, reason::kill);
      await_down(b);
      const Watch gone = monitor(p, {.alias = kind});
      await_down(gone);
      const Watch nobody = monitor(Name{"nobody"}, {.alias = kind});
      await_down(nobody);
      for (const Watch& watch : {a, b, gone, nobody}) {
        send(watch.alias, Number{2});
        EXPECT_TRUE(mailbox_empty());
        EXPECT_FALSE(unalias(watch.alias));
      }
    }
  });
}

TEST_F(AliasTest, Rule_5_5_ADemonitorAliasTakesManyMessagesWhileItsMonitorIsActive) {
  run([] {
    const Pid p = spawn(wait_forever);
    const Watch watch = monitor(p, {.alias = AliasKind::demonitor});
    for (int i = 0; i < 3; ++i) {
      send(watch.alias, Number{i});
      EXPECT_EQ(next_number().n, i);
    }
    exit(p, Reason("bye"));
    EXPECT_EQ(await_down(watch), Reason("bye"));
  });
}

TEST_F(AliasTest, Rule_5_5_TheFirstMessageEndsAReplyDemonitorAliasAndItsMonitor) {
  run([] {
    const Pid p = spawn(wait_forever);
    const Watch watch = monitor(p, {.alias = AliasKind::reply_demonitor});
    send(watch.alias, Number{1});
    send(watch.alias, Number{2});
    EXPECT_EQ(next_number().n, 1);
    EXPECT_TRUE(mailbox_empty());
    EXPECT_TRUE(process_info(self(), 1s)->monitors.empty());
    EXPECT_TRUE(process_info(p, 1s)->monitored_by.empty()) << "the other end is told";
    EXPECT_FALSE(demonitor(watch));
    exit(p, reason::kill);
    await_down(monitor(p));
    EXPECT_TRUE(mailbox_empty()) << "no Down";
  });
}

TEST_F(AliasTest, Rule_5_5_AnAnswerAndADeathGiveTheAnswerAloneOrTheDownAlone) {
  run([] {
    for (int i = 0; i < 1000; ++i) {
      const Pid p = spawn(answer_once);
      const Watch watch = monitor(p, {.alias = AliasKind::reply_demonitor});
      send(p, Ask{i, watch.alias});
      if (i % 2 == 0) exit(p, reason::kill);
      receive(
          10s, [&](Answer answer) { ASSERT_EQ(answer.n, i + 1); }, [&](Down down) { ASSERT_EQ(down.ref, watch.ref); });
      await_down(monitor(p));
      ASSERT_TRUE(mailbox_empty());
    }
  });
}

TEST_F(AliasTest, Rule_5_5_UnaliasLeavesTheMonitor) {
  run([] {
    for (const AliasKind kind : {AliasKind::explicit_unalias, AliasKind::demonitor, AliasKind::reply_demonitor}) {
      const Pid p = spawn(wait_forever);
      const Watch watch = monitor(p, {.alias = kind});
      EXPECT_TRUE(unalias(watch.alias));
      send(watch.alias, Number{1});
      EXPECT_TRUE(mailbox_empty());
      exit(p, Reason("bye"));
      EXPECT_EQ(await_down(watch), Reason("bye"));
    }
  });
}

TEST_F(AliasTest, Rule_5_5_AMonitorMadeWithoutAnAliasHasNone) {
  run([] {
    const Pid p = spawn(wait_forever);
    const Watch watch = monitor(p, {});
    EXPECT_FALSE(watch.alias);
    EXPECT_FALSE(unalias(Alias{self(), watch.ref.id}));
    send(Alias{self(), watch.ref.id}, Number{1});
    EXPECT_TRUE(mailbox_empty());
    EXPECT_TRUE(demonitor(watch));
  });
}

TEST_F(AliasTest, Rule_5_6_NoDownAfterDemonitorOfAMonitorWithAnAlias) {
  run([] {
    for (int i = 0; i < 2000; ++i) {
      const Pid p = spawn([] {});
      const Watch watch = monitor(p, {.alias = AliasKind::explicit_unalias});
      if (i % 3 == 0) yield();
      demonitor(watch, Flush::yes);
      if (i % 2 == 0) yield();
      ASSERT_TRUE(mailbox_empty());
      send(watch.alias, Number{i});
      ASSERT_EQ(next_number().n, i) << "the alias is not the monitor's to end";
      ASSERT_TRUE(unalias(watch.alias));
    }
  });
}

TEST_F(AliasTest, Rule_5_7_AnAnswerAfterTheTimeoutNeverEntersTheMailbox) {
  run([] {
    const Pid slow = spawn([] {
      for (;;) {
        receive(forever, [](Ask ask) {
          sleep(2s);
          send(ask.reply_to, Answer{ask.n});
        });
      }
    });
    for (int i = 0; i < 5; ++i) {
      const Alias me = alias(AliasKind::reply);
      send(slow, Ask{i, me});
      EXPECT_TRUE(receive(
          1s, [](Answer) { return false; }, [](Timeout) { return true; }));
      EXPECT_TRUE(unalias(me));
    }
    sleep(60s);
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(AliasTest, Rule_5_2_ATimersMessageByAnAliasIsDroppedTooAndGivesItsPlaceBack) {
  run([] {
    const Monitored p = spawn_monitor({.timers = 2}, [] {
      for (int round = 0; round < 5; ++round) {
        const Alias me = alias(AliasKind::reply);
        EXPECT_TRUE(send_after(1s, me, Number{1}));
        EXPECT_TRUE(send_after(2s, me, Number{2}));
        EXPECT_FALSE(send_after(2s, me, Number{3})) << "no place left";
        EXPECT_EQ(next_number().n, 1);
        sleep(5s);
        EXPECT_TRUE(mailbox_empty()) << "the alias had ended with its first message";
      }
      const Alias me = alias();
      const auto beats = send_every(1s, me, Number{7});
      for (int i = 0; i < 3; ++i) EXPECT_EQ(next_number().n, 7);
      unalias(me);
      sleep(5s);
      EXPECT_TRUE(mailbox_empty());
      EXPECT_TRUE(cancel_timer(*beats));
    });
    receive(1h, [&](Down down) {
      EXPECT_EQ(down.ref, p.ref);
      EXPECT_EQ(down.reason, reason::normal);
    });
  });
}

TEST_F(AliasTest, AnAliasEndsWithItsProcessAndTheNextOneInTheSlotNeverHearsOfIt) {
  options.max_processes = 16;
  run([] {
    const Pid parent = self();
    std::vector<Alias> old;
    for (int i = 0; i < 3'000; ++i) {
      const Monitored p = spawn_monitor([parent] { send(parent, To{alias()}); });
      old.push_back(receive(10s, [](To to) { return to.alias; }));
      await_down(p);
    }
    const Pid p = spawn(wait_forever);
    for (const Alias& stale : old) EXPECT_EQ(send(stale, Number{1}), Delivery::noproc);
    EXPECT_EQ(process_info(p, 1s)->mailbox_depth, 0u);
  });
}

TEST_F(AliasTest, ARequestThatIsDroppedAnswersDiedAtOnce) {
  run([] {
    const Pid parent = self();
    const Pid owner = spawn([parent] {
      const Alias mine = alias();
      unalias(mine);
      send(parent, To{mine});
      wait_forever();
    });
    const Alias there = receive(10s, [](To to) { return to.alias; });
    const auto began = now();
    const auto answer = call(there, Sum{1, 2}, 10s);
    EXPECT_EQ(answer.error(), (CallError{CallFailure::died, reason::normal}));
    EXPECT_EQ(now(), began);
    exit(owner, reason::kill);
  });
}

TEST_F(AliasTest, ADroppedMessagesDestructorMaySendAndItsWaitsEndAtOnce) {
  run([] {
    const Pid me = self();
    const Pid other = spawn(wait_forever);
    const Alias mine = alias();
    send(self(), Number{1});
    look();  // something that lies in the mailbox meanwhile
    int ran = 0;
    send(mine, AtDrop([&, me] {
           ++ran;
           const auto began = now();
           EXPECT_EQ(send(me, Number{2}), Delivery::queued);
           receive(
               10s, [](Message) { ADD_FAILURE() << "what lies there is another receive's"; }, [](Timeout) {});
           EXPECT_EQ(call(other, Sum{1, 2}, 10s).error().kind, CallFailure::timeout);
           sleep(10s);
           EXPECT_EQ(now(), began);
         }));
    send(self(), Number{3});
    unalias(mine);
    struct Other {};
    receive(
        1s, [](Other) {}, [](Timeout) {});
    EXPECT_EQ(ran, 1);
    for (const int n : {1, 3, 2}) EXPECT_EQ(next_number().n, n);
    exit(other, reason::kill);
  });
}

TEST_F(AliasTest, ADroppedMessagesDestructorDoesNotDisturbTheCallItIsDroppedIn) {
  run([] {
    const Pid me = self();
    int ran = 0;
    const Pid server = spawn([me, &ran] {
      const Alias there = receive(10s, [](To to) { return to.alias; });
      receive(10s, [&](Sum& sum, From<Sum> from) {
        send(there, AtDrop([&ran] {
               ++ran;
               sleep(10s);  // a wait of the process that is in its call
             }));
        exit(me, reason::normal);  // a signal, so that it delivers while it waits for its answer
        sleep(1s);
        EXPECT_EQ(ran, 0);
        from.reply(sum.a + sum.b);
      });
    });
    const Alias mine = alias();
    send(server, To{mine});
    unalias(mine);
    EXPECT_EQ(call(server, Sum{20, 3}, 10s), 23);
    EXPECT_EQ(ran, 1);
  });
}

TEST_F(AliasTest, ADroppedMessageWhoseDestructorThrowsEndsItsProcessAlone) {
  may_leak = true;
  run([] {
    const Monitored p = spawn_monitor([] {
      const Alias mine = alias();
      send(mine, AtDrop([] { throw std::runtime_error("out of a destructor"); }));
      unalias(mine);
      wait_forever();
    });
    EXPECT_TRUE(await_down(p).is_exception());
  });
}

TEST_F(AliasTest, AKillMeetsAProcessThatDropsMessages) {
  run([] {
    const Monitored p = spawn_monitor([] {
      const Alias mine = alias();
      send(mine, AtDrop([] {
             for (int i = 0; i < 20; ++i) yield();  // the kill arrives, and is not executed here
           }));
      unalias(mine);
      wait_forever();
    });
    yield();
    exit(p.pid, reason::kill);
    EXPECT_EQ(await_down(p), reason::killed);
  });
}

}  // namespace
}  // namespace erlking::testing
