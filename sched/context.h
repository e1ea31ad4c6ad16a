// The stack switch. A suspended stack is one word: its stack pointer, on top of which lie the address to continue at
// and rbp; every other callee-saved register is a clobber, so the compiler saves only what lives (1.1 ns
// against 9.6 for a switch ending in `ret`, whose return prediction always fails).
//
//   C1  switch_stack's last store to the stack it leaves is *save (release on x86): whoever reads it with acquire owns
//       that stack. Nothing of the old stack is touched afterwards.
//   C2  mxcsr and the x87 control word are not switched: a process that changes them changes them for its worker.
//   C3  g++ may keep the address of a thread_local or of errno across a switch: the runtime reads its own thread-local
//       words by volatile asm (task.h), and returns error codes instead of errno from functions that may switch.
//
// x86-64 only; the static_assert below says where another CPU's switch goes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__)
#error "erlking: the stack switch is for x86-64 only; add one for this CPU here (Boost.Context's fcontext serves)"
#endif

namespace erlking::sched {

/// Where a fresh stack begins; runs on its own stack, is given switch_stack's argument, never returns.
using Entry = void (*)(void*);

/// Prepares the stack ending at `top` (16-byte aligned) to begin in `entry` at its first switch; returns its stack
/// pointer.
void* prepare_stack(std::byte* top, Entry entry) noexcept;

/// Leaves the running stack: stores its stack pointer to *save (C1), continues at `to`, a value got from prepare_stack
/// or stored by an earlier switch. `argument` is what a fresh stack's entry receives.
[[gnu::always_inline]] inline void switch_stack(std::atomic<void*>* save, void* to, void* argument) noexcept {
  // The 128 bytes below rsp belong to the caller's red zone.
  asm volatile(
      "leaq -128(%%rsp), %%rsp\n\t"
      "pushq %%rbp\n\t"
      "leaq 1f(%%rip), %%rax\n\t"
      "pushq %%rax\n\t"
      "movq %%rsp, (%[save])\n\t"
      "movq %[to], %%rsp\n\t"
      "popq %%rax\n\t"
      "jmpq *%%rax\n\t"
      ".p2align 4\n"
      "1:\n\t"
      "popq %%rbp\n\t"
      "leaq 128(%%rsp), %%rsp\n\t"
      : [save] "+S"(save), [to] "+d"(to), "+D"(argument)
      :
      : "rax", "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory", "xmm0", "xmm1",
        "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
        "xmm15");
}

}  // namespace erlking::sched
