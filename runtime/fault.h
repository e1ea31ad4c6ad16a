// Faults: a hardware fault (SIGSEGV, SIGBUS) in a process's own code becomes its exit reason: `segv`, `bus` or
// `stack_overflow`. It dies as any other process does; its supervisor starts it anew, the node lives on. Any other
// fault ends the program as ever, after a report that names the process. docs/faults.md is the user's side of it.
//
//   F1  Contained is a fault that the processor raised (not a kill(2)) on a worker that runs a process or a handler, on
//       that one's stack, at an instruction of user text (F2), when nothing of the runtime's is half done: F3, F4, no
//       ticket open, no nudge armed, no operation of the driver on its stack, its worker not in its queues, the process
//       not yet being put away. An overflow is a fault whose address lies in the guard of that stack: the same rules.
//       A call to where no code is counts as an instruction of its caller, by the return address on the stack.
//   F2  User text is the text of the program and of loaded modules, but not that of the runtime (base/text_range.h), of
//       libc, libstdc++, an allocator or a sanitizer. If malloc, memcpy, the unwinder or the like are linked into the
//       program itself, text does not tell whose it is, and nothing is contained; the log says so.
//   F3  Where code of the user's runs while the runtime waits for it with something half done (a closure moved into a
//       process half born, a reply moved into its caller's frame), an Uncontained lives.
//   F4  Inline code of the runtime in a user's function is user text. Three things can fault there. A garbage argument
//       does so at the first access, before anything is changed. An overflow does so as it calls something out of line,
//       perhaps with a message pushed and nobody woken: so every verb probes the stack first (sched::probe_stack), and
//       overflows while nothing is half done. Memory damaged by a wild write, a free list or a list of messages, does
//       so anywhere: then the fault is contained although the damage stays, and the process is only the first to meet
//       it. No lock is held there: those of headers are taken in the runtime's own units alone.
//   F5  The handler writes a record for its thread and resumes at land(), on the top of the process's own stack, all of
//       whose frames are thereby given up: no destructor in them runs, exceptions caught or in flight there are lost. A
//       handler keeps the loop's stack, which goes to the pool with it (Y1, L3). From there on it is put away as after
//       a std::terminate; a handler's state is left as it is, undestroyed. A second fault meanwhile is not contained.
//   F6  What the handler calls must not wait for anything this thread may hold: it takes no lock and allocates nothing.
//       The walk up the stack reads what a wild write may have damaged: a fault in it ends it (the frames found stand).
#pragma once

#include "runtime/process.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace erlking {

/// While one lives a fault of the calling process is not contained but ends the program: around what must not be left
/// half done, such as a mutex held that others need. Nests. Outside processes it means nothing: nothing is contained
/// there.
class Uncontained {
 public:
  Uncontained() noexcept : process_(static_cast<Process*>(sched::current())) {
    if (process_ == nullptr) return;
    before_ = process_->uncontained;
    process_->uncontained = true;
    std::atomic_signal_fence(std::memory_order_seq_cst);  // the handler reads it
  }
  ~Uncontained() {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (process_ != nullptr) process_->uncontained = before_;
  }
  Uncontained(const Uncontained&) = delete;
  Uncontained& operator=(const Uncontained&) = delete;

 private:
  Process* process_;
  bool before_ = false;
};

/// f() under an Uncontained; its result.
template <class F>
decltype(auto) uncontained(F&& f) {
  const Uncontained here;
  return std::forward<F>(f)();
}

namespace detail {

/// Installs the handlers for SIGSEGV and SIGBUS, those that were there being called for what is not ours; and puts
/// those back, unless somebody has installed others since. While some runtime lives (process_wide.h).
void install_fault_handlers() noexcept;
void remove_fault_handlers() noexcept;
/// In a signal handler, of `context`: the addresses of the interrupted frames, innermost first. How many.
std::size_t interrupted_frames(void* context, std::span<void*> frames) noexcept;
/// In a signal handler that has interrupted the instruction at `at`: whether this is code of the user's, and not what
/// the runtime has called for itself. For what is inline or a template in headers is user text (F2), whoever calls it;
/// but the runtime calls code of the user's by pointers alone, and what is its own by name. So the call in the first
/// frame of the runtime up the stack tells. False also where that cannot be seen.
bool is_in_user_code(std::uintptr_t at) noexcept;
/// Why no fault can be contained in this program (F2); empty: they can.
std::string_view why_not_contained() noexcept;

}  // namespace detail
}  // namespace erlking
