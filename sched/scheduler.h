// Scheduler: the workers, their threads and the policy that serves them; built from options, owned by a Runtime.
// start() once, stop() once; everything else from any thread in between.
#pragma once

#include "base/clock.h"
#include "sched/policy.h"
#include "sched/worker.h"

#include <atomic>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace erlking::sched {

struct SchedulerOptions {
  std::string_view policy = "steal";  ///< a name of policy_names()
  unsigned workers = 0;               ///< 1 to 1,024; 0: usable_cpus()
  bool affinity = false;              ///< bind worker k to the k-th CPU allowed
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

  /// Starts a thread per worker. False: the system gives no thread (nothing is left running).
  bool start() noexcept;
  /// Lets the workers end once they have nothing to run, and waits for them.
  void stop() noexcept;
  /// Gives workers up that do not end: their threads go on, so everything they use must be left in place.
  void abandon() noexcept;
  bool stopping() const noexcept { return stopping_.load(base::seq_cst); }

  Policy& policy() noexcept { return *policy_; }
  unsigned size() const noexcept { return static_cast<unsigned>(workers_.size()); }
  Worker& worker(unsigned index) noexcept { return *workers_[index]; }
  const Worker& worker(unsigned index) const noexcept { return *workers_[index]; }

  /// Whether every worker sleeps with nothing in its inbox. A snapshot, exact if nothing outside makes tasks runnable
  /// meanwhile and true timers do not run (a manual clock).
  bool idle() const noexcept;
  /// The earliest instant a sleeping worker waits for; kForever if none. Exact only while idle().
  base::Nanos next_timer() const noexcept;

 private:
  Scheduler() = default;

  std::atomic<bool> stopping_{false};
  std::unique_ptr<Policy> policy_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::thread> threads_;
  bool affinity_ = false;
};

/// The schedulers there are, the default first.
std::vector<std::string_view> policy_names();

/// Back ends (policy_*.cc): one function each, a row each in scheduler.cc.
std::unique_ptr<Policy> make_steal_policy(Scheduler& scheduler);

}  // namespace erlking::sched
