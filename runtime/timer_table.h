// TimerTable: the timers that the processes of one worker have started, as sched's wheel wants them: they do not move.
// Type-stable, as a reference may be looked at for ever: a place once used stays a UserTimer for ever. The state
// of each: timer_word.h.
//   TM4  No list per target: timers of processes that have ended stay until they fire, or until their worker has no
//        place left. Then it looks through all and takes back those of the dead, and only if they were less than half
//        it takes more memory: a look at n timers is paid by n/2 started since the last one. The first 256 places are
//        taken at the first timer, every growth doubles them.
#pragma once

#include "base/atomic.h"
#include "runtime/process.h"
#include "runtime/timer_word.h"
#include "sched/sched.h"

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>

namespace erlking::detail {

inline constexpr unsigned kTimerIndexShift = 8;  // kind: [index 24][kUserTimer 8]

/// A timer a process has started. `target`: the pid charged for it (TM5 in timer.h); `number`: its message, an Item*;
/// `extra`: the next free place.
struct UserTimer : sched::TimerNode {
  TimerWord<base::Real> word;

  std::uint32_t index() const noexcept { return kind >> kTimerIndexShift; }
};
static_assert(sizeof(UserTimer) == 64);  // the word lies in what is padding of the node

/// Owner only but for find() and the counts.
class TimerTable {
 public:
  static constexpr unsigned kIndexBits = 24;

  TimerTable() noexcept = default;
  TimerTable(const TimerTable&) = delete;
  TimerTable& operator=(const TimerTable&) = delete;
  ~TimerTable() {
    for (auto& chunk : chunks_) ::operator delete (chunk.load(base::relaxed), std::align_val_t{64});
  }

  /// A free place, in state free; null: none, see has_room() and grow().
  UserTimer* take() noexcept {
    UserTimer* const timer = free_;
    if (timer == nullptr) [[unlikely]]
      return take_unused();
    free_ = reinterpret_cast<UserTimer*>(timer->extra);
    count(1);
    return timer;
  }
  /// Takes back one whose word is free and which is in no wheel.
  void give(UserTimer& timer) noexcept {
    count(-1);
    if (timer.word.is_spent()) [[unlikely]]
      return;  // TM1
    timer.extra = reinterpret_cast<std::uintptr_t>(free_);
    free_ = &timer;
  }
  /// Allows for twice as many places. False: no memory, or 16.7 million are there.
  bool grow() noexcept {
    const unsigned chunk = chunk_count_;
    if (chunk == kChunks) return false;
    void* const block = ::operator new (places(chunk) * sizeof(UserTimer), std::align_val_t{64}, std::nothrow);
    if (block == nullptr) return false;
    chunks_[chunk].store(static_cast<UserTimer*>(block), base::relaxed);  // relaxed: used_ publishes it
    ++chunk_count_;
    return true;
  }
  bool has_free() const noexcept { return free_ != nullptr; }

  /// The place `index`; null: never used. Any thread.
  UserTimer* find(std::uint32_t index) const noexcept {
    if (index >= used_.load(base::acquire)) return nullptr;  // [timer-used]
    return &at(index);
  }
  /// Places ever used, and those that hold a timer (or wait to be put away). Any thread.
  std::uint32_t used() const noexcept { return used_.load(base::relaxed); }    // relaxed: a statistic
  std::uint32_t taken() const noexcept { return taken_.load(base::relaxed); }  // relaxed: a statistic

 private:
  static constexpr unsigned kFirstBits = 8, kChunks = kIndexBits - kFirstBits;
  static constexpr std::size_t places(unsigned chunk) noexcept { return std::size_t{1} << (kFirstBits + chunk); }

  // Chunk k begins at (2^k - 1) * 256.
  UserTimer& at(std::uint32_t index) const noexcept {
    const unsigned chunk = static_cast<unsigned>(std::bit_width((index >> kFirstBits) + 1)) - 1;
    const std::size_t first = places(chunk) - places(0);
    return chunks_[chunk].load(base::relaxed)[index - first];  // relaxed: published by used_ [timer-used]
  }
  UserTimer* take_unused() noexcept {
    const std::uint32_t index = used_.load(base::relaxed);
    if (index == places(chunk_count_) - places(0)) return nullptr;
    UserTimer* const timer = new (&at(index)) UserTimer;
    timer->word.init();
    timer->kind = kUserTimer | index << kTimerIndexShift;
    used_.store(index + 1, base::release);  // [timer-used]
    count(1);
    return timer;
  }
  void count(int n) noexcept {
    taken_.store(taken_.load(base::relaxed) + static_cast<std::uint32_t>(n), base::relaxed);
  }

  UserTimer* free_ = nullptr;
  unsigned chunk_count_ = 0;
  std::atomic<std::uint32_t> used_{0}, taken_{0};  // owner writes
  std::atomic<UserTimer*> chunks_[kChunks] = {};
};

}  // namespace erlking::detail
