#include "sched/context.h"

// A fresh stack: [entry stub][function], read from its stack pointer upwards. The stub has no caller: rip is undefined
// there, so unwinders and backtraces end at it.
asm(R"(
.text
.p2align 4
.type ek_stack_entry, @function
ek_stack_entry:
  .cfi_startproc
  .cfi_undefined rip
  .cfi_undefined rbp
  xorl %ebp, %ebp
  popq %rax
  callq *%rax
  ud2
  .cfi_endproc
.size ek_stack_entry, .-ek_stack_entry
)");

extern "C" void ek_stack_entry();

namespace erlking::sched {

void* prepare_stack(std::byte* top, Entry entry) noexcept {
  // At `callq` rsp must be 16-byte aligned: two words are popped before it.
  auto* words = reinterpret_cast<void**>(top);
  *--words = nullptr;
  *--words = nullptr;
  *--words = reinterpret_cast<void*>(entry);
  *--words = reinterpret_cast<void*>(&ek_stack_entry);
  return words;
}

}  // namespace erlking::sched
