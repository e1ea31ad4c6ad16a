// spawn, and what becomes of it at limits.
#include "tests/support/runtime_fixture.h"

#include <atomic>

namespace erlking::testing {
namespace {

struct Number {
  int n;
};
struct Pair {
  int a;
  std::string b;
};

struct ProcessTest : RuntimeTest {};

void tell(Pid to, int a, std::string b) { send(to, Pair{a, std::move(b)}); }

TEST_F(ProcessTest, SpawnPassesItsArguments) {
  run([] {
    spawn(tell, self(), 7, "seven");
    receive(1s, [](Pair pair) {
      EXPECT_EQ(pair.a, 7);
      EXPECT_EQ(pair.b, "seven");
    });
  });
}

TEST_F(ProcessTest, SpawnMovesFunctionAndArgumentsThatCannotBeCopied) {
  run([] {
    auto held = std::make_unique<int>(3);
    spawn([held = std::move(held)](std::unique_ptr<int> given, Pid to) { send(to, Number{*held + *given}); },
          std::make_unique<int>(4), self());
    receive(1s, [](Number number) { EXPECT_EQ(number.n, 7); });
  });
}

TEST_F(ProcessTest, SpawnRunsMemberFunctions) {
  struct Greeter {
    int n;
    void greet(Pid to) { send(to, Number{n}); }
  };
  run([] {
    spawn(&Greeter::greet, Greeter{5}, self());
    receive(1s, [](Number number) { EXPECT_EQ(number.n, 5); });
  });
}

TEST_F(ProcessTest, TheFunctionAndItsArgumentsAreDestroyedOnceHoweverTheProcessEnds) {
  struct Counted {
    std::shared_ptr<int> alive;
  };
  auto tracked = std::make_shared<int>(0);
  run([&] {
    await_down(spawn_monitor([](Counted) {}, Counted{tracked}));
    await_down(spawn_monitor([](Counted) { exit(Reason("bye")); }, Counted{tracked}));
    await_down(spawn_monitor([](Counted) { throw 1; }, Counted{tracked}));
    auto killed = spawn_monitor([](Counted) { wait_forever(); }, Counted{tracked});
    exit(killed.pid, reason::kill);
    await_down(killed);
  });
  EXPECT_EQ(tracked.use_count(), 1);
}

TEST_F(ProcessTest, AnOverAlignedArgumentLiesAligned) {
  struct alignas(128) Wide {
    char bytes[128];
  };
  run([] {
    for (int i = 0; i < 40; ++i) {  // stack tops are coloured
      spawn(
          [to = self()](const Wide& wide) {
            send(to, Number{static_cast<int>(reinterpret_cast<std::uintptr_t>(&wide) % 128)});
          },
          Wide{});
      receive(1s, [](Number number) { EXPECT_EQ(number.n, 0); });
    }
  });
}

TEST_F(ProcessTest, AnArgumentThatThrowsOnItsWayLeavesNothingBehind) {
  struct Thrower {
    Thrower() = default;
    Thrower(Thrower&&) { throw std::runtime_error("no"); }
  };
  run([this] {
    const auto before = rt().processes();
    for (int i = 0; i < 200; ++i) EXPECT_THROW(spawn([](Thrower&&) {}, Thrower{}), std::runtime_error);
    EXPECT_EQ(rt().processes(), before);
  });
}

TEST_F(ProcessTest, OptionsOutOfRangeAreAnswered) {
  run([] {
    const auto error = [](const SpawnOptions& bad) {
      auto made = try_spawn(bad, [] {});
      return made ? Reason("made") : Reason(to_string(made.error()));
    };
    const Reason bad("bad_options");
    EXPECT_EQ(error({.mailbox = 0}), bad);
    EXPECT_EQ(error({.mailbox = 500'001}), bad);
    EXPECT_EQ(error({.stack = 0}), bad);
    EXPECT_EQ(error({.stack = 16 * 1024 - 1}), bad);
    EXPECT_EQ(error({.stack = 8 * 1024 * 1024 + 1}), bad);
    EXPECT_EQ(error({.worker = 2}), bad);
    EXPECT_EQ(error({.worker = -2}), bad);
    EXPECT_EQ(error({.mailbox = 500'000, .stack = 8 * 1024 * 1024, .worker = 1}), Reason("made"));
    EXPECT_EQ(error({.mailbox = 1, .stack = 16 * 1024, .worker = 0}), Reason("made"));
    const auto why = await_down(spawn_monitor([] { spawn({.mailbox = 0}, [] {}); }));
    EXPECT_EQ(why, bad) << "spawn exits its caller";
  });
}

TEST_F(ProcessTest, AStackIsAsLargeAsAsked) {
  run([] {
    auto made = spawn_monitor({.stack = 1024 * 1024}, [] {
      char block[900 * 1024];
      for (std::size_t i = 0; i < sizeof block; i += 1024) static_cast<volatile char*>(block)[i] = 1;
    });
    EXPECT_EQ(await_down(made), reason::normal);
  });
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// Nothing else is written to: the program ends there.
TEST_F(ProcessTest, AStackThatOverflowsEndsTheProgramAtItsGuard) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  if (sched::StackPool().guard_kind() == sched::Guard::none) GTEST_SKIP() << "no guards here";
  static const auto descend = [](auto&& again, int depth) -> int {
    volatile char frame[500] = {};
    frame[depth % 500] = static_cast<char>(depth);
    return depth == 0 ? 0 : again(again, depth - 1) + frame[depth % 500];
  };
  EXPECT_EQ(Runtime(options).run([] { descend(descend, 20); }), 0) << "so many frames fit";
  options.on_fault = "abort";
  EXPECT_EXIT(Runtime(options).run([] { descend(descend, 1'000'000); }), ::testing::KilledBySignal(SIGSEGV), "");
}
#endif

TEST_F(ProcessTest, Rule_6_4_ASpawnWithANameIsNamedBeforeItRuns) {
  run([] {
    const Pid pid = spawn({.name = "server"}, [to = self()] {
      send(to, Number{whereis("server") == self()});
      wait_forever();
    });
    EXPECT_EQ(whereis("server"), pid);
    receive(1s, [](Number number) { EXPECT_EQ(number.n, 1); });
    EXPECT_EQ(try_spawn({.name = "server"}, [] {}).error(), SpawnError::name_taken);
    EXPECT_EQ(await_down(spawn_monitor([] { spawn({.name = "server"}, [] {}); })), Reason("name_taken"));
  });
}

TEST_F(ProcessTest, Rule_6_4_ARefusedNameLeavesNoProcess) {
  run([this] {
    auto tracked = std::make_shared<int>();
    spawn({.name = "one"}, wait_forever);
    const auto before = rt().processes();
    for (int i = 0; i < 200; ++i) EXPECT_FALSE(try_spawn({.name = "one"}, [tracked] {}));
    EXPECT_EQ(rt().processes(), before);
    EXPECT_EQ(tracked.use_count(), 1);
  });
}

TEST_F(ProcessTest, Rule_3_3_ALinkedSpawnThatDiesAtOnceTellsItsTrueReason) {
  run([] {
    trap_exit(true);
    for (int i = 0; i < 500; ++i) {
      const Pid pid = spawn_link([] { exit(Reason("at_once")); });
      EXPECT_EQ(await_exit(pid), Reason("at_once"));
    }
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(ProcessTest, Rule_4_5_AMonitoredSpawnThatDiesAtOnceTellsItsTrueReason) {
  run([] {
    for (int i = 0; i < 500; ++i)
      EXPECT_EQ(await_down(spawn_monitor([] { exit(Reason("at_once")); })), Reason("at_once"));
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(ProcessTest, Rule_3_3_AParentThatDiesAtOnceTakesItsLinkedChildAlong) {
  run([] {
    for (int i = 0; i < 200; ++i) {
      auto parent = spawn_monitor([to = self()] {
        const Pid child = spawn_link(wait_forever);
        send(to, Pid(child));
        exit(Reason("gone"));
      });
      const Pid child = receive(5s, [](Pid pid) { return pid; });
      const MonitorRef ref = monitor(child);
      const Reason why = await_down(ref);
      EXPECT_TRUE(why == Reason("gone") || why == reason::noproc) << why.to_string();
      await_down(parent);
      EXPECT_FALSE(is_alive(child, 5s));
    }
  });
}

TEST_F(ProcessTest, AtMaxProcessesASpawnIsAnErrorAndTheNodeRecovers) {
  options.max_processes = 200;
  run([] {
    for (int round = 0; round < 3; ++round) {
      std::vector<Pid> made;
      for (;;) {
        auto pid = try_spawn(wait_forever);
        if (!pid) {
          EXPECT_EQ(pid.error(), SpawnError::system_limit);
          break;
        }
        made.push_back(*pid);
        ASSERT_LE(made.size(), 200u);
      }
      EXPECT_GE(made.size(), 30u);
      for (Pid pid : made) {
        const MonitorRef ref = monitor(pid);
        exit(pid, reason::kill);
        await_down(ref);
      }
      EXPECT_TRUE(try_spawn([] {}).has_value());
      sleep(1ms);
    }
  });
}

TEST_F(ProcessTest, MaxProcessesIsHowManyCanBeAlive) {
  options.max_processes = 10;
  options.workers = 1;
  run([] {
    int more = 0;
    std::vector<Pid> made;
    for (; more < 20; ++more) {
      auto pid = try_spawn(wait_forever);
      if (!pid) break;
      made.push_back(*pid);
    }
    EXPECT_EQ(more, 8) << "besides this process and the one that runs it";
    for (Pid pid : made) exit(pid, reason::kill);
  });
}

TEST_F(ProcessTest, AtMaxStackBytesASpawnIsAnErrorAndTheNodeRecovers) {
  options.max_stack_bytes = 64 * 1024 * 1024;
  options.workers = 1;
  run([] {
    std::vector<Monitored> made;
    for (int round = 0; round < 3; ++round) {
      for (;;) {
        auto pid = try_spawn({.stack = 1024 * 1024}, wait_forever);
        if (!pid) {
          EXPECT_EQ(pid.error(), SpawnError::system_limit);
          break;
        }
        made.push_back({*pid, monitor(*pid)});
        ASSERT_LE(made.size(), 64u);
      }
      EXPECT_GE(made.size(), 1u);
      const Reason why = await_down(spawn_monitor([] { spawn({.stack = 1024 * 1024}, [] {}); }));
      EXPECT_EQ(why, reason::system_limit);
      for (auto& one : made) {
        exit(one.pid, reason::kill);
        await_down(one);
      }
      made.clear();
      EXPECT_TRUE(try_spawn({.stack = 1024 * 1024}, [] {}).has_value());
      sleep(1ms);
    }
  });
}

TEST_F(ProcessTest, Rule_1_11_AtMaxHeapBytesSendAndSpawnSayNoMemoryAndTheNodeRecovers) {
  options.max_heap_bytes = 8 * 1024 * 1024;
  struct Block {
    char bytes[4000];
  };
  run([] {
    for (int round = 0; round < 3; ++round) {
      // Ends by a flag: a signal takes memory, too. (By exit(), one time in 30 none was left for it on `boehm`.)
      std::atomic<bool> over{false};
      const Monitored hoarder = spawn_monitor({.mailbox = 500'000}, [&over] {
        while (!over) sleep(1ms);
      });
      int sent = 0;
      try {
        for (;; ++sent) ASSERT_EQ(send(hoarder.pid, Block{}), Delivery::queued);
      } catch (const std::bad_alloc&) {
      }
      EXPECT_GT(sent, 1000);
      EXPECT_LT(sent, 2100);
      over = true;
      EXPECT_EQ(await_down(hoarder), reason::normal);
      EXPECT_EQ(await_down(spawn_monitor([] {})), reason::normal);
    }
  });
}

TEST_F(ProcessTest, AHundredThousandProcessesLiveAtOnce) {
  if (has_own_workers()) GTEST_SKIP() << "more processes than it has threads";
  run([] {
    constexpr int kCount = 100'000;
    std::vector<Pid> made;
    made.reserve(kCount);
    for (int i = 0; i < kCount; ++i)
      made.push_back(spawn({.stack = 16 * 1024}, [] { receive(forever, [](Number) {}); }));
    for (Pid pid : made) EXPECT_EQ(send(pid, Number{1}), Delivery::queued);
    for (int i = 0; i < kCount; i += 997) {
      const MonitorRef ref = monitor(made[static_cast<std::size_t>(i)]);
      const Reason why = await_down(ref);
      EXPECT_TRUE(why == reason::normal || why == reason::noproc);
    }
  });
}

TEST_F(ProcessTest, ProcessesSpawnedFromOutsideHaveNoParent) {
  Pid parent{1};
  start([&] { parent = process_info(self(), 1s)->parent; });
  EXPECT_EQ(parent, Pid{});
}

TEST_F(ProcessTest, WhatNeedsAProcessSaysSoOutsideOfOne) {
  EXPECT_THROW(self(), std::logic_error);
  EXPECT_THROW(send(Pid{}, Number{1}), std::logic_error);
  EXPECT_THROW(receive(1s, [](Number) {}), std::logic_error);
  EXPECT_THROW(spawn([] {}), std::logic_error);
  EXPECT_THROW(sleep(1s), std::logic_error);
}

TEST_F(ProcessTest, RunGivesTheTrueReasonHoweverSoonTheFirstProcessEnds) {
  for (int i = 0; i < 200; ++i) {
    const auto ended = rt().spawn_wait(forever, {}, [i] {
      if (i % 2 == 1) exit(Reason("odd"));
    });
    ASSERT_TRUE(ended.has_value() && ended->has_value());
    EXPECT_EQ(**ended, i % 2 == 1 ? Reason("odd") : reason::normal);
  }
}

TEST_F(ProcessTest, Rule_1_11_WhatIsSentToNobodyIsRefusedAsAValue) {
  // Before slot 0 could have been used.
  EXPECT_EQ(rt().send(Pid{}, Number{1}), Delivery::noproc);
  rt().exit(Pid{}, reason::kill);
  EXPECT_EQ(rt().wait(Pid{}, 0s), reason::noproc);
  run([] {
    EXPECT_EQ(send(Pid{}, Number{1}), Delivery::noproc);
    EXPECT_FALSE(is_alive(Pid{}, 1s));
    const Monitored gone = spawn_monitor([] {});
    await_down(gone);
    EXPECT_EQ(send(gone.pid, Number{1}), Delivery::noproc);
    EXPECT_EQ(send(gone.pid, Number{1}, 1s), Delivery::noproc);
    EXPECT_EQ(send(Name{"nobody"}, Number{1}), Delivery::noproc);
    EXPECT_EQ(send(Name{"nobody"}, Number{1}, 1s), Delivery::noproc);
  });
}

TEST_F(ProcessTest, ANameAtAnotherNodeIsNobody) {
  run([] {
    ASSERT_TRUE(register_name("here", self()).has_value());
    EXPECT_EQ(send(Name{"here"}, Number{1}), Delivery::queued);
    EXPECT_EQ(send(Name{"here", "other@host"}, Number{1}), Delivery::noproc);
    EXPECT_EQ(await_down(monitor(Name{"here", "other@host"})), reason::noproc);
    flush();
  });
}

TEST_F(ProcessTest, TheReservedNameIsABadOption) {
  run([] { EXPECT_EQ(try_spawn({.name = "undefined"}, [] {}).error(), SpawnError::bad_options); });
}

TEST_F(ProcessTest, A65thRuntimeIsRefused) {
  options.workers = 1;
  std::vector<std::unique_ptr<Runtime>> runtimes;
  for (int i = 0; i < 64; ++i) runtimes.push_back(std::make_unique<Runtime>(options));
  EXPECT_THROW(Runtime{options}, std::invalid_argument);
  runtimes.pop_back();
  EXPECT_NO_THROW(Runtime{options});
}

}  // namespace
}  // namespace erlking::testing
