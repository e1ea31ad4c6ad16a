// The timeouts of state machines: of an event, of a state, named ones, of zero, cancelled (SEMANTICS 11.6 to 11.10).
#include "tests/support/state_machine_fixture.h"

#include <string>
#include <vector>

namespace erlking::testing {
namespace {

TEST_F(StateMachineTest, Rule_11_6_AnyEventCancelsTheEventTimeout) {
  run([] {
    const auto idle = [](Probe& p) { p.event_timeout(200ms, Note{"idle"}); };
    EXPECT_EQ(log_of({{"go@a", idle}}, {"go"}), (Names{"go@a", "idle@a"}));
    EXPECT_EQ(log_of({{"go@a", idle}}, {"go", "other"}), (Names{"go@a", "other@a"}));
    EXPECT_EQ(log_of({{"go@a",
                       [&](Probe& p) {
                         idle(p);
                         p.next_event(Note{"inserted"});
                       }}},
                     {"go"}),
              (Names{"go@a", "inserted@a"}));
    EXPECT_EQ(log_of({{"1@a", postpone},
                      {"go@a",
                       [&](Probe& p) {
                         idle(p);
                         p.next_state("b");
                       }}},
                     {"1", "go"}),
              (Names{"1@a", "go@a", "enter a>b", "1@b"}));
    EXPECT_EQ(log_of({{"go@a",
                       [&](Probe& p) {
                         idle(p);
                         p.timeout("x", 100ms, Note{"named"});
                       }}},
                     {"go"}),
              (Names{"go@a", "named@a"}));
    EXPECT_EQ(log_of({{"go@a",
                       [&](Probe& p) {
                         idle(p);
                         p.next_state("b");
                       }}},
                     {"go"}),
              (Names{"go@a", "enter a>b", "idle@b"}))
        << "entering a state is no event";
  });
}

TEST_F(StateMachineTest, Rule_11_6_WhatTheSystemAsksIsNoEvent) {
  run([] {
    const Monitored probe = begin({{"go@a", [](Probe& p) { p.event_timeout(200ms, Note{"idle"}); }}});
    send(probe.pid, Note{"go"});
    EXPECT_TRUE(sys::suspend(probe.pid, 1s));
    sleep(1s);
    EXPECT_TRUE(sys::resume(probe.pid, 1s));
    EXPECT_EQ(log_of(probe), (Names{"enter a>a", "go@a", "idle@a"}));
  });
}

TEST_F(StateMachineTest, Rule_11_7_AChangeCancelsTheStateTimeout) {
  run([] {
    const auto set = [](Probe& p) { p.state_timeout(300ms, Note{"over"}); };
    EXPECT_EQ(log_of({{"set@a", set}, {"go@a", to("b")}}, {"set", "go"}), (Names{"set@a", "go@a", "enter a>b"}));
    EXPECT_EQ(log_of({{"set@a", set}, {"same@a", to("a")}, {"again@a", [](Probe& p) { p.repeat_state(); }}},
                     {"set", "other", "same", "again"}),
              (Names{"set@a", "other@a", "same@a", "again@a", "enter a>a", "over@a"}));
    EXPECT_EQ(log_of({{"go@a",
                       [&](Probe& p) {
                         set(p);
                         p.next_state("b");
                       }}},
                     {"go"}),
              (Names{"go@a", "enter a>b", "over@b"}))
        << "set with the change it is the new state's";
    EXPECT_EQ(log_of({{"set@a", set}, {"off@a", [](Probe& p) { p.cancel_state_timeout(); }}}, {"set", "off"}),
              (Names{"set@a", "off@a"}));
    EXPECT_EQ(
        log_of({{"set@a", set}, {"off@a", [](Probe& p) { p.state_timeout(forever, Note{"never"}); }}}, {"set", "off"}),
        (Names{"set@a", "off@a"}));
    EXPECT_EQ(
        log_of({{"set@a", set}, {"new@a", [](Probe& p) { p.update_state_timeout(Note{"other"}); }}}, {"set", "new"}),
        (Names{"set@a", "new@a", "other@a"}));
  });
}

TEST_F(StateMachineTest, Rule_11_8_NamedTimeoutsRunOnThroughEveryState) {
  run([] {
    const auto set = [](Probe& p) {
      p.timeout("x", 200ms, Note{"x"});
      p.timeout("y", 400ms, Note{"y"});
    };
    EXPECT_EQ(log_of({{"set@a", set}, {"go@a", to("b")}}, {"set", "go"}),
              (Names{"set@a", "go@a", "enter a>b", "x@b", "y@b"}));
    EXPECT_EQ(
        log_of({{"set@a", set}, {"again@a", [](Probe& p) { p.timeout("x", 600ms, Note{"later"}); }}}, {"set", "again"}),
        (Names{"set@a", "again@a", "y@a", "later@a"}));
    EXPECT_EQ(log_of({{"set@a", set}, {"off@a", [](Probe& p) { p.cancel_timeout("x"); }}}, {"set", "off"}),
              (Names{"set@a", "off@a", "y@a"}));
    EXPECT_EQ(
        log_of({{"set@a", set}, {"off@a", [](Probe& p) { p.timeout("x", forever, Note{"never"}); }}}, {"set", "off"}),
        (Names{"set@a", "off@a", "y@a"}));
    EXPECT_EQ(log_of({{"set@a", set}, {"new@a", [](Probe& p) { p.update_timeout("y", Note{"z"}); }}}, {"set", "new"}),
              (Names{"set@a", "new@a", "x@a", "z@a"}));
    EXPECT_EQ(log_of({{"new@a", [](Probe& p) { p.update_timeout("y", Note{"at once"}); }}}, {"new", "message"}),
              (Names{"new@a", "at once@a", "message@a"}))
        << "one that does not run is due";
    EXPECT_EQ(log_of({{"off@a", [](Probe& p) { p.cancel_timeout("nothing"); }}}, {"off"}), (Names{"off@a"}));
    EXPECT_EQ(end_of({{"go@a",
                       [](Probe& p) {
                         for (int i = 0; i < 9; ++i) p.timeout("t" + std::to_string(i), 1h, Note{"t"});
                       }}})
                  .name(),
              "too_many_timeouts");
    const Monitored full = begin({{"fill@a",
                                   [](Probe& p) {
                                     for (int i = 0; i < 8; ++i) p.timeout("t" + std::to_string(i), 1h, Note{"t"});
                                   }},
                                  {"again@a", [](Probe& p) { p.timeout("t0", 1h, Note{"t"}); }},
                                  {"swap@a",
                                   [](Probe& p) {
                                     p.cancel_timeout("t0");
                                     p.timeout("t8", 1h, Note{"t"});
                                   }},
                                  {"more@a", [](Probe& p) { p.timeout("t9", 1h, Note{"t"}); }}});
    for (const char* name : {"fill", "again", "swap"}) EXPECT_EQ(call(full.pid, Now{name}, 1s), "a");
    send(full.pid, Note{"more"});
    EXPECT_EQ(await_down(full), Reason("too_many_timeouts", "t9"));
  });
}

TEST_F(StateMachineTest, Rule_11_9_ATimeoutOfZeroComesBeforeAnyMessage) {
  run([] {
    EXPECT_EQ(log_of({{"go@a",
                       [](Probe& p) {
                         p.timeout("x", 0s, Note{"x"});
                         p.timeout("y", 0s, Note{"y"});
                         p.state_timeout(0s, Note{"state"});
                         p.next_event(Note{"inserted"});
                       }},
                      {"x@a", [](Probe& p) { p.next_event(Note{"of x"}); }}},
                     {"go", "message"}),
              (Names{"go@a", "inserted@a", "x@a", "of x@a", "y@a", "state@a", "message@a"}));
    EXPECT_EQ(log_of({{"go@a",
                       [](Probe& p) {
                         p.timeout("x", 0s, Note{"x"});
                         p.timeout("y", 0s, Note{"y"});
                         p.timeout("x", 0s, Note{"again"});
                         p.update_timeout("y", Note{"new"});
                       }}},
                     {"go"}),
              (Names{"go@a", "again@a", "new@a"}))
        << "said again, each has the place of the last time";
    EXPECT_EQ(log_of({{"go@a",
                       [](Probe& p) {
                         p.state_timeout(0s, Note{"never"});
                         p.next_event(Note{"leave"});
                       }},
                      {"leave@a", to("b")}},
                     {"go"}),
              (Names{"go@a", "leave@a", "enter a>b"}))
        << "cancelled while it is due";
  });
}

TEST_F(StateMachineTest, Rule_11_9_AnEventTimeoutOfZeroIsDroppedForAnyOtherEvent) {
  run([] {
    const auto zero = [](Probe& p) { p.event_timeout(0s, Note{"idle"}); };
    EXPECT_EQ(log_of({{"go@a", zero}}, {"go", "message"}), (Names{"go@a", "idle@a", "message@a"}));
    EXPECT_EQ(log_of({{"go@a",
                       [&](Probe& p) {
                         zero(p);
                         p.next_event(Note{"inserted"});
                       }}},
                     {"go"}),
              (Names{"go@a", "inserted@a"}));
    EXPECT_EQ(log_of({{"go@a",
                       [&](Probe& p) {
                         zero(p);
                         p.state_timeout(0s, Note{"state"});
                       }}},
                     {"go"}),
              (Names{"go@a", "idle@a", "state@a"}));
    EXPECT_EQ(log_of({{"go@a",
                       [&](Probe& p) {
                         p.state_timeout(0s, Note{"state"});
                         zero(p);
                       }}},
                     {"go"}),
              (Names{"go@a", "state@a"}));
  });
}

TEST_F(StateMachineTest, Rule_11_9_ATimePastIsATimer) {
  run([] {
    EXPECT_EQ(log_of({{"go@a",
                       [](Probe& p) {
                         p.timeout("x", now() - 1s, Note{"past"});
                         p.timeout("y", 0s, Note{"zero"});
                       }}},
                     {"go"}),
              (Names{"go@a", "zero@a", "past@a"}));
  });
}

TEST_F(StateMachineTest, Rule_11_10_ACancelledTimerIsNeverDelivered) {
  run([] {
    const auto set = [](Probe& p) {
      p.state_timeout(100ms, Note{"state"});
      p.timeout("x", 100ms, Note{"x"});
      p.event_timeout(100ms, Note{"idle"});
    };
    // When "late" has slept, the message of each lies in the mailbox.
    EXPECT_EQ(log_of({{"set@a", set},
                      {"late@a",
                       [](Probe& p) {
                         sleep(300ms);
                         EXPECT_FALSE(mailbox_empty());
                         p.next_state("b");
                         p.cancel_timeout("x");
                       }}},
                     {"set", "late"}),
              (Names{"set@a", "late@a", "enter a>b"}));
    EXPECT_EQ(log_of({{"set@a", set},
                      {"late@a",
                       [](Probe& p) {
                         sleep(300ms);
                         p.cancel_state_timeout();
                         p.timeout("x", 400ms, Note{"new x"});
                       }}},
                     {"set", "late"}),
              (Names{"set@a", "late@a", "new x@a"}))
        << "started anew it has a time of its own";
    EXPECT_EQ(log_of({{"set@a", set},
                      {"late@a",
                       [](Probe& p) {
                         sleep(300ms);
                         p.update_timeout("x", Note{"updated"});
                         p.cancel_state_timeout();
                       }}},
                     {"set", "late"}),
              (Names{"set@a", "late@a", "updated@a"}));
  });
}

TEST_F(StateMachineTest, Rule_11_10_TheMessageOfACancelledTimerIsNoEvent) {
  run([] {
    EXPECT_EQ(log_of({{"set@a", [](Probe& p) { p.timeout("x", 100ms, Note{"x"}); }},
                      {"late@a",
                       [](Probe& p) {
                         sleep(300ms);
                         p.cancel_timeout("x");
                         p.event_timeout(100ms, Note{"idle"});
                       }}},
                     {"set", "late"}),
              (Names{"set@a", "late@a", "idle@a"}));
  });
}

}  // namespace
}  // namespace erlking::testing
