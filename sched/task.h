// Task: what a worker runs — a suspended stack, the worker it belongs to, and the link that holds it in a queue. The
// runtime's Process is a Task with a mailbox. A task is running, in exactly one queue, or waiting for whoever won the
// right to make it ready (the mailbox's W bit, a ticket's ARMED).
//
//   X1  sp is null while the task runs; the last store of a switch away is sp (release) [task-sp]; a resumer reads it
//       non-null (acquire), sets it null and owns the stack.
//   X2  A worker whose next task has a null sp (its last worker has not finished leaving it) leaves its own stack
//       first and waits on the scheduler's: waiting in place could wait for itself around a ring of workers.
//   X3  Picking oneself returns without a switch.
//   X4  It is made runnable once per wait, by one winner, and taken up once: asserted in debug builds.
//   X5  A stackless task has no stack of its own. While it does not run its sp is kStackless, unless it waits on the
//       stack of the loop that ran it (loop.h): then it is a task like any other, until it is idle again.
#pragma once

#include "base/assert.h"
#include "base/atomic.h"
#include "sched/stack.h"

#include <atomic>
#include <cstdint>

namespace erlking::sched {

class Worker;

/// No worker: a task never run (home), or one that may run anywhere (pin).
inline constexpr std::uint16_t kNoWorker = 0xffff;

/// The sp of a stackless task at rest (X5).
inline void* const kStackless = reinterpret_cast<void*>(1);
/// Whether a task with that sp is to be continued on its own stack: neither being left (null) nor stackless.
inline bool is_stack(const void* sp) noexcept { return reinterpret_cast<std::uintptr_t>(sp) > 1; }

/// What __cxa_get_globals() points at (Itanium C++ ABI §2.2.2): exceptions being handled belong to the task, not to
/// the thread, so they stay on its stack while it is away.
struct ExceptionState {
  void* caught = nullptr;
  unsigned int uncaught = 0;
  bool empty() const noexcept { return caught == nullptr && uncaught == 0; }
};

/// What the sanitizers need to know of a stack; empty in other builds.
struct FiberHandles {
#if defined(__SANITIZE_THREAD__)
  void* tsan = nullptr;
  unsigned tsan_uses = 0;  // tasks it has been (fiber.h)
#endif
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  const void* bottom = nullptr;
  std::size_t size = 0;
#endif
};

class Task {
 public:
  Task() noexcept = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  // --- the running worker's ---
  Worker* worker = nullptr;        // who runs it now, or ran it last
  std::byte* stack_low = nullptr;  // of its stack, or its loop's while that runs it (X5); null: none
  [[no_unique_address]] FiberHandles fiber;
  /// Whoever won the right to make it runnable, as they do; and the worker that takes it up.
  void note_ready() noexcept { note_queued(true); }
  void note_taken() noexcept { note_queued(false); }

  Stack stack() const noexcept {
    return stack_low == nullptr ? Stack{} : stack_at(stack_low - kStackGuard, stack_class);
  }
  void set_stack(const Stack& stack, unsigned cls) noexcept {
    stack_class = static_cast<std::uint8_t>(cls);
    std::atomic_signal_fence(std::memory_order_release);  // who finds this thread stopped here must find them agree
    stack_low = stack.low;
  }

  // --- what others touch who make it runnable (on one line: the derived class sees to it) ---
  std::atomic<void*> sp{nullptr};              // X1
  Task* link = nullptr;                        // whoever holds it in a queue
  std::atomic<std::uint16_t> home{kNoWorker};  // the worker that ran it last: where its lines are
  std::uint16_t pin = kNoWorker;               // constant while it lives
  std::uint8_t stack_class = 0;                // of its stack, or its loop's
#if EK_DEBUG
  std::atomic<bool> queued{false};  // X4; in what would be padding
#endif

 private:
  void note_queued([[maybe_unused]] bool now) noexcept {
#if EK_DEBUG
    EK_CHECK(queued.exchange(now, base::relaxed) != now);  // relaxed: the queues publish
#endif
  }
};

extern "C" {
// One thread-local word: the task running on this thread, null outside tasks. Written by Worker, read by current().
extern __thread Task* ek_current_task __attribute__((tls_model("initial-exec")));
}

/// The task running on this thread; null on a thread that runs none. The volatile load is never merged with one made
/// before a switch, which may have been on another thread (g++ reuses thread-local addresses: C3).
[[gnu::always_inline]] inline Task* current() noexcept {
  Task* task;
  asm volatile(
      "movq ek_current_task@gottpoff(%%rip), %0\n\t"
      "movq %%fs:(%0), %0"
      : "=r"(task));
  return task;
}

}  // namespace erlking::sched
