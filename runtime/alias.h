// Alias: an address of a process that it can revoke (SEMANTICS §5). Whoever has it sends to it as to the pid; whether
// it is active is asked when the message is delivered, so that after unalias() and one look at what had come before,
// nothing comes by it any more: the address to give along with a request whose answer may be late.
//
//   Alias me = alias(AliasKind::reply);                    // good for one message
//   send(server, Ask{7, me});
//   receive(1s, [](Answer a) { … }, [&](Timeout) { unalias(me); });    // too late: it never enters the mailbox
//
//   A1  A message sent to an alias carries the alias's ref for a stamp, never the pid of a tenant of its slot (whose
//       low bits differ): the look every message gets for its stamp sends it the slow way, and to no other message does
//       an alias cost anything.
//   A2  Refs are one runtime's and never come back: a later tenant of the slot knows none of an earlier one's.
#pragma once

#include "runtime/pid.h"

#include <cstdint>

namespace erlking {

class Process;
struct Item;

/// What ends an alias, beside unalias() and its owner's end.
enum class AliasKind : std::uint8_t {
  explicit_unalias,  ///< nothing else
  reply,             ///< the first message that comes by it
  demonitor,         ///< the end of the monitor it was made with: demonitor(), or its Down
  reply_demonitor,   ///< either; the first message ends the monitor, too
};

/// A new alias of the caller. Without a monitor (monitor.h) `demonitor` is as `explicit_unalias`, `reply_demonitor` as
/// `reply`. Without memory for it the caller ends with `system_limit`. A safe point.
Alias alias(AliasKind kind = AliasKind::explicit_unalias);

/// Revokes it: what is delivered by it from now on is dropped, also what was sent before; what lies in the mailbox
/// stays, and so does a monitor of the same ref. True: it was an active alias of the caller's. A safe point.
bool unalias(Alias alias);

namespace detail {

/// A ref of the running process fit for an alias (A1).
std::uint64_t next_alias_ref(Process& process) noexcept;

/// The monitor `ref` of `process` is over: so are aliases that end with it.
void end_with_monitor(Process& process, std::uint64_t ref) noexcept;

/// Whether `item`, just delivered to `process` with a stamp that is not its pid, came by an active alias of it and is
/// to be appended. Ends what its first message ends.
bool admit_by_alias(Process& process, Item& item) noexcept;

}  // namespace detail
}  // namespace erlking
