// Worker: the hot half of the scheduler. One thread; runs tasks, switching from one straight to the next.
//
// Where runnable tasks wait, in the order they are taken:
//   slot      the task readied last: the one just sent to runs next, on warm lines (at most 64 times in a row)
//   nursery   up to 32 newborns, newest first (nursery.h); the oldest in one of four turns of those below
//   pinned    tasks that may run only here (owner only)
//   batch     up to 16 tasks grabbed from the ring with one CAS
//   ring      256 places, stealable; then an overflow list
//   inbox     where other threads put tasks; emptied at ticks and when idle, by a thief if the worker does not switch
// A push never wakes a thread: what waits here waits behind a worker that is awake. Only the inbox wakes (L2).
//
//   L1  Slot, nursery, batch and overflow are the owner's inside its section, a thief's while it has claimed it
//       (section.h).
//   L2  The inbox wakes (inbox.h); nothing else does.
//   L3  A retiring task's stack is still in use until the switch away: it is reaped on the scheduler's stack, after.
//   L4  The wheel is the owner's alone; a timer armed here and given up elsewhere comes back by return_timer().
//   L5  A stackless task runs on a loop (loop.h); between two of them there is no switch.
//   L6  It sleeps on its futex, or in its poller if anything waits there; sleeping_in_, stored (release) before the
//       sleep is announced, says which to whoever owes the wake. One that comes late wakes for nothing [sleeping-in].
// Per hop on one worker: two sections (ready, next), one switch; no atomic read-modify-write.
#pragma once

#include "base/atomic.h"
#include "base/clock.h"
#include "sched/context.h"
#include "sched/fiber.h"
#include "sched/flight.h"
#include "sched/inbox.h"
#include "sched/loop.h"
#include "sched/nursery.h"
#include "sched/policy.h"
#include "sched/poller.h"
#include "sched/run_queue.h"
#include "sched/section.h"
#include "sched/stack.h"
#include "sched/task.h"
#include "sched/timer_wheel.h"
#include "sched/touch.h"

#include <atomic>
#include <cstdint>
#include <sys/types.h>
#include <utility>

namespace erlking::sched {

class Scheduler;
class Worker;
struct Seat;

extern "C" {
// The worker of this thread; null: none. Changes within a task only in a signal handler (hand_over.h).
extern __thread erlking::sched::Worker* ek_thread_worker __attribute__((tls_model("initial-exec")));
}
/// The same; never merged with a load before a switch (C3).
[[gnu::always_inline]] inline Worker* thread_worker() noexcept {
  Worker* worker;
  asm volatile(
      "movq ek_thread_worker@gottpoff(%%rip), %0\n\t"
      "movq %%fs:(%0), %0"
      : "=r"(worker));
  return worker;
}

/// Counted by its worker, read by anyone: plain stores, so a reader may see a value a moment old.
struct WorkerStats {
  std::uint64_t dispatches = 0;  ///< tasks switched to
  std::uint64_t steals = 0;      ///< tasks taken from other workers
  std::uint64_t sleeps = 0;      ///< times it lay down to sleep
  std::uint64_t ticks = 0;
};

class alignas(base::kCacheLine) Worker {
 public:
  Worker(Scheduler& scheduler, Policy& policy, const base::Clock& clock, std::uint16_t index,
         StackPool& stacks) noexcept;
  virtual ~Worker() = default;
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // --- owner thread only ---

  /// Makes `task` runnable: next in line here, or sent to the worker it is pinned to. The caller won the right to.
  void ready(Task& task) noexcept;
  /// Makes a newborn task runnable: after whoever is next in line, before what was born here earlier.
  void bear(Task& task) noexcept;
  /// Like ready(), but at the end of the line.
  void enqueue(Task& task) noexcept;
  /// Leaves `self`, the running task, which others can already make ready; returns when they have.
  void suspend(Task& self) noexcept;
  /// Lets every other runnable task go first.
  void yield(Task& self) noexcept;
  /// Leaves the running task's stack for good; reap() is called with it on the scheduler's stack (L3).
  [[noreturn]] void retire(Task& self) noexcept;
  /// What serve() does with a task that is not done yet: makes it runnable at the end of the line.
  void requeue(Task& task) noexcept;
  /// What serve() does with a task that is done for good: reap(), at once, as it has no stack of its own.
  void bury(Task& task) noexcept;

  /// Where the thread's own stack was left for that of the task it runs; what lies below is free meanwhile.
  const std::atomic<void*>& own_stack() const noexcept { return scheduler_sp_; }
  TimerWheel& wheel() noexcept { return wheel_; }
  StackCache& stacks() noexcept { return stacks_; }
  /// Whether it is in the middle of a change of its queues; also for a signal handler of its thread.
  bool in_queues() const noexcept { return section_.inside(); }
  /// Its last events; off until open() is called, before its thread begins. Any thread reads.
  Flight& flight() noexcept { return flight_; }
  const Flight& flight() const noexcept { return flight_; }
  /// What else it waits at from now on; once, and for as long as the worker lives.
  void set_poller(Poller& poller) noexcept { poller_ = &poller; }
  /// Gives back what it keeps for tasks to come; the policy, when none will for some time.
  virtual void release_caches() noexcept;
  /// Counts a touch of another worker's task; the policy's governor weighs them.
  void count_cross() noexcept { ++cross_; }

  // --- any thread ---

  /// Puts `task` into the inbox and wakes the worker if it sleeps. True if it slept.
  bool post(Task& task) noexcept;
  /// Gives back a timer armed on this worker's wheel, which will cancel it and call discard().
  void return_timer(TimerNode& node) noexcept;
  /// Wakes the worker if it sleeps; true if it slept.
  bool wake() noexcept;
  std::uint16_t index() const noexcept { return index_; }
  Scheduler& scheduler() const noexcept { return scheduler_; }
  Policy& policy() const noexcept { return policy_; }
  WorkerStats stats() const noexcept;
  /// When the wheel of a worker that sleeps wants to be advanced; kForever if never.
  base::Nanos next_timer() const noexcept { return next_timer_.load(base::acquire); }  // [next-timer]
  /// Whether it is there to be handed to threads that do not switch (hand_over.h): it holds no tasks.
  bool is_spare() const noexcept { return spare_; }
  /// Runnable tasks here, roughly.
  std::uint32_t load() const noexcept;

  // --- for the policy, owner thread only ---

  /// The next task of its own queues, or null.
  Task* next() noexcept;
  /// Empties the inbox and fires due timers, then next().
  Task* poll(base::Nanos now) noexcept;
  /// Enqueues what the inbox holds, oldest first. False: nothing.
  bool drain_inbox() noexcept;
  /// Fires what is due at `now`.
  void advance_timers(base::Nanos now) noexcept;
  /// Nanoseconds until the wheel wants to be advanced; kForever if never, or if time passes by hand only.
  base::Nanos time_to_timer(base::Nanos now) const noexcept;
  /// Sleeps until post() or wake(), at most `timeout` ns (kForever: no bound), unless something has come meanwhile. A
  /// worker long idle gives some memory of idle stacks back instead (StackPool::tend), and returns.
  void sleep(base::Nanos timeout) noexcept;
  bool asleep() const noexcept { return inbox_.is_asleep(); }
  /// Whether its thread has ended, or it never had one.
  bool stands_by() const noexcept { return standing_by_.load(base::acquire); }  // [standing-by]
  /// Times it lay down to sleep or came to stand by: who does has counted this one already.
  std::uint64_t sleeps() const noexcept { return sleeps_.load(base::relaxed); }  // relaxed: read after the state
  /// Puts the oldest newborn into the ring, where others may take it, unless something is there.
  void expose_oldest() noexcept;
  /// Moves half of `victim`'s ring (at most 16 tasks) here. Returns how many.
  std::uint32_t steal_ring(Worker& victim) noexcept;
  /// Takes what a victim that does not switch holds privately (L1): half its batch, else its slot, else half its
  /// newborns, else of its overflow.
  std::uint32_t steal_private(Worker& victim) noexcept;
  /// Takes what others have put into the inbox of a victim that does not switch, but for what is pinned to it.
  std::uint32_t steal_inbox(Worker& victim) noexcept;
  /// Moves everything movable to `other`'s inbox.
  void move_all_to(Worker& other) noexcept;

  // What a watcher may read of another worker, all hints.
  std::uint64_t dispatches() const noexcept { return dispatches_.load(base::relaxed); }
  /// Grows with each dispatch, each birth and each task that is put into the ring.
  std::uint64_t progress() const noexcept { return dispatches() + ring_.pushed() + nursery_.births(); }
  std::uint32_t ring_size() const noexcept { return ring_.size(); }
  std::uint32_t newborns() const noexcept { return nursery_.size(); }
  bool holds_any() const noexcept {
    return ring_.size() != 0 || slot_.load(base::relaxed) != nullptr || held_.load(base::relaxed) != 0 ||
           !nursery_.empty() || !inbox_.empty();
  }
  bool inbox_empty() const noexcept { return inbox_.empty(); }

  /// Policy's own notes about this worker.
  struct PolicyNotes {
    std::uint32_t cross_seen = 0;
    base::Nanos governed_at = 0;
    base::Nanos active_since = 0;
    std::uint64_t others_dispatched = 0;
    unsigned good_ticks = 0;
    bool spin_on = false;      // what was stolen last makes more likely
    base::Nanos stole_at = 0;  // the first theft since it was idle last; 0: none
    std::uint32_t cross_at_theft = 0;
    const Worker* victim = nullptr;                                         // of that theft
    std::uint64_t dispatched_at_theft = 0, victim_dispatched_at_theft = 0;  // here, and by the victim
    double victim_alone = 0;                                                // dispatches per ns before that
    std::uint32_t stolen = 0;  // tasks since then, of victims that were not stuck
    struct Thefts {
      double worked = 0, crossed = 0;  // ns, by all
      double alone = 0, together = 0;  // dispatches, by those that had to pay
    } thefts;                          // its last ones
    base::Nanos patience = 50'000;     // with a victim that dispatches
    base::Nanos nap = 20'000;          // the keeper's next
  } notes;
  std::uint32_t cross() const noexcept { return cross_; }

 protected:
  /// A timer of this worker's wheel is due. On the scheduler's or the policy's stack.
  virtual Fired fire(TimerNode& node) noexcept = 0;
  /// `task` has left its stack for good.
  virtual void reap(Task& task) noexcept = 0;
  /// Runs a stackless task (L5) until it is idle, done, or others' turn has come; it may wait meanwhile. Last of all it
  /// stores kStackless in the task's sp (release), or buries it. Returns the worker it is on then.
  virtual Worker& serve(Task& task) noexcept = 0;
  /// There is no memory for a stack to serve `task` on: it must end, on the scheduler's stack, without waiting.
  virtual void give_up(Task& task) noexcept = 0;
  /// A timer given back by return_timer(): already cancelled.
  virtual void discard(TimerNode& node) noexcept = 0;
  /// The thread is about to begin and has ended its loop.
  virtual void thread_started() noexcept {}
  virtual void thread_stopping() noexcept {}
  /// The thread sleeps, on its own stack or a task's, while `word` is 1 and nobody wakes it.
  virtual void rest(std::atomic<std::uint32_t>& word, base::Nanos timeout) noexcept;
  /// In a signal handler of its thread, which runs `task` and is at `rip`: whether that is user code, with nothing of
  /// the worker's half done (hand_over.h O2).
  virtual bool may_part(Task&, std::uintptr_t /*rip*/, std::uintptr_t /*rsp*/) noexcept { return false; }
  /// There: changes whenever code inlined into a task's touches something of the worker, on this thread (touch.h).
  virtual std::uint64_t touches(const Task&) const noexcept { return ek_touches; }
  /// There: the spare worker has got `task`, which is to leave it when it can, and has not switched since `since` (real
  /// time). `context`: the handler's.
  virtual void took(Task&, base::Nanos /*since*/, void* /*context*/) noexcept {}
  /// A spare worker's, while it has that task: the watcher, at each look.
  virtual void watched() noexcept {}
  /// The task has left it.
  virtual void left() noexcept {}

 private:
  friend class Scheduler;
  friend class HandOver;
  using Queue = RunQueue<base::Real, Task, 256>;
  static constexpr std::uint32_t kStreak = 64;
  static constexpr std::int32_t kTickMax = 64;

  void run(Seat& seat) noexcept;  // the thread's body
  void arrive() noexcept;         // the calling thread is its thread now
  bool turn() noexcept;
  bool attend(Seat& seat) noexcept;
  void stand_by() noexcept;  // there is no thread, or not for long
  void tick() noexcept;
  void leave(Task& self, Task* next) noexcept;
  void begin(Task& task) noexcept;
  // Where to go on when that is not `next`'s own stack, seen with `sp`.
  struct Place {
    void* sp;
    FiberHandles* fiber;
  };
  Place elsewhere(Task* next, void* sp) noexcept;
  static void run_loop(void* loop) noexcept;
  Task* rest(Loop& loop, Task* next) noexcept;
  Loop* take_loop(unsigned cls) noexcept;
  void end_loop(Loop& loop) noexcept;
  void end_resting_loops() noexcept;
  void push(Task& task) noexcept;
  Task* next_in_line() noexcept;
  Task* next_beside_thief() noexcept;
  Task* take_pinned() noexcept;
  void refill_from_overflow() noexcept;
  void dispatch(Task& task) noexcept;
  bool scheduler_stopping() const noexcept;
  base::Nanos tend_stacks() noexcept;
  void drain_returned_timers() noexcept;
  void poll_if_active() noexcept;
  void note_stolen(const Worker& victim, std::uint32_t n) noexcept;
  void end_sleep() noexcept;

  // --- owner writes, thieves look ---
  std::atomic<std::uint64_t> dispatches_{0};
  std::atomic<std::uint32_t> held_{0};  // batch and overflow together, a hint
  std::atomic<Task*> slot_{nullptr};    // L1
  // --- owner only ---
  Flight flight_;
  std::uint32_t streak_ = 0;
  std::int32_t until_tick_ = 1;
  std::int32_t tick_interval_ = kTickMax;
  std::uint32_t cross_ = 0;
  Task* pending_ = nullptr;               // chosen, but its stack was not yet left (X2)
  Task* dead_ = nullptr;                  // L3
  Loop* dead_loop_ = nullptr;             // Y3
  Task* to_serve_ = nullptr;              // by the loop that is switched to
  Loop* loops_[kStackClasses] = {};       // at rest (Y3)
  ExceptionState* exceptions_ = nullptr;  // this thread's __cxa_get_globals()
  std::atomic<void*> scheduler_sp_{nullptr};
  [[no_unique_address]] FiberHandles fiber_;
  Nursery nursery_;  // L1; anyone reads how many
  std::uint32_t batch_at_ = 0, batch_end_ = 0;
  Task* batch_[Queue::kGrab];
  Task *overflow_head_ = nullptr, *overflow_tail_ = nullptr;
  std::uint32_t overflow_size_ = 0;
  Task *pinned_head_ = nullptr, *pinned_tail_ = nullptr;
  unsigned line_turns_ = 0;
  base::Nanos ticked_at_ = 0;   // real time
  base::Nanos idle_since_ = 0;  // its clock's time, as of dispatch number dispatches_idle_
  std::uint64_t dispatches_idle_ = ~std::uint64_t{0};
  std::atomic<std::uint64_t> steals_{0}, sleeps_{0}, ticks_{0};
  const std::uint16_t index_;
  const bool spare_;
  std::atomic<pid_t> thread_id_{0};  // 0: none
  Scheduler& scheduler_;
  Policy& policy_;
  const base::Clock& clock_;
  TimerWheel wheel_;
  Poller* poller_ = nullptr;
  StackCache stacks_;
  Queue ring_;
  Section<base::Real> section_;
  // --- others write ---
  alignas(base::kCacheLine) Inbox<base::Real, Task> inbox_;
  std::atomic<base::Nanos> next_timer_{base::kForever};
  std::atomic<bool> standing_by_{true};
  std::atomic<TimerNode*> returned_{nullptr};
  std::atomic<Poller*> sleeping_in_{nullptr};  // L6
};

inline void Worker::ready(Task& task) noexcept {
  if (task.pin != kNoWorker && task.pin != index_) [[unlikely]]
    return policy_.submit(task);
  if (!section_.enter()) [[unlikely]]
    return enqueue(task);
  Task* const displaced = slot_.load(base::relaxed);
  slot_.store(&task, base::relaxed);
  if (displaced != nullptr) enqueue(*displaced);
  section_.leave();
}

inline void Worker::bear(Task& task) noexcept {
  if (task.pin != kNoWorker || !section_.enter()) [[unlikely]]
    return ready(task);
  if (Task* const oldest = nursery_.put(task)) push(*oldest);
  section_.leave();
}

inline Task* Worker::next() noexcept {
  if (!section_.enter()) [[unlikely]]
    return next_beside_thief();
  Task* const task = slot_.load(base::relaxed);
  if (task == nullptr || streak_ >= kStreak) [[unlikely]]
    return next_in_line();
  slot_.store(nullptr, base::relaxed);
  ++streak_;
  section_.leave();
  return task;
}

// The task about to be switched to: ours from here on (X1).
inline void Worker::begin(Task& task) noexcept {
  task.note_taken();                      // X4
  task.sp.store(nullptr, base::relaxed);  // relaxed: only its owner stores, and its owner is this worker
  task.worker = this;
  if (task.home.load(base::relaxed) != index_)
    task.home.store(index_, base::relaxed);                               // relaxed: where its lines are, a hint
  dispatches_.store(dispatches_.load(base::relaxed) + 1, base::relaxed);  // relaxed: watchers' progress hint
  ek_current_task = &task;
}

// Inlined down to the jump: a return after a switch is always mispredicted (7.7 ns), so the switch lands in
// the function that waits. Its caller keeps nothing of thread-local storage across it (C3).
[[gnu::always_inline]] inline void Worker::leave(Task& self, Task* next) noexcept {
  ExceptionState exceptions;  // of a task suspended inside a catch block or an unwinding
  if (!exceptions_->empty()) [[unlikely]]
    exceptions = std::exchange(*exceptions_, {});
  void* const sp = next != nullptr ? next->sp.load(base::acquire) : nullptr;  // [task-sp] X1
  if (is_stack(sp)) [[likely]] {
    begin(*next);
    san_before_switch(&self.fiber, next->fiber, &self.sp);
    switch_stack(&self.sp, sp, next);  // [task-sp] C1
  } else {
    const Place place = elsewhere(next, sp);
    san_before_switch(&self.fiber, *place.fiber, &self.sp);
    switch_stack(&self.sp, place.sp, nullptr);  // [task-sp] C1
  }
  // Resumed, perhaps by another worker: `this` is the one that was left.
  san_after_switch(self.fiber);
  if (!exceptions.empty()) [[unlikely]]
    *self.worker->exceptions_ = exceptions;
}

[[gnu::always_inline]] inline void Worker::suspend(Task& self) noexcept {
  Task* const following = --until_tick_ > 0 ? next() : nullptr;
  if (following == &self) {  // X3
    self.note_taken();
    dispatches_.store(dispatches_.load(base::relaxed) + 1, base::relaxed);  // relaxed: as in begin(); hand_over.h O2
    return;
  }
  leave(self, following);
}

}  // namespace erlking::sched
