// Crowds: a million processes alive at once, linked in chains, watched by a hundred thousand; each end is told to
// everybody it concerns, once and unchanged, and what a crowd has used goes back.
#include "tests/stress/stress.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>
#include <unistd.h>
#include <unordered_set>

namespace erlking::testing {
namespace {

// ThreadSanitizer knows 8,128 fibers at most; a debug build and AddressSanitizer take ten times as long for each.
#if defined(__SANITIZE_THREAD__)
constexpr unsigned kCrowd = 4'000;
#elif defined(__SANITIZE_ADDRESS__) || EK_DEBUG
constexpr unsigned kCrowd = 50'000;
#else
constexpr unsigned kCrowd = 1'000'000;
#endif
constexpr unsigned kHundredThousand = std::min(kCrowd, 100'000u);
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
constexpr bool kShipped = kCrowd == 1'000'000;
constexpr std::size_t kSmallStack = kShipped ? 16 * 1024 : 64 * 1024;

class CrowdTest : public RuntimeTest {
 protected:
  CrowdTest() { options.max_processes = kCrowd + 10'000; }

  // Where memory comes slowly (a virtual machine of a host that wants it back) a million stacks took 90 s.
  static constexpr auto kLong = 10min;
  bool until_alive(std::uint64_t count) { return rt().run_until_idle(kLong) && rt().processes() == count; }
};

// A million processes take 4.5 GiB.
bool has_memory_for(std::uint64_t processes) {
  return kSanitized || static_cast<std::uint64_t>(::sysconf(_SC_AVPHYS_PAGES)) * 4'096 > processes * 6 * 1'024;
}

std::size_t resident_bytes() {
  std::size_t total = 0, resident = 0;
  std::FILE* const file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr || std::fscanf(file, "%zu %zu", &total, &resident) != 2) resident = 0;
  if (file != nullptr) std::fclose(file);
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

const Reason& spread() {
  static const Reason reason("chain_broke", "a detail of some length, so that it is shared");
  return reason;
}

struct Chain {
  std::atomic<std::uint64_t> wrong{0};
  std::shared_ptr<std::atomic<long>> alive = make_count();
};

// A link of a chain: makes the next one, then waits. Each notes as it ends whether its reason is the one that was
// spread.
void chain_link(unsigned more, Chain& chain, const Tracked&) {
  struct AtEnd {
    Chain& chain;
    ~AtEnd() {
      if (self_process().reason != spread()) ++chain.wrong;
    }
  } at_end{chain};
  if (more != 0) {
    Tracked alive(chain.alive);
    spawn_link(
        {.stack = kSmallStack}, [more, &chain](const Tracked& counted) { chain_link(more - 1, chain, counted); },
        std::move(alive));
  }
  idle_forever();
}

struct Shape {
  const char* name;
  unsigned chains, length;
};
class ChainTest : public CrowdTest, public ::testing::WithParamInterface<Shape> {};

TEST_P(ChainTest, EndsFromOneEndWithOneReasonAndNothingIsLeft) {
  const auto [name, chains, length] = GetParam();
  if (!has_memory_for(std::uint64_t{chains} * length)) GTEST_SKIP() << "too little memory is free";
  Chain chain;
  std::vector<Pid> heads;
  for (unsigned i = 0; i < chains; ++i) {
    auto head = rt().spawn(
        {.stack = kSmallStack},
        [&chain, length = length](const Tracked& counted) { chain_link(length - 1, chain, counted); },
        Tracked(chain.alive));
    ASSERT_TRUE(head.has_value());
    heads.push_back(*head);
  }
  ASSERT_TRUE(until_alive(std::uint64_t{chains} * length)) << rt().processes();
  EXPECT_EQ(*chain.alive, static_cast<long>(chains) * length);
  for (const Pid head : heads) rt().exit(head, spread());
  ASSERT_TRUE(until_alive(0)) << rt().processes();
  EXPECT_EQ(*chain.alive, 0);
  EXPECT_EQ(chain.wrong, 0u) << "ended with a reason that is not the first one's";
  EXPECT_EQ(rt().stats().heap.blocks_live, 0u);
}
INSTANTIATE_TEST_SUITE_P(Crowd, ChainTest,
                         ::testing::Values(Shape{"ManyChains", kCrowd / 1'000, 1'000},
                                           Shape{"OneLongChain", 1, kHundredThousand}),
                         [](const auto& info) { return info.param.name; });

struct Ask {
  std::uint64_t number;
  using Reply = std::uint64_t;
};

TEST_F(CrowdTest, AMillionAreAliveAtOnceAndEachAnswers) {
  options.stop = 60s;  // a million have to be scheduled, whatever else this machine does
  if (!has_memory_for(kCrowd)) GTEST_SKIP() << "too little memory is free";
  const std::size_t before = resident_bytes();
  std::atomic<std::uint64_t> answered{0};
  const auto answer = [](std::uint64_t number) {
    for (;;) receive(forever, [&](Ask& ask, From<Ask> from) { from.reply(3 * ask.number + number); });
  };
  ASSERT_TRUE(rt().spawn({.stack = 512 * 1024}, [&] {
    std::vector<Pid> crowd;
    crowd.reserve(kCrowd);
    for (std::uint64_t i = 0; i < kCrowd; ++i) crowd.push_back(spawn({.stack = kSmallStack}, answer, i));
    for (std::uint64_t i = 0; i < kCrowd; ++i) {
      if (call(crowd[i], Ask{i}, forever) == 4 * i) ++answered;
    }
  }));
  EXPECT_TRUE(rt().run_until_idle(kLong));
  EXPECT_EQ(answered, kCrowd);
  EXPECT_EQ(rt().processes(), kCrowd);
  const std::size_t each = (resident_bytes() - before) / kCrowd;
  std::cout << "memory per process, all idle: " << each << " bytes\n";
  RecordProperty("bytes_per_process", static_cast<int>(each));
  if (kShipped) {
    EXPECT_LT(each, 6u * 1024);
  }
  if (rt().stats().stacks.guard == sched::Guard::install) {
    EXPECT_EQ(rt().stats().stacks.unguarded, 0u);
  }
  EXPECT_TRUE(rt().stop());
  EXPECT_EQ(rt().processes(), 0u);
}

// A burst's stacks are most of its memory (a page or two each). What stays is the slots, which a stale pid must find:
// 320 bytes for each process of the largest burst, and the blocks and tables that may serve the next one.
TEST_F(CrowdTest, WhatABurstUsedGoesBackWhenTheRuntimeIsIdle) {
  if (kSanitized) GTEST_SKIP() << "the sanitizers keep what is freed";
  constexpr unsigned kBurst = kHundredThousand;
  const auto burst = [&] {
    start([] {
      for (unsigned i = 0; i < kBurst; ++i) {
        spawn_link(wait_forever);
      }
      exit(spread());
    });
    ASSERT_TRUE(until_alive(0));
  };
  rt();
  const std::size_t before = resident_bytes();
  for (int round = 0; round < 3; ++round) {
    burst();
    const std::size_t full = resident_bytes();
    EXPECT_GT(full, before + std::size_t{kBurst} * 4'096) << "else there is nothing to give back";
    for (int i = 0; i < 4; ++i) rt().advance(100ms);
    const std::size_t after = resident_bytes();
    std::cout << "bytes a process of the burst: " << (full - before) / kBurst << " until idle, "
              << (after - before) / kBurst << " after\n";
    EXPECT_LT(after, before + before / 20 + std::size_t{kBurst} * 1'024 + sched::StackPool::kTendFrom / 8);
  }
  EXPECT_GT(rt().stats().stacks.released, 2 * std::size_t{kBurst} * 64 * 1'024);
}

TEST_F(CrowdTest, AHundredThousandMonitorsOfOneProcessFireOnceEach) {
  run([] {
    const Pid watched = spawn(wait_forever);
    std::unordered_set<MonitorRef> owed;
    for (unsigned i = 0; i < kHundredThousand; ++i) ASSERT_TRUE(owed.insert(monitor(watched)).second);
    for (unsigned i = 0; i < kHundredThousand / 2; ++i) {  // from the middle: neither end is a special case
      auto it = owed.begin();
      ASSERT_TRUE(demonitor(*it));
      owed.erase(it);
    }
    EXPECT_EQ(process_info(watched, 10s)->monitored_by.size(), owed.size());
    exit(watched, spread());
    while (!owed.empty()) {
      receive(10s, [&](Down& down) {
        EXPECT_EQ(owed.erase(down.ref), 1u) << "twice, or after demonitor";
        EXPECT_EQ(down.reason, spread());
      });
    }
    EXPECT_TRUE(mailbox_empty());
    EXPECT_TRUE(process_info(self(), 1s)->monitors.empty());
  });
}

struct Leave {};

TEST_F(CrowdTest, AHundredThousandLinksOfOneProcessTellEachOnce) {
  std::atomic<unsigned> told{0}, left{0}, wrong{0};
  run([&] {
    const Pid hub = spawn(wait_forever);
    std::vector<Pid> peers;
    for (unsigned i = 0; i < kHundredThousand; ++i) {
      peers.push_back(spawn({.mailbox = 1, .stack = kSmallStack}, [hub, &told, &left, &wrong] {
        trap_exit(true);
        link(hub);
        receive(
            forever,
            [&](Leave) {
              unlink(hub);
              ++left;
            },
            [&](Exit& exit) {
              ++told;
              if (exit.from != hub || exit.reason != spread()) ++wrong;
            });
        if (!mailbox_empty()) ++wrong;
      }));
    }
    while (process_info(hub, 10s)->links.size() != peers.size()) yield();
    for (unsigned i = 0; i < peers.size(); i += 2) EXPECT_EQ(send(peers[i], Leave{}), Delivery::queued);
    while (process_info(hub, 10s)->links.size() != peers.size() / 2) yield();
    exit(hub, spread());
  });
  EXPECT_TRUE(until_alive(0));
  EXPECT_EQ(left, kHundredThousand / 2);
  EXPECT_EQ(told, kHundredThousand / 2);
  EXPECT_EQ(wrong, 0u);
}

// Time that all threads but this one have run so far.
std::chrono::nanoseconds time_of_others() {
  std::uint64_t sum = 0;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    if (thread.path().filename() == std::to_string(::gettid())) continue;
    std::uint64_t ran = 0;
    std::ifstream(thread.path() / "schedstat") >> ran;
    sum += ran;
  }
  return std::chrono::nanoseconds(sum);
}

// Nothing polls: not the workers, nor whoever watches them. What the crowd's birth leaves to be done is over by then.
TEST_F(CrowdTest, AMillionAtRestUseNoTime) {
  options.clock = ClockKind::real;
  options.stop = 60s;
  if (!has_memory_for(kCrowd)) GTEST_SKIP() << "too little memory is free";
  std::atomic<bool> born{false};
  ASSERT_TRUE(rt().spawn([&] {
    for (unsigned i = 0; i < kCrowd; ++i) spawn({.stack = kSmallStack}, wait_forever);
    born = true;
    wait_forever();
  }));
  const auto until = std::chrono::steady_clock::now() + kLong;
  while (!born && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(1ms);
  ASSERT_TRUE(born);
  if (time_of_others() == 0ns) GTEST_SKIP() << "this kernel does not tell how long threads run";
  std::this_thread::sleep_for(2s);
  EXPECT_EQ(rt().processes(), kCrowd + 1);
  const auto before = time_of_others();
  std::this_thread::sleep_for(5s);
  const auto used = time_of_others() - before;
  std::cout << "time used by " << kCrowd << " at rest in 5 s: " << used.count() / 1'000 << " us\n";
  EXPECT_LT(used, 50ms) << "1 % of one CPU";
}

#if EK_DEBUG  // else nothing is counted
// What the tables of ties do for an operation is bounded, however many ties there are.
class TieStepsTest : public CrowdTest {
 protected:
  static constexpr unsigned kTies = kSanitized ? 10'000 : 100'000;
  static constexpr std::uint64_t kStepsEach = 12;

  TieStepsTest() { options.max_processes = kTies + 100; }

  static void expect_few(const char* of, std::uint64_t steps, std::uint64_t operations) {
    EXPECT_GE(steps, operations) << of << ": they are not counted";
    EXPECT_LE(steps, kStepsEach * operations) << of;
  }
};

struct AskSteps {
  using Reply = std::uint64_t;
};

TEST_F(TieStepsTest, MonitorsAreMadeEndedAndFiredInAFewStepsEach) {
  run([] {
    const Pid watched = spawn([] {
      for (;;) {
        receive(forever,
                [](AskSteps&, From<AskSteps> from) { from.reply(self_process().relations->watchers.steps().taken); });
      }
    });
    std::unordered_set<MonitorRef> owed;
    for (unsigned i = 0; i < kTies; ++i) owed.insert(monitor(watched));
    while (owed.size() > kTies / 2) {
      ASSERT_TRUE(demonitor(*owed.begin()));
      owed.erase(owed.begin());
    }
    const auto steps = call(watched, AskSteps{}, forever);
    ASSERT_TRUE(steps.has_value());
    expect_few("the watched one's", *steps, kTies + kTies / 2);
    exit(watched, spread());
    for (; !owed.empty(); receive(10s, [&](Down& down) { owed.erase(down.ref); })) {
    }
    EXPECT_TRUE(self_process().relations->monitors.empty());
    expect_few("the watcher's", self_process().relations->monitors.steps().taken, 2 * kTies);
  });
}

struct Spoke {
  Pid hub;
  void started() const { link(hub); }
  void handle(Message message) const {
    match(message, [&](Leave) { unlink(hub); });
  }
};

TEST_F(TieStepsTest, LinksAreMadeEndedAndFiredInAFewStepsEach) {
  run([] {
    trap_exit(true);
    std::vector<Pid> spokes;
    for (unsigned i = 0; i < kTies; ++i) spokes.push_back(spawn_handler({.mailbox = 1}, Spoke{self()}));
    yield();  // there is one by then
    const auto& links = self_process().relations->links;
    while (links.size() != kTies) yield();
    for (unsigned i = 0; i < kTies; i += 2) ASSERT_EQ(send(spokes[i], Leave{}), Delivery::queued);
    while (links.size() != kTies / 2) yield();
    for (const Pid spoke : spokes) exit(spoke, spread());
    for (unsigned i = 0; i < kTies / 2; ++i) receive(10s, [](Exit& exit) { EXPECT_EQ(exit.reason, spread()); });
    EXPECT_TRUE(links.empty());
    expect_few("the hub's", links.steps().taken, 2 * kTies);
  });
}
#endif

}  // namespace
}  // namespace erlking::testing
