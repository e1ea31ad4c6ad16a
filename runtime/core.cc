// A worker as the runtime's scheduler has it: Core (system.h).
#include "runtime/fault.h"
#include "runtime/handler.h"
#include "runtime/report.h"
#include "runtime/system.h"
#include "runtime/timer.h"
#include "sched/sched.h"

extern "C" {
__thread erlking::gc::Local* ek_thread_heap __attribute__((tls_model("initial-exec"))) = nullptr;
__thread erlking::Core* ek_thread_core __attribute__((tls_model("initial-exec"))) = nullptr;
}

namespace erlking {

using base::Nanos;
using base::relaxed;

Core::Core(System& system, sched::Scheduler& scheduler, sched::Policy& policy, std::uint16_t index)
    : Worker(scheduler, policy, system.clock, index, system.stacks),
      heap(*system.collector, policy.max_tasks() != 0),
      slots(system.table, policy.max_tasks() != 0),
      system_(system) {
  thread.own_sp = &own_stack();
  thread.roots = &system.roots;
  // Of many workers, one for each process, each has less to tell. No memory: it is off.
  const std::uint32_t words = system.options.flight_recorder;
  static_cast<void>(flight().open(policy.max_tasks() == 0 ? words : words / 8));
}

void Core::release_caches() noexcept {
  Worker::release_caches();
  slots.flush();
  heap.flush();
}

void Core::thread_started() noexcept {
  ek_thread_heap = &heap;
  ek_thread_core = this;
  gc::ek_gc_thread = &thread;
  if (gc::Tracer* const tracer = heap.collector().tracer()) tracer->enter();
}

void Core::thread_stopping() noexcept {
  detail::drop_timers(*this);
  gc::leave(thread);
  gc::ek_gc_thread = nullptr;
  ek_thread_heap = nullptr;
  ek_thread_core = nullptr;
}

void Core::rest(std::atomic<std::uint32_t>& word, Nanos timeout) noexcept {
  gc::Tracer* const tracer = heap.collector().tracer();
  if (tracer == nullptr) return Worker::rest(word, timeout);
  const auto wait = [&] { Worker::rest(word, timeout); };
  tracer->rest([](const void* argument) { (*static_cast<decltype(wait)*>(argument))(); }, &wait);
}

bool Core::may_part(sched::Task& task, std::uintptr_t rip, std::uintptr_t rsp) noexcept {
  const sched::Stack stack = task.stack();
  const bool on_stack = task.stack_low != nullptr && rsp >= reinterpret_cast<std::uintptr_t>(stack.low) &&
                        rsp < reinterpret_cast<std::uintptr_t>(stack.top);
  return on_stack && ek_thread_heap == &heap && ek_thread_core == this &&  // else within another runtime's OutsideHeap
         !static_cast<const Process&>(task).uncontained && detail::why_not_contained().empty() &&
         detail::is_in_user_code(rip);
}

std::uint64_t Core::touches(const sched::Task& task) const noexcept {
  const auto budget = static_cast<std::uint32_t>(static_cast<const Process&>(task).budget);
  return std::uint64_t{sched::ek_touches} << 32 | budget;
}

// At its next safe point it goes back to a worker that others share, before it begins anything here.
void Core::took(sched::Task& task, Nanos since, void* context) noexcept {
  Process& process = static_cast<Process&>(task);
  process.budget = 0;
  if (flight().is_on()) {
    flight().mark(sched::FlightKind::wake, base::monotonic_now());
    process.note_running();
  }
  if (system_.options.stall_report.count() == 0) return;
  stall_.pid = process.pid();
  stall_.parent = process.parent;
  stall_.start = process.start;
  stall_.since = since;
  stall_.count = detail::interrupted_frames(context, stall_.frames);
  stall_.state.store(Stall::kBegun, base::release);  // [stall]
}

void Core::watched() noexcept {
  std::uint32_t state = stall_.state.load(base::acquire);  // [stall]
  if (state != Stall::kBegun) return;
  const Nanos length = base::monotonic_now() - stall_.since;
  if (length < system_.options.stall_report.count()) return;
  if (!stall_.state.compare_exchange_strong(state, Stall::kTelling, base::acq_rel)) return;
  stalls.store(stalls.load(relaxed) + 1, relaxed);  // relaxed: the watcher's, a statistic
  detail::report_stall(system_, stall_.pid, stall_.parent, stall_.start->name, {stall_.frames, stall_.count}, length,
                       false);
  stall_.state.store(Stall::kTold, base::release);  // [stall]
}

void Core::left() noexcept {
  std::uint32_t state = Stall::kBegun;
  if (stall_.state.load(relaxed) == Stall::kNone || stall_.state.compare_exchange_strong(state, Stall::kNone)) return;
  for (unsigned turns = 0; stall_.state.load(base::acquire) == Stall::kTelling; ++turns) base::pause_or_yield(turns);
  detail::report_stall(system_, stall_.pid, stall_.parent, stall_.start->name, {}, base::monotonic_now() - stall_.since,
                       true);
  stall_.state.store(Stall::kNone, base::release);
}

sched::Worker& Core::serve(sched::Task& task) noexcept { return detail::serve_handler(static_cast<Process&>(task)); }

void Core::give_up(sched::Task& task) noexcept { detail::give_up_handler(static_cast<Process&>(task)); }

sched::Fired Core::fire(sched::TimerNode& node) noexcept {
  if ((node.kind & detail::kTimerKindMask) == detail::kUserTimer) {
    detail::fire_timer(*this, static_cast<detail::UserTimer&>(node));
    return sched::Fired::done;
  }
  Process& process = *reinterpret_cast<Process*>(node.target);
  if ((node.kind & detail::kTimerKindMask) == detail::kReceiveTimer) {
    if (process.timed.load(relaxed) != node.number) return sched::Fired::done;  // R2: given up; relaxed: see arm()
    if (!process.mailbox.wake()) return sched::Fired::again;                    // R2: between arming and parking
    process.fired = node.number;
  } else {
    using Look = Ticket<base::Real>::Look;
    const Look look = process.ticket.look(node.number);
    if (look == Look::stale) return sched::Fired::done;
    if (look == Look::not_armed || !process.ticket.wake(node.number)) return sched::Fired::again;
    process.fired = node.number | Process::kTicketTimer;
  }
  flight().record(detail::flight_word(process.pid(), detail::FlightWord::timer));
  process.note_ready();
  enqueue(process);
  return sched::Fired::done;
}

void Core::discard(sched::TimerNode& node) noexcept {
  if ((node.kind & detail::kTimerKindMask) == detail::kUserTimer) {
    detail::put_away_timer(*this, static_cast<detail::UserTimer&>(node));
  } else {
    heap.free_plain(&node, sizeof(sched::TimerNode));
  }
}

void Core::reap(sched::Task& task) noexcept {
  Process& process = static_cast<Process&>(task);
#if defined(__SANITIZE_THREAD__)
  sched::tsan_give_fiber(process.fiber);
#endif
  policy().retire(process);
  if (process.stack_low != nullptr) stacks().give_class(process.stack(), process.stack_class);
  process.stack_low = nullptr;
  process.reason = {};
  slots.give(process);
}

}  // namespace erlking
