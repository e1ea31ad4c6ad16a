// What a Local does by itself; what holds for every heap is in collector_conformance_test.cc.
#include "gc/local.h"

#include "gc/collector.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace erlking::gc {
namespace {

// Counts what crosses the seam.
class Counting final : public Collector {
 public:
  explicit Counting(std::unique_ptr<Collector> below) : below_(std::move(below)) {}
  std::string_view name() const noexcept override { return "counting"; }
  Magazine refill(Local& local, unsigned cls) noexcept override {
    ++refills;
    return below_->refill(local, cls);
  }
  void drain(Local& local, unsigned cls, Magazine magazine) noexcept override {
    ++drains;
    drained += magazine.count;
    below_->drain(local, cls, magazine);
  }
  void* allocate_large(std::size_t bytes) noexcept override { return below_->allocate_large(bytes); }
  void free_large(void* block, std::size_t bytes) noexcept override { below_->free_large(block, bytes); }
  void raise_bound(std::size_t bytes) noexcept override { below_->raise_bound(bytes); }
  HeapStats stats() const noexcept override {
    HeapStats stats;
    add_locals(stats);
    return stats;
  }
  unsigned refills = 0, drains = 0, drained = 0;

 private:
  std::unique_ptr<Collector> below_;
};

struct LocalTest : testing::Test {
  Counting heap{make_collector("owned").value()};
};

TEST_F(LocalTest, AsksTheCollectorOncePerMagazine) {
  for (const bool lean : {false, true}) {
    heap.refills = heap.drains = 0;
    Local local(heap, lean);
    std::vector<void*> blocks;
    for (unsigned i = 0; i != 20 * kMagazineMax; ++i) blocks.push_back(local.allocate(0));
    EXPECT_EQ(heap.refills, 20u);
    for (void* block : blocks) local.free(block, 0);
    EXPECT_EQ(heap.drains, lean ? 18u : 11u) << "a working list and full spares stay: one, or eight";
  }
}

TEST_F(LocalTest, AThousandBlocksThatComeAndGoStayItsOwn) {
  Local local(heap);
  for (unsigned round = 0; round != 10; ++round) {
    std::vector<void*> blocks;
    for (unsigned i = 0; i != 1'000; ++i) blocks.push_back(local.allocate(0));
    for (void* block : blocks) local.free(block, 0);
  }
  EXPECT_EQ(heap.refills, 8u) << "those of the first round";
  EXPECT_EQ(heap.drains, 0u);
}

TEST_F(LocalTest, OfNoClassMoreThan128KiBAreHoarded) {
  Local local(heap);
  for (unsigned cls = 0; cls != kClasses; ++cls) {
    std::vector<void*> blocks;
    for (std::size_t bytes = 0; bytes < 512 * 1024; bytes += class_size(cls)) blocks.push_back(local.allocate(cls));
    const unsigned drained = heap.drained;
    for (void* block : blocks) local.free(block, cls);
    const std::size_t had = (blocks.size() + magazine_size(cls) - 1) / magazine_size(cls) * magazine_size(cls);
    EXPECT_LE((had - (heap.drained - drained)) * class_size(cls), std::size_t{128} * 1024) << cls;
  }
}

TEST_F(LocalTest, AtTheEdgeOfAMagazineItDoesNotRunToTheCollector) {
  Local local(heap);
  std::vector<void*> blocks;
  for (unsigned i = 0; i != 2 * kMagazineMax; ++i) blocks.push_back(local.allocate(0));
  for (unsigned round = 0; round != 1000; ++round) {
    void* const block = blocks.back();
    local.free(block, 0);
    blocks.back() = local.allocate(0);
  }
  EXPECT_EQ(heap.refills, 2u);
  EXPECT_EQ(heap.drains, 0u);
  for (void* block : blocks) local.free(block, 0);
}

TEST_F(LocalTest, GivesEverythingBackAtItsEnd) {
  {
    Local local(heap);
    std::vector<void*> blocks;
    for (unsigned i = 0; i != 200; ++i) blocks.push_back(local.allocate(3));
    for (void* block : blocks) local.free(block, 3);
  }
  EXPECT_EQ(heap.drained, 2 * kMagazineMax);
  EXPECT_EQ(heap.stats().blocks_live, 0u);
  EXPECT_EQ(heap.stats().blocks_allocated, 200u) << "counts of a Local outlive it";
}

TEST_F(LocalTest, CountsPerClassAddUpInBlocksAndBytes) {
  Local local(heap);
  void* const a = local.allocate(0);
  void* const b = local.allocate(7);
  local.free(a, 0);
  const LocalStats stats = local.stats();
  EXPECT_EQ(stats.allocated, 2u);
  EXPECT_EQ(stats.freed, 1u);
  EXPECT_EQ(stats.allocated_bytes, 64u + 512u);
  EXPECT_EQ(stats.freed_bytes, 64u);
  EXPECT_EQ(heap.stats().bytes_live, 512u);
  local.free(b, 7);
}

#if defined(__SANITIZE_ADDRESS__)
TEST_F(LocalTest, AUseAfterFreeIsFound) {
  Local local(heap);
  auto* const block = static_cast<volatile char*>(local.allocate(1));
  local.free(const_cast<char*>(block), 1);
  EXPECT_DEATH(block[64] = 1, "use-after-poison");
}
#endif

}  // namespace
}  // namespace erlking::gc
