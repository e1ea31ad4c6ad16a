// Locks for the cold paths, with Clang's thread-safety annotations (empty under other compilers): Mutex, MutexLock and
// CondVar; SpinLock for critical sections of a few instructions; futex_wait and futex_wake for a word of one's own.
// All of it blocks the thread, never just the process: hold none of them where a process may suspend.
#pragma once

#include "base/clock.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <linux/futex.h>
#include <mutex>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__clang__)
#define EK_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define EK_THREAD_ANNOTATION(x)
#endif

#define EK_CAPABILITY(name) EK_THREAD_ANNOTATION(capability(name))
#define EK_SCOPED_CAPABILITY EK_THREAD_ANNOTATION(scoped_lockable)
#define EK_GUARDED_BY(mutex) EK_THREAD_ANNOTATION(guarded_by(mutex))
#define EK_PT_GUARDED_BY(mutex) EK_THREAD_ANNOTATION(pt_guarded_by(mutex))
#define EK_ACQUIRED_BEFORE(...) EK_THREAD_ANNOTATION(acquired_before(__VA_ARGS__))
#define EK_ACQUIRED_AFTER(...) EK_THREAD_ANNOTATION(acquired_after(__VA_ARGS__))
#define EK_REQUIRES(...) EK_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define EK_EXCLUDES(...) EK_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define EK_ACQUIRE(...) EK_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define EK_TRY_ACQUIRE(...) EK_THREAD_ANNOTATION(try_acquire_capability(__VA_ARGS__))
#define EK_RELEASE(...) EK_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define EK_RETURN_CAPABILITY(mutex) EK_THREAD_ANNOTATION(lock_returned(mutex))
#define EK_NO_THREAD_SAFETY_ANALYSIS EK_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace erlking::base {

/// A plain, non-recursive mutex; a waiter sleeps. Any thread.
class EK_CAPABILITY("mutex") Mutex {
 public:
  Mutex() noexcept = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() noexcept EK_ACQUIRE() { mutex_.lock(); }
  void unlock() noexcept EK_RELEASE() { mutex_.unlock(); }
  /// Takes the mutex if it is free; never waits.
  [[nodiscard]] bool try_lock() noexcept EK_TRY_ACQUIRE(true) { return mutex_.try_lock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

/// Holds a Mutex for a scope.
class EK_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) noexcept EK_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() EK_RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

/// A condition variable for a Mutex. Waits may end for no reason: wait in a loop around the condition. Any thread.
class CondVar {
 public:
  CondVar() noexcept = default;
  CondVar(const CondVar&) = delete;
  CondVar& operator=(const CondVar&) = delete;

  /// Gives the mutex up while waiting; holds it again on return.
  void wait(Mutex& mutex) noexcept EK_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    cond_.wait(lock);
    lock.release();
  }

  /// As wait(), until a real-time instant of the steady clock at most; false when that has passed.
  bool wait_until(Mutex& mutex, std::chrono::steady_clock::time_point deadline) noexcept EK_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const std::cv_status status = cond_.wait_until(lock, deadline);
    lock.release();
    return status == std::cv_status::no_timeout;
  }

  /// The same, the instant in Nanos of a real Clock; kForever waits without a limit.
  bool wait_until(Mutex& mutex, Nanos deadline) noexcept EK_REQUIRES(mutex) {
    if (deadline == kForever) {
      wait(mutex);
      return true;
    }
    return wait_until(mutex, to_time_point(deadline));
  }

  void notify_one() noexcept { cond_.notify_one(); }
  void notify_all() noexcept { cond_.notify_all(); }

 private:
  std::condition_variable cond_;
};

/// The turn of a loop that waits for another thread's next few instructions: spins for 100 turns, then yields the time
/// slice at every turn.
inline void pause_or_yield(unsigned turn) noexcept {
  if (turn < 100) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  } else {
    ::sched_yield();
  }
}

/// One byte; a waiter spins about 100 turns, then yields its time slice at every turn. For critical sections of a few
/// instructions that call nothing. Not fair. Any thread.
class EK_CAPABILITY("mutex") SpinLock {
 public:
  constexpr SpinLock() noexcept = default;
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

  void lock() noexcept EK_ACQUIRE() {
    if (!try_lock()) [[unlikely]]
      lock_slow();
  }
  /// Takes the lock if it is free; never waits.
  [[nodiscard]] bool try_lock() noexcept EK_TRY_ACQUIRE(true) {
    return !held_.exchange(true, std::memory_order_acquire);  // acquire: from unlock() [spin]
  }
  void unlock() noexcept EK_RELEASE() { held_.store(false, std::memory_order_release); }  // release: feeds lock [spin]

 private:
  [[gnu::noinline]] void lock_slow() noexcept EK_NO_THREAD_SAFETY_ANALYSIS {
    for (unsigned turns = 0;; ++turns) {
      if (!held_.load(std::memory_order_relaxed) && try_lock()) return;  // relaxed: try_lock() decides
      pause_or_yield(turns);
    }
  }

  std::atomic<bool> held_{false};
};
static_assert(sizeof(SpinLock) == 1);

/// Holds a SpinLock for a scope.
class EK_SCOPED_CAPABILITY SpinLockGuard {
 public:
  explicit SpinLockGuard(SpinLock& lock) noexcept EK_ACQUIRE(lock) : lock_(lock) { lock_.lock(); }
  ~SpinLockGuard() EK_RELEASE() { lock_.unlock(); }
  SpinLockGuard(const SpinLockGuard&) = delete;
  SpinLockGuard& operator=(const SpinLockGuard&) = delete;

 private:
  SpinLock& lock_;
};

/// Why futex_wait returned.
enum class FutexResult : std::uint8_t {
  woken,      ///< by futex_wake, by a signal, or for no reason: look at the word again
  timed_out,  ///< the time given has passed
  changed,    ///< the word was not `expected`: did not sleep
};

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

/// Sleeps while `word` == `expected`, at most `timeout` ns (<= 0: only looks; kForever: no limit). Process-private;
/// real time. Any thread. The compare is ordered against futex_wake by the kernel; order the word itself by its users.
inline FutexResult futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected,
                              Nanos timeout = kForever) noexcept {
  timespec relative{};
  if (timeout > 0 && timeout != kForever) {
    relative.tv_sec = static_cast<time_t>(timeout / 1'000'000'000);
    relative.tv_nsec = static_cast<long>(timeout % 1'000'000'000);
  }
  const long rc = ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT_PRIVATE, expected,
                            timeout == kForever ? nullptr : &relative, nullptr, 0);
  if (rc == 0) return FutexResult::woken;
  switch (errno) {
    case EAGAIN:
      return FutexResult::changed;
    case ETIMEDOUT:
      return FutexResult::timed_out;
    default:
      return FutexResult::woken;  // EINTR
  }
}

/// Wakes at most `n` sleepers of `word`; how many it woke. Process-private. Any thread; the word's memory need not
/// exist any more in the sense of its owner, only be mapped.
inline unsigned futex_wake(std::atomic<std::uint32_t>& word, unsigned n = 1) noexcept {
  const long rc = ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE_PRIVATE, static_cast<int>(n),
                            nullptr, nullptr, 0);
  return rc > 0 ? static_cast<unsigned>(rc) : 0;
}

}  // namespace erlking::base
