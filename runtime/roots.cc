#include "runtime/roots.h"

#include "runtime/system.h"

namespace erlking::detail {

// Wherever the other threads were stopped, of a slot this holds: it has a stack from stack_low to its class's end, or
// none (stack_low null; a stackless process at rest says so in sp, its stack_low may be another's). `sp` is where it
// left the stack, or null: it runs there, is about to, or has just been given it, to be filled. At the worst a whole
// stack is scanned for nothing.
void ProcessRoots::visit(gc::RootVisitor& visitor) noexcept {
  for (std::uint32_t i = 1; i < system_.table.used(); ++i) {
    const Process& process = system_.table.slot(i);
    visitor.range(process.small_state, process.small_state + Process::kSmallState);
    if (process.stack_low == nullptr) continue;
    const void* const sp = process.sp.load(base::relaxed);  // relaxed: nobody else runs
    if (sp == sched::kStackless) continue;
    const sched::Stack stack = process.stack();
    visitor.stack(stack.low, stack.top, sp);
  }
}

}  // namespace erlking::detail
