#include "gc/roots.h"

// rbp holds the way back, and tells unwinders and debuggers the caller, whose stack is another.
asm(R"(
.text
.p2align 4
.type ek_call_on_stack, @function
ek_call_on_stack:
  .cfi_startproc
  pushq %rbp
  .cfi_def_cfa_offset 16
  .cfi_offset rbp, -16
  movq %rsp, %rbp
  .cfi_def_cfa_register rbp
  movq %rsp, (%rsi)
  movq %rdi, %rsp
  movq %rcx, %rdi
  callq *%rdx
  movq %rbp, %rsp
  popq %rbp
  .cfi_def_cfa rsp, 8
  ret
  .cfi_endproc
.size ek_call_on_stack, .-ek_call_on_stack
)");

extern "C" {
void ek_call_on_stack(void* sp, void** left, void (*f)(void*), void* argument);
__thread erlking::gc::Thread* ek_gc_thread __attribute__((tls_model("initial-exec"))) = nullptr;
}

namespace erlking::gc {

void call_on_stack(void* sp, void** left, void (*f)(void*), void* argument) noexcept {
  ek_call_on_stack(sp, left, f, argument);
}

}  // namespace erlking::gc
