// Loop: a stack on which a worker runs stackless tasks, one after another, as plain calls (X5 in task.h). A worker has
// at most one at rest for each class of stacks; the one it runs is nobody's but its own.
//
//   Y1  A task that waits while a loop runs it keeps that loop's stack, and suspends and resumes like any other; its
//       worker takes or makes another loop for the next stackless task.
//   Y2  When that task is done its loop stays with the worker it is on then, unless that one has a loop at rest
//       already: then the loop ends.
//   Y3  A loop at rest is its worker's alone; the stack of one that ends is still in use until the switch away, and
//       given back on the scheduler's stack.
// So stackless tasks that do not wait cost no switch between them, and a million idle ones no stack.
#pragma once

#include "sched/stack.h"
#include "sched/task.h"

#include <atomic>

namespace erlking::sched {

struct alignas(16) Loop {
  std::atomic<void*> sp{nullptr};
  Stack stack;
  std::uint8_t stack_class = 0;
  Worker* worker = nullptr;  // who made it, until it has begun
  [[no_unique_address]] FiberHandles fiber;
};

}  // namespace erlking::sched
