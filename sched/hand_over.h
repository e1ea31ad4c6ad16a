// HandOver: what keeps a process that computes on (a hog) from stalling the others of its worker. A watcher looks at
// the workers every 8 ms, or 2 ms while there may be hogs (a worker that is awake has switched little, there was one
// lately); of one that has not switched since the look before, the thread goes on with the process under another, spare
// worker, and a spare thread goes on with the worker: queues, inbox, timers, I/O as they are. Each look takes 20 to 60
// us of a CPU from the workers: one every 2 ms was 3 % of a busy one, and twice the p99 of the bench's sleepers.
//
//   O1  Nothing is claimed or guarded: the thread itself parts with its worker, in a handler of a signal (SIGURG) which
//       the watcher sends it. What it owns nobody touches meanwhile.
//   O2  It parts only at a point of user code: a task is current, on whose stack it is, and has been since the watcher
//       looked; the instruction is the user's, not that of libc, libstdc++, an allocator or the runtime, nor of what
//       the runtime has called for itself (Worker::may_part()); and code of headers, inlined into a process's own, does
//       not touch the worker, its heap or its driver just now (touch.h). So whoever holds a reference to the worker is
//       a frame of the runtime further up that has called user code, and looks anew when that returns (task.worker,
//       thread_worker(), heap()): as after any code of the user's, which may wait and go on elsewhere. An exception is
//       the flight recorder, which loses the order of events it is about to note there.
//   O3  Then the task's worker and the thread's are the spare one. It gets what describes the thread and its stack:
//       scheduler_sp_, fiber_, exceptions_, the thread's id. When the task leaves the thread it lands in its run loop,
//       which looks at thread_worker() at each turn.
//   O4  A spare worker holds no runnable tasks: its section counts as claimed for ever and its until_tick_ is never
//       positive, so that each ready() ends in Policy::submit() and each suspend() in the run loop. There it fires the
//       timers and ends the operations that were begun on it, until it has none; then its thread is offered. The policy
//       knows the workers below Scheduler::asked() alone.
//   O5  An offer is a Seat's word: kOffered -> kReserved by the watcher -> kGiven by the handler [seat]; the release of
//       each orders what was done before it, and with it the whole worker. Asked workers have a thread all the time,
//       and the watcher alone starts an exchange, one at a time, so a thread's id it has read is the right one.
//   O6  The watcher sleeps once all workers have slept for 100 ms; who ends a sleep wakes it. It says it sleeps, then
//       looks at the workers; they say they are awake, then look at it (seq_cst) [watcher-sleep].
// A spare thread does not end before the scheduler does: the kernel cancels operations of a thread that ends, and it
// may have begun some of a worker it was before.
#pragma once

#include "base/atomic.h"
#include "base/clock.h"
#include "sched/thread.h"

#include <atomic>
#include <csignal>
#include <cstdint>
#include <memory>
#include <vector>

namespace erlking::sched {

class Scheduler;
class Task;
class Worker;

/// Where a thread offers itself; one for each.
struct alignas(base::kCacheLine) Seat {
  static constexpr std::uint32_t kTaken = 0, kOffered = 1, kReserved = 2, kGiven = 3;
  std::atomic<std::uint32_t> word{kTaken};  // O5
  Worker* worker = nullptr;                 // offered: the thread's; given: what it gets
};

class HandOver {
 public:
  explicit HandOver(Scheduler& scheduler) noexcept : scheduler_(scheduler) {}
  ~HandOver() { stop(); }
  HandOver(const HandOver&) = delete;
  HandOver& operator=(const HandOver&) = delete;

  /// Begins to watch; the scheduler's workers are made. False: the system gives no thread.
  bool start() noexcept;
  /// Ends that, and the waits of offer(); no hand-over is under way after it. The scheduler stops.
  void stop() noexcept;

  /// Offers the calling thread, whose worker is `spare`. What it is to go on with; null: it stays what it is.
  Worker* offer(Seat& seat, Worker& spare) noexcept;
  /// A worker has ended its sleep (O6).
  void note_awake() noexcept {
    if (asleep_.load(base::seq_cst) != 0) [[unlikely]]  // [watcher-sleep]
      wake();
  }
  /// How many there have been; any thread.
  std::uint64_t count() const noexcept { return count_.load(base::relaxed); }  // relaxed: a statistic

 private:
  // What the watcher remembers of one worker.
  struct Sight {
    std::uint64_t dispatches = ~std::uint64_t{0};
    std::uint64_t sleeps = 0;
    std::int64_t cpu = 0;   // its thread's time
    base::Nanos since = 0;  // it dispatched
    // The handler's last look (touch.h N1).
    const Task* task = nullptr;
    std::uint64_t touches = 0;
    std::int64_t spent = 0;
  };
  enum : std::uint32_t { kNone, kAsked, kBusy, kDone, kRefused };

  static void* watcher_main(void* self) noexcept;
  static void on_signal(int signal, siginfo_t* info, void* context);
  void watch() noexcept;
  bool try_hand_over(Worker& worker, Sight& sight) noexcept;
  Seat* reserve() noexcept;
  bool part(Worker& from, void* context) noexcept;
  void nap(base::Nanos timeout) noexcept;
  void wake() noexcept;

  Scheduler& scheduler_;
  std::vector<Sight> sights_;
  Thread thread_;
  bool installed_ = false;
  std::atomic<std::uint32_t> stopping_{0};
  std::atomic<std::uint32_t> asleep_{0};  // O6
  std::atomic<std::uint64_t> count_{0};
  // The request of the watcher; its fields are the handler's from kAsked on.
  std::atomic<std::uint32_t> request_{kNone};
  Worker* from_ = nullptr;
  Seat* seat_ = nullptr;
  Sight* sight_ = nullptr;
};

}  // namespace erlking::sched
