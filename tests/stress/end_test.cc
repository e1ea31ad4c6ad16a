// Runtimes that end while everything is under way: sends, calls, spawns, links, timers, names, waits for room, threads
// that call in until just before. Each ends within its bound, and nothing of it is left.
#include "tests/stress/stress.h"

#include <thread>

namespace erlking::testing {
namespace {

constexpr unsigned kRounds = std::max(50u, scaled(1'000));

struct Ask {
  Tracked weight;
  using Reply = int;
};
struct Weight {
  Tracked weight;
};

struct Town {
  static constexpr unsigned kBusy = 10;
  std::shared_ptr<std::atomic<long>> weights = make_count(), alive = make_count();
  std::atomic<std::uint64_t> pids[kBusy]{};
  Pid any(base::Random& random) const noexcept { return Pid{pids[random.below(kBusy)].load()}; }
};

// Does whatever there is to do, until it is told to end; every other one traps that.
void busy(const std::shared_ptr<Town>& town, unsigned place, std::uint64_t number, const Tracked&) {
  base::Random random = random_of(number);
  town->pids[place] = self().id;
  trap_exit(place % 2 == 0);
  MonitorRef ref;
  for (;;) {
    const Pid peer = town->any(random);
    const auto moment = std::chrono::microseconds(random.below(40));
    switch (random.below(12)) {
      case 0:
        static_cast<void>(call(peer, Ask{Tracked(town->weights)}, moment));
        break;
      case 1:
        static_cast<void>(send(peer, Weight{Tracked(town->weights)}, moment));  // waits for room
        break;
      case 2:
        if (place % 2 == 0) link(peer);
        break;
      case 3:
        unlink(peer);
        break;
      case 4:
        ref = monitor(peer);
        break;
      case 5:
        demonitor(ref, Flush::yes);
        break;
      case 6:
        static_cast<void>(try_spawn(
            {.stack = kStressStack}, [](const Tracked&) { sleep(1h); }, Tracked(town->alive)));
        break;
      case 7:
        static_cast<void>(try_spawn(
            {.name = "town" + std::to_string(random.below(4)), .mailbox = 2, .stack = kStressStack},
            [](const Tracked&) {
              receive(
                  100us, [](Message) {}, [](Timeout) {});
            },
            Tracked(town->alive)));
        break;
      case 8:
        static_cast<void>(send(Name{"town1"}, Weight{Tracked(town->weights)}));
        break;
      case 9:
        sleep(moment);
        break;
      case 10:
        static_cast<void>(process_info(peer, moment));
        break;
      default: {
        const bool over = receive(
            moment,
            [](Ask&, From<Ask> from) {
              from.reply(1);
              return false;
            },
            [](Exit& exit) { return exit.reason == reason::shutdown; }, [](Message) { return false; },
            [](Timeout) { return false; });
        if (over) return;
      }
    }
  }
}

// A thread that is no process: calls in until it is told to leave off.
void visit(Runtime& rt, const std::shared_ptr<Town>& town, std::uint64_t number, const std::atomic<bool>& leave) {
  base::Random random = random_of(number);
  while (!leave) {
    const Pid peer = town->any(random);
    switch (random.below(4)) {
      case 0:
        static_cast<void>(rt.send(peer, Weight{Tracked(town->weights)}));
        break;
      case 1:
        static_cast<void>(rt.call(peer, Ask{Tracked(town->weights)}, 50us));
        break;
      case 2:
        static_cast<void>(rt.wait(peer, 20us));
        break;
      default:
        static_cast<void>(rt.spawn(
            {.stack = kStressStack}, [](const Tracked&) { idle_forever(); }, Tracked(town->alive)));
    }
  }
}

TEST(RuntimeEndTest, RuntimesEndWhileEverythingIsUnderWay) {
  base::set_log_level(base::Level::off);
  base::Random random = random_of(0);
  for (unsigned round = 0; round < kRounds && !::testing::Test::HasFailure(); ++round) {
    Options options;
    options.workers = 1 + static_cast<unsigned>(random.below(3));
    options.max_processes = 2'000;
    auto town = std::make_shared<Town>();
    Runtime rt(options);
    for (unsigned i = 0; i < Town::kBusy; ++i) {
      const auto made = rt.spawn({.mailbox = 4, .stack = kStressStack}, busy, std::shared_ptr(town), unsigned{i},
                                 std::uint64_t{round * 100 + i}, Tracked(town->alive));
      ASSERT_TRUE(made || made.error() == SpawnError::system_limit);  // the first of them may have filled it
    }
    std::atomic<bool> leave{false};
    std::thread visitors[] = {
        std::thread([&] { visit(rt, town, round * 100 + 50, leave); }),
        std::thread([&] { visit(rt, town, round * 100 + 51, leave); }),
    };
    const std::uint64_t births = Town::kBusy + random.below(60);
    while (rt.stats().spawned < births && rt.processes() != 0) std::this_thread::yield();
    leave = true;
    for (std::thread& visitor : visitors) visitor.join();
    ASSERT_TRUE(rt.stop()) << "round " << round;
    EXPECT_EQ(rt.processes(), 0u);
    const RuntimeStats stats = rt.stats();
    EXPECT_EQ(stats.spawned, stats.exited);
    EXPECT_EQ(stats.heap.blocks_live, 0u) << "round " << round;
    EXPECT_EQ(stats.heap.large_blocks, 0u);
    EXPECT_EQ(*town->weights, 0) << "messages that were not destroyed, round " << round;
    EXPECT_EQ(*town->alive, 0) << "closures that were not destroyed, round " << round;
    for (int i = 0; i < 4; ++i) EXPECT_EQ(rt.whereis("town" + std::to_string(i)), std::nullopt);
  }
  RecordProperty("rounds", static_cast<int>(kRounds));
  base::set_log_level(base::Level::info);
  say_seed_on_failure();
}

}  // namespace
}  // namespace erlking::testing
