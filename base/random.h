// Seeded random numbers: fast, repeatable, not for secrets. The generator is xoshiro256** (Blackman and Vigna, 2018),
// its state filled by splitmix64, so that neighbouring seeds give unrelated streams. entropy_seed() is the only place
// that draws randomness from the system. A Random belongs to one thread.
#pragma once

#include "base/assert.h"
#include "base/clock.h"

#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <sys/random.h>

namespace erlking::base {

/// 64 random bits from the kernel; where it refuses, a mix of the cycle counter and an address. Thread-safe.
inline std::uint64_t entropy_seed() noexcept {
  std::uint64_t seed = 0;
  if (::getrandom(&seed, sizeof seed, 0) == static_cast<ssize_t>(sizeof seed)) [[likely]]
    return seed;
  return cycles() * 0x9e3779b97f4a7c15u ^ static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&seed));
}

class Random {
 public:
  using result_type = std::uint64_t;  // a standard UniformRandomBitGenerator, usable with std::shuffle

  /// The same seed gives the same numbers on every machine.
  explicit constexpr Random(std::uint64_t seed) noexcept {
    for (std::uint64_t& word : state_) {  // splitmix64: a Weyl sequence, each term mixed twice
      seed += 0x9e3779b97f4a7c15u;
      std::uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
      z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
      word = z ^ (z >> 31);
    }
  }

  /// 64 random bits.
  constexpr std::uint64_t next() noexcept {
    const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  /// A number in [0, n), without bias; n >= 1.
  constexpr std::uint64_t below(std::uint64_t n) noexcept {
    EK_DCHECK(n != 0);
    // The high half of next() * n; the few low halves that would favour some results are drawn again (Lemire, 2019).
    Wide product = Wide{next()} * n;
    if (static_cast<std::uint64_t>(product) < n) [[unlikely]] {
      const std::uint64_t unfair = (0 - n) % n;
      while (static_cast<std::uint64_t>(product) < unfair) product = Wide{next()} * n;
    }
    return static_cast<std::uint64_t>(product >> 64);
  }

  /// A number in [0, 1), every multiple of 2^-53 equally likely.
  constexpr double unit() noexcept { return static_cast<double>(next() >> 11) * 0x1p-53; }

  static constexpr result_type min() noexcept { return 0; }
  static constexpr result_type max() noexcept { return std::numeric_limits<result_type>::max(); }
  constexpr result_type operator()() noexcept { return next(); }

 private:
  __extension__ using Wide = unsigned __int128;

  std::array<std::uint64_t, 4> state_{};
};

}  // namespace erlking::base
