// How a process ends and what others see of it: SEMANTICS §2, both tables; uncaught exceptions; the crash report.
#include "tests/support/runtime_fixture.h"

#include <cstdlib>
#include <new>
#include <optional>
#include <stdexcept>

// Memory runs out, but for messages and signals, where a test says so: in one thread, between two of its statements.
namespace {
thread_local bool memory_gone = false;
}
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return memory_gone ? nullptr : std::malloc(bytes == 0 ? 1 : bytes);
}
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  void* const memory = operator new(bytes, std::nothrow);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace erlking::testing {

// With external linkage: dladdr finds no other names.
[[gnu::noinline]] void throw_from_here(int depth) {
  if (depth > 0) {
    throw_from_here(depth - 1);
    asm volatile("");
  } else {
    throw std::out_of_range("far off");
  }
}

namespace {

struct Go {};
struct Ready {
  Pid from;
};
struct Note {
  int n;
};

struct ExitTest : RuntimeTest {};

// --- the first table: event at the source → link, trapped link, monitor
// -------------------------------------------------

struct Ending {
  const char* name;
  void (*end)();                      // in the process, once told to
  std::optional<Reason> kills;        // the reason a linked process that does not trap ends with; none: it lives
  Reason told;                        // in EXIT and DOWN
  std::optional<Reason> exit_signal;  // sent to the process instead of telling it to end
};
void PrintTo(const Ending& ending, std::ostream* out) { *out << ending.name; }

const Reason kCustom("custom", "with a detail");

[[gnu::noinline]] void throw_oh() { throw std::runtime_error("oh"); }

std::vector<Ending> endings() {
  const Reason thrown = Reason::exception("std::runtime_error", "oh", {});
  const Reason thrown_int = Reason::exception("int", "", {});
  return {
      {"Returns", [] {}, {}, reason::normal, {}},
      {"ExitsNormal", [] { exit(reason::normal); }, {}, reason::normal, {}},
      {"ExitsShutdown", [] { exit(reason::shutdown); }, reason::shutdown, reason::shutdown, {}},
      {"ExitsShutdownWithDetail",
       [] { exit(Reason::shutdown("later")); },
       Reason::shutdown("later"),
       Reason::shutdown("later"),
       {}},
      {"ExitsWithAnyReason", [] { exit(kCustom); }, kCustom, kCustom, {}},
      {"ThrowsAnException", [] { throw std::runtime_error("oh"); }, thrown, thrown, {}},
      {"ThrowsAnInt", [] { throw 1; }, thrown_int, thrown_int, {}},
      {"ThrowsAReason", [] { throw Reason("mine"); }, Reason("mine"), Reason("mine"), {}},
      {"ThrowsOutOfADestructor",
       [] {
         struct Throws {
           ~Throws() { throw_oh(); }
         } throws;
       },
       thrown,
       thrown,
       {}},
      {"Terminates", [] { std::terminate(); }, reason::terminate, reason::terminate, {}},
      {"SpawnsAtTheLimit",
       [] {
         for (;;) spawn(wait_forever);
       },
       reason::system_limit,
       reason::system_limit,
       {}},
      {"ExitsKill", [] { exit(reason::kill); }, reason::kill, reason::kill, {}},  // SEMANTICS 2.2: trappable
      {"IsKilled", [] {}, reason::killed, reason::killed, reason::kill},
      {"IsSentAnyReason", [] {}, kCustom, kCustom, kCustom},
      {"IsSentShutdown", [] {}, reason::shutdown, reason::shutdown, reason::shutdown},
      {"ReceivesInVain", [] { receive(1ms, [](Note) {}); }, reason::timeout, reason::timeout, {}},
  };
}

struct EndingTest : RuntimeTest, ::testing::WithParamInterface<Ending> {
  EndingTest() { options.max_processes = 300; }
};

TEST_P(EndingTest, Rule_2_TableOfEventsAtTheSource) {
  const Ending& row = GetParam();
  run([&] {
    const Monitored source = spawn_monitor([&] {
      receive(forever, [](Go) {});
      row.end();
    });
    const Monitored linked = spawn_monitor([&, to = self()] {
      link(source.pid);
      send(to, Ready{self()});
      wait_forever();
    });
    const Monitored trapping = spawn_monitor([&, to = self()] {
      trap_exit(true);
      link(source.pid);
      send(to, Ready{self()});
      EXPECT_EQ(await_exit(source.pid), row.told);
      EXPECT_TRUE(process_info(self(), 1s)->links.empty()) << "the link is gone";
      EXPECT_TRUE(mailbox_empty());
    });
    for (int i = 0; i < 2; ++i) receive(5s, [](Ready) {});
    if (row.exit_signal) {
      exit(source.pid, *row.exit_signal);
    } else {
      send(source.pid, Go{});
    }
    EXPECT_EQ(await_down(source), row.told);
    EXPECT_EQ(await_down(trapping), reason::normal);
    EXPECT_EQ(is_alive(linked.pid, 5s), !row.kills.has_value());
    if (row.kills) {
      EXPECT_EQ(await_down(linked), *row.kills);
    } else {
      EXPECT_TRUE(process_info(linked.pid, 5s)->links.empty()) << "the link is gone";
      exit(linked.pid, reason::kill);
      EXPECT_EQ(await_down(linked), reason::killed);
    }
  });
}
INSTANTIATE_TEST_SUITE_P(Exit, EndingTest, ::testing::ValuesIn(endings()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_F(ExitTest, Rule_2_LinkingWhatDoesNotExistExitsTheCallerWithNoproc) {
  run([] {
    const Monitored gone = spawn_monitor([] {});
    await_down(gone);
    EXPECT_EQ(await_down(spawn_monitor([&] { link(gone.pid); })), reason::noproc);
  });
}

TEST_F(ExitTest, Rule_2_LinkingWhatDoesNotExistTellsATrappingCallerByMessage) {
  run([] {
    trap_exit(true);
    const Monitored gone = spawn_monitor([] {});
    await_down(gone);
    link(gone.pid);
    EXPECT_EQ(await_exit(gone.pid), reason::noproc);
    EXPECT_TRUE(process_info(self(), 1s)->links.empty());
  });
}

TEST_F(ExitTest, Rule_2_MonitoringWhatDoesNotExistTellsByMessage) {
  run([] {
    const Monitored gone = spawn_monitor([] {});
    await_down(gone);
    EXPECT_EQ(await_down(monitor(gone.pid)), reason::noproc);
    EXPECT_EQ(await_down(monitor(Pid{})), reason::noproc);
    EXPECT_EQ(await_down(monitor(Name{"nobody"})), reason::noproc);
  });
}

TEST_F(ExitTest, Rule_2_AProcessWithoutMemoryForATieIsToThePeerAsIfItHadEnded) {
  run([] {
    std::atomic<bool> asked = false;
    const Monitored p = spawn_monitor({.worker = 1}, [&, to = self()] {
      send(to, Ready{self()});
      receive(forever, [&](Ready) {
        while (!asked) {  // comes to no safe point: what it is asked waits
        }
        memory_gone = true;
        trap_exit(false);
        memory_gone = false;
      });
      receive(forever, [](Go) {});
    });
    receive(5s, [](Ready) {});
    const Monitored asking = spawn_monitor({.worker = 0}, [&] {
      send(p.pid, Ready{self()});
      const Monitored linked = spawn_monitor({.worker = 0}, [&, to = self()] {
        link(p.pid);
        send(to, Ready{self()});
        wait_forever();
      });
      const Monitored trapping = spawn_monitor({.worker = 0}, [&, to = self()] {
        trap_exit(true);
        link(p.pid);
        send(to, Ready{self()});
        EXPECT_EQ(await_exit(p.pid), reason::system_limit);
        EXPECT_TRUE(process_info(self(), 1s)->links.empty());
      });
      for (int i = 0; i < 40; ++i) monitor(p.pid);  // some find room in what it has already
      for (int i = 0; i < 2; ++i) receive(5s, [](Ready) {});
      asked = true;
      EXPECT_EQ(await_down(linked), reason::system_limit);
      EXPECT_EQ(await_down(trapping), reason::normal);
      receive(5s, when([&](const Down& down) { return down.pid == p.pid; },
                       [](Down down) { EXPECT_EQ(down.reason, reason::system_limit); }));
    });
    EXPECT_EQ(await_down(asking), reason::normal);
    EXPECT_TRUE(process_info(p.pid, 5s)->links.empty());
    send(p.pid, Go{});
    EXPECT_EQ(await_down(p), reason::normal) << "it lives on, and so does the tie it had before";
  });
}

// --- the second table: exit(P, R)
// ----------------------------------------------------------------------------------------

struct Explicit {
  const char* name;
  Reason reason;
  bool from_itself, trapping;
  std::optional<Reason> ends;  // P's reason; none: it lives
  bool message;                // and gets EXIT(sender, reason)
};
void PrintTo(const Explicit& row, std::ostream* out) { *out << row.name; }

std::vector<Explicit> explicits() {
  return {
      {"NormalFromAnotherIsIgnored", reason::normal, false, false, {}, false},
      {"NormalFromAnotherTrapped", reason::normal, false, true, {}, true},
      {"NormalFromItselfEnds", reason::normal, true, false, reason::normal, false},
      {"NormalFromItselfTrapped", reason::normal, true, true, {}, true},
      {"KillFromAnother", reason::kill, false, false, reason::killed, false},
      {"KillFromAnotherUntrappable", reason::kill, false, true, reason::killed, false},
      {"KillFromItself", reason::kill, true, false, reason::killed, false},
      {"KillFromItselfUntrappable", reason::kill, true, true, reason::killed, false},
      {"AnyFromAnother", kCustom, false, false, kCustom, false},
      {"AnyFromAnotherTrapped", kCustom, false, true, {}, true},
      {"AnyFromItself", kCustom, true, false, kCustom, false},
      {"AnyFromItselfTrapped", kCustom, true, true, {}, true},
      {"KilledFromAnotherTrapped", reason::killed, false, true, {}, true},
      {"ShutdownFromAnother", reason::shutdown, false, false, reason::shutdown, false},
      {"ShutdownFromAnotherTrapped", reason::shutdown, false, true, {}, true},
  };
}

struct ExplicitExitTest : RuntimeTest, ::testing::WithParamInterface<Explicit> {};

TEST_P(ExplicitExitTest, Rule_2_TableOfExplicitExits) {
  const Explicit& row = GetParam();
  run([&] {
    std::atomic<bool> survived_own = false;
    const Monitored p = spawn_monitor([&, to = self()] {
      trap_exit(row.trapping);
      if (row.from_itself) {
        exit(self(), row.reason);
        survived_own = true;
      }
      send(to, Ready{self()});
      if (row.message) {
        receive(5s, [&](Exit got) {
          EXPECT_EQ(got.from, row.from_itself ? self() : to);
          EXPECT_EQ(got.reason, row.reason);
        });
      }
      receive(forever, [](Go) {});
      EXPECT_TRUE(mailbox_empty());
      exit(Reason("lived"));
    });
    if (!row.from_itself) {
      receive(5s, [](Ready) {});
      exit(p.pid, row.reason);
    }
    send(p.pid, Go{});
    EXPECT_EQ(await_down(p), row.ends.value_or(Reason("lived")));
    EXPECT_EQ(survived_own, row.from_itself && !row.ends) << "one's own exit acts before the call returns";
  });
}
INSTANTIATE_TEST_SUITE_P(Exit, ExplicitExitTest, ::testing::ValuesIn(explicits()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_F(ExitTest, Rule_2_AnExitFromAThreadThatIsNoProcessComesFromNobody) {
  std::atomic<bool> trapped = false;
  const Pid trapping = start([&] {
    trap_exit(true);
    receive(forever, [&](Exit got) { trapped = got.from == Pid{} && got.reason == reason::normal; });
  });
  std::atomic<bool> told = false;
  std::atomic<Pid> made;
  start([&] {
    const Monitored plain = spawn_monitor(wait_forever);
    made = plain.pid;
    told = await_down(plain.ref) == kCustom;
  });
  const Pid plain = made;
  rt().exit(plain, reason::normal);
  rt().exit(trapping, reason::normal);
  ASSERT_TRUE(rt().run_until_idle());
  EXPECT_TRUE(trapped);
  EXPECT_EQ(rt().processes(), 2u) << "normal, from another, is ignored";
  rt().exit(plain, kCustom);
  ASSERT_TRUE(rt().run_until_idle());
  EXPECT_TRUE(told);
}

TEST_F(ExitTest, Rule_2_AnExitToTheDeadHasNoEffect) {
  run([] {
    const Monitored gone = spawn_monitor([] {});
    await_down(gone);
    exit(gone.pid, reason::kill);
    exit(Pid{}, reason::kill);
    EXPECT_TRUE(mailbox_empty());
  });
}

// --- single rules
// --------------------------------------------------------------------------------------------------------

TEST_F(ExitTest, Rule_2_1_AnExitQueuedAsAMessageStaysOneWhenTrappingEnds) {
  run([] {
    trap_exit(true);
    const Pid other = spawn([to = self()] { exit(to, Reason("queued")); });
    const MonitorRef ref = monitor(other);
    await_down(ref);
    EXPECT_TRUE(trap_exit(false));
    EXPECT_EQ(await_exit(other), Reason("queued"));
  });
}

TEST_F(ExitTest, Rule_2_1_ASignalReceivedBeforeTrappingActsAsBefore) {
  if (has_own_workers()) GTEST_SKIP() << "it would run at once";
  options.workers = 1;  // nothing but its own calls lets others run
  run([] {
    bool trapped = false;
    const Pid late = spawn([&] {
      trap_exit(true);
      trapped = true;
    });
    const MonitorRef ref = monitor(late);
    exit(late, Reason("early"));  // before it has run at all
    EXPECT_EQ(await_down(ref), Reason("early"));
    EXPECT_FALSE(trapped);
  });
}

TEST_F(ExitTest, Rule_8_1_TrappingIsOffAtFirstAndSettingItReturnsTheOldSetting) {
  run([] {
    EXPECT_FALSE(trap_exit(true));
    EXPECT_TRUE(trap_exit(true));
    EXPECT_TRUE(trap_exit(false));
    EXPECT_FALSE(trap_exit(false));
  });
}

TEST_F(ExitTest, Rule_2_2_AReasonSpreadsUnchangedAlongAChainOfLinks) {
  run([] {
    trap_exit(true);
    struct Chain {
      static void link_in(Pid report, int left) {
        if (left == 0) {
          send(report, Ready{self()});
          receive(forever, [](Go) {});
          exit(Reason("from_the_end", "of the chain"));
        }
        spawn_link(link_in, report, left - 1);
        wait_forever();
      }
    };
    const Pid first = spawn_link(&Chain::link_in, self(), 50);
    send(receive(5s, [](Ready ready) { return ready.from; }), Go{});
    EXPECT_EQ(await_exit(first), Reason("from_the_end", "of the chain"));
  });
}

TEST_F(ExitTest, Rule_2_2_AnExitKillSpreadsAsKillAndAKillAsKilled) {
  run([] {
    trap_exit(true);
    const auto chain = [](Pid report, bool own) {
      const Pid last = spawn_link([report, own] {
        send(report, Ready{self()});
        receive(forever, [](Go) {});
        if (own) exit(reason::kill);
        exit(self(), reason::kill);
      });
      (void)last;
      wait_forever();
    };
    for (bool own : {true, false}) {
      const Pid first = spawn_link(chain, self(), own);
      send(receive(5s, [](Ready ready) { return ready.from; }), Go{});
      EXPECT_EQ(await_exit(first), own ? reason::kill : reason::killed);
    }
  });
}

TEST_F(ExitTest, Rule_2_3_ARaisedExitCanBeCaughtAndTheProcessGoesOn) {
  run([] {
    const Monitored p = spawn_monitor([] {
      try {
        exit(Reason("first"));
      } catch (...) {
      }
      EXPECT_EQ(send(self(), Note{1}), Delivery::queued);
      receive(1s, [](Note) {});
    });
    EXPECT_EQ(await_down(p), reason::normal) << "what was caught leaves no trace";
  });
}

TEST_F(ExitTest, Rule_2_3_ACatchAllCannotKeepALethalSignal) {
  run([] {
    for (const Reason& sent : {reason::kill, Reason("mine")}) {
      int after = 0;
      const Monitored p = spawn_monitor([&] {
        try {
          wait_forever();
        } catch (...) {
        }
        ++after;  // until the next safe point
        try {
          yield();
        } catch (...) {
        }
        ++after;
        try {
          send(self(), Note{1});
        } catch (...) {
        }
        ++after;
        sleep(1s);
        after = 100;
      });
      until_waiting(p.pid);
      exit(p.pid, sent);
      EXPECT_EQ(await_down(p), sent == reason::kill ? reason::killed : sent);
      EXPECT_EQ(after, 3);
    }
  });
}

TEST_F(ExitTest, Rule_2_3_AProcessThatSwallowsItsDoomAndReturnsEndsWithThatReason) {
  run([] {
    const Monitored p = spawn_monitor([] {
      try {
        wait_forever();
      } catch (...) {
      }
    });
    exit(p.pid, Reason("mine"));
    EXPECT_EQ(await_down(p), Reason("mine"));
    const Monitored q = spawn_monitor([] {
      try {
        wait_forever();
      } catch (...) {
        throw std::runtime_error("instead");
      }
    });
    exit(q.pid, Reason("mine"));
    EXPECT_EQ(await_down(q), Reason("mine"));
    const Monitored r = spawn_monitor([] {
      try {
        wait_forever();
      } catch (...) {
        exit(Reason("instead"));
      }
    });
    exit(r.pid, Reason("mine"));
    EXPECT_EQ(await_down(r), Reason("mine"));
  });
}

TEST_F(ExitTest, Rule_1_9_NoMessageIsHandledAfterTheExitSignal) {
  run([] {
    for (int i = 0; i < 200; ++i) {
      std::atomic<int> handled = 0;
      const Monitored p = spawn_monitor([&] {
        for (;;) receive(forever, [&](Note) { ++handled; });
      });
      send(p.pid, Note{1});
      exit(p.pid, Reason("stop"));
      for (int n = 0; n < 10; ++n) send(p.pid, Note{n});
      EXPECT_EQ(await_down(p), Reason("stop"));
      EXPECT_LE(handled, 1);
    }
  });
}

TEST_F(ExitTest, Rule_1_9_QueuedMessagesAreDestroyedUnhandled) {
  struct Held {
    std::shared_ptr<int> value;
  };
  auto value = std::make_shared<int>(0);
  run([&] {
    const Monitored p = spawn_monitor(wait_forever);
    for (int i = 0; i < 100; ++i) send(p.pid, Held{value});
    EXPECT_EQ(value.use_count(), 101);
    exit(p.pid, reason::kill);
    await_down(p);
    EXPECT_EQ(value.use_count(), 1);
  });
}

TEST_F(ExitTest, Rule_1_10_TheFirstExitSignalFixesTheReason) {
  run([] {
    for (int i = 0; i < 200; ++i) {
      const Monitored p = spawn_monitor(wait_forever);
      exit(p.pid, Reason("first"));
      exit(p.pid, Reason("second"));
      exit(p.pid, reason::kill);
      EXPECT_EQ(await_down(p), Reason("first"));
    }
  });
}

TEST_F(ExitTest, AnExitRunsTheDestructorsOfTheWholeStack) {
  run([] {
    std::vector<int> order;
    struct Mark {
      std::vector<int>& order;
      int n;
      ~Mark() { order.push_back(n); }
    };
    const Monitored p = spawn_monitor([&] {
      Mark outer{order, 1};
      [&] {
        Mark inner{order, 2};
        wait_forever();
      }();
    });
    until_waiting(p.pid);
    exit(p.pid, reason::kill);
    await_down(p);
    EXPECT_EQ(order, (std::vector{2, 1}));
  });
}

// --- uncaught exceptions and the crash report
// ----------------------------------------------------------------------------

TEST_F(ExitTest, AnUncaughtExceptionGivesTypeWhatAndBacktrace) {
  run([] {
    const Reason why = await_down(spawn_monitor([] { throw_from_here(3); }));
    EXPECT_TRUE(why.is_exception());
    EXPECT_TRUE(why.is_abnormal());
    EXPECT_EQ(why.type(), "std::out_of_range");
    EXPECT_EQ(why.what(), "far off");
    EXPECT_GE(why.backtrace().size(), 4u);
    EXPECT_NE(why.report().find("throw_from_here"), std::string::npos) << why.report();
    EXPECT_EQ(why.to_string(), "exception: std::out_of_range: far off");
  });
}

TEST_F(ExitTest, ABacktraceIsKeptAfterACaughtExit) {
  options.workers = 1;
  run([] {
    const Reason why = await_down(spawn_monitor([] {
      try {
        exit(Reason("caught"));
      } catch (...) {
      }
      throw_from_here(1);
    }));
    EXPECT_EQ(why.type(), "std::out_of_range");
    EXPECT_FALSE(why.backtrace().empty());
  });
}

TEST_F(ExitTest, ACaughtExceptionLeavesNoTraceInALaterReason) {
  run([] {
    const Reason why = await_down(spawn_monitor([] {
      try {
        throw_from_here(5);
      } catch (const std::exception&) {
      }
      throw 5;
    }));
    EXPECT_EQ(why.type(), "int");
    EXPECT_EQ(why.what(), "");
    EXPECT_EQ(why.report().find("throw_from_here"), std::string::npos) << why.report();
  });
}

TEST_F(ExitTest, ExceptionsStayWithTheirProcessAcrossSwitches) {
  run([] {
    std::vector<Monitored> all;
    for (int i = 0; i < 200; ++i) {
      all.push_back(spawn_monitor([i] {
        try {
          throw std::runtime_error(std::to_string(i));
        } catch (const std::runtime_error& e) {
          for (int n = 0; n < 20; ++n) yield();
          try {
            throw std::logic_error("inner" + std::to_string(i));
          } catch (const std::logic_error& inner) {
            sleep(1ms);
            EXPECT_EQ(inner.what(), "inner" + std::to_string(i));
          }
          EXPECT_EQ(std::to_string(i), e.what());
          throw;
        }
      }));
    }
    for (int i = 0; i < 200; ++i) EXPECT_EQ(await_down(all[static_cast<std::size_t>(i)]).what(), std::to_string(i));
  });
}

TEST_F(ExitTest, ACrashIsReportedWithPidNameFunctionAndReason) {
  run([] {
    const Monitored p = spawn_monitor({.name = "unlucky"}, [] { throw_from_here(1); });
    EXPECT_EQ(await_down(p).what(), "far off");
  });
  const auto seen = reports();
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].level, base::Level::error);
  EXPECT_NE(seen[0].text.find("std::out_of_range: far off"), std::string::npos) << seen[0].text;
  EXPECT_NE(seen[0].text.find("throw_from_here"), std::string::npos) << seen[0].text;
  EXPECT_NE(seen[0].text.find("unlucky"), std::string::npos) << seen[0].text;
}

TEST_F(ExitTest, OrderlyEndsAreNotReported) {
  run([] {
    await_down(spawn_monitor([] {}));
    await_down(spawn_monitor([] { exit(reason::normal); }));
    await_down(spawn_monitor([] { exit(reason::shutdown); }));
    await_down(spawn_monitor([] { exit(Reason::shutdown("why not")); }));
    const Monitored killed = spawn_monitor(wait_forever);
    exit(killed.pid, reason::kill);
    await_down(killed);
  });
  for (const Report& report : reports()) ADD_FAILURE() << report.text;
}

TEST_F(ExitTest, ACrashReportDoesNotNeedTheSink) {
  base::set_log_sink([](auto&&...) { throw std::runtime_error("a sink that throws"); });
  run([] { EXPECT_EQ(await_down(spawn_monitor([] { throw 1; })).type(), "int"); });
}

TEST_F(ExitTest, NamesOfPredefinedReasonsCompareEqual) {
  EXPECT_EQ(Reason("killed"), reason::killed);
  EXPECT_NE(Reason("killed", "x"), reason::killed);
  EXPECT_FALSE(Reason::shutdown("x").is_abnormal());
  EXPECT_FALSE(reason::shutdown.is_abnormal());
  EXPECT_FALSE(reason::normal.is_abnormal());
  EXPECT_TRUE(reason::killed.is_abnormal());
  EXPECT_EQ(Reason::shutdown("x").to_string(), "{shutdown, x}");
}

TEST_F(ExitTest, Rule_2_4_NormalWithADetailIsAbnormal) { EXPECT_TRUE(Reason("normal", "but not quite").is_abnormal()); }

// What a message never received does as it is destroyed must not hold its dead receiver up.
TEST_F(ExitTest, WaitsInDestructorsOfMessagesNeverReceivedEndAtOnce) {
  struct Slow {
    bool mine = true;
    Slow() = default;
    Slow(Slow&& other) noexcept : mine(std::exchange(other.mine, false)) {}
    Slow& operator=(Slow&& other) noexcept {
      std::swap(mine, other.mine);
      return *this;
    }
    ~Slow() {
      if (!mine) return;
      sleep(1h);
      receive(
          forever, [](int) {}, [](Timeout) {});
      EXPECT_EQ(process_info(Pid{1}, 1h).error().kind, CallFailure::noproc);
    }
  };
  run([] {
    const Monitored p = spawn_monitor([] { receive(forever, [](int) {}); });
    for (int i = 0; i < 3; ++i) send(p.pid, Slow{});
    send(p.pid, 1);
    const auto began = now();
    EXPECT_EQ(await_down(p), reason::normal);
    EXPECT_LT(now() - began, 1h);
  });
}

TEST_F(ExitTest, WaitsInDestructorsOfAKilledProcessEndAtOnceButUnderADeferKill) {
  run([] {
    std::vector<std::string> said;
    struct AtEnd {
      std::vector<std::string>& said;
      Pid silent;
      ~AtEnd() {
        const auto began = now();
        sleep(1h);
        receive(
            1h, [](int) {}, [&](Timeout) { said.emplace_back("receive"); });
        said.emplace_back(to_string(process_info(silent, 1h).error().kind));
        EXPECT_LT(now() - began, 1h);
        DeferKill guard;
        sleep(2ms);
        EXPECT_GE(now() - began, 2ms);
      }
    };
    const Pid silent = spawn([] {
      DeferKill guard;
      sleep(1min);
    });
    until_waiting(silent);
    exit(silent, reason::kill);  // now it answers at its end only
    const Monitored p = spawn_monitor([&] {
      AtEnd at_end{said, silent};
      wait_forever();
    });
    until_waiting(p.pid);
    exit(p.pid, reason::kill);
    EXPECT_EQ(await_down(p), reason::killed);
    EXPECT_EQ(said, (std::vector<std::string>{"receive", "timeout"}));
    monitor(silent);
    receive(2min, [](Down) {});
  });
}

struct Question {
  using Reply = int;
};

TEST_F(ExitTest, AnExitThatWasCaughtIsForgottenByALaterExceptionsUnwinding) {
  run([] {
    const Pid p = spawn([] {
      try {
        exit(Reason("caught"));
      } catch (...) {
      }
      receive(10s, [](Question&, From<Question> from) {
        const From<Question> held = std::move(from);
        throw std::runtime_error("later");
      });
    });
    const auto answer = call(p, Question{}, 10s);
    EXPECT_EQ(answer.error(), (CallError{CallFailure::died, Reason("exception")}));
  });
}

TEST_F(ExitTest, AnExitCaughtInADestructorThatAnotherCallsLeavesTheOthersReason) {
  run([] {
    struct AtEnd {
      ~AtEnd() {
        try {
          exit(Reason("inner"));
        } catch (...) {
        }
      }
    };
    const Monitored p = spawn_monitor([] {
      receive(10s, [](Question&, From<Question> from) {
        const From<Question> held = std::move(from);  // dropped after the inner exit
        AtEnd at_end;
        exit(Reason("outer"));
      });
    });
    EXPECT_EQ(call(p.pid, Question{}, 10s).error(), (CallError{CallFailure::died, Reason("outer")}));
    EXPECT_EQ(await_down(p), Reason("outer"));
  });
}

}  // namespace
}  // namespace erlking::testing
