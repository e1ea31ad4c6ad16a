// Supervisors, rule by rule (SEMANTICS §12): specs, starts, verbs, and how they end their children and themselves. What
// makes them restart is in supervisor_restart_test.cc.
#include "tests/support/supervisor_fixture.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace erlking::testing {
namespace {

// --- specs -----------------------------------------------------------------------------------------------------------

TEST_F(SupervisorTest, Rule_12_1_TheDefaultsAreOtps) {
  run([&] {
    const Pid s = supervise({.children = {member("a"), supervisor("b", {})}});
    const auto a = get_childspec(s, "a", 1s);
    ASSERT_TRUE(a.has_value());
    EXPECT_EQ(a->options.restart, permanent);
    EXPECT_EQ(a->options.shutdown, Shutdown(5s));
    EXPECT_FALSE(a->options.significant);
    EXPECT_EQ(a->type, ChildType::worker);
    const auto b = get_childspec(s, "b", 1s);
    ASSERT_TRUE(b.has_value());
    EXPECT_EQ(b->options.shutdown, Shutdown(forever));
    EXPECT_EQ(b->type, ChildType::supervisor);
    const SupervisorSpec plain;
    EXPECT_EQ(plain.strategy, one_for_one);
    EXPECT_EQ(plain.intensity, (Intensity{1, 5s}));
    EXPECT_EQ(plain.auto_shutdown, AutoShutdown::never);
    const auto info = process_info(s, 1s);
    ASSERT_TRUE(info.has_value());
    EXPECT_TRUE(info->trap_exit);
  });
}

TEST_F(SupervisorTest, Rule_12_2_ABadSpecIsRefusedWithItsReason) {
  const auto with = [](SupervisorSpec spec, auto&& change) {
    change(spec);
    return spec;
  };
  const auto one = [&](auto&& change) {
    SupervisorSpec spec{.children = {member("a")}};
    change(spec.children[0]);
    return spec;
  };
  struct Case {
    SupervisorSpec spec;
    Reason why;
  };
  const Case cases[] = {
      {with({}, [](auto& s) { s.strategy = static_cast<Strategy>(9); }), Reason("supervisor_data", "invalid_strategy")},
      {{.intensity = {-1, 5s}}, Reason("supervisor_data", "invalid_intensity")},
      {{.intensity = {1, 0s}}, Reason("supervisor_data", "invalid_period")},
      {with({}, [](auto& s) { s.auto_shutdown = static_cast<AutoShutdown>(9); }),
       Reason("supervisor_data", "invalid_auto_shutdown")},
      {{.strategy = simple_one_for_one}, Reason("bad_start_spec")},
      {{.strategy = simple_one_for_one, .children = members({"a", "b"})}, Reason("bad_start_spec")},
      {one([](ChildSpec& c) { c.id.clear(); }), Reason("start_spec", "missing_id")},
      {one([](ChildSpec& c) { c.start = {}; }), Reason("start_spec", "missing_start: a")},
      {one([](ChildSpec& c) { c.options.restart = static_cast<Restart>(9); }),
       Reason("start_spec", "invalid_restart_type: a")},
      {one([](ChildSpec& c) { c.type = static_cast<ChildType>(9); }), Reason("start_spec", "invalid_child_type: a")},
      {one([](ChildSpec& c) { c.options.shutdown = -1s; }), Reason("start_spec", "invalid_shutdown: a")},
      {one([](ChildSpec& c) { c.options.significant = true; }), Reason("start_spec", "bad_combination: a")},
      {one([](ChildSpec& c) { c.options = {.restart = transient, .significant = true}; }),
       Reason("start_spec", "bad_combination: a")},
      {with({.auto_shutdown = AutoShutdown::any_significant, .children = {member("a", {.significant = true})}},
            [](auto&) {}),
       Reason("start_spec", "bad_combination: a")},
      {{.children = members({"a", "b", "a"})}, Reason("start_spec", "duplicate_child_name: a")},
      {{.children = {child("a", {}, [](int) {})}}, Reason("start_spec", "missing_arguments: a")},
      {one([](ChildSpec& c) {
         c.options.intensity = Intensity{-1, 1s};
       }),
       Reason("start_spec", "invalid_intensity: a")},
      {one([](ChildSpec& c) { c.options.backoff = {.first = 2s, .most = 1s}; }),
       Reason("start_spec", "invalid_backoff: a")},
      {{.children = members({"a", "b"}), .max_children = 1}, Reason("supervisor_data", "invalid_max_children")},
  };
  run([&] {
    trap_exit(true);
    for (const Case& bad : cases) {
      EXPECT_EQ(check(bad.spec), bad.why);
      const Started made = start_link(1s, bad.spec);
      ASSERT_FALSE(made.has_value()) << bad.why.to_string();
      EXPECT_EQ(made.error(), (StartError{StartFailure::failed, bad.why}));
      receive(1s, [&](Exit& exit) { EXPECT_EQ(exit.reason, bad.why); });
    }
    EXPECT_TRUE(trace->take().empty()) << "a child of a bad spec was started";
    EXPECT_EQ(check({.children = members({"a", "b"})}), std::nullopt);
  });
}

// --- starting --------------------------------------------------------------------------------------------------------

TEST_F(SupervisorTest, Rule_12_3_ChildrenStartInOrderAndEndInReverse) {
  run([&] {
    trap_exit(true);
    const Started made = start_link(10s, {.children = members({"a", "b", "c"})});
    ASSERT_TRUE(made.has_value());
    EXPECT_EQ(trace->take(), (Strings{"a up", "b up", "c up"}));
    end(*made);
    EXPECT_EQ(trace->take(), (Strings{"c down", "b down", "a down"}));
  });
}

TEST_F(SupervisorTest, Rule_12_3_AFailedStartEndsThoseBeforeInReverse) {
  run([&] {
    trap_exit(true);
    const auto starts = std::make_shared<Starts>();
    starts->set({How::fails});
    const Started made =
        start_link(10s, {.children = {member("a"), member("b"), member("c", {}, starts), member("d")}});
    ASSERT_FALSE(made.has_value());
    const Reason why = Reason::shutdown("failed_to_start_child: c: cannot");
    EXPECT_EQ(made.error(), (StartError{StartFailure::failed, why}));
    EXPECT_EQ(trace->take(), (Strings{"a up", "b up", "c fails", "b down", "a down"}));
    receive(1s, [&](Exit& exit) { EXPECT_EQ(exit.reason, why); });
  });
}

TEST_F(SupervisorTest, Rule_12_4_WhatAStartFunctionMayReturn) {
  run([&] {
    const auto never = [](Reason why) {
      return [why]() -> Started { return std::unexpected(StartError{StartFailure::failed, why}); };
    };
    const Pid s = supervise({.intensity = {0, 1s}});
    const auto start = [&](auto f) { return start_child(s, child("x", {}, f), 10s); };
    const auto ok = start([]() -> Started { return spawn_link(wait_forever); });
    ASSERT_TRUE(ok.has_value());
    EXPECT_TRUE(is_alive(*ok, 1s));
    ASSERT_TRUE(terminate_child(s, "x", 10s).has_value());
    ASSERT_TRUE(delete_child(s, "x", 10s).has_value());

    const auto fails = [&](const std::expected<Pid, ChildError>& answer, const Reason& why) {
      ASSERT_FALSE(answer.has_value());
      EXPECT_EQ(answer.error(), (ChildError{ChildFailure::failed, why}));
      EXPECT_EQ(failure(which_child(s, "x", 1s)), ChildFailure::not_found) << "the spec was kept";
    };
    fails(start(never(Reason("no_disk"))), Reason("no_disk"));
    fails(start([]() -> Started { return Pid{}; }), Reason("bad_return"));
    fails(start([]() -> Started { exit(Reason("left")); }), Reason("left"));
    const auto threw = start([]() -> Started { throw std::runtime_error("oops"); });
    ASSERT_FALSE(threw.has_value());
    EXPECT_EQ(threw.error().why.what(), "oops");
    EXPECT_TRUE(is_alive(s, 1s));

    // ignore: kept as undefined; a temporary one is not kept
    const auto ignores = []() -> Started { return std::unexpected(StartError{StartFailure::ignored}); };
    EXPECT_EQ(start(ignores), Pid{});
    EXPECT_EQ(ids_of(s), (Strings{"-x"}));
    EXPECT_EQ(start_child(s, child("y", {.restart = temporary}, ignores), 1s), Pid{});
    EXPECT_EQ(ids_of(s), (Strings{"-x"}));
    // a process that is not linked is a child whose death goes unnoticed
    const auto loose = start_child(s, child("z", {}, []() -> Started { return spawn(wait_forever); }), 1s);
    ASSERT_TRUE(loose.has_value());
    const MonitorRef ref = monitor(*loose);
    exit(*loose, reason::kill);
    await_down(ref);
    EXPECT_EQ(ids_of(s), (Strings{"z", "-x"}));
    end(s);
  });
}

TEST_F(SupervisorTest, AFunctionIsRunAsAProcessWithCopiesOfItsArguments) {
  run([&] {
    const Pid me = self();
    const auto tell = [](Pid to, const std::string& what) {
      send(to, std::string(what));
      wait_forever();
    };
    const Pid s =
        supervise({.intensity = {5, 1s}, .children = {child("f", {.spawn = {.name = "f"}}, tell, me, "hello")}});
    const auto said = [] { return receive(10s, [](std::string& text) { return text; }); };
    EXPECT_EQ(said(), "hello");
    exit(pid_of("f"), Reason("again"));
    EXPECT_EQ(said(), "hello");
    EXPECT_EQ(start_child(s, child("g", {.spawn = {.name = "f"}}, tell, me, "no"), 1s).error(),
              (ChildError{ChildFailure::failed, Reason("already_started")}));
    EXPECT_EQ(start_child(s, child("g", {.spawn = {.mailbox = 0}}, tell, me, "no"), 1s).error(),
              (ChildError{ChildFailure::failed, Reason("bad_options")}));
    end(s);
  });
}

TEST_F(SupervisorTest, AStartThatTakesTooLongFails) {
  run([&] {
    class Slow : public Server {
     public:
      using Handles = Messages<Die>;
      Slow() { sleep(1h); }
      void on(Die&) {}
    };
    const Pid s = supervise({});
    EXPECT_EQ(start_child(s, child<Slow>("slow", {.start_within = 1s}), 1min).error(),
              (ChildError{ChildFailure::failed, Reason("timeout")}));
    end(s);
  });
}

// --- verbs -----------------------------------------------------------------------------------------------------------

TEST_F(SupervisorTest, Rule_12_12_TerminateRestartDeleteStart) {
  run([&] {
    const Pid s = supervise({.children = {member("a"), member("t", {.restart = temporary})}});
    const Pid a = pid_of("a");
    EXPECT_EQ(failure(terminate_child(s, "nobody", 1s)), ChildFailure::not_found);
    EXPECT_EQ(failure(restart_child(s, "nobody", 1s)), ChildFailure::not_found);
    EXPECT_EQ(failure(delete_child(s, "nobody", 1s)), ChildFailure::not_found);
    EXPECT_EQ(failure(get_childspec(s, "nobody", 1s)), ChildFailure::not_found);
    EXPECT_EQ(restart_child(s, "a", 1s).error(), (ChildError{ChildFailure::running, {}, a}));
    EXPECT_EQ(delete_child(s, "a", 1s).error(), (ChildError{ChildFailure::running, {}, a}));
    EXPECT_EQ(start_child(s, member("a"), 1s).error(), (ChildError{ChildFailure::already_started, {}, a}));

    EXPECT_TRUE(terminate_child(s, "a", 10s).has_value());
    EXPECT_EQ(trace->take(), (Strings{"a down"}));
    EXPECT_TRUE(terminate_child(s, "a", 10s).has_value()) << "also when it is not running";
    EXPECT_EQ(failure(start_child(s, member("a"), 1s)), ChildFailure::already_present);
    EXPECT_TRUE(restart_child(s, "a", 1s).has_value());
    EXPECT_TRUE(terminate_child(s, "a", 10s).has_value());
    EXPECT_TRUE(delete_child(s, "a", 1s).has_value());
    EXPECT_EQ(ids_of(s), (Strings{"t"}));
    EXPECT_TRUE(terminate_child(s, "t", 10s).has_value());
    EXPECT_EQ(failure(which_child(s, "t", 1s)), ChildFailure::not_found) << "a temporary child's spec goes with it";
    EXPECT_TRUE(start_child(s, member("a"), 1s).has_value());
    EXPECT_EQ(failure(terminate_child(s, *whereis("a"), 1s)), ChildFailure::not_found);
    end(s);
    EXPECT_EQ(failure(count_children(s, 1s)), ChildFailure::noproc);
    EXPECT_EQ(failure(count_children(self(), 1s)), ChildFailure::calling_self);
  });
}

TEST_F(SupervisorTest, Rule_12_12_TerminateStopsTheRetrying) {
  run([&] {
    const auto starts = std::make_shared<Starts>();
    const Pid s = supervise({.intensity = {1'000'000, 1h}, .children = {member("a", {}, starts)}});
    starts->set(std::vector<How>(1'000'000, How::fails));
    die("a", Reason("crash"));
    ASSERT_TRUE(terminate_child(s, "a", 10s).has_value());
    EXPECT_EQ(ids_of(s), (Strings{"-a"}));
    const int tries = starts->tries();
    sleep(1s);
    EXPECT_EQ(starts->tries(), tries);
    starts->set({});
    EXPECT_TRUE(restart_child(s, "a", 1s).has_value());
    end(s);
  });
}

TEST_F(SupervisorTest, Rule_12_13_WhichAndCount) {
  run([&] {
    const Pid s = supervise(
        {.intensity = {9, 1s},
         .children = {member("a"), supervisor("sub", {}), member("gone", {.restart = transient}), member("z")}});
    die("gone", reason::normal);
    die("a", Reason("crash"));
    EXPECT_EQ(ids_of(s), (Strings{"z", "-gone", "sub", "a"})) << "newest first, a restarted one in its place";
    const auto children = which_children(s, 1s);
    EXPECT_EQ(children->at(3).pid, pid_of("a"));
    EXPECT_EQ(children->at(3).restarts, 1u);
    EXPECT_EQ(children->at(2).type, ChildType::supervisor);
    EXPECT_EQ(count_children(s, 1s), (ChildCounts{4, 3, 1, 3}));
    end(s);
  });
}

TEST_F(SupervisorTest, AFullMailboxRefusesNoVerb) {
  run([&] {
    trap_exit(true);
    const Started s = start_link(1s, {.mailbox = 1}, {.children = members({"a"})});
    ASSERT_TRUE(sys::suspend(*s, 1s).has_value());
    while (send(*s, Never{}) == Delivery::queued) {
    }
    const Pid helper = spawn_link([s = *s] { EXPECT_TRUE(terminate_child(s, "a", 10s).has_value()); });
    until_waiting(helper);
    ASSERT_TRUE(sys::resume(*s, 1s).has_value());
    EXPECT_EQ(await_exit(helper), reason::normal);
    EXPECT_EQ(ids_of(*s), (Strings{"-a"}));
    end(*s);
  });
}

// --- ending a child --------------------------------------------------------------------------------------------------

TEST_F(SupervisorTest, Rule_12_14_WhoDoesNotEndInTimeIsKilled) {
  run([&] {
    const Pid s = supervise({.children = {member("slow", {.shutdown = 5s}), member("mute", {.shutdown = 5s}),
                                          member("brutal", {.shutdown = Shutdown::brutal()})}});
    send(Name{"slow"}, Linger{4s});
    send(Name{"mute"}, Mute{});
    const auto before = now();
    EXPECT_TRUE(terminate_child(s, "slow", 1min).has_value());
    EXPECT_EQ(trace->take(), (Strings{"slow down"}));
    EXPECT_GE(now() - before, 4s);
    const Pid mute = pid_of("mute");
    EXPECT_TRUE(terminate_child(s, "mute", 1min).has_value());
    EXPECT_FALSE(is_alive(mute, 1s));
    EXPECT_TRUE(terminate_child(s, "brutal", 1min).has_value());
    EXPECT_TRUE(trace->take().empty());
    end(s);
  });
}

TEST_F(SupervisorTest, Rule_12_14_AChildThatHasUnlinkedItselfHangsNothing) {
  run([&] {
    const Pid s = supervise({.intensity = {0, 1s}, .children = members({"a", "b"})});
    const Pid a = pid_of("a"), b = pid_of("b");
    send(a, Unlink{s});
    send(b, Unlink{s});
    ASSERT_TRUE(is_alive(a, 1s) && is_alive(b, 1s));
    die("a", Reason("crash"));
    EXPECT_EQ(ids_of(s), (Strings{"b", "a"})) << "its death went unnoticed";
    EXPECT_TRUE(terminate_child(s, "a", 10s).has_value());
    EXPECT_TRUE(terminate_child(s, "b", 10s).has_value());
    EXPECT_FALSE(is_alive(b, 1s));
    EXPECT_EQ(ids_of(s), (Strings{"-b", "-a"}));
    end(s);
  });
}

TEST_F(SupervisorTest, Rule_12_14_AnotherReasonIsReportedAndTheStopGoesOn) {
  run([&] {
    const auto grumble = [] {
      trap_exit(true);
      receive(forever, [](Exit) {});
      exit(Reason("grumble"));
    };
    const Pid s = supervise({.children = {member("a"), child("g", {}, grumble), member("b")}});
    until_waiting(which_child(s, "g", 1s)->pid);
    end(s);
    EXPECT_EQ(trace->take(), (Strings{"b down", "a down"}));
  });
  const auto all = reports();
  EXPECT_TRUE(std::any_of(all.begin(), all.end(), [](const Report& report) {
    return report.text.find("shutdown_error") != std::string::npos && report.text.find("grumble") != std::string::npos;
  }));
}

// --- the supervisor's own end ----------------------------------------------------------------------------------------

TEST_F(SupervisorTest, Rule_12_15_ItEndsWithItsParentForAnyReason) {
  run([&] {
    for (const Reason& why : {reason::normal, reason::shutdown, Reason("crash")}) {
      const Pid me = self();
      const Pid parent = spawn([&, me, why] {
        const Started made = start_link(10s, {.children = members({"a", "b"})});
        send(me, Pid{*made});
        receive(forever, [](Die) {});
        exit(why);
      });
      const MonitorRef ref = monitor(receive(10s, [](Pid pid) { return pid; }));
      trace->take();
      send(parent, Die{});
      EXPECT_EQ(await_down(ref), why);
      EXPECT_EQ(trace->take(), (Strings{"b down", "a down"}));
    }
  });
}

TEST_F(SupervisorTest, Rule_12_15_OthersExitSignalsAreIgnoredButKillIsNot) {
  run([&] {
    const Pid s = supervise({.children = members({"a"})});
    const Monitored other = spawn_monitor([s] {
      for (const Reason& why : {reason::normal, reason::shutdown, Reason("go")}) exit(s, why);
    });
    await_down(other);
    EXPECT_EQ(ids_of(s), (Strings{"a"}));
    const MonitorRef ref = monitor(s), child = monitor(pid_of("a"));
    exit(s, reason::kill);
    EXPECT_EQ(await_down(ref), reason::killed);
    EXPECT_EQ(await_down(child), reason::killed);  // a server that traps: it is its parent's end
  });
}

TEST_F(SupervisorTest, Rule_12_15_AKilledSupervisorsTrappingChildIsOrphaned) {
  run([&] {
    const Pid me = self();
    const auto orphan = [me] {
      trap_exit(true);
      receive(forever, [me](Exit& exit) { send(me, Die{exit.reason}); });
      wait_forever();
    };
    const Pid s = supervise({.children = {child("o", {}, orphan)}});
    const Pid o = which_child(s, "o", 1s)->pid;
    until_waiting(o);
    exit(s, reason::kill);
    receive(10s, [](Die& die) { EXPECT_EQ(die.why, reason::killed); });
    EXPECT_TRUE(is_alive(o, 1s));
    exit(o, reason::kill);
  });
}

// --- simple_one_for_one ----------------------------------------------------------------------------------------------

void serve(Pid to, int number) {
  send(to, int{number});
  receive(forever, [](Die& die) { exit(die.why); });
}

TEST_F(SupervisorTest, Rule_12_16_InstancesOfATemplate) {
  run([&] {
    const Pid me = self();
    const Pid s =
        supervise({.strategy = simple_one_for_one, .intensity = {10, 1s}, .children = {child("conn", {}, serve, me)}});
    EXPECT_EQ(count_children(s, 1s), (ChildCounts{}));
    const auto number = [] { return receive(10s, [](int n) { return n; }); };
    const auto first = start_child(1s, s, 7);
    const auto second = start_child(1s, s, 8);
    ASSERT_TRUE(first && second);
    EXPECT_EQ(number() + number(), 15);
    EXPECT_EQ(start_child(1s, s, 7L).error().kind, ChildFailure::bad_spec);
    EXPECT_EQ(start_child(1s, s).error().kind, ChildFailure::bad_spec);

    send(*second, Die{Reason("crash")});
    EXPECT_EQ(number(), 8) << "a restart brings the same arguments";
    EXPECT_EQ(count_children(s, 1s), (ChildCounts{2, 2, 0, 2}));

    EXPECT_EQ(failure(terminate_child(s, "conn", 1s)), ChildFailure::simple_one_for_one);
    EXPECT_EQ(failure(restart_child(s, "conn", 1s)), ChildFailure::simple_one_for_one);
    EXPECT_EQ(failure(delete_child(s, "conn", 1s)), ChildFailure::simple_one_for_one);
    EXPECT_EQ(failure(start_child(s, child("x", {}, wait_forever), 1s)), ChildFailure::simple_one_for_one);
    EXPECT_EQ(failure(terminate_child(s, self(), 1s)), ChildFailure::not_found);
    EXPECT_TRUE(terminate_child(s, *first, 10s).has_value());
    EXPECT_TRUE(terminate_child(s, *first, 10s).has_value()) << "a dead pid is well";
    EXPECT_EQ(count_children(s, 1s), (ChildCounts{1, 1, 0, 1}));
    EXPECT_EQ(get_childspec(s, "conn", 1s)->options.shutdown, Shutdown(5s));
    end(s);
  });
}

TEST_F(SupervisorTest, Rule_12_16_ATransientInstanceThatIsDoneIsForgotten) {
  run([&] {
    const Pid s = supervise({.strategy = simple_one_for_one,
                             .intensity = {10, 1s},
                             .children = {child("conn", {.restart = transient}, serve, self(), each<int>)}});
    const auto made = start_child(1s, s, 1);
    ASSERT_TRUE(made.has_value());
    const MonitorRef ref = monitor(*made);
    send(*made, Die{reason::normal});
    await_down(ref);
    EXPECT_EQ(count_children(s, 1s), (ChildCounts{}));
    end(s);
  });
}

TEST_F(SupervisorTest, Rule_12_16_AllInstancesAreEndedAtOnceWithinOneTime) {
  run([&] {
    class Slow : public Server {
     public:
      using Handles = Messages<Die>;
      explicit Slow(Duration time) : time_(time) { trap_exit(true); }
      void on(Die&) {}
      void terminate(const Reason&) { sleep(time_); }

     private:
      Duration time_;
    };
    const Pid s = supervise(
        {.strategy = simple_one_for_one, .children = {child<Slow>("slow", {.shutdown = 3s}, each<Duration>)}});
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(start_child(1s, s, Duration(2s)).has_value());
    std::vector<MonitorRef> late;
    for (int i = 0; i < 3; ++i) late.push_back(monitor(*start_child(1s, s, Duration(1h))));
    const auto before = now();
    end(s);
    EXPECT_GE(now() - before, 3s);
    EXPECT_LT(now() - before, 4s);
    for (const MonitorRef ref : late) EXPECT_EQ(await_down(ref), reason::killed);
  });
}

TEST_F(SupervisorTest, Rule_12_16_AFailedRestartOfAnInstanceIsTriedAgain) {
  run([&] {
    const auto starts = std::make_shared<Starts>();
    const Pid s = supervise({.strategy = simple_one_for_one,
                             .intensity = {1'000'000, 1s},
                             .children = {child<Member>("m", {}, trace, each<std::string, StartsPtr>)}});
    const auto made = start_child(1s, s, std::string("x"), starts);
    ASSERT_TRUE(made.has_value());
    starts->set(std::vector<How>(5, How::fails));
    const MonitorRef ref = monitor(*made);
    send(*made, Die{Reason("crash")});
    await_down(ref);
    settled(s);
    EXPECT_EQ(count_children(s, 1s), (ChildCounts{1, 1, 0, 1}));
    EXPECT_EQ(starts->tries(), 7);
    const Pid now_it_is = which_children(s, 1s)->front().pid;
    starts->set(std::vector<How>(1'000'000, How::fails));
    const MonitorRef again = monitor(now_it_is);
    send(now_it_is, Die{Reason("crash")});
    await_down(again);
    EXPECT_TRUE(terminate_child(s, now_it_is, 10s).has_value()) << "by its last pid";
    EXPECT_EQ(count_children(s, 1s), (ChildCounts{}));
    end(s);
  });
}

}  // namespace
}  // namespace erlking::testing
