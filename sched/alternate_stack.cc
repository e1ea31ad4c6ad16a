#include "sched/alternate_stack.h"

#include "sched/stack.h"

#include <algorithm>
#include <sys/auxv.h>
#include <sys/mman.h>

namespace erlking::sched {

namespace {

// For a handler that walks a stack (a backtrace took 3 KiB), beside what the kernel puts there: with AVX-512 3.5 KiB,
// with AMX 11. Of address space: memory is committed as it is touched.
constexpr std::size_t kForHandlers = 64 * 1024;

}  // namespace

bool AlternateStack::map() noexcept {
  if (memory_ != nullptr) return true;
  const std::size_t frame = std::max<std::size_t>(getauxval(AT_MINSIGSTKSZ), 2048);
  bytes_ = kStackGuard + kForHandlers + (frame + kStackGuard - 1) / kStackGuard * kStackGuard;
  void* const memory =
      mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) return false;
  mprotect(memory, kStackGuard, PROT_NONE);  // if it fails, without
  memory_ = memory;
  return true;
}

AlternateStack::~AlternateStack() {
  if (memory_ != nullptr) munmap(memory_, bytes_);
}

AlternateStack::Use::Use(AlternateStack& stack) noexcept {
  if (!stack.map()) return;
  stack_t here{};
  here.ss_sp = static_cast<std::byte*>(stack.memory_) + kStackGuard;
  here.ss_size = stack.bytes_ - kStackGuard;
  is_there_ = sigaltstack(&here, &before_) == 0;
}

AlternateStack::Use::~Use() {
  if (is_there_) sigaltstack(&before_, nullptr);
}

}  // namespace erlking::sched
