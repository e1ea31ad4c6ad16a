#include "sched/stack.h"

#include "base/log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace erlking::sched {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

TEST(StackTest, SizesRoundUpToPowersOfTwo) {
  EXPECT_EQ(stack_class(1), 0u);
  EXPECT_EQ(stack_class(kStackMin), 0u);
  EXPECT_EQ(stack_class(kStackMin + 1), 1u);
  EXPECT_EQ(stack_class(64 * 1024), 2u);
  EXPECT_EQ(stack_class(kStackMax), kStackClasses - 1);
  EXPECT_EQ(stack_class(kStackMax + 1), kStackClasses);
}

TEST(StackTest, StacksOfEveryClassAreAlignedUsableAndKnowTheirClass) {
  StackPool pool;
  StackCache cache(pool);
  for (unsigned cls = 0; cls != kStackClasses; ++cls) {
    const std::size_t bytes = stack_class_bytes(cls);
    const Stack stack = cache.take(bytes);
    ASSERT_TRUE(stack);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(stack.top) % 64, 0u);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(stack.low) % kStackGuard, 0u);
    EXPECT_LE(stack.size(), bytes);
    EXPECT_GT(stack.size(), bytes - 2048);
    EXPECT_EQ(stack.cls(), cls);
    std::memset(stack.low, 1, stack.size());
    cache.give(stack);
  }
}

TEST(StackTest, MoreThanTheLargestClassIsRefused) {
  StackPool pool;
  StackCache cache(pool);
  EXPECT_FALSE(cache.take(kStackMax + 1));
}

TEST(StackTest, AStackGivenBackIsTheNextTaken) {
  StackPool pool;
  StackCache cache(pool);
  const Stack a = cache.take(65536), b = cache.take(65536);
  cache.give(a);
  cache.give(b);
  EXPECT_EQ(cache.take(65536).low, b.low);
  EXPECT_EQ(cache.take(65536).low, a.low);
  cache.give(a);
  cache.give(b);
}

TEST(StackTest, TopsOfNeighboursAreColoured) {
  StackPool pool;
  std::vector<Stack> stacks(32);
  ASSERT_EQ(pool.take(2, stacks), 32u);
  std::set<std::uintptr_t> offsets;
  for (const Stack& stack : stacks) offsets.insert(reinterpret_cast<std::uintptr_t>(stack.top) % 4096);
  EXPECT_EQ(offsets.size(), 32u);
  pool.give(2, stacks);
}

TEST(StackTest, SlotsAreAnOddNumberOfPagesApartSoThatTheirTopsShareNoSetOfATlb) {
  for (unsigned cls = 0; cls != kStackClasses; ++cls) {
    EXPECT_EQ(stack_slot_bytes(cls) / kStackGuard % 2, 1u);
    if (stack_slot_bytes(cls) > std::size_t{2} << 20) continue;  // its first slab is one stack
    StackPool pool;
    std::vector<Stack> stacks(2);
    ASSERT_EQ(pool.take(cls, stacks), 2u);
    EXPECT_EQ(static_cast<std::size_t>(stacks[1].low - stacks[0].low), stack_slot_bytes(cls)) << "of class " << cls;
    pool.give(cls, stacks);
  }
}

TEST(StackTest, ACacheHoldsNoMoreThanItsBound) {
  StackPool pool;
  StackCache cache(pool);
  std::vector<Stack> stacks;
  for (unsigned i = 0; i != 4000; ++i) stacks.push_back(cache.take(65536));
  EXPECT_GE(pool.stats().taken, 4000u);
  for (const Stack& stack : stacks) cache.give(stack);
  EXPECT_LE(pool.stats().taken, 1024u);
  cache.flush();
  EXPECT_EQ(pool.stats().taken, 0u);
  EXPECT_GE(pool.stats().idle, 4000u);
}

TEST(StackTest, OfABoundedPoolACacheHoldsNoMoreThanA64th) {
  StackPool pool({.max_bytes = std::size_t{256} << 20});
  StackCache cache(pool);
  std::vector<Stack> stacks;
  for (unsigned i = 0; i != 1000; ++i) stacks.push_back(cache.take(65536));
  for (const Stack& stack : stacks) cache.give(stack);
  EXPECT_LE(pool.stats().taken, 64u);
}

TEST(StackTest, AtItsBoundAStackIsRefusedUntilOneComesBack) {
  for (unsigned cls : {0u, 2u, kStackClasses - 1}) {
    const std::size_t bytes = stack_class_bytes(cls);
    StackPool pool({.max_bytes = 10 * stack_slot_bytes(cls)});
    StackCache cache(pool);
    std::vector<Stack> stacks;
    while (const Stack stack = cache.take(bytes)) stacks.push_back(stack);
    EXPECT_EQ(stacks.size(), 10u);
    EXPECT_EQ(pool.stats().bytes_reserved, 10 * stack_slot_bytes(cls));
    cache.give(stacks.back());
    EXPECT_EQ(cache.take(bytes).low, stacks.back().low);
    for (const Stack& stack : stacks) cache.give(stack);
  }
}

TEST(StackTest, TheSameStackIsNeverOutTwice) {
  StackPool pool;
  constexpr unsigned kThreads = 4;
  const unsigned rounds = kSanitized ? 5'000 : 50'000;
  std::mutex mutex;
  std::vector<Stack> crossing;  // taken by one thread, given by another
  std::vector<std::thread> threads;
  for (unsigned t = 0; t != kThreads; ++t) {
    threads.emplace_back([&, t] {
      StackCache cache(pool);
      std::mt19937 random(t);
      for (unsigned i = 0; i != rounds; ++i) {
        const std::size_t bytes = kStackMin << (random() % 4);
        const Stack stack = cache.take(bytes);
        ASSERT_TRUE(stack);
        // The mark is plain memory: a stack out twice is a race, and a mark that changes.
        auto* const mark = reinterpret_cast<unsigned*>(stack.top) - 1;
        *mark = t * rounds + i;
        Stack other;
        {
          const std::lock_guard lock(mutex);
          crossing.push_back(stack);
          std::swap(crossing[random() % crossing.size()], crossing.back());
          if (crossing.size() > 100) {
            other = crossing.back();
            crossing.pop_back();
          }
        }
        if (other) cache.give(other);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(pool.stats().taken, crossing.size());
  std::set<std::byte*> distinct;
  for (const Stack& stack : crossing) distinct.insert(stack.low);
  EXPECT_EQ(distinct.size(), crossing.size());
  for (const Stack& stack : crossing) pool.give(stack.cls(), {&stack, 1});
  const StackStats stats = pool.stats();
  EXPECT_EQ(stats.taken, 0u);
  EXPECT_LE(stats.idle, stats.made);
}

class GuardTest : public testing::TestWithParam<Guard> {};

TEST_P(GuardTest, AWriteBelowTheStackFaults) {
  if (kSanitized) GTEST_SKIP() << "the sanitizer sees the fault first";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  StackPool pool({.guard = GetParam()});
  StackCache cache(pool);
  if (pool.guard_kind() == Guard::none) GTEST_SKIP() << "no guards here";
  std::vector<Stack> stacks;
  for (unsigned i = 0; i != 100; ++i) stacks.push_back(cache.take(65536));
  EXPECT_EQ(pool.stats().unguarded, 0u);
  for (const Stack& stack : {stacks.front(), stacks.back()}) {
    *stack.low = std::byte{1};
    EXPECT_EXIT(*reinterpret_cast<volatile char*>(stack.low - 1) = 1, testing::KilledBySignal(SIGSEGV), "");
    EXPECT_EXIT(*reinterpret_cast<volatile char*>(stack.low - kStackGuard) = 1, testing::KilledBySignal(SIGSEGV), "");
  }
  for (const Stack& stack : stacks) cache.give(stack);
}

TEST_P(GuardTest, IsWhatWasAskedForOrWeaker) {
  StackPool pool({.guard = GetParam()});
  EXPECT_NE(pool.guard_kind(), Guard::best);
  if (GetParam() != Guard::best) {
    EXPECT_GE(pool.guard_kind(), GetParam());
  }
}

INSTANTIATE_TEST_SUITE_P(Guards, GuardTest, testing::Values(Guard::best, Guard::install, Guard::mprotect, Guard::none));

TEST(StackTest, WhenMprotectRunsOutStacksGoWithoutAndAreCounted) {
  if (kSanitized) GTEST_SKIP() << "slow there";
  StackPool pool({.guard = Guard::mprotect});
  if (pool.guard_kind() != Guard::mprotect) GTEST_SKIP();
  std::vector<Stack> stacks(40'000);
  const unsigned taken = pool.take(0, stacks);
  EXPECT_EQ(taken, 40'000u);
  EXPECT_EQ(pool.guard_kind() == Guard::none, pool.stats().unguarded != 0);
  pool.give(0, {stacks.data(), taken});
}

// Two periods of a pool: what was idle through the last is released.
std::size_t tend_through(StackPool& pool, base::Nanos& now, unsigned& calls) {
  const std::size_t before = pool.stats().released;
  for (int period = 0; period != 2; ++period) {
    now += StackPool::kTendPeriod;
    while (pool.tend(now) == 0) ++calls;
  }
  return pool.stats().released - before;
}

TEST(StackTest, MemoryLongIdleIsReleasedALittleAtATimeAndTheGuardsStay) {
  if (!kSanitized) GTEST_FLAG_SET(death_test_style, "threadsafe");
  StackPool pool;
  constexpr unsigned kClass = 2, kCount = 4'096;
  constexpr std::size_t kBytes = stack_slot_bytes(kClass);
  std::vector<Stack> stacks(kCount);
  ASSERT_EQ(pool.take(kClass, stacks), kCount);
  for (const Stack& stack : stacks) stack.top[-1] = std::byte{1};
  base::Nanos now = 0;
  unsigned calls = 0;
  EXPECT_EQ(tend_through(pool, now, calls), 0u) << "all are in use";
  const Stack kept = stacks.back();
  stacks.pop_back();
  std::shuffle(stacks.begin(), stacks.end(), std::mt19937(1));  // so that few are neighbours
  pool.give(kClass, stacks);
  const std::size_t released = tend_through(pool, now, calls);
  EXPECT_GE(released, stacks.size() * kBytes - StackPool::kTendFrom);
  EXPECT_LE(released, stacks.size() * kBytes);
  EXPECT_GE(calls, 8u) << "more than a little at a time";
  EXPECT_FALSE(pool.wants_tending());
  EXPECT_EQ(kept.top[-1], std::byte{1});
  ASSERT_EQ(pool.take(kClass, stacks), stacks.size());
  const auto is_cleared = [](const Stack& stack) { return stack.top[-1] == std::byte{0}; };
  EXPECT_EQ(static_cast<std::size_t>(std::ranges::count_if(stacks, is_cleared)) * kBytes, released);
  if (!kSanitized && pool.guard_kind() != Guard::none) {
    const Stack& cleared = *std::ranges::find_if(stacks, is_cleared);
    EXPECT_EXIT(*reinterpret_cast<volatile char*>(cleared.low - 1) = 1, testing::KilledBySignal(SIGSEGV), "");
  }
  pool.give(kClass, stacks);
  pool.give(kClass, {&kept, 1});
}

TEST(StackTest, StacksUsedByTurnsKeepTheirMemory) {
  StackPool pool;
  constexpr unsigned kClass = 2;
  std::vector<Stack> stacks(4'096), few(1'024);
  ASSERT_EQ(pool.take(kClass, stacks), stacks.size());
  for (const Stack& stack : stacks) stack.top[-1] = std::byte{1};
  pool.give(kClass, stacks);
  base::Nanos now = 0;
  unsigned calls = 0;
  for (int turn = 0; turn != 6; ++turn) {  // a quarter is out and back between any two looks
    ASSERT_EQ(pool.take(kClass, few), few.size());
    for (const Stack& stack : few) EXPECT_EQ(stack.top[-1], std::byte{1});
    pool.give(kClass, few);
    now += StackPool::kTendPeriod;
    while (pool.tend(now) == 0) ++calls;
  }
  EXPECT_EQ(pool.stats().released, 3'072 * stack_slot_bytes(kClass)) << "the other three";
}

TEST(StackTest, AGuardThatIsNotTheBestIsToldOfOnce) {
  static std::mutex mutex;
  static std::vector<std::string> lines;
  base::set_log_sink([](base::Level, std::string_view component, std::string_view text) {
    const std::lock_guard lock(mutex);
    if (component == "stacks") lines.emplace_back(text);
  });
  std::vector<Stack> stacks(kSanitized ? 100 : 40'000);
  for (const Guard guard : {Guard::none, Guard::install, Guard::mprotect}) {
    lines.clear();
    StackPool pool({.guard = guard});
    const bool makes_do = pool.guard_kind() == Guard::mprotect;
    EXPECT_EQ(lines.size(), makes_do ? 1u : 0u);
    ASSERT_EQ(pool.take(0, stacks), stacks.size());
    const bool goes_without = makes_do && pool.guard_kind() == Guard::none;
    EXPECT_EQ(lines.size(), (makes_do ? 1u : 0u) + (goes_without ? 1u : 0u));
    EXPECT_EQ(pool.stats().unguarded != 0, goes_without);
    pool.give(0, stacks);
  }
  base::set_log_sink(nullptr);
}

TEST(StackTest, TheHighWaterMarkTellsTheDeepestWrite) {
  StackPool pool;
  StackCache cache(pool);
  const Stack stack = cache.take(1 << 20);
  EXPECT_EQ(high_water(stack), 0u);
  stack.top[-100] = std::byte{1};
  EXPECT_EQ(high_water(stack), 100u);
  stack.top[-300'000] = std::byte{1};
  EXPECT_EQ(high_water(stack), 300'000u);
  cache.give(stack);
}

}  // namespace
}  // namespace erlking::sched
