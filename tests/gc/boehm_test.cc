// The heap "boehm": what is looked at is kept, wherever its process is, and what is not is freed.
#include "tests/support/runtime_fixture.h"

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <latch>
#include <map>
#include <optional>
#include <random>
#include <string>

namespace erlking::testing {
namespace {

struct BoehmTest : RuntimeTest {
  BoehmTest() {
    options.heap = "boehm";
    options.clock = ClockKind::real;
  }
  void SetUp() override {
    const auto names = gc::collector_names();
    if (std::ranges::find(names, "boehm") == names.end()) GTEST_SKIP() << gc::make_collector("boehm").error();
    RuntimeTest::SetUp();
  }
};

// A node of a ring, that knows whether it is what it was made as.
struct Node {
  std::uint64_t seal;
  Gc<Node> next;
  std::uint64_t value;
  static std::uint64_t seal_of(std::uint64_t value) { return value * 0x9e3779b97f4a7c15u ^ 0x5ea1; }
};

// A ring of `n`, the first of value `first`.
Gc<Node> make_ring(std::uint64_t first, unsigned n) {
  const Gc<Node> head = gc_new<Node>(Node::seal_of(first), nullptr, first);
  Gc<Node> last = head;
  for (unsigned i = 1; i != n; ++i) {
    last->next = gc_new<Node>(Node::seal_of(first + i), nullptr, first + i);
    last = last->next;
  }
  last->next = head;
  return head;
}

std::atomic<std::uint64_t> checks{0}, lost{0};

void check_ring(Gc<Node> head, std::uint64_t first, unsigned n) {
  Gc<Node> at = head;
  for (unsigned i = 0; i != n; ++i, at = at->next) {
    checks.fetch_add(1, std::memory_order_relaxed);
    if (at->seal != Node::seal_of(first + i) || at->value != first + i) {
      lost.fetch_add(1, std::memory_order_relaxed);
      return;
    }
  }
  if (at != head) lost.fetch_add(1, std::memory_order_relaxed);
}

struct Token {
  std::uint64_t first;
  Gc<Node> ring;
  std::vector<Gc<Node>, gc_allocator<Gc<Node>>> all;
};
constexpr unsigned kRing = 12;

Token make_token(std::uint64_t first) {
  Token token{first, make_ring(first, kRing), {}};
  Gc<Node> at = token.ring;
  for (unsigned i = 0; i != kRing; ++i, at = at->next) token.all.push_back(at);
  return token;
}
void check_token(const Token& token) {
  check_ring(token.ring, token.first, kRing);
  for (unsigned i = 0; i != kRing; ++i) {
    checks.fetch_add(1, std::memory_order_relaxed);
    if (token.all[i]->value != token.first + i) lost.fetch_add(1, std::memory_order_relaxed);
  }
}

// Processes with a ring on their stacks pass tokens round, on to whom they like, and check all of it, until all have
// checked `most` nodes.
void survive(Runtime& rt, unsigned processes, std::uint64_t most) {
  checks = lost = 0;
  struct Go {
    std::vector<Pid> all;
  };
  const auto ended = rt.spawn_wait(200s, SpawnOptions{.stack = 256 * 1024}, [=] {
    std::vector<Pid> all;
    for (unsigned k = 0; k != processes; ++k) {
      all.push_back(spawn_link({.mailbox = 4096, .stack = 16 * 1024}, [=] {
        const std::uint64_t mine = (std::uint64_t{k} + 1) << 32;
        Gc<Node> ring = make_ring(mine, kRing);
        std::uint64_t random = k + 1;
        std::vector<Pid> peers;
        receive(forever, [&](Go& go) { peers = std::move(go.all); });
        send(peers[(k + 7) % processes], make_token(mine + 1000));
        send(peers[(k + 11) % processes], make_token(mine + 2000));
        for (std::uint64_t round = 0;; ++round) {
          receive(forever, [&](Token& token) {
            check_token(token);
            if (round % 3 == 0) token = make_token(token.first + 1);
            random = random * 6364136223846793005u + 1442695040888963407u;
            send(peers[(random >> 33) % processes], std::move(token));
          });
          check_ring(ring, mine, kRing);
          if (round % 5 == 0) ring = make_ring(mine, kRing);
          if (round % 16 == 0) yield();
        }
      }));
    }
    for (const Pid pid : all) send(pid, Go{all});
    while (checks.load(std::memory_order_relaxed) < most) {
      gc_collect();
      sleep(1ms);
    }
    exit(reason::shutdown);
  });
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->has_value()) << "not in time";
}

TEST_F(BoehmTest, TwoOfTheHeapsHaveNothingToSayOfEachOther) {
  Options other = options;
  Runtime second(other);
  run([] { check_ring(make_ring(1, 5), 1, 5); });
  EXPECT_EQ(second.run([] { check_ring(make_ring(1, 5), 1, 5); }), 0);
}

TEST_F(BoehmTest, AGraphIsKeptByAStackAMessageAContainerARootAndAHandlersState) {
  struct Keeper {
    Gc<Node> ring;
    std::uint64_t more[5] = {};
    void handle(Message message) {
      match(
          message, [&](Token& token) { ring = token.ring; },
          [&](Pid& asker) {
            check_ring(ring, 5000, kRing);
            send(asker, 1);
          });
    }
  };
  struct Small {
    Gc<Node> ring;
    void handle(Message message) {
      match(
          message, [&](Token& token) { ring = token.ring; },
          [&](Pid& asker) {
            check_ring(ring, 6000, kRing);
            send(asker, 1);
          });
    }
  };
  checks = lost = 0;
  const auto before = rt().stats().heap.collections;
  run([] {
    Gc<Node> on_stack = make_ring(1000, kRing);
    send(self(), make_token(2000));
    std::vector<Gc<Node>, gc_allocator<Gc<Node>>> in_container{make_ring(3000, kRing)};
    auto hidden_root = std::make_unique<Root<Node>>(make_ring(4000, kRing));
    const Pid keeper = spawn_handler(Keeper{});
    const Pid small = spawn_handler(Small{});
    send(keeper, make_token(5000));
    send(small, make_token(6000));
    auto kept = std::vector<Message>();  // a message in memory that is not looked at: itself it is
    send(self(), make_token(7000));
    receive(forever, [&](Message message) { kept.push_back(std::move(message)); });
    for (int i = 0; i != 20; ++i) {
      for (int k = 0; k != 1000; ++k) make_ring(9'000'000, 4);
      gc_collect();
      yield();
    }
    check_ring(on_stack, 1000, kRing);
    check_ring(in_container[0], 3000, kRing);
    check_ring(hidden_root->get(), 4000, kRing);
    check_token(*kept[0].get<Token>());
    receive(forever, [](Token& token) { check_token(token); });
    send(keeper, self());
    send(small, self());
    for (int i = 0; i != 2; ++i) receive(10s, [](int) {});
    for (const Pid pid : {keeper, small}) exit(pid, reason::shutdown);
  });
  EXPECT_EQ(lost, 0u);
  EXPECT_GE(checks, 6 * kRing);
  EXPECT_GE(rt().stats().heap.collections, before + 20);
}

struct Counted {
  static inline std::atomic<int> alive{0};
  Gc<Counted> other;
  std::uint64_t more[3] = {};
  Counted() { ++alive; }
  ~Counted() { --alive; }
};

// Of its own: finalizers of an earlier test's may run now.
struct Sent {
  static inline std::atomic<int> alive{0};
  Sent() { ++alive; }
  ~Sent() { --alive; }
};
struct Seen {
  Gc<Sent> sent;
};
struct Unseen {  // its type says that it holds no Gc
  Gc<Sent> sent;
};

}  // namespace
}  // namespace erlking::testing

template <>
inline constexpr bool erlking::gc_pointer_free<erlking::testing::Unseen> = true;

namespace erlking::testing {
namespace {

// Collects, and clears stacks by using them, until none but `left` are alive; false: not within some turns.
bool collected(int left, const std::atomic<int>& alive = Counted::alive) {
  for (int i = 0; i != 50 && alive > left; ++i) {
    volatile std::byte rubbish[4096];
    for (volatile std::byte& each : rubbish) each = std::byte{0};
    gc_collect();
    sleep(1ms);
    for (int k = 0; k != 100; ++k) make_ring(0, 1);
  }
  return alive <= left;
}

TEST_F(BoehmTest, WhatOnlyMemoryThatIsNotLookedAtPointsToIsLost) {
  run([] {
    Counted::alive = 0;
    constexpr int kHidden = 1000;
    auto hidden = std::make_unique<std::array<Gc<Counted>, kHidden>>();
    std::vector<Gc<Counted>, gc_allocator<Gc<Counted>>> kept;
    spawn_monitor([&] {  // on a stack that is gone then
      for (int i = 0; i != kHidden; ++i) {
        (*hidden)[static_cast<std::size_t>(i)] = gc_new<Counted>(finalized);
        kept.push_back(gc_new<Counted>(finalized));
      }
    });
    receive(forever, [](Down&) {});
    EXPECT_TRUE(collected(kHidden + kHidden / 10)) << Counted::alive;
    EXPECT_GE(Counted::alive, kHidden) << "those in the container are there";
    kept.clear();
    kept.shrink_to_fit();
  });
}

TEST_F(BoehmTest, AMessageOfATypeThatSaysItHoldsNoGcIsNotLookedAt) {
  run([] {
    Sent::alive = 0;
    constexpr int kEach = 1000;
    const Monitored waits = spawn_monitor({.mailbox = 2 * kEach}, [] { sleep(1h); });
    const Monitored sender = spawn_monitor([to = waits.pid] {  // on a stack that is gone then
      for (int i = 0; i != kEach; ++i) {
        ASSERT_EQ(send(to, Unseen{gc_new<Sent>(finalized)}), Delivery::queued);
        ASSERT_EQ(send(to, Seen{gc_new<Sent>(finalized)}), Delivery::queued);
      }
    });
    EXPECT_EQ(await_down(sender.ref), reason::normal);
    EXPECT_TRUE(collected(kEach + kEach / 10, Sent::alive)) << Sent::alive;
    EXPECT_GE(Sent::alive, kEach) << "those in messages that say nothing are there";
    exit(waits.pid, reason::kill);
    EXPECT_EQ(await_down(waits.ref), reason::killed);
  });
}

TEST_F(BoehmTest, CyclesThatNobodyPointsToAreFreed) {
  run([] {
    Counted::alive = 0;
    constexpr int kPairs = 5000;
    spawn_monitor([] {
      for (int i = 0; i != kPairs; ++i) {
        const Gc<Counted> a = gc_new<Counted>(finalized);
        a->other = gc_new<Counted>(finalized);
        a->other->other = a;
      }
    });
    receive(forever, [](Down&) {});
    EXPECT_TRUE(collected(2 * kPairs / 10)) << Counted::alive;
  });
}

TEST_F(BoehmTest, MessagesDroppedAreFound) {
  struct Big {
    std::array<std::uint64_t, 500> data;
  };
  const auto before = rt().stats().heap;
  run([] {
    const Pid sink = spawn_link([] {
      for (;;) receive(forever, [](Big&) {});
    });
    for (int i = 0; i != 200'000; ++i) {
      if (send(sink, Big{}) == Delivery::full) yield();
    }
    unlink(sink);
    exit(sink, reason::kill);
  });
  const auto after = rt().stats().heap;
  EXPECT_GT(after.collections, before.collections);
  EXPECT_LT(after.bytes_reserved, std::size_t{400} << 20) << "800 MB were sent";
  EXPECT_GT(after.pause_total, before.pause_total);
  EXPECT_GE(after.pause_max, after.pause_last);
}

TEST_F(BoehmTest, NothingIsLostWhileProcessesMoveBetweenWorkers) {
  options.workers = 4;
  survive(rt(), 500, 20'000'000);
  EXPECT_EQ(lost, 0u);
  const RuntimeStats stats = rt().stats();
  EXPECT_GE(stats.heap.collections, 10u);
  EXPECT_GT(stats.steals, 0u);
  RecordProperty("collections", static_cast<int>(stats.heap.collections));
  RecordProperty("steals", static_cast<int>(stats.steals));
}

TEST_F(BoehmTest, NothingIsLostWithAThreadForEachProcess) {
  options.scheduler = "threads";
  survive(rt(), 100, 3'000'000);
  EXPECT_EQ(lost, 0u);
}

// How often the program's threads have been switched away from.
std::uint64_t context_switches() {
  std::uint64_t sum = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (const auto at = line.find("voluntary_ctxt_switches:"); at == 0) sum += std::stoull(line.substr(24));
    }
  }
  return sum;
}

TEST_F(BoehmTest, ACollectionDoesNotDisturbWhoSleeps) {
  options.scheduler = "threads";
  constexpr std::uint64_t kSleepers = 100, kCollections = 50;
  checks = lost = 0;
  run([] {
    std::vector<Pid> all;
    for (std::uint64_t k = 0; k != kSleepers; ++k) {
      all.push_back(spawn_link([k] {
        const Gc<Node> ring = make_ring(k * 1000, kRing);
        receive(forever, [](Token&) {});
        check_ring(ring, k * 1000, kRing);
      }));
    }
    sleep(300ms);
    const std::uint64_t before = context_switches();
    for (std::uint64_t i = 0; i != kCollections; ++i) gc_collect();
    EXPECT_LT(context_switches() - before, kSleepers * kCollections / 2);
    for (const Pid pid : all) {
      const MonitorRef watch = monitor(pid);
      send(pid, make_token(0));
      receive(10s, when([&](const Down& down) { return down.ref == watch; }, [](const Down&) {}));
    }
  });
  EXPECT_EQ(lost, 0u);
  EXPECT_EQ(checks, kSleepers * kRing);
}

TEST_F(BoehmTest, ThreadsThatSendAndBlockingCallsAreLookedAt) {
  checks = lost = 0;
  const auto sink = rt().spawn({.mailbox = 4096}, [] {
    for (;;) receive(forever, [](Token& token) { check_token(token); });
  });
  std::vector<std::thread> threads;
  for (unsigned t = 0; t != 3; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i != 500; ++i) {
        Token token = make_token(t * 100'000 + i);
        if (i % 50 == 0) gc_collect();
        check_token(token);
        rt().send(*sink, std::move(token));
      }
    });
  }
  run([] {
    for (int i = 0; i != 50; ++i) {
      auto made = blocking(10s, [token = make_token(1'000'000)]() mutable {
        gc_collect();
        check_token(token);
        return make_token(2'000'000);
      });
      ASSERT_TRUE(made.has_value());
      for (int k = 0; k != 100; ++k) make_ring(3, 3);
      check_token(*made);
    }
  });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(lost, 0u);
  EXPECT_GE(checks, 10'000u);
}

TEST_F(BoehmTest, AnotherHeapsProcessMayHoldWhatIsTraced) {
  Options plain = options;
  plain.heap = "owned";
  checks = lost = 0;
  static_cast<void>(rt());
  Runtime owned(plain);
  EXPECT_EQ(owned.run([] {
    const Gc<Node> ring = make_ring(1, kRing);
    for (int i = 0; i != 20; ++i) {
      for (int k = 0; k != 200; ++k) make_ring(7, kRing);
      gc_collect();
      yield();
      check_ring(ring, 1, kRing);
    }
  }),
            0);
  EXPECT_EQ(lost, 0u);
}

TEST_F(BoehmTest, WithoutAHeapThatTracesThereIsNoGc) {
  options.heap = "owned";
  run([] { EXPECT_THROW(static_cast<void>(gc_new<Node>()), std::logic_error); });
}

}  // namespace
}  // namespace erlking::testing
