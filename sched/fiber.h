// What the sanitizers must be told around a switch from one stack to another; nothing in other builds (README.md).
#pragma once

#include "sched/task.h"

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace erlking::sched {

/// About to leave `from` (null: for good) for `to`, storing the stack pointer in *sp: a release (C1) that stands in
/// assembly, where ThreadSanitizer does not see it.
[[gnu::always_inline]] inline void san_before_switch([[maybe_unused]] FiberHandles* from,
                                                     [[maybe_unused]] const FiberHandles& to,
                                                     [[maybe_unused]] std::atomic<void*>* sp) noexcept {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(from == nullptr ? nullptr : &from->fake_stack, to.bottom, to.size);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_release(sp);
  __tsan_switch_to_fiber(to.tsan, 0);
#endif
}

/// Back on `self`.
[[gnu::always_inline]] inline void san_after_switch([[maybe_unused]] FiberHandles& self) noexcept {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(self.fake_stack, nullptr, nullptr);
#endif
}

}  // namespace erlking::sched
