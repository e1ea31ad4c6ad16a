// Servers: starting, requests and messages, what callbacks say of what comes next, ends (SEMANTICS §9, §10).
#include "tests/support/runtime_fixture.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace erlking::testing {
namespace {

struct Get {
  using Reply = int;
};
struct Set {
  int value;
};
struct Later {
  using Reply = int;
};
struct Release {};
struct Fail {
  using Reply = int;
};
struct Leave {
  Reason why;
};
struct StopWith {
  Reason why;
  using Reply = int;
};
struct Step {
  std::string name;
};
struct Steps {
  std::vector<std::string> chain;
  using Reply = int;
};
struct IdleAfter {
  Duration idle;
};
struct Trap {
  using Reply = bool;
};
struct Log {
  using Reply = std::vector<std::string>;
};
struct Unknown {};
struct UnknownRequest {
  using Reply = int;
};
/// What terminate() sends to who wants to know.
struct Terminated {
  Reason why;
};
struct Watching {
  Pid who;
};
struct FailInTerminate {};
struct Ask {
  Pid whom;
  Duration bound;
  bool detach = false;
  using Reply = std::optional<CallFailure>;
};
struct TellDeadline {
  using Reply = Clock::time_point;
};

enum class How { well, throws, exits, ignores, sleeps, waits_for_ever };

class Cell : public Server {
 public:
  using Handles = Messages<Get, Set, Later, Release, Fail, Leave, StopWith, Step, Steps, IdleAfter, Trap, Log, Watching,
                           FailInTerminate, Ask, TellDeadline, Exit, Down, Timeout>;
  Cell() = default;
  explicit Cell(int value) : value_(value) {}
  explicit Cell(How how) {
    switch (how) {
      case How::throws:
        throw std::runtime_error("not today");
      case How::exits:
        exit(Reason("disk_full"));
      case How::ignores:
        ignore_start();
      case How::sleeps:
        sleep(1s);
        return;
      case How::waits_for_ever:
        wait_forever();
        return;
      case How::well:
        return;
    }
  }
  explicit Cell(std::unique_ptr<int> value) : value_(*value) {}

  int on(Get&) { return value_; }
  void on(Set set) {
    value_ = set.value;
    log_.push_back("set " + std::to_string(set.value));
  }
  void on(Later&, From<Later> from) { waiting_.push_back(std::move(from)); }
  void on(const Release&) {
    for (From<Later>& from : waiting_) from.reply(value_);
    waiting_.clear();
  }
  int on(Fail&) { throw std::runtime_error("out of sorts"); }
  void on(Leave&& leave) { exit(leave.why); }
  int on(StopWith& with) {
    stop(with.why);
    return 7;
  }
  void on(Step&& step) { log_.push_back(step.name); }
  int on(Steps& steps) {
    for (std::string& name : steps.chain) continue_with(Step{std::move(name)});
    return 1;
  }
  void on(IdleAfter& after) { timeout_after(after.idle); }
  bool on(Trap&) { return trap_exit(true); }
  std::vector<std::string> on(Log&) { return log_; }
  void on(Watching& watching) { watcher_ = watching.who; }
  void on(FailInTerminate) { fails_in_terminate_ = true; }
  std::optional<CallFailure> on(Ask& ask) {
    if (ask.detach) detach_deadline();
    const auto answer = call(ask.whom, Later{}, ask.bound);
    return answer ? std::nullopt : std::optional(answer.error().kind);
  }
  void on(TellDeadline&, From<TellDeadline> from) { from.reply(from.deadline()); }
  void on(Exit& exit) { log_.push_back("exit " + exit.reason.to_string()); }
  void on(const Down&) {}
  void on(Timeout) { log_.push_back("timeout"); }
  void terminate(const Reason& why) {
    if (watcher_) send(watcher_, Terminated{why});
    sleep(1ms);  // its waits wait
    if (fails_in_terminate_) throw std::runtime_error("terminate failed");
  }

 private:
  int value_ = 0;
  std::vector<From<Later>> waiting_;
  std::vector<std::string> log_;
  Pid watcher_;
  bool fails_in_terminate_ = false;
};

/// One that takes nothing and can be copied.
class Plain : public Server {
 public:
  using Handles = Messages<Set>;
  void on(const Set& set) { value = set.value; }
  int value = 1;
};

class Other : public Server {
 public:
  using Handles = Messages<Get>;
  explicit Other(std::shared_ptr<std::vector<std::string>> seen) : seen_(std::move(seen)) {}
  int on(Get&) { return 1; }
  void on_other(Message message) { seen_->emplace_back(message.type_name()); }

 private:
  std::shared_ptr<std::vector<std::string>> seen_;
};

/// What terminate() was called with; none: it was not.
std::optional<Reason> terminated_with() {
  return receive(
      1s, [](Terminated& t) { return std::optional(t.why); }, [](Timeout) { return std::optional<Reason>(); });
}

struct ServerTest : RuntimeMatrixTest {};
INSTANTIATE_TEST_SUITE_P(Every, ServerTest, every_setting(), name_of_setting);

TEST_P(ServerTest, AnswersAndTakesWhatIsSent) {
  run([] {
    const Started cell = start_link<Cell>(5s, {.name = "cell"}, 3);
    ASSERT_TRUE(cell);
    EXPECT_EQ(call(*cell, Get{}, 1s), 3);
    EXPECT_EQ(send(Name{"cell"}, Set{4}), Delivery::queued);
    EXPECT_EQ(call(Name{"cell"}, Get{}, 1s), 4);
    EXPECT_EQ(call(*erlking::start<Cell>(5s, {}, std::make_unique<int>(5)), Get{}, 1s), 5);
  });
}

TEST_P(ServerTest, Rule_9_1_AStartWaitsForTheConstructor) {
  run([] {
    const auto before = now();
    ASSERT_TRUE(erlking::start<Cell>(5s, {}, How::sleeps));
    EXPECT_GE(now() - before, 1s);
    EXPECT_EQ(erlking::start<Cell>(5s, {}, How::exits).error(),
              (StartError{StartFailure::failed, Reason("disk_full")}));
    const Started starting_killed = [] {
      spawn([] {
        while (!whereis("victim")) sleep(10ms);
        exit(*whereis("victim"), Reason("shot"));
      });
      return erlking::start<Cell>(5s, {.name = "victim"}, How::waits_for_ever);
    }();
    EXPECT_EQ(starting_killed.error(), (StartError{StartFailure::failed, Reason("shot")}));
    EXPECT_FALSE(whereis("victim"));
  });
}

TEST_P(ServerTest, Rule_9_2_AStartThatTakesTooLongLeavesNothing) {
  run([] {
    trap_exit(true);
    EXPECT_EQ(start_link<Cell>(10ms, {.name = "late"}, How::waits_for_ever).error().kind, StartFailure::timeout);
    while (whereis("late")) sleep(1ms);
    EXPECT_TRUE(mailbox_empty());
    EXPECT_EQ(start_monitor<Cell>(10ms, {}, How::waits_for_ever).error().kind, StartFailure::timeout);
    sleep(10ms);
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_P(ServerTest, Rule_9_3_ALinkedStartThatFails) {
  run([] {
    const Monitored unaware = spawn_monitor([] { (void)start_link<Cell>(5s, {}, How::exits); });
    EXPECT_EQ(await_down(unaware), Reason("disk_full"));
    const Monitored ignoring = spawn_monitor([] {
      EXPECT_EQ(start_link<Cell>(5s, {}, How::ignores).error().kind, StartFailure::ignored);
      exit(Reason("survived"));
    });
    EXPECT_EQ(await_down(ignoring), Reason("survived"));
    trap_exit(true);
    EXPECT_EQ(start_link<Cell>(5s, {}, How::exits).error(), (StartError{StartFailure::failed, Reason("disk_full")}));
    EXPECT_EQ(receive(
                  0s, [](Exit& exit) { return exit.reason; }, [](Timeout) { return Reason("none"); }),
              Reason("disk_full"));
  });
}

TEST_P(ServerTest, Rule_9_3_ItsNameIsFreeWhenAStartHasFailed) {
  run([] {
    for (int i = 0; i < 200; ++i) {
      EXPECT_EQ(erlking::start<Cell>(5s, {.name = "phoenix"}, How::exits).error().kind, StartFailure::failed);
    }
    const Started there = erlking::start<Cell>(5s, {.name = "phoenix"}, How::well);
    ASSERT_TRUE(there);
    EXPECT_EQ(erlking::start<Cell>(5s, {.name = "phoenix"}, How::well).error(),
              (StartError{StartFailure::already_started, {}, *there}));
  });
}

TEST_P(ServerTest, Rule_9_4_AMonitoredStart) {
  run([] {
    const auto made = start_monitor<Cell>(5s, {}, 1);
    ASSERT_TRUE(made);
    exit(made->pid, reason::kill);
    EXPECT_EQ(await_down(*made), reason::killed);
    EXPECT_FALSE(start_monitor<Cell>(5s, {}, How::exits));
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_P(ServerTest, Rule_9_5_OnlyALinkedStartHasAParent) {
  run([] {
    trap_exit(true);
    const Started free = erlking::start<Cell>(5s, {}, 0);
    (void)call(*free, Trap{}, 5s);
    exit(*free, Reason("from_its_starter"));
    EXPECT_EQ(call(*free, Log{}, 1s)->back(), "exit from_its_starter");
    EXPECT_TRUE(sys::stop(*free, reason::normal, 5s));
  });
}

TEST_P(ServerTest, Rule_9_6_StopComesAfterWhatWasSentBefore) {
  run([] {
    const Started cell = erlking::start<Cell>(5s, {.mailbox = 4}, 0);
    send(*cell, Watching{self()});
    send(*cell, Set{1});
    EXPECT_TRUE(sys::stop(*cell, Reason("enough"), 5s));
    EXPECT_EQ(terminated_with(), Reason("enough"));
    EXPECT_EQ(sys::stop(*cell, reason::normal, 5s).error().kind, CallFailure::noproc);

    const Started failing = erlking::start<Cell>(5s, {}, 0);
    send(*failing, FailInTerminate{});
    const auto ended = sys::stop(*failing, reason::normal, 5s);
    EXPECT_EQ(ended.error().kind, CallFailure::died);
    EXPECT_TRUE(ended.error().why.is_exception());

    const Pid deaf = spawn(wait_forever);
    EXPECT_EQ(sys::stop(deaf, reason::normal, 10ms).error().kind, CallFailure::timeout);
    EXPECT_EQ(sys::stop(self(), reason::normal, 10ms).error().kind, CallFailure::calling_self);
    exit(deaf, reason::kill);
  });
}

TEST_P(ServerTest, Rule_10_1_WhatAConstructorCanSay) {
  run([] {
    EXPECT_TRUE(erlking::start<Cell>(5s, {}, How::well));
    const Started thrown = erlking::start<Cell>(5s, {}, How::throws);
    EXPECT_EQ(thrown.error().kind, StartFailure::failed);
    EXPECT_EQ(thrown.error().why.what(), "not today");
    EXPECT_FALSE(thrown.error().why.backtrace().empty());
    EXPECT_EQ(erlking::start<Cell>(5s, {}, How::ignores).error().kind, StartFailure::ignored);
    EXPECT_EQ(erlking::start<Cell>(5s, {.mailbox = 0}, 1).error().kind, StartFailure::bad_options);
  });
}

TEST_P(ServerTest, Rule_10_2_ACallbackThatFailsEndsTheServer) {
  run([] {
    const auto thrower = start_monitor<Cell>(5s, {}, 0);
    const auto answer = call(thrower->pid, Fail{}, 1s);
    EXPECT_EQ(answer.error().kind, CallFailure::died);
    const Reason why = await_down(*thrower);
    EXPECT_EQ(why.what(), "out of sorts");
    EXPECT_FALSE(why.backtrace().empty());
    const auto leaver = start_monitor<Cell>(5s, {}, 0);
    send(leaver->pid, Leave{Reason("bored")});
    EXPECT_EQ(await_down(*leaver), Reason("bored"));
  });
}

TEST_P(ServerTest, Rule_10_3_WhatACallCanComeTo) {
  run([] {
    const auto cell = start_monitor<Cell>(5s, {}, 0);
    EXPECT_EQ(call(cell->pid, Later{}, 10ms).error().kind, CallFailure::timeout);
    EXPECT_EQ(call(cell->pid, StopWith{reason::normal}, 1s), 7);
    await_down(*cell);
    EXPECT_EQ(call(cell->pid, Get{}, 1s).error().kind, CallFailure::noproc);
    EXPECT_EQ(call(self(), Get{}, 1s).error().kind, CallFailure::calling_self);
  });
}

TEST_P(ServerTest, Rule_10_4_ALateReplyIsNeverSeen) {
  run([] {
    const Started cell = erlking::start<Cell>(5s, {}, 5);
    EXPECT_EQ(call(*cell, Later{}, 10ms).error().kind, CallFailure::timeout);
    send(*cell, Release{});
    EXPECT_EQ(call(*cell, Get{}, 1s), 5);
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_P(ServerTest, Rule_10_5_ARequestCanBeAnsweredLater) {
  run([] {
    const Started cell = erlking::start<Cell>(5s, {}, 6);
    const Pid me = self();
    for (int i = 0; i < 3; ++i) {
      spawn([me, to = *cell] { send(me, Set{call(to, Later{}, 5s).value_or(-1)}); });
    }
    sleep(5ms);
    send(*cell, Release{});
    for (int i = 0; i < 3; ++i) EXPECT_EQ(receive(5s, [](Set set) { return set.value; }), 6);
    send(*cell, Release{});  // nobody waits any more: nothing
    EXPECT_EQ(call(*cell, Get{}, 1s), 6);
  });
}

TEST_P(ServerTest, Rule_10_6_TerminateComesBeforeTheReply) {
  run([] {
    const auto cell = start_monitor<Cell>(5s, {}, 0);
    send(cell->pid, Watching{self()});
    EXPECT_EQ(call(cell->pid, StopWith{Reason("done")}, 1s), 7);
    EXPECT_EQ(receive(0s, [](Terminated& t) { return t.why; }), Reason("done"));
    EXPECT_EQ(await_down(*cell), Reason("done"));

    const auto failing = start_monitor<Cell>(5s, {}, 0);
    send(failing->pid, FailInTerminate{});
    EXPECT_EQ(call(failing->pid, StopWith{reason::normal}, 1s), 7);
    EXPECT_EQ(await_down(*failing).what(), "terminate failed");
  });
}

TEST_P(ServerTest, Rule_10_7_WhatOneSenderSendsIsHandledInItsOrder) {
  run([] {
    const Started cell = erlking::start<Cell>(5s, {}, 0);
    for (int i = 1; i <= 500; ++i) {
      ASSERT_EQ(send(*cell, Set{i}, 5s), Delivery::queued);
      if (i % 50 == 0) {
        ASSERT_EQ(call(*cell, Get{}, 5s), i);
      }
    }
    EXPECT_EQ(send(Pid{}, Set{1}), Delivery::noproc);
  });
}

TEST_P(ServerTest, Rule_10_8_AnIdleTimeoutThatAnyMessageEnds) {
  run([] {
    const Started cell = erlking::start<Cell>(5s, {}, 0);
    const auto log = [&] { return *call(*cell, Log{}, 5s); };
    send(*cell, IdleAfter{20ms});
    sleep(50ms);
    EXPECT_EQ(log(), (std::vector<std::string>{"timeout"}));
    sleep(50ms);
    EXPECT_EQ(log().size(), 1u) << "asked for once, it comes once";
    send(*cell, IdleAfter{20ms});
    send(*cell, Set{1});
    sleep(50ms);
    EXPECT_EQ(log(), (std::vector<std::string>{"timeout", "set 1"}));
  });
}

TEST_P(ServerTest, Rule_10_8_AnIdleTimeoutOfZeroComesAtOnce) {
  run([] {
    const Started cell = erlking::start<Cell>(5s, {}, 0);
    send(*cell, IdleAfter{0ms});
    sleep(20ms);
    EXPECT_EQ(call(*cell, Log{}, 1s), (std::vector<std::string>{"timeout"}));
  });
}

TEST_P(ServerTest, Rule_10_8_AMessageThatIsThereWinsOverAnIdleTimeoutOfZero) {
  run([] {
    const Started cell = erlking::start<Cell>(5s, {}, 0);
    ASSERT_TRUE(sys::suspend(*cell, 1s));  // so that both are there when it goes on
    send(*cell, IdleAfter{0ms});
    send(*cell, Set{1});
    ASSERT_TRUE(sys::resume(*cell, 1s));
    sleep(20ms);
    EXPECT_EQ(call(*cell, Log{}, 1s), (std::vector<std::string>{"set 1"}));
  });
}

TEST_P(ServerTest, Rule_10_8_AQuestionOfTheSystemStartsAnIdleTimeoutAnew) {
  if (GetParam().clock != ClockKind::manual) GTEST_SKIP() << "times are compared";
  run([] {
    const Started cell = erlking::start<Cell>(5s, {}, 0);
    send(*cell, IdleAfter{100ms});
    sleep(60ms);
    EXPECT_TRUE(sys::resume(*cell, 1s));
    sleep(60ms);
    EXPECT_TRUE(sys::resume(*cell, 1s));
    sleep(60ms);
    (void)call(*cell, Trap{}, 5s);
    EXPECT_TRUE(call(*cell, Log{}, 1s)->empty());
    send(*cell, IdleAfter{100ms});
    EXPECT_TRUE(sys::resume(*cell, 1s));
    sleep(150ms);
    EXPECT_EQ(call(*cell, Log{}, 1s)->size(), 1u);
    EXPECT_TRUE(sys::stop(*cell, reason::normal, 5s));
  });
}

TEST_P(ServerTest, Rule_10_9_WhatContinuesComesBeforeAnyMessage) {
  run([] {
    const Started cell = erlking::start<Cell>(5s, {}, 0);
    ASSERT_TRUE(sys::suspend(*cell, 1s));  // so that the messages are all there when it goes on
    const Pid me = self();
    spawn([me, to = *cell] { send(me, Set{call(to, Steps{{"one", "two", "three"}}, 5s).value_or(-1)}); });
    sleep(5ms);
    send(*cell, Set{9});
    ASSERT_TRUE(sys::resume(*cell, 1s));
    EXPECT_EQ(receive(5s, [](Set set) { return set.value; }), 1);
    EXPECT_EQ(call(*cell, Log{}, 1s), (std::vector<std::string>{"one", "two", "three", "set 9"}));
  });
}

TEST_P(ServerTest, Rule_10_10_WhenTerminateRuns) {
  run([] {
    const auto ends_by = [](auto&& end) {
      const auto cell = start_monitor<Cell>(5s, {}, 0);
      send(cell->pid, Watching{self()});
      end(cell->pid);
      await_down(*cell);
      return terminated_with();
    };
    EXPECT_EQ(ends_by([](Pid pid) { (void)call(pid, StopWith{Reason("a")}, 1s); }), Reason("a"));
    EXPECT_EQ(ends_by([](Pid pid) { send(pid, Leave{Reason("b")}); }), Reason("b"));
    EXPECT_EQ(ends_by([](Pid pid) { (void)call(pid, Fail{}, 1s); })->what(), "out of sorts");
    EXPECT_EQ(ends_by([](Pid pid) { (void)sys::stop(pid, Reason("c"), 1s); }), Reason("c"));
    EXPECT_EQ(ends_by([](Pid pid) { (void)call(pid, UnknownRequest{}, 1s); })->name(), "unknown_request");
    EXPECT_EQ(ends_by([](Pid pid) { exit(pid, reason::kill); }), std::nullopt);
    EXPECT_EQ(ends_by([](Pid pid) { exit(pid, Reason("d")); }), std::nullopt);
    EXPECT_EQ(ends_by([](Pid pid) {
                (void)call(pid, Trap{}, 5s);
                exit(pid, reason::kill);
              }),
              std::nullopt);
  });
}

TEST_P(ServerTest, Rule_10_11_TheEndOfItsParentEndsAServerThatTraps) {
  run([] {
    for (const Reason& why : {reason::normal, reason::shutdown, Reason("gone")}) {
      const Pid me = self();
      const Pid parent = spawn([me, why] {
        const Started cell = start_link<Cell>(5s, {}, 0);
        send(*cell, Watching{me});
        (void)call(*cell, Trap{}, 5s);
        send(me, Watching{*cell});
        receive(5s, [&](Release) {});
        exit(why);
      });
      const Pid cell = receive(5s, [](Watching watching) { return watching.who; });
      const MonitorRef ref = monitor(cell);
      const Pid stranger = spawn([cell] { exit(cell, reason::shutdown); });
      await_down(monitor(stranger));
      EXPECT_EQ(call(cell, Log{}, 1s), (std::vector<std::string>{"exit shutdown"})) << "anybody else's is a message";
      send(parent, Release{});
      EXPECT_EQ(await_down(ref), why);
      EXPECT_EQ(terminated_with(), why);
    }
    // Not trapping: the parent's normal exit is ignored.
    const Pid me = self();
    spawn([me] { send(me, Watching{*start_link<Cell>(5s, {}, 2)}); });
    const Pid orphan = receive(5s, [](Watching watching) { return watching.who; });
    sleep(5ms);
    EXPECT_EQ(call(orphan, Get{}, 1s), 2);
  });
}

TEST_P(ServerTest, Rule_10_12_AnOrderlyEndIsNotReported) {
  run([] {
    for (const Reason& why : {reason::normal, reason::shutdown, Reason::shutdown("moving")}) {
      EXPECT_TRUE(sys::stop(*erlking::start<Cell>(5s, {}, 0), why, 5s));
    }
  });
  EXPECT_TRUE(reports().empty());
  run([] { (void)call(*erlking::start<Cell>(5s, {}, 0), Fail{}, 1s); });
  ASSERT_TRUE(drive([&] { return !reports().empty(); }));
  EXPECT_NE(reports().front().text.find("out of sorts"), std::string::npos);
}

TEST_P(ServerTest, Rule_10_13_WhatItDoesNotKnow) {
  run([] {
    const auto cell = start_monitor<Cell>(5s, {}, 3);
    send(cell->pid, Unknown{});
    EXPECT_EQ(call(cell->pid, Get{}, 1s), 3);
    EXPECT_EQ(call(cell->pid, UnknownRequest{}, 1s).error().kind, CallFailure::died);
    EXPECT_EQ(await_down(*cell).name(), "unknown_request");
    auto seen = std::make_shared<std::vector<std::string>>();
    const Started other = erlking::start<Other>(5s, {}, seen);
    send(*other, Unknown{});
    EXPECT_EQ(call(*other, UnknownRequest{}, 1s).error().kind, CallFailure::died) << "on_other() let go of it";
    EXPECT_EQ(call(*other, Get{}, 1s), 1);
    EXPECT_EQ(seen->size(), 2u);
  });
  bool logged = false;
  for (const Report& report : reports()) logged |= report.text.find("does not handle") != std::string::npos;
  EXPECT_TRUE(logged);
}

TEST_P(ServerTest, Rule_10_17_SuspendAndResume) {
  run([] {
    const Started cell = erlking::start<Cell>(5s, {}, 1);
    ASSERT_TRUE(sys::suspend(*cell, 1s));
    ASSERT_TRUE(sys::suspend(*cell, 1s));
    send(*cell, Set{2});
    EXPECT_EQ(call(*cell, Get{}, 10ms).error().kind, CallFailure::timeout);
    EXPECT_EQ(process_info(*cell, 1s)->mailbox_depth, 2u) << "what comes takes its place in the bound";
    ASSERT_TRUE(sys::resume(*cell, 1s));
    ASSERT_TRUE(sys::resume(*cell, 1s));
    EXPECT_EQ(call(*cell, Get{}, 1s), 2);
    ASSERT_TRUE(sys::suspend(*cell, 1s));
    EXPECT_TRUE(sys::stop(*cell, reason::normal, 1s));
    EXPECT_EQ(sys::suspend(*cell, 1s).error().kind, CallFailure::noproc);
  });
}

TEST_P(ServerTest, Rule_10_17_ASuspendedServerEndsWithItsParent) {
  run([] {
    const Pid me = self();
    const Pid parent = spawn([me] {
      const Started cell = start_link<Cell>(5s, {}, 0);
      (void)call(*cell, Trap{}, 5s);
      (void)sys::suspend(*cell, 1s);
      send(me, Watching{*cell});
      wait_forever();
    });
    const MonitorRef ref = monitor(receive(5s, [](Watching watching) { return watching.who; }));
    exit(parent, Reason("gone"));
    EXPECT_EQ(await_down(ref), Reason("gone"));
  });
}

TEST_P(ServerTest, Rule_10_17_StateIsReadAndReplaced) {
  run([] {
    const Started plain = erlking::start<Plain>(5s, {});
    EXPECT_EQ(sys::get_state<Plain>(*plain, 1s)->value, 1);
    EXPECT_EQ(sys::replace_state<Plain>(
                  *plain, [](Plain& p) { p.value += 4; }, 1s)
                  ->value,
              5);
    const auto failed = sys::replace_state<Plain>(
        *plain,
        [](Plain& p) {
          p.value = 100;
          throw std::runtime_error("no");
        },
        1s);
    EXPECT_EQ(failed.error(), (CallError{CallFailure::refused, Reason("exception", "no")}));
    ASSERT_TRUE(sys::suspend(*plain, 1s));
    EXPECT_EQ(sys::get_state<Plain>(*plain, 1s)->value, 5) << "as it was, and also while suspended";
    const Started cell = erlking::start<Cell>(5s, {}, 1);
    EXPECT_EQ(sys::get_state<Plain>(*cell, 1s).error().kind, CallFailure::refused);
  });
}

TEST_P(ServerTest, Rule_14_6_TheSystemIsHeardWhenTheMailboxIsFull) {
  run([] {
    const Started cell = erlking::start<Cell>(5s, {.mailbox = 1}, 0);
    ASSERT_TRUE(sys::suspend(*cell, 1s));
    EXPECT_EQ(send(*cell, Set{1}), Delivery::queued);
    EXPECT_EQ(send(*cell, Set{2}), Delivery::full);
    EXPECT_TRUE(sys::resume(*cell, 1s));
    EXPECT_TRUE(sys::suspend(*cell, 1s));
    EXPECT_EQ(send(*cell, Set{3}), Delivery::queued);
    EXPECT_TRUE(sys::stop(*cell, reason::normal, 1s));
  });
}

TEST_P(ServerTest, Rule_10_18_ItsCallsEndWhenItsCallerGivesUp) {
  if (GetParam().clock != ClockKind::manual) GTEST_SKIP() << "times are compared";
  run([] {
    const Started cell = erlking::start<Cell>(5s, {}, 0);
    const Started slow = erlking::start<Cell>(5s, {}, 0);  // never answers Later
    const auto begin = now();
    EXPECT_EQ(call(*cell, Ask{*slow, 1h}, 1s).error().kind, CallFailure::timeout);
    EXPECT_EQ(call(*cell, Get{}, 10s), 0);
    EXPECT_LE(now() - begin, 2s) << "it did not wait for the hour";
    EXPECT_EQ(call(*cell, Ask{*slow, 10ms}, 1s), CallFailure::timeout) << "its own bound, if that is tighter";
    EXPECT_EQ(call(*cell, Ask{*slow, 2s, true}, 1s).error().kind, CallFailure::timeout);
    EXPECT_EQ(call(*cell, Get{}, 500ms).error().kind, CallFailure::timeout) << "detached, it waits on";
    EXPECT_EQ(call(*cell, TellDeadline{}, forever), Clock::time_point::max());
    const auto told = call(*cell, TellDeadline{}, 5s);
    ASSERT_TRUE(told);
    EXPECT_EQ(*told, now() + 5s);
  });
}

TEST_P(ServerTest, StartsAndStopsByTheThousandLeaveNothing) {
  const unsigned servers = options.scheduler == "threads" ? 100 : 2'000;
  run([servers] {
    for (int round = 0; round < 3; ++round) {
      std::vector<Pid> all;
      for (unsigned i = 0; i < servers; ++i) all.push_back(erlking::start<Cell>(5s, {}, static_cast<int>(i)).value());
      for (unsigned i = 0; i < servers; ++i) ASSERT_EQ(call(all[i], Get{}, 5s), static_cast<int>(i));
      for (Pid pid : all) exit(pid, reason::kill);
    }
  });
}

TEST_P(ServerTest, KilledInEveryStateItAnswersWhoStartsIt) {
  run([] {
    // Kills come while it is born, starts, and works; each start has one outcome.
    for (int i = 0; i < 300; ++i) {
      const Pid killer = spawn([i] {
        for (int turn = 0; turn < i % 7; ++turn) yield();
        if (const auto victim = whereis("target")) exit(*victim, reason::kill);
      });
      const Started made = erlking::start<Cell>(5s, {.name = "target"}, i);
      if (!made) {
        EXPECT_EQ(made.error(), (StartError{StartFailure::failed, reason::killed}));
      } else {
        const MonitorRef ref = monitor(*made);
        exit(*made, reason::kill);
        await_down(ref);
      }
      exit(killer, reason::kill);
    }
  });
}

}  // namespace
}  // namespace erlking::testing
