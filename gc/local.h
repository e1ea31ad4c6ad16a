// The hot half of the heap: one worker's free blocks, a list per size class. allocate() pops, free() pushes; only an
// empty or an overfull list asks the Collector, once per magazine.
//
//   operation      atomic read-modify-writes   lines written                         system allocations
//   allocate hit   none                        the class's line (the block's read)  none
//   free hit       none                        the class's line, the block's        none
//   miss           one lock per 128 blocks     the depot's line of that class        a 256 KiB slab when it is empty
//
// With a heap that traces (roots.h) a block freed is dropped, for the collector to find: free() always misses, and
// counts. A block in use has to look as block.h says.
//
// A Local keeps a list being worked on and some full magazines, the spares: so a thread at the edge of one does not run
// to the depot at every step, and where a thousand small blocks come and go at a time, each worker's stay its own (one
// that another has used costs a line handed over). It hoards at most 128 KiB of a class; a lean one has one spare.
// Owner thread only, but for stats(), which any thread may call. A block may be freed at any Local of the same
// Collector. Everything is noexcept; null means out of memory.
#pragma once

#include "base/assert.h"
#include "base/atomic.h"
#include "gc/block.h"
#include "gc/roots.h"
#include "gc/size_class.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace erlking::gc {

class Collector;

/// What one Local (or many, summed) handed out and took back; small blocks only. Bytes are those of the class.
struct LocalStats {
  std::uint64_t allocated = 0;
  std::uint64_t freed = 0;
  std::uint64_t allocated_bytes = 0;
  std::uint64_t freed_bytes = 0;
};

class alignas(base::kCacheLine) Local {
 public:
  /// Draws on `collector`, which must outlive this. Allocates nothing yet. `lean`: one of so many that none may hoard.
  explicit Local(Collector& collector, bool lean = false) noexcept;
  /// Gives every free block back. Blocks still in use stay valid; free them at another Local.
  ~Local();
  Local(const Local&) = delete;
  Local& operator=(const Local&) = delete;

  /// A block of class_size(cls) bytes, 64-byte aligned, content undefined; cls below kClasses. Null: out of memory.
  void* allocate(unsigned cls) noexcept;
  /// Takes back a block of that class, from any Local of this Collector. Never null.
  void free(void* block, unsigned cls) noexcept;

  /// A block of more than kSmallMax bytes (fewer is allowed), 64-byte aligned: straight from the Collector.
  void* allocate_large(std::size_t bytes) noexcept;
  /// Takes it back; `bytes` as given to allocate_large.
  void free_large(void* block, std::size_t bytes) noexcept;

  /// Either of the two ways, by size.
  void* allocate_bytes(std::size_t bytes) noexcept;
  void free_bytes(void* block, std::size_t bytes) noexcept;

  /// For what is no message. `state`: what a process's roots lead to, scanned by a heap that traces; `plain`: what
  /// never holds a Gc. `bytes` (not 0) as given; 64-byte aligned. Null: out of memory.
  void* allocate_state(std::size_t bytes) noexcept;
  void free_state(void* block, std::size_t bytes) noexcept;
  void* allocate_plain(std::size_t bytes) noexcept;
  void free_plain(void* block, std::size_t bytes) noexcept;

  /// Gives every free block back to the Collector: for a thread that rests for long.
  void flush() noexcept;

  /// The heap behind this.
  Collector& collector() const noexcept { return collector_; }
  /// Counts since construction. Any thread; exact when the owner is at rest.
  LocalStats stats() const noexcept;

 private:
  friend class Collector;  // keeps the list of Locals

  using Counter = base::Real::atomic<std::uint64_t>;
  // The owner alone writes: a load and a store, no locked instruction. relaxed: statistics publish nothing.
  static std::uint64_t bump(Counter& counter) noexcept {
    const std::uint64_t value = counter.load(base::relaxed) + 1;
    counter.store(value, base::relaxed);
    return value;
  }

  // One line per class. The length of the list is not stored: it is freed - allocated + magazine_size - mark, so that
  // the two totals are the only things counted.
  struct alignas(base::kCacheLine) Bin {
    Block* head = nullptr;
    std::uint64_t mark = 0;  // freed - allocated (modulo 2^64) when the list is a full magazine
    Counter allocated{0};
    Counter freed{0};
    std::uint64_t kept = ~std::uint64_t{0};  // 0: the list counts as a full magazine always, so that free() misses
    unsigned spares = 0;
  };

  static constexpr unsigned kSparesMax = 8;
  unsigned spares_most(unsigned cls) const noexcept {
    const std::size_t fit = 2 * kMagazineBytes / (magazine_size(cls) * class_size(cls)) - 1;
    return lean_ || fit < 2 ? 1 : fit > kSparesMax ? kSparesMax : static_cast<unsigned>(fit);
  }

  void* allocate_miss(unsigned cls) noexcept;
  void free_miss(void* block, unsigned cls) noexcept;
  unsigned length(unsigned cls) const noexcept;
  void set_length(unsigned cls, unsigned length) noexcept;

  Bin bins_[kClasses];
  Block* spares_[kClasses][kSparesMax];  // full magazines, the warmest last
  const bool lean_;
  Collector& collector_;
  Tracer* const tracer_;  // null: the heap does not trace
  // The Collector's list, changed under its lock; next_ is also read by who has stopped all threads.
  base::Real::atomic<Local*> next_{nullptr};
  Local* prev_ = nullptr;
};

inline void* Local::allocate(unsigned cls) noexcept {
  EK_DCHECK(cls < kClasses);
  Bin& bin = bins_[cls];
  Block* const block = bin.head;
  if (block == nullptr) [[unlikely]]
    return allocate_miss(cls);
  bin.head = block->next;
  bump(bin.allocated);
  unpoison(block, class_size(cls));
  return block;
}

inline void Local::free(void* memory, unsigned cls) noexcept {
  EK_DCHECK(cls < kClasses && memory != nullptr);
  Bin& bin = bins_[cls];
  if (((bin.freed.load(base::relaxed) - bin.allocated.load(base::relaxed) - bin.mark) & bin.kept) == 0) [[unlikely]]
    return free_miss(memory, cls);
  Block* const block = new (memory) Block{bin.head};
  bin.head = block;
  bump(bin.freed);
  poison(block, class_size(cls));
}

inline void* Local::allocate_bytes(std::size_t bytes) noexcept {
  const unsigned cls = size_class(bytes);
  return cls == kLarge ? allocate_large(bytes) : allocate(cls);
}

inline void Local::free_bytes(void* block, std::size_t bytes) noexcept {
  const unsigned cls = size_class(bytes);
  if (cls == kLarge) return free_large(block, bytes);
  free(block, cls);
}

inline void* Local::allocate_state(std::size_t bytes) noexcept {
  return tracer_ == nullptr ? allocate_bytes(bytes) : tracer_->allocate(bytes, Scan::all, kGrain);
}

inline void Local::free_state(void* block, std::size_t bytes) noexcept {
  if (tracer_ == nullptr) free_bytes(block, bytes);
}

inline void* Local::allocate_plain(std::size_t bytes) noexcept {
  if (tracer_ == nullptr) return allocate_bytes(bytes);
  return std::aligned_alloc(kGrain, (bytes + kGrain - 1) & ~(kGrain - 1));
}

inline void Local::free_plain(void* block, std::size_t bytes) noexcept {
  if (tracer_ == nullptr) return free_bytes(block, bytes);
  std::free(block);
}

}  // namespace erlking::gc
