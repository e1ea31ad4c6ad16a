// State machines: the order of what a transition does, postponing, inserting, entering, ends (SEMANTICS §11). Those of
// timeouts are in state_machine_timeout_test.cc.
#include "tests/support/state_machine_fixture.h"

#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace erlking::testing {
namespace {

TEST_F(StateMachineTest, AnswersByItsState) {
  run([] {
    const Started probe = start_link<Probe>(5s, {.name = "probe"}, self(), Reactions{{"go@a", to("b")}});
    EXPECT_EQ(call(Name{"probe"}, Now{"ask"}, 1s), "a");
    EXPECT_EQ(send(*probe, Note{"go"}), Delivery::queued);
    EXPECT_EQ(call(*probe, Now{"ask"}, 1s), "b");
    EXPECT_EQ(call(*probe, Log{}, 1s), (Names{"enter a>a", "ask@a", "go@a", "enter a>b", "ask@b"}));
  });
}

TEST_F(StateMachineTest, AStateMayBeOneOfAlternatives) {
  run([] {
    const Started worker = erlking::start<Worker>(5s, {});
    EXPECT_EQ(sys::get_state<Worker>(*worker, 1s)->state(), (std::variant<Idle, Busy>(Busy{1}))) << "the constructor's";
    sleep(1s);
    EXPECT_EQ(sys::get_state<Worker>(*worker, 1s)->state(), (std::variant<Idle, Busy>(Idle{})));
    send(*worker, Begin{2});
    send(*worker, Begin{2});
    send(*worker, Begin{3});
    EXPECT_EQ(sys::get_state<Worker>(*worker, 1s)->entered, 4);
  });
}

TEST_F(StateMachineTest, Rule_11_1_WhatIsAnEventAndWhatAChange) {
  run([] {
    EXPECT_EQ(log_of({{"go@a", to("b")}, {"same@b", to("b")}, {"late@a", postpone}}, {"late", "go", "same"}),
              (Names{"late@a", "go@a", "enter a>b", "late@b", "same@b"}));
    EXPECT_EQ(log_of({{"late@a", postpone}, {"same@a", to("a")}}, {"late", "same"}), (Names{"late@a", "same@a"}))
        << "an equal state is no change";
    const Monitored probe = begin({{"go@a", [](Probe& p) {
                                      p.next_event(Note{"internal"});
                                      p.state_timeout(0s, Note{"state"});
                                      p.timeout("name", 0s, Note{"named"});
                                    }}});
    (void)call(probe.pid, Now{"go"}, 1s);
    EXPECT_EQ(log_of(probe), (Names{"enter a>a", "go@a", "internal@a", "state@a", "named@a"}));
  });
}

TEST_F(StateMachineTest, Rule_11_2_TheOrderOfATransition) {
  run([] {
    EXPECT_EQ(log_of({{"first@a", postpone},
                      {"go@a",
                       [](Probe& p) {
                         p.timeout("x", 0s, Note{"named"});
                         p.next_event(Note{"inserted 1"});
                         p.postpone();
                         p.next_state("b");
                         p.next_event(Note{"inserted 2"});
                         EXPECT_EQ(p.state(), "a") << "until it has returned";
                       }},
                      {"enter@b", [](Probe& p) { p.timeout("y", 0s, Note{"of enter"}); }}},
                     {"first", "go", "message"}),
              (Names{"first@a", "go@a", "enter a>b", "inserted 1@b", "inserted 2@b", "first@b", "go@b", "named@b",
                     "of enter@b", "message@b"}));
  });
}

TEST_F(StateMachineTest, Rule_11_2_TheReplyGoesOutFirst) {
  run([] {
    const Monitored probe = begin({{"go@a", to("b")}, {"enter@b", [](Probe&) { throw std::runtime_error("locked"); }}});
    EXPECT_EQ(call(probe.pid, Now{"go"}, 1s), "a");
    EXPECT_EQ(await_down(probe).what(), "locked");
  });
}

TEST_F(StateMachineTest, Rule_11_3_PostponedEventsAreRetriedInOrderOnAChange) {
  run([] {
    EXPECT_EQ(log_of({{"1@a", postpone}, {"2@a", postpone}, {"3@a", postpone}, {"go@a", to("b")}},
                     {"1", "2", "3", "go", "new"}),
              (Names{"1@a", "2@a", "3@a", "go@a", "enter a>b", "1@b", "2@b", "3@b", "new@b"}));
  });
}

TEST_F(StateMachineTest, Rule_11_3_PostponedAgainItKeepsItsPlace) {
  run([] {
    EXPECT_EQ(log_of({{"1@a", postpone},
                      {"2@a", postpone},
                      {"3@a", postpone},
                      {"go@a", to("b")},
                      {"1@b", postpone},
                      {"2@b", to("c")},
                      {"3@c", postpone},
                      {"new@c", to("d")}},
                     {"1", "2", "3", "go", "new"}),
              (Names{"1@a", "2@a", "3@a", "go@a", "enter a>b", "1@b", "2@b", "enter b>c", "1@c", "3@c", "new@c",
                     "enter c>d", "3@d"}));
  });
}

TEST_F(StateMachineTest, Rule_11_3_RepeatingAStateRetriesNothing) {
  run([] {
    EXPECT_EQ(log_of({{"1@a", postpone}, {"again@a", [](Probe& p) { p.repeat_state(); }}}, {"1", "again"}),
              (Names{"1@a", "again@a", "enter a>a"}));
  });
}

TEST_F(StateMachineTest, Rule_11_3_PostponedWithAChangeItIsRetriedAtOnce) {
  run([] {
    EXPECT_EQ(log_of({{"go@a",
                       [](Probe& p) {
                         p.next_state("b");
                         p.postpone();
                       }}},
                     {"go", "new"}),
              (Names{"go@a", "enter a>b", "go@b", "new@b"}));
  });
}

TEST_F(StateMachineTest, Rule_11_3_APostponedRequestKeepsItsFrom) {
  run([] {
    const Monitored probe = begin({{"ask@a", postpone_request}, {"go@a", to("b")}, {"ask@b", [](Probe& p) {
                                                                                      p.from().reply("in " + p.state());
                                                                                    }}});
    const Pid me = self();
    for (int i = 0; i < 3; ++i) {
      spawn([me, to = probe.pid] { send(me, Note{call(to, Question{"ask"}, 5s).value_or("none")}); });
    }
    EXPECT_EQ(call(probe.pid, Question{"ask"}, 1s).error().kind, CallFailure::timeout);
    send(probe.pid, Note{"go"});
    for (int i = 0; i < 3; ++i) EXPECT_EQ(receive(5s, [](Note note) { return note.name; }), "in b");
    EXPECT_TRUE(mailbox_empty()) << "who has given up gets nothing";
  });
}

TEST_F(StateMachineTest, Rule_11_3_PostponedRequestsBeyondTheLimitAreRefused) {
  run([] {
    const Monitored probe = begin({{"ask@a", postpone_request},
                                   {"go@a", to("b")},
                                   {"ask@b", [](Probe& p) { p.from().reply("late"); }},
                                   {"1@a", postpone}});
    const Pid me = self();
    for (int i = 0; i < 8; ++i) {
      spawn([me, to = probe.pid] { send(me, Note{call(to, Question{"ask"}, 5s).value_or("none")}); });
    }
    sleep(100ms);
    EXPECT_EQ(call(probe.pid, Question{"ask"}, 1s).error(), (CallError{CallFailure::full}));
    send(probe.pid, Note{"go"});
    for (int i = 0; i < 8; ++i) EXPECT_EQ(receive(5s, [](Note note) { return note.name; }), "late");
    const Monitored other = begin({{"1@a", postpone}});
    for (int i = 0; i < 9; ++i) send(other.pid, Note{"1"});
    EXPECT_EQ(await_down(other).name(), "too_many_postponed") << "a message must not vanish";
  });
}

TEST_F(StateMachineTest, Rule_11_4_InsertedEventsComeFirstDepthFirst) {
  run([] {
    EXPECT_EQ(log_of({{"go@a",
                       [](Probe& p) {
                         p.next_event(Note{"1"});
                         p.next_event(Note{"2"});
                       }},
                      {"1@a",
                       [](Probe& p) {
                         p.next_event(Note{"1.1"});
                         p.next_event(Note{"1.2"});
                       }}},
                     {"go", "new"}),
              (Names{"go@a", "1@a", "1.1@a", "1.2@a", "2@a", "new@a"}));
    EXPECT_EQ(end_of({{"go@a",
                       [](Probe& p) {
                         for (int i = 0; i < 9; ++i) p.next_event(Note{"1"});
                       }}})
                  .name(),
              "too_many_events");
    EXPECT_EQ(log_of({{"go@a",
                       [n = 0](Probe& p) mutable {
                         if (++n < 100) p.next_event(Note{"go"});
                       }}},
                     {"go"})
                  .size(),
              100u)
        << "one after another they are no crowd";
  });
}

TEST_F(StateMachineTest, Rule_11_4_ARequestCanBeInserted) {
  run([] {
    const Monitored probe = begin({{"ask@a",
                                    [](Probe& p) {
                                      p.next_event(Question{"again"}, std::move(p.from()));
                                      p.next_event(Note{"then"});
                                    }},
                                   {"again@a", [](Probe& p) { p.from().reply("at last"); }}});
    EXPECT_EQ(call(probe.pid, Question{"ask"}, 1s), "at last");
    EXPECT_EQ(log_of(probe), (Names{"enter a>a", "ask@a", "again@a", "then@a"}));
  });
}

TEST_F(StateMachineTest, Rule_11_5_WhenAStateIsEntered) {
  run([] {
    const Monitored probe = begin({{"init", [](Probe& p) { p.next_event(Note{"inserted"}); }},
                                   {"again@a", [](Probe& p) { p.repeat_state(); }},
                                   {"same@a", to("a")},
                                   {"go@a", to("b")}});
    for (const char* name : {"again", "same", "go"}) send(probe.pid, Note{name});
    EXPECT_EQ(log_of(probe), (Names{"enter a>a", "inserted@a", "again@a", "enter a>a", "same@a", "go@a", "enter a>b"}));
  });
}

TEST_F(StateMachineTest, Rule_11_5_WhatEnteringMayDo) {
  run([] {
    const Monitored probe = begin({{"go@a", to("b")}, {"enter@b", [](Probe& p) {
                                                         p.answer_kept();
                                                         p.state_timeout(0s, Note{"timeout"});
                                                       }}});
    const Pid me = self();
    spawn([me, to = probe.pid] { send(me, Note{call(to, Question{"ask"}, 5s).value_or("none")}); });
    sleep(10ms);
    send(probe.pid, Note{"go"});
    EXPECT_EQ(receive(5s, [](Note note) { return note.name; }), "kept");
    EXPECT_EQ(log_of(probe), (Names{"enter a>a", "ask@a", "go@a", "enter a>b", "timeout@b"}));
    EXPECT_EQ(end_of({{"go@a",
                       [](Probe& p) {
                         p.next_state("b");
                         p.next_event(Note{"never"});
                       }},
                      {"enter@b", [](Probe& p) { p.stop(Reason("enough")); }},
                      {"never@b", [](Probe&) { throw std::runtime_error("handled"); }}}),
              Reason("enough"));
  });
}

TEST_F(StateMachineTest, Rule_11_5_WhatEnteringMayNotDo) {
  run([] {
    const std::vector<std::pair<const char*, Reaction>> wrong = {
        {"next_state", to("c")},
        {"repeat_state", [](Probe& p) { p.repeat_state(); }},
        {"postpone", postpone},
        {"next_event", [](Probe& p) { p.next_event(Note{"x"}); }},
    };
    for (const auto& [what, reaction] : wrong) {
      const Reason why = end_of({{"go@a", to("b")}, {"enter@b", reaction}});
      EXPECT_EQ(why.type(), "std::logic_error");
      EXPECT_EQ(why.what(),
                std::string("erlking: ") + what + " called in enter(), which may only set timeouts, answer and stop");
    }
  });
}

TEST_F(StateMachineTest, Rule_11_11_StopSendsItsRepliesFirst) {
  run([] {
    const Monitored probe = begin({{"go@a",
                                    [](Probe& p) {
                                      p.answer_kept();
                                      p.next_event(Note{"never"});
                                      p.next_state("b");
                                      p.stop(Reason("done"));
                                    }},
                                   {"terminate", [](Probe&) { sleep(1s); }},
                                   {"never@a", [](Probe&) { throw std::runtime_error("handled"); }}});
    const Pid me = self();
    spawn([me, to = probe.pid] { send(me, Note{call(to, Question{"ask"}, 5s).value_or("none")}); });
    sleep(10ms);
    EXPECT_EQ(call(probe.pid, Now{"go"}, 500ms), "a") << "terminate() waits for longer";
    EXPECT_EQ(receive(500ms, [](Note note) { return note.name; }), "kept");
    EXPECT_TRUE(mailbox_empty());
    EXPECT_EQ(receive(5s, [](Terminated& t) { return t.why; }), Reason("done"));
    EXPECT_EQ(await_down(probe), Reason("done"));
    const Monitored in_constructor = begin({{"init", [](Probe& p) { p.stop(Reason("never_mind")); }}});
    EXPECT_EQ(await_down(in_constructor), Reason("never_mind"));
  });
}

TEST_F(StateMachineTest, Rule_11_11_AThrowEndsItWithItsReason) {
  run([] {
    EXPECT_EQ(end_of({{"go@a", [](Probe&) { throw std::runtime_error("out of sorts"); }}}).what(), "out of sorts");
    EXPECT_EQ(end_of({{"go@a", [](Probe&) { exit(Reason("bored")); }}}), Reason("bored"));
    const Monitored failing =
        begin({{"init", [](Probe& p) { p.next_event(Note{"go"}); }}, {"go@a", [](Probe&) { exit(Reason("early")); }}});
    EXPECT_EQ(await_down(failing), Reason("early")) << "the start was answered before";
    EXPECT_EQ(erlking::start<Probe>(5s, {}, self(), Reactions{{"init", [](Probe&) { ignore_start(); }}}).error().kind,
              StartFailure::ignored);
    EXPECT_EQ(erlking::start<Probe>(5s, {}, self(),
                                    Reactions{{"init",
                                               [](Probe& p) {
                                                 p.timeout("x", 0s, Note{"x"});
                                                 exit(Reason("disk_full"));
                                               }}})
                  .error(),
              (StartError{StartFailure::failed, Reason("disk_full")}));
  });
}

TEST_F(StateMachineTest, Rule_11_12_TheEndOfItsParentEndsOneThatTraps) {
  run([] {
    for (const Reason& why : {reason::normal, Reason("gone")}) {
      const Pid me = self();
      const Pid parent = spawn([me, why] {
        const Started probe = start_link<Probe>(5s, {}, me, Reactions{{"1@a", postpone}});
        (void)call(*probe, Trap{}, 5s);
        send(*probe, Note{"1"});
        send(me, Exit{*probe, why});
        receive(5s, [](Note) {});
        exit(why);
      });
      const Pid probe = receive(5s, [](Exit& exit) { return exit.from; });
      const MonitorRef ref = monitor(probe);
      await_down(monitor(spawn([probe] { exit(probe, reason::shutdown); })));
      EXPECT_EQ(call(probe, Log{}, 5s)->back(), "exit shutdown") << "anybody else's is a message";
      send(parent, Note{"end"});
      EXPECT_EQ(await_down(ref), why);
      EXPECT_EQ(receive(5s, [](Terminated& t) { return t.why; }), why);
    }
  });
}

TEST_F(StateMachineTest, Rule_11_12_WhatIsPostponedIsDroppedAtItsEnd) {
  run([] {
    const std::vector<std::function<void(Pid)>> ends = {
        [](Pid pid) { EXPECT_TRUE(sys::stop(pid, Reason("enough"), 5s)); },
        [](Pid pid) { send(pid, Note{"stop"}); },
        [](Pid pid) { send(pid, Note{"exit"}); },
        [](Pid pid) { exit(pid, Reason("enough")); },
    };
    for (const auto& end : ends) {
      const Monitored probe = begin({{"ask@a", postpone_request},
                                     {"1@a", postpone},
                                     {"stop@a", [](Probe& p) { p.stop(Reason("enough")); }},
                                     {"exit@a", [](Probe&) { exit(Reason("enough")); }}});
      const Pid me = self();
      spawn([me, to = probe.pid] {
        const auto answer = call(to, Question{"ask"}, 5s);
        send(me, Terminated{answer.error().why});
        send(me, Note{std::string(to_string(answer.error().kind))});
      });
      send(probe.pid, Note{"1"});
      sleep(10ms);
      end(probe.pid);
      EXPECT_EQ(await_down(probe), Reason("enough"));
      EXPECT_EQ(receive(5s, [](Note note) { return note.name; }), "died");
      std::vector<Reason> reasons;  // of terminate(), if it runs, and of the call
      for (bool more = true; more;) {
        more = receive(
            0s, [&](Terminated& t) { return reasons.push_back(t.why), true; }, [](Timeout) { return false; });
      }
      for (const Reason& why : reasons) EXPECT_EQ(why, Reason("enough"));
    }
  });
}

TEST_F(StateMachineTest, WhatIsSaidOutOfPlaceIsAnError) {
  run([] {
    const auto error_of = [](Reactions reactions, const std::string& name = "go") {
      const Reason why = end_of(std::move(reactions), name);
      EXPECT_EQ(why.type(), "std::logic_error");
      return std::string(why.what());
    };
    EXPECT_EQ(error_of({{"go@a", [](Probe& p) { p.stop(); }}, {"terminate", to("b")}}),
              "erlking: next_state called outside a callback that may");
    EXPECT_NE(error_of({{"go@a", [](Probe& p) { p.postpone(From<Question>()); }}}).find("any more, the event's"),
              std::string::npos);
    for (const Reaction& reaction : {Reaction(postpone), Reaction([](Probe& p) { p.repeat_state(); })}) {
      const Started none = erlking::start<Probe>(5s, {}, self(), Reactions{{"init", reaction}});
      EXPECT_EQ(none.error().why.type(), "std::logic_error");
    }
    const Monitored replies = begin({{"ask@a", postpone}});
    EXPECT_EQ(call(replies.pid, Now{"ask"}, 1s).error().kind, CallFailure::died);
    EXPECT_NE(await_down(replies).what().find("without its From"), std::string::npos);
    const Monitored answered = begin({{"ask@a", [](Probe& p) {
                                         p.from().reply("yes");
                                         p.postpone(std::move(p.from()));
                                       }}});
    EXPECT_EQ(call(answered.pid, Question{"ask"}, 1s), "yes");
    EXPECT_EQ(await_down(answered).type(), "std::logic_error");
  });
}

TEST_F(StateMachineTest, WhatItDoesNotKnowIsAsAServers) {
  run([] {
    const Monitored probe = begin({});
    send(probe.pid, Unknown{});
    EXPECT_EQ(call(probe.pid, Now{"ask"}, 1s), "a");
    EXPECT_EQ(call(probe.pid, UnknownRequest{}, 1s).error().kind, CallFailure::died);
    EXPECT_EQ(await_down(probe).name(), "unknown_request");

    auto seen = std::make_shared<std::vector<std::string>>();
    const auto postponer = start_monitor<Postponer>(5s, {}, seen);
    send(postponer->pid, Unknown{});
    send(postponer->pid, Begin{1});
    send(postponer->pid, Begin{-1});
    send(postponer->pid, Unknown{});
    EXPECT_NE(await_down(*postponer).what().find("without the message"), std::string::npos);
    ASSERT_EQ(seen->size(), 1u);
    EXPECT_NE(seen->front().find("Unknown"), std::string::npos);
  });
}

TEST_F(StateMachineTest, ASystemThatReplacesItsStateLeavesWhatWaits) {
  run([] {
    const Monitored probe =
        begin({{"1@a", postpone}, {"set@a", [](Probe& p) { p.timeout("x", 100ms, Note{"x"}); }}, {"go@a", to("b")}});
    send(probe.pid, Note{"1"});
    send(probe.pid, Note{"set"});
    EXPECT_EQ(sys::get_state<Worker>(probe.pid, 1s).error().kind, CallFailure::refused);
    sleep(1s);
    send(probe.pid, Note{"go"});
    EXPECT_EQ(log_of(probe), (Names{"enter a>a", "1@a", "set@a", "x@a", "go@a", "enter a>b", "1@b"}));

    const Started worker = erlking::start<Worker>(5s, {});
    EXPECT_EQ(sys::replace_state<Worker>(
                  *worker, [](Worker& w) { w.entered = 100; }, 1s)
                  ->entered,
              100);
    sleep(1s);
    EXPECT_EQ(sys::get_state<Worker>(*worker, 1s)->entered, 101) << "its timeout has come all the same";
    const auto moved = sys::replace_state<Worker>(
        *worker, [](Worker& w) { w.on(Finish{}); }, 1s);
    EXPECT_EQ(moved.error().kind, CallFailure::refused) << "no callback";
  });
}

TEST_F(StateMachineTest, AtRestItHasNoStackAndOneBlock) {
  constexpr unsigned machines = 500;
  start([] {
    for (unsigned i = 0; i < machines; ++i) send(*erlking::start<Small>(5s, {}), Begin{1});
    wait_forever();
  });
  EXPECT_LT(rt().stats().heap.bytes_live, machines * 96) << "64 each";
  if (has_own_workers()) return;
  EXPECT_LT(rt().stats().stacks.taken, machines);
}

struct StateMachineMatrixTest : RuntimeMatrixTest {};
INSTANTIATE_TEST_SUITE_P(Every, StateMachineMatrixTest, every_setting(), name_of_setting);

TEST_P(StateMachineMatrixTest, KilledInACallbackAtAnyTimeItLeavesNothing) {
  const int rounds = options.scheduler == std::string("threads") ? 60 : 300;
  run([rounds] {
    const auto busy = [](Probe& p) {
      p.postpone(std::move(p.from()));
      p.next_event(Note{"inserted"});
      p.timeout("x", 0s, Note{"due"});
      p.timeout("y", 10us, Note{"soon"});
      p.state_timeout(1h, Note{"never"});
      yield();
      p.next_state(p.state() == "a" ? "b" : "a");
      yield();
    };
    for (int i = 0; i < rounds; ++i) {
      const auto probe = start_monitor<Probe>(
          5s, {}, Pid{}, Reactions{{"ask@a", busy}, {"ask@b", busy}, {"inserted@b", [](Probe&) { yield(); }}});
      const Monitored caller = spawn_monitor([to = probe->pid] {
        const auto answer = call(to, Question{"ask"}, 5s);
        if (answer) throw std::runtime_error("answered");
        if (answer.error().kind == CallFailure::timeout) throw std::runtime_error("not told");
      });
      for (int turn = 0; turn < i % 9; ++turn) yield();
      exit(probe->pid, reason::kill);
      EXPECT_EQ(await_down(*probe), reason::killed);
      EXPECT_EQ(await_down(caller), reason::normal);
    }
  });
}

TEST_P(StateMachineMatrixTest, ATimeoutAndAMessageAtOnceAreBothHandledOnce) {
  run([] {
    // A state timeout races with the event that leaves the state: whichever comes first, the state is left once.
    const auto probe =
        start_monitor<Probe>(5s, {}, Pid{},
                             Reactions{{"enter@a", [](Probe& p) { p.state_timeout(20us, Note{"over"}); }},
                                       {"over@a", to("b")},
                                       {"go@a", to("b")},
                                       {"back@b", to("a")}});
    for (int i = 0; i < 200; ++i) {
      send(probe->pid, Note{"go"}, 1s);
      send(probe->pid, Note{"back"}, 1s);
    }
    sleep(1ms);
    std::string before = "a";
    const Names log = call(probe->pid, Log{}, 5s).value();
    for (const std::string& line : log) {
      EXPECT_NE(line, "over@b") << "cancelled by the change";
      if (line.starts_with("enter ")) {
        EXPECT_EQ(line.substr(6, 1), before);
        before = line.back();
      }
    }
  });
}

}  // namespace
}  // namespace erlking::testing
