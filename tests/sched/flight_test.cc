// The ring in which a worker keeps its last events.
#include "sched/flight.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

namespace erlking::sched {
namespace {

TEST(FlightTest, OffItKeepsNothing) {
  Flight flight;
  EXPECT_TRUE(flight.open(0));
  EXPECT_FALSE(flight.is_on());
  flight.record(1);
  flight.record(1, 2);
  flight.mark(FlightKind::tick, 5);
  EXPECT_EQ(flight.size(), 0u);
  EXPECT_EQ(flight.count(), 0u);
}

TEST(FlightTest, ItsSizeIsAPowerOfTwo) {
  Flight flight;
  ASSERT_TRUE(flight.open(65));
  EXPECT_EQ(flight.size(), 128u);
}

TEST(FlightTest, ItKeepsTheLast) {
  Flight flight;
  ASSERT_TRUE(flight.open(64));
  for (std::uint64_t i = 0; i < 1000; i += 2) flight.record(i, i + 1);
  EXPECT_EQ(flight.count(), 1000u);
  EXPECT_EQ(flight.first_kept(), 1000u + Flight::kMost - 64);
  for (std::uint64_t i = flight.first_kept(); i < 1000; ++i) EXPECT_EQ(flight.word(i), i);
}

TEST(FlightTest, AMarkHoldsTheTime) {
  Flight flight;
  ASSERT_TRUE(flight.open(64));
  flight.mark(FlightKind::wake, 123'456'789'012'345);
  EXPECT_EQ(flight.marked_at(), 123'456'789'012'345);
  EXPECT_EQ(flight.word(0), Flight::value_word(123'456'789'012'345, FlightKind::wake));
}

TEST(FlightTest, WhoReadsMeanwhileSeesOnlyWhatWasWrittenThere) {
  Flight flight;
  ASSERT_TRUE(flight.open(64));
  std::atomic<bool> over{false};
  std::thread writer([&] {
    for (std::uint64_t i = 0; !over.load(); i += 2) flight.record(i, i + 1);
  });
  std::uint64_t seen = 0;
  for (int round = 0; round < 20'000 || seen == 0; ++round) {
    const std::uint64_t end = flight.count();
    const std::uint64_t begin = end > 64 ? end - 64 : 0;
    std::uint64_t words[64];
    for (std::uint64_t i = begin; i < end; ++i) words[i - begin] = flight.word(i);
    for (std::uint64_t i = std::max(begin, flight.first_kept()); i < end; ++i, ++seen) ASSERT_EQ(words[i - begin], i);
  }
  over.store(true);
  writer.join();
}

}  // namespace
}  // namespace erlking::sched
