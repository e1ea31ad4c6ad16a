// What waits for a process, in bytes: SpawnOptions::max_memory bounds it, whatever the number of messages, and
// SpawnOptions::over_memory says what happens beyond.
//
//   const Pid writer = spawn({.max_memory = 64 << 20, .over_memory = OverMemory::refuse}, write_all);
//
//   MB1  Counted are messages accepted and not yet received, each with its block and what message_bytes() says it owns;
//        not what is never refused (timers' messages, signals, replies), nor what has been received: that is the
//        process's own.
//   MB2  Process::kMetered is set before it can be sent to and cleared, under waiters_lock, after its mailbox has been
//        closed: who sees it under that lock finds the account, and pushes under it. So the bound is exact, and an
//        account is met by its own incarnation's messages alone.
//   MB3  A message that was counted says so (Item::kMetered) and is taken off as it leaves, by the process itself.
// Cost for a process without a bound: a look at a byte on the line a sender is at anyway. With one: a spin lock and one
// message_bytes() at each end.
#pragma once

#include "runtime/message.h"
#include "runtime/options.h"
#include "runtime/pid.h"
#include "runtime/process.h"

#include <cstddef>

namespace erlking::detail {

/// Whether push_metered() holds the target's waiters_lock already: a sender that waits for room.
enum class MeterLock : std::uint8_t { take, held };

/// push_message() for a process with a bound on memory; reports or kills it if it is to be (MB2).
Push push_metered(System& system, Process& target, Item* item, Pid to, MeterLock lock = MeterLock::take) noexcept;
/// Whether `item` would be accepted now: queued, full or closed.
Push probe_metered(Process& target, const Item& item, Pid to, MeterLock lock) noexcept;
/// A counted message has left the process's lists (MB3).
void take_off(Process& process, const Item& item) noexcept;
/// The end of the account: after the mailbox has been closed (MB2).
void close_account(Process& process) noexcept;
/// Bytes that wait for `process`, for who is it; beyond 10,000 messages without a bound estimated by these.
std::size_t queued_bytes(const Process& process) noexcept;

}  // namespace erlking::detail
