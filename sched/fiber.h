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

#if defined(__SANITIZE_THREAD__)
/// A fiber for `handles`; any thread. ThreadSanitizer takes 1 to 6 ms for a new one, whose megabyte it zeroes, so that
/// those of tasks that are over are used again, 256 of them: 64 times each, as what a task had called when it left for
/// good stays on its fiber's list of calls, which has room for 65,536. Whoever takes one up is to ThreadSanitizer the
/// same thread as those before; no other order is made.
void tsan_take_fiber(FiberHandles& handles);
/// If there is one.
void tsan_give_fiber(FiberHandles& handles) noexcept;
/// Of a task that is left in the midst of any number of calls: its fiber is not used again.
void tsan_wear_out(FiberHandles& handles) noexcept;
#endif

}  // namespace erlking::sched
