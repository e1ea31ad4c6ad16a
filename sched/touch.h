// Touch: while one lives, what this thread's worker owns is being touched by code that is inlined into a process's own:
// the worker must not be handed to another thread there (hand_over.h H2).
//
//   A touch is short, never nested within another one in the same function, and runs no code of the user's. The mark is
//   the thread's, read by a signal handler of that thread alone: plain stores, in order for the compiler. A switch
//   begins under the mark; who arrives clears it. A mark left set costs a hand-over, one that is missing memory.
#pragma once

namespace erlking::sched {

extern "C" {
extern __thread unsigned char ek_touching __attribute__((tls_model("initial-exec")));
}

// As current(): the address must not be kept across a switch.
[[gnu::always_inline]] inline void begin_touch() noexcept {
  unsigned long at;
  asm volatile(
      "movq ek_touching@gottpoff(%%rip), %0\n\t"
      "movb $1, %%fs:(%0)"
      : "=&r"(at)
      :
      : "memory");
}
[[gnu::always_inline]] inline void end_touch() noexcept {
  unsigned long at;
  asm volatile(
      "movq ek_touching@gottpoff(%%rip), %0\n\t"
      "movb $0, %%fs:(%0)"
      : "=&r"(at)
      :
      : "memory");
}

class Touch {
 public:
  [[gnu::always_inline]] Touch() noexcept { begin_touch(); }
  [[gnu::always_inline]] ~Touch() { end_touch(); }
  Touch(const Touch&) = delete;
  Touch& operator=(const Touch&) = delete;
};

}  // namespace erlking::sched
