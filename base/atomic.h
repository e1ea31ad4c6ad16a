// The one file that names std::atomic for the lock-free structures: they are templates over `Sync`, so that the very
// same source runs on the machine (Real) and under a model checker (tests/model instantiates it with relacy's atomics).
//
//   Sync::atomic<T>     load, store, exchange, compare_exchange_weak / _strong, fetch_add with explicit orders
//   Sync::var<T>        plain data that must not race: get() and set(); the model checker reports a race on it
//   Sync::fence()       a seq_cst fence        Sync::heavy_fence()   the dear half of an asymmetric fence
//   Sync::light_fence() its free half: only the compiler is held back
//   Sync::pause()       one turn of a spin loop
//
// Every order is written out at its use; `relaxed` … are short names for std::memory_order.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

namespace erlking::base {

inline constexpr auto relaxed = std::memory_order_relaxed;
inline constexpr auto acquire = std::memory_order_acquire;
inline constexpr auto release = std::memory_order_release;
inline constexpr auto acq_rel = std::memory_order_acq_rel;
inline constexpr auto seq_cst = std::memory_order_seq_cst;

/// A line: what different threads write is kept at least this far apart.
inline constexpr std::size_t kCacheLine = 64;

/// Orders every running thread of this process against the caller (membarrier PRIVATE_EXPEDITED; a seq_cst fence where
/// the kernel has none and under TSan). Dear: an interrupt to each running thread. Any thread.
void heavy_fence() noexcept;
/// False where membarrier is missing: light_fence() must then be a real fence. Constant after the first call.
bool heavy_fence_is_asymmetric() noexcept;

namespace detail {
extern bool asymmetric_fences;  // set once before main by atomic.cc
/// TSan does not model fences: an ordered RMW on a location of one's own stands in for one.
extern std::atomic<int> fence_cell;
}  // namespace detail

struct Real {
  template <class T>
  using atomic = std::atomic<T>;

  template <class T>
  class var {
   public:
    constexpr var() noexcept = default;
    constexpr explicit var(T value) noexcept : value_(std::move(value)) {}
    T get() const noexcept { return value_; }
    void set(T value) noexcept { value_ = std::move(value); }

   private:
    T value_{};
  };

  static void fence() noexcept {
#if defined(__SANITIZE_THREAD__)
    detail::fence_cell.fetch_add(1, seq_cst);
#else
    std::atomic_thread_fence(seq_cst);
#endif
  }
  static void light_fence() noexcept {
#if defined(__SANITIZE_THREAD__)
    detail::fence_cell.fetch_add(1, seq_cst);
#else
    if (__builtin_expect(!detail::asymmetric_fences, 0)) std::atomic_thread_fence(seq_cst);
    std::atomic_signal_fence(seq_cst);
#endif
  }
  static void heavy_fence() noexcept { base::heavy_fence(); }
  static void pause() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
};

}  // namespace erlking::base
