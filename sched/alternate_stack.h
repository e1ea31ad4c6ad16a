// AlternateStack: where those of a thread's signal handlers run that ask for it (SA_ONSTACK). A worker needs one: its
// stack is a process's, of a few KiB, and may be the very thing that has overflowed.
#pragma once

#include <csignal>
#include <cstddef>

namespace erlking::sched {

/// Memory for one, with a guard below it; taken when a thread first wants it, and kept until this object ends: for
/// whichever thread comes next. One thread at a time.
class AlternateStack {
 public:
  AlternateStack() noexcept = default;
  ~AlternateStack();
  AlternateStack(const AlternateStack&) = delete;
  AlternateStack& operator=(const AlternateStack&) = delete;

  /// The calling thread's from here to its end; then what the thread had before is its own again. For want of memory
  /// the thread goes without.
  class Use {
   public:
    explicit Use(AlternateStack& stack) noexcept;
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

    bool is_there() const noexcept { return is_there_; }

   private:
    stack_t before_{};
    bool is_there_ = false;
  };

 private:
  bool map() noexcept;

  void* memory_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace erlking::sched
