// Registered names: SEMANTICS §6, and 1.8, 1.12.
#include "runtime/registry.h"

#include "tests/support/runtime_fixture.h"

namespace erlking::testing {
namespace {

struct Number {
  int n;
};

struct RegistryTest : RuntimeTest {};

TEST_F(RegistryTest, Rule_6_1_OneNamePerProcessAndOneProcessPerName) {
  run([] {
    const Pid a = spawn(wait_forever);
    const Pid b = spawn(wait_forever);
    EXPECT_TRUE(register_name("a", a));
    EXPECT_EQ(register_name("a", b).error(), NameError::taken);
    EXPECT_EQ(register_name("a", a).error(), NameError::already_named);
    EXPECT_EQ(register_name("other", a).error(), NameError::already_named);
    EXPECT_EQ(register_name("undefined", b).error(), NameError::reserved);
    EXPECT_EQ(register_name("", b).error(), NameError::reserved);
    EXPECT_EQ(whereis("a"), a);
    EXPECT_EQ(whereis("other"), std::nullopt);
    const Monitored gone = spawn_monitor([] {});
    await_down(gone);
    EXPECT_EQ(register_name("gone", gone.pid).error(), NameError::noproc);
    EXPECT_EQ(register_name("nobody", Pid{}).error(), NameError::noproc);
    EXPECT_EQ(whereis("gone"), std::nullopt);
    EXPECT_FALSE(unregister("free"));
  });
}

TEST_F(RegistryTest, Rule_6_2_AnyProcessMayUnregisterAndTheNameIsFreeAgain) {
  run([] {
    const Pid a = spawn({.name = "a"}, wait_forever);
    EXPECT_EQ(await_down(spawn_monitor([] { EXPECT_TRUE(unregister("a")); })), reason::normal);
    EXPECT_EQ(whereis("a"), std::nullopt);
    EXPECT_TRUE(register_name("b", a));
    EXPECT_EQ(process_info(a, 1s)->name, "b");
    EXPECT_TRUE(register_name("a", self()));
    EXPECT_EQ(whereis("a"), self());
  });
}

TEST_F(RegistryTest, Rule_1_8_WhoeverSeesADeathFindsTheNameFree) {
  run([] {
    trap_exit(true);
    for (int i = 0; i < 500; ++i) {
      const Monitored p = spawn_monitor({.name = "worker"}, wait_forever);
      if (i % 2 == 0) link(p.pid);
      exit(p.pid, reason::kill);
      if (i % 2 == 0) {
        await_exit(p.pid);
      } else {
        await_down(p);
      }
      ASSERT_EQ(whereis("worker"), std::nullopt);
      flush();
    }
  });
}

TEST_F(RegistryTest, Rule_1_8_ANameIsFreeForANewSpawnAtOnce) {
  run([] {
    for (int i = 0; i < 500; ++i) {
      const Monitored p = spawn_monitor({.name = "worker"}, [] {});  // at a taken name this process would end
      await_down(p);
    }
  });
}

TEST_F(RegistryTest, Rule_6_2_NamingAProcessThatDiesLeavesNoNameBehind) {
  run([] {
    for (int i = 0; i < 2000; ++i) {
      const Monitored p = spawn_monitor([] {});
      if (i % 2 == 0) yield();
      const auto named = register_name("brief", p.pid);
      EXPECT_TRUE(named || named.error() == NameError::noproc);
      await_down(p);
      ASSERT_EQ(whereis("brief"), std::nullopt);
    }
  });
}

TEST_F(RegistryTest, Rule_6_3_AKilledProcessKeepsItsNameUntilItHasEndedOrIsUnregistered) {
  run([] {
    EXPECT_EQ(whereis("it"), std::nullopt);
    const Monitored p = spawn_monitor({.name = "it"}, [] {
      DeferKill guard;
      receive(forever, [](Number) {});
    });
    until_waiting(p.pid);
    exit(p.pid, reason::kill);
    EXPECT_EQ(register_name("it", self()).error(), NameError::taken);
    EXPECT_EQ(whereis("it"), p.pid);
    EXPECT_TRUE(unregister("it"));
    EXPECT_TRUE(register_name("it", self()));
    send(p.pid, Number{1});
    EXPECT_EQ(await_down(p), reason::killed);
    EXPECT_EQ(whereis("it"), self()) << "it has taken nothing along but its own name";
  });
}

TEST_F(RegistryTest, Rule_6_3_WhereisDoesNotFindWhoHasEnded) {
  options.workers = 4;
  run([] {
    for (int i = 0; i < 500; ++i) {
      const Pid p = spawn({.name = "it"}, [] {});
      const bool alive = is_alive(p, 10s);
      const auto found = whereis("it");
      ASSERT_TRUE(!found || (*found == p && alive));
      await_down(monitor(p));
      ASSERT_EQ(whereis("it"), std::nullopt);
    }
  });
}

TEST_F(RegistryTest, Rule_1_12_ANameIsResolvedWhenSent) {
  run([] {
    const auto collect = [](Pid to) {
      send(to, Number{receive(5s, [](Number number) { return number.n; })});
      wait_forever();
    };
    const Pid first = spawn({.name = "it"}, [=, to = self()] { collect(to); });
    EXPECT_EQ(send(Name{"it"}, Number{1}), Delivery::queued);
    unregister("it");
    EXPECT_EQ(send(Name{"it"}, Number{2}), Delivery::noproc);
    EXPECT_TRUE(register_name("it", self()));
    EXPECT_EQ(receive(5s, [](Number number) { return number.n; }), 1);
    EXPECT_EQ(send(Name{"it"}, Number{3}), Delivery::queued);
    EXPECT_EQ(receive(5s, [](Number number) { return number.n; }), 3);
    exit(first, reason::kill);
  });
}

TEST_F(RegistryTest, ManyNamesAreTakenAndFreedByManyProcesses) {
  options.workers = 4;
  run([] {
    std::vector<Monitored> all;
    for (int p = 0; p < 8; ++p) {
      all.push_back(spawn_monitor([] {
        for (int i = 0; i < 200; ++i) {
          const std::string name = "n" + std::to_string(i % 7);
          const auto mine = register_name(name, self());
          if (mine) {
            EXPECT_EQ(whereis(name), self());
            yield();
            EXPECT_TRUE(unregister(name));
          } else {
            EXPECT_EQ(mine.error(), NameError::taken);
            yield();
          }
        }
      }));
    }
    for (auto& one : all) EXPECT_EQ(await_down(one), reason::normal);
    for (int i = 0; i < 7; ++i) EXPECT_EQ(whereis("n" + std::to_string(i)), std::nullopt);
  });
}

TEST(Registry, BothMapsChangeOrNeither) {
  detail::Registry registry;
  using Added = detail::Registry::Added;
  const auto open = [] { return true; };
  EXPECT_EQ(registry.add("a", Pid{3}, [] { return false; }), Added::closed);
  EXPECT_EQ(registry.add("a", Pid{1}, open), Added::yes);
  EXPECT_EQ(registry.add("a", Pid{2}, open), Added::taken);
  EXPECT_EQ(registry.name_of(Pid{2}), "");
  EXPECT_EQ(registry.add("b", Pid{1}, open), Added::already_named);
  EXPECT_EQ(registry.find("b"), Pid{});
  EXPECT_EQ(registry.all().size(), 1u);
  registry.remove(Pid{2});
  registry.remove(Pid{1});
  EXPECT_FALSE(registry.find("a"));
  EXPECT_TRUE(registry.all().empty());
}

}  // namespace
}  // namespace erlking::testing
