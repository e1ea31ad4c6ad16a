#include "gc/depot.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <vector>

namespace erlking::gc {
namespace {

struct DepotTest : testing::Test {
  ~DepotTest() override {
    for (void* block : blocks) {
      unpoison(block, kGrain);
      std::free(block);
    }
  }
  Magazine magazine(unsigned count) {
    Magazine m;
    for (; m.count != count; ++m.count) {
      blocks.push_back(std::aligned_alloc(kGrain, kGrain));
      m.head = new (blocks.back()) Block{m.head};
      poison(m.head, kGrain);
    }
    return m;
  }
  static unsigned length(const Block* block) { return block == nullptr ? 0 : 1 + length(block->next); }

  std::vector<void*> blocks;
  Depot depot;
};

TEST_F(DepotTest, AnEmptyDepotGivesAnEmptyMagazine) { EXPECT_EQ(depot.take(0).head, nullptr); }

TEST_F(DepotTest, MagazinesComeBackWholeAndTheLastFirst) {
  const Magazine a = magazine(1), b = magazine(5);
  depot.put(0, a);
  depot.put(0, b);
  const Magazine first = depot.take(0), second = depot.take(0);
  EXPECT_EQ(first.head, b.head);
  EXPECT_EQ(first.count, 5u);
  EXPECT_EQ(length(first.head), 5u);
  EXPECT_EQ(second.head, a.head);
  EXPECT_EQ(length(second.head), 1u);
  EXPECT_EQ(depot.take(0).head, nullptr);
}

TEST_F(DepotTest, ClassesAreKeptApart) {
  depot.put(0, magazine(2));
  EXPECT_EQ(depot.take(1).head, nullptr);
  EXPECT_EQ(depot.take(0).count, 2u);
}

}  // namespace
}  // namespace erlking::gc
