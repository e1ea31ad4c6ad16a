// What the operating system and the C++ runtime have only once: the handlers of std::terminate and of faults (fault.h),
// and how a throw's origin is kept. Counted: installed while some runtime lives.
#pragma once

#include "runtime/process.h"
#include "runtime/reason.h"

namespace erlking::detail {

/// One runtime more, or less. Returns its tag, 0 to 63, or -1 when 64 runtimes live.
int acquire_process_wide() noexcept;
void release_process_wide(int tag) noexcept;

/// Runs `run(argument)` such that an exception nobody in it catches leaves the addresses of its throw behind, at the
/// price of nothing for any other throw. The exception passes on.
void run_recording_throws(void (*run)(void*), void* argument);

/// Unwinds the running process; what for has been noted.
[[noreturn]] void throw_process_exit();
/// Ends the running process with `reason` by unwinding.
[[noreturn]] void throw_exit(Process& process, Reason reason);

/// The exception being handled as an exit reason, with what run_recording_throws() recorded.
Reason current_exception_reason() noexcept;

}  // namespace erlking::detail
