// Stacks for tasks: guarded, pooled, in size classes of powers of two from 16 KiB to 8 MiB.
//
//   StackPool    one per runtime, thread-safe: maps slabs, installs the guards, keeps idle stacks
//   StackCache   one per worker, owner thread only: take() and give() are a few instructions on a hit
//
// A slot is one guard page, then the bytes of its class: an odd number of pages, for a power of two apart the tops of
// all stacks fall into a few sets of the second TLB (a line in each of 1,000 pages, at random: 24 ns 64 KiB apart, 6 ns
// 68 KiB apart, measured on Zen 5, where sixteen pages apart leave 256 of 4,096 entries). For the sets of the first
// cache tops are coloured, moved down by 0 to 1,984 bytes by the number of their slot's page (round robin over 1,000
// stacks: 40 ns uncoloured, 10 ns coloured). So a stack of class 64 KiB has 62 to 64 KiB to use, one of 16 KiB 14 to
// 16. Memory is committed by the page as it is touched.
//
// Guards: MADV_GUARD_INSTALL (Linux 6.13, no mapping of its own per stack, a million cost one), else mprotect, which
// ends at about 24,000 stacks because each costs two of the process's mappings; stacks beyond go without and are
// counted. A pool that has to make do with less than the first says so once in the log. One page suffices as long as
// code is compiled with -fstack-clash-protection.
// Everything is noexcept; a falsy Stack means out of memory.
#pragma once

#include "base/assert.h"
#include "base/clock.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace erlking::sched {

/// Bytes of a guard, and the page size this is written for.
inline constexpr std::size_t kStackGuard = 4096;
/// Bytes of the smallest and the largest class.
inline constexpr std::size_t kStackMin = 16 * 1024;
inline constexpr std::size_t kStackMax = 8 * 1024 * 1024;
/// Number of classes; class k has kStackMin << k bytes.
inline constexpr unsigned kStackClasses = 10;
static_assert(kStackMin << (kStackClasses - 1) == kStackMax);

/// The class for `bytes`, the colour's included; kStackClasses when it is more than kStackMax.
constexpr unsigned stack_class(std::size_t bytes) noexcept {
  if (bytes <= kStackMin) return 0;
  if (bytes > kStackMax) return kStackClasses;
  return static_cast<unsigned>(std::bit_width((bytes - 1) / kStackMin));
}
/// Bytes of class `cls`, its colour's included.
constexpr std::size_t stack_class_bytes(unsigned cls) noexcept { return kStackMin << cls; }
/// Bytes of address space that a stack of class `cls` occupies, its guard's included: an odd number of pages.
constexpr std::size_t stack_slot_bytes(unsigned cls) noexcept { return kStackGuard + stack_class_bytes(cls); }

/// A stack on loan: usable in [low, top); the guard lies just below low. low is page-aligned, top 64-byte aligned.
/// Plain data: whoever holds it gives it back once.
struct Stack {
  std::byte* low = nullptr;
  std::byte* top = nullptr;

  constexpr explicit operator bool() const noexcept { return low != nullptr; }
  /// Usable bytes.
  constexpr std::size_t size() const noexcept { return static_cast<std::size_t>(top - low); }
  /// Its class, derived from its size; not for a falsy one.
  constexpr unsigned cls() const noexcept { return stack_class(size()); }
};

/// Tops are moved down by a multiple of 64 bytes below 64 * kStackColours: half a page, so it costs no page.
inline constexpr std::size_t kStackColours = 32;

/// The stack of class `cls` that occupies the address space from `slot`. Its colour is a function of the address alone,
/// so that an idle stack is just the address of its slot. Slots an odd number of pages apart have every colour in turn.
inline Stack stack_at(std::byte* slot, unsigned cls) noexcept {
  const std::size_t page = reinterpret_cast<std::uintptr_t>(slot) / kStackGuard;
  return {slot + kStackGuard, slot + stack_slot_bytes(cls) - page % kStackColours * 64};
}

/// What stops an overflow. `best` asks for the first of the others that works here.
enum class Guard : std::uint8_t { best, install, mprotect, none };

/// How a StackPool is built.
struct StackOptions {
  /// Bound on address space mapped, in bytes; at it, stacks are refused until some are given back.
  std::size_t max_bytes = std::numeric_limits<std::size_t>::max();
  /// One that does not work here is replaced by the next weaker; see guard_kind().
  Guard guard = Guard::best;
};

/// A picture of a StackPool. Stacks in StackCaches count as taken.
struct StackStats {
  std::size_t bytes_reserved = 0;  ///< address space mapped
  std::size_t made = 0;            ///< stacks handed out at least once or made ready for it
  std::size_t taken = 0;           ///< out of the pool now
  std::size_t idle = 0;            ///< in the pool, used before
  std::size_t unguarded = 0;       ///< made without a guard, though one was asked for
  std::size_t released = 0;        ///< bytes of address space whose memory tend() gave back so far
  Guard guard = Guard::none;       ///< the kind new stacks get
};

/// Where stacks come from. Thread-safe: a lock per class, taken once per batch.
class StackPool {
 public:
  explicit StackPool(StackOptions options = {}) noexcept;
  /// Unmaps everything; every stack must be out of use.
  ~StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  /// Fills `out` from the front with stacks of class `cls` (below kStackClasses), those used before first. Returns how
  /// many: 0 only when out of memory or at max_bytes.
  unsigned take(unsigned cls, std::span<Stack> out) noexcept;
  /// Takes stacks of class `cls` back, from any thread; the last of them is the first to be taken again.
  void give(unsigned cls, std::span<const Stack> stacks) noexcept;

  /// As given in StackOptions.
  std::size_t max_bytes() const noexcept;
  /// The kind of guard new stacks get: install, mprotect or none, never best.
  Guard guard_kind() const noexcept;
  /// Exact when no thread is at work on it.
  StackStats stats() const noexcept;

  /// Gives the memory of stacks long idle back to the system, address space and guards kept: those nobody has taken for
  /// one to two periods, of 256 at most per call (well below a millisecond, under their class's lock). For a thread
  /// with nothing to do, which calls it again after as many ns as it returns: 0: there is more to release now;
  /// kForever: too little is idle. `now`: of any clock, but always of the same one.
  base::Nanos tend(base::Nanos now) noexcept;
  static constexpr base::Nanos kTendPeriod = 100'000'000;
  /// Whether enough stacks are idle for tend() to do anything. One relaxed load.
  bool wants_tending() const noexcept;
  /// Bytes of address space of idle stacks, memory not given back, that are left alone: a burst's beginning is warm.
  static constexpr std::size_t kTendFrom = std::size_t{64} << 20;

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;  // null: not even this could be allocated, so every take() answers 0
};

/// A worker's warm stacks: last in, first out. Owner thread only. Keeps at most 1,024 of a class, 64 MiB of address
/// space, and a 64th of what the pool may map (2 stacks at least): as with slots (runtime/process_table.h), one that
/// another worker has used costs lines handed over. Trades with its pool in quarters of that, 64 at most.
class StackCache {
 public:
  /// Draws on `pool`, which must outlive this. `lean`: it fetches one at a time, as one of so many that none may hoard.
  explicit StackCache(StackPool& pool, bool lean = false) noexcept;
  /// Gives all it keeps back.
  ~StackCache() { flush(); }
  StackCache(const StackCache&) = delete;
  StackCache& operator=(const StackCache&) = delete;

  /// A stack of the class that `bytes` round up to. Content undefined. Falsy: out of memory, or more than kStackMax.
  Stack take(std::size_t bytes) noexcept;
  /// The same by class, below kStackClasses.
  Stack take_class(unsigned cls) noexcept;
  /// Takes a stack back; from any cache of the same pool. The giver may still run on it until the next call on this
  /// cache.
  void give(Stack stack) noexcept;
  /// The same for a giver who knows the class, as stack.cls() tells it: saves deriving it.
  void give_class(Stack stack, unsigned cls) noexcept;
  /// Gives all it keeps to the pool.
  void flush() noexcept;
  StackPool& pool() const noexcept { return pool_; }

 private:
  static constexpr unsigned kKeep = 1024, kBatch = 64;
  unsigned batch(unsigned cls) const noexcept {
    return keep_[cls] < 4 ? 1 : keep_[cls] / 4 < kBatch ? keep_[cls] / 4 : kBatch;
  }

  Stack take_miss(unsigned cls) noexcept;
  void give_coldest(unsigned cls, unsigned n) noexcept;

  StackPool& pool_;
  const bool lean_;
  unsigned keep_[kStackClasses];
  unsigned counts_[kStackClasses] = {};
  std::byte* warm_[kStackClasses][kKeep];  // slots, the warmest last; apart from the counts: few pages are ever touched
};

/// Looks at what lies below the running function's frame, so that an overflow shows here rather than at the next call:
/// before code inlined into a user's function that must not be left half done (runtime/fault.h). 128 bytes hold the
/// return addresses and frames of what is inlined there. No store, and mostly a line that is touched next anyway.
[[gnu::always_inline]] inline void probe_stack() noexcept { asm volatile("testl %%eax, -128(%%rsp)" ::: "cc"); }

/// Bytes of `stack`, counted down from its top, that have ever been written since its memory was fresh: reads the pages
/// in memory only. An estimate for tuning sizes; a stack used by several tasks tells the deepest. Slow (a system call).
std::size_t high_water(const Stack& stack) noexcept;

inline Stack StackCache::take(std::size_t bytes) noexcept {
  const unsigned cls = stack_class(bytes);
  if (cls == kStackClasses) [[unlikely]]
    return {};
  return take_class(cls);
}

inline Stack StackCache::take_class(unsigned cls) noexcept {
  EK_DCHECK(cls < kStackClasses);
  if (counts_[cls] == 0) [[unlikely]]
    return take_miss(cls);
  const Stack stack = stack_at(warm_[cls][--counts_[cls]], cls);
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack.low, stack.size());  // frames of the last user, left without returning
#endif
  return stack;
}

inline void StackCache::give(Stack stack) noexcept {
  const unsigned cls = stack.cls();
  EK_CHECK(stack && cls < kStackClasses);
  give_class(stack, cls);
}

inline void StackCache::give_class(Stack stack, unsigned cls) noexcept {
  EK_DCHECK(stack && cls == stack.cls());
  if (counts_[cls] == keep_[cls]) [[unlikely]]
    give_coldest(cls, batch(cls));
  warm_[cls][counts_[cls]++] = stack.low - kStackGuard;
}

}  // namespace erlking::sched
