// Section: what an owner touches all the time and a thief hardly ever, without a locked instruction for the owner.
//   operation            who     what it says
//   enter / leave        owner   enter false: a thief is at it; do without
//   try_claim / unclaim  thief   try_claim true: the owner will not touch it until unclaim()
//   S1  The owner makes turn odd, passes a light fence and looks at claimed; the thief sets claimed, passes a heavy
//       fence (which orders the owner, too) and looks at turn. So either the owner sees claimed, or the thief sees odd
//       [section-claim].
//   S2  turn even and claimed set: it is the thief's. leave() releases what the owner did, the thief's look acquires
//       it [section-turn]; unclaim() releases what the thief did, enter()'s look acquires it [section-claim].
// Cost: two plain stores and a load for the owner; an exchange and a membarrier (~16 µs) for the thief.
#pragma once

#include "base/atomic.h"

#include <cstdint>

namespace erlking::sched {

template <class Sync>
class Section {
 public:
  bool enter() noexcept {
    turn_.store(turn_.load(base::relaxed) + 1, base::relaxed);  // relaxed: the fence orders it (S1)
    Sync::light_fence();
    if (claimed_.load(base::acquire) == 0) [[likely]]
      return true;  // [section-claim]
    leave();
    return false;
  }
  void leave() noexcept { turn_.store(turn_.load(base::relaxed) + 1, base::release); }  // [section-turn]
  /// Owner: whether it is between enter() and leave().
  bool inside() const noexcept { return (turn_.load(base::relaxed) & 1) != 0; }
  /// Owner: whether a thief is at it (or tries).
  bool claimed() const noexcept { return claimed_.load(base::acquire) != 0; }  // [section-claim]

  bool try_claim() noexcept {
    if (claimed_.exchange(1, base::acq_rel) != 0) return false;  // another thief
    Sync::heavy_fence();
    if ((turn_.load(base::acquire) & 1) == 0) return true;  // [section-turn] S2
    unclaim();
    return false;
  }
  void unclaim() noexcept { claimed_.store(0, base::release); }  // [section-claim]

 private:
  typename Sync::template atomic<std::uint32_t> turn_{0};                               // owner
  alignas(base::kCacheLine) typename Sync::template atomic<std::uint32_t> claimed_{0};  // thieves
};

}  // namespace erlking::sched
