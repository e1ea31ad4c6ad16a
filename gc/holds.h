// Holds: what counts references or owns something of the system's (a Ref, a descriptor) tells of itself while a runtime
// lives whose heap is `region`: where an object of its kind is made and where it ends. Who ends without destructors has
// a table of those that lay in its own memory, and gives back what they held (runtime/region.h).
// Without such a runtime a look at one pointer. Any thread.
#pragma once

#include "base/atomic.h"

#include <cstdint>

namespace erlking::gc {

/// How an object's share in `what` is given back in its place; `extra` is its own to use.
using GiveBack = void (*)(void* what, std::uintptr_t extra) noexcept;

/// Whoever keeps the tables.
struct Holds {
  /// The object at `at` now holds `what`. Of one whose bytes are the address `what` and nothing else, `in_place`.
  void (*begin)(const void* at, void* what, GiveBack give_back, std::uintptr_t extra, bool in_place) noexcept;
  /// The object at `at` holds nothing any more.
  void (*end)(const void* at) noexcept;
};

namespace detail {
extern base::Real::atomic<const Holds*> holds;
}

/// Null: nobody asks.
inline const Holds* holds() noexcept {
  return detail::holds.load(base::acquire);  // acquire: the release of set_holds() [holds]
}
/// From now on `holds` is told, until the program ends.
void set_holds(const Holds& holds) noexcept;

}  // namespace erlking::gc
