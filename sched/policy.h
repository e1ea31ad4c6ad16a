// The seam of the scheduler: what a Worker asks when its own queues do not decide. A back end is this class and one row
// in scheduler.cc's table; what else one needs says CONTRIBUTING.md.
// Never asked per message: on an empty queue, at a tick, for a task readied from outside, at birth and death.
#pragma once

#include "base/clock.h"

#include <string_view>

namespace erlking::sched {

class Task;
class Worker;

class Policy {
 public:
  virtual ~Policy() = default;

  /// What Options and the command line call it.
  virtual std::string_view name() const noexcept = 0;

  /// 0: tasks share the workers asked for, and may be pinned to one of them. Else each has a worker of its own, which
  /// admit() pins it to, made as tasks come; so many can live at once.
  virtual unsigned max_tasks() const noexcept { return 0; }

  /// A task is born: gives it a place to run. False: the policy has no place left (system_limit).
  virtual bool admit(Task&) noexcept { return true; }
  /// A task is gone; the counterpart of admit(). Any thread: its last worker's, or whose spawn of it failed.
  virtual void retire(Task&) noexcept {}

  /// Any thread but the worker that should run it: makes `task` runnable and sees to it that somebody awake notices.
  virtual void submit(Task& task) noexcept = 0;

  /// `worker` has nothing to run: finds it a task, waiting as long as need be. Null: the scheduler is stopping.
  virtual Task* search(Worker& worker) noexcept = 0;

  /// `worker`, one of those asked for, has announced its sleep and seen nothing that forbids it. False: it must look
  /// around once more, in search().
  virtual bool may_lie_down(const Worker&) noexcept { return true; }

  /// `worker` is between two tasks, at most 64 dispatches or about 20 µs of short ones after its last tick.
  virtual void tick(Worker& worker, base::Nanos now) noexcept = 0;

  /// Any thread: every sleeper looks at its timers and at the stop flag again.
  virtual void wake_all() noexcept = 0;
};

}  // namespace erlking::sched
