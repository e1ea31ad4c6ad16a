// The heap "owned", the default: every message has one owner at a time, so nothing need be traced and nothing pauses.
// Small blocks are carved from slabs and then circulate, Local to Local through the Depot, for the life of the heap;
// slabs go back to the system when it ends. Memory is therefore bounded by the peak of live blocks per class, plus
// what Locals keep (each 128 KiB of a class at most), plus less than one block at the end of each slab.
// The heap "region" is this one, too: whose a block is shows in lists that the runtime keeps, so that an allocation and
// a send cost the same.
#include "gc/backends.h"
#include "gc/depot.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace erlking::gc {
namespace {

constexpr std::size_t kSlabBytes = 256 * 1024;

constexpr std::size_t round_to_grain(std::size_t bytes) noexcept { return (bytes + kGrain - 1) & ~(kGrain - 1); }

class Owned final : public Collector {
 public:
  Owned(const CollectorOptions& options, bool regions) noexcept : regions_(regions), max_bytes_(options.max_bytes) {}

  ~Owned() override {
    while (slabs_ != nullptr) {
      Slab* const slab = slabs_;
      slabs_ = slab->next;
      unpoison(slab, slab->bytes);
      std::free(slab);
    }
  }

  std::string_view name() const noexcept override { return regions_ ? "region" : "owned"; }
  bool keeps_regions() const noexcept override { return regions_; }

  Magazine refill(Local&, unsigned cls) noexcept override {
    const Magazine magazine = depot_.take(cls);
    return magazine.head != nullptr ? magazine : carve(cls);
  }

  void drain(Local&, unsigned cls, Magazine magazine) noexcept override { depot_.put(cls, magazine); }

  void* allocate_large(std::size_t bytes) noexcept override {
    if (bytes > max_bytes_.load(base::relaxed)) return nullptr;  // so that rounding cannot overflow below
    const std::size_t rounded = round_to_grain(bytes);
    if (rounded < bytes || !reserve(rounded)) return nullptr;
    void* const block = std::aligned_alloc(kGrain, rounded);
    if (block == nullptr) {
      unreserve(rounded);
      return nullptr;
    }
    // relaxed, all below: statistics publish nothing.
    large_blocks_.fetch_add(1, base::relaxed);
    large_bytes_.fetch_add(rounded, base::relaxed);
    return block;
  }

  void free_large(void* block, std::size_t bytes) noexcept override {
    EK_CHECK(block != nullptr);
    const std::size_t rounded = round_to_grain(bytes);
    std::free(block);
    large_blocks_.fetch_sub(1, base::relaxed);
    large_bytes_.fetch_sub(rounded, base::relaxed);
    unreserve(rounded);
  }

  void raise_bound(std::size_t bytes) noexcept override {
    std::size_t bound = max_bytes_.load(base::relaxed);
    while (!max_bytes_.compare_exchange_weak(bound, bound + std::min(bytes, ~bound), base::relaxed, base::relaxed)) {
    }
  }

  HeapStats stats() const noexcept override {
    HeapStats stats;
    stats.name = name();
    stats.bytes_reserved = slab_bytes_.load(base::relaxed);
    stats.large_blocks = large_blocks_.load(base::relaxed);
    stats.large_bytes = large_bytes_.load(base::relaxed);
    add_locals(stats);
    return stats;
  }

 private:
  struct alignas(kGrain) Slab {  // at the front of its own memory
    Slab* next;
    std::size_t bytes;
  };

  // New blocks, at most a magazine; fewer at the end of a slab.
  Magazine carve(unsigned cls) noexcept {
    const std::size_t size = class_size(cls);
    std::byte* first;
    unsigned count;
    {
      const base::MutexLock lock(slab_mutex_);
      if (static_cast<std::size_t>(end_ - begin_) < size && !add_slab(size)) return {};
      const std::size_t fit = static_cast<std::size_t>(end_ - begin_) / size;
      count = fit < magazine_size(cls) ? static_cast<unsigned>(fit) : magazine_size(cls);
      first = begin_;
      begin_ += count * size;
    }
    // Linked in address order, outside the lock: here the pages are touched for the first time.
    for (unsigned i = 0; i != count; ++i) {
      std::byte* const at = first + i * size;
      poison(new (at) Block{i + 1 == count ? nullptr : reinterpret_cast<Block*>(at + size)}, size);
    }
    return {reinterpret_cast<Block*>(first), count};
  }

  bool add_slab(std::size_t size) noexcept EK_REQUIRES(slab_mutex_) {
    // Near the bound a smaller slab is tried, down to one block.
    for (std::size_t bytes = kSlabBytes; bytes >= size + sizeof(Slab); bytes /= 2) {
      if (!reserve(bytes)) continue;
      void* const memory = std::aligned_alloc(bytes < 4096 ? bytes : 4096, bytes);  // bytes: a power of two
      if (memory == nullptr) {
        unreserve(bytes);
        continue;
      }
      slabs_ = new (memory) Slab{slabs_, bytes};
      slab_bytes_.fetch_add(bytes, base::relaxed);
      begin_ = static_cast<std::byte*>(memory) + sizeof(Slab);
      end_ = static_cast<std::byte*>(memory) + bytes;
      return true;
    }
    return false;
  }

  // relaxed: the bound is on a number; no memory is published by it.
  bool reserve(std::size_t bytes) noexcept {
    std::size_t reserved = reserved_.load(base::relaxed);
    do {
      if (bytes > max_bytes_.load(base::relaxed) - reserved) return false;
    } while (!reserved_.compare_exchange_weak(reserved, reserved + bytes, base::relaxed, base::relaxed));
    return true;
  }
  void unreserve(std::size_t bytes) noexcept { reserved_.fetch_sub(bytes, base::relaxed); }

  template <class T>
  using Atomic = base::Real::atomic<T>;

  const bool regions_;
  Depot depot_;
  Atomic<std::size_t> max_bytes_;    // only grows
  Atomic<std::size_t> reserved_{0};  // slabs and large blocks; never above max_bytes_
  Atomic<std::size_t> slab_bytes_{0};
  Atomic<std::uint64_t> large_blocks_{0};
  Atomic<std::size_t> large_bytes_{0};
  base::Mutex slab_mutex_;
  Slab* slabs_ EK_GUARDED_BY(slab_mutex_) = nullptr;
  std::byte* begin_ EK_GUARDED_BY(slab_mutex_) = nullptr;  // the newest slab's part not yet carved
  std::byte* end_ EK_GUARDED_BY(slab_mutex_) = nullptr;
};

}  // namespace

std::unique_ptr<Collector> make_owned(const CollectorOptions& options) noexcept {
  return std::unique_ptr<Collector>(new (std::nothrow) Owned(options, false));
}

std::unique_ptr<Collector> make_region(const CollectorOptions& options) noexcept {
  return std::unique_ptr<Collector>(new (std::nothrow) Owned(options, true));
}

}  // namespace erlking::gc
