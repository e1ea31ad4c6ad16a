// The cold seam of the heap: a Collector is where Locals get magazines of free blocks and return them; asked once per
// magazine, and for each large block. A heap back end is this class and a row in collector.cc's table; it passes
// tests/conformance/collector_conformance_test.cc before anything else. Thread-safe; nothing throws.
#pragma once

#include "base/mutex.h"
#include "gc/local.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace erlking::gc {

/// A picture of the heap; exact when no thread is at work on it. Blocks and bytes are small ones unless named large.
struct HeapStats {
  std::string_view name;               ///< the back end's
  std::size_t bytes_reserved = 0;      ///< slabs taken from the system, in use or idle
  std::uint64_t blocks_live = 0;       ///< handed out and not yet freed
  std::uint64_t bytes_live = 0;        ///< the same in bytes of their classes
  std::uint64_t blocks_allocated = 0;  ///< since the start
  std::uint64_t blocks_freed = 0;      ///< since the start
  std::uint64_t large_blocks = 0;      ///< large blocks in use
  std::size_t large_bytes = 0;         ///< their bytes

  /// Of a heap that traces; others leave them 0. Pauses are of all threads at once, in nanoseconds.
  std::uint64_t collections = 0;  ///< in this program since its first such heap, as are the pauses
  std::uint64_t pause_max = 0;    ///< the longest, since gc_forget_pauses()
  std::uint64_t pause_last = 0;   ///< the latest
  std::uint64_t pause_total = 0;  ///< all together
};

/// How a heap is built.
struct CollectorOptions {
  /// Bound on slabs and large blocks together, in bytes; at it, allocation answers null. Of a heap that traces: on
  /// messages, those dropped and not yet found not counted; what gc_new() makes is not bounded by it.
  std::size_t max_bytes = std::numeric_limits<std::size_t>::max();
};

class Collector {
 public:
  /// Every Local and every block in use must be gone; what the slabs hold goes with it.
  virtual ~Collector();
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;

  /// What make_collector() calls it.
  virtual std::string_view name() const noexcept = 0;
  /// What there is to a heap that traces; null: this one does not. The same at every call.
  virtual Tracer* tracer() noexcept { return nullptr; }
  /// Whether who uses it is to keep what a process owns in a region, given back whole at its end (runtime/region.h).
  virtual bool keeps_regions() const noexcept { return false; }
  /// A magazine of 1 to magazine_size(cls) free blocks of class `cls`, poisoned; empty: out of memory. One that traces
  /// need not count them, nor poisons them.
  virtual Magazine refill(Local& local, unsigned cls) noexcept = 0;
  /// Takes a magazine of 1 to magazine_size(cls) free blocks over.
  virtual void drain(Local& local, unsigned cls, Magazine magazine) noexcept = 0;
  /// `bytes` (not 0), 64-byte aligned. Null: out of memory.
  virtual void* allocate_large(std::size_t bytes) noexcept = 0;
  /// Takes back what allocate_large(bytes) gave.
  virtual void free_large(void* block, std::size_t bytes) noexcept = 0;
  /// Raises the bound on memory by `bytes`: for what must be said when all of it is in use.
  virtual void raise_bound(std::size_t bytes) noexcept = 0;
  /// See HeapStats. Takes locks; not for hot paths.
  virtual HeapStats stats() const noexcept = 0;

 protected:
  Collector() = default;
  /// Fills the counts of small blocks: all Locals there are, and those there were.
  void add_locals(HeapStats& stats) const noexcept;
  /// Bytes of small blocks freed since the start.
  std::uint64_t freed_bytes() const noexcept;
  /// Calls visit(low, high) with where each Local keeps its lists; while all other threads are stopped, wherever it be.
  template <class Visit>
  void for_each_stopped_local(Visit&& visit) const noexcept {
    for (const Local* local = locals_.load(base::relaxed); local != nullptr; local = local->next_.load(base::relaxed)) {
      visit(static_cast<const void*>(local->bins_), static_cast<const void*>(local->bins_ + kClasses));
    }
  }

 private:
  friend class Local;
  void attach(Local& local) noexcept;
  void detach(Local& local) noexcept;

  mutable base::Mutex mutex_;
  base::Real::atomic<Local*> locals_{nullptr};  // changed under mutex_, with their next_ and prev_; stores in order
  LocalStats departed_ EK_GUARDED_BY(mutex_);   // the sum of Locals destroyed
};

/// Builds the heap called `name`; an unknown name is answered with a sentence that lists the valid ones. Any thread.
std::expected<std::unique_ptr<Collector>, std::string> make_collector(std::string_view name,
                                                                      const CollectorOptions& options = {});
/// The names of those that can be had in this program, the default one first. A tracing one can not under
/// ThreadSanitizer or Valgrind, nor where the library it needs was missing: make_collector() says so.
std::vector<std::string_view> collector_names();

}  // namespace erlking::gc
