// TimerWord: the state of one timer, and whose it is. Every change is a CAS, or a store of the owner, the worker in
// whose wheel the timer is, where nobody else may change it.
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
#pragma once

#include "base/atomic.h"

#include <cstdint>

namespace erlking::detail {

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

  // --- owner: its CASes are relaxed; what hangs on a timer it has written itself ---

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
    std::uint32_t word = word_.load(base::relaxed);
    return (word & kState) == kArmed &&
           word_.compare_exchange_strong(word, (word & ~kState) | kBeating, base::relaxed, base::relaxed);
  }
  void end_beat() noexcept {
    word_.store((word_.load(base::relaxed) & ~kState) | kArmed, base::release);  // [timer-word]
  }
  /// False: cancelled.
  bool end() noexcept {
    std::uint32_t word = word_.load(base::relaxed);
    return (word & kState) != kCancelled &&
           word_.compare_exchange_strong(word, next(word), base::relaxed, base::relaxed);
  }
  /// Armed -> free at once.
  bool cancel_own(std::uint32_t generation) noexcept {
    std::uint32_t word = word_.load(base::relaxed);
    return word >> kShift == generation && (word & kState) == kArmed &&
           word_.compare_exchange_strong(word, next(word), base::relaxed, base::relaxed);
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
    if (word_.compare_exchange_strong(word, (word & ~kState) | kCancelled, base::acquire, base::relaxed)) {
      return Cancel::won;  // [timer-word] TM2
    }
    return Cancel::busy;
  }

 private:
  static constexpr std::uint32_t kArmed = 1, kCancelled = 2, kBeating = 3, kState = 3, kInterval = 4, kNamed = 8;
  static constexpr unsigned kShift = 4;
  static constexpr std::uint32_t next(std::uint32_t word) noexcept { return ((word >> kShift) + 1) << kShift; }

  typename Sync::template atomic<std::uint32_t> word_{0};
};

}  // namespace erlking::detail
