// The one source of time: a monotonic clock in nanoseconds, real or manual. Nothing else in the runtime asks the system
// for the time, so that a test (or the simulator) that moves a manual clock moves everything.
// Thread-safe throughout; never suspends.
#pragma once

#include "base/assert.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>
#include <type_traits>

namespace erlking::base {

/// Nanoseconds: an instant (since an arbitrary origin, monotonic, equal to std::chrono::steady_clock's time_since_epoch
/// on Linux) or a duration.
using Nanos = std::int64_t;

/// An instant that never comes, a duration without end.
inline constexpr Nanos kForever = std::numeric_limits<Nanos>::max();

/// now + d, held at kForever (at the smallest instant for a very negative d) instead of overflowing.
constexpr Nanos after(Nanos now, Nanos d) noexcept {
  Nanos sum = 0;
  if (__builtin_add_overflow(now, d, &sum)) [[unlikely]]
    return d > 0 ? kForever : std::numeric_limits<Nanos>::min();
  return sum;
}

/// The instant as Nanos; time_point::max() is kForever.
constexpr Nanos to_nanos(std::chrono::steady_clock::time_point t) noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count();
}

/// The duration as Nanos, held at kForever (at the smallest one) when it does not fit, as hours::max() does not.
/// What is finer than a nanosecond is cut off; a NaN is 0.
template <class Rep, class Period>
constexpr Nanos to_nanos(std::chrono::duration<Rep, Period> d) noexcept {
  constexpr Nanos least = std::numeric_limits<Nanos>::min();
  if constexpr (std::is_integral_v<Rep>) {
    using PerNano = std::ratio_divide<Period, std::nano>;
    if constexpr (PerNano::den == 1) {
      Nanos result = 0;
      const bool overflows = __builtin_mul_overflow(d.count(), PerNano::num, &result);
      return !overflows ? result : d.count() > 0 ? kForever : least;
    } else {
      return std::chrono::duration_cast<std::chrono::nanoseconds>(d).count();
    }
  } else {
    const auto nanos = std::chrono::duration_cast<std::chrono::duration<double, std::nano>>(d).count();
    if (nanos >= 0x1p63) return kForever;
    if (nanos <= -0x1p63) return least;
    return nanos == nanos ? static_cast<Nanos>(nanos) : 0;
  }
}

/// The instant as a steady_clock time point, for deadlines in public interfaces.
constexpr std::chrono::steady_clock::time_point to_time_point(Nanos instant) noexcept {
  return std::chrono::steady_clock::time_point(
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::nanoseconds(instant)));
}

/// CLOCK_MONOTONIC, as a real Clock reads it (about 19 ns). For a Clock's users only; everyone else takes a Clock.
Nanos monotonic_now() noexcept;

/// A counter that grows at a constant rate of its own (the time stamp counter on x86-64, otherwise monotonic_now()).
/// For measuring and seeding only: its unit is not Nanos.
inline std::uint64_t cycles() noexcept {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return static_cast<std::uint64_t>(monotonic_now());
#endif
}

class Clock {
 public:
  enum class Kind : std::uint8_t {
    real,    ///< CLOCK_MONOTONIC
    manual,  ///< stands still at the real time of its creation until it is advanced
  };

  explicit Clock(Kind kind = Kind::real) noexcept : manual_(kind == Kind::manual) {
    if (manual_) now_.store(monotonic_now(), std::memory_order_relaxed);
  }
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;

  /// The current instant. Monotonic per thread, and across threads as far as they synchronise.
  Nanos now() const noexcept {
    // acquire: who sees a manual time also sees what was done before it was set [now]
    return manual_ ? now_.load(std::memory_order_acquire) : monotonic_now();
  }

  /// Whether time passes only by advance().
  bool is_manual() const noexcept { return manual_; }

  /// Moves a manual clock on by `d` >= 0 ns, held at kForever. Checked: the clock is manual.
  void advance(Nanos d) noexcept {
    EK_CHECK(d >= 0);
    move([d](Nanos at) { return after(at, d); });
  }

  /// Moves a manual clock to `instant`; an earlier one leaves it where it is. Checked: the clock is manual.
  void advance_to(Nanos instant) noexcept {
    move([instant](Nanos at) { return instant > at ? instant : at; });
  }

 private:
  template <class Step>
  void move(Step step) noexcept {
    EK_CHECK(manual_);
    Nanos at = now_.load(std::memory_order_relaxed);  // relaxed: only the starting value of the CAS loop
    while (!now_.compare_exchange_weak(at, step(at), std::memory_order_release, std::memory_order_relaxed)) {
    }  // release: feeds now() [now]
  }

  const bool manual_;
  std::atomic<Nanos> now_{0};  // manual only; any thread
};

}  // namespace erlking::base
