// What the runtime writes into a worker's Flight (sched/flight.h), a word for each, its kind in the low six bits:
//   a pid        rotated so that its runtime's tag, the same for all of a ring, makes way for the kind
//   a pointer    to a TypeInfo or a Start, which are aligned to 64 bytes for that
//   a value      58 bits: of input and output, or seven characters of text
// Who did it is not said: it is whom the last `run` or `begin` of the ring names.
#pragma once

#include "runtime/pid.h"
#include "sched/sched.h"

#include <bit>
#include <cstdint>

namespace erlking {

struct Start;
struct TypeInfo;

namespace detail {

enum class FlightWord : std::uint8_t {
  // pids
  run = sched::kOwnKinds,  ///< it goes on here
  begin,                   ///< the same for the first time; a start follows
  spawn,                   ///< it has been made; a start follows
  exit,                    ///< it ends; text follows: of what
  killed,                  ///< who runs is to end, by a signal from it
  send,                    ///< to it; a type follows
  refused,                 ///< by it, what was just sent: full, or no such process
  reply,                   ///< its call is answered
  timer,                   ///< a timer has ended its wait, or sends it a message
  // pointers
  receive,  ///< a message of that type
  type,
  start,
  // values
  io_begin,  ///< an operation waits: see io_word()
  io_end,    ///< an operation is over: see io_word()
  text,      ///< of what went before; up to three
};
static_assert(static_cast<std::uint64_t>(FlightWord::text) <= sched::kFlightKindMask);

inline constexpr unsigned kFlightPidTurn = 22;  // ProcessTable::kSlotBits

constexpr std::uint64_t flight_word(Pid pid, FlightWord kind) noexcept {
  return (std::rotr(pid.id, kFlightPidTurn) & ~sched::kFlightKindMask) | static_cast<std::uint64_t>(kind);
}
inline std::uint64_t flight_word(const TypeInfo* type, FlightWord kind) noexcept {
  return reinterpret_cast<std::uintptr_t>(type) + static_cast<std::uint64_t>(kind);
}
inline std::uint64_t flight_word(const Start* start, FlightWord kind) noexcept {
  return reinterpret_cast<std::uintptr_t>(start) + static_cast<std::uint64_t>(kind);
}
/// [descriptor 21][code 5][result 32]
constexpr std::uint64_t flight_io_word(FlightWord kind, std::uint8_t code, int fd, std::int32_t result) noexcept {
  const std::uint64_t value = (static_cast<std::uint64_t>(fd) & 0x1f'ffff) << 37 |
                              static_cast<std::uint64_t>(code & 0x1f) << 32 | static_cast<std::uint32_t>(result);
  return value << sched::kFlightKindBits | static_cast<std::uint64_t>(kind);
}
/// The pid of a word, in the runtime of that tag.
constexpr Pid flight_pid(std::uint64_t word, unsigned tag) noexcept {
  return Pid{std::rotl((word & ~sched::kFlightKindMask) | tag, kFlightPidTurn)};
}

}  // namespace detail
}  // namespace erlking
