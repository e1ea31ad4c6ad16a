// Waits of a process: in a receive, for an answer, for room in a mailbox, for time.
#include "runtime/memory.h"
#include "runtime/process.h"
#include "runtime/process_wide.h"
#include "runtime/system.h"
#include "sched/sched.h"

#include <new>
#include <utility>

namespace erlking {

using base::Nanos;
using base::relaxed;

namespace detail {

// --- their timer -----------------------------------------------------------------------------------------------------

namespace {

// The process's timer node, to be armed here: in this worker's wheel or in none. False: no memory.
bool make_timer(Process& process) noexcept {
  if (sched::TimerNode* const node = process.timer; node != nullptr) {
    // It may still be in the wheel of the worker that armed it, unless it was that wait's end.
    const bool of_ticket = (node->kind & kTimerKindMask) == kTicketTimer;
    if (process.fired == (of_ticket ? node->number | Process::kTicketTimer : node->number)) {
      node->kind = timer_kind(process, 0);
      return true;
    }
    give_timer_back(process);
  }
  void* block = heap().allocate_plain(sizeof(sched::TimerNode));
  if (block == nullptr) return false;
  process.timer = new (block) sched::TimerNode;
  process.timer->kind = timer_kind(process, 0);
  return true;
}

bool ensure_timer(Process& process) noexcept { return has_timer(process) || make_timer(process); }

}  // namespace

bool can_time(Process& process, const Bound& bound) noexcept {
  return bound.is_forever() || bound.is_poll() || process.is_port() || ensure_timer(process);
}

void give_timer_back(Process& process) noexcept {
  sched::TimerNode& node = *std::exchange(process.timer, nullptr);
  process.system->scheduler->worker(node.kind >> kTimerOwnerShift).return_timer(node);
}

// --- waiting in a receive --------------------------------------------------------------------------------------------

bool ReceiveWait::more_slow(Item** at) {
  Process& p = process_;
  if (p.exiting) [[unlikely]]
    return false;
  for (;;) {
    if (p.mailbox.has_any()) p.deliver(true);
    p.settle();
    p.act_on_doom();
    if (*at != nullptr || p.nudge == Nudge::come) return true;
    if (expired_ || bound_.is_poll()) return false;  // D-R2: looked at before every park
    if (p.doomed) [[unlikely]] {
      p.act_on_doom();
      if (p.deferring == 0) return false;  // dying, and its stack unwinds already
    }
    const bool timed = !bound_.is_forever();
    if (timed && !armed_ && !ensure_timer(p)) [[unlikely]]
      throw_exit(p, reason::system_limit);
    EK_DCHECK(!armed_ || p.fired != p.timed.load(relaxed));  // D-R2
    if (!p.mailbox.park()) continue;
    if (timed && !armed_) arm();
    if (parked(at)) return true;
  }
}

// The wait was ended by a timer or a signal, or by a message whose stamp is another than the pid.
void ReceiveWait::woken_without(Item* item) noexcept {
  if (item != nullptr) process_.admit_or_refuse(item);
  if (armed_ && process_.fired == process_.timed.load(relaxed))
    expired_ = true;  // relaxed: only this process changes it
}

// --- waiting for an answer, for room, for time -----------------------------------------------------------------------

void TicketWait::begin_port() noexcept {
  if (bound_.is_forever()) return;
  deadline_ = bound_.is_absolute() ? bound_.ns() : base::after(process_.system->now(), bound_.ns());
}

bool TicketWait::expired() const noexcept {
  if (bound_.is_forever()) return false;
  if (process_.is_port()) return process_.system->now() >= deadline_;
  return process_.fired == (number_ | Process::kTicketTimer);
}

void TicketWait::arm() noexcept {
  if (armed_) return;
  armed_ = process_.ticket.arm(number_);
}

void TicketWait::disarm() noexcept {
  if (!armed_) return;
  armed_ = false;
  if (!process_.ticket.disarm(number_)) sleep();  // a wake is under way: use it up
}

void TicketWait::sleep() noexcept {
  if (!process_.is_port()) {
    process_.worker->suspend(process_);
    process_.note_running();
    process_.budget = Process::kBudget;
    return;
  }
  while (process_.port_woken.load(base::acquire) == 0) {  // [port]
    Nanos left = base::kForever;
    if (!bound_.is_forever()) {
      left = deadline_ - process_.system->now();
      if (left <= 0) {
        if (process_.ticket.disarm(number_)) return;
        left = base::kForever;  // somebody was quicker: the wake comes
      }
      if (process_.system->clock.is_manual()) left = 1'000'000;  // time passes by hand: look now and then
    }
    base::futex_wait(process_.port_woken, 0, left);
  }
  process_.port_woken.store(0, relaxed);
}

TicketWait::Ended TicketWait::wait_slow(bool woken) {
  Process& p = process_;
  if (woken && p.ticket.state() == Ticket<base::Real>::open && !expired()) return Ended::opened;
  for (;;) {
    if (!armed_) {
      const auto state = p.ticket.state();
      if (state == Ticket<base::Real>::done) {
        over_ = true;
        p.settle();
        return Ended::answered;
      }
      if (state == Ticket<base::Real>::claim) {
        base::Real::pause();
        continue;
      }
      if (expired() || bound_.is_poll()) return Ended::expired;
    }
    if (p.doomed && !p.is_port() && (p.deferring == 0 || p.exiting)) [[unlikely]] {
      disarm();
      p.act_on_doom();
      return Ended::expired;  // dying, and its stack unwinds already
    }
    if (!p.is_port()) {
      if (!timer_ && !bound_.is_forever()) {
        if (!ensure_timer(p)) [[unlikely]] {
          throw_exit(p, reason::system_limit);
        }
        arm_timer();
      }
      arm();
      if (!armed_) continue;                 // answered meanwhile
      if (p.mailbox.has_signal_seq_cst()) {  // K5
        // Whoever wakes us between here and the next arm() finds nobody, or has been used up: the caller looks again.
        disarm();
        p.deliver(true);
        return Ended::opened;
      }
      p.wake_waiters_if_any();  // B6; arm()'s locked CAS orders consumed before waiters (x86)
    } else {
      arm();
      if (!armed_) continue;
      if (p.mailbox.has_signal_seq_cst()) {  // K5: the port's user looks at it
        disarm();
        return Ended::opened;
      }
    }
    sleep();
    armed_ = false;
    if (p.ticket.state() == Ticket<base::Real>::open && !expired()) return Ended::opened;
  }
}

bool TicketWait::revoke() noexcept {
  if (over_) return true;
  for (;;) {
    switch (process_.ticket.state()) {
      case Ticket<base::Real>::idle:
        return false;
      case Ticket<base::Real>::open:
        if (process_.ticket.revoke(number_)) {
          process_.settle();
          return false;
        }
        break;
      case Ticket<base::Real>::armed:
        disarm();
        break;
      case Ticket<base::Real>::claim:
        base::Real::pause();
        break;
      case Ticket<base::Real>::done:
        over_ = true;
        return true;
    }
  }
}

void link_waiter(Process& target, Waiter& waiter) noexcept {
  waiter.prev = target.waiters_tail;
  waiter.next = nullptr;
  waiter.linked = true;
  if (target.waiters_tail != nullptr) target.waiters_tail->next = &waiter;
  target.waiters_tail = &waiter;
  // seq_cst even when it is not the first: the receiver's look must not miss the list [mailbox-waiters]
  target.waiters.store(waiter.prev == nullptr ? &waiter : target.waiters.load(relaxed), base::seq_cst);
}

void unlink_waiter(Process& target, Waiter& waiter) noexcept {
  if (!waiter.linked) return;
  waiter.linked = false;
  (waiter.next != nullptr ? waiter.next->prev : target.waiters_tail) = waiter.prev;
  if (waiter.prev != nullptr) {
    waiter.prev->next = waiter.next;
  } else {
    target.waiters.store(waiter.next, base::seq_cst);
  }
}

namespace {

// B1–B7, D-B1–D-B5 (README.md). attempt(waiting) pushes, or asks whether a push would find room.
template <class Attempt>
Push attempt_until(Process& target, Process& sender, const Bound& until, Attempt&& attempt) {
  struct Leave {
    Process& target;
    Waiter waiter;
    ~Leave() {
      base::SpinLockGuard lock(target.waiters_lock);  // B4: before the frame is left
      unlink_waiter(target, waiter);
    }
  };
  for (;;) {
    TicketWait wait(sender, until, nullptr);
    auto ended = TicketWait::Ended::opened;
    {
      Leave place{target, {.process = &sender, .number = wait.number()}};
      wait.arm();  // B1: before the node is visible
      Push pushed;
      {
        base::SpinLockGuard lock(target.waiters_lock);
        link_waiter(target, place.waiter);
        pushed = attempt(true);  // B2
        if (pushed != Push::full) unlink_waiter(target, place.waiter);
      }
      if (pushed != Push::full) {
        if (pushed == Push::woke) make_ready(target);
        wait.disarm();
        return pushed;
      }
      ended = wait.wait();
    }
    const Push pushed = attempt(false);
    if (pushed == Push::woke) make_ready(target);
    if (pushed != Push::full || ended == TicketWait::Ended::expired) return pushed;
  }
}

}  // namespace

Bound deadline_of(const System& system, const Bound& bound) noexcept {
  if (bound.is_forever() || bound.is_absolute()) return bound;
  return Bound(base::to_time_point(base::after(system.now(), bound.ns())));
}

Push push_waiting(System& system, Process& sender, Pid to, Item* item, const Bound& bound) {
  Process& target = system.process(to);
  return attempt_until(target, sender, deadline_of(system, bound), [&](bool waiting) {
    if (target.is_metered()) [[unlikely]]
      return push_metered(system, target, item, to, waiting ? MeterLock::held : MeterLock::take);
    return waiting ? target.mailbox.push_message<true>(item, to.id) : target.mailbox.push_message(item, to.id);
  });
}

Push wait_for_room(System& system, Process& sender, Pid to, const Item& item, const Bound& bound) {
  Process& target = system.process(to);
  return attempt_until(target, sender, deadline_of(system, bound), [&](bool waiting) {
    if (target.is_metered()) [[unlikely]]
      return probe_metered(target, item, to, waiting ? MeterLock::held : MeterLock::take);
    return target.mailbox.probe(to.id);
  });
}

}  // namespace detail
}  // namespace erlking
