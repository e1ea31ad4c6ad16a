// Supervisors, rule by rule (SEMANTICS §12): which ends lead to a restart, and of whom; auto_shutdown, escalation, and
// what they do beyond OTP.
#include "tests/support/supervisor_fixture.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace erlking::testing {
namespace {

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
