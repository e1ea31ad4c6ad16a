// Supervisors, rule by rule (SEMANTICS §12), and what they do beyond OTP. The children of most tests write what happens
// to them into a Trace.
#include "tests/support/runtime_fixture.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace erlking::testing {
namespace {

using Strings = std::vector<std::string>;
using State = ChildInfo::State;

/// What happened, in order; any thread adds.
class Trace {
 public:
  void add(std::string what) {
    std::lock_guard lock(mutex_);
    all_.push_back(std::move(what));
  }
  /// All since the last time.
  Strings take() {
    std::lock_guard lock(mutex_);
    return std::exchange(all_, {});
  }

 private:
  std::mutex mutex_;
  Strings all_;
};
using TracePtr = std::shared_ptr<Trace>;

struct Die {
  Reason why;
};
struct Unlink {
  Pid from;
};
struct Mute {};  // from now on shutdown is not heeded
struct Linger {  // … but takes so long
  Duration time;
};

/// How a child's starts go: one after the other, the last for ever.
struct Starts {
  enum class How { well, fails, ignores };
  std::mutex mutex;
  std::vector<How> next;
  int tried = 0;
  How take() {
    std::lock_guard lock(mutex);
    ++tried;
    if (next.empty()) return How::well;
    const How how = next.front();
    next.erase(next.begin());
    return how;
  }
  void set(std::vector<How> how) {
    std::lock_guard lock(mutex);
    next = std::move(how);
  }
  int tries() {
    std::lock_guard lock(mutex);
    return tried;
  }
};
using How = Starts::How;
using StartsPtr = std::shared_ptr<Starts>;

class Member : public Server {
 public:
  using Handles = Messages<Die, Unlink, Mute, Linger, Drain, Exit>;
  Member(TracePtr trace, std::string name, StartsPtr starts) : trace_(std::move(trace)), name_(std::move(name)) {
    trap_exit(true);
    if (starts != nullptr) {
      const How how = starts->take();
      if (how == How::fails) {
        trace_->add(name_ + " fails");
        erlking::exit(Reason("cannot"));
      }
      if (how == How::ignores) ignore_start();
    }
    trace_->add(name_ + " up");
  }
  void on(Die& die) {
    quiet_ = true;
    erlking::exit(die.why);
  }
  void on(Unlink& unlink) {
    erlking::unlink(unlink.from);
    quiet_ = true;
  }
  void on(Mute&) { linger_ = std::chrono::hours(1); }
  void on(Linger& linger) { linger_ = linger.time; }
  void on(Drain&) {
    trace_->add(name_ + " drained");
    quiet_ = true;
    stop();
  }
  void on(Exit&) {}
  void terminate(const Reason&) {
    if (linger_ > Duration(0)) sleep(linger_);
    if (!quiet_) trace_->add(name_ + " down");
  }

 private:
  TracePtr trace_;
  std::string name_;
  Duration linger_{};
  bool quiet_ = false;
};

class SupervisorTest : public RuntimeTest {
 protected:
  TracePtr trace = std::make_shared<Trace>();

  /// A child of this name; its process has it, too.
  ChildSpec member(std::string name, ChildOptions options = {}, StartsPtr starts = nullptr) {
    options.spawn.name = name;
    return child<Member>(name, std::move(options), trace, name, std::move(starts));
  }
  std::vector<ChildSpec> members(std::initializer_list<const char*> names, const ChildOptions& options = {}) {
    std::vector<ChildSpec> specs;
    for (const char* name : names) specs.push_back(member(name, options));
    return specs;
  }
  /// A supervisor of these, in the calling process, which traps exits.
  Pid supervise(SupervisorSpec spec) {
    trap_exit(true);
    const Started made = start_link(10s, std::move(spec));
    EXPECT_TRUE(made.has_value()) << to_string(made.error().kind) << ": " << made.error().why.to_string();
    trace->take();
    return made.value_or(Pid{});
  }
};

Pid pid_of(const char* name) { return whereis(name).value_or(Pid{}); }

/// Ends the process of that name by itself, and returns when it is gone and its supervisor has been told.
void die(const char* name, Reason why) {
  const MonitorRef ref = monitor(pid_of(name));
  send(Name{name}, Die{why});
  EXPECT_EQ(await_down(ref), why);
}
/// Returns when nothing restarts any more, or its supervisor is gone.
void settled(Pid supervisor) {
  for (;;) {
    const auto children = which_children(supervisor, 10s);
    if (!children) return;
    const auto restarts = [](const ChildInfo& child) { return child.state == State::restarting; };
    if (std::none_of(children->begin(), children->end(), restarts)) return;
    sleep(1ms);
  }
}
Strings ids_of(Pid supervisor) {
  Strings ids;
  const auto children = which_children(supervisor, 10s);
  EXPECT_TRUE(children.has_value());
  if (!children) return ids;
  for (const ChildInfo& child : *children) {
    const char* const state = child.state == State::running ? "" : child.state == State::restarting ? "~" : "-";
    ids.push_back(state + child.id);
  }
  return ids;
}
void end(Pid supervisor) {
  const MonitorRef ref = monitor(supervisor);
  exit(supervisor, reason::shutdown);  // as its parent
  EXPECT_EQ(await_down(ref), reason::shutdown);
}
ChildFailure failure(const auto& answer) {
  EXPECT_FALSE(answer.has_value());
  return answer ? ChildFailure::timeout : answer.error().kind;
}

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

// --- ends and restarts -----------------------------------------------------------------------------------------------

struct EndCase {
  Restart restart;
  Reason why;
  const char* then;  // "" running anew, "-" undefined, "gone"
};
class EndTest : public SupervisorTest, public ::testing::WithParamInterface<std::tuple<Strategy, EndCase>> {};

TEST_P(EndTest, Rule_12_5_TheRestartTypeAndTheReasonDecide) {
  const auto& [strategy, end_case] = GetParam();
  run([&, strategy = strategy, end_case = end_case] {
    const Pid s = supervise({.strategy = strategy,
                             .intensity = {10, 1s},
                             .children = {member("a"), member("b", {.restart = end_case.restart}), member("c")}});
    const Pid before = pid_of("b"), a = pid_of("a"), c = pid_of("c");
    if (end_case.why == reason::killed) {
      const MonitorRef ref = monitor(before);
      exit(before, reason::kill);
      await_down(ref);
    } else {
      die("b", end_case.why);
    }
    const std::string then = end_case.then;
    EXPECT_EQ(ids_of(s), then == "gone" ? (Strings{"c", "a"}) : (Strings{"c", then + "b", "a"}));
    EXPECT_NE(pid_of("b"), before);
    if (!then.empty()) {  // 12.9: others are not touched
      EXPECT_EQ(pid_of("a"), a);
      EXPECT_EQ(pid_of("c"), c);
      EXPECT_TRUE(trace->take().empty());
    }
    end(s);
  });
}

INSTANTIATE_TEST_SUITE_P(
    Every, EndTest,
    ::testing::Combine(
        ::testing::Values(one_for_one, one_for_all, rest_for_one),
        ::testing::Values(EndCase{permanent, reason::normal, ""}, EndCase{permanent, reason::shutdown, ""},
                          EndCase{permanent, Reason::shutdown("x"), ""}, EndCase{permanent, Reason("crash"), ""},
                          EndCase{permanent, reason::killed, ""}, EndCase{transient, reason::normal, "-"},
                          EndCase{transient, reason::shutdown, "-"}, EndCase{transient, Reason::shutdown("x"), "-"},
                          EndCase{transient, Reason("crash"), ""}, EndCase{transient, reason::killed, ""},
                          EndCase{temporary, reason::normal, "gone"}, EndCase{temporary, reason::shutdown, "gone"},
                          EndCase{temporary, Reason("crash"), "gone"}, EndCase{temporary, reason::killed, "gone"})));

TEST_F(SupervisorTest, Rule_12_9_AnEndWithoutARestartTouchesNobodyElse) {
  run([&] {
    for (const Strategy strategy : {one_for_one, one_for_all, rest_for_one}) {
      const Pid s = supervise({.strategy = strategy,
                               .intensity = {0, 1h},
                               .children = {member("done", {.restart = transient}), member("a"),
                                            member("gone", {.restart = temporary}), member("b")}});
      const Pid a = pid_of("a"), b = pid_of("b");
      die("done", Reason::shutdown("done"));
      die("gone", Reason("crash"));
      EXPECT_EQ(ids_of(s), (Strings{"b", "a", "-done"}));
      EXPECT_EQ(pid_of("a"), a);
      EXPECT_EQ(pid_of("b"), b);
      EXPECT_TRUE(trace->take().empty());
      end(s);
      trace->take();
    }
  });
}

TEST_F(SupervisorTest, Rule_12_5_StrangersExitsAndMessagesAreIgnored) {
  run([&] {
    const Pid s = supervise({.children = members({"a"})});
    const Pid a = pid_of("a");
    send(s, Die{reason::kill});
    const Monitored stranger = spawn_monitor([s] {
      link(s);
      exit(Reason("stranger"));
    });
    await_down(stranger);
    EXPECT_EQ(ids_of(s), (Strings{"a"}));
    EXPECT_EQ(pid_of("a"), a);
    EXPECT_TRUE(trace->take().empty());
    end(s);
  });
}

TEST_F(SupervisorTest, Rule_12_6_NRestartsWithinThePeriodAreAllowed) {
  run([&] {
    const Pid s = supervise({.intensity = {2, 10s}, .children = members({"a", "b"})});
    const MonitorRef ref = monitor(s);
    die("b", Reason("one"));
    sleep(9s + 900ms);  // still counts
    die("b", Reason("two"));
    EXPECT_EQ(ids_of(s), (Strings{"b", "a"}));
    trace->take();
    die("b", Reason("three"));
    EXPECT_EQ(await_down(ref), reason::shutdown);
    EXPECT_EQ(trace->take(), (Strings{"a down"}));
  });
}

TEST_F(SupervisorTest, Rule_12_6_OlderRestartsAreForgotten) {
  run([&] {
    const Pid s = supervise({.intensity = {1, 1s}, .children = members({"a"})});
    for (int i = 0; i < 5; ++i) {
      die("a", Reason("again"));
      EXPECT_EQ(ids_of(s), (Strings{"a"}));
      sleep(1s + 100ms);
    }
    end(s);
  });
}

TEST_F(SupervisorTest, Rule_12_6_ARestartJustAPeriodAgoCounts) {
  run([&] {
    sleep(1s);
    const auto begin = now();
    sleep(1s);
    const Duration period = now() - begin;  // a second in whole ticks
    const Pid s = supervise({.intensity = {1, period}, .children = members({"a"})});
    const MonitorRef ref = monitor(s);
    die("a", Reason("one"));
    EXPECT_EQ(ids_of(s), (Strings{"a"}));
    const auto first = now();
    sleep(1s);
    ASSERT_EQ(now() - first, period);
    die("a", Reason("two"));
    EXPECT_EQ(await_down(ref), reason::shutdown);
  });
}

TEST_F(SupervisorTest, Rule_12_6_IntensityZeroPermitsNone) {
  run([&] {
    const Pid s = supervise({.intensity = {0, 1s}, .children = members({"a", "b"})});
    const MonitorRef ref = monitor(s);
    die("a", reason::normal);
    EXPECT_EQ(await_down(ref), reason::shutdown);
    EXPECT_EQ(trace->take(), (Strings{"b down"}));
  });
}

TEST_F(SupervisorTest, Rule_12_6_EveryFailedAttemptCounts) {
  run([&] {
    const auto starts = std::make_shared<Starts>();
    const Pid s = supervise({.intensity = {3, 1s}, .children = {member("a", {}, starts)}});
    const MonitorRef ref = monitor(s);
    starts->set({How::fails, How::fails, How::fails, How::fails});
    die("a", Reason("crash"));
    EXPECT_EQ(await_down(ref), reason::shutdown);
    EXPECT_EQ(starts->tries(), 1 + 3);
    EXPECT_EQ(trace->take(), (Strings{"a fails", "a fails", "a fails"}));
  });
}

TEST_F(SupervisorTest, Rule_12_6_WhatIsAskedForAndTemporaryDeathsDoNotCount) {
  run([&] {
    const auto starts = std::make_shared<Starts>();
    const Pid s = supervise({.intensity = {0, 1h}, .children = {member("a", {}, starts)}});
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(terminate_child(s, "a", 10s).has_value());
      starts->set({How::fails});
      EXPECT_EQ(restart_child(s, "a", 10s).error(), (ChildError{ChildFailure::failed, Reason("cannot")}));
      ASSERT_TRUE(restart_child(s, "a", 10s).has_value());
      ASSERT_TRUE(start_child(s, member("t", {.restart = temporary}), 10s).has_value());
      die("t", Reason("crash"));
      EXPECT_EQ(ids_of(s), (Strings{"a"}));
    }
    end(s);
  });
}

struct GroupCase {
  Strategy strategy;
  const char* dies;
  Strings then;
};
class GroupTest : public SupervisorTest, public ::testing::WithParamInterface<GroupCase> {};

TEST_P(GroupTest, Rule_12_7_TheStrategySaysWhoIsStartedAnew) {
  run([&] {
    const Pid s = supervise({.strategy = GetParam().strategy, .children = members({"a", "b", "c"})});
    die(GetParam().dies, Reason("crash"));
    EXPECT_EQ(ids_of(s), (Strings{"c", "b", "a"}));
    EXPECT_EQ(trace->take(), GetParam().then);
    end(s);
  });
}

INSTANTIATE_TEST_SUITE_P(Every, GroupTest,
                         ::testing::Values(GroupCase{one_for_one, "a", {"a up"}}, GroupCase{one_for_one, "b", {"b up"}},
                                           GroupCase{one_for_one, "c", {"c up"}},
                                           GroupCase{one_for_all, "a", {"c down", "b down", "a up", "b up", "c up"}},
                                           GroupCase{one_for_all, "b", {"c down", "a down", "a up", "b up", "c up"}},
                                           GroupCase{one_for_all, "c", {"b down", "a down", "a up", "b up", "c up"}},
                                           GroupCase{rest_for_one, "a", {"c down", "b down", "a up", "b up", "c up"}},
                                           GroupCase{rest_for_one, "b", {"c down", "b up", "c up"}},
                                           GroupCase{rest_for_one, "c", {"c up"}}));

TEST_F(SupervisorTest, Rule_12_7_TemporarySiblingsOfAGroupAreDropped) {
  run([&] {
    for (const Strategy strategy : {one_for_all, rest_for_one}) {
      const Pid s = supervise(
          {.strategy = strategy, .children = {member("a"), member("t", {.restart = temporary}), member("b")}});
      die("a", Reason("crash"));
      EXPECT_EQ(ids_of(s), (Strings{"b", "a"}));
      EXPECT_EQ(trace->take(), (Strings{"b down", "t down", "a up", "b up"}));
      end(s);
    }
  });
}

TEST_F(SupervisorTest, Rule_12_8_AGroupRestartStartsThoseThatWereUndefined) {
  run([&] {
    const auto starts = std::make_shared<Starts>();
    starts->set({How::ignores});
    const Pid s = supervise({.strategy = one_for_all,
                             .children = {member("a"), member("done", {.restart = transient}), member("ended"),
                                          member("ignored", {}, starts)}});
    die("done", reason::normal);
    ASSERT_TRUE(terminate_child(s, "ended", 10s).has_value());
    EXPECT_EQ(ids_of(s), (Strings{"-ignored", "-ended", "-done", "a"}));
    die("a", Reason("crash"));
    EXPECT_EQ(ids_of(s), (Strings{"ignored", "ended", "done", "a"}));
    end(s);
  });
}

// Both are dead before the supervisor hears of either.
void die_together(Pid supervisor, const char* first, const char* second) {
  ASSERT_TRUE(sys::suspend(supervisor, 10s).has_value());
  die(first, Reason("crash"));
  die(second, Reason("crash"));
  ASSERT_TRUE(sys::resume(supervisor, 10s).has_value());
}

TEST_F(SupervisorTest, Rule_12_10_TwoDeathsOfAGroupAreOneRestart) {
  run([&] {
    const Pid s = supervise({.strategy = one_for_all, .intensity = {1, 1h}, .children = members({"a", "b", "c"})});
    die_together(s, "a", "c");
    EXPECT_EQ(ids_of(s), (Strings{"c", "b", "a"}));
    EXPECT_EQ(trace->take(), (Strings{"b down", "a up", "b up", "c up"}));
    end(s);
  });
}

TEST_F(SupervisorTest, Rule_12_10_InRestForOneTheLaterOnesDeathFirstCountsTwice) {
  run([&] {
    const Pid s = supervise({.strategy = rest_for_one, .intensity = {2, 1h}, .children = members({"a", "b", "c"})});
    die_together(s, "c", "a");
    EXPECT_EQ(ids_of(s), (Strings{"c", "b", "a"}));
    EXPECT_EQ(trace->take(), (Strings{"c up", "c down", "b down", "a up", "b up", "c up"}));
    const MonitorRef ref = monitor(s);
    die("c", Reason("crash"));  // the third
    EXPECT_EQ(await_down(ref), reason::shutdown);
  });
}

TEST_F(SupervisorTest, Rule_12_10_InOneForOneTheyCountEach) {
  run([&] {
    const Pid s = supervise({.intensity = {1, 1h}, .children = members({"a", "b", "c"})});
    const MonitorRef ref = monitor(s);
    die_together(s, "a", "c");
    EXPECT_EQ(await_down(ref), reason::shutdown);
    EXPECT_EQ(trace->take(), (Strings{"a up", "b down", "a down"}));
  });
}

TEST_F(SupervisorTest, Rule_12_11_AFailedRestartIsTriedAgainAndOthersAreServedInBetween) {
  run([&] {
    const auto starts = std::make_shared<Starts>();
    const Pid s = supervise({.intensity = {1'000'000, 1h}, .children = {member("a", {}, starts), member("b")}});
    starts->set(std::vector<How>(1'000, How::fails));
    die("a", Reason("crash"));
    EXPECT_EQ(which_child(s, "a", 10s)->state, State::restarting);
    EXPECT_EQ(which_child(s, "b", 10s)->state, State::running);
    EXPECT_EQ(failure(restart_child(s, "a", 10s)), ChildFailure::restarting);
    EXPECT_EQ(failure(delete_child(s, "a", 10s)), ChildFailure::restarting);
    EXPECT_EQ(failure(start_child(s, member("a"), 10s)), ChildFailure::already_present);
    settled(s);
    EXPECT_EQ(ids_of(s), (Strings{"b", "a"}));
    EXPECT_EQ(starts->tries(), 1'002);
    end(s);
  });
}

TEST_F(SupervisorTest, Rule_12_11_OneForAllRetriesTheWholeGroup) {
  run([&] {
    const auto starts = std::make_shared<Starts>();
    const Pid s = supervise({.strategy = one_for_all,
                             .intensity = {10, 1h},
                             .children = {member("a"), member("b", {}, starts), member("c")}});
    starts->set({How::fails});
    die("c", Reason("crash"));
    settled(s);
    EXPECT_EQ(trace->take(), (Strings{"b down", "a down", "a up", "b fails", "a down", "a up", "b up", "c up"}));
    end(s);
  });
}

TEST_F(SupervisorTest, Rule_12_11_InOneForAllNobodyRunsBetweenTheAttempts) {
  run([&] {
    const auto starts = std::make_shared<Starts>();
    const Pid s = supervise({.strategy = one_for_all,
                             .intensity = {1'000'000, 1h},
                             .children = {member("a"), member("b", {}, starts), member("c")}});
    starts->set(std::vector<How>(200, How::fails));
    die("c", Reason("crash"));
    const auto between = which_children(s, 10s);
    ASSERT_TRUE(between);
    for (const ChildInfo& child : *between) {
      EXPECT_EQ(child.state, child.id == "b" ? State::restarting : State::undefined) << child.id;
    }
    settled(s);
    EXPECT_EQ(ids_of(s), (Strings{"c", "b", "a"}));
    end(s);
  });
}

TEST_F(SupervisorTest, Rule_12_11_RestForOneRetriesFromTheOneThatFailed) {
  run([&] {
    const auto starts = std::make_shared<Starts>();
    const Pid s = supervise({.strategy = rest_for_one,
                             .intensity = {10, 1h},
                             .children = {member("a"), member("b", {}, starts), member("c")}});
    starts->set({How::fails});
    die("a", Reason("crash"));
    settled(s);
    EXPECT_EQ(trace->take(), (Strings{"c down", "b down", "a up", "b fails", "b up", "c up"}));
    end(s);
  });
}

TEST_F(SupervisorTest, Rule_12_11_IgnoredInARestartIsNoError) {
  run([&] {
    const auto starts = std::make_shared<Starts>();
    const Pid s = supervise({.intensity = {1, 1h}, .children = {member("a", {}, starts)}});
    starts->set({How::ignores});
    die("a", Reason("crash"));
    EXPECT_EQ(ids_of(s), (Strings{"-a"}));
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

// --- auto_shutdown, escalation ---------------------------------------------------------------------------------------

TEST_F(SupervisorTest, Rule_12_17_AnySignificantChildsEndEndsIt) {
  run([&] {
    const auto make = [&](Restart restart) {
      return supervise(
          {.auto_shutdown = AutoShutdown::any_significant,
           .children = {member("a"), member("s", {.restart = restart, .significant = true}), member("b")}});
    };
    for (const Restart restart : {transient, temporary}) {
      const Pid s = make(restart);
      const MonitorRef ref = monitor(s);
      die("s", reason::normal);
      EXPECT_EQ(await_down(ref), reason::shutdown);
      EXPECT_EQ(trace->take(), (Strings{"b down", "a down"}));
    }
    // not by terminate_child, nor by an end that is followed by a restart
    const Pid s = make(transient);
    die("s", Reason("crash"));
    EXPECT_EQ(ids_of(s), (Strings{"b", "s", "a"}));
    ASSERT_TRUE(terminate_child(s, "s", 10s).has_value());
    EXPECT_EQ(ids_of(s), (Strings{"b", "-s", "a"}));
    end(s);
  });
}

TEST_F(SupervisorTest, Rule_12_17_OfManySignificantChildrenTheFirstEndEndsIt) {
  run([&] {
    const ChildOptions significant{.restart = transient, .significant = true};
    const Pid s = supervise({.auto_shutdown = AutoShutdown::any_significant,
                             .children = {member("a"), member("s", significant), member("t", significant)}});
    const MonitorRef ref = monitor(s);
    die("s", reason::normal);
    EXPECT_EQ(await_down(ref), reason::shutdown);
    EXPECT_EQ(trace->take(), (Strings{"t down", "a down"}));
  });
}

TEST_F(SupervisorTest, Rule_12_17_AllSignificantChildrenMustHaveEnded) {
  run([&] {
    const ChildOptions significant{.restart = transient, .significant = true};
    const Pid s = supervise({.auto_shutdown = AutoShutdown::all_significant,
                             .children = {member("a"), member("s", significant), member("t", significant)}});
    const MonitorRef ref = monitor(s);
    die("s", reason::normal);
    EXPECT_EQ(ids_of(s), (Strings{"t", "-s", "a"}));
    die("t", reason::shutdown);
    EXPECT_EQ(await_down(ref), reason::shutdown);
  });
}

TEST_F(SupervisorTest, Rule_12_17_ABystandersEndDoesNotCount) {
  run([&] {
    const Pid s = supervise({.strategy = one_for_all,
                             .auto_shutdown = AutoShutdown::any_significant,
                             .children = {member("a"), member("s", {.restart = temporary, .significant = true})}});
    die("a", Reason("crash"));
    EXPECT_EQ(ids_of(s), (Strings{"a"}));
    end(s);
  });
}

TEST_F(SupervisorTest, Rule_12_17_ASubSupervisorsAutoShutdownIsAnEndLikeAnyOther) {
  run([&] {
    const auto sub = [&](ChildOptions options) {
      return supervisor("sub",
                        {.auto_shutdown = AutoShutdown::any_significant,
                         .children = {member("s", {.restart = transient, .significant = true})}},
                        options);
    };
    Pid s = supervise({.children = {sub({})}});
    die("s", reason::normal);
    while (!whereis("s")) sleep(1ms);
    EXPECT_EQ(ids_of(s), (Strings{"sub"})) << "permanent: it is restarted";
    end(s);

    s = supervise({.children = {sub({.restart = transient})}});
    MonitorRef ref = monitor(which_child(s, "sub", 1s)->pid);
    die("s", reason::normal);
    await_down(ref);
    EXPECT_EQ(ids_of(s), (Strings{"-sub"})) << "transient: it is not";
    end(s);

    s = supervise({.auto_shutdown = AutoShutdown::any_significant,
                   .children = {sub({.restart = transient, .significant = true})}});
    ref = monitor(s);
    die("s", reason::normal);
    EXPECT_EQ(await_down(ref), reason::shutdown) << "and significant: it goes on up";
  });
}

TEST_F(SupervisorTest, Rule_12_18_GivingUpIsAnEndByShutdown) {
  run([&] {
    const auto sub = [&](Restart restart) {
      return supervisor("sub", {.intensity = {0, 1s}, .children = {member("a")}},
                        {.restart = restart, .spawn = {.name = "sub"}});
    };
    Pid s = supervise({.children = {sub(permanent)}});
    ASSERT_TRUE(start_child(Name{"sub"}, member("added"), 1s).has_value());
    MonitorRef ref = monitor(pid_of("sub"));
    die("a", Reason("crash"));
    EXPECT_EQ(await_down(ref), reason::shutdown);
    EXPECT_EQ(ids_of(s), (Strings{"sub"}));
    EXPECT_EQ(ids_of(pid_of("sub")), (Strings{"a"})) << "without what had been added";
    end(s);

    s = supervise({.children = {sub(transient)}});
    ref = monitor(pid_of("sub"));
    die("a", Reason("crash"));
    EXPECT_EQ(await_down(ref), reason::shutdown);
    EXPECT_EQ(ids_of(s), (Strings{"-sub"}));
    end(s);
  });
}

// --- beyond OTP ------------------------------------------------------------------------------------------------------

TEST_F(SupervisorTest, ABackoffDoublesUpToItsMostAndIsForgotten) {
  run([&] {
    const Backoff backoff{.first = 1s, .most = 3s, .jitter = 0, .forget = 1min};
    const Pid s = supervise({.intensity = {100, 1h}, .children = {member("a", {.backoff = backoff}), member("b")}});
    const auto pause = [&] {
      die("a", Reason("crash"));
      EXPECT_EQ(ids_of(s), (Strings{"b", "~a"}));
      const auto before = now();
      while (!whereis("a")) sleep(20ms);
      return std::chrono::duration<double>(now() - before).count();
    };
    for (const double expected : {1.0, 2.0, 3.0, 3.0}) EXPECT_NEAR(pause(), expected, 0.3);
    sleep(1min);
    EXPECT_NEAR(pause(), 1, 0.3);
    die("a", Reason("crash"));
    EXPECT_TRUE(terminate_child(s, "a", 1s).has_value());
    sleep(1min);
    EXPECT_EQ(ids_of(s), (Strings{"b", "-a"})) << "who was ended meanwhile comes back";
    end(s);
  });
}

TEST_F(SupervisorTest, ABackoffOfAGroupEndsTheOthersAtOnce) {
  run([&] {
    const Pid s = supervise({.strategy = one_for_all,
                             .intensity = {1, 1h},
                             .children = {member("a"), member("b", {.backoff = {.first = 1s, .jitter = 0.5}})}});
    die("b", Reason("crash"));
    EXPECT_EQ(ids_of(s), (Strings{"~b", "-a"}));
    sleep(2s);
    EXPECT_EQ(ids_of(s), (Strings{"b", "a"}));
    EXPECT_EQ(trace->take(), (Strings{"a down", "a up", "b up"}));
    end(s);
  });
}

TEST_F(SupervisorTest, AChildsOwnIntensityCountsItsRestartsApart) {
  run([&] {
    const Pid s =
        supervise({.intensity = {0, 1h}, .children = {member("a", {.intensity = Intensity{2, 1h}}), member("b")}});
    const MonitorRef ref = monitor(s);
    for (int i = 0; i < 2; ++i) {
      die("a", Reason("crash"));
      EXPECT_EQ(ids_of(s), (Strings{"b", "a"}));
    }
    die("a", Reason("crash"));
    EXPECT_EQ(await_down(ref), reason::shutdown);
  });
}

/// Takes its time to start, and may fail, or not want to.
class Slow : public Server {
 public:
  using Handles = Messages<Die>;
  Slow(TracePtr trace, std::string name, Duration time, How how) : trace_(std::move(trace)), name_(std::move(name)) {
    sleep(time);
    if (how == How::fails) erlking::exit(Reason("cannot"));
    if (how == How::ignores) ignore_start();
    trap_exit(true);
    trace_->add(name_ + " up");
  }
  void on(Die& die) { erlking::exit(die.why); }
  void terminate(const Reason&) { trace_->add(name_ + " down"); }

 private:
  TracePtr trace_;
  std::string name_;
};

class ConcurrentStartTest : public SupervisorTest {
 protected:
  ChildSpec slow(std::string name, Duration time, How how = How::well, ChildOptions options = {}) {
    return child<Slow>(name, std::move(options), trace, name, time, how);
  }
};

TEST_F(ConcurrentStartTest, TakesAsLongAsTheSlowestAndEndsInReverse) {
  run([&] {
    trap_exit(true);
    const auto before = now();
    const Started made = start_link(
        1min,
        {.children = {slow("a", 3s), slow("b", 1s), supervisor("s", {.children = {slow("c", 1s), slow("d", 1s)}}, {}),
                      child("f", {}, wait_forever), slow("i", 1s, How::ignores),
                      slow("t", 1s, How::ignores, {.restart = temporary})},
         .concurrent_start = true});
    ASSERT_TRUE(made.has_value());
    EXPECT_LT(now() - before, 4s);
    EXPECT_EQ(ids_of(*made), (Strings{"-i", "f", "s", "b", "a"}));
    Strings all = trace->take();
    EXPECT_EQ(all.back(), "a up");
    end(*made);
    EXPECT_EQ(trace->take(), (Strings{"d down", "c down", "b down", "a down"}));
  });
}

TEST_F(ConcurrentStartTest, OneThatFailsEndsThoseThatAreUpAndThoseThatAreNot) {
  run([&] {
    trap_exit(true);
    const Started made = start_link(
        1min, {.children = {slow("a", 1s), slow("b", 2s, How::fails), slow("c", 1h)}, .concurrent_start = true});
    const Reason why = Reason::shutdown("failed_to_start_child: b: cannot");
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error(), (StartError{StartFailure::failed, why}));
    EXPECT_EQ(trace->take(), (Strings{"a up", "a down"}));
    receive(1s, [&](Exit& exit) { EXPECT_EQ(exit.reason, why); });
  });
}

TEST_F(ConcurrentStartTest, OneThatTakesTooLongFails) {
  run([&] {
    trap_exit(true);
    const auto before = now();
    const Started made = start_link(1min, {.children = {slow("a", 1s, How::well, {.start_within = 5s}),
                                                        slow("b", 1h, How::well, {.start_within = 3s})},
                                           .concurrent_start = true});
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error().why, Reason::shutdown("failed_to_start_child: b: timeout"));
    EXPECT_LT(now() - before, 5s);
    EXPECT_EQ(trace->take(), (Strings{"a up", "a down"}));
    receive(1s, [](Exit) {});
  });
}

TEST_F(ConcurrentStartTest, OneThatIsKilledMeanwhileFailsAndOneThatDiesOnceUpIsRestarted) {
  run([&] {
    trap_exit(true);
    const auto killer = [](const char* name, Duration when) {
      sleep(when);
      exit(pid_of(name), reason::kill);
    };
    spawn(killer, "b", Duration(1s));
    Started made = start_link(1min, {.children = {slow("a", 0s), slow("b", 2s, How::well, {.spawn = {.name = "b"}})},
                                     .concurrent_start = true});
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error().why, Reason::shutdown("failed_to_start_child: b: killed"));
    receive(1s, [](Exit) {});
    trace->take();

    spawn(killer, "a", Duration(1s));
    made = start_link(1min, {.children = {slow("a", 0s, How::well, {.spawn = {.name = "a"}}), slow("b", 3s)},
                             .concurrent_start = true});
    ASSERT_TRUE(made.has_value());
    EXPECT_EQ(ids_of(*made), (Strings{"b", "a"}));
    EXPECT_EQ(trace->take(), (Strings{"a up", "b up", "a up"}));
    end(*made);
  });
}

TEST_F(ConcurrentStartTest, IsForIndependentChildrenAlone) {
  for (const Strategy strategy : {one_for_all, rest_for_one}) {
    EXPECT_EQ(check({.strategy = strategy, .concurrent_start = true}),
              Reason("supervisor_data", "invalid_concurrent_start"));
  }
}

TEST_F(SupervisorTest, NoMoreThanMaxChildren) {
  run([&] {
    Pid s = supervise({.children = members({"a"}), .max_children = 2});
    EXPECT_TRUE(start_child(s, member("b"), 1s).has_value());
    EXPECT_EQ(failure(start_child(s, member("c"), 1s)), ChildFailure::max_children);
    end(s);
    s = supervise({.strategy = simple_one_for_one, .children = {child("w", {}, wait_forever)}, .max_children = 2});
    EXPECT_TRUE(start_child(1s, s) && start_child(1s, s));
    EXPECT_EQ(failure(start_child(1s, s)), ChildFailure::max_children);
    end(s);
  });
}

TEST_F(SupervisorTest, ADrainingStopLetsChildrenEndByThemselves) {
  run([&] {
    const auto deaf = [trace = trace] {
      trap_exit(true);
      receive(forever, [](Exit) {});
      trace->add("deaf down");
      exit(reason::shutdown);
    };
    const Pid s = supervise(
        {.children = {member("a"), child("deaf", {}, deaf), supervisor("sub", {.children = {member("inner")}})},
         .drain = 5s});
    until_waiting(which_child(s, "deaf", 1s)->pid);
    const auto before = now();
    end(s);
    EXPECT_GE(now() - before, 5s) << "deaf had its time";
    Strings all = trace->take();
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all.back(), "deaf down");
    std::sort(all.begin(), all.end());
    EXPECT_EQ(all, (Strings{"a drained", "deaf down", "inner drained"}));
  });
}

}  // namespace
}  // namespace erlking::testing
