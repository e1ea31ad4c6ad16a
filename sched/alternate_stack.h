// AlternateStack: where those of this thread's signal handlers run that ask for it (SA_ONSTACK). A worker needs one:
// its stack is a process's, of a few KiB, and may be the very thing that has overflowed.
#pragma once

#include <csignal>
#include <cstddef>

namespace erlking::sched {

/// The calling thread's, from here to its end; what the thread had before is its own again then. There is a guard below
/// it. Without memory for one the thread goes without: is_there() says so.
class AlternateStack {
 public:
  AlternateStack() noexcept;
  ~AlternateStack();
  AlternateStack(const AlternateStack&) = delete;
  AlternateStack& operator=(const AlternateStack&) = delete;

  bool is_there() const noexcept { return memory_ != nullptr; }

 private:
  void* memory_ = nullptr;
  std::size_t bytes_ = 0;
  stack_t before_{};
};

}  // namespace erlking::sched
