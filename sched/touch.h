// Touch: code that is inlined into a process's own says by it that it is about to touch what this thread's worker owns:
// the worker must not be handed to another thread there (hand_over.h O2).
//
//   N1  The handler parts only if nothing has been noted since it looked some hundred microseconds of its thread's time
//       ago: what was under way then is over, as a touch is short, and what has begun since is noted. So a touch has no
//       end to be noted, only a place beyond which the compiler moves nothing of it.
//   N2  A safe point notes, too: it counts Process::budget down. What follows one with no code of the user's in between
//       needs no other note: a TouchInVerb.
//   N3  A touch runs no code of the user's, and calls nothing that does. The notes are the thread's, read by a signal
//       handler of that thread alone. One too many costs a hand-over, one that is missing memory.
#pragma once

namespace erlking::sched {

extern "C" {
extern __thread unsigned ek_touches __attribute__((tls_model("initial-exec")));
}

// As current(): the address must not be kept across a switch.
[[gnu::always_inline]] inline void note_touch() noexcept {
  unsigned long at;
  asm volatile(
      "movq ek_touches@gottpoff(%%rip), %0\n\t"
      "addl $1, %%fs:(%0)"
      : "=&r"(at)
      :
      : "memory", "cc");
}

// The compiler moves no access to memory beyond it.
[[gnu::always_inline]] inline void keep_order() noexcept { asm volatile("" ::: "memory"); }

class Touch {
 public:
  [[gnu::always_inline]] Touch() noexcept { note_touch(); }
  [[gnu::always_inline]] ~Touch() { keep_order(); }
  Touch(const Touch&) = delete;
  Touch& operator=(const Touch&) = delete;
};

class TouchInVerb {  // N2
 public:
  [[gnu::always_inline]] TouchInVerb() noexcept { keep_order(); }
  [[gnu::always_inline]] ~TouchInVerb() { keep_order(); }
  TouchInVerb(const TouchInVerb&) = delete;
  TouchInVerb& operator=(const TouchInVerb&) = delete;
};

}  // namespace erlking::sched
