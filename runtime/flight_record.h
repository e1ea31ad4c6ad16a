// The flight recorder: what the workers of a runtime did last (docs/tree.md). Recorded into a ring of each worker
// (sched/flight.h), where Options.flight_recorder asks for it; read on demand, and told when the program aborts.
#pragma once

#include "runtime/bound.h"
#include "runtime/pid.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace erlking {

/// Something a worker did, or the process it ran.
enum class Happening : std::uint8_t {
  run,       ///< the process goes on there, after a wait or another process's turn
  begin,     ///< the process runs for the first time; name: of what it runs
  spawn,     ///< made `other`; name: of what that runs
  exit,      ///< the process ended; name: the reason, or the type of the exception, its first 21 bytes
  killed,    ///< a signal from `other` ends the process
  send,      ///< a message to `other`; name: its type
  refused,   ///< what was just sent to `other`: its mailbox is full, or it is gone
  receive,   ///< took a message; name: its type
  reply,     ///< answered a call of `other`
  timer,     ///< a timer has ended a wait of `other`, or sends it a message
  io_begin,  ///< the process waits for an operation; name: which; value: the descriptor's lower 21 bits
  io_end,    ///< an operation is over; value: the system's answer, or -errno
  steal,     ///< the worker took `value` processes from another; name: "from w" and which
  sleep,     ///< the worker lay down to sleep
  wake,      ///< the worker began, or got up
};
/// "run" and so on.
std::string_view to_string(Happening happening) noexcept;

/// One thing that happened.
struct FlightEvent {
  Clock::time_point at;    ///< real time, to about 20 µs; in one worker the order is exact
  unsigned worker = 0;     ///< its index
  Happening what{};        ///< which says what the others mean
  Pid process;             ///< who did it; nobody: the worker itself, or it is not known any more
  Pid other;               ///< whom it concerns; nobody: see `what`
  std::string name;        ///< see `what`
  std::int64_t value = 0;  ///< see `what`
};

/// What the workers did last.
struct FlightRecord {
  Clock::time_point taken;          ///< when it was asked for
  std::vector<FlightEvent> events;  ///< in the order of time
};

/// A line for each, how long ago first. Control characters are shown as ?.
std::string to_text(const FlightRecord& record);
/// As JSON (docs/tree.md).
std::string to_json(const FlightRecord& record);

/// Writes the last events of every worker of every runtime in this program to `fd`, as text: what happens by itself
/// when it aborts. Any thread; may be called by a signal handler: it takes no lock and no memory.
void tell_all_flights(int fd) noexcept;

struct System;

namespace detail {

/// The most recent `most` events of all workers. Any thread.
FlightRecord flight_record_of(const System& system, std::size_t most);

/// `system` is told of by tell_all_flights() from here on, until there.
void add_flights(const System& system) noexcept;
void remove_flights(const System& system) noexcept;

/// For an end of the program that is no orderly one: tell_all_flights() to standard error, once.
void tell_flights_at_abort() noexcept;

}  // namespace detail
}  // namespace erlking
