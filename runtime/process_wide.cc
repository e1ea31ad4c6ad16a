#include "runtime/process_wide.h"

#include "base/assert.h"
#include "base/compiler.h"
#include "runtime/fault.h"
#include "runtime/flight_record.h"
#include "runtime/system.h"

#include <bitset>
#include <csignal>
#include <cstdlib>
#include <cxxabi.h>
#include <exception>
#include <execinfo.h>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unwind.h>
#include <utility>

// A frame whose personality is asked, in the search phase of a throw nobody below it catches, while the throwing frames
// still stand (a catch clause sees them no more). It records, and lets the search go on.
asm(R"(
.text
.p2align 4
.type ek_recording_frame, @function
ek_recording_frame:
  .cfi_startproc
  .cfi_personality 0x1b, ek_record_throw
  pushq %rbp
  .cfi_def_cfa_offset 16
  .cfi_offset rbp, -16
  movq %rsp, %rbp
  .cfi_def_cfa_register rbp
  movq %rdi, %rax
  movq %rsi, %rdi
  callq *%rax
  popq %rbp
  .cfi_def_cfa rsp, 8
  ret
  .cfi_endproc
.size ek_recording_frame, .-ek_recording_frame
)");

extern "C" void ek_recording_frame(void (*run)(void*), void* argument);

namespace erlking::detail {

namespace {

constexpr int kFrames = 48;

// The last throw recorded on this thread; read by the catch that follows without a switch in between.
struct Throw {
  int count = 0;
  bool wanted = true;  // false: a ProcessExit looks for its catch
  void* frames[kFrames];
};
EK_NOIPA Throw& last_throw() noexcept {
  static thread_local Throw value;
  return value;
}

std::string demangled(const char* name) {
  int status = 0;
  std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status), &std::free);
  return status == 0 ? std::string(text.get()) : std::string(name);
}

std::mutex mutex;
std::bitset<64> tags;
unsigned next_tag = 0;
std::terminate_handler previous_terminate = nullptr;

// A throw that nobody could catch (out of a noexcept function, a destructor) in a process ends that process, not the
// node. The frames above cannot be unwound: their destructors do not run. Elsewhere: as before.
[[noreturn]] void on_terminate() {
  auto* const process = static_cast<Process*>(sched::current());
  if (process != nullptr && process->is_settling()) process->give_settling_up();
  if (process == nullptr || process->exiting) {
    tell_flights_at_abort();
    if (previous_terminate != nullptr) previous_terminate();
    std::abort();
  }
  if (!process->doomed) {
    const std::type_info* const type = abi::__cxa_current_exception_type();
    if (type == nullptr) {
      process->reason = reason::terminate;
    } else if (*type != typeid(ProcessExit)) {  // with an exit on its way, its reason stands
      Throw& record = last_throw();
      record.count = backtrace(record.frames, kFrames);
      process->reason = current_exception_reason();
    }
  }
  // Given up with the stack: what was caught, among it what brought us here, is destroyed.
  auto& exceptions = *reinterpret_cast<sched::ExceptionState*>(abi::__cxa_get_globals());
  while (exceptions.caught != nullptr) abi::__cxa_end_catch();
  exceptions = {};
  finish_process(*process);
}

// Whoever calls abort(): the flight recorders are told; then abort() goes on. Unless the program looks after it itself.
void on_abort(int) { tell_flights_at_abort(); }

void watch_abort() noexcept {
  struct sigaction now {};
  if (::sigaction(SIGABRT, nullptr, &now) != 0 || (now.sa_flags & SA_SIGINFO) != 0 || now.sa_handler != SIG_DFL) return;
  now = {};
  now.sa_handler = &on_abort;
  now.sa_flags = SA_ONSTACK;
  ::sigaction(SIGABRT, &now, nullptr);
}

void leave_abort() noexcept {
  struct sigaction now {};
  if (::sigaction(SIGABRT, nullptr, &now) != 0 || (now.sa_flags & SA_SIGINFO) != 0 || now.sa_handler != &on_abort)
    return;
  now = {};
  now.sa_handler = SIG_DFL;
  ::sigaction(SIGABRT, &now, nullptr);
}

}  // namespace

extern "C" [[gnu::used, gnu::visibility("hidden")]] _Unwind_Reason_Code ek_record_throw(int, _Unwind_Action actions,
                                                                                        _Unwind_Exception_Class,
                                                                                        _Unwind_Exception*,
                                                                                        _Unwind_Context*) {
  Throw& record = last_throw();
  if ((actions & _UA_SEARCH_PHASE) != 0 && record.wanted) {
    record.count = backtrace(record.frames, kFrames);
  }
  return _URC_CONTINUE_UNWIND;
}

int acquire_process_wide() noexcept {
  std::lock_guard lock(mutex);
  if (tags.all()) return -1;
  while (tags.test(next_tag % 64)) ++next_tag;  // the longest unused: a pid of a runtime that is gone stays stale
  if (tags.none()) {
    previous_terminate = std::set_terminate(&on_terminate);
    install_fault_handlers();
    base::set_crash_hook(&tell_flights_at_abort);
    watch_abort();
  }
  tags.set(next_tag % 64);
  return static_cast<int>(next_tag++ % 64);
}

void release_process_wide(int tag) noexcept {
  std::lock_guard lock(mutex);
  tags.reset(static_cast<std::size_t>(tag));
  if (!tags.none()) return;
  remove_fault_handlers();
  if (std::get_terminate() == &on_terminate) std::set_terminate(previous_terminate);
  base::set_crash_hook(nullptr);
  leave_abort();
}

void run_recording_throws(void (*run)(void*), void* argument) { ek_recording_frame(run, argument); }

ProcessExit::ProcessExit(Process& process, Reason&& reason) noexcept
    : process_(&process), leaving_before_(std::exchange(process.leaving, true)) {
  if (process.doomed) return;  // SEMANTICS 1.10
  reason_before_ = std::exchange(process.reason, std::move(reason));
}

ProcessExit::~ProcessExit() {
  // One that was kept (std::current_exception) beyond its process is nobody's.
  if (process_ == nullptr || process_ != static_cast<Process*>(sched::current())) return;
  process_->leaving = leaving_before_;
  if (leaving_before_ && !process_->doomed) process_->reason = std::move(reason_before_);
}

namespace {
template <class... Args>
[[noreturn]] void throw_unrecorded(Args&&... args) {
  // Off while the catch is looked for; this frame is unwound only after that, so a caught exit leaves it on.
  struct NotWanted {
    NotWanted() noexcept { last_throw().wanted = false; }
    ~NotWanted() { last_throw().wanted = true; }
  } not_wanted;
  throw ProcessExit(std::forward<Args>(args)...);
}
}  // namespace

void throw_process_exit() { throw_unrecorded(); }

void throw_exit(Process& process, Reason reason) { throw_unrecorded(process, std::move(reason)); }

Reason current_exception_reason() noexcept {
  Throw& record = last_throw();
  // The recorder's own frames, the unwinder's and __cxa_throw are not the user's business.
  const int count = std::exchange(record.count, 0);
  const int skip = std::min(count, 3);
  const std::span<void* const> frames(record.frames + skip, static_cast<std::size_t>(count - skip));
  const std::type_info* const type = abi::__cxa_current_exception_type();
  try {
    const std::string name = type == nullptr ? "unknown" : demangled(type->name());
    try {
      throw;
    } catch (const std::exception& e) {
      return Reason::exception(name, e.what(), frames);
    } catch (const Reason& thrown) {
      return thrown;
    } catch (...) {
      return Reason::exception(name, "", frames);
    }
  } catch (...) {  // no memory to say more
    return reason::system_limit;
  }
}

}  // namespace erlking::detail
