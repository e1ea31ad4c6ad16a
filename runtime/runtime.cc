#include "runtime/runtime.h"

#include "base/log.h"
#include "runtime/fault.h"
#include "runtime/flight_record.h"
#include "runtime/inspect.h"
#include "runtime/process_wide.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <thread>
#include <unordered_map>

extern "C" {
extern __thread erlking::Core* ek_thread_core __attribute__((tls_model("initial-exec")));
}

namespace erlking {

using base::Nanos;
using detail::SignalKind;

namespace {

// A wait of a thread for something no futex tells: short naps, real time.
constexpr auto kNap = std::chrono::microseconds(50);

std::string range_error(const char* what, std::uint64_t least, std::uint64_t most, std::uint64_t got) {
  return fmt::format("{} must be {} to {}, not {}", what, least, most, got);
}

}  // namespace

System::System(Options given)
    : options(std::move(given)),
      tag(detail::acquire_process_wide()),
      clock(options.clock == ClockKind::manual ? base::Clock::Kind::manual : base::Clock::Kind::real),
      stacks({.max_bytes = options.max_stack_bytes}),
      table(options.max_processes,
            (sched::max_workers(
                 {.policy = options.scheduler, .workers = options.workers, .spares = options.spare_workers}) +
             1) *
                detail::SlotCache::kSize,
            static_cast<unsigned>(std::max(0, tag))) {
  if (tag < 0) {
    error = "64 runtimes live in this program already: end one first";
    return;
  }
  if (options.max_processes < 1 || options.max_processes > detail::ProcessTable::kMaxProcesses) {
    error = range_error("max_processes", 1, detail::ProcessTable::kMaxProcesses, options.max_processes);
    return;
  }
  if (options.spare_threads < 1 || options.spare_threads > kMaxSpareThreads) {
    error = range_error("spare_threads", 1, kMaxSpareThreads, options.spare_threads);
    return;
  }
  if (options.spare_workers > sched::kMaxSpareWorkers) {
    error = range_error("spare_workers", 0, sched::kMaxSpareWorkers, options.spare_workers);
    return;
  }
  if (options.stall_report < Duration::zero() || options.stall_report > std::chrono::hours(1)) {
    error = "stall_report must be 0 to one hour";
    return;
  }
  if (options.max_timers < 1 || options.max_timers > kMaxTimers) {
    error = range_error("max_timers", 1, kMaxTimers, options.max_timers);
    return;
  }
  if (options.on_fault != "contain" && options.on_fault != "abort") {
    error = fmt::format("on_fault must be contain or abort, not {}", options.on_fault);
    return;
  }
  if (const std::string_view why = detail::why_not_contained(); contains_faults && !why.empty()) {
    base::log(base::Level::warning, "faults", fmt::format("faults of processes end the program: {}", why));
  }
  if (options.flight_recorder != 0 &&
      (options.flight_recorder < kMinFlightRecorder || options.flight_recorder > kMaxFlightRecorder)) {
    error = range_error("flight_recorder", kMinFlightRecorder, kMaxFlightRecorder, options.flight_recorder) + ", or 0";
    return;
  }
  if (const auto opened = reporter.open(options); !opened) {
    error = opened.error();
    return;
  }
  if (!table.ok() || !regions.ok()) {
    error = "no address space for the process table (ulimit -v?)";
    return;
  }
  auto heap = gc::make_collector(options.heap, {.max_bytes = options.max_heap_bytes});
  if (!heap) {
    error = heap.error();
    return;
  }
  collector = std::move(*heap);
  if (collector->keeps_regions()) detail::keep_regions(*this);
  if (const auto drivers = io::driver_names(); std::ranges::find(drivers, options.io) == drivers.end()) {
    error = fmt::format("unknown I/O driver '{}': there are {}", options.io, fmt::join(drivers, ", "));
    return;
  }
  if (options.call_cycles) call_graph = std::make_unique<detail::CallGraph>();
  outside_heap = std::make_unique<gc::Local>(*collector);
  outside_slots = std::make_unique<detail::SlotCache>(table);
  auto made = sched::Scheduler::make(
      {.policy = options.scheduler,
       .workers = options.workers,
       .spares = collector->tracer() == nullptr ? options.spare_workers : 0,  // it knows a worker by its thread
       .affinity = options.affinity},
      [this](sched::Scheduler& owner, sched::Policy& policy, std::uint16_t index) -> std::unique_ptr<sched::Worker> {
        return std::make_unique<Core>(*this, owner, policy, index);
      });
  if (!made) {
    error = made.error();
    return;
  }
  scheduler = std::move(*made);
  if (gc::Tracer* const tracer = collector->tracer()) tracer->add(roots);
  detail::add_flights(*this);
}

System::~System() {
  io.stop();
  if (roots.added) gc::forget(roots);
  if (scheduler != nullptr) detail::remove_flights(*this);
  scheduler.reset();
  if (tag >= 0) detail::release_process_wide(tag);
}

std::uint64_t System::alive() const noexcept {
  const std::uint64_t ends = deaths();  // before births: a process counted as ended has been counted as born
  const std::uint64_t begun = births();
  return begun > ends ? begun - ends : 0;
}

bool System::is_overfull() const noexcept {
  // Between the two counts others are born and end: those ends counted before give the most that can have lived, those
  // counted after the least.
  for (int look = 0; look < 16; ++look) {
    const std::uint64_t ends = deaths();
    const std::uint64_t begun = births();
    if (begun - ends <= table.max()) return false;
    const std::uint64_t later_ends = deaths();  // more than had begun, if many lives passed in between
    if (begun > later_ends && begun - later_ends > table.max()) return true;
  }
  return true;
}

std::uint64_t System::births() const noexcept {
  std::uint64_t births = outside_spawned.load(base::acquire);
  for (unsigned i = 0; i < scheduler->size(); ++i) {
    births += static_cast<const Core&>(scheduler->worker(i)).spawned.load(base::acquire);
  }
  return births;
}

std::uint64_t System::deaths() const noexcept {
  std::uint64_t deaths = 0;
  for (unsigned i = 0; i < scheduler->size(); ++i) {
    deaths += static_cast<const Core&>(scheduler->worker(i)).exited.load(base::acquire);
  }
  return deaths;
}

namespace detail {

namespace {
void drop_any(Item* item) noexcept {
  if (item->type != nullptr) return drop_item(item);
  FreeSignal{}(item);
}
}  // namespace

OutsideHeap::OutsideHeap(System& system) : system_(system), before_(ek_thread_heap) {
  held_ = (ek_thread_core == nullptr || &ek_thread_core->system() != &system) && before_ != system.outside_heap.get();
  if (!held_) return;  // a worker of this runtime, or a scope further out
  if (gc::Tracer* const tracer = system_.collector->tracer()) tracer->enter();
  system_.outside_mutex.lock();
  ek_thread_heap = system_.outside_heap.get();
}

OutsideHeap::~OutsideHeap() {
  if (!held_) return;
  ek_thread_heap = before_;
  system_.outside_mutex.unlock();
}

Port::Port(System& system) : system_(system) {
  {
    base::MutexLock lock(system.outside_mutex);
    process_ = system.outside_slots->take();
    ref_ = MonitorRef{std::uint64_t{1} << 63 | ++system.outside_refs};  // a core's refs have that bit clear
  }
  if (process_ == nullptr) return;
  if (process_->system != &system) process_->system = &system;  // as for a new process
  process_->worker = nullptr;
  process_->extras.store(system.extras, base::relaxed);              // relaxed: as the next
  process_->port_woken.store(0, base::relaxed);                      // relaxed: this thread's until a ticket is shown
  process_->mailbox.reopen(system.table.next_pid(*process_).id, 1);  // for signals: the DOWN it may wait for
}

Port::~Port() {
  if (process_ == nullptr) return;
  OutsideHeap heap_scope(system_);
  for (Item* item = process_->mailbox.close(); item != nullptr;) {
    Item* const following = item->next;
    drop_any(item);
    item = following;
  }
  system_.outside_slots->give(*process_);
}

std::optional<Reason> Port::await_down(const Bound& bound) {
  Process& process = *process_;
  TicketWait wait(process, bound, nullptr);
  while (!process.mailbox.has_signal_seq_cst()) {
    if (wait.wait() == TicketWait::Ended::expired && !process.mailbox.has_signal_seq_cst()) return std::nullopt;
  }
  std::optional<Reason> why;
  bool signals = false;
  OutsideHeap heap_scope(system_);
  for (Item* item = process.mailbox.take(&signals); item != nullptr;) {
    Item* const following = item->next;
    if (item->type == nullptr && signal_kind(*item) == SignalKind::down) why = signal_body(*item).reason;
    drop_any(item);
    item = following;
  }
  return why.value_or(reason::noproc);
}

bool is_supervised(const System& system, Process& process) noexcept {
  const Pid parent{std::atomic_ref(process.parent.id).load(base::relaxed)};  // relaxed: an outdated one is closed
  if (!parent) return false;
  Process& by = system.process(parent);
  return by.supervises.load(base::relaxed) && by.mailbox.is_open(parent.id);  // relaxed: as above
}

}  // namespace detail

Runtime::Runtime(Options options) : system_(std::make_unique<System>(std::move(options))) {
  if (!system_->error.empty()) throw std::invalid_argument("erlking: " + system_->error);
  if (!system_->options.inspect.empty()) {
    if (system_->clock.is_manual()) throw std::invalid_argument("erlking: inspect needs the real clock");
    inspector_ = std::make_unique<detail::Inspector>(*this, system_->options.inspect);
  }
  if (!system_->scheduler->start()) throw std::runtime_error("erlking: the system gives no threads for the workers");
  if (inspector_ != nullptr) inspector_->start();
}

Runtime::~Runtime() {
  if (!stop()) static_cast<void>(system_.release());  // its threads still use it
}

int Runtime::report_no_start(SpawnError error) {
  base::log(base::Level::error, "runtime", fmt::format("the first process could not be made: {}", to_string(error)));
  stop();
  return 1;
}

int Runtime::finish(const Reason& why) {
  const bool well = !why.is_abnormal();
  if (!well) base::log(base::Level::error, "runtime", fmt::format("the first process ended: {}", why.to_string()));
  return stop() && well ? 0 : 1;
}

namespace {

// False: it was gone already; nothing is left of the signal. Throws std::bad_alloc.
bool signal_from_outside(System& system, SignalKind kind, Pid from, std::uint64_t ref, const Reason& reason, Pid to) {
  detail::OutsideHeap heap_scope(system);
  detail::SignalPtr signal = detail::new_signal(kind, from, ref);
  detail::signal_body(*signal).reason = reason;
  return detail::send_or_drop(system, std::move(signal), to);
}

// Says in the log who has not ended, the first few by name.
void log_unstopped(const System& system, base::Level level, const std::vector<Pid>& unstopped, std::string_view what) {
  constexpr std::size_t kNamed = 10;
  std::string names;
  for (std::size_t i = 0; i < std::min(unstopped.size(), kNamed); ++i) {
    const std::string name = system.registry.name_of(unstopped[i]);
    names += fmt::format("{}{}{}{}", i == 0 ? "" : ", ", to_string(unstopped[i]), name.empty() ? "" : " ", name);
  }
  if (unstopped.size() > kNamed) names += fmt::format(" and {} more", unstopped.size() - kNamed);
  base::log(
      level, "runtime",
      fmt::format("{} process{} did not {}: {}", unstopped.size(), unstopped.size() == 1 ? "" : "es", what, names));
}

// An exit signal from stop(), which processes that hold all the memory must not keep from its work: the bound on the
// heap is raised, by as much as the next few hundred signals take. False: somebody was quicker and had it, or the
// system has no more.
bool tell_of_stop(System& system, Pid pid, const Reason& reason) noexcept {
  for (int attempt = 0; attempt < 2; ++attempt) {
    try {
      signal_from_outside(system, SignalKind::exit_plain, Pid{}, 0, reason, pid);
      return true;
    } catch (const std::bad_alloc&) {
      if (attempt == 0) system.collector->raise_bound(16 * 1024);
    }
  }
  return false;
}

}  // namespace

std::optional<Reason> Runtime::wait(Pid pid, Bound bound) {
  detail::Port port(*system_);
  if (port.process() == nullptr) throw std::runtime_error("erlking: no process slot left to wait with");
  const Pid me = port.process()->pid();
  if (!signal_from_outside(*system_, SignalKind::monitor, me, port.ref().id, reason::normal, pid))
    return reason::noproc;
  const std::optional<Reason> why = port.await_down(bound);
  if (!why) forget(port, pid);
  return why;
}

void Runtime::forget(detail::Port& port, Pid watched) {
  try {
    signal_from_outside(*system_, SignalKind::demonitor, port.process()->pid(), port.ref().id, reason::normal, watched);
  } catch (const std::bad_alloc&) {  // its record of us is advisory
  }
}

void Runtime::exit(Pid pid, Reason reason) {
  signal_from_outside(*system_, SignalKind::exit_plain, Pid{}, 0, reason, pid);
}

// What make(until) returns, called by a process that lives for just that.
template <class Answer, class Make>
std::expected<Answer, CallError> Runtime::ask_inside(Bound bound, Make&& make) {
  const auto failed = [](CallFailure kind, Reason why = {}) {
    return std::unexpected(CallError{kind, std::move(why)});
  };
  constexpr Nanos kLook = 20'000'000;  // from one look at whether the runtime stops to the next
  System& system = *system_;
  const Nanos began = system.now();
  const Nanos until = bound.is_absolute() ? bound.ns() : base::after(began, bound.ns());
  const Nanos kept = bound.is_forever() ? 0 : std::max<Nanos>(until - began, 0) / 4;
  const auto answer = std::make_shared<std::optional<Answer>>();  // the process may outlive this call
  detail::Port port(system);
  if (port.process() == nullptr) return failed(CallFailure::no_memory);
  const auto made = [&] {
    detail::OutsideHeap heap(system);
    return detail::spawn_in(system, SpawnOptions{}, {.watch = &port},
                            [answer, make, asked = until - kept] { *answer = make(base::to_time_point(asked)); });
  }();
  if (!made) {
    if (made.error() == SpawnError::stopping) return failed(CallFailure::refused, Reason("stopping"));
    return failed(CallFailure::no_memory);
  }
  for (;;) {
    const Nanos now = system.now();
    if (const auto why = port.await_down(base::to_time_point(std::min(until, base::after(now, kLook))))) {
      if (!*answer) return failed(CallFailure::died, *why);
      return *std::move(*answer);
    }
    if (system.stopping.load(base::seq_cst)) return failed(CallFailure::refused, Reason("stopping"));
    if (now >= until) break;
  }
  forget(port, made->pid);
  try {
    exit(made->pid, reason::kill);
  } catch (const std::bad_alloc&) {  // it ends soon by itself
  }
  return failed(CallFailure::timeout);
}

std::expected<SupervisionTree, CallError> Runtime::tree(Bound bound, TreeLimits limits) {
  return ask_inside<SupervisionTree>(bound, [limits](Bound until) { return supervision_tree(until, limits); });
}

std::expected<MemoryHolders, CallError> Runtime::holders(Bound bound, std::size_t most) {
  return ask_inside<MemoryHolders>(bound, [most](Bound until) { return memory_holders(until, most); });
}

std::optional<Duration> Runtime::cancel_timer(TimerRef timer) {
  detail::OutsideHeap heap(*system_);
  return detail::time_left(detail::cancel_timer(*system_, nullptr, timer));
}

std::optional<Duration> Runtime::read_timer(TimerRef timer) const {
  return detail::time_left(detail::read_timer(*system_, timer));
}

std::optional<Pid> Runtime::whereis(std::string_view name) const { return system_->whereis(name); }

Clock::time_point Runtime::now() const { return base::to_time_point(system_->now()); }

bool Runtime::run_until_idle(Duration real_limit) {
  const Nanos until = base::after(base::monotonic_now(), real_limit.count());
  while (!system_->scheduler->idle()) {
    if (base::monotonic_now() > until) return false;
    std::this_thread::sleep_for(kNap);
  }
  return true;
}

bool Runtime::advance(Duration d, Duration real_limit) {
  if (!system_->clock.is_manual()) throw std::logic_error("erlking: advance() is for Options.clock = manual");
  constexpr Nanos tick = sched::TimerWheel::kTick;
  system_->manual_now = base::after(system_->manual_now, std::max<Nanos>(d.count(), 0));
  const Nanos target = (system_->manual_now + tick - 1) / tick * tick;  // the wheels count whole ticks
  for (;;) {
    if (!run_until_idle(real_limit)) return false;
    const Nanos next = std::max(system_->scheduler->next_timer(), system_->now());
    const Nanos to = std::min(target, (std::min(next, target) + tick - 1) / tick * tick);
    system_->clock.advance_to(to);
    system_->scheduler->policy().wake_all();
    if (to >= target) return run_until_idle(real_limit);
  }
}

bool Runtime::stop() {
  if (std::exchange(stopped_, true)) return clean_;
  System& system = *system_;
  system.stopping.store(true, base::seq_cst);
  inspector_.reset();
  const Nanos began = base::monotonic_now();
  const Nanos limit = std::max<Nanos>(system.options.stop.count(), 0);
  std::unordered_map<std::uint32_t, std::uint64_t> told;  // slot → incarnation that has its last signal from here
  bool killing = false;
  Nanos round_at = began;
  const auto for_each = [&](auto&& visit) {  // until one visit says false
    for (std::uint32_t i = 0; i < system.table.used(); ++i) {
      Process& process = system.table.slot(i);
      const Pid pid = process.pid();
      if (pid && process.mailbox.is_open(pid.id) && !visit(i, pid)) return;
    }
  };
  while (system.alive() != 0) {
    const Nanos now = base::monotonic_now();
    if (killing && now - began >= limit) break;  // not before: this thread may have slept through all of it
    if (now >= round_at) {                       // those being born at the first round are told in a later one
      if (!killing && now - began >= limit / 2) {
        killing = true;
        in_order_ = false;
        told.clear();
        std::vector<Pid> late;
        for_each([&](std::uint32_t, Pid pid) {
          late.push_back(pid);
          return true;
        });
        const auto what = fmt::format("end within {} ms of being told to; killed now", limit / 2'000'000);
        if (!late.empty()) log_unstopped(system, base::Level::warning, late, what);
      }
      try {
        for_each([&](std::uint32_t slot, Pid pid) {
          std::uint64_t& seen = told[slot];
          if (seen == pid.id) return true;
          if (!killing && detail::is_supervised(system, system.table.slot(slot))) return true;
          if (!tell_of_stop(system, pid, killing ? reason::kill : reason::shutdown)) return false;
          seen = pid.id;
          return true;
        });
      } catch (const std::bad_alloc&) {  // the next round tells the rest
      }
      round_at = now + 2'000'000;
    }
    std::this_thread::sleep_for(kNap);
  }
  if (system.alive() == 0) {
    system.scheduler->stop();
    system.reporter.finish();
    return clean_;
  }
  clean_ = false;
  std::vector<Pid> left;
  for_each([&](std::uint32_t, Pid pid) {
    left.push_back(pid);
    return true;
  });
  log_unstopped(system, base::Level::error, left,
                fmt::format("stop in {} ms, for want of a safe point; its worker is abandoned", limit / 1'000'000));
  system.scheduler->abandon();
  system.reporter.finish();
  return clean_;
}

FlightRecord Runtime::flight_record(std::size_t most) const { return detail::flight_record_of(*system_, most); }

RuntimeStats Runtime::stats() const {
  RuntimeStats stats;
  const System& system = *system_;
  const unsigned workers = system.scheduler->size();
  stats.workers = workers - system.scheduler->spares();
  stats.hand_overs = system.scheduler->hand_over().count();
  stats.spawned = system.outside_spawned.load(base::relaxed);  // relaxed: statistics
  for (unsigned i = 0; i < workers; ++i) {
    const Core& core = static_cast<const Core&>(system.scheduler->worker(i));
    stats.spawned += core.spawned.load(base::relaxed);
    stats.exited += core.exited.load(base::relaxed);
    stats.stalls += core.stalls.load(base::relaxed);
    stats.faults += core.faults.load(base::relaxed);
    stats.reclaimed_bytes += core.reclaimed.load(base::relaxed);
    const sched::WorkerStats worker = core.stats();
    stats.dispatches += worker.dispatches;
    stats.steals += worker.steals;
    stats.sleeps += worker.sleeps;
    stats.timers += core.timers.taken();
    stats.timer_places += core.timers.used();
  }
  stats.heap = system.collector->stats();
  stats.stacks = system.stacks.stats();
  return stats;
}

}  // namespace erlking
