#include "base/clock.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>

namespace erlking::base {
namespace {

using namespace std::chrono_literals;

TEST(ClockTest, RealTimeIsTheSteadyClock) {
  const Clock clock;
  const Nanos before = to_nanos(std::chrono::steady_clock::now());
  const Nanos now = clock.now();
  const Nanos behind = to_nanos(std::chrono::steady_clock::now());
  EXPECT_FALSE(clock.is_manual());
  EXPECT_LE(before, now);
  EXPECT_LE(now, behind);
  EXPECT_EQ(to_nanos(to_time_point(now)), now);
}

TEST(ClockTest, ManualTimeStandsStillUntilAdvanced) {
  const Nanos before = monotonic_now();
  Clock clock(Clock::Kind::manual);
  const Nanos start = clock.now();
  EXPECT_TRUE(clock.is_manual());
  EXPECT_LE(before, start);
  EXPECT_LE(start, monotonic_now());
  EXPECT_EQ(clock.now(), start);
  clock.advance(5);
  EXPECT_EQ(clock.now(), start + 5);
  clock.advance_to(start + 100);
  EXPECT_EQ(clock.now(), start + 100);
  clock.advance_to(start);
  EXPECT_EQ(clock.now(), start + 100);
  clock.advance(kForever);
  EXPECT_EQ(clock.now(), kForever);
}

TEST(ClockTest, AdvancingARealClockIsABug) {
  Clock clock;
  EXPECT_DEATH(clock.advance(1), "manual_");
}

TEST(ClockTest, SumsAreHeldAtTheEnds) {
  EXPECT_EQ(after(1, 2), 3);
  EXPECT_EQ(after(kForever, 1), kForever);
  EXPECT_EQ(after(1, kForever), kForever);
  EXPECT_EQ(after(std::numeric_limits<Nanos>::min(), -1), std::numeric_limits<Nanos>::min());
}

TEST(ClockTest, DurationsBeyondTheRangeAreHeldAtTheEnds) {
  EXPECT_EQ(to_nanos(1ms), 1'000'000);
  EXPECT_EQ(to_nanos(1.5s), 1'500'000'000);
  EXPECT_EQ(to_nanos(std::chrono::duration<int, std::pico>(2'999)), 2);
  EXPECT_EQ(to_nanos(std::chrono::hours::max()), kForever);
  EXPECT_EQ(to_nanos(std::chrono::hours::min()), std::numeric_limits<Nanos>::min());
  EXPECT_EQ(to_nanos(std::chrono::duration<double>(1e300)), kForever);
  EXPECT_EQ(to_nanos(std::chrono::duration<double>(-1e300)), std::numeric_limits<Nanos>::min());
  EXPECT_EQ(to_nanos(std::chrono::duration<double>(std::nan(""))), 0);
  EXPECT_EQ(to_nanos(std::chrono::steady_clock::time_point::max()), kForever);
  EXPECT_EQ(to_nanos(std::chrono::milliseconds(1LL << 33)), (1LL << 33) * 1'000'000);
}

TEST(ClockTest, CyclesGrow) {
  const std::uint64_t first = cycles();
  const Nanos start = monotonic_now();
  while (monotonic_now() - start < 1'000) {
  }
  EXPECT_GT(cycles(), first);
}

}  // namespace
}  // namespace erlking::base
