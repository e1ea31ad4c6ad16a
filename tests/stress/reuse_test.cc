// Slots that are used again and again, under everything that can be done to a pid of the dead: it is the dead's for
// ever. Whoever asks hears noproc, and the slot's next tenant notices nothing.
#include "tests/stress/stress.h"

#include <unordered_map>

namespace erlking::testing {
namespace {

std::uint64_t slot_of(Pid pid) { return pid.id & erlking::detail::ProcessTable::kSlotMask; }

struct Stale {
  std::uint64_t number;
};
struct AskStale {
  using Reply = std::uint64_t;
};

struct Siege {
  std::atomic<unsigned> attackers{0};
  std::atomic<std::uint64_t> attacks{0}, lives{0}, disturbed{0};
};

// Watched by its landlord alone, sent nothing: ends normally with an empty mailbox unless it is taken for another.
void tenant(Siege& siege, unsigned turns) {
  for (unsigned i = 0; i < turns; ++i) yield();
  const erlking::detail::Relations& known = *self_process().relations;
  if (!mailbox_empty() || !known.links.empty() || known.watchers.size() != 1) ++siege.disturbed;
}

// Keeps slots in use: a life per turn, ended for no other reason than its own end.
void landlord(Siege& siege, std::uint64_t number) {
  base::Random random = random_of(number);
  while (siege.attackers != 0) {
    const auto turns = static_cast<unsigned>(random.below(4));
    const MonitorRef ref = spawn_monitor({.stack = kStressStack}, [&siege, turns] {
                             if (!mailbox_empty()) ++siege.disturbed;
                             tenant(siege, turns);
                           }).ref;
    if (await_down(ref) != reason::normal) ++siege.disturbed;
    ++siege.lives;
  }
}

// Collects dead pids, and does everything to them.
void attacker(Siege& siege, std::uint64_t number, unsigned attacks) {
  base::Random random = random_of(number);
  trap_exit(true);
  std::vector<Pid> dead;
  for (unsigned n = 0; n < attacks; ++n) {
    if (dead.size() < 16 || n % 32 == 0) {
      const Monitored made = spawn_monitor({.stack = kStressStack}, [] {});
      EXPECT_EQ(await_down(made), reason::normal);
      dead.push_back(made.pid);
      ++siege.lives;
    }
    const Pid pid = dead[random.below(dead.size())];
    switch (random.below(10)) {
      case 0:
        link(pid);
        EXPECT_EQ(await_exit(pid), reason::noproc);
        break;
      case 1:
        EXPECT_EQ(await_down(monitor(pid)), reason::noproc);
        break;
      case 2:
        EXPECT_EQ(call(pid, AskStale{}, 5s), (std::unexpected<CallError>({CallFailure::noproc, {}})));
        break;
      case 3:
        exit(pid, reason::kill);
        break;
      case 4:
        exit(pid, Reason("stale"));
        break;
      case 5:
        EXPECT_FALSE(is_alive(pid, 5s));
        break;
      case 6:
        unlink(pid);
        EXPECT_FALSE(process_info(pid, 5s).has_value());
        break;
      case 7:
        EXPECT_FALSE(register_name("stale", pid).has_value());
        break;
      case 8:
        EXPECT_EQ(send(pid, Stale{n}, 1ms), Delivery::noproc);
        break;
      default:
        for (int i = 0; i < 8; ++i) EXPECT_EQ(send(pid, Stale{n}), Delivery::noproc);
    }
    ++siege.attacks;
  }
  EXPECT_TRUE(mailbox_empty());
  --siege.attackers;
}

class ReuseTest : public StressTest, public ::testing::WithParamInterface<unsigned> {
 protected:
  void SetUp() override {
    options.workers = GetParam();
    options.max_processes = 60;
    StressTest::SetUp();
  }
};
INSTANTIATE_TEST_SUITE_P(Every, ReuseTest, ::testing::Values(1u, 2u, 4u),
                         [](const auto& info) { return "Workers" + std::to_string(info.param); });

TEST_P(ReuseTest, WhatIsDoneToTheDeadNeverReachesTheNextTenant) {
  constexpr unsigned kAttackers = 4;
  const unsigned attacks = scaled(500'000);
  Siege siege;
  siege.attackers = kAttackers;
  run_to_the_end([&siege, attacks] {
    std::vector<Monitored> all;
    for (unsigned i = 0; i < kAttackers; ++i) {
      all.push_back(spawn_monitor({.stack = kStressStack}, [&siege, i, attacks] { attacker(siege, i, attacks); }));
      all.push_back(spawn_monitor({.stack = kStressStack}, [&siege, i] { landlord(siege, 100 + i); }));
    }
    for (const Monitored& made : all) {
      EXPECT_EQ(
          receive(60s, when([&](const Down& down) { return down.ref == made.ref; }, [](Down& d) { return d.reason; }),
                  [](Timeout) { return Reason("hangs"); }),
          reason::normal);
    }
  });
  EXPECT_EQ(siege.attacks, std::uint64_t{kAttackers} * attacks);
  EXPECT_EQ(siege.disturbed, 0u) << "a tenant got what was meant for the dead";
  const std::uint64_t slots = options.max_processes + (options.workers + 1) * erlking::detail::SlotCache::kSize;
  EXPECT_GT(siege.lives, 4 * slots / kSlower) << "hardly any slot was used again";
}

// The longer a slot lies unused the better for who still has its pid; and an incarnation's number, of 36 bits, lasts.
TEST_F(StressTest, ASlotIsUsedAgainOnlyAfterMany) {
  options.workers = 1;
  run([] {
    std::unordered_map<std::uint64_t, std::pair<int, Pid>> last;
    for (int birth = 0; birth < 20'000; ++birth) {
      const Monitored made = spawn_monitor({.stack = kStressStack}, [] {});
      await_down(made);
      const auto [it, fresh] = last.try_emplace(slot_of(made.pid), birth, made.pid);
      if (fresh) continue;
      ASSERT_GE(birth - it->second.first, 30) << "used again at once";
      ASSERT_GT(made.pid.id, it->second.second.id) << "an incarnation came back";
      it->second = {birth, made.pid};
    }
    EXPECT_LT(last.size(), 1'000u);
  });
}

}  // namespace
}  // namespace erlking::testing
