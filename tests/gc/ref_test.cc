#include "gc/ref.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace erlking {
namespace {

struct Tracked {
  explicit Tracked(std::atomic<int>& alive) : alive_(&alive) { ++*alive_; }
  Tracked(Tracked&& other) noexcept : alive_(other.alive_), value(other.value) { ++*alive_; }
  ~Tracked() { --*alive_; }
  std::atomic<int>* alive_;
  int value = 7;
};

TEST(RefTest, SharesAValueWithoutCopyingIt) {
  const Ref<const std::unique_ptr<int>> ref = share(std::make_unique<int>(3));
  EXPECT_EQ(**ref, 3);
  static_assert(std::is_const_v<std::remove_reference_t<decltype(*ref)>>);
  static_assert(sizeof(ref) == sizeof(void*));
}

TEST(RefTest, TheLastToGoDestroysTheValue) {
  std::atomic<int> alive{0};
  {
    Ref<const Tracked> a = share(Tracked(alive));
    EXPECT_EQ(alive, 1);
    Ref<const Tracked> b = a;
    EXPECT_EQ(a.use_count(), 2u);
    a.reset();
    EXPECT_EQ(alive, 1);
    EXPECT_EQ(b.use_count(), 1u);
    EXPECT_EQ(b->value, 7);
  }
  EXPECT_EQ(alive, 0);
}

TEST(RefTest, AMoveLeavesNothingBehindAndCountsNothing) {
  Ref<const int> a = share(1);
  const Ref<const int> b = std::move(a);
  EXPECT_FALSE(a);
  EXPECT_EQ(a.use_count(), 0u);
  EXPECT_EQ(a.get(), nullptr);
  EXPECT_TRUE(b);
  EXPECT_EQ(b.use_count(), 1u);
}

TEST(RefTest, AssigningItToItselfKeepsIt) {
  Ref<const int> a = share(1);
  const Ref<const int>& same = a;
  a = same;
  EXPECT_EQ(*a, 1);
  EXPECT_EQ(a.use_count(), 1u);
}

TEST(RefTest, ComparesByIdentity) {
  const Ref<const int> a = share(1), b = share(1), copy = a;
  EXPECT_EQ(a, copy);
  EXPECT_NE(a, b);
  EXPECT_TRUE((a < b) != (b < a));
  EXPECT_EQ(Ref<const int>(), nullptr);
  EXPECT_NE(a, nullptr);
  EXPECT_EQ(std::hash<Ref<const int>>{}(a), std::hash<Ref<const int>>{}(copy));
}

TEST(RefTest, CountsAcrossThreads) {
  std::atomic<int> alive{0};
  constexpr unsigned kThreads = 4, kRounds = 20'000;
  {
    Ref<const Tracked> ref = share(Tracked(alive));
    std::vector<std::thread> threads;
    for (unsigned t = 0; t != kThreads; ++t) {
      threads.emplace_back([mine = ref] {
        for (unsigned i = 0; i != kRounds; ++i) {
          const Ref<const Tracked> copy = mine;
          ASSERT_EQ(copy->value, 7);
        }
      });
    }
    ref.reset();  // the threads may outlast us
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(alive, 0);
}

}  // namespace
}  // namespace erlking
