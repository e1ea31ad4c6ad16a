// select: messages and sources, whichever comes first.
#include "runtime/select.h"

#include "tests/support/runtime_fixture.h"

namespace erlking::testing {
namespace {

struct Stop {};
struct Go {};
struct Number {
  int n;
};

struct SelectTest : RuntimeTest {};

/// A process whose mailbox is full until it is told to take: it takes one Number per Go.
Pid full_process() {
  const Pid pid = spawn({.mailbox = 2}, [] {
    for (;;) {
      receive(forever, [](Go) {});
      receive(forever, [](Number) {});
    }
  });
  EXPECT_EQ(send(pid, Number{0}), Delivery::queued);
  until_waiting(pid);
  return pid;
}

TEST_F(SelectTest, TakesAMessageAsReceiveDoes) {
  run([] {
    send(self(), Number{1});
    send(self(), Stop{});
    send(self(), Number{2});
    EXPECT_EQ(select(1s, [](Stop) { return 7; }), 7);
    EXPECT_EQ(select(1s, when([](const Number& n) { return n.n == 2; }, [](Number n) { return n.n; }),
                     [](Timeout) { return 0; }),
              2);
    select(1s, [](Number n) { EXPECT_EQ(n.n, 1); });
    EXPECT_TRUE(select(
        1s, [](Message) { return false; }, [](Timeout) { return true; }));
  });
  EXPECT_EQ(outcome([] { select(1s, [](Stop) {}); }), reason::timeout);
}

TEST_F(SelectTest, Rule_14_8_ASourceThatIsReadyRunsAtOnceAndTheFirstOfThemBeforeTheOthers) {
  run([] {
    const Pid a = spawn(wait_forever);
    const Pid b = spawn(wait_forever);
    EXPECT_EQ(select(
                  0s, [](Stop) { return 0; }, on_room(a, [] { return 1; }), on_room(b, [] { return 2; })),
              1);
    exit(a, reason::kill);
    exit(b, reason::kill);
  });
}

TEST_F(SelectTest, Rule_14_8_AMessageComesBeforeASourceThatIsReady) {
  run([] {
    const Pid a = spawn(wait_forever);
    for (const bool looked : {false, true}) {
      send(self(), Number{1});
      send(self(), Stop{});
      if (looked) mailbox_empty();
      EXPECT_TRUE(select(0s, on_room(a, [] { return false; }), [](Stop) { return true; }));
      receive(0s, [](Number) {});
    }
    exit(a, reason::kill);
  });
}

TEST_F(SelectTest, AMessageEndsTheWaitForRoom) {
  run([] {
    const Pid consumer = full_process();
    EXPECT_EQ(send(consumer, Number{1}), Delivery::queued);
    const Monitored producer = spawn_monitor([consumer] {
      EXPECT_EQ(select(forever, on_room(consumer, [] { return 1; }), [](Stop) { return 2; }), 2);
      EXPECT_EQ(select(forever, on_room(consumer, [] { return 1; }), [](Stop) { return 2; }), 2);
    });
    for (int i = 0; i < 2; ++i) {
      until_waiting(producer.pid);
      send(producer.pid, Stop{});
      if (i == 0) let_others_run();
    }
    EXPECT_EQ(await_down(producer), reason::normal);
    exit(consumer, reason::kill);
    await_down(monitor(consumer));
  });
}

TEST_F(SelectTest, ItIsToldOfRoomThatIsMadeWhileItWaits) {
  run([] {
    const Pid parent = self();
    const Monitored consumer = spawn_monitor({.mailbox = 2}, [parent] {
      int next = 0;
      receive(10s, [](Stop) {});  // the gate: until then the numbers fill its mailbox
      while (next < 100) receive(10s, [&](Number n) { EXPECT_EQ(n.n, next++); });
      send(parent, Stop{});
    });
    int sent = 0;
    int waits = 0;
    EXPECT_EQ(send(consumer.pid, Number{sent++}), Delivery::queued);
    until_waiting(consumer.pid);
    EXPECT_EQ(send(consumer.pid, Stop{}), Delivery::queued);
    bool stopped = false;
    while (!stopped) {
      if (sent == 100) {
        receive(10s, [&](Stop) { stopped = true; });
      } else {
        select(10s,
               on_room(consumer.pid, [&] { sent += send(consumer.pid, Number{sent}) == Delivery::queued ? 1 : 0; }),
               [&](Stop) { stopped = true; });
        ++waits;
      }
    }
    EXPECT_EQ(sent, 100);
    EXPECT_GE(waits, 99);
    EXPECT_EQ(await_down(consumer), reason::normal);
  });
}

TEST_F(SelectTest, Rule_14_8_NobodyThereIsReady) {
  run([] {
    EXPECT_EQ(select(1s, on_room(Pid{}, [] { return 1; }), [](Timeout) { return 0; }), 1);
    const Pid consumer = full_process();
    EXPECT_EQ(send(consumer, Number{1}), Delivery::queued);
    const Monitored waits = spawn_monitor([consumer] {
      EXPECT_EQ(select(10s, on_room(consumer, [&] { return send(consumer, Number{2}); }),
                       [](Timeout) { return Delivery::full; }),
                Delivery::noproc);
    });
    until_waiting(waits.pid);
    exit(consumer, reason::kill);
    EXPECT_EQ(await_down(waits), reason::normal);
  });
}

TEST_F(SelectTest, ABoundThatPassesLeavesNothingBehind) {
  run([] {
    const Pid consumer = full_process();
    EXPECT_EQ(send(consumer, Number{1}), Delivery::queued);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(select(
                    1s, on_room(consumer, [] { return 1; }), [](Stop) { return 2; }, [](Timeout) { return 0; }),
                0);
    }
    EXPECT_EQ(select(0s, on_room(consumer, [] { return 1; }), [](Timeout) { return 0; }), 0);
    exit(consumer, reason::kill);  // it wakes those who wait for its room: nobody
    EXPECT_TRUE(receive(
        5s, [](Stop) { return false; }, [](Timeout) { return true; }));
  });
}

TEST_F(SelectTest, OneThatIsKilledWhileItWaitsLeavesTheList) {
  run([] {
    const Pid consumer = full_process();
    EXPECT_EQ(send(consumer, Number{1}), Delivery::queued);
    const Monitored waits =
        spawn_monitor([consumer] { select(forever, on_room(consumer, [] {}), on_room(consumer, [] {}), [](Stop) {}); });
    until_waiting(waits.pid);
    exit(waits.pid, reason::kill);
    EXPECT_EQ(await_down(waits), reason::killed);
    exit(consumer, reason::kill);
    await_down(monitor(consumer));
  });
}

TEST_F(SelectTest, AProcessMayWaitForItsOwnRoom) {
  run([] {
    const Monitored p = spawn_monitor({.mailbox = 1}, [] {
      send(self(), Number{1});
      EXPECT_EQ(select(1s, on_room(self(), [] { return 1; }), [](Number) { return 2; }), 2);
      EXPECT_EQ(select(1s, on_room(self(), [] { return 1; }), [](Number) { return 2; }), 1);
    });
    EXPECT_EQ(await_down(p), reason::normal);
  });
}

struct SelectStressTest : RuntimeTest {};

TEST_F(SelectStressTest, ManyProducersOneConsumerAndAStop) {
  options.clock = ClockKind::real;
  options.workers = 4;
  run([] {
    constexpr int kEach = 2'000, kProducers = 6;
    const Monitored consumer = spawn_monitor({.mailbox = 2}, [] {
      for (int i = 0; i < kEach * kProducers; ++i) receive(30s, [](Number) {});
    });
    std::vector<Monitored> producers;
    for (int p = 0; p < kProducers; ++p) {
      producers.push_back(spawn_monitor([to = consumer.pid] {
        for (int sent = 0; sent < kEach;) {
          select(30s, on_room(to, [&] { sent += send(to, Number{sent}) == Delivery::queued ? 1 : 0; }),
                 [](Stop) { exit(reason::normal); });
        }
        receive(30s, [](Stop) {});
      }));
    }
    EXPECT_EQ(await_down(consumer), reason::normal);
    for (const Monitored& p : producers) send(p.pid, Stop{});
    for (const Monitored& p : producers) EXPECT_EQ(await_down(p), reason::normal);
  });
}

}  // namespace
}  // namespace erlking::testing
