// TimerWheel: the deadlines of one worker, in a hierarchy of 64-slot wheels; intrusive, nothing allocated, O(1) to arm
// and to cancel, exact in never firing early, late by less than a tick (8.192 µs) plus the time to the next advance().
//   operation    cost                 what it does
//   arm_after    one list push        joins `fresh`; the next advance() gives it its instant (T3)
//                a store or two       while it is fresh already: armed again, it just holds another duration
//   arm_at       one list push        joins the slot of its tick, or `past` when its instant has been reached
//   cancel       one list removal     of an armed node, wherever it is, also one due in the batch being fired
//   advance      O(levels) + fired    anchors the fresh, moves nodes down as their slots come, fires what is due
//   next         O(levels)            when to call advance() again
//   T1  Time is cut into ticks of 2^13 ns. A node's tick is its instant rounded up, so it fires at tick <= now / 2^13,
//       which implies instant <= now. Sums are held at kForever, whose tick is beyond every now's: such a node never
//       fires.
//   T2  A node with tick t is at the level of the highest 6-bit group in which t differs from `current_`, in the slot
//       that group of t names (t == current_: level 0). So at level l, all groups above l equal those of current_,
//       group l is greater (level 0: not less), and everything at a level comes due before anything at a higher one.
//   T3  A fresh node holds a duration. It counts from the advance() that anchors it, whose `now` was read after the
//       node was armed (last); a caller's cached clock that lags can therefore not make it fire early. What a callback
//       arms is anchored by the next advance().
//   T4  current_ never goes beyond the start of an occupied slot. When it reaches one, of level 0: its nodes are due;
//       of a higher level: they are placed anew, which by T2 puts them lower. When none starts up to the target,
//       current_ jumps there: T2 still holds, as the groups above the first occupied slot's level do not change.
//   T5  If slot s of level l is not empty, bit s of occupancy_[l] is set and bit l of levels_ too. cancel leaves bits
//       behind that are set for nothing; whoever meets one while looking for the first slot clears it, once per bit
//       set.
//   T6  While a slot is fired, current_ is its tick, and what callbacks arm goes to fresh, to past (reached instants)
//       or to later ticks, what they keep (Fired::again) to `later`: the slot only shrinks, so an advance() ends.
// Why not a heap: O(log n) and its cache misses for timeouts of which nearly all are cancelled. Why not one flat wheel:
// a year is as legal as a microsecond, and idle time must cost nothing.
#pragma once

#include "base/assert.h"
#include "base/atomic.h"
#include "base/clock.h"

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace erlking::sched {

using base::kForever;
using base::Nanos;

struct TimerLink {
  TimerLink* prev_ = nullptr;
  TimerLink* next_ = nullptr;
};

/// One timer, kept where its owner keeps it: it must not move or die while armed. Touched by the worker that owns its
/// wheel only, from arming until it has fired or been cancelled; but left() is for any thread.
struct alignas(64) TimerNode : TimerLink {
  TimerNode() noexcept = default;
  TimerNode(const TimerNode&) = delete;
  TimerNode& operator=(const TimerNode&) = delete;

  /// Whether it is in a wheel. Not any more while it is fired.
  bool is_armed() const noexcept { return next_ != nullptr; }

  /// How long until it fires, at the instant `now()`; not asked while fresh: the whole duration (T3). Any thread, for a
  /// node it knows to be armed. Who sees what a
  /// later life of the node stored sees the end of this one, too [timer-when].
  template <class Now>
  Nanos left(Now&& now) const noexcept {
    const Nanos at = when.load(base::acquire);  // [timer-when]
    if (at < 0) return ~at;
    if (at == kForever) return kForever;
    const Nanos rest = at - now();
    return rest > 0 ? rest : 0;
  }

  /// Its instant, while fresh ~duration, which is negative; the wheel's while armed, and its last instant after.
  std::atomic<Nanos> when{0};

  // What the wheel's user wants to find when it fires; the wheel does not look at it.
  std::uint64_t target = 0;
  std::uint64_t number = 0;
  std::uint64_t extra = 0;
  std::uint32_t kind = 0;

 private:
  friend class TimerWheel;
  bool fresh_ = false;  // in kFresh
};
static_assert(sizeof(TimerNode) == 64);

/// What is to become of a timer that has been fired.
enum class Fired : std::uint8_t {
  done,   ///< nothing: it is its owner's again, who may have armed it anew or freed it
  again,  ///< it fires again at the next tick; its owner was not ready for it
};

/// Owner thread only. Nothing here suspends, allocates or throws.
class TimerWheel {
 public:
  /// log2 of a tick in ns.
  static constexpr unsigned kTickBits = 13;
  static constexpr Nanos kTick = Nanos{1} << kTickBits;

  /// `now` >= 0 is the time until the first advance().
  explicit TimerWheel(Nanos now) noexcept;
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;
  /// Forgets the nodes still armed, untouched, as they may be gone: cancel or clear() those that are to outlive it.
  ~TimerWheel() = default;

  /// Arms `node`, anew if it is armed in this wheel, to fire `duration` >= 0 ns after the next advance() (T3); 0 fires
  /// in it. kForever never fires, but counts as armed.
  void arm_after(TimerNode& node, Nanos duration) noexcept {
    EK_DCHECK(duration >= 0);
    if (!node.fresh_) {
      cancel(node);
      push(node, kFresh);
      node.fresh_ = true;
    }
    node.when.store(~duration, base::release);  // [timer-when]
  }

  /// Arms `node`, anew if it is armed in this wheel, to fire at the first advance() that reaches `instant`; at the next
  /// one when it is past. kForever never fires, but counts as armed.
  void arm_at(TimerNode& node, Nanos instant) noexcept {
    cancel(node);
    node.when.store(instant < 0 ? 0 : instant, base::release);  // [timer-when]
    if (instant <= now_) [[unlikely]]
      return push(node, kPast);
    place(node, tick_of(instant));
  }

  /// Disarms `node`, which is armed in this wheel or not at all (a no-op): it will not fire.
  void cancel(TimerNode& node) noexcept {
    if (node.is_armed()) unlink(node);
  }

  /// Makes the time `now` (read for this call, T3; one earlier than before counts as that), anchors what is fresh and
  /// fires what is due, in the order of the ticks: `fire(TimerNode&) -> Fired`, the node not armed any more. fire may
  /// arm and cancel any node and free its own when it returns done; it must not throw nor call advance(). What it arms
  /// fires in a later advance(). Returns how many calls it made.
  template <class F>
  std::size_t advance(Nanos now, F&& fire);

  /// An instant by which to call advance() again: never later than the earliest at which something is due, perhaps
  /// earlier (to move nodes to a lower level). The last advance()'s time while something is fresh or past: advance
  /// before sleeping. kForever when nothing will ever fire.
  Nanos next() const noexcept;

  /// The time of the last advance().
  Nanos now() const noexcept { return now_; }

  /// How many nodes are armed: counted when asked, O(armed), as a counter would double the cost of arming and
  /// cancelling.
  std::size_t size() const noexcept;
  /// Whether none is armed; O(levels).
  bool empty() const noexcept {
    return list_empty(kFresh) && list_empty(kPast) && list_empty(kLater) && first_start().tick == kNever;
  }

  /// Cancels everything; O(armed).
  void clear() noexcept;

  /// Checks T2 and T5 over all nodes; for tests.
  void validate() const noexcept;

 private:
  using Tick = std::uint64_t;

  static constexpr unsigned kGroupBits = 6;
  static constexpr unsigned kSlots = 1u << kGroupBits;
  static constexpr unsigned kLevels = 9;  // 9 * 6 bits of ticks: more than the 51 that 63 bits of ns make
  // The lists that are no slots follow them.
  static constexpr unsigned kFresh = kLevels * kSlots;  // armed by arm_after, not anchored yet
  static constexpr unsigned kPast = kFresh + 1;         // armed by arm_at with an instant reached: the next advance's
  static constexpr unsigned kLater = kFresh + 2;        // kept by fire: the next tick's
  static constexpr unsigned kLists = kFresh + 3;
  static_assert(kGroupBits * kLevels > 64 - kTickBits);

  static Nanos instant_of(const TimerNode& node) noexcept {
    return node.when.load(base::relaxed);  // relaxed: the wheel's owner alone stores
  }
  static Tick tick_of(Nanos instant) noexcept {  // rounded up; instant >= 0
    return (static_cast<std::uint64_t>(instant) + (std::uint64_t{1} << kTickBits) - 1) >> kTickBits;
  }

  void push(TimerNode& node, unsigned list) noexcept {
    TimerLink& head = heads_[list];
    TimerLink* const last = head.prev_;
    node.next_ = &head;
    last->next_ = &node;  // between the two, so that they do not become one vector store: 6 ns dearer to read back soon
    node.prev_ = last;
    head.prev_ = &node;
  }

  // T2; tick >= current_.
  void place(TimerNode& node, Tick tick) noexcept {
    const unsigned highest = 63u - static_cast<unsigned>(std::countl_zero((tick ^ current_) | 1));
    const unsigned level = highest / kGroupBits;
    const unsigned slot = static_cast<unsigned>(tick >> (level * kGroupBits)) & (kSlots - 1);
    const std::uint64_t bit = std::uint64_t{1} << slot;
    if ((occupancy_[level] & bit) == 0) {  // T5
      occupancy_[level] |= bit;
      levels_ |= 1u << level;
    }
    push(node, level * kSlots + slot);
  }

  void unlink(TimerNode& node) noexcept {
    TimerLink* const prev = node.prev_;
    TimerLink* const next = node.next_;
    prev->next_ = next;
    next->prev_ = prev;
    node.next_ = nullptr;
    node.fresh_ = false;
  }

  bool list_empty(unsigned list) const noexcept { return heads_[list].next_ == &heads_[list]; }
  TimerNode& first(unsigned list) noexcept { return static_cast<TimerNode&>(*heads_[list].next_); }

  // The first slot that is not empty (T2) and the tick at which it starts.
  struct Start {
    unsigned level;
    unsigned list;
    Tick tick;  // kNever: there is none
  };
  static constexpr Tick kNever = ~Tick{0};
  Start first_start() const noexcept {
    while (levels_ != 0) {
      const unsigned level = static_cast<unsigned>(std::countr_zero(levels_));
      while (occupancy_[level] != 0) {
        const unsigned slot = static_cast<unsigned>(std::countr_zero(occupancy_[level]));
        const unsigned list = level * kSlots + slot;
        if (!list_empty(list)) [[likely]] {
          const unsigned shift = level * kGroupBits;
          const Tick above = (current_ >> shift >> kGroupBits) << kGroupBits;  // the groups above this level's
          return {level, list, (above | slot) << shift};
        }
        occupancy_[level] &= occupancy_[level] - 1;  // T5
      }
      levels_ &= levels_ - 1;
    }
    return {0, 0, kNever};
  }

  template <class F>
  void take_all(unsigned list, F&& put) noexcept;
  void anchor() noexcept;                 // T3, and the past nodes: into the slot of current_
  unsigned reach(Tick target) noexcept;   // T4: the next due list of level 0, or kLists when current_ is the target
  void keep(TimerNode& node) noexcept;    // Fired::again: into kLater
  void place_kept(Tick target) noexcept;  // kLater: into the tick behind the target

  Nanos now_;
  Tick current_;
  mutable std::uint32_t levels_ = 0;  // T5; mutable: next() clears what it finds set for nothing
  mutable std::array<std::uint64_t, kLevels> occupancy_{};
  std::array<TimerLink, kLists> heads_;
};

template <class F>
std::size_t TimerWheel::advance(Nanos now, F&& fire) {
  if (now > now_) now_ = now;
  const Tick target = static_cast<Tick>(now_) >> kTickBits;
  if (first_start().tick > target) {  // nothing due: go there first, so that the fresh are placed where they can stay
    current_ = target;
    if (list_empty(kFresh) && list_empty(kPast)) [[likely]]
      return 0;
  }
  anchor();
  std::size_t fired = 0;
  for (unsigned list; (list = reach(target)) != kLists;) {
    do {  // T6
      TimerNode& node = first(list);
      unlink(node);
      ++fired;
      if (fire(node) == Fired::again) [[unlikely]]
        keep(node);
    } while (!list_empty(list));
  }
  if (!list_empty(kLater)) [[unlikely]]
    place_kept(target);
  return fired;
}

}  // namespace erlking::sched
