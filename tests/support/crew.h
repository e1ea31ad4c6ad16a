// A scheduler with tasks of its own and nothing above it: what tests of sched and of its back ends run on.
//
//   Crew   a Scheduler, its stacks, its clock, and the jobs it runs
//   Job    a task that runs a function; it waits in await(), and make_ready() ends that wait
//   Tally  counts up anywhere, and lets the test's thread wait for a number
//
//   Crew crew({.scheduler = {.policy = "steal", .workers = 2}});
//   Tally tally;
//   Job& job = crew.add([&](Job& self) { self.await(); tally.add(); });
//   crew.start(job);
//   job.make_ready();
//   EXPECT_TRUE(tally.reach(1));
//
// Waits give up after kPatience, so that what was lost fails a test instead of hanging it.
#pragma once

#include "base/clock.h"
#include "sched/sched.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <sched.h>
#include <stdexcept>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace erlking::testing {

/// How long a test waits, in real time, for what must come.
inline constexpr auto kPatience = std::chrono::seconds(60);

/// Looks until `done`, without leaving the running task; false: not within half of kPatience, so that a task gives up
/// before who waits for its end. Lets other threads have the CPU.
template <class Done>
bool hog_until(Done&& done) {
  const base::Nanos until = base::monotonic_now() + base::to_nanos(kPatience) / 2;
  while (!done()) {
    if (base::monotonic_now() > until) return false;
    ::sched_yield();
  }
  return true;
}

/// Any thread; never suspends a task.
class Tally {
 public:
  void add() {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  std::uint64_t count() const {
    const std::lock_guard lock(mutex_);
    return count_;
  }
  /// Blocks this thread until `n` have been counted; false: not within kPatience.
  bool reach(std::uint64_t n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return count_ >= n; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t count_ = 0;
};

class Crew;

class Job final : public sched::Task {
 public:
  using Body = std::function<void(Job&)>;

  Job(Crew& crew, Body body) : crew_(crew), body_(std::move(body)) {}

  // --- the running job ---

  /// Waits until make_ready(), or uses up one that has come already.
  void await() {
    check_out();
    int none = kNone;
    if (state_.compare_exchange_strong(none, kWaiting)) {
      worker->suspend(*this);
    } else {
      state_.store(kNone);
    }
    check_in();
  }
  void yield() {
    check_out();
    readied_.fetch_add(1);
    worker->yield(*this);
    check_in();
  }
  /// Awaits a timer of the worker's wheel, armed by `arm(wheel, node)`.
  template <class Arm>
  void await_timer(Arm&& arm) {
    timer_.target = reinterpret_cast<std::uintptr_t>(this);
    arm(worker->wheel(), timer_);
    await();
  }

  /// A stackless job: this was its last activation.
  void finish() noexcept { finished_ = true; }

  // --- any thread ---

  /// Ends its wait, or the next one if it does not wait now. False: that was owed already.
  bool make_ready();
  /// Times it began or went on.
  std::uint64_t runs() const noexcept { return runs_.load(); }
  /// Times somebody won the right to make it run.
  std::uint64_t readied() const noexcept { return readied_.load(); }

 private:
  friend class Crew;
  friend class CrewWorker;
  enum : int { kNone, kWaiting, kOwed };

  void check_in() {
    EXPECT_FALSE(running_.exchange(true)) << "two workers run one task";
    EXPECT_EQ(sched::current(), this);
    runs_.fetch_add(1);
  }
  void check_out() { running_.store(false); }
  static void main(void* argument);

  Crew& crew_;
  Body body_;
  std::atomic<int> state_{kNone};
  bool finished_ = false;
  std::atomic<bool> running_{false};
  std::atomic<std::uint64_t> runs_{0}, readied_{0};
  sched::TimerNode timer_;
};

class CrewWorker final : public sched::Worker {
 public:
  CrewWorker(Crew& crew, sched::Scheduler& scheduler, sched::Policy& policy, std::uint16_t index);

 private:
  sched::Fired fire(sched::TimerNode& node) noexcept override;
  void reap(sched::Task& task) noexcept override;
  void discard(sched::TimerNode&) noexcept override {}
  sched::Worker& serve(sched::Task& task) noexcept override;
  void give_up(sched::Task& task) noexcept override;

  Crew& crew_;
};

struct CrewOptions {
  sched::SchedulerOptions scheduler;
  base::Clock::Kind clock = base::Clock::Kind::real;
};

class Crew {
 public:
  explicit Crew(const CrewOptions& options)
      : clock(options.clock),
        scheduler_(sched::Scheduler::make(options.scheduler, [this](sched::Scheduler& scheduler, sched::Policy& policy,
                                                                    std::uint16_t index) {
                     return std::make_unique<CrewWorker>(*this, scheduler, policy, index);
                   }).value()) {
    if (!scheduler_->start()) throw std::runtime_error("no threads");
  }
  ~Crew() {
    scheduler_->stop();
    for (const auto& job : jobs_) release(*job);  // those a failing test has lost
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  sched::Scheduler& scheduler() noexcept { return *scheduler_; }
  sched::Policy& policy() noexcept { return scheduler_->policy(); }

  /// A job that has not begun; `pin`: on that worker only. Any thread.
  Job& add(Job::Body body, std::uint16_t pin = sched::kNoWorker) {
    auto made = std::make_unique<Job>(*this, std::move(body));
    Job& job = *made;
    job.pin = pin;
    sched::Stack stack;
    EXPECT_EQ(pool_.take(kStackClass, {&stack, 1}), 1u);
    job.set_stack(stack, kStackClass);
    job.sp.store(sched::prepare_stack(stack.top, &Job::main),
                 std::memory_order_relaxed);  // relaxed: nobody knows it yet
#if defined(__SANITIZE_THREAD__)
    sched::tsan_take_fiber(job.fiber);
#endif
#if defined(__SANITIZE_ADDRESS__)
    job.fiber.bottom = stack.low;
    job.fiber.size = stack.size();
#endif
    EXPECT_TRUE(policy().admit(job));
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(made));
    return job;
  }
  /// A stackless job: `body` is run anew each time it is made ready, until it says finish(). It idles until then.
  Job& add_stackless(Job::Body body, std::uint16_t pin = sched::kNoWorker) {
    auto made = std::make_unique<Job>(*this, std::move(body));
    Job& job = *made;
    job.pin = pin;
    job.stack_class = kStackClass;
    job.state_.store(Job::kWaiting);
    job.sp.store(sched::kStackless);
    EXPECT_TRUE(policy().admit(job));
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(made));
    return job;
  }
  /// Lets a job begin, once. From a job: next in line on its worker.
  void start(Job& job) {
    job.readied_.fetch_add(1);
    dispatch(job);
  }
  Job& start(Job::Body body, std::uint16_t pin = sched::kNoWorker) {
    Job& job = add(std::move(body), pin);
    start(job);
    return job;
  }
  /// From a job: lets another begin, at the end of its worker's line.
  void enqueue(Job& job) {
    job.readied_.fetch_add(1);
    job.note_ready();
    sched::current()->worker->enqueue(job);
  }
  /// From a job: lets another begin, as one just born.
  void bear(Job& job) {
    job.readied_.fetch_add(1);
    job.note_ready();
    sched::current()->worker->bear(job);
  }

  /// Counts the jobs that have ended and left their stacks.
  Tally ended;
  base::Clock clock;

 private:
  friend class Job;
  friend class CrewWorker;
  // Frames of an instrumented build, and of a failing EXPECT, are large.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  static constexpr unsigned kStackClass = sched::stack_class(256 * 1024);
#else
  static constexpr unsigned kStackClass = sched::stack_class(64 * 1024);
#endif

  void dispatch(Job& job) {
    job.note_ready();
    sched::Task* const self = sched::current();
    if (self != nullptr && &static_cast<Job*>(self)->crew_ == this) {
      self->worker->ready(job);
    } else {
      policy().submit(job);
    }
  }
  static void release([[maybe_unused]] Job& job) {
#if defined(__SANITIZE_THREAD__)
    sched::tsan_give_fiber(job.fiber);
#endif
  }

  sched::StackPool pool_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Job>> jobs_;
  std::unique_ptr<sched::Scheduler> scheduler_;
};

inline bool Job::make_ready() {
  for (int state = state_.load();;) {
    if (state == kOwed) return false;
    if (state_.compare_exchange_weak(state, state == kWaiting ? kNone : kOwed)) {
      readied_.fetch_add(1);
      if (state == kWaiting) crew_.dispatch(*this);
      return true;
    }
  }
}

inline void Job::main(void* argument) {
  Job& self = *static_cast<Job*>(static_cast<sched::Task*>(argument));
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  self.check_in();
  self.body_(self);
  self.check_out();
  self.worker->retire(self);
}

inline CrewWorker::CrewWorker(Crew& crew, sched::Scheduler& scheduler, sched::Policy& policy, std::uint16_t index)
    : sched::Worker(scheduler, policy, crew.clock, index, crew.pool_), crew_(crew) {}

inline sched::Fired CrewWorker::fire(sched::TimerNode& node) noexcept {
  Job& job = *reinterpret_cast<Job*>(node.target);
  int waiting = Job::kWaiting;
  if (!job.state_.compare_exchange_strong(waiting, Job::kNone))
    return sched::Fired::again;  // between arming and waiting
  job.readied_.fetch_add(1);
  job.note_ready();
  enqueue(job);
  return sched::Fired::done;
}

inline sched::Worker& CrewWorker::serve(sched::Task& task) noexcept {
  Job& job = static_cast<Job&>(task);
  job.check_in();
  job.body_(job);
  job.check_out();
  sched::Worker& worker = *job.worker;  // it may have waited
  if (job.finished_) {
    worker.bury(job);
    return worker;
  }
  job.stack_low = nullptr;
  int none = Job::kNone;
  if (!job.state_.compare_exchange_strong(none, Job::kWaiting)) {
    job.state_.store(Job::kNone);
    worker.requeue(job);
  }
  job.sp.store(sched::kStackless, std::memory_order_release);
  return worker;
}

inline void CrewWorker::give_up(sched::Task& task) noexcept { bury(task); }

inline void CrewWorker::reap(sched::Task& task) noexcept {
  Job& job = static_cast<Job&>(task);
  Crew::release(job);
  policy().retire(job);
  if (job.stack_low != nullptr) stacks().give_class(job.stack(), Crew::kStackClass);
  job.stack_low = nullptr;
  crew_.ended.add();
}

}  // namespace erlking::testing
