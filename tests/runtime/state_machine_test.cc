// State machines: the order of what a transition does, postponing, inserting, entering, timeouts, ends (SEMANTICS §11).
#include "tests/support/runtime_fixture.h"

#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace erlking::testing {
namespace {

class Probe;
using Reaction = std::function<void(Probe&)>;
/// What a Probe does with an event, by "event@state"; "enter@state" as it enters one, "init" in its constructor.
using Reactions = std::map<std::string, Reaction>;

struct Note {
  std::string name;
};
struct Question {
  std::string name;
  using Reply = std::string;
};
struct Now {
  std::string name;
  using Reply = std::string;
};
struct Log {
  using Reply = std::vector<std::string>;
};
struct Trap {
  using Reply = bool;
};
struct Unknown {};
struct UnknownRequest {
  using Reply = int;
};
struct Terminated {
  Reason why;
};

/// Logs every event with the state it is handled in, and does what its reactions say.
class Probe : public StateMachine<Probe, std::string> {
 public:
  using Handles = Messages<Note, Question, Now, Log, Trap, Exit>;
  static constexpr std::uint32_t kEventsMax = 8;

  using StateMachine::cancel_state_timeout;
  using StateMachine::cancel_timeout;
  using StateMachine::event_timeout;
  using StateMachine::next_event;
  using StateMachine::next_state;
  using StateMachine::postpone;
  using StateMachine::repeat_state;
  using StateMachine::state_timeout;
  using StateMachine::stop;
  using StateMachine::timeout;
  using StateMachine::update_state_timeout;
  using StateMachine::update_timeout;

  Probe(Pid watcher, Reactions reactions)
      : StateMachine("a"), watcher_(watcher), reactions_(std::make_shared<Reactions>(std::move(reactions))) {
    react("init");
  }

  void enter(const std::string& old) {
    log_.push_back("enter " + old + ">" + state());
    react("enter@" + state());
  }
  void on(Note& note) { event(note.name); }
  void on(Question& question, From<Question> from) {
    from_ = std::move(from);
    event(question.name);
    if (from_) kept_.push_back(std::move(from_));
  }
  std::string on(Now& now) {
    event(now.name);
    return state();
  }
  std::vector<std::string> on(Log&) { return std::exchange(log_, {}); }
  bool on(Trap&) { return trap_exit(true); }
  void on(Exit& exit) { log_.push_back("exit " + exit.reason.to_string()); }
  void terminate(const Reason& why) {
    react("terminate");
    send(watcher_, Terminated{why});
  }

  /// The request at hand.
  From<Question>& from() { return from_; }
  void answer_kept() {
    for (From<Question>& from : kept_) from.reply("kept");
    kept_.clear();
  }

 private:
  void event(const std::string& name) {
    log_.push_back(name + "@" + state());
    react(name + "@" + state());
  }
  void react(const std::string& key) {
    if (const auto found = reactions_->find(key); found != reactions_->end()) found->second(*this);
  }

  Pid watcher_;
  std::shared_ptr<Reactions> reactions_;
  std::vector<std::string> log_;
  From<Question> from_;
  std::vector<From<Question>> kept_;
};

/// Says what Probes cannot: one that can be copied, with a state of alternatives.
struct Idle {
  friend bool operator==(Idle, Idle) = default;
};
struct Busy {
  int job = 0;
  friend bool operator==(Busy, Busy) = default;
};
struct Begin {
  int job = 0;
};
struct Finish {};
class Worker : public StateMachine<Worker, std::variant<Idle, Busy>> {
 public:
  using Handles = Messages<Begin, Finish>;
  Worker() : StateMachine(Idle{}) { next_state(Busy{1}); }
  void on(Begin begin) { next_state(Busy{begin.job}); }
  void on(const Finish&) { next_state(Idle{}); }
  void enter(const std::variant<Idle, Busy>&) {
    ++entered;
    if (state() == std::variant<Idle, Busy>(Busy{1})) timeout("finish", 100ms, Finish{});
  }
  int entered = 0;
};

/// As large as one may be in a block of 64 bytes.
class Small : public StateMachine<Small, int> {
 public:
  using Handles = Messages<Begin, Finish>;
  Small() : StateMachine(0) {}
  void on(Begin begin) {
    if (state() == 0) postpone();
    next_state(begin.job);
    timeout("finish", 0s, Finish{});
  }
  void on(const Finish&) { ++finished[1]; }

 private:
  long finished[2] = {};
};

/// Postpones what it does not know.
class Postponer : public StateMachine<Postponer, int> {
 public:
  using Handles = Messages<Begin>;
  explicit Postponer(std::shared_ptr<std::vector<std::string>> seen) : StateMachine(0), seen_(std::move(seen)) {}
  void on(Begin& begin) { next_state(begin.job); }
  void on_other(Message message) {
    if (state() == -1) {
      postpone();
    } else if (state() == 0) {
      postpone(std::move(message));
    } else {
      seen_->emplace_back(message.type_name());
    }
  }

 private:
  std::shared_ptr<std::vector<std::string>> seen_;
};

using Names = std::vector<std::string>;

struct StateMachineTest : RuntimeTest {
  static Monitored begin(Reactions reactions) {
    return start_monitor<Probe>(5s, {}, self(), std::move(reactions)).value();
  }
  static Names log_of(const Monitored& probe) { return call(probe.pid, Log{}, 5s).value_or(Names{"no log"}); }
  /// What a Probe with these reactions logs of these notes, which all lie in its mailbox before it handles any.
  static Names log_of(Reactions reactions, const Names& notes) {
    const Monitored probe = begin(std::move(reactions));
    EXPECT_TRUE(sys::suspend(probe.pid, 5s));
    for (const std::string& name : notes) EXPECT_EQ(send(probe.pid, Note{name}), Delivery::queued);
    EXPECT_TRUE(sys::resume(probe.pid, 5s));
    sleep(2s);
    Names log = log_of(probe);
    EXPECT_TRUE(sys::stop(probe.pid, reason::normal, 5s));
    EXPECT_EQ(log.front(), "enter a>a");
    log.erase(log.begin());
    return log;
  }
  /// How a Probe with these reactions ends when it is sent `name`.
  static Reason end_of(Reactions reactions, const std::string& name = "go") {
    const Monitored probe = begin(std::move(reactions));
    send(probe.pid, Note{name});
    return await_down(probe);
  }
};

Reaction to(const char* state) {
  return [state](Probe& p) { p.next_state(state); };
}
void postpone(Probe& p) { p.postpone(); }
void postpone_request(Probe& p) { p.postpone(std::move(p.from())); }

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
