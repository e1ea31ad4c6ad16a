// PeerTable against a map, and how many steps it takes for how much: counted, so that nothing here is timed.
#include "runtime/peer_table.h"

#include "base/random.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

namespace erlking::testing {
namespace {

using Table = detail::PeerTable<std::unique_ptr<std::uint64_t>, detail::StepCount>;

void add(Table& table, std::uint64_t key) { table.add(key) = std::make_unique<std::uint64_t>(~key); }

TEST(PeerTableTest, HoldsWhatWasAddedAndNotRemoved) {
  base::Random random(7);
  for (const unsigned most : {3u, 16u, 34u, 200u}) {  // flat, at its end, over it now and then, far beyond
    Table table;
    std::map<std::uint64_t, bool> model;
    for (unsigned i = 0; i < 20'000; ++i) {
      const std::uint64_t key = random.below(most);
      if (random.below(2) == 0) {
        if (model.emplace(key, true).second) add(table, key);
      } else {
        std::unique_ptr<std::uint64_t> out;
        ASSERT_EQ(table.remove(key, &out), model.erase(key) == 1);
        ASSERT_TRUE(out == nullptr || *out == ~key);
      }
      ASSERT_EQ(table.size(), model.size());
      const std::uint64_t other = random.below(most);
      const auto* const found = table.find(other);
      ASSERT_EQ(found != nullptr, model.contains(other));
      ASSERT_TRUE(found == nullptr || **found == ~other);
    }
    const auto all = table.take_all();
    EXPECT_EQ(all.size(), model.size());
    for (const auto& [key, record] : all) EXPECT_TRUE(model.contains(key) && *record == ~key);
    EXPECT_TRUE(table.empty());
    EXPECT_EQ(table.find(0), nullptr);
  }
}

// The keys as they come: refs count up, pids of a crowd differ by their slots, those of one slot by 2^28; and some that
// only somebody who wishes us ill would choose.
TEST(PeerTableTest, AFewStepsAreEnoughForEachOperationHoweverManyAreInIt) {
  for (const unsigned shift : {0u, 12u, 28u}) {
    for (const unsigned entries : {16u, 1'000u, 100'000u}) {
      SCOPED_TRACE(::testing::Message() << entries << " entries, shifted by " << shift);
      Table table;
      std::vector<std::uint64_t> keys;
      for (std::uint64_t i = 1; i <= entries; ++i) keys.push_back(i << shift);
      for (const std::uint64_t key : keys) {
        ASSERT_EQ(table.find(key), nullptr);
        add(table, key);
      }
      EXPECT_GE(table.steps().taken, entries) << "nothing is counted";
      EXPECT_LE(table.steps().taken, 16u * entries);
      base::Random random(entries);
      for (std::size_t i = keys.size(); i-- > 1;) std::swap(keys[i], keys[random.below(i + 1)]);
      const std::uint64_t before = table.steps().taken;
      for (const std::uint64_t key : keys) ASSERT_TRUE(table.remove(key));
      EXPECT_GE(table.steps().taken - before, entries);
      EXPECT_LE(table.steps().taken - before, 16u * entries);
    }
  }
}

}  // namespace
}  // namespace erlking::testing
