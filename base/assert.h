// EK_CHECK: an invariant of the runtime itself; a failure prints what broke and aborts. It stays on in release.
// EK_DCHECK: the dearer ones, on in debug and sanitizer builds (EK_DEBUG); the invariants of the protocols use it.
// Neither is for the world's faults (those are values) nor for a process's (those are exit reasons).
// Thread-safe; never suspends, never returns on failure.
#pragma once

namespace erlking::base {

/// Prints `file:line: what` and what the installed crash hook adds to stderr, then aborts.
[[noreturn]] void check_failed(const char* what, const char* file, int line) noexcept;

/// Called once by check_failed before abort(), to add context (the current process). Null by default; any thread.
using CrashHook = void (*)() noexcept;
void set_crash_hook(CrashHook hook) noexcept;

}  // namespace erlking::base

#define EK_CHECK(condition)                                  \
  (__builtin_expect(!!(condition), 1) ? static_cast<void>(0) \
                                      : ::erlking::base::check_failed(#condition, __FILE__, __LINE__))

#if defined(EK_DEBUG)
#define EK_DCHECK(condition) EK_CHECK(condition)
#else
#define EK_DCHECK(condition) static_cast<void>(sizeof(!(condition)))
#endif
