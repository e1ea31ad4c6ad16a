// The door of the scheduler; other layers include only this.
//
//   Scheduler   workers, their threads and a policy, built from options
//   Worker      what a running task asks: ready, suspend, yield, its timer wheel and its stacks
//   Task        what runs: a suspended stack
//   Flight      the last events of a worker
//   Inbox       where other threads put what one is to do, and how they end its sleep
//   Poller      what a worker waits at beside its inbox and its wheel: the seam that io fills
//   Thread      one beside the workers
//   current()   the task running on this thread
#pragma once

#include "sched/context.h"    // IWYU pragma: export
#include "sched/cpus.h"       // IWYU pragma: export
#include "sched/fiber.h"      // IWYU pragma: export
#include "sched/flight.h"     // IWYU pragma: export
#include "sched/hand_over.h"  // IWYU pragma: export
#include "sched/inbox.h"      // IWYU pragma: export
#include "sched/poller.h"     // IWYU pragma: export
#include "sched/scheduler.h"  // IWYU pragma: export
#include "sched/task.h"       // IWYU pragma: export
#include "sched/thread.h"     // IWYU pragma: export
#include "sched/worker.h"     // IWYU pragma: export
