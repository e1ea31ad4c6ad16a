// Reports: what a runtime tells whoever runs it of processes that crash, of supervisors that act, of children that
// start, of calls that wait for each other; in OTP's content, as text or as JSON lines (docs/reports.md has the
// fields), to the log, a file or a hook.
//
//   Options options;
//   options.report_format = "json";
//   options.report_file = "/var/log/store.jsonl";
//   options.report_hook = [](const Report& report) { counters.add(report); };        // or: take them oneself
//
//   RP1  A crash is reported where it was: by a process that ends for an abnormal reason of its own (an exception,
//        exit(), a behaviour's stop()). One that a signal ends, also a link's, makes no report (SEMANTICS 9.5, 10.12).
//   RP2  Until a report is wanted by the level (progress: debug; the others: error; base/log.h) and there is
//        room for it in this second, nothing is made for it: a load, a look at the clock, one change of a word.
//   RP3  Of each kind Options::reports_per_second are made in a second of the runtime's clock, exactly. The rest is
//        counted, and one line before the kind's next report, or at the runtime's end, says how many it was.
//   RP4  A report never changes what it tells of: what is thrown while it is made ends it alone.
#pragma once

#include "runtime/pid.h"
#include "runtime/reason.h"

#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace erlking {

class Process;
struct Options;
struct System;

/// What there is a report of. Each kind has a limit of its own (RP3).
enum class ReportKind : std::uint8_t {
  crash,       ///< a process has crashed
  supervisor,  ///< a supervisor's child failed, or it gives up
  progress,    ///< a supervisor has started a child
  call_cycle,  ///< processes wait for each other in calls (Options::call_cycles)
  memory,      ///< more bytes wait for a process than it may have (SpawnOptions::max_memory)
  stall,       ///< a process computes on (Options::stall_report)
};
/// Its name, as above: the part of the log, and `kind` in JSON.
std::string_view to_string(ReportKind kind) noexcept;

/// A process as reports name it.
struct ReportedProcess {
  Pid pid;           ///< null: there is none
  std::string name;  ///< registered; empty: none
  friend bool operator==(const ReportedProcess&, const ReportedProcess&) = default;
};

/// What a report shows of an object of the user's.
struct Described {
  std::string type;  ///< its type's name
  std::string text;  ///< what describe(object) said; empty: there is no such function
  friend bool operator==(const Described&, const Described&) = default;
};

/// A process has crashed (RP1).
struct CrashReport {
  ReportedProcess process;                 ///< who
  std::string label;                       ///< what set_label() said
  std::string entry;                       ///< the type of its function or class
  Reason reason;                           ///< why
  std::uint32_t mailbox_depth = 0;         ///< messages it had not received
  std::vector<ReportedProcess> ancestors;  ///< parent first, as far as they are alive; at most 16
  std::optional<Described> last_message;   ///< a behaviour's: what it handled, as the callback left it
  std::optional<Described> state;          ///< a behaviour's: its object, after terminate()
};

/// What a supervisor reports.
enum class SupervisorContext : std::uint8_t {
  start_error,       ///< a child could not be started
  child_terminated,  ///< a child has ended by itself
  shutdown_error,    ///< a child that was told to end ended otherwise
  shutdown,          ///< more restarts than its intensity allows: it gives up
};
/// Its name, as above.
std::string_view to_string(SupervisorContext context) noexcept;

/// A child as its supervisor knows it, in the words of its specification.
struct ReportedChild {
  std::string id;              ///< its name in the supervisor
  Pid pid;                     ///< null: it does not run
  std::string restart;         ///< "permanent", "transient", "temporary"
  std::string shutdown;        ///< milliseconds, "infinity", "brutal_kill"
  std::string type;            ///< "worker", "supervisor"
  std::uint64_t restarts = 0;  ///< so far
};

/// A supervisor's child has failed, or the supervisor gives up.
struct SupervisorReport {
  ReportedProcess supervisor;                                       ///< who reports
  SupervisorContext context = SupervisorContext::child_terminated;  ///< what has happened
  Reason reason;                                                    ///< why
  ReportedChild child;                                              ///< to whom
};

/// A supervisor has started a child.
struct ProgressReport {
  ReportedProcess supervisor;  ///< who reports
  std::string child_id;        ///< the child's name in it
  Pid child;                   ///< the child
  std::string started;         ///< the type of its function or class
};

/// Processes wait in calls for each other: each for the next, the last for the first. None will be answered before
/// somebody's bound passes.
struct CallCycleReport {
  std::vector<ReportedProcess> processes;  ///< at most 64; first who has closed the cycle
};

/// More bytes of messages wait for a process than SpawnOptions::max_memory.
struct MemoryReport {
  ReportedProcess process;          ///< for whom
  std::size_t queued_bytes = 0;     ///< bytes that wait
  std::size_t max_memory = 0;       ///< the most there may be
  std::uint32_t mailbox_depth = 0;  ///< messages that wait
  bool killed = false;              ///< it is killed for it
};

/// A process has computed on without a safe point for Options::stall_report, beside the worker it was on; and once more
/// when it is over.
struct StallReport {
  ReportedProcess process;                 ///< who
  std::string entry;                       ///< the type of its function or class
  bool is_over = false;                    ///< it has come to a safe point, or its end
  std::chrono::nanoseconds length{};       ///< so far
  std::vector<std::string> frames;         ///< where it was when it was left behind, innermost first
  std::vector<ReportedProcess> ancestors;  ///< parent first, as far as they are alive; at most 16
};

/// Reports there was no room for (RP3).
struct LeftOut {
  ReportKind kind = ReportKind::crash;  ///< of these
  std::uint64_t count = 0;              ///< so many since the last one that was shown
};

/// What a hook gets.
using Report =
    std::variant<CrashReport, SupervisorReport, ProgressReport, CallCycleReport, MemoryReport, StallReport, LeftOut>;
/// Takes reports in place of log and file: Options::report_hook. Called by whoever reports, on any thread and several
/// at once, on a process's stack perhaps: it must be short and must not wait. If it throws, that report goes where it
/// would without it.
using ReportHook = std::function<void(const Report& report)>;

/// The report as a reader sees it: a line, and lines of details after a line end and four spaces. What is not printable
/// is escaped.
std::string to_text(const Report& report);
/// The report as one line of JSON without its end; bytes that are no UTF-8 are replaced by U+FFFD. Both may throw
/// std::bad_alloc.
std::string to_json(const Report& report);

/// Whether a report of this kind would be shown just now; for what is noted beforehand. Who does not report because of
/// it is not counted (RP3): see Reporter::report(), which makes a report at need.
bool wants_report(const System& system, ReportKind kind) noexcept;
/// Reports, if wants_report() and there is room (RP3). For supervisors; any thread.
void report(System& system, SupervisorReport report) noexcept;
/// The same.
void report(System& system, ProgressReport report) noexcept;

/// What reports can show more of than the type's name: `std::string describe(const T&)` is found beside T.
template <class T>
concept Describable = requires(const T& object) {
  { describe(object) } -> std::convertible_to<std::string>;
};

namespace detail {

/// What a report shows of `object`. The user's describe() may throw; its exits are no more than that.
template <class T>
Described described(std::string_view type, const T& object) {
  Described made{std::string(type), {}};
  if constexpr (Describable<T>) {
    try {
      made.text = describe(object);
    } catch (...) {
      made.text = "(describe() threw)";
    }
  }
  return made;
}

/// The limit of one kind (RP3). Any thread.
class ReportMeter {
 public:
  /// Whether one may be made in `second`; counts it. `left_out`: what the seconds before had no room for.
  bool admit(std::uint32_t second, std::uint32_t limit, std::uint64_t& left_out) noexcept;
  /// Whether admit() would say so.
  bool has_room(std::uint32_t second, std::uint32_t limit) const noexcept;
  /// What had no room so far; it counts as told.
  std::uint64_t take_left_out(std::uint32_t limit) noexcept;

 private:
  // {second 32, asked 32}: how many have asked in that second. One word, so that each asker has a place of its own.
  std::atomic<std::uint64_t> word_{0};
};

/// Where a runtime's reports go.
class Reporter {
 public:
  Reporter();
  ~Reporter();
  Reporter(const Reporter&) = delete;
  Reporter& operator=(const Reporter&) = delete;

  /// Before any report. An error is a line for the user.
  std::expected<void, std::string> open(const Options& options);

  /// Whether the level lets the kind through, and there is room (RP2).
  bool wants(ReportKind kind, std::int64_t now) const noexcept;
  /// The same, and takes the room: make_report() is to be given.
  template <class Make>
  void report(ReportKind kind, std::int64_t now, Make&& make_report) noexcept {
    if (!admit(kind, now)) return;
    try {
      give(kind, Report(make_report()));
    } catch (...) {  // RP4
    }
  }
  /// Says what was left out; at the end.
  void finish() noexcept;

 private:
  bool admit(ReportKind kind, std::int64_t now) noexcept;
  void tell_left_out(ReportKind kind, std::uint64_t count) noexcept;
  void give(ReportKind kind, const Report& report);
  void write(ReportKind kind, const Report& report);

  struct Output;
  std::unique_ptr<Output> output_;
  std::uint32_t limit_ = 1;
  std::array<ReportMeter, 6> meters_;  // one for each kind
};

/// Reports a process that computes on, or has. Any thread.
void report_stall(System& system, Pid pid, Pid parent, std::string_view entry, std::span<void* const> frames,
                  std::int64_t length, bool is_over) noexcept;

/// A process comes to its end, and is as yet whole: reports it if it has crashed (RP1).
void report_crash(Process& process) noexcept;

}  // namespace detail
}  // namespace erlking
