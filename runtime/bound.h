// Bound: how long a wait may last — a duration, a deadline or the written-out `forever`; never an int, never a default.
#pragma once

#include "base/clock.h"

#include <chrono>
#include <concepts>
#include <cstdint>

namespace erlking {

/// The clock deadlines are given in. With Options.clock = manual, `now()` tells the runtime's time; this one the real.
using Clock = std::chrono::steady_clock;
using Duration = std::chrono::nanoseconds;  ///< what an interval is given in, at most 292 years

/// The type of `forever`.
struct Forever {
  explicit Forever() = default;
};
/// A wait without end, said on purpose.
inline constexpr Forever forever{};

/// Resolution 1 ns, never early; waits end late by up to about 10 µs plus what else the worker is doing.
/// A negative duration, like 0, does not wait at all: it looks once.
class Bound {
 public:
  /// From now on, so long.
  template <class Rep, class Period>
  constexpr Bound(std::chrono::duration<Rep, Period> d) noexcept : ns_(base::to_nanos(d)) {
    if (ns_ < 0) ns_ = 0;
  }
  /// Until then.
  constexpr Bound(Clock::time_point t) noexcept : ns_(base::to_nanos(t)), absolute_(true) {}
  /// Without end.
  constexpr Bound(Forever) noexcept : ns_(base::kForever) {}
  constexpr Bound(std::integral auto) = delete;        // a bound has a unit: 5s, 50ms, a Clock::time_point, or forever
  constexpr Bound(std::floating_point auto) = delete;  // a bound has a unit: 5s, 50ms, a Clock::time_point, or forever

  /// Whether it never passes.
  constexpr bool is_forever() const noexcept { return ns_ == base::kForever; }
  /// Whether it is a deadline rather than a duration.
  constexpr bool is_absolute() const noexcept { return absolute_; }
  /// Looks once and does not wait.
  constexpr bool is_poll() const noexcept { return ns_ == 0 && !absolute_; }
  /// The duration, or the instant if absolute.
  constexpr base::Nanos ns() const noexcept { return ns_; }

 private:
  base::Nanos ns_;
  bool absolute_ = false;
};

namespace detail {
template <class T>
concept NoBound = !std::convertible_to<T, Bound>;
}  // namespace detail

}  // namespace erlking
