// `threads`: every task has a worker of its own, and with it a thread of the system's; it may block that thread, and a
// debugger shows it. The system shares the CPUs out (README.md).
//
//   H1  A worker is free, or has one task, which admit() pins to it: so all that makes the task ready goes through
//       submit() to this worker's inbox (Worker::ready, enqueue), and nothing is ever taken from it.
//   H2  A free worker is in warm_, and its thread sleeps in search() or is on its way there; or in cold_, its thread
//       has ended or is about to, with nothing more to do but be joined. Of the warm, kWarm stay: each looks, when it
//       comes to be free and whenever it is woken, whether it is one too many. One that still has timers stays.
//   H3  admit() prefers a warm worker, the last to become free; then the cold one that ended first; then a new one.
//       retire() comes while the worker still clears up after its task: who is admitted next waits in its inbox.
// A free worker keeps nothing for tasks to come: two thousand caches would hold what the others are refused.
#include "base/clock.h"
#include "base/mutex.h"
#include "sched/scheduler.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <sched.h>
#include <vector>

namespace erlking::sched {

using base::Nanos;
using base::relaxed;

namespace {

// Threads kept for tasks to come: a new one costs ten times what waking one does.
constexpr std::size_t kWarm = 64;

class ThreadsPolicy final : public Policy {
 public:
  explicit ThreadsPolicy(Scheduler& scheduler)
      : scheduler_(scheduler), free_(new std::atomic<bool>[scheduler.capacity()]()) {
    warm_.reserve(scheduler.capacity());  // so that nothing here allocates later
    cold_.reserve(scheduler.capacity());
  }

  std::string_view name() const noexcept override { return "threads"; }
  unsigned max_tasks() const noexcept override { return kMaxThreads; }

  bool admit(Task& task) noexcept override {
    const base::MutexLock lock(mutex_);
    Worker* const worker = take_free();
    if (worker == nullptr) return false;
    free_[worker->index()].store(false, relaxed);  // relaxed, here and below: the mutex, or the task's way, orders it
    task.pin = worker->index();
    return true;
  }

  void retire(Task& task) noexcept override {
    Worker& worker = scheduler_.worker(task.pin);
    {
      const base::MutexLock lock(mutex_);
      warm_.push_back(worker.index());
      free_[worker.index()].store(true, relaxed);
    }
    worker.wake();  // if the task never ran; H2
  }

  void submit(Task& task) noexcept override { scheduler_.worker(task.pin).post(task); }

  Task* search(Worker& worker) noexcept override {
    for (;;) {
      const Nanos now = base::monotonic_now();
      if (Task* task = worker.poll(now)) return task;
      if (scheduler_.stopping()) return worker.poll(now);  // what came before the stop still runs
      if (free_[worker.index()].load(relaxed)) {
        worker.release_caches();
        if (grows_cold(worker)) return nullptr;
      }
      const Nanos timeout = worker.time_to_timer(now);
      if (timeout > 0) worker.sleep(timeout);
    }
  }

  // One that only yields waits for another thread, perhaps on this CPU.
  void tick(Worker&, Nanos) noexcept override { ::sched_yield(); }

  void wake_all() noexcept override {
    for (unsigned i = 0; i < scheduler_.size(); ++i) scheduler_.worker(i).wake();
  }

 private:
  // H3; null: there are too many, or the system gives no thread.
  Worker* take_free() noexcept EK_REQUIRES(mutex_) {
    if (scheduler_.stopping()) return nullptr;
    if (!warm_.empty()) {
      Worker& worker = scheduler_.worker(warm_.back());
      warm_.pop_back();
      return &worker;
    }
    Worker* worker = nullptr;
    if (cold_.empty()) {
      worker = scheduler_.add_worker();
      if (worker == nullptr) return nullptr;
    } else {
      worker = &scheduler_.worker(cold_.front());
      cold_.erase(cold_.begin());
    }
    if (scheduler_.start_thread(*worker)) return worker;
    cold_.push_back(worker->index());
    return nullptr;
  }

  // H2: whether the thread of `worker`, which asks, is to end.
  bool grows_cold(Worker& worker) noexcept {
    if (!worker.wheel().empty()) return false;
    const base::MutexLock lock(mutex_);
    if (warm_.size() <= kWarm) return false;
    const auto at = std::find(warm_.rbegin(), warm_.rend(), worker.index());
    if (at == warm_.rend()) return false;  // it has a task again
    warm_.erase(std::next(at).base());
    cold_.push_back(worker.index());
    return true;
  }

  Scheduler& scheduler_;
  const std::unique_ptr<std::atomic<bool>[]> free_;  // by worker; changed under mutex_
  base::Mutex mutex_;
  std::vector<std::uint16_t> warm_ EK_GUARDED_BY(mutex_), cold_ EK_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<Policy> make_threads_policy(Scheduler& scheduler) { return std::make_unique<ThreadsPolicy>(scheduler); }

}  // namespace erlking::sched
