// Runtime: scheduler, heap, processes; built from Options, stopped in order. Several may live in one program. Its
// members are for threads that are no process (and for main); a process uses the free functions.
//
//   int main(int argc, char** argv) {
//     return Runtime(Options::from(argc, argv)).run([] { … });   // the first process; when it ends the rest is stopped
//   }
//   int main(int argc, char** argv) {
//     return Runtime(Options::from(argc, argv)).run(root);       // a Supervisor::Spec: until SIGTERM or SIGINT
//   }
#pragma once

#include "runtime/call.h"
#include "runtime/flight_record.h"
#include "runtime/handler.h"
#include "runtime/holders.h"
#include "runtime/options.h"
#include "runtime/send.h"
#include "runtime/spawn.h"
#include "runtime/supervisor.h"
#include "runtime/system.h"
#include "runtime/timer.h"
#include "runtime/tree.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace erlking {

namespace detail {
class Inspector;
}

/// A picture of a runtime; exact when it is at rest.
struct RuntimeStats {
  unsigned workers = 0;       ///< threads that run processes; `threads`: the most there were
  std::uint64_t spawned = 0;  ///< processes, since the start
  std::uint64_t exited = 0;   ///< those of them that have ended
  std::uint64_t faults = 0;   ///< those ended by a fault that was contained
  /// Bytes of messages, states and process_memory() that processes ended without giving back, and which have been taken
  /// back with their regions (region.h).
  std::uint64_t reclaimed_bytes = 0;
  std::uint64_t dispatches = 0;    ///< times a worker switched to a process
  std::uint64_t steals = 0;        ///< processes a worker took from another
  std::uint64_t sleeps = 0;        ///< times a worker went to sleep
  std::uint64_t timers = 0;        ///< started, and not yet ended or put away
  std::uint64_t timer_places = 0;  ///< the most there have been: 64 bytes each, kept
  gc::HeapStats heap;              ///< where messages live
  sched::StackStats stacks;        ///< where processes run
};

/// How a program runs a tree of supervisors.
struct RootOptions {
  /// SIGTERM and SIGINT stop the tree; a second one ends the program at once. They are as before afterwards.
  bool signals = true;
  /// Of the root supervisor: its name.
  SpawnOptions spawn = {};
};

/// How Runtime::run() of a tree has ended; the exit status for main to return.
enum ExitStatus : int {
  kInOrder = 0,     ///< stopped in order, as asked; or the root ended by itself, and not abnormally
  kRootFailed = 1,  ///< the root did not start, gave up after too many restarts, or ended abnormally
  kNotInOrder = 3,  ///< some did not end within half of Options.stop and were killed, or could not be: see the log
};

/// Scheduler, heap and processes. Its members are for threads that are no process, any number at once.
class Runtime {
 public:
  /// Builds and starts it. An option out of its range, or a system that gives no memory or threads:
  /// std::invalid_argument or std::runtime_error with one line that says what to do.
  explicit Runtime(Options options = {});
  /// stop(), if it has not been called.
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// Runs f(args…) as a process, waits for its end, then stops everything. 0 if it ended `normal` or `shutdown`, else 1
  /// and a line in the log. Once.
  template <class F, class... Args>
  requires Spawnable<F, Args...>
  int run(F&& f, Args&&... args) {
    const auto ended = spawn_wait(forever, {}, std::forward<F>(f), std::forward<Args>(args)...);
    if (!ended) return report_no_start(ended.error());
    return finish(ended->value_or(reason::normal));
  }

  /// Runs a tree of supervisors (docs/supervision.md) until the root ends or a signal comes, then stops everything as
  /// stop() does. Blocks this thread. Once; with signals by one runtime at a time, else std::logic_error.
  ExitStatus run(SupervisorSpec root, const RootOptions& options = {});

  /// Spawns from outside.
  template <class F, class... Args>
  requires Spawnable<F, Args...> std::expected<Pid, SpawnError> spawn(const SpawnOptions& options, F&& f,
                                                                      Args&&... args) {
    detail::OutsideHeap heap(*system_);
    auto made = detail::spawn_in(*system_, options, {}, std::forward<F>(f), std::forward<Args>(args)...);
    if (!made) return std::unexpected(made.error());
    return made->pid;
  }
  /// The same with the default options.
  template <class F, class... Args>
  requires Spawnable<F, Args...> std::expected<Pid, SpawnError> spawn(F&& f, Args&&... args) {
    return spawn(SpawnOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
  }

  /// Spawns a handler from outside.
  template <class H>
  requires Handler<std::decay_t<H>> std::expected<Pid, SpawnError> spawn_handler(const SpawnOptions& options,
                                                                                 H&& handler) {
    detail::OutsideHeap heap(*system_);
    auto made = detail::spawn_handler_in(*system_, options, {}, std::forward<H>(handler));
    if (!made) return std::unexpected(made.error());
    return made->pid;
  }

  /// Spawns from outside and waits for the end; its true reason, however soon it ends. Nothing: the bound has passed,
  /// and the process goes on. Blocks this thread.
  template <class F, class... Args>
  requires Spawnable<F, Args...> std::expected<std::optional<Reason>, SpawnError> spawn_wait(
      Bound bound, const SpawnOptions& options, F&& f, Args&&... args) {
    detail::Port port(*system_);
    if (port.process() == nullptr) return std::unexpected(SpawnError::system_limit);
    const auto spawned = [&] {
      detail::OutsideHeap heap(*system_);
      return detail::spawn_in(*system_, options, {.watch = &port}, std::forward<F>(f), std::forward<Args>(args)...);
    }();
    if (!spawned) return std::unexpected(spawned.error());
    std::optional<Reason> why = port.await_down(bound);
    if (!why) forget(port, spawned->pid);
    return why;
  }

  /// Sends from outside; as erlking::send.
  template <Sendable T>
  Delivery send(const To& address, T&& message) {
    const auto [to, stamp] = address.target(*system_);
    Process& target = system_->process(to);
    detail::OutsideHeap heap(*system_);
    Item* const item = detail::make_item<T>(stamp, std::move(message));
    const Push push = detail::push_from_outside(*system_, target, item, to);
    if (push >= Push::full) detail::take_back(item, message);
    return detail::delivery_of(push, target);
  }

  /// Calls from outside; blocks this thread, at most `bound`.
  template <Request M>
  std::expected<typename M::Reply, CallError> call(const To& address, M request, Bound bound) {
    detail::Port port(*system_);
    if (port.process() == nullptr) return std::unexpected(CallError{CallFailure::no_memory, {}});
    const auto [to, stamp] = address.target(*system_);
    return detail::call_as(*port.process(), to, stamp, std::move(request), bound);
  }

  /// Starts a timer from outside, by a process that lives for just that: this thread is blocked until it has. As
  /// erlking::send_after; `system_limit` also while the runtime stops.
  template <Sendable T>
  std::expected<TimerRef, TimerError> send_after(Bound when, const To& to, T&& message) {
    return start_from_outside([&] { return erlking::send_after(when, to, std::move(message)); });
  }
  /// The same as erlking::start_timer.
  template <Sendable T>
  std::expected<TimerRef, TimerError> start_timer(Bound when, const To& to, T&& message) {
    return start_from_outside([&] { return erlking::start_timer(when, to, std::move(message)); });
  }
  /// As erlking::cancel_timer and erlking::read_timer; they wait for nobody.
  std::optional<Duration> cancel_timer(TimerRef timer);
  /// The same as erlking::read_timer().
  std::optional<Duration> read_timer(TimerRef timer) const;

  /// Waits until `pid` has ended; its reason, or nothing if the bound passed. `noproc` if it had ended before. No
  /// process slot to wait with: std::runtime_error; no memory to ask: std::bad_alloc.
  std::optional<Reason> wait(Pid pid, Bound bound);
  /// Sends an exit signal from outside; as erlking::exit(pid, reason), but std::bad_alloc without memory for it.
  void exit(Pid pid, Reason reason);
  /// Who has the name; none: free.
  std::optional<Pid> whereis(std::string_view name) const;

  /// The supervision tree, by a process that lives for just that; at most `bound`, of which a quarter is kept for its
  /// own start and end. Blocks this thread. Errors: timeout (no worker has had time for it), no_memory, refused (the
  /// runtime stops), died.
  std::expected<SupervisionTree, CallError> tree(Bound bound, TreeLimits limits = {});

  /// Who holds the memory of messages (holders.h), by such a process, as tree(). Errors: as those.
  std::expected<MemoryHolders, CallError> holders(Bound bound, std::size_t most = 10);

  /// With Options.clock = manual: moves time on by `d` in steps from timer to timer, letting everything run in between.
  /// False: something ran on for `real_limit` without waiting; time has stopped there.
  bool advance(Duration d, Duration real_limit = std::chrono::seconds(60));
  /// Waits until nothing can run before time moves on or something comes from outside. False: not within `real_limit`.
  bool run_until_idle(Duration real_limit = std::chrono::seconds(60));
  /// The runtime's time.
  Clock::time_point now() const;

  /// Ends everything: an exit signal `shutdown` to every process but the children of supervisors, whom those end in
  /// order; after half of Options.stop `kill` to all that are left. The log names these, and at the end those that
  /// never reached a safe point. True: all have ended.
  bool stop();

  /// What its workers did last: the latest `most` events of them all. Asks nobody, waits for nobody: it answers also
  /// when all workers are stuck. No memory: std::bad_alloc.
  FlightRecord flight_record(std::size_t most = 100) const;
  /// A picture of it.
  RuntimeStats stats() const;
  /// Processes alive now.
  std::uint64_t processes() const { return system_->alive(); }
  /// What it was built from.
  const Options& options() const { return system_->options; }

 private:
  template <class Start>
  std::expected<TimerRef, TimerError> start_from_outside(Start&& start) {
    std::expected<TimerRef, TimerError> started = std::unexpected(TimerError::system_limit);
    static_cast<void>(spawn_wait(forever, SpawnOptions{}, [&] { started = start(); }));
    return started;
  }
  template <class Answer, class Make>
  std::expected<Answer, CallError> ask_inside(Bound bound, Make&& make);
  void forget(detail::Port& port, Pid watched);
  int report_no_start(SpawnError error);
  int finish(const Reason& why);

  std::unique_ptr<System> system_;
  std::unique_ptr<detail::Inspector> inspector_;  // null: not asked for, or stopped
  bool stopped_ = false;
  bool clean_ = true;
  bool in_order_ = true;  // nobody had to be killed
};

}  // namespace erlking
