// ProcessTable: the slots processes live in. One reserved stretch of address space for every slot a pid can name, so
// that a pid leads to its slot by a multiplication, without a bound check, a lookup or a lock; memory is committed as
// slots are first used. Slots are reused oldest first, so an incarnation number (36 bits) lasts.
//   pid = [incarnation 36][runtime tag 6][slot 22]. A foreign pid finds a slot whose id differs: noproc. Slot 0, where
//   the null pid leads, is nobody's and stays closed.
// Slots lie idle in workers' caches, so there are more of them than processes may be alive: only once more are out than
// that (is_scarce) need a spawn count the living.
#pragma once

#include "base/mutex.h"
#include "runtime/process.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace erlking::detail {

class ProcessTable {
 public:
  static constexpr unsigned kSlotBits = 22, kTagBits = 6;
  static constexpr std::uint32_t kSlots = 1u << kSlotBits;
  static constexpr std::uint64_t kSlotMask = kSlots - 1;
  static constexpr std::uint64_t kIncarnation = std::uint64_t{1} << (kSlotBits + kTagBits);

  /// The most processes a runtime can be told to allow.
  static constexpr std::uint32_t kMaxProcesses = 4'000'000;

  /// Reserves the address space; false from ok() if the system refuses. `max` processes, and `spare` slots for caches.
  ProcessTable(std::uint32_t max, std::uint32_t spare, unsigned tag) noexcept;
  ~ProcessTable();
  ProcessTable(const ProcessTable&) = delete;
  ProcessTable& operator=(const ProcessTable&) = delete;
  bool ok() const noexcept { return base_ != nullptr; }

  /// The slot a pid names: whether it is that process is for its mailbox's id to say.
  Process& at(Pid pid) const noexcept { return base_[pid.id & kSlotMask]; }
  Process& slot(std::uint32_t index) const noexcept { return base_[index]; }
  std::uint32_t index_of(const Process& slot) const noexcept { return static_cast<std::uint32_t>(&slot - base_); }

  /// The pid of the slot's next incarnation.
  Pid next_pid(const Process& slot) const noexcept {
    const std::uint64_t id = slot.mailbox.id();
    return Pid{id == 0 ? (kIncarnation | tag_ << kSlotBits | index_of(slot)) : id + kIncarnation};
  }

  /// Gives out up to `n` free slots, the longest unused first; 0: the limit is reached. Thread-safe.
  std::uint32_t take(std::uint32_t* out, std::uint32_t n) noexcept;
  /// Takes slots back. Thread-safe.
  void give(const std::uint32_t* slots, std::uint32_t n) noexcept;

  /// Whether more slots are out than processes may be alive. relaxed: a spawn that misses the turn has a slot already.
  bool is_scarce() const noexcept { return scarce_.load(base::relaxed); }

  /// Slots ever used, and slot 0: at() below this is a Process.
  std::uint32_t used() const noexcept { return used_.load(base::acquire); }
  std::uint32_t max() const noexcept { return max_; }

 private:
  Process* base_ = nullptr;
  void count_out() noexcept;

  const std::uint32_t max_;    // alive
  const std::uint32_t limit_;  // of slots
  const std::uint64_t tag_;
  std::atomic<bool> scarce_{false};
  base::Mutex mutex_;
  std::vector<std::uint32_t> ring_;  // free slots, a ring that grows; under mutex_
  std::size_t ring_head_ = 0, ring_size_ = 0;
  std::uint32_t out_ = 0;  // slots given out and not back; under mutex_
  std::atomic<std::uint32_t> used_{0};
};

/// A worker's free slots: first in, first out. Owner only. They are many, so that where some hundreds of processes come
/// and go at a time a worker's slots stay its own: one that another has used costs its lines handed over. (Two workers,
/// bursts of 1,023 processes on each: 384 ns a process where all went through the table; one alone 133.)
class SlotCache {
 public:
  /// `lean`: it fetches one at a time and keeps few, as one of so many that none may hoard.
  explicit SlotCache(ProcessTable& table, bool lean = false) noexcept
      : table_(table), batch_(lean ? 1 : kBatch), most_(lean ? kLean : kSize) {}
  ~SlotCache() { flush(); }

  /// Null: no slot left.
  Process* take() noexcept {
    if (size_ == 0 && !refill()) [[unlikely]]
      return nullptr;
    Process* const process = &table_.slot(slots_[head_++ % kSize]);
    --size_;
    // The longest unused is cold: the one after this comes while this one is being made.
    const auto* const next = reinterpret_cast<const std::byte*>(&table_.slot(slots_[head_ % kSize]));
    for (std::size_t at = 0; at != sizeof(Process); at += base::kCacheLine) __builtin_prefetch(next + at, 1);
    return process;
  }
  void give(Process& process) noexcept {
    if (size_ == most_) [[unlikely]]
      spill();
    slots_[(head_ + size_++) % kSize] = table_.index_of(process);
  }

  /// Gives all it holds to the table.
  void flush() noexcept;

  static constexpr std::uint32_t kSize = 1024;  // the most it holds

 private:
  static constexpr std::uint32_t kBatch = 32, kLean = 128;
  bool refill() noexcept;
  void spill() noexcept;

  ProcessTable& table_;
  const std::uint32_t batch_, most_;
  std::uint32_t head_ = 0, size_ = 0;
  std::uint32_t slots_[kSize] = {};
};

}  // namespace erlking::detail
