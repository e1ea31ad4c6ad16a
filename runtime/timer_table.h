// TimerTable: the timers that the processes of one worker have started, as sched's wheel wants them: they do not move.
// Type-stable, as a reference may be looked at for ever: a place once used stays a UserTimer for the runtime's life.
//
// The word of a timer says whose it is; every change is a CAS, or a store of the owner where nobody else may change it.
//   operation         who          changes                 what it says
//   arm               the owner    free -> armed
//   end               the owner    armed, beating -> free  fired, or its target is dead; false: cancelled, and the
//                                                          place comes back (L4 in sched/worker.h)
//   begin_beat        the owner    armed -> beating        an interval sends; false: as above
//   end_beat          the owner    beating -> armed
//   cancel_own        the owner    armed -> free           true: what hangs on it is the caller's
//   cancel            any thread   armed -> cancelled      won: the same; the place is given back to the owner
//   put_away          the owner    cancelled -> free       once it is in no wheel; also free -> free
//   TM1  word = [generation 28][named 1][interval 1][state 2]. Each way to free takes the next generation, and a
//        reference holds one: so it means one timer for ever. A place that has used its generations up is given up (64
//        bytes each 268 million timers).
//   TM2  Who changes armed to something else owns what hangs on the timer, and nobody else does: a message is sent or
//        the cancelling is answered, never both (SEMANTICS 7.8). arm releases message, target and name, the winner's
//        CAS acquires them [timer-word].
//   TM3  An interval's message is copied while it is beating; who wants to cancel it meanwhile waits those moments. So
//        after an answer nothing comes.
//   TM4  No list per target: timers of processes that have ended stay until they fire, or until their worker has no
//        place left. Then it looks through all and takes back those of the dead, and only if they were less than half
//        it takes more memory: a look at n timers is paid by n/2 started since the last one. The first 256 places are
//        taken at the first timer, every growth doubles them.
#pragma once

#include "base/atomic.h"
#include "runtime/process.h"
#include "sched/sched.h"

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>

namespace erlking::detail {

/// The state of a timer; see the head of this file.
template <class Sync>
class TimerWord {
 public:
  static constexpr unsigned kGenerationBits = 28;
  static constexpr std::uint32_t kGenerations = 1u << kGenerationBits;
  enum class Cancel : std::uint8_t {
    won,   ///< it is the caller's
    gone,  ///< fired, cancelled, or never was
    busy,  ///< an interval that sends just now: again
  };

  // --- owner ---

  std::uint32_t generation() const noexcept { return word_.load(base::relaxed) >> kShift; }  // relaxed: own
  bool is_armed() const noexcept { return (word_.load(base::relaxed) & kState) == kArmed; }  // relaxed: a look
  bool is_named() const noexcept { return (word_.load(base::relaxed) & kNamed) != 0; }       // relaxed: while armed
  bool is_interval() const noexcept { return (word_.load(base::relaxed) & kInterval) != 0; }

  /// Begins the life of a place.
  void init() noexcept { word_.store(1u << kShift, base::relaxed); }  // relaxed: nobody has a reference
  void arm(bool named, bool interval) noexcept {
    word_.store(generation() << kShift | (named ? kNamed : 0) | (interval ? kInterval : 0) | kArmed,
                base::release);  // [timer-word]
  }
  bool begin_beat() noexcept {
    std::uint32_t word = word_.load(base::relaxed);  // relaxed: the CAS proves it
    return (word & kState) == kArmed && word_.compare_exchange_strong(word, (word & ~kState) | kBeating, base::acq_rel,
                                                                      base::relaxed);  // [timer-word]
  }
  void end_beat() noexcept {
    word_.store((word_.load(base::relaxed) & ~kState) | kArmed, base::release);  // [timer-word]
  }
  /// False: cancelled.
  bool end() noexcept {
    std::uint32_t word = word_.load(base::relaxed);  // relaxed: the CAS proves it
    return (word & kState) != kCancelled &&
           word_.compare_exchange_strong(word, next(word), base::acq_rel, base::relaxed);  // [timer-word] TM2
  }
  void put_away() noexcept { word_.store(next(word_.load(base::relaxed)), base::relaxed); }  // relaxed: CAS read it
  /// Whether it may be armed again (TM1).
  bool is_spent() const noexcept { return generation() == 0; }

  // --- any thread ---

  struct Look {
    bool armed, named;
  };
  /// Whether it is (still) the armed timer `generation`; a beating one is.
  Look look(std::uint32_t generation) const noexcept {
    const std::uint32_t word = word_.load(base::acquire);  // [timer-word]
    const std::uint32_t state = word & kState;
    return {word >> kShift == generation && (state == kArmed || state == kBeating), (word & kNamed) != 0};
  }
  Cancel cancel(std::uint32_t generation) noexcept {
    std::uint32_t word = word_.load(base::relaxed);  // relaxed: the CAS proves it
    if (word >> kShift != generation) return Cancel::gone;
    if ((word & kState) == kBeating) return Cancel::busy;
    if ((word & kState) != kArmed) return Cancel::gone;
    if (word_.compare_exchange_strong(word, (word & ~kState) | kCancelled, base::acq_rel, base::relaxed)) {
      return Cancel::won;  // [timer-word] TM2
    }
    return Cancel::busy;
  }
  /// The owner's cancel: armed -> free at once.
  bool cancel_own(std::uint32_t generation) noexcept {
    std::uint32_t word = word_.load(base::relaxed);  // relaxed: the CAS proves it
    return word >> kShift == generation && (word & kState) == kArmed &&
           word_.compare_exchange_strong(word, next(word), base::acq_rel, base::relaxed);  // [timer-word] TM2
  }

 private:
  static constexpr std::uint32_t kArmed = 1, kCancelled = 2, kBeating = 3, kState = 3, kInterval = 4, kNamed = 8;
  static constexpr unsigned kShift = 4;
  static constexpr std::uint32_t next(std::uint32_t word) noexcept { return ((word >> kShift) + 1) << kShift; }

  typename Sync::template atomic<std::uint32_t> word_{0};
};

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
