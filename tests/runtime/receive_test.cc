// receive: which message, in which order, and what a bound does. SEMANTICS 1.5, 1.13.
#include "runtime/receive.h"

#include "tests/support/runtime_fixture.h"

#include <array>
#include <variant>

namespace erlking::testing {
namespace {

struct A {
  int n;
};
struct B {
  int n;
};
struct Text {
  std::string text;
};
struct Go {};
struct Owned {
  std::unique_ptr<int> value;
};

struct ReceiveTest : RuntimeTest {};

TEST_F(ReceiveTest, Rule_1_13_TakesTheOldestMessageThatAClauseAccepts) {
  run([] {
    for (int i = 0; i < 3; ++i) {
      send(self(), A{i});
      send(self(), B{i});
    }
    for (int i = 0; i < 3; ++i) EXPECT_EQ(receive(0s, [](B b) { return b.n; }), i);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(receive(0s, [](A a) { return a.n; }), i);
  });
}

TEST_F(ReceiveTest, Rule_1_13_SkippedMessagesKeepPlaceAndOrder) {
  run([] {
    for (int i = 0; i < 10; ++i) send(self(), A{i});
    const auto take = [](int wanted) {
      return receive(0s, when([&](const A& a) { return a.n == wanted; }, [](A a) { return a.n; }),
                     [](Timeout) { return -1; });
    };
    EXPECT_EQ(take(5), 5);
    EXPECT_EQ(take(9), 9);  // the last of the list
    EXPECT_EQ(take(0), 0);  // the first
    EXPECT_EQ(take(5), -1);
    send(self(), A{10});  // behind what is left
    for (int expected : {1, 2, 3, 4, 6, 7, 8, 10}) EXPECT_EQ(receive(0s, [](A a) { return a.n; }), expected);
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(ReceiveTest, Rule_1_13_AZeroBoundScansTheWholeQueueFirst) {
  run([] {
    for (int i = 0; i < 500; ++i) send(self(), A{i});
    send(self(), B{7});
    EXPECT_EQ(receive(
                  0s, [](B b) { return b.n; }, [](Timeout) { return -1; }),
              7);
    EXPECT_EQ(receive(
                  0s, [](B b) { return b.n; }, [](Timeout) { return -1; }),
              -1);
    EXPECT_EQ(flush(), 500u);
  });
}

TEST_F(ReceiveTest, TheFirstClauseThatAcceptsAMessageRuns) {
  run([] {
    const auto which = [] {
      return receive(
          0s, when([](const A& a) { return a.n > 10; }, [](A) { return std::string("big"); }),
          when([](const A& a) { return a.n > 5; }, [](A) { return std::string("middle"); }),
          [](A) { return std::string("small"); }, [](Message) { return std::string("other"); },
          [](Timeout) { return std::string("none"); });
    };
    send(self(), A{7});
    send(self(), A{70});
    send(self(), A{0});
    send(self(), B{0});
    EXPECT_EQ(which(), "middle");
    EXPECT_EQ(which(), "big");
    EXPECT_EQ(which(), "small");
    EXPECT_EQ(which(), "other");
    EXPECT_EQ(which(), "none");
  });
}

TEST_F(ReceiveTest, ClausesReturnValuesOfACommonType) {
  run([] {
    send(self(), A{3});
    auto value = receive(
        1s, [](A a) { return a.n; }, [](B) { return 2.5; }, [](Timeout) { return 0L; });
    static_assert(std::is_same_v<decltype(value), double>);
    EXPECT_EQ(value, 3.0);
    send(self(), Owned{std::make_unique<int>(4)});
    const std::unique_ptr<int> moved = receive(1s, [](Owned owned) { return std::move(owned.value); });
    EXPECT_EQ(*moved, 4);
  });
}

TEST_F(ReceiveTest, AClauseTakesValueReferenceRvalueOrConstReference) {
  run([] {
    for (int i = 0; i < 4; ++i) send(self(), Owned{std::make_unique<int>(i)});
    receive(0s, [](Owned owned) { EXPECT_EQ(*owned.value, 0); });
    receive(0s, [](Owned& owned) { EXPECT_EQ(*owned.value, 1); });
    receive(0s, [](Owned&& owned) { EXPECT_EQ(*owned.value, 2); });
    receive(0s, [](const Owned& owned) { EXPECT_EQ(*owned.value, 3); });
    EXPECT_TRUE(mailbox_empty());
  });
}

int free_clause(A a) { return a.n; }

TEST_F(ReceiveTest, AClauseMayBeAFunctionOrAMutableLambda) {
  run([] {
    send(self(), A{3});
    EXPECT_EQ(receive(0s, &free_clause), 3);
    send(self(), A{4});
    EXPECT_EQ(receive(0s, [count = 1](A a) mutable noexcept { return a.n + ++count; }), 6);
  });
}

TEST_F(ReceiveTest, MatchingIsExact) {
  run([] {
    send(self(), 1);
    send(self(), 2L);
    send(self(), std::string("three"));
    EXPECT_EQ(receive(
                  0s, [](long n) { return n; }, [](Timeout) { return -1L; }),
              2L);
    EXPECT_EQ(receive(
                  0s, [](unsigned) { return 0; }, [](Timeout) { return -1; }),
              -1);
    EXPECT_EQ(receive(0s, [](std::string s) { return s; }), "three");
    EXPECT_EQ(receive(0s, [](int n) { return n; }), 1);
  });
}

TEST_F(ReceiveTest, NestedReceivesTakeFromTheSameQueue) {
  run([] {
    for (int i = 0; i < 4; ++i) send(self(), A{i});
    send(self(), B{9});
    const int sum = receive(0s, [](A outer) {
      return outer.n + receive(0s, [](B inner) {
               return inner.n * 10 + receive(0s, [](A innermost) { return innermost.n * 100; });
             });
    });
    EXPECT_EQ(sum, 0 + 90 + 100);
    EXPECT_EQ(receive(0s, [](A a) { return a.n; }), 2);
    EXPECT_EQ(receive(0s, [](A a) { return a.n; }), 3);
  });
}

TEST_F(ReceiveTest, NestedReceivesWithBoundsDoNotDisturbEachOther) {
  run([] {
    const Pid p = spawn([to = self()] {
      send(to, A{1});
      sleep(5ms);
      send(to, B{2});
    });
    static_cast<void>(p);
    const auto began = now();
    int order = 0;
    receive(
        1s,
        [&](A) {
          receive(
              2ms, [](B) { ADD_FAILURE(); }, [&](Timeout) { EXPECT_EQ(order++, 0); });
          receive(1s, [&](B) { EXPECT_EQ(order++, 1); });
          receive(
              3ms, [](B) {}, [&](Timeout) { EXPECT_EQ(order++, 2); });
        },
        [](Timeout) { ADD_FAILURE(); });
    EXPECT_EQ(order, 3);
    EXPECT_GE(now() - began, 5ms);
  });
}

TEST_F(ReceiveTest, AMessageThatArrivesDuringAClauseIsKept) {
  run([] {
    send(self(), A{1});
    receive(0s, [](A) {
      send(self(), A{2});
      send(self(), B{3});
    });
    EXPECT_EQ(receive(0s, [](B b) { return b.n; }), 3);
    EXPECT_EQ(receive(0s, [](A a) { return a.n; }), 2);
  });
}

TEST_F(ReceiveTest, AnExceptionLeavesAClauseWithItsMessageGone) {
  run([] {
    send(self(), A{1});
    send(self(), A{2});
    EXPECT_THROW(receive(0s, [](A) { throw std::runtime_error("in the clause"); }), std::runtime_error);
    EXPECT_EQ(receive(0s, [](A a) { return a.n; }), 2);
  });
}

TEST_F(ReceiveTest, AnExceptionFromAGuardLeavesTheMessageQueued) {
  run([] {
    send(self(), A{1});
    EXPECT_THROW(receive(1s, when([](const A&) -> bool { throw 1; }, [](A) {})), int);
    EXPECT_THROW(receive(1s, when([](const Message&) -> bool { throw 1; }, [](Message) {})), int);
    EXPECT_EQ(receive(0s, [](A a) { return a.n; }), 1);
  });
}

TEST_F(ReceiveTest, ABoundThatPassesRunsTimeout) {
  run([] {
    const auto began = now();
    EXPECT_TRUE(receive(
        10ms, [](A) { return false; }, [](Timeout) { return true; }));
    EXPECT_GE(now() - began, 10ms);
  });
}

TEST_F(ReceiveTest, ABoundThatPassesWithoutATimeoutClauseEndsTheProcess) {
  run([] {
    EXPECT_EQ(await_down(spawn_monitor([] { receive(10ms, [](A) {}); })), reason::timeout);
    EXPECT_EQ(await_down(spawn_monitor([] { receive(0s, [](A) {}); })), reason::timeout);
  });
}

TEST_F(ReceiveTest, OtherMessagesDoNotProlongABound) {
  run([] {
    const Monitored noisy = spawn_monitor([to = self()] {
      for (int i = 0; i < 100; ++i) {
        send(to, A{i});
        sleep(1ms);
      }
    });
    const auto began = now();
    receive(
        10ms, [](B) { ADD_FAILURE(); }, [](Timeout) {});
    EXPECT_GE(now() - began, 10ms);
    EXPECT_LT(now() - began, 50ms);
    await_down(noisy);
    EXPECT_EQ(flush(), 100u);
  });
}

TEST_F(ReceiveTest, ADeadlineIsAnInstant) {
  run([] {
    const auto until = now() + 10ms;
    for (int i = 0; i < 3; ++i)
      receive(
          until, [](A) {}, [](Timeout) {});
    EXPECT_GE(now(), until);
    EXPECT_LT(now(), until + 1s);
  });
}

TEST_F(ReceiveTest, APastDeadlineLooksOnce) {
  run([] {
    send(self(), A{1});
    EXPECT_EQ(receive(
                  now() - 1s, [](A a) { return a.n; }, [](Timeout) { return -1; }),
              1);
    EXPECT_EQ(receive(
                  now() - 1s, [](A a) { return a.n; }, [](Timeout) { return -1; }),
              -1);
    EXPECT_EQ(receive(
                  Clock::time_point{}, [](A a) { return a.n; }, [](Timeout) { return -1; }),
              -1);
    EXPECT_EQ(receive(
                  -5s, [](A a) { return a.n; }, [](Timeout) { return -1; }),
              -1);
  });
}

TEST_F(ReceiveTest, ForeverWaitsAsLongAsItTakes) {
  run([] {
    spawn([to = self()] {
      sleep(std::chrono::hours(24 * 50));
      send(to, A{1});
    });
    EXPECT_EQ(receive(forever, [](A a) { return a.n; }), 1);
  });
}

TEST_F(ReceiveTest, AnEnormousBoundDoesNotOverflow) {
  run([] {
    spawn([to = self()] {
      sleep(1ms);
      send(to, A{1});
    });
    EXPECT_EQ(receive(std::chrono::hours::max(), [](A a) { return a.n; }), 1);
    send(self(), A{2});
    EXPECT_EQ(receive(Clock::time_point::max(), [](A a) { return a.n; }), 2);
  });
}

TEST_F(ReceiveTest, TheCatchAllTakesAnythingAndCanSendItOn) {
  run([] {
    const Monitored last = spawn_monitor([to = self()] {
      receive(1s, [](Text text) { EXPECT_EQ(text.text, "passed on"); });
      receive(1s, [](Owned owned) { EXPECT_EQ(*owned.value, 5); });
      receive(1s, [](Down down) { EXPECT_EQ(down.reason, Reason("passed")); });
    });
    send(self(), Text{"passed on"});
    send(self(), Owned{std::make_unique<int>(5)});
    for (int i = 0; i < 2; ++i) {
      receive(1s, [&](Message any) {
        EXPECT_TRUE(any);
        EXPECT_EQ(any.get<A>(), nullptr);
        EXPECT_NE(any.type_name().find(i == 0 ? "Text" : "Owned"), std::string::npos) << any.type_name();
        EXPECT_EQ(send(last.pid, std::move(any)), Delivery::queued);
        EXPECT_FALSE(any);
        EXPECT_EQ(any.type_name(), "");
      });
    }
    const Monitored dead = spawn_monitor([] { exit(Reason("passed")); });
    receive(1s, [&](Message any) {
      EXPECT_EQ(any.get<Down>()->ref, dead.ref);
      EXPECT_EQ(send(last.pid, std::move(any)), Delivery::queued);
    });
    EXPECT_EQ(await_down(last), reason::normal);
  });
}

TEST_F(ReceiveTest, AMessageThatCannotBeSentOnIsStillTheCallers) {
  run([] {
    const Monitored gone = spawn_monitor([] {});
    await_down(gone);
    const Pid full = spawn({.mailbox = 1}, wait_forever);
    send(full, Go{});
    send(self(), Text{"mine"});
    receive(1s, [&](Message any) {
      EXPECT_EQ(send(gone.pid, std::move(any)), Delivery::noproc);
      ASSERT_TRUE(any);
      EXPECT_EQ(send(full, std::move(any)), Delivery::full);
      ASSERT_TRUE(any);
      EXPECT_EQ(any.get<Text>()->text, "mine");
      EXPECT_EQ(send(self(), std::move(any)), Delivery::queued);
    });
    EXPECT_EQ(receive(0s, [](Text text) { return text.text; }), "mine");
    EXPECT_EQ(send(self(), Message{}), Delivery::noproc) << "an empty one";
  });
}

TEST_F(ReceiveTest, AGuardedCatchAllLooksWithoutTaking) {
  run([] {
    send(self(), A{1});
    send(self(), B{2});
    int looks = 0;
    receive(0s, when([&](const Message& m) { return ++looks > 1 && static_cast<bool>(m); },
                     [](Message m) { EXPECT_NE(m.get<B>(), nullptr); }));
    EXPECT_EQ(receive(0s, [](A a) { return a.n; }), 1);
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(ReceiveTest, FlushThrowsEverythingAwayAndCounts) {
  run([] {
    EXPECT_EQ(flush(), 0u);
    auto value = std::make_shared<int>();
    struct Shared {
      std::shared_ptr<int> value;
    };
    for (int i = 0; i < 20; ++i) send(self(), Shared{value});
    receive(
        0s, [](A) {}, [](Timeout) {});  // now in the private list
    for (int i = 0; i < 20; ++i) send(self(), Shared{value});
    EXPECT_EQ(flush(), 40u);
    EXPECT_EQ(value.use_count(), 1);
    EXPECT_EQ(process_info(self(), 1s)->mailbox_depth, 0u);
  });
}

TEST_F(ReceiveTest, TheBoundOfAWaitIsGivenBackWhenAMessageCame) {
  run([] {
    const Monitored sender = spawn_monitor([to = self()] {
      for (int i = 0; i < 2000; ++i) EXPECT_EQ(send(to, A{i}, 10s), Delivery::queued);
    });
    for (int i = 0; i < 2000; ++i) EXPECT_EQ(receive(1s, [](A a) { return a.n; }), i);
    await_down(sender);
    sleep(3s);  // timers of waits that are over do nothing
    EXPECT_TRUE(mailbox_empty());
  });
}

}  // namespace
}  // namespace erlking::testing
