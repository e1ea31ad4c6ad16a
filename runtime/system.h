// System: what one runtime is made of, built in one place and passed down by reference. Core: a worker as the runtime
// extends it: with a heap, slots for processes, and what a timer does when it fires.
#pragma once

#include "base/clock.h"
#include "base/mutex.h"
#include "gc/gc.h"
#include "runtime/call_graph.h"
#include "runtime/group_table.h"
#include "runtime/operation.h"
#include "runtime/options.h"
#include "runtime/process.h"
#include "runtime/process_table.h"
#include "runtime/region.h"
#include "runtime/registry.h"
#include "runtime/report.h"
#include "runtime/roots.h"
#include "runtime/timer_table.h"
#include "sched/sched.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

namespace erlking {

/// Messages of one worker; plain counters of its own, read by anyone.
struct CoreStats {
  std::uint64_t spawned = 0, exited = 0;
};

class Core final : public sched::Worker {
 public:
  Core(System& system, sched::Scheduler& scheduler, sched::Policy& policy, std::uint16_t index);

  gc::Local heap;
  gc::Thread thread;  // this worker's, for a heap that traces
  detail::SlotCache slots;
  detail::TimerTable timers;                         // started on this worker
  std::unique_ptr<io::Driver> driver;                // made at the first operation (Io); not on `threads`
  std::atomic<std::uint64_t> spawned{0}, exited{0};  // this worker's; relaxed stores, any thread reads
  std::atomic<std::uint64_t> faults{0};              // contained here; as above
  std::atomic<std::uint64_t> reclaimed{0};           // bytes of regions, not given back by who owned them; as above

  std::atomic<std::uint64_t> stalls{0};  // told of, a spare worker's; the watcher's

  System& system() const noexcept { return system_; }
  /// A reference nobody else gets.
  std::uint64_t next_ref() noexcept { return ++refs_ << kIndexBits | index(); }
  void release_caches() noexcept override;

 private:
  sched::Fired fire(sched::TimerNode& node) noexcept override;
  void reap(sched::Task& task) noexcept override;
  sched::Worker& serve(sched::Task& task) noexcept override;
  void give_up(sched::Task& task) noexcept override;
  void discard(sched::TimerNode& node) noexcept override;
  void thread_started() noexcept override;
  void thread_stopping() noexcept override;
  void rest(std::atomic<std::uint32_t>& word, base::Nanos timeout) noexcept override;
  bool may_part(sched::Task& task, std::uintptr_t rip, std::uintptr_t rsp) noexcept override;
  std::uint64_t touches(const sched::Task& task) const noexcept override;
  void took(sched::Task& task, base::Nanos since, void* context) noexcept override;
  void watched() noexcept override;
  void left() noexcept override;

  static constexpr unsigned kIndexBits = 12;
  static_assert(sched::kMaxThreads <= 1u << kIndexBits);

  System& system_;
  std::uint64_t refs_ = 0;

  // Of the process that computes on here, a spare worker: written in the handler, before kBegun.
  struct Stall {
    static constexpr std::uint32_t kNone = 0, kBegun = 1, kTelling = 2, kTold = 3;
    std::atomic<std::uint32_t> state{kNone};
    Pid pid, parent;
    const Start* start = nullptr;
    base::Nanos since = 0;
    std::size_t count = 0;
    void* frames[32];
  } stall_;
};

struct System {
  explicit System(Options options);
  ~System();

  const Options options;
  const bool contains_faults = options.on_fault == "contain";
  const std::uint8_t extras = options.flight_recorder != 0 ? Process::kRecorded : 0;  // of each process
  const int tag;  // 0 to 63, of this runtime among those of the program; -1: there are 64 others
  base::Clock clock;
  std::unique_ptr<gc::Collector> collector;
  sched::StackPool stacks;
  detail::ProcessTable table;
  detail::Regions regions;
  bool keeps_regions = false;  // set before there are processes
  detail::Registry registry;
  detail::GroupTable groups;
  std::unique_ptr<detail::CallGraph> call_graph;  // null unless Options.call_cycles
  detail::Reporter reporter;
  detail::Io io{*this};
  std::unique_ptr<sched::Scheduler> scheduler;
  detail::ProcessRoots roots{*this};
  std::string error;                  // why it cannot be used; empty: it can
  std::atomic<bool> stopping{false};  // no more spawns
  std::atomic<std::uint64_t> outside_spawned{0};

  // Threads that are no workers take turns with one heap and one cache of slots: under the mutex an OutsideHeap holds.
  base::Mutex outside_mutex;
  std::unique_ptr<gc::Local> outside_heap;
  std::unique_ptr<detail::SlotCache> outside_slots;
  std::uint64_t outside_refs = 0;  // monitors of ports so far

  base::Nanos manual_now = clock.now();  // what advance() has been asked for so far; its caller's thread

  base::Nanos now() const noexcept { return clock.now(); }
  Process& process(Pid pid) const noexcept { return table.at(pid); }
  /// Who has the name and has not ended (SEMANTICS 1.7, 6.3: one that has is found by no name).
  std::optional<Pid> whereis(std::string_view name) const {
    const Pid pid = registry.find(name);
    return pid && process(pid).mailbox.is_open(pid.id) ? std::optional(pid) : std::nullopt;
  }
  /// registry.add(), but for this: who has the name and is not open is about to open or has just closed, and for those
  /// few instructions another thread needs we wait. So whoever has been told that a process is dead can take its name
  /// (SEMANTICS 6.3).
  template <class IsOpen>
  detail::Registry::Added add_name(std::string_view name, Pid pid, IsOpen&& is_open) {
    for (unsigned turns = 0;; ++turns) {
      const auto added = registry.add(name, pid, is_open);
      if (added != detail::Registry::Added::taken || whereis(name)) return added;
      base::pause_or_yield(turns);
    }
  }
  /// Processes alive, those being made among them; a snapshot.
  std::uint64_t alive() const noexcept;
  /// Whether more are than may be. Not certain: it says so.
  bool is_overfull() const noexcept;

 private:
  std::uint64_t births() const noexcept;
  std::uint64_t deaths() const noexcept;
};

inline Core& core_of(const Process& process) noexcept { return static_cast<Core&>(*process.worker); }

namespace detail {

/// Whether its parent is a living supervisor, which will end it.
bool is_supervised(const System& system, Process& process) noexcept;

/// The outside heap as this thread's, for as long as it lives; nothing on a worker, nothing within another. Never held
/// over a wait.
class OutsideHeap {
 public:
  explicit OutsideHeap(System& system);
  ~OutsideHeap();
  OutsideHeap(const OutsideHeap&) = delete;
  OutsideHeap& operator=(const OutsideHeap&) = delete;

 private:
  System& system_;
  gc::Local* before_;
  bool held_;
};

/// A ticket and a futex for a thread that is no process, for one wait.
class Port {
 public:
  /// process() is null when no slot is left.
  explicit Port(System& system);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;
  Process* process() noexcept { return process_; }
  /// Its one monitor's; nobody else has it.
  MonitorRef ref() const noexcept { return ref_; }
  /// Waits for the DOWN of the one process it watches; nothing: not within the bound.
  std::optional<Reason> await_down(const Bound& bound);

 private:
  System& system_;
  Process* process_ = nullptr;
  MonitorRef ref_;
};

}  // namespace detail
}  // namespace erlking
