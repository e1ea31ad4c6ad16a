// What a process does with itself and asks of others: self, sleep, yield, names, is_alive, process_info.
#pragma once

#include "runtime/bound.h"
#include "runtime/call.h"
#include "runtime/pid.h"
#include "runtime/process.h"

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

namespace erlking {

/// The calling process. Outside a process: throws std::logic_error, as everything here does.
Pid self();

/// Waits. A safe point.
void sleep(Bound bound);
void sleep(int) = delete;       // ::sleep(5) would stop the worker: say 5s
void sleep(unsigned) = delete;  // ::sleep(5) would stop the worker: say 5s

/// Lets every other runnable process of this worker go first. A safe point.
void yield();

/// The time of this process's runtime: the real one, or what Runtime::advance() made it.
Clock::time_point now();

/// Sets this process's mailbox bound, 1 to 500,000 messages; what is queued stays. False: out of range, unchanged.
bool set_mailbox_bound(std::uint32_t messages);

/// What process_info and the report of a crash say of the calling process beside its name: any text, to tell one of
/// many by. Empty: none. Without memory for it the caller ends with `system_limit`.
void set_label(std::string label);

// --- names (SEMANTICS §6) ---

/// Why register_name() did not.
enum class NameError : std::uint8_t {
  taken,          ///< somebody has that name
  already_named,  ///< the process has a name
  noproc,         ///< no such process
  reserved,       ///< empty, or "undefined"
};
/// Its name, as above.
std::string_view to_string(NameError error) noexcept;
/// Gives `pid` (any process of this runtime) the name. One name per process; freed when it ends, before anybody is
/// told.
std::expected<void, NameError> register_name(std::string_view name, Pid pid);
/// Who has the name; none: free.
std::optional<Pid> whereis(std::string_view name);
/// Frees the name, whoever has it. False: it was free.
bool unregister(std::string_view name);

// --- others ---

/// Whether it has not ended, judged after everything the caller sent it before (SEMANTICS 1.7). The process answers at
/// its next safe point, one that is dying when it has ended and its name is free; no answer within the bound: it is
/// alive.
bool is_alive(Pid pid, Bound bound);

/// What a process was doing when it was asked.
enum class Status : std::uint8_t {
  running,  ///< or about to
  waiting,  ///< in a receive, call, send or sleep
};

/// A consistent picture of one process, taken at one of its safe points.
struct ProcessInfo {
  Pid pid;                          ///< its own
  Pid parent;                       ///< who spawned it; null: a thread
  std::string name;                 ///< registered; empty: none
  std::string label;                ///< what set_label() said; empty: nothing
  std::string entry;                ///< the type of the function it was spawned with
  Status status = Status::waiting;  ///< when it was asked
  std::uint32_t mailbox_depth = 0;  ///< messages accepted and not received
  std::uint32_t mailbox_bound = 0;  ///< the most there may be
  std::uint32_t received = 0;       ///< messages, modulo 2^32
  std::uint32_t refused = 0;        ///< sends refused for want of room, modulo 2^32
  std::uint64_t reductions = 0;     ///< times it used a budget of 2,000 operations up
  bool trap_exit = false;           ///< whether exits become messages
  int worker = -1;                  ///< the one that ran it last; from RuntimeStats::workers on: a spare one
  int pinned_to = -1;               ///< -1: it may run anywhere
  std::size_t stack_bytes = 0;      ///< usable; 0: a handler that has none just now
  /// Of these, how many have been in use, by whoever used this stack: an upper bound, to tune sizes by.
  std::size_t stack_used = 0;
  std::size_t queued_bytes = 0;  ///< of messages accepted and not received; beyond 10,000 an estimate, without a bound
  std::size_t max_memory = 0;    ///< the most there may be; 0: no bound
  /// Of process_memory() and of messages received and not yet done with, without what their bodies own. On the heaps
  /// `region` and `boehm` of every process, of more than 10,000 of those an estimate; on `owned` counted for one that
  /// has max_memory, and for one that has asked for process_memory(), from then on.
  std::size_t held_bytes = 0;
  std::uint32_t aliases = 0;                         ///< active ones, and requests whose answers have not come
  std::vector<Pid> links;                            ///< in no order
  std::vector<std::pair<MonitorRef, Pid>> monitors;  ///< its own
  /// Others', with who they are.
  std::vector<std::pair<MonitorRef, Pid>> monitored_by;
};
/// Errors: noproc, timeout, no_memory.
std::expected<ProcessInfo, CallError> process_info(Pid pid, Bound bound);

}  // namespace erlking
