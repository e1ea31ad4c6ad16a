#include "runtime/spawn.h"

#include "runtime/handler.h"
#include "runtime/process_wide.h"
#include "runtime/system.h"
#include "sched/sched.h"

#include <atomic>
#include <cxxabi.h>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace erlking {

std::string_view to_string(SpawnError error) noexcept {
  switch (error) {
    case SpawnError::system_limit:
      return "system_limit";
    case SpawnError::name_taken:
      return "name_taken";
    case SpawnError::bad_options:
      return "bad_options";
    case SpawnError::stopping:
      return "stopping";
  }
  return "unknown";
}

namespace detail {

namespace {

void run_and_classify(Process& process) noexcept {
  struct Destroy {
    Process& process;
    ~Destroy() { process.start->destroy(process.closure); }
  };
  try {
    Destroy closure{process};
    process.checkpoint();  // perhaps it was ended before it began
    run_recording_throws(process.start->run, process.closure);
    if (!process.doomed) process.reason = reason::normal;
  } catch (const ProcessExit&) {
    // throw_exit(), or whoever doomed the process, has set the reason
  } catch (...) {  // the only other catch of a process: an escape becomes its exit reason
    if (!process.doomed) process.reason = current_exception_reason();
  }
}

// Where every process begins, on its own stack.
void process_main(void* argument) {
  Process& process = static_cast<Process&>(*static_cast<sched::Task*>(argument));
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  process.note_beginning();
  run_and_classify(process);
  finish_process(process);
}

// The running process if it is one of this system; its worker then has the slots, stacks and counts to use. Null: the
// caller holds the OutsideHeap, and with it those of all other threads.
Process* resident(System& system) noexcept {
  auto* const self = static_cast<Process*>(sched::current());
  return self != nullptr && self->system == &system ? self : nullptr;
}

// Counted as it takes its slot, so that workers who look for the last place at the same time see each other.
void count_birth(System& system, Process* self, std::uint64_t by) noexcept {
  if (self == nullptr) {
    system.outside_spawned.fetch_add(by, base::relaxed);  // relaxed, both: a fence follows where it matters
    return;
  }
  std::atomic<std::uint64_t>& spawned = core_of(*self).spawned;
  spawned.store(spawned.load(base::relaxed) + by, base::relaxed);
}

// Of a process that was not born; `admitted`: by the scheduler's policy.
void give_back(Process& process, bool admitted = true) noexcept {
  System& system = *process.system;
  forget_region(process);
#if defined(__SANITIZE_THREAD__)
  sched::tsan_give_fiber(process.fiber);
#endif
  if (admitted) system.scheduler->policy().retire(process);
  Process* const self = resident(system);
  count_birth(system, self, ~std::uint64_t{0});
  if (self != nullptr) {
    Core& core = core_of(*self);
    if (process.stack_low != nullptr) core.stacks().give_class(process.stack(), process.stack_class);
    process.stack_low = nullptr;
    core.slots.give(process);
    return;
  }
  if (process.stack_low != nullptr) {
    const sched::Stack stack = process.stack();
    system.stacks.give(process.stack_class, {&stack, 1});
  }
  process.stack_low = nullptr;
  system.outside_slots->give(process);
}

}  // namespace

namespace {

// A slot and, unless the process is a handler, a stack. Null: `error` says why.
Process* take_slot(System& system, const SpawnOptions& options, bool with_stack, SpawnError& error) noexcept {
  if (options.mailbox < 1 || options.mailbox > Process::Inbox::kMaxBound || options.stack > sched::kStackMax ||
      options.stack < sched::kStackMin || options.worker >= static_cast<int>(system.scheduler->asked()) ||
      options.worker < -1 || options.timers > kMaxTimers || options.over_memory > OverMemory::kill ||
      options.name == "undefined") {
    error = SpawnError::bad_options;
    return nullptr;
  }
  if (system.stopping.load(base::relaxed)) [[unlikely]] {
    error = SpawnError::stopping;
    return nullptr;
  }
  error = SpawnError::system_limit;
  Process* const self = resident(system);
  Process* process = nullptr;
  sched::Stack stack;
  const unsigned cls = sched::stack_class(options.stack);
  if (self != nullptr) {
    Core& core = core_of(*self);
    process = core.slots.take();
    if (process == nullptr) return nullptr;
    if (with_stack) stack = core.stacks().take_class(cls);
  } else {
    process = system.outside_slots->take();
    if (process == nullptr) return nullptr;
    if (with_stack) system.stacks.take(cls, {&stack, 1});
  }
  count_birth(system, self, 1);
  bool fits = stack || !with_stack;
  if (system.table.is_scarce()) [[unlikely]] {
    base::Real::fence();  // our count before the look at theirs
    fits = fits && !system.is_overfull();
  }
  // Not anew for who takes over a slot: a late answer to its former tenant may just be reading it.
  if (process->system != &system) process->system = &system;
  process->sp.store(nullptr, base::relaxed);  // relaxed: its own; of the former tenant, on another stack (roots.cc)
  process->set_stack(stack, cls);
  process->pin = options.worker < 0 ? sched::kNoWorker : static_cast<std::uint16_t>(options.worker);
  if (!fits || !system.scheduler->policy().admit(*process)) {
    give_back(*process, false);
    return nullptr;
  }
  return process;
}

}  // namespace

// Objects made in its closure or state, from here until note_birth_over(), are its own (region.h RG4).
static void note_birth(System& system, const Birth& birth, std::size_t bytes) noexcept {
  if (!system.keeps_regions) return;
  if (Process* const self = resident(system)) begin_birth(*self, *birth.process, birth.closure, bytes);
}

static void note_birth_over(System& system) noexcept {
  if (!system.keeps_regions) return;
  if (Process* const self = resident(system)) end_birth(*self);
}

Birth begin_spawn(System& system, const SpawnOptions& options, std::size_t bytes, std::size_t alignment) noexcept {
  Birth birth;
  birth.process = take_slot(system, options, true, birth.error);
  if (birth.process == nullptr) return birth;
  const auto top = reinterpret_cast<std::uintptr_t>(birth.process->stack().top) - bytes;
  birth.closure = reinterpret_cast<void*>(top & ~(std::max<std::uintptr_t>(alignment, 16) - 1));
  birth.process->closure = birth.closure;
  note_birth(system, birth, bytes);
  return birth;
}

Birth begin_spawn_handler(System& system, const SpawnOptions& options, const Start& start) noexcept {
  Birth birth;
  birth.process = take_slot(system, options, false, birth.error);
  if (birth.process == nullptr) return birth;
  birth.process->start = &start;
  if (start.state_bytes != 0) birth.process->closure = heap().allocate_state(start.state_bytes);
  birth.closure = state_of(*birth.process);
  if (birth.closure == nullptr) {
    give_back(*birth.process);
    birth.process = nullptr;
    return birth;
  }
  note_birth(system, birth, start.state_bytes != 0 ? start.state_bytes : Process::kSmallState);
  return birth;
}

void abandon_spawn(Birth& birth, std::size_t state_bytes) noexcept {
  note_birth_over(*birth.process->system);
  if (state_bytes != 0) heap().free_state(birth.closure, state_bytes);
  give_back(*birth.process);
}

namespace {

// All was made, but it shall not live.
std::unexpected<SpawnError> undo(Process& process, SpawnError error) noexcept {
  if (process.is_handler()) {
    drop_state(process);
  } else {
    process.start->destroy(process.closure);
  }
  give_back(process);
  return std::unexpected(error);
}

}  // namespace

std::expected<Monitored, SpawnError> complete_spawn(Birth& birth, const SpawnOptions& options, const Start& start,
                                                    const Kin& kin) noexcept {
  Process& process = *birth.process;
  System& system = *process.system;
  struct EndBirth {
    System& system;
    ~EndBirth() { note_birth_over(system); }
  } end_of_birth{system};
  const Pid pid = system.table.next_pid(process);
  Monitored made{pid, {}};
  Process* const parent = kin.parent;
  const bool handler = start.handle != nullptr;
  const bool waits = handler && start.run == nullptr;  // H1
  process.start = &start;
  process.begun = waits;
  process.stateless = process.unwinding = process.in_call = process.in_operation = false;
  process.uncontained = process.faulted = false;
  process.has_region = system.keeps_regions || options.max_memory != 0;  // region.h RG7
  process.tells_deadline.store(start.behaves, base::relaxed);            // relaxed: a hint to who sends it calls
  process.supervises.store(start.supervises, base::relaxed);             // relaxed: as above, to who stops the runtime
  // release: whoever sees it sees the slot's former tenant closed [parent]
  std::atomic_ref(process.parent.id).store(parent == nullptr ? 0 : parent->pid().id, base::release);
  process.trapping = process.doomed = process.exiting = process.leaving = false;
  process.deferring = 0;
  process.received = 0;
  process.reductions = 0;
  process.budget = Process::kBudget;
  process.refused.store(0, base::relaxed);  // relaxed: nobody sends here yet
  process.set_timer_room(static_cast<std::int32_t>(options.timers != 0 ? options.timers : system.options.max_timers));
  process.timer_room_shared.store(0, base::relaxed);  // relaxed: as above
  process.home.store(parent == nullptr ? sched::kNoWorker : parent->worker->index(), base::relaxed);
  void* const sp =
      handler ? sched::kStackless : sched::prepare_stack(static_cast<std::byte*>(birth.closure), &process_main);
  process.sp.store(sp, base::relaxed);  // relaxed: the mailbox's word publishes it, or the queue
#if defined(__SANITIZE_THREAD__)
  if (!handler) sched::tsan_take_fiber(process.fiber);
#endif
#if defined(__SANITIZE_ADDRESS__)
  process.fiber.bottom = process.stack().low;
  process.fiber.size = process.stack().size();
#endif
  try {
    if (!options.name.empty()) {
      if (system.add_name(options.name, pid, [] { return true; }) != Registry::Added::yes) {
        return undo(process, SpawnError::name_taken);
      }
      process.named.store(true, base::relaxed);  // relaxed: nobody knows it yet
    }
    if (options.max_memory != 0) {
      relations_of(process).memory = {.most = options.max_memory, .over = options.over_memory};
    }
    // Both ends know before either can die: SEMANTICS 3.3, 4.5.
    if (kin.tie == Tie::link) {
      relations_of(process).links.add(parent->pid().id).exit = new_signal(SignalKind::exit_link, pid);
      SignalPtr owed = new_signal(SignalKind::exit_link, parent->pid());
      relations_of(*parent).links.add(pid.id).exit = std::move(owed);
    } else if (kin.tie == Tie::monitor || kin.watch != nullptr) {
      const Pid watcher = parent != nullptr ? parent->pid() : kin.watch->process()->pid();
      MonitorOptions plain;
      MonitorOptions& with = kin.monitor != nullptr ? *kin.monitor : plain;
      made.ref = parent != nullptr ? next_monitor_ref(*parent, with) : kin.watch->ref();
      relations_of(process).watchers.add(made.ref.id) = new_signal(SignalKind::monitor, watcher, made.ref.id);
      if (parent != nullptr) add_monitor(*parent, made.ref, pid, std::move(with));
    }
  } catch (const std::bad_alloc&) {
    if (process.named.exchange(false, base::relaxed)) system.registry.remove(pid);
    process.relations.reset();
    return undo(process, SpawnError::system_limit);
  }
  process.extras.store((options.max_memory != 0 ? Process::kMetered : 0) | system.extras,
                       base::relaxed);  // relaxed: the mailbox's word publishes it
  // Not a port; set by who runs it.
  process.worker =
      parent != nullptr ? parent->worker : &system.scheduler->worker(process.pin == sched::kNoWorker ? 0 : process.pin);
  if (parent != nullptr && parent->is_recorded()) {
    parent->worker->flight().record(flight_word(pid, FlightWord::spawn), flight_word(&start, FlightWord::start));
  }
  if (!waits) process.note_ready();
  process.mailbox.reopen(pid.id, options.mailbox, waits);  // from here on it can be sent to
  if (waits) return made;
  if (parent != nullptr) {
    parent->worker->bear(process);
  } else {
    system.scheduler->policy().submit(process);
  }
  return made;
}

void exit_for(SpawnError error) {
  exit(error == SpawnError::system_limit ? reason::system_limit : Reason(to_string(error)));
}

}  // namespace detail
}  // namespace erlking
