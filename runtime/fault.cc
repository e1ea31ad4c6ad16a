#include "runtime/fault.h"

#include "base/compiler.h"
#include "base/text_range.h"
#include "runtime/behaviour.h"
#include "runtime/flight_record.h"
#include "runtime/holdings.h"
#include "runtime/registry.h"
#include "runtime/system.h"
#include "sched/sched.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include <span>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

extern "C" {
// base/text_range.h: pairs of begin and end.
[[gnu::visibility("hidden")]] extern const std::uintptr_t __start_ek_text_ranges[];
[[gnu::visibility("hidden")]] extern const std::uintptr_t __stop_ek_text_ranges[];
}

namespace erlking::detail {

namespace {

using Address = std::uintptr_t;

// A deep recursion shows in a few frames as well as in all.
constexpr std::size_t kFrames = 32;

enum class Access : std::uint8_t { unknown, read, write, call };

// What the handler leaves for land(), or tells in its report; of the thread.
struct Record {
  std::size_t count = 0;
  void* frames[kFrames];
  int signal = 0;
  Access access = Access::unknown;
  bool is_overflow = false;
  Address address = 0;
  // Of the walk: where it begins, what to leave it by.
  Address from = 0;
  bool begun = false;
  bool walking = false;  // volatile in effect: set and read around calls the compiler cannot see into
  void* resume[5];
  bool reporting = false;
  Starter starter;  // of a behaviour that was starting: it lay on the stack
};

EK_NOIPA Record& record() noexcept {
  static thread_local Record value;
  return value;
}

// One of the two signals: who was there before; and whether we have been left in place, beneath a handler that came
// later and may call ours: to install ours once more would make a circle.
struct Handled {
  int signal;
  struct sigaction previous {};
  bool is_beneath = false;
};
Handled handled[] = {{SIGSEGV}, {SIGBUS}};

// --- whose text ------------------------------------------------------------------------------------------------------

bool is_runtime_text(Address at) noexcept {
  for (const Address* range = __start_ek_text_ranges; range < __stop_ek_text_ranges; range += 2) {
    if (at >= range[0] && at < range[1]) return true;
  }
  return false;
}

// Modules whose text is not the user's, by the beginnings of their file names.
constexpr std::string_view kForeign[] = {
    "ld-",        "ld.so",    "libc.",       "libc-",     "libm.",       "libpthread",  "libdl.",      "librt.",
    "libresolv.", "libnss_",  "libstdc++.",  "libc++",    "libgcc_s.",   "libunwind",   "libasan.",    "libtsan.",
    "libubsan.",  "liblsan.", "libclang_rt", "libhwasan", "libjemalloc", "libtcmalloc", "libmimalloc", "liburing.",
    "libfmt.",    "libgc.",   "libspdlog.",  "libssl.",   "libcrypto.",  "linux-vdso",  "libprofiler",
};

enum class Text : std::uint8_t { none, user, runtime, foreign };

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)
constexpr bool kCanLookUp = true;

Text text_at(Address at) noexcept {
  dl_find_object found;
  if (_dl_find_object(reinterpret_cast<void*>(at), &found) != 0)
    return Text::none;  // made for signal handlers: no lock
  if (is_runtime_text(at)) return Text::runtime;
  const char* const path = found.dlfo_link_map->l_name;  // the program's own: empty
  if (path == nullptr || *path == '\0') return Text::user;
  const char* const slash = std::strrchr(path, '/');
  const std::string_view name = slash == nullptr ? path : slash + 1;
  return std::ranges::any_of(kForeign, [&](std::string_view head) { return name.starts_with(head); }) ? Text::foreign
                                                                                                      : Text::user;
}
#else
constexpr bool kCanLookUp = false;
Text text_at(Address) noexcept { return Text::none; }
#endif

// --- the walk --------------------------------------------------------------------------------------------------------

_Unwind_Reason_Code note_frame(_Unwind_Context* context, void* argument) {
  Record& here = *static_cast<Record*>(argument);
  int before_instruction = 0;
  const Address at = _Unwind_GetIPInfo(context, &before_instruction);
  if (!here.begun) {  // this handler's own frames come first
    if (before_instruction == 0 || at != here.from) return _URC_NO_REASON;
    here.begun = true;
  }
  if (at == 0 || here.count == kFrames) return _URC_END_OF_STACK;
  // As frame_text() and dladdr take it: one back is inside the instruction.
  here.frames[here.count++] = reinterpret_cast<void*>(at + (before_instruction != 0 ? 1 : 0));
  return _URC_NO_REASON;
}

// From the interrupted frame upwards. A fault in it comes back here, by leave_walk().
[[gnu::noinline]] void walk(Record& here, Address from) noexcept {
  here.count = 0;
  here.begun = false;
  here.from = from;
  if (__builtin_setjmp(here.resume) == 0) {
    here.walking = true;
    asm volatile("" ::: "memory");
    _Unwind_Backtrace(&note_frame, &here);
  }
  asm volatile("" ::: "memory");
  record().walking = false;
  if (record().count == 0) record().frames[record().count++] = reinterpret_cast<void*>(record().from + 1);
}

[[noreturn, gnu::noinline]] void leave_walk(Record& here) noexcept { __builtin_longjmp(here.resume, 1); }

// --- the report ------------------------------------------------------------------------------------------------------

// A line put together without allocating; what does not fit is cut off.
class Line {
 public:
  Line& operator<<(std::string_view text) noexcept {
    const std::size_t n = std::min(text.size(), sizeof(text_) - size_);
    std::memcpy(text_ + size_, text.data(), n);
    size_ += n;
    return *this;
  }
  Line& operator<<(std::uint64_t number) noexcept { return put(number, 10); }
  Line& hex(std::uint64_t number) noexcept { return (*this << "0x").put(number, 16); }
  Line& operator<<(Pid pid) noexcept {
    using Table = ProcessTable;
    return *this << "<" << (pid.id >> Table::kSlotBits & ((1u << Table::kTagBits) - 1)) << "."
                 << (pid.id & Table::kSlotMask) << "." << (pid.id >> (Table::kSlotBits + Table::kTagBits)) << ">";
  }
  void write() noexcept {
    *this << "\n";
    for (std::size_t done = 0; done < size_;) {
      const ssize_t n = ::write(STDERR_FILENO, text_ + done, size_ - done);
      if (n <= 0) return;
      done += static_cast<std::size_t>(n);
    }
  }

 private:
  Line& put(std::uint64_t number, unsigned base) noexcept {
    char digits[24];
    std::size_t n = sizeof(digits);
    do {
      digits[--n] = "0123456789abcdef"[number % base];
      number /= base;
    } while (number != 0);
    return *this << std::string_view(digits + n, sizeof(digits) - n);
  }

  std::size_t size_ = 0;
  char text_[512];
};

std::string_view name_of(Access access) noexcept {
  switch (access) {
    case Access::read:
      return "read of ";
    case Access::write:
      return "write of ";
    case Access::call:
      return "call of ";
    case Access::unknown:
      break;
  }
  return "access beyond all addresses, near ";
}

Line& operator<<(Line& line, const Process& process) noexcept {
  line << process.pid();
  const std::string_view name = process.system->registry.try_name_of(process.pid());
  if (!name.empty()) line << " " << name;
  return line;
}

void report(const Process* process, const Record& here, std::string_view why) noexcept {
  Line line;
  line << "erlking: " << (here.signal == SIGBUS ? "SIGBUS" : "SIGSEGV") << " ("
       << (here.is_overflow ? "overflow of the stack, " : "") << name_of(here.access);
  line.hex(here.address) << ")";
  if (process != nullptr) {
    line << " in process ";
    line << *process;
    constexpr std::size_t kNameMost = 120;  // of a type
    const std::string_view name = process->start->name;
    line << " of " << name.substr(0, kNameMost) << (name.size() > kNameMost ? "..." : "");
    if (process->parent) {
      line << ", child of ";
      line << process->system->process(process->parent);
    }
  }
  line << ": not contained: " << why;
  line.write();
  backtrace_symbols_fd(const_cast<void**>(here.frames), static_cast<int>(here.count), STDERR_FILENO);
}

// --- the decision ----------------------------------------------------------------------------------------------------

// Why a fault of `process` at user text must not be contained, for what is half done; empty: nothing is.
std::string_view half_done(const Process& process) noexcept {
  using State = Ticket<base::Real>::State;
  if (!process.system->contains_faults) return "Options.on_fault is abort";
  if (!why_not_contained().empty()) return why_not_contained();
  if (process.faulted) return "the process was being put away after another fault";
  if (process.exiting) return "the process was being put away";
  if (process.uncontained) return "under an Uncontained, or in what a spawn or a reply moves";
  const State ticket = process.ticket.state();
  if ((ticket != State::idle && ticket != State::done) || process.nudge != Nudge::none || process.in_operation) {
    return "in the middle of a wait";
  }
  if (process.worker->in_queues()) return "the worker was in its queues";
  return {};
}

std::string_view in_text(Text text) noexcept {
  switch (text) {
    case Text::runtime:
      return "it is in the runtime's code";
    case Text::foreign:
      return "it is in a system library's code";
    case Text::none:
      return "it is in no code that a file holds";
    case Text::user:
      break;
  }
  return {};
}

// --- landing ---------------------------------------------------------------------------------------------------------

Reason reason_of(const Record& here, const Process& process) {
  const std::span<void* const> frames(here.frames, here.count);
  if (here.is_overflow) {
    return Reason::stack_overflow(
        here.address, fmt::format("stack of {} KiB", sched::stack_class_bytes(process.stack_class) / 1024), frames);
  }
  const std::string detail = fmt::format("{}{:#x}", name_of(here.access), here.address);
  return here.signal == SIGBUS ? Reason::bus(here.address, detail, frames) : Reason::segv(here.address, detail, frames);
}

// F5. On the process's stack, whose frames are no more.
void land(void* argument) {
  auto& process = static_cast<Process&>(*static_cast<sched::Task*>(argument));
  asm volatile("emms" ::: "memory");  // registers of the x87 that were in use would be so for ever
  *reinterpret_cast<sched::ExceptionState*>(abi::__cxa_get_globals()) = {};
  std::atomic<std::uint64_t>& faults = core_of(process).faults;
  faults.store(faults.load(base::relaxed) + 1, base::relaxed);  // relaxed: this worker's alone, a statistic
  if (!process.doomed) {                                        // SEMANTICS 1.10
    try {
      process.reason = reason_of(record(), process);
    } catch (const std::bad_alloc&) {
      process.reason = reason::system_limit;
    }
  }
#if defined(__SANITIZE_THREAD__)
  sched::tsan_wear_out(process.fiber);
#endif
  process.deferring = 0;
  if (process.is_handler()) process.stateless = true;
  const Starter starter = record().starter;
  report_crash(process);
  if (process.start->behaves) {
    put_away_behaviour(process, starter);
  } else {
    put_away(process);
  }
  core_of(process).retire(process);
}

// --- the handler -----------------------------------------------------------------------------------------------------

// To whom it belongs: the handler that was there before, else the system.
void pass_on(int signal, siginfo_t* info, void* context) noexcept {
  const struct sigaction& previous = handled[signal == SIGBUS ? 1 : 0].previous;
  if ((previous.sa_flags & SA_SIGINFO) != 0) return previous.sa_sigaction(signal, info, context);
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) return previous.sa_handler(signal);
  // Of a fault the instruction is tried again, and ends the program; what somebody sent ends it here.
  struct sigaction fallback {};
  fallback.sa_handler = SIG_DFL;
  sigaction(signal, &fallback, nullptr);
  if (info->si_code <= 0) static_cast<void>(::raise(signal));
}

void on_fault(int signal, siginfo_t* info, void* raw) {
  const int error = errno;
  Record& here = record();
  if (here.walking) leave_walk(here);  // F6
  auto* const process = static_cast<Process*>(sched::current());
  if (process == nullptr || info->si_code <= 0 || here.reporting) {
    pass_on(signal, info, raw);
    errno = error;
    return;
  }
  greg_t* const registers = static_cast<ucontext_t*>(raw)->uc_mcontext.gregs;
  constexpr greg_t kWrite = 2, kFetch = 16;  // of the page fault's error code
  const auto rip = static_cast<Address>(registers[REG_RIP]);
  const auto rsp = static_cast<Address>(registers[REG_RSP]);
  const auto low = reinterpret_cast<Address>(process->stack_low);
  const auto top = reinterpret_cast<Address>(process->stack().top);
  const bool on_stack = low != 0 && rsp >= low - sched::kStackGuard && rsp < top;
  here.signal = signal;
  here.address = reinterpret_cast<Address>(info->si_addr);
  const bool is_page_fault = signal == SIGBUS || info->si_code == SEGV_MAPERR || info->si_code == SEGV_ACCERR;
  here.access = !is_page_fault                       ? Access::unknown
                : (registers[REG_ERR] & kFetch) != 0 ? Access::call
                : (registers[REG_ERR] & kWrite) != 0 ? Access::write
                                                     : Access::read;
  here.is_overflow = on_stack && is_page_fault && here.address >= low - sched::kStackGuard && here.address < low;
  if (on_stack && here.access == Access::call && rsp >= low && rsp + 8 <= top && rsp % 8 == 0) {
    registers[REG_RIP] = *reinterpret_cast<greg_t*>(rsp);
    registers[REG_RSP] = static_cast<greg_t>(rsp + 8);
  }
  const auto from = static_cast<Address>(registers[REG_RIP]);
  const Text text = text_at(from);
  std::string_view why = !on_stack ? "it is not on the stack of the process" : in_text(text);
  if (why.empty()) why = half_done(*process);
  walk(here, from);
  if (why.empty()) {
    process->faulted = true;
    if (process->has_region) check_holdings(*process);
    here.starter = process->start->behaves ? take_starter(*process) : Starter{};
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(process->stack_low, top - low);
#endif
    // As switch_stack() would continue a fresh stack.
    auto* const words = static_cast<void**>(sched::prepare_stack(process->stack().top, &land));
    registers[REG_RIP] = reinterpret_cast<greg_t>(words[0]);
    registers[REG_RSP] = reinterpret_cast<greg_t>(words + 1);
    registers[REG_RDI] = reinterpret_cast<greg_t>(static_cast<sched::Task*>(process));
    constexpr greg_t kTrap = 1 << 8, kDirection = 1 << 10, kAlignment = 1 << 18;
    registers[REG_EFL] &= ~(kTrap | kDirection | kAlignment);
    errno = error;
    return;
  }
  registers[REG_RIP] = static_cast<greg_t>(rip);
  registers[REG_RSP] = static_cast<greg_t>(rsp);
  here.reporting = true;
  report(process, here, why);
  tell_flights_at_abort();
  pass_on(signal, info, raw);
  here.reporting = false;
  errno = error;
}

}  // namespace

void install_fault_handlers() noexcept {
  void* frame[1];
  static_cast<void>(backtrace(frame, 1));  // its first call loads the unwinder, which allocates
  struct sigaction ours {};
  ours.sa_sigaction = &on_fault;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;  // F6: the walk's fault must come here
  sigemptyset(&ours.sa_mask);
  for (Handled& of : handled) {
    struct sigaction now {};
    sigaction(of.signal, nullptr, &now);
    const bool is_handler =
        (now.sa_flags & SA_SIGINFO) != 0 || (now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN);
    if (of.is_beneath && is_handler) continue;
    sigaction(of.signal, &ours, &of.previous);
  }
}

void remove_fault_handlers() noexcept {
  for (Handled& of : handled) {
    struct sigaction now {};
    sigaction(of.signal, nullptr, &now);
    of.is_beneath = (now.sa_flags & SA_SIGINFO) == 0 || now.sa_sigaction != &on_fault;
    if (!of.is_beneath) sigaction(of.signal, &of.previous, nullptr);
  }
}

std::string_view why_not_contained() noexcept {
  static const std::string_view why = []() noexcept -> std::string_view {
    if (!kCanLookUp) return "this C library does not tell whose code an address is";
    for (const char* name :
         {"malloc", "free", "memcpy", "__cxa_throw", "_Unwind_RaiseException", "pthread_mutex_lock"}) {
      void* const at = dlsym(RTLD_DEFAULT, name);
      if (at == nullptr || text_at(reinterpret_cast<Address>(at)) != Text::foreign) {
        return "the allocator or a system library is linked into the program itself";
      }
    }
    return {};
  }();
  return why;
}

}  // namespace erlking::detail
