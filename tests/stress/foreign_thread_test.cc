// Threads that are no process, at work on a runtime together with its processes; and two runtimes that talk to each
// other.
#include "tests/stress/stress.h"

#include <barrier>
#include <thread>

namespace erlking::testing {
namespace {

class ForeignThreadTest : public StressTest, public ::testing::WithParamInterface<unsigned> {
 protected:
  static constexpr unsigned kThreads = 4;
  void SetUp() override {
    options.workers = GetParam();
    StressTest::SetUp();
  }
  /// Runs body(index) on four threads at once.
  template <class F>
  static void on_threads(F&& body) {
    std::barrier start(kThreads);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        start.arrive_and_wait();
        body(i);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  void expect_all_gone() {
    EXPECT_TRUE(drive([&] { return rt().processes() == 0; })) << rt().processes() << " are left";
  }
};
INSTANTIATE_TEST_SUITE_P(Every, ForeignThreadTest, ::testing::Values(1u, 2u, 4u),
                         [](const auto& info) { return "Workers" + std::to_string(info.param); });

struct Word {
  std::uint32_t sender, n;
  Tracked weight;
};
struct Stop {};
struct Ask {
  std::uint64_t client = 0, n = 0;
  struct Reply {
    std::uint64_t client, n;
  };
};

TEST_P(ForeignThreadTest, SendsFromThreadsKeepTheirOrderAndTheBound) {
  auto weights = make_count();
  auto received = std::make_shared<std::array<std::atomic<std::uint64_t>, kThreads + 2>>();
  static constexpr std::uint32_t kBound = 8;
  const auto receiver = rt().spawn({.mailbox = kBound, .stack = kStressStack}, [received] {
    std::array<std::uint32_t, kThreads + 2> last{};
    for (bool more = true; more;) {
      ASSERT_LE(self_process().mailbox.size(), kBound);
      receive(
          30s,
          [&](Word word) {
            ASSERT_GT(word.n, last.at(word.sender)) << "out of order, or doubled";
            last[word.sender] = word.n;
            ++received->at(word.sender);
          },
          [&](Stop) { more = false; });
    }
  });
  ASSERT_TRUE(receiver.has_value());
  static constexpr unsigned messages = scaled(10'000);
  std::array<std::atomic<std::uint64_t>, kThreads + 2> queued{};
  for (std::uint32_t i = kThreads; i < kThreads + 2; ++i) {  // and two processes
    ASSERT_TRUE(rt().spawn({.stack = kStressStack}, [&queued, weights, i, to = *receiver] {
      for (std::uint32_t n = 1; n <= messages; ++n) {
        if (send(to, Word{i, n, Tracked(weights)}, 1ms) == Delivery::queued) ++queued.at(i);
      }
    }));
  }
  on_threads([&](std::uint32_t i) {
    for (std::uint32_t n = 1; n <= messages; ++n) {
      Word word{i, n, Tracked(weights)};
      const Delivery delivery = rt().send(*receiver, std::move(word));
      if (delivery == Delivery::queued) {
        ++queued.at(i);
      } else {
        ASSERT_EQ(delivery, Delivery::full);
        ASSERT_TRUE(static_cast<bool>(word.weight)) << "the refused object was not handed back";
        if (n % 4 == 0) std::this_thread::yield();
      }
    }
  });
  ASSERT_TRUE(drive([&] { return rt().processes() == 1; }));
  while (rt().send(*receiver, Stop{}) == Delivery::full) std::this_thread::yield();
  expect_well_ended(*receiver);
  for (std::uint32_t i = 0; i < kThreads + 2; ++i) EXPECT_EQ(received->at(i), queued.at(i)) << "sender " << i;
  EXPECT_EQ(*weights, 0);
  expect_all_gone();
}

TEST_P(ForeignThreadTest, CallsFromThreadsEndAndGetTheirOwnReplies) {
  std::array<std::atomic<std::uint64_t>, 4> servers{};
  const auto serve = [](std::uint64_t number) {
    base::Random random = random_of(number);
    for (unsigned life = 50 + static_cast<unsigned>(random.below(400)); life > 0; --life) {
      receive(
          20ms,
          [&](Ask& ask, From<Ask> from) {
            const std::uint64_t dice = random.below(10);
            if (dice == 0) return;
            if (dice == 1) sleep(std::chrono::microseconds(random.below(100)));
            from.reply({ask.client, ask.n});
          },
          [](Timeout) {});
    }
  };
  std::atomic<bool> over{false};
  const auto keeper = rt().spawn({.stack = kStressStack}, [&] {
    std::uint64_t births = 0;
    while (!over) {
      for (auto& server : servers) {
        const Pid pid{server.load()};
        if (!pid || !is_alive(pid, 1s)) server = spawn({.mailbox = 2, .stack = kStressStack}, serve, 100 + births++).id;
      }
      sleep(200us);
    }
    for (auto& server : servers) exit(Pid{server.load()}, reason::kill);
  });
  ASSERT_TRUE(keeper.has_value());
  ASSERT_TRUE(
      drive([&] { return std::ranges::all_of(servers, [](const auto& server) { return server.load() != 0; }); }));
  std::array<std::atomic<unsigned>, 8> ends{};
  on_threads([&](unsigned me) {
    base::Random random = random_of(me);
    for (std::uint64_t n = 1; n <= scaled(2'000); ++n) {
      const Pid server{servers[random.below(servers.size())].load()};
      const auto bound = random.below(3) == 0 ? Bound(forever) : Bound(std::chrono::microseconds(random.below(300)));
      const auto value = rt().call(server, Ask{me, n}, bound);
      if (value) {
        ASSERT_EQ(value->client, me);
        ASSERT_EQ(value->n, n);
        ++ends[7];
        continue;
      }
      ASSERT_LT(static_cast<unsigned>(value.error().kind), 4u) << to_string(value.error().kind);
      ASSERT_FALSE(bound.is_forever() && value.error().kind == CallFailure::timeout);
      ++ends[static_cast<unsigned>(value.error().kind)];
    }
  });
  over = true;
  expect_well_ended(*keeper);
  EXPECT_GT(ends[7], 0u);
  expect_all_gone();
}

TEST_P(ForeignThreadTest, ProcessesSpawnedEndedAndAwaitedByThreadsAreAllAccountedFor) {
  auto alive = make_count();
  on_threads([&](unsigned me) {
    base::Random random = random_of(me);
    for (unsigned i = 0; i < scaled(1'000); ++i) {
      const std::uint64_t kind = random.below(4);
      const auto made = rt().spawn(
          {.mailbox = 4, .stack = kStressStack},
          [kind](const Tracked&) {
            if (kind == 0) return;
            if (kind == 1) exit(Reason("own"));
            receive(forever, [](Stop) {});
          },
          Tracked(alive));
      ASSERT_TRUE(made.has_value());
      if (kind == 2) rt().exit(*made, reason::kill);
      if (kind == 3) rt().send(*made, Stop{});
      if (random.below(4) == 0) static_cast<void>(rt().wait(*made, std::chrono::microseconds(random.below(50))));
      const auto why = rt().wait(*made, 30s);
      ASSERT_TRUE(why.has_value()) << "it hangs";
      ASSERT_TRUE(*why == reason::noproc || *why == (kind == 1   ? Reason("own")
                                                     : kind == 2 ? reason::killed
                                                                 : reason::normal))
          << why->report();
    }
  });
  expect_all_gone();
  EXPECT_EQ(*alive, 0);
}

TEST_P(ForeignThreadTest, ManyThreadsMayAwaitOneProcess) {
  for (unsigned round = 0; round < scaled(100); ++round) {
    const auto made = rt().spawn({.stack = kStressStack}, [] {
      receive(forever, [](Stop) {});
      exit(Reason("told"));
    });
    ASSERT_TRUE(made.has_value());
    std::atomic<unsigned> asked{0};
    on_threads([&](unsigned me) {
      base::Random random = random_of(me + round);
      for (unsigned i = 0; i < 5; ++i) static_cast<void>(rt().wait(*made, std::chrono::microseconds(random.below(20))));
      if (++asked == kThreads) rt().send(*made, Stop{});
      const Reason why = rt().wait(*made, 30s).value_or(Reason("hangs"));
      EXPECT_TRUE(why == Reason("told") || why == reason::noproc) << why.report();
    });
  }
  expect_all_gone();
}

// What a thread waited for in vain is not kept by the process until its end.
TEST_P(ForeignThreadTest, WaitsGivenUpLeaveNothingWithTheProcess) {
  const auto made = rt().spawn({.stack = kStressStack}, wait_forever);
  ASSERT_TRUE(made.has_value());
  for (unsigned i = 0; i < 100; ++i) EXPECT_FALSE(rt().wait(*made, 1us).has_value());
  run([pid = *made] {
    const auto info = process_info(pid, 5s);
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(info->monitored_by.size(), 0u);
  });
  rt().exit(*made, reason::kill);
  expect_all_gone();
}

TEST_P(ForeignThreadTest, EverythingAtOnce) {
  auto weights = make_count();
  std::atomic<bool> over{false};
  std::array<std::atomic<std::uint64_t>, 32> board{};
  const auto life = [&board, &over, weights](std::uint64_t number) {
    base::Random random = random_of(number);
    for (unsigned i = 0; i < 50 && !over; ++i) {
      const Pid peer{board[random.below(board.size())].load()};
      switch (random.below(6)) {
        case 0:
          link(peer);
          break;
        case 1:
          monitor(peer);
          break;
        case 2:
          exit(peer, reason::kill);
          break;
        case 3:
          static_cast<void>(call(peer, Ask{1, 2}, 20us));
          break;
        default:
          static_cast<void>(send(peer, Word{0, 0, Tracked(weights)}, 20us));
      }
      receive(
          std::chrono::microseconds(random.below(40)),
          [](Ask& ask, From<Ask> from) {
            from.reply({ask.client, ask.n});
          },
          [](Message) {}, [](Timeout) {});
    }
  };
  on_threads([&](unsigned me) {
    base::Random random = random_of(me);
    for (unsigned i = 0; i < scaled(1'500); ++i) {
      auto& place = board[random.below(board.size())];
      const Pid peer{place.load()};
      switch (random.below(6)) {
        case 0:
          rt().exit(peer, random.below(2) == 0 ? reason::kill : Reason("thread"));
          break;
        case 1:
          static_cast<void>(rt().call(peer, Ask{me, i}, 50us));
          break;
        case 2:
          static_cast<void>(rt().wait(peer, 30us));
          break;
        case 3:
          static_cast<void>(rt().send(peer, Word{me, i, Tracked(weights)}));
          break;
        default: {
          auto made = rt().spawn({.mailbox = 2, .stack = kStressStack}, life, std::uint64_t{1'000u * me + i});
          ASSERT_TRUE(made.has_value());
          place = made->id;
        }
      }
    }
  });
  over = true;
  expect_all_gone();
  EXPECT_EQ(*weights, 0);
}

TEST_P(ForeignThreadTest, TwoRuntimesSendToEachOther) {
  struct Ball {
    unsigned hops;
    Tracked weight;
  };
  auto weights = make_count();
  const unsigned hops = scaled(1'000);
  Runtime other(options);
  struct Table {
    std::atomic<std::uint64_t> here{0}, there{0};
  };
  std::vector<std::unique_ptr<Table>> tables;
  std::atomic<unsigned> done{0};
  for (unsigned i = 0; i < 8; ++i) {
    Table& table = *tables.emplace_back(std::make_unique<Table>());
    const auto player = [&done, weights](Runtime* away, std::atomic<std::uint64_t>* opponent) {
      for (;;) {
        Ball ball = receive(20s, [](Ball taken) { return taken; });
        // Pids of one runtime mean nobody in the other.
        ASSERT_EQ(send(Pid{opponent->load()}, Ball{0, Tracked(weights)}), Delivery::noproc);
        const unsigned hops_left = ball.hops;
        if (hops_left != 0) --ball.hops;
        Delivery delivery;
        while ((delivery = away->send(Pid{opponent->load()}, std::move(ball))) == Delivery::full) yield();
        if (hops_left <= 1) break;
        ASSERT_EQ(delivery, Delivery::queued);
      }
      ++done;
    };
    const auto here = rt().spawn({.mailbox = 1, .stack = kStressStack}, player, &other, &table.there);
    const auto there = other.spawn({.mailbox = 1, .stack = kStressStack}, player, &rt(), &table.here);
    ASSERT_TRUE(here && there);
    table.here = here->id;
    table.there = there->id;
  }
  for (auto& table : tables)
    ASSERT_EQ(rt().send(Pid{table->here.load()}, Ball{hops, Tracked(weights)}), Delivery::queued);
  EXPECT_TRUE(drive([&] { return rt().processes() == 0 && other.processes() == 0; }));
  EXPECT_EQ(done, 16u);
  EXPECT_TRUE(other.stop());
  EXPECT_EQ(other.stats().heap.blocks_live, 0u);
  EXPECT_EQ(*weights, 0);
}

}  // namespace
}  // namespace erlking::testing
