#include "sched/worker.h"

#include "base/compiler.h"
#include "base/mutex.h"
#include "sched/context.h"
#include "sched/fiber.h"
#include "sched/hand_over.h"
#include "sched/scheduler.h"

#include <algorithm>
#include <cxxabi.h>
#include <new>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <pthread.h>
#endif

extern "C" {
__thread erlking::sched::Task* ek_current_task __attribute__((tls_model("initial-exec"))) = nullptr;
__thread erlking::sched::Worker* ek_thread_worker __attribute__((tls_model("initial-exec"))) = nullptr;
__thread unsigned ek_touches __attribute__((tls_model("initial-exec"))) = 0;
}

namespace erlking::sched {

using base::acquire;
using base::Nanos;
using base::relaxed;
using base::release;
using base::seq_cst;

namespace {

// A tick is due about this long after the last one, or after 64 dispatches (kTickMax), whichever comes first.
constexpr Nanos kTickAim = 20'000;

}  // namespace

Worker::Worker(Scheduler& scheduler, Policy& policy, const base::Clock& clock, std::uint16_t index,
               StackPool& stacks) noexcept
    : index_(index),
      spare_(policy.max_tasks() == 0 && index >= scheduler.asked()),
      scheduler_(scheduler),
      policy_(policy),
      clock_(clock),
      wheel_(clock.now()),
      stacks_(stacks, policy.max_tasks() != 0) {
  // O4: nothing is ever put into its queues, as somebody seems to be at them.
  if (spare_) static_cast<void>(section_.try_claim());
}

// --- queues ----------------------------------------------------------------------------------------------------------

// The end of the line; inside the section or not.
void Worker::push(Task& task) noexcept {
  if (ring_.push(&task)) [[likely]]
    return;
  const bool inside = section_.inside();
  while (!inside && !section_.enter()) {  // a thief is at the overflow; it is quick
    if (ring_.push(&task)) return;
    sched_yield();
  }
  task.link = nullptr;
  if (overflow_tail_ != nullptr) {
    overflow_tail_->link = &task;
  } else {
    overflow_head_ = &task;
  }
  overflow_tail_ = &task;
  ++overflow_size_;
  held_.store(batch_end_ - batch_at_ + overflow_size_, relaxed);
  if (!inside) section_.leave();
}

void Worker::enqueue(Task& task) noexcept {
  if (spare_) [[unlikely]]  // O4
    return policy_.submit(task);
  if (task.pin != kNoWorker) {
    if (task.pin != index_) return policy_.submit(task);
    task.link = nullptr;
    (pinned_tail_ != nullptr ? pinned_tail_->link : pinned_head_) = &task;
    pinned_tail_ = &task;
    return;
  }
  push(task);
}

// Inside the section; the slot is empty or has had its turns.
Task* Worker::next_in_line() noexcept {
  Task* task = slot_.load(relaxed);
  if (task == nullptr && streak_ < kStreak && !nursery_.empty()) [[likely]] {
    task = nursery_.take_newest();
    ++streak_;
    section_.leave();
    return task;
  }
  streak_ = 0;
  ++line_turns_;  // of each line some: none starves another
  if (pinned_head_ != nullptr && line_turns_ % 2 == 1) {
    section_.leave();
    return take_pinned();
  }
  if (!nursery_.empty() && line_turns_ % 4 == 0) {
    task = nursery_.take_oldest();
    section_.leave();
    return task;
  }
  if (batch_at_ == batch_end_) {
    batch_at_ = 0;
    batch_end_ = ring_.grab(batch_, Queue::kGrab);
    if (overflow_size_ != 0) [[unlikely]]
      refill_from_overflow();
  }
  if (batch_at_ != batch_end_) {
    task = batch_[batch_at_++];
    held_.store(batch_end_ - batch_at_ + overflow_size_, relaxed);
  } else if (task != nullptr) {
    slot_.store(nullptr, relaxed);  // the slot's turn again
  } else if (!nursery_.empty()) {
    task = nursery_.take_newest();
  }
  section_.leave();
  return task != nullptr ? task : take_pinned();
}

Task* Worker::take_pinned() noexcept {
  Task* const task = pinned_head_;
  if (task == nullptr) return nullptr;
  pinned_head_ = task->link;
  if (pinned_head_ == nullptr) pinned_tail_ = nullptr;
  return task;
}

// Inside a section, the batch just refilled: moves overflowed tasks to the ring's free places, and the first of them
// into the batch if the ring was empty.
void Worker::refill_from_overflow() noexcept {
  while (overflow_head_ != nullptr) {
    Task* const task = overflow_head_;
    Task* const following = task->link;  // read before the ring publishes the task
    if (batch_end_ == 0) {
      batch_[batch_end_++] = task;
    } else if (!ring_.push(task)) {
      break;
    }
    overflow_head_ = following;
    if (following == nullptr) overflow_tail_ = nullptr;
    --overflow_size_;
  }
}

// A thief is at the private queues: only the ring and the pinned tasks are ours.
Task* Worker::next_beside_thief() noexcept {
  Task* task = nullptr;
  if (spare_) return nullptr;  // O4
  if (ring_.grab(&task, 1) == 1) return task;
  task = take_pinned();
  if (task != nullptr) return task;
  while (section_.claimed()) sched_yield();
  return next();
}

std::uint32_t Worker::load() const noexcept {
  return ring_.size() + held_.load(relaxed) + nursery_.size() + (slot_.load(relaxed) != nullptr ? 1 : 0);
}

// --- theft -----------------------------------------------------------------------------------------------------------

void Worker::note_stolen(const Worker& victim, std::uint32_t n) noexcept {
  if (n == 0) return;
  steals_.store(steals_.load(relaxed) + n, relaxed);
  flight_.record(Flight::value_word(std::uint64_t{n} << 16 | victim.index(), FlightKind::steal));
}

void Worker::expose_oldest() noexcept {
  if (nursery_.empty() || ring_.size() != 0 || !section_.enter()) return;
  if (!nursery_.empty()) push(*nursery_.take_oldest());
  section_.leave();
}

std::uint32_t Worker::steal_ring(Worker& victim) noexcept {
  Task* stolen[Queue::kGrab];
  const std::uint32_t n = victim.ring_.grab(stolen, Queue::kGrab);
  for (std::uint32_t i = 0; i < n; ++i) enqueue(*stolen[i]);
  note_stolen(victim, n);
  return n;
}

std::uint32_t Worker::steal_private(Worker& victim) noexcept {
  if (!victim.section_.try_claim()) return 0;
  Task* stolen[Queue::kGrab];
  std::uint32_t n = 0;
  std::uint32_t held = victim.batch_end_ - victim.batch_at_;
  if (held != 0) {
    for (std::uint32_t take = held - held / 2; n < take;) stolen[n++] = victim.batch_[--victim.batch_end_];
  } else if (Task* task = victim.slot_.load(relaxed); task != nullptr && task->pin == kNoWorker) {
    victim.slot_.store(nullptr, relaxed);
    stolen[n++] = task;
  } else if (const std::uint32_t newborns = victim.nursery_.size(); newborns != 0) {
    for (std::uint32_t take = newborns - newborns / 2; n < take;) stolen[n++] = victim.nursery_.take_oldest();
  } else {
    while (n < Queue::kGrab && victim.overflow_head_ != nullptr) {
      stolen[n++] = victim.overflow_head_;
      victim.overflow_head_ = victim.overflow_head_->link;
      --victim.overflow_size_;
    }
    if (victim.overflow_head_ == nullptr) victim.overflow_tail_ = nullptr;
  }
  victim.held_.store(victim.batch_end_ - victim.batch_at_ + victim.overflow_size_, relaxed);
  victim.section_.unclaim();
  for (std::uint32_t i = 0; i < n; ++i) enqueue(*stolen[i]);
  note_stolen(victim, n);
  return n;
}

std::uint32_t Worker::steal_inbox(Worker& victim) noexcept {
  std::uint32_t n = 0;
  for (Task* task = victim.inbox_.take(); task != nullptr;) {
    Task* const following = task->link;
    if (task->pin == kNoWorker) {
      enqueue(*task);
      ++n;
    } else {
      victim.post(*task);
    }
    task = following;
  }
  note_stolen(victim, n);
  return n;
}

void Worker::move_all_to(Worker& other) noexcept {
  if (!section_.enter()) return;  // a thief is helping already
  Task* kept = slot_.exchange(nullptr, relaxed);
  if (kept != nullptr && kept->pin == kNoWorker) other.post(*std::exchange(kept, nullptr));
  slot_.store(kept, relaxed);
  while (batch_at_ != batch_end_) other.post(*batch_[batch_at_++]);
  while (!nursery_.empty()) other.post(*nursery_.take_oldest());
  while (overflow_head_ != nullptr) {
    Task* const task = overflow_head_;
    overflow_head_ = task->link;
    other.post(*task);
  }
  overflow_tail_ = nullptr;
  overflow_size_ = 0;
  held_.store(0, relaxed);
  section_.leave();
  Task* moved[Queue::kGrab];
  while (const std::uint32_t n = ring_.grab(moved, Queue::kGrab)) {
    for (std::uint32_t i = 0; i < n; ++i) other.post(*moved[i]);
  }
}

// --- inbox, sleep ----------------------------------------------------------------------------------------------------

bool Worker::post(Task& task) noexcept {
  if (!inbox_.push(task)) return false;
  end_sleep();
  return true;
}

bool Worker::wake() noexcept {
  if (!inbox_.rouse()) return false;
  end_sleep();
  return true;
}

// The caller owes the wake (I2).
void Worker::end_sleep() noexcept {
  Poller* const poller = sleeping_in_.load(acquire);  // [sleeping-in]
  if (poller != nullptr) [[unlikely]]
    return poller->wake();
  base::futex_wake(inbox_.sleep_word());
}

Nanos Worker::time_to_timer(Nanos now) const noexcept {
  if (clock_.is_manual()) return kForever;
  const Nanos next = wheel_.next();
  return next == kForever ? kForever : std::max<Nanos>(next - now, 0);
}

// How long it may sleep before it tends the pool's idle stacks; 0: it has done some of that. Where time passes by hand,
// whoever moves it on wakes the worker.
Nanos Worker::tend_stacks() noexcept {
  const Nanos now = clock_.now();
  const std::uint64_t dispatches = dispatches_.load(relaxed);  // relaxed: its own
  if (std::exchange(dispatches_idle_, dispatches) != dispatches) idle_since_ = now;
  const Nanos rest = StackPool::kTendPeriod - (now - idle_since_);
  const Nanos wait = rest > 0 ? rest : stacks_.pool().tend(now);
  return wait != 0 && clock_.is_manual() ? kForever : wait;
}

void Worker::rest(std::atomic<std::uint32_t>& word, Nanos timeout) noexcept { base::futex_wait(word, 1, timeout); }

void Worker::sleep(Nanos timeout) noexcept {
  if (stacks_.pool().wants_tending()) [[unlikely]]
    timeout = std::min(timeout, tend_stacks());
  if (timeout == 0) return;
  next_timer_.store(wheel_.next(), release);          // [next-timer] for Scheduler::next_timer
  sleeps_.store(sleeps_.load(relaxed) + 1, relaxed);  // before it shows as asleep: for Scheduler::idle
  Poller* const poller = poller_ != nullptr && poller_->is_active() ? poller_ : nullptr;
  sleeping_in_.store(poller, release);  // [sleeping-in]
  if (inbox_.may_sleep() && returned_.load(seq_cst) == nullptr && !scheduler_stopping() &&
      (poller_ == nullptr || !poller_->asked()) && (spare_ || policy_.may_lie_down(*this))) {
    if (flight_.is_on()) flight_.mark(FlightKind::sleep, base::monotonic_now());
    if (poller == nullptr) {
      rest(inbox_.sleep_word(), timeout);
    } else {
      poller->sleep(timeout);
    }
    if (flight_.is_on()) flight_.mark(FlightKind::wake, base::monotonic_now());
  }
  inbox_.awake();
  scheduler_.hand_over().note_awake();
}

bool Worker::drain_inbox() noexcept {
  Task* task = inbox_.take();
  const bool any = task != nullptr;
  while (task != nullptr) {
    Task* const following = task->link;
    enqueue(*task);
    task = following;
  }
  return any;
}

// --- timers ----------------------------------------------------------------------------------------------------------

void Worker::return_timer(TimerNode& node) noexcept {
  TimerNode* head = returned_.load(relaxed);  // relaxed: the CAS proves it
  do {
    node.extra = reinterpret_cast<std::uintptr_t>(head);
  } while (!returned_.compare_exchange_weak(head, &node, base::seq_cst, relaxed));  // [returned]
  if (spare_) [[unlikely]]
    wake();  // it waits to be rid of its timers
}

void Worker::drain_returned_timers() noexcept {
  if (returned_.load(relaxed) == nullptr) return;
  TimerNode* node = returned_.exchange(nullptr, acquire);  // [returned]
  while (node != nullptr) {
    auto* const following = reinterpret_cast<TimerNode*>(node->extra);
    wheel_.cancel(*node);
    discard(*node);
    node = following;
  }
}

void Worker::advance_timers(Nanos now) noexcept {
  drain_returned_timers();
  if (wheel_.empty()) return;
  wheel_.advance(now, [this](TimerNode& node) { return fire(node); });
}

bool Worker::scheduler_stopping() const noexcept { return scheduler_.stopping(); }

// --- the loop --------------------------------------------------------------------------------------------------------

void Worker::poll_if_active() noexcept {
  if (poller_ != nullptr && poller_->is_active()) poller_->poll();
}

Task* Worker::poll(Nanos now) noexcept {
  drain_inbox();
  poll_if_active();
  advance_timers(clock_.is_manual() ? clock_.now() : now);
  return next();
}

void Worker::tick() noexcept {
  const Nanos now = base::monotonic_now();
  const Nanos elapsed = now - ticked_at_;
  ticked_at_ = now;
  if (elapsed > 2 * kTickAim && tick_interval_ > 1) {
    tick_interval_ /= 2;
  } else if (elapsed < kTickAim && tick_interval_ < kTickMax) {
    tick_interval_ *= 2;
  }
  until_tick_ = tick_interval_;
  flight_.mark(FlightKind::tick, now);
  ticks_.store(ticks_.load(relaxed) + 1, relaxed);
  drain_inbox();
  poll_if_active();
  advance_timers(clock_.is_manual() ? clock_.now() : now);
  policy_.tick(*this, now);
}

void Worker::yield(Task& self) noexcept {
  self.note_ready();
  enqueue(self);
  streak_ = 0;      // whom it has just readied goes first, too
  until_tick_ = 0;  // and so does whoever's time or input has come: there may have been any time for it
  suspend(self);
}

void Worker::requeue(Task& task) noexcept {
  task.note_ready();
  enqueue(task);
  streak_ = 0;  // as in yield()
  until_tick_ = 0;
}

void Worker::bury(Task& task) noexcept {
  ek_current_task = nullptr;
  task.stack_low = nullptr;  // the loop's
  task.fiber = {};
  reap(task);
}

EK_NOIPA void Worker::retire(Task& self) noexcept {
  EK_DCHECK(exceptions_->empty());
  dead_ = &self;
  --until_tick_;  // a chain of births and deaths ticks, too
  ek_current_task = nullptr;
  san_before_switch(nullptr, fiber_, &self.sp);
  switch_stack(&self.sp, scheduler_sp_.load(relaxed), nullptr);
  __builtin_unreachable();
}

// Inlined into run(): see leave().
[[gnu::always_inline]] inline void Worker::dispatch(Task& task) noexcept {
  void* sp = task.sp.load(acquire);  // [task-sp] X2: its last worker is about to leave it
  for (unsigned spins = 0; sp == nullptr; sp = task.sp.load(acquire)) {
    if (++spins < 200) {
      base::Real::pause();
    } else {
      sched_yield();
    }
  }
  void* to = &task;
  FiberHandles* fiber = &task.fiber;
  begin(task);
  if (sp == kStackless) [[unlikely]] {
    Loop* const loop = take_loop(task.stack_class);
    if (loop == nullptr) return give_up(task);
    to_serve_ = &task;
    sp = loop->sp.load(relaxed);
    to = loop;
    fiber = &loop->fiber;
  }
  san_before_switch(&fiber_, *fiber, &scheduler_sp_);
  switch_stack(&scheduler_sp_, sp, to);
  san_after_switch(thread_worker()->fiber_);  // the thread's, whose worker may be another now
}

// --- stackless tasks -------------------------------------------------------------------------------------------------

// `next` is null, being left by its last worker (X2), or stackless.
Worker::Place Worker::elsewhere(Task* next, void* sp) noexcept {
  if (sp == kStackless) {
    if (Loop* const loop = std::exchange(loops_[next->stack_class], nullptr); loop != nullptr) {
      begin(*next);
      to_serve_ = next;
      return {loop->sp.load(relaxed), &loop->fiber};
    }
  }
  pending_ = next;
  ek_current_task = nullptr;
  return {scheduler_sp_.load(relaxed), &fiber_};
}

// One at rest, or a new one; null: out of memory.
Loop* Worker::take_loop(unsigned cls) noexcept {
  if (loops_[cls] != nullptr) return std::exchange(loops_[cls], nullptr);
  const Stack stack = stacks_.take_class(cls);
  if (!stack) return nullptr;
  auto* const loop = new (stack.top - sizeof(Loop)) Loop;
  static_assert(sizeof(Loop) % 16 == 0 && alignof(Loop) <= 16);
  loop->stack = stack;
  loop->stack_class = static_cast<std::uint8_t>(cls);
  loop->worker = this;
  loop->sp.store(prepare_stack(reinterpret_cast<std::byte*>(loop), &run_loop), relaxed);
#if defined(__SANITIZE_THREAD__)
  tsan_take_fiber(loop->fiber);
#endif
#if defined(__SANITIZE_ADDRESS__)
  loop->fiber.bottom = stack.low;
  loop->fiber.size = stack.size();
#endif
  return loop;
}

// A loop that is at rest, or has been left for good.
void Worker::end_loop(Loop& loop) noexcept {
#if defined(__SANITIZE_THREAD__)
  tsan_give_fiber(loop.fiber);
#endif
  stacks_.give_class(loop.stack, loop.stack_class);
}

// The body of a loop, on its stack.
EK_NOIPA void Worker::run_loop(void* argument) noexcept {
  Loop& loop = *static_cast<Loop*>(argument);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  Worker* worker = loop.worker;
  for (Task* task = worker->to_serve_;;) {
    task->stack_low = loop.stack.low;  // should it wait (Y1)
    task->fiber = loop.fiber;
    worker = &worker->serve(*task);
    Task* const next = --worker->until_tick_ > 0 ? worker->next() : nullptr;
    if (next != nullptr && next->stack_class == loop.stack_class && next->sp.load(acquire) == kStackless) [[likely]] {
      worker->begin(*next);  // [task-sp]
      task = next;
    } else {
      task = worker->rest(loop, next);
    }
  }
}

// Leaves `loop` for `next`; returns, on the same worker, with its next task. Or never (Y2). Inlined: see leave().
[[gnu::always_inline]] inline Task* Worker::rest(Loop& loop, Task* next) noexcept {
  EK_DCHECK(exceptions_->empty());
  const bool ends = loops_[loop.stack_class] != nullptr;
  void* const sp = next != nullptr && !ends ? next->sp.load(acquire) : nullptr;  // [task-sp] X1
  (ends ? dead_loop_ : loops_[loop.stack_class]) = &loop;
  if (is_stack(sp)) {
    begin(*next);
    san_before_switch(&loop.fiber, next->fiber, &loop.sp);
    switch_stack(&loop.sp, sp, next);
  } else {
    // Its sp may have become kStackless since run_loop() looked: then it is not for this loop, which is still running.
    const bool for_this = sp == kStackless && next->stack_class == loop.stack_class;
    const Place place = elsewhere(next, for_this ? nullptr : sp);
    san_before_switch(ends ? nullptr : &loop.fiber, *place.fiber, &loop.sp);
    switch_stack(&loop.sp, place.sp, nullptr);
  }
  san_after_switch(loop.fiber);
  return to_serve_;
}

// --- the thread ------------------------------------------------------------------------------------------------------

void Worker::arrive() noexcept {
  exceptions_ = reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals());
#if defined(__SANITIZE_THREAD__)
  fiber_.tsan = __tsan_get_current_fiber();
#endif
#if defined(__SANITIZE_ADDRESS__)
  pthread_attr_t attributes;
  void* low = nullptr;
  std::size_t size = 0;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &low, &size);
  pthread_attr_destroy(&attributes);
  fiber_.bottom = low;
  fiber_.size = size;
#endif
  thread_id_.store(static_cast<pid_t>(::syscall(SYS_gettid)), relaxed);  // relaxed: hand_over.h O5
  ek_thread_worker = this;
  thread_started();
}

void Worker::run(Seat& seat) noexcept {
  arrive();
  ticked_at_ = base::monotonic_now();
  flight_.mark(FlightKind::wake, ticked_at_);
  for (;;) {
    Worker& now = *thread_worker();  // O3: not kept from turn to turn
    if (!(now.spare_ ? now.attend(seat) : now.turn())) break;
  }
  Worker& last = *thread_worker();
  last.end_resting_loops();
  last.drain_returned_timers();
  last.thread_stopping();
  last.thread_id_.store(0, relaxed);
  ek_thread_worker = nullptr;
  last.stand_by();
}

// One task, or more as they switch to each other. False: the scheduler stops.
[[gnu::always_inline]] inline bool Worker::turn() noexcept {
  if (dead_ != nullptr) [[unlikely]]
    reap(*std::exchange(dead_, nullptr));  // L3
  if (dead_loop_ != nullptr) [[unlikely]]
    end_loop(*std::exchange(dead_loop_, nullptr));  // Y3
  Task* task = std::exchange(pending_, nullptr);
  if (until_tick_ <= 0) tick();
  if (task == nullptr) task = next();
  if (task == nullptr) task = policy_.search(*this);
  if (task == nullptr) return false;
  dispatch(*task);
  return true;
}

// What a spare worker does: rids itself of what a task has left here, and then offers its thread (O4).
bool Worker::attend(Seat& seat) noexcept {
  if (dead_ != nullptr) reap(*std::exchange(dead_, nullptr));
  if (dead_loop_ != nullptr) end_loop(*std::exchange(dead_loop_, nullptr));
  EK_DCHECK(pending_ == nullptr);
  left();
  until_tick_ = 0;
  const bool stops = scheduler_stopping();
  const Nanos now = base::monotonic_now();
  drain_inbox();
  poll_if_active();
  advance_timers(clock_.is_manual() ? clock_.now() : now);
  if (stops) return false;
  const bool idle = wheel_.empty() && (poller_ == nullptr || !poller_->is_active()) && inbox_.empty();
  if (!idle) {
    if (const Nanos timeout = time_to_timer(now); timeout > 0) sleep(timeout);
    return true;
  }
  release_caches();
  scheduler_.dress_thread(*this);
  stand_by();
  Worker* const given = scheduler_.hand_over().offer(seat, *this);
  if (given == nullptr) {
    standing_by_.store(false, release);  // [standing-by]
  } else {
    given->arrive();
    scheduler_.dress_thread(*given);
  }
  return true;
}

void Worker::end_resting_loops() noexcept {
  for (Loop*& loop : loops_) {
    if (loop != nullptr) end_loop(*std::exchange(loop, nullptr));
  }
}

void Worker::release_caches() noexcept {
  end_resting_loops();
  stacks_.flush();
}

void Worker::stand_by() noexcept {
  next_timer_.store(kForever, release);               // [next-timer]
  sleeps_.store(sleeps_.load(relaxed) + 1, relaxed);  // as in sleep()
  standing_by_.store(true, release);                  // [standing-by]
}

WorkerStats Worker::stats() const noexcept {
  return {.dispatches = dispatches_.load(relaxed),
          .steals = steals_.load(relaxed),
          .sleeps = sleeps_.load(relaxed),
          .ticks = ticks_.load(relaxed)};
}

}  // namespace erlking::sched
