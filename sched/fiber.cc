#include "sched/fiber.h"

#if defined(__SANITIZE_THREAD__)

#include <atomic>
#include <cstddef>

namespace erlking::sched {

namespace {

constexpr std::size_t kKept = 256;
constexpr unsigned kUses = 64;

// Of all threads: who spawns and who runs what was spawned may be two workers for good. No function here that touches
// these is instrumented, nor calls another that is, so that the lock orders nothing for ThreadSanitizer.
FiberHandles kept[kKept];
std::size_t n_kept = 0;
std::atomic_flag busy;

[[gnu::no_sanitize_thread, gnu::always_inline]] inline void lock() noexcept {
  while (busy.test_and_set(std::memory_order_acquire)) {
  }
}

[[gnu::no_sanitize_thread, gnu::always_inline]] inline void unlock() noexcept { busy.clear(std::memory_order_release); }

// Null handles: none is kept.
[[gnu::no_sanitize_thread, gnu::noinline]] FiberHandles take_kept() noexcept {
  FiberHandles fiber = {};
  lock();
  if (n_kept > 0) fiber = kept[--n_kept];
  unlock();
  return fiber;
}

// Whether there was room.
[[gnu::no_sanitize_thread, gnu::noinline]] bool keep(const FiberHandles& fiber) noexcept {
  lock();
  const bool room = n_kept < kKept;
  if (room) kept[n_kept++] = fiber;
  unlock();
  return room;
}

}  // namespace

void tsan_take_fiber(FiberHandles& handles) {
  handles = take_kept();
  if (handles.tsan == nullptr) handles = {__tsan_create_fiber(0), 0};
  ++handles.tsan_uses;
}

void tsan_give_fiber(FiberHandles& handles) noexcept {
  const FiberHandles fiber = handles;
  handles = {};
  if (fiber.tsan == nullptr) return;
  if (fiber.tsan_uses >= kUses || !keep(fiber)) __tsan_destroy_fiber(fiber.tsan);
}

void tsan_wear_out(FiberHandles& handles) noexcept { handles.tsan_uses = kUses; }

}  // namespace erlking::sched

#endif
