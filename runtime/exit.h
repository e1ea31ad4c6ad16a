// Ending and watching: exit, links, monitors, trapping (SEMANTICS §2–4). Called by a process; each is a safe point.
// What finds no memory for what it asks exits the caller with `system_limit`, and has done nothing.
#pragma once

#include "runtime/pid.h"
#include "runtime/reason.h"
#include "runtime/signal.h"

namespace erlking {

/// Ends the calling process: unwinds its stack, so destructors run. Can be caught, as a throw can.
[[noreturn]] void exit(Reason reason);
void exit(int) = delete;  // ::exit(3) would end the node: exit(Reason) ends this process

/// Sends an exit signal: `kill` ends `to` untrappably (as `killed`); `normal` is ignored unless trapped or sent to
/// oneself; any other ends it, or becomes an Exit message if it traps. Nothing happens if it is dead.
void exit(Pid to, Reason reason);
void exit(Pid, int) = delete;  // a reason is a name, not a number: exit(pid, Reason("overloaded"))

/// Links the caller and `to`: whichever ends, the other gets an exit signal. Idempotent; to oneself: nothing. To a dead
/// process: the caller exits with `noproc`, or gets Exit{to, noproc} if it traps.
void link(Pid to);
/// Removes the link; when it returns the link has no further effect on the caller.
void unlink(Pid to);

/// Watches `target`: one Down when it ends, at once (`noproc`) if it has. Independent of other monitors.
MonitorRef monitor(Pid target);
/// The same for whoever has the name now; Down carries the name.
MonitorRef monitor(Name target);

/// What demonitor does with a Down already queued.
enum class Flush : bool { no, yes };
/// Ends a monitor of the caller: no Down for it will be queued from now on; with Flush::yes one already queued is
/// removed. True: it was active, so there was no Down. Somebody else's ref: false, no effect.
bool demonitor(MonitorRef ref, Flush flush = Flush::no);

namespace detail {
struct MonitorRecord;
/// Ends `process`'s own monitor, by its own record (L4), and hands that out; false: there is none such.
bool end_monitor(Process& process, std::uint64_t ref, MonitorRecord& record) noexcept;
}  // namespace detail

/// From now on exit signals (but `kill`) become Exit messages, or do not. Returns the old setting; default off.
bool trap_exit(bool on);

}  // namespace erlking
