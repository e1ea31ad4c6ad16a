// Options: everything a Runtime is built from. Each has a default that suits production; a name out of range is refused
// with a sentence saying what is allowed.
#pragma once

#include "runtime/bound.h"
#include "runtime/report.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>

namespace erlking {

/// What drives time in a runtime.
enum class ClockKind : std::uint8_t {
  real,    ///< the monotonic clock
  manual,  ///< stands still until Runtime::advance(): tests need no sleeps
};

/// The most threads that can be allowed for blocking().
inline constexpr unsigned kMaxSpareThreads = 1024;

/// The most spare workers.
inline constexpr unsigned kMaxSpareWorkers = 64;

/// The highest bound on descriptors.
inline constexpr std::uint32_t kMaxDescriptors = 1'000'000'000;

/// The most timers that can be allowed for one process.
inline constexpr std::uint32_t kMaxTimers = 1'000'000'000;

/// The most reports of a kind that can be allowed in a second.
inline constexpr std::uint32_t kMaxReportsPerSecond = 1'000'000;

/// The least and the most entries of a flight recorder.
inline constexpr std::uint32_t kMinFlightRecorder = 64, kMaxFlightRecorder = 1 << 20;  ///< entries

/// Everything a Runtime is built from.
struct Options {
  std::string scheduler = "steal";  ///< --ek-scheduler, ERLKING_SCHEDULER: "steal", "threads" (docs/schedulers.md)
  std::string heap = "owned";       ///< --ek-heap, ERLKING_HEAP: "owned", "region", "boehm" (docs/heaps.md)
  /// --ek-io, ERLKING_IO: "uring", "epoll"; uring gives way to epoll where it does not work, and the log says so
  std::string io = "uring";
  unsigned spare_threads = 16;  ///< --ek-spare-threads, ERLKING_SPARE_THREADS: most for blocking(), 1 to 1,024
  /// --ek-max-descriptors, ERLKING_MAX_DESCRIPTORS: open at once of sockets, files, pipes and subprocesses, 0 to
  /// 1,000,000,000; at the bound what would open one fails with IoFailure::limit. 0: the system's bound alone
  std::uint32_t max_descriptors = 0;
  /// --ek-max-io-bytes, ERLKING_MAX_IO_BYTES: of what connections have read ahead; at the bound a read that would need
  /// more fails with IoFailure::limit. 0: each connection's own bounds alone
  std::uint64_t max_io_bytes = 0;
  unsigned workers = 0;  ///< --ek-workers, ERLKING_WORKERS: 1 to 1,024; 0: one per CPU; not for `threads`
  /// --ek-spare-workers, ERLKING_SPARE_WORKERS: of `steal`, for processes that compute on without a safe point to go on
  /// with (docs/stalls.md), 0 to 64; 0: none, their workers stall
  unsigned spare_workers = 4;
  /// --ek-stall-report (ms), ERLKING_STALL_REPORT: who has computed on so long beside its worker is reported, 0 to one
  /// hour; 0: nobody
  Duration stall_report = std::chrono::milliseconds(10);
  bool affinity = false;                    ///< --ek-affinity, ERLKING_AFFINITY: bind each worker to a CPU
  std::uint32_t max_processes = 1'048'576;  ///< --ek-max-processes, ERLKING_MAX_PROCESSES: 1 to 4,000,000
  std::uint32_t max_timers = 16'384;  ///< --ek-max-timers, ERLKING_MAX_TIMERS: 1 to 1,000,000,000; SpawnOptions::timers
  std::size_t max_heap_bytes = SIZE_MAX;   ///< message heap; at the bound spawn and send find no memory
  std::size_t max_stack_bytes = SIZE_MAX;  ///< address space of stacks and guards; at it spawn answers system_limit
  /// --ek-on-fault, ERLKING_ON_FAULT: "contain": a hardware fault in a process's code is its exit reason, where that
  /// can be (docs/faults.md); "abort": it ends the program
  std::string on_fault = "contain";
  bool call_cycles = false;           ///< --ek-call-cycles, ERLKING_CALL_CYCLES: tell of calls that wait for each other
  ClockKind clock = ClockKind::real;  ///< manual: for tests
  Duration stop =
      std::chrono::seconds(10);  ///< --ek-stop (ms), ERLKING_STOP: how long the end may take before the rest is killed
  std::string report_format = "text";  ///< --ek-report-format, ERLKING_REPORT_FORMAT: "text", "json"
  std::string report_file = {};        ///< --ek-report-file, ERLKING_REPORT_FILE: appended to; empty: the log
  std::uint32_t reports_per_second =
      50;                       ///< --ek-reports-per-second, ERLKING_REPORTS_PER_SECOND: of each kind, 1 to 1,000,000
  ReportHook report_hook = {};  ///< takes reports in place of log and file (report.h); empty: none
  /// --ek-inspect, ERLKING_INSPECT: path, at most 107 bytes, of a Unix socket at which `erlking tree` asks for the
  /// supervision tree (docs/tree.md); this user's alone, made at the start, removed at the end. Empty: none. Not with a
  /// manual clock.
  std::string inspect = {};
  /// --ek-flight-recorder, ERLKING_FLIGHT_RECORDER: entries of 8 bytes that each worker keeps of its last events, 64 to
  /// 1,048,576, rounded up to a power of two; with `threads` an eighth of that. 0: none are kept (docs/tree.md)
  std::uint32_t flight_recorder = 0;

  /// Reads ERLKING_… and the --ek-… flags, and removes those flags from argv (argc is updated; all else stays in
  /// order). An error is one line fit for a user.
  static std::expected<Options, std::string> parse(int& argc, char** argv);
  /// The same; an error is printed to stderr and ends the program with status 2.
  static Options from(int& argc, char** argv);
  /// The flags, a line each, for a program's --help.
  static std::string help();
};

/// What happens when more bytes wait for a process than SpawnOptions::max_memory allows.
enum class OverMemory : std::uint8_t {
  report,  ///< they are accepted, and a report tells of it; again when it has been below half in between
  refuse,  ///< senders are told `full`, or wait for room, as at the bound on messages
  kill,    ///< it is reported and ends with `killed`
};

/// How one process is made.
struct SpawnOptions {
  std::string name = {};          ///< registered before it runs; taken: the spawn fails with name_taken
  std::uint32_t mailbox = 1024;   ///< bound, messages: 1 to 500,000
  std::size_t stack = 64 * 1024;  ///< bytes: 16 KiB to 8 MiB, rounded up to a power of two, less up to 2 KiB
  std::uint32_t timers = 0;  ///< started for it, and their messages not received: 1 to 1,000,000,000; 0: max_timers
  /// Bytes of messages that may wait for it, as message_bytes() counts them, 0 to 2^63: beside the bound on their
  /// number. 0: no such bound.
  std::size_t max_memory = 0;
  OverMemory over_memory = OverMemory::refuse;  ///< what happens beyond
  int worker = -1;                              ///< run on this worker only; -1: anywhere; `threads` gives each its own
};

}  // namespace erlking
