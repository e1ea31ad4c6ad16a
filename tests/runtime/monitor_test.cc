// Monitors: SEMANTICS §4.
#include "tests/support/runtime_fixture.h"

#include <set>

namespace erlking::testing {
namespace {

struct Go {};
struct Ready {
  Pid from;
};

struct MonitorTest : RuntimeTest {};

TEST_F(MonitorTest, Rule_4_1_EachMonitorHasItsOwnRefAndItsOwnDown) {
  run([] {
    const Pid p = spawn(wait_forever);
    std::set<MonitorRef> refs;
    for (int i = 0; i < 40; ++i) refs.insert(monitor(p));
    EXPECT_EQ(refs.size(), 40u);
    EXPECT_EQ(process_info(p, 1s)->monitored_by.size(), 40u);
    EXPECT_EQ(process_info(self(), 1s)->monitors.size(), 40u);
    exit(p, Reason("bye"));
    for (int i = 0; i < 40; ++i) {
      receive(5s, [&](Down down) {
        EXPECT_EQ(down.pid, p);
        EXPECT_EQ(down.reason, Reason("bye"));
        EXPECT_FALSE(down.name);
        EXPECT_EQ(refs.erase(down.ref), 1u);
      });
    }
    EXPECT_TRUE(mailbox_empty());
    EXPECT_TRUE(process_info(self(), 1s)->monitors.empty());
  });
}

TEST_F(MonitorTest, Rule_4_2_MonitoringOneselfNeverFires) {
  run([] {
    const Monitored p = spawn_monitor([] {
      const MonitorRef ref = monitor(self());
      EXPECT_TRUE(ref);
      EXPECT_TRUE(mailbox_empty());
    });
    EXPECT_EQ(await_down(p), reason::normal);
    const MonitorRef own = monitor(self());
    EXPECT_TRUE(demonitor(own));
  });
}

TEST_F(MonitorTest, Rule_4_3_ADeadTargetAndAFreeNameGiveNoproc) {
  run([] {
    const Monitored gone = spawn_monitor([] {});
    await_down(gone);
    const MonitorRef dead = monitor(gone.pid);
    receive(1s, [&](Down down) {
      EXPECT_EQ(down.ref, dead);
      EXPECT_EQ(down.pid, gone.pid);
      EXPECT_EQ(down.reason, reason::noproc);
    });
    const MonitorRef named = monitor(Name{"nobody"});
    receive(1s, [&](Down down) {
      EXPECT_EQ(down.ref, named);
      EXPECT_EQ(down.pid, Pid{});
      EXPECT_EQ(down.reason, reason::noproc);
      ASSERT_TRUE(down.name);
      EXPECT_EQ(*down.name, "nobody");
    });
  });
}

TEST_F(MonitorTest, Rule_4_4_AMonitorByNameBindsToWhoHasItThen) {
  run([] {
    const Pid first = spawn({.name = "it"}, wait_forever);
    const MonitorRef ref = monitor(Name{"it"});
    EXPECT_TRUE(unregister("it"));
    const Pid second = spawn({.name = "it"}, wait_forever);
    exit(second, reason::kill);
    await_down(monitor(second));
    EXPECT_TRUE(mailbox_empty()) << "the second is not the one watched";
    exit(first, Reason("now"));
    receive(5s, [&](Down down) {
      EXPECT_EQ(down.ref, ref);
      EXPECT_EQ(down.pid, first);
      EXPECT_EQ(down.reason, Reason("now"));
      ASSERT_TRUE(down.name);
      EXPECT_EQ(*down.name, "it");
    });
  });
}

TEST_F(MonitorTest, Rule_4_6_DemonitorOfAnActiveMonitorSaysTrueAndNoDownComes) {
  run([] {
    const Monitored p = spawn_monitor(wait_forever);
    const MonitorRef ref = monitor(p.pid);
    EXPECT_TRUE(demonitor(ref));
    EXPECT_FALSE(demonitor(ref)) << "repeated: harmless";
    EXPECT_FALSE(demonitor(ref, Flush::yes));
    EXPECT_EQ(process_info(p.pid, 1s)->monitored_by.size(), 1u);
    exit(p.pid, reason::kill);
    await_down(p);
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(MonitorTest, Rule_4_6_AQueuedDownStaysWithoutFlushAndGoesWithIt) {
  run([] {
    for (const Flush flush : {Flush::no, Flush::yes}) {
      const Pid p = spawn([] {});
      const MonitorRef a = monitor(p);
      const MonitorRef b = monitor(p);
      await_down(b);
      EXPECT_FALSE(demonitor(a, flush));
      if (flush == Flush::no) await_down(a);
      EXPECT_TRUE(mailbox_empty());
    }
  });
}

TEST_F(MonitorTest, Rule_4_6_DemonitorRacingADeathLeavesNoDown) {
  run([] {
    for (int i = 0; i < 2000; ++i) {
      const Monitored p = spawn_monitor([] {});
      if (i % 3 == 0) yield();
      demonitor(p.ref, Flush::yes);
      await_down(monitor(p.pid));
      ASSERT_TRUE(mailbox_empty());
    }
  });
}

TEST_F(MonitorTest, Rule_4_7_SomebodyElsesRefHasNoEffect) {
  run([] {
    const Monitored p = spawn_monitor(wait_forever);
    EXPECT_EQ(await_down(spawn_monitor([&] {
                EXPECT_FALSE(demonitor(p.ref));
                EXPECT_FALSE(demonitor(p.ref, Flush::yes));
                EXPECT_FALSE(demonitor(MonitorRef{}));
              })),
              reason::normal);
    exit(p.pid, Reason("seen"));
    EXPECT_EQ(await_down(p), Reason("seen"));
  });
}

TEST_F(MonitorTest, Rule_4_8_ADeadWatcherIsForgotten) {
  run([] {
    const Pid p = spawn(wait_forever);
    const Monitored watcher = spawn_monitor([&] {
      for (int i = 0; i < 20; ++i) monitor(p);
      EXPECT_EQ(process_info(p, 1s)->monitored_by.size(), 20u);
    });
    EXPECT_EQ(await_down(watcher), reason::normal);
    EXPECT_EQ(process_info(p, 1s)->monitored_by.size(), 0u);
    exit(p, reason::kill);
  });
}

TEST_F(MonitorTest, Rule_4_11_TheRefOfASpawnIsKnownBeforeItsDown) {
  run([] {
    for (int i = 0; i < 500; ++i) {
      const Monitored made = spawn_monitor([] {});
      if (i % 2 == 0) yield();
      receive(
          10s,
          [&](Down down) {
            EXPECT_EQ(down.ref, made.ref);
            EXPECT_EQ(down.pid, made.pid);
          },
          [](Message other) { ADD_FAILURE() << other.type_name() << " before the Down"; });
      ASSERT_TRUE(mailbox_empty());
    }
  });
}

TEST_F(MonitorTest, AMonitorDoesNotEndItsOwner) {
  run([] {
    EXPECT_EQ(await_down(spawn_monitor([] { exit(reason::kill); })), reason::kill);
    EXPECT_EQ(await_down(spawn_monitor([] { throw 1; })).type(), "int");
  });
}

TEST_F(MonitorTest, EveryWatcherHearsOfADeathOnce) {
  run([] {
    const Monitored p = spawn_monitor([] {
      receive(forever, [](Go) {});
      exit(Reason("all"));
    });
    std::vector<Monitored> watchers;
    for (int i = 0; i < 1000; ++i) {
      watchers.push_back(spawn_monitor([&p, to = self()] {
        const MonitorRef ref = monitor(p.pid);
        send(to, Ready{self()}, 10s);
        EXPECT_EQ(await_down(ref), Reason("all"));
        EXPECT_TRUE(mailbox_empty());
      }));
    }
    for (std::size_t i = 0; i < watchers.size(); ++i) receive(5s, [](Ready) {});
    send(p.pid, Go{});
    for (auto& watcher : watchers) EXPECT_EQ(await_down(watcher), reason::normal);
  });
}

}  // namespace
}  // namespace erlking::testing
