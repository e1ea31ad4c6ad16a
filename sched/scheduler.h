// Scheduler: the workers, their threads and the policy that serves them; built from options, owned by a Runtime.
// start() once, stop() once; everything else from any thread in between. Workers are never taken away: who has seen
// size() may ask for all below it for as long as the scheduler lives. A policy whose workers come and go with tasks
// leaves them in place without a thread.
#pragma once

#include "base/clock.h"
#include "base/mutex.h"
#include "sched/alternate_stack.h"
#include "sched/hand_over.h"
#include "sched/policy.h"
#include "sched/worker.h"

#include <atomic>
#include <csignal>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <pthread.h>
#include <string>
#include <string_view>
#include <vector>

namespace erlking::sched {

struct SchedulerOptions {
  std::string_view policy = "steal";  ///< a name of policy_names()
  unsigned workers = 0;               ///< 1 to 1,024; 0: usable_cpus(); not for policies with Policy::max_tasks()
  /// Beyond them, for threads that do not switch (hand_over.h), at most kMaxSpareWorkers; not for policies
  /// with Policy::max_tasks()
  unsigned spares = 0;
  bool affinity = false;  ///< bind worker k to the k-th CPU allowed, beginning anew after the last
};

class Scheduler {
 public:
  /// Builds one worker: the runtime's own kind, which knows how to fire timers and reap tasks.
  using MakeWorker = std::function<std::unique_ptr<Worker>(Scheduler&, Policy&, std::uint16_t index)>;

  /// An unknown policy or a worker count out of range is answered with a sentence saying what is allowed.
  static std::expected<std::unique_ptr<Scheduler>, std::string> make(const SchedulerOptions& options,
                                                                     const MakeWorker& make_worker);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// Starts a thread per worker there is. False: the system gives no thread (nothing is left running).
  bool start() noexcept;
  /// Lets the workers end once they have nothing to run, and waits for them.
  void stop() noexcept;
  /// Gives workers up that do not end: their threads go on, so everything they use must be left in place.
  void abandon() noexcept;
  bool stopping() const noexcept { return stopping_.load(base::seq_cst); }

  Policy& policy() noexcept { return *policy_; }
  /// Workers there are now; never fewer later.
  unsigned size() const noexcept { return size_.load(base::acquire); }  // [scheduler-size]
  /// One below size().
  Worker& worker(unsigned index) noexcept { return *workers_[index]; }
  const Worker& worker(unsigned index) const noexcept { return *workers_[index]; }
  /// The most workers there can ever be.
  unsigned capacity() const noexcept { return capacity_; }
  /// The workers asked for: a task may be pinned to those below.
  unsigned asked() const noexcept { return asked_; }
  /// Workers from asked() on that are there for hand_over().
  unsigned spares() const noexcept { return spares_; }
  HandOver& hand_over() noexcept { return hand_over_; }
  const HandOver& hand_over() const noexcept { return hand_over_; }
  /// Of the thread that began as that worker's.
  Seat& seat(unsigned index) noexcept { return seats_[index]; }
  /// Gives the calling thread the name and the CPU of `worker`, whose it is now.
  void dress_thread(const Worker& worker) const noexcept;
  /// Gives the next of the spare workers that have none a thread, if there is one. The watcher.
  void start_spare() noexcept;

  // --- for a policy with max_tasks() ---

  /// One more worker, which has no thread yet. Null: capacity() is reached, or no memory left. One caller at a time.
  Worker* add_worker() noexcept;
  /// Gives a thread to a worker that has none, or whose last one is about to end. False: the system gives none, or the
  /// scheduler stops. For each worker, one caller at a time.
  bool start_thread(Worker& worker) noexcept;

  /// Whether every worker sleeps, or has no thread, with nothing in its inbox. Exact for a moment between call and
  /// return, if nothing outside makes tasks runnable meanwhile and true timers do not run (a manual clock).
  bool idle() const noexcept;
  /// The earliest instant a sleeping worker waits for; kForever if none. Exact only while idle().
  base::Nanos next_timer() const noexcept;

 private:
  Scheduler(unsigned asked, unsigned spares, unsigned capacity, const MakeWorker& make_worker);
  Worker& append_worker();
  static void* thread_main(void* worker);
  template <class Release>
  void end_threads(Release&& release) noexcept;

  struct Thread {
    pthread_t handle{};
    bool given = false;               // neither joined nor detached yet
    AlternateStack for_signals = {};  // of each thread that is this worker's, one after the other
  };

  std::atomic<bool> stopping_{false};
  std::atomic<unsigned> size_{0};
  const unsigned asked_, spares_, capacity_;
  unsigned spares_begun_ = 0;  // the watcher's
  const MakeWorker make_worker_;
  std::unique_ptr<Policy> policy_;
  const std::unique_ptr<std::unique_ptr<Worker>[]> workers_;  // capacity_ of them; set up to size_
  base::Mutex threads_mutex_;
  const std::unique_ptr<Thread[]> threads_;  // likewise; under threads_mutex_
  const std::unique_ptr<Seat[]> seats_;      // likewise
  std::vector<int> cpus_;                    // to bind to; empty: none
  sigset_t blocked_;                         // signals, by the thread that made the scheduler
  HandOver hand_over_;
};

/// The schedulers there are, the default first.
std::vector<std::string_view> policy_names();
/// The most workers a scheduler made from `options` can have, for who must provide for them before it is made.
unsigned max_workers(const SchedulerOptions& options) noexcept;

/// Back ends (policy_*.cc): one function each, a row each in scheduler.cc.
std::unique_ptr<Policy> make_steal_policy(Scheduler& scheduler);
std::unique_ptr<Policy> make_threads_policy(Scheduler& scheduler);
/// The most spare workers.
inline constexpr unsigned kMaxSpareWorkers = 64;
/// The most tasks `threads` runs at once.
inline constexpr unsigned kMaxThreads = 2000;

}  // namespace erlking::sched
