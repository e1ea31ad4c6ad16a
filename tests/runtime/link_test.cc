// Links: SEMANTICS §3.
#include "base/random.h"
#include "tests/support/runtime_fixture.h"

namespace erlking::testing {
namespace {

struct Go {};
struct Ready {
  Pid from;
};

struct LinkTest : RuntimeTest {};

std::size_t links_of(Pid pid) {
  const auto info = process_info(pid, 10s);
  return info ? info->links.size() : ~std::size_t{0};
}

TEST_F(LinkTest, Rule_3_1_LinksAreIdempotentAndOneUnlinkEndsThem) {
  run([] {
    trap_exit(true);
    const Monitored p = spawn_monitor(wait_forever);
    for (int i = 0; i < 5; ++i) link(p.pid);
    EXPECT_EQ(links_of(self()), 1u);
    EXPECT_EQ(links_of(p.pid), 1u);
    unlink(p.pid);
    EXPECT_EQ(links_of(p.pid), 0u);
    EXPECT_EQ(links_of(self()), 0u);
    exit(p.pid, reason::kill);
    await_down(p);
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(LinkTest, Rule_3_1_OneDeathGivesOneExit) {
  run([] {
    trap_exit(true);
    const Monitored p = spawn_monitor(wait_forever);
    for (int i = 0; i < 5; ++i) link(p.pid);
    exit(p.pid, Reason("once"));
    await_down(p);
    EXPECT_EQ(await_exit(p.pid), Reason("once"));
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(LinkTest, Rule_3_1_LinkingFromBothEndsMakesOneLink) {
  run([] {
    trap_exit(true);
    const Monitored p = spawn_monitor([to = self()] {
      link(to);
      send(to, Ready{self()});
      wait_forever();
    });
    link(p.pid);
    receive(1s, [](Ready) {});
    EXPECT_EQ(links_of(p.pid), 1u);
    EXPECT_EQ(links_of(self()), 1u);
    exit(p.pid, Reason("once"));
    await_down(p);
    EXPECT_EQ(await_exit(p.pid), Reason("once"));
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(LinkTest, Rule_3_2_LinkingOneselfAndUnlinkingNobodyDoNothing) {
  run([] {
    link(self());
    EXPECT_EQ(links_of(self()), 0u);
    unlink(self());
    unlink(Pid{});
    const Monitored p = spawn_monitor([] {});
    unlink(p.pid);
    await_down(p);
    unlink(p.pid);
  });
}

TEST_F(LinkTest, Rule_3_4_AfterUnlinkTheLinkHasNoEffect) {
  run([] {
    for (int i = 0; i < 2000; ++i) {
      // The peer dies at any moment around the unlink; nothing but an EXIT queued before may be found.
      const Monitored watcher = spawn_monitor([] {
        trap_exit(true);
        const Pid peer = spawn_link([] { exit(Reason("dying")); });
        if (self().id % 3 == 0) yield();
        unlink(peer);
        receive(
            0s, [](Exit&) {}, [](Timeout) {});
        const MonitorRef ref = monitor(peer);
        await_down(ref);
        EXPECT_TRUE(mailbox_empty()) << "an EXIT came after the unlink";
      });
      ASSERT_EQ(await_down(watcher), reason::normal);
    }
  });
}

TEST_F(LinkTest, Rule_3_4_AnExitQueuedBeforeTheUnlinkStays) {
  run([] {
    trap_exit(true);
    const Pid p = spawn_link([] {
      receive(1min, [](Go) {});
      exit(Reason("before"));
    });
    const MonitorRef ref = monitor(p);  // of one that has ended already it would be told before the EXIT is sent
    send(p, Go{});
    await_down(ref);  // its EXIT is here by now
    unlink(p);
    EXPECT_EQ(await_exit(p), Reason("before"));
  });
}

TEST_F(LinkTest, Rule_3_4_AnUnlinkedProcessSurvivesThePeersDeath) {
  run([] {
    const Monitored p = spawn_monitor(wait_forever);
    link(p.pid);
    unlink(p.pid);
    exit(p.pid, Reason("boom"));
    EXPECT_EQ(await_down(p), Reason("boom"));
  });
}

TEST_F(LinkTest, Rule_3_5_UnlinkDoesNotSilenceExplicitExits) {
  run([] {
    trap_exit(true);
    const Pid p = spawn_link([to = self()] {
      receive(1s, [](Go) {});
      exit(to, Reason("explicit"));
    });
    unlink(p);
    send(p, Go{});
    EXPECT_EQ(await_exit(p), Reason("explicit"));
  });
}

TEST_F(LinkTest, Rule_3_6_ATrappedExplicitExitLeavesTheLink) {
  run([] {
    trap_exit(true);
    const Pid p = spawn_link([to = self()] {
      exit(to, Reason("explicit"));
      receive(1s, [](Go) {});
      exit(Reason("ended"));
    });
    EXPECT_EQ(await_exit(p), Reason("explicit"));
    EXPECT_EQ(links_of(self()), 1u);
    send(p, Go{});
    EXPECT_EQ(await_exit(p), Reason("ended"));
    EXPECT_EQ(links_of(self()), 0u);
  });
}

TEST_F(LinkTest, Rule_3_7_AnExitByALinkActsOnceAndTheLinkIsGoneAtBothEnds) {
  run([] {
    trap_exit(true);
    const Monitored far = spawn_monitor([] { receive(5s, [](Go) {}); });
    const Monitored middle = spawn_monitor([&] {  // ended by its link to the first
      link(far.pid);
      wait_forever();
    });
    const Monitored first = spawn_monitor([&] {
      link(middle.pid);
      receive(5s, [](Go) {});
      exit(Reason("first"));
    });
    link(middle.pid);
    until_waiting(first.pid);
    until_waiting(middle.pid);
    EXPECT_EQ(links_of(middle.pid), 3u);
    unlink(middle.pid);
    send(first.pid, Go{});
    EXPECT_EQ(await_down(first), Reason("first"));
    EXPECT_EQ(await_down(middle), Reason("first"));
    EXPECT_EQ(await_down(far), Reason("first"));
    EXPECT_TRUE(mailbox_empty()) << "a link that was no longer active has acted";

    const Monitored survivor = spawn_monitor([] { receive(5s, [](Go) {}); });
    const Monitored normal = spawn_monitor([&] { link(survivor.pid); });
    EXPECT_EQ(await_down(normal), reason::normal);
    EXPECT_EQ(links_of(survivor.pid), 0u) << "an exit that ends nobody takes the link along, too";
    send(survivor.pid, Go{});
    EXPECT_EQ(await_down(survivor), reason::normal);
  });
}

TEST_F(LinkTest, Rule_3_8_LinkUnlinkLinkIsLinkedOnce) {
  run([] {
    trap_exit(true);
    const Monitored p = spawn_monitor(wait_forever);
    link(p.pid);
    unlink(p.pid);
    link(p.pid);
    EXPECT_EQ(links_of(p.pid), 1u);
    EXPECT_EQ(links_of(self()), 1u);
    for (int i = 0; i < 50; ++i) {
      unlink(p.pid);
      link(p.pid);
    }
    EXPECT_EQ(links_of(p.pid), 1u);
    EXPECT_EQ(links_of(self()), 1u);
    exit(p.pid, Reason("end"));
    await_down(p);
    EXPECT_EQ(await_exit(p.pid), Reason("end"));
    EXPECT_TRUE(mailbox_empty());
  });
}

// Both ends link and unlink each other at random; in the end both must agree.
TEST_F(LinkTest, Rule_3_8_SimultaneousLinksAndUnlinksConverge) {
  run([] {
    for (std::uint64_t round = 0; round < 300; ++round) {
      const auto body = [](Pid report, std::uint64_t seed) {
        trap_exit(true);
        const Pid peer = receive(5s, [](Pid pid) { return pid; });
        base::Random random(seed);
        for (int i = 0; i < 30; ++i) {
          switch (random.next() % 3) {
            case 0:
              link(peer);
              break;
            case 1:
              unlink(peer);
              break;
            default:
              yield();
          }
        }
        send(report, Ready{self()});
        idle_forever();
      };
      const Monitored a = spawn_monitor(body, self(), round * 2 + 1);
      const Monitored b = spawn_monitor(body, self(), round * 2 + 2);
      send(a.pid, Pid(b.pid));
      send(b.pid, Pid(a.pid));
      for (int i = 0; i < 2; ++i) receive(5s, [](Ready) {});
      for (int i = 0; i < 3; ++i) {  // acknowledgements still on their way
        links_of(a.pid);
        links_of(b.pid);
      }
      ASSERT_EQ(links_of(a.pid), links_of(b.pid)) << "round " << round;
      exit(a.pid, reason::kill);
      exit(b.pid, reason::kill);
      await_down(a);
      await_down(b);
    }
  });
}

// As above, while one of them dies: whoever is linked in the end hears of it, whoever is not does not.
TEST_F(LinkTest, Rule_3_9_ALinkThatRacesADeathTellsTheTrueReasonOrNoproc) {
  run([] {
    for (int round = 0; round < 2000; ++round) {
      const Monitored dying = spawn_monitor([] {
        receive(5s, [](Go) {});
        exit(Reason("true"));
      });
      const Monitored linking = spawn_monitor([peer = dying.pid, round] {
        trap_exit(true);
        link(peer);
        if (round % 2 == 0) {
          unlink(peer);
          receive(
              0s, [](Exit) {}, [](Timeout) {});
          link(peer);
        }
        const Reason why = await_exit(peer);
        EXPECT_TRUE(why == Reason("true") || why == reason::noproc) << why.to_string();
        EXPECT_TRUE(mailbox_empty());
        EXPECT_EQ(links_of(self()), 0u);
      });
      send(dying.pid, Go{});
      await_down(dying);
      ASSERT_EQ(await_down(linking), reason::normal);
    }
  });
}

TEST_F(LinkTest, ManyLinksAllHearOfADeath) {
  const unsigned count = has_own_workers() ? 500 : 2'000;
  run([count] {
    trap_exit(true);
    const Monitored hub = spawn_monitor([] {
      receive(forever, [](Go) {});
      exit(Reason("hub"));
    });
    std::vector<Monitored> spokes;
    for (unsigned i = 0; i < count; ++i) {
      spokes.push_back(spawn_monitor([&hub, to = self()] {
        link(hub.pid);
        send(to, Ready{self()}, 10s);
        wait_forever();
      }));
    }
    for (std::size_t i = 0; i < spokes.size(); ++i) receive(5s, [](Ready) {});
    EXPECT_EQ(links_of(hub.pid), count);
    send(hub.pid, Go{});
    for (auto& spoke : spokes) EXPECT_EQ(await_down(spoke), Reason("hub"));
  });
}

TEST_F(LinkTest, Rule_4_10_ALinkedAndMonitoredDeathGivesBothExitAndDown) {
  run([] {
    trap_exit(true);
    const Monitored p = spawn_monitor([] {
      receive(5s, [](Go) {});
      exit(Reason("both"));
    });
    link(p.pid);
    send(p.pid, Go{});
    EXPECT_EQ(await_down(p), Reason("both"));
    EXPECT_EQ(await_exit(p.pid), Reason("both"));
    EXPECT_TRUE(mailbox_empty());
  });
}

}  // namespace
}  // namespace erlking::testing
