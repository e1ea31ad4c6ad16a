// Limits: what is counted, and that nobody is refused for what another did not get.
#include "io/limits.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace erlking::io {
namespace {

TEST(LimitsTest, TakesUpToTheBoundAndCounts) {
  Limits limits(2, 100);
  EXPECT_TRUE(limits.take_descriptor());
  EXPECT_TRUE(limits.take_descriptor());
  EXPECT_FALSE(limits.take_descriptor());
  EXPECT_EQ(limits.descriptors(), 2u);
  limits.give_descriptor();
  EXPECT_TRUE(limits.take_descriptor());
  EXPECT_TRUE(limits.take_bytes(60));
  EXPECT_FALSE(limits.take_bytes(41));
  EXPECT_FALSE(limits.take_bytes(~std::uint64_t{0}));
  EXPECT_TRUE(limits.take_bytes(40));
  EXPECT_EQ(limits.bytes(), 100u);
  limits.take_bytes_anyhow(10);
  EXPECT_FALSE(limits.take_bytes(0)) << "over the bound nothing is given, not even nothing";
  limits.give_bytes(110);
  EXPECT_EQ(limits.bytes(), 0u);
}

TEST(LimitsTest, ARefusalTakesNoRoomFromOthers) {
  Limits limits(0, 100);
  std::atomic<bool> ends{false};
  std::thread greedy([&] {
    while (!ends) EXPECT_FALSE(limits.take_bytes(1'000));
  });
  for (int i = 0; i < 200'000; ++i) {
    ASSERT_TRUE(limits.take_bytes(1)) << i;
    limits.give_bytes(1);
  }
  ends = true;
  greedy.join();
  EXPECT_EQ(limits.bytes(), 0u);
}

TEST(LimitsTest, NoughtIsNoBound) {
  Limits limits(0, 0);
  EXPECT_TRUE(limits.take_bytes(std::uint64_t{1} << 60));
  for (int i = 0; i < 10'000; ++i) ASSERT_TRUE(limits.take_descriptor());
}

}  // namespace
}  // namespace erlking::io
