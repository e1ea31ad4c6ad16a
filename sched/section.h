// Section: what an owner touches all the time and a thief hardly ever, without a locked instruction for the owner.
//   operation            who     what it says
//   enter / leave        owner   enter false: a thief is at it; do without
//   try_claim / unclaim  thief   try_claim true: the owner will not touch it until unclaim()
//   S1  The owner sets inside, passes a light fence and looks at claimed; the thief sets claimed, passes a heavy fence
//       (which orders the owner, too) and looks at inside. So either the owner sees claimed, or the thief sees inside
//       [section-claim].
//   S2  inside clear and claimed set: it is the thief's. leave() releases what the owner did, the thief's look acquires
//       it [section-inside]; unclaim() releases what the thief did, enter()'s look acquires it [section-claim].
// Cost: two plain stores and a load for the owner (a counter instead of a flag was a chain of four dependent updates
// per hop: half a nanosecond); an exchange and a membarrier (~16 µs) for the thief.
#pragma once

#include "base/atomic.h"

#include <cstdint>

namespace erlking::sched {

template <class Sync>
class Section {
 public:
  bool enter() noexcept {
    inside_.store(1, base::relaxed);  // relaxed: the fence orders it (S1)
    Sync::light_fence();
    if (claimed_.load(base::acquire) == 0) [[likely]]
      return true;  // [section-claim]
    leave();
    return false;
  }
  void leave() noexcept { inside_.store(0, base::release); }  // [section-inside]
  /// Owner: whether it is between enter() and leave().
  bool inside() const noexcept { return inside_.load(base::relaxed) != 0; }
  /// Owner: whether a thief is at it (or tries).
  bool claimed() const noexcept { return claimed_.load(base::acquire) != 0; }  // [section-claim]

  bool try_claim() noexcept {
    if (claimed_.exchange(1, base::acq_rel) != 0) return false;  // another thief
    Sync::heavy_fence();
    if (inside_.load(base::acquire) == 0) return true;  // [section-inside] S2
    unclaim();
    return false;
  }
  void unclaim() noexcept { claimed_.store(0, base::release); }  // [section-claim]

 private:
  typename Sync::template atomic<std::uint32_t> inside_{0};                             // owner
  alignas(base::kCacheLine) typename Sync::template atomic<std::uint32_t> claimed_{0};  // thieves
};

}  // namespace erlking::sched
