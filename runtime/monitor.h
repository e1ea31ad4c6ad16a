// What a monitor can be made with beside its target: an alias of the same ref, so that one reference watches a server
// and takes its answer (SEMANTICS 5.5).
//
//   auto [ref, reply_to] = monitor(server, {.alias = AliasKind::reply_demonitor});
//   send(server, Ask{7, reply_to});
//   receive(1s, [](Answer a) { … },                   // the alias and the monitor are gone
//               when([&](const Down& d) { return d.ref == ref; }, [](Down d) { … }),
//               [&](Timeout) { demonitor(ref, Flush::yes); });
#pragma once

#include "runtime/alias.h"
#include "runtime/exit.h"
#include "runtime/pid.h"
#include "runtime/process.h"

#include <optional>

namespace erlking {

struct MonitorOptions {
  std::optional<AliasKind> alias = {};  ///< makes an alias with the monitor's ref
};

/// A monitor, and the alias made with it, if one was: they have one ref.
struct Watch {
  MonitorRef ref;
  Alias alias;
  operator MonitorRef() const noexcept { return ref; }
};

/// As monitor(target), with options.
Watch monitor(Pid target, MonitorOptions options);
/// The same for whoever has the name now.
Watch monitor(Name target, MonitorOptions options);

namespace detail {

/// The ref for a monitor of the running process made with `options`.
MonitorRef next_monitor_ref(Process& process, const MonitorOptions& options) noexcept;
/// The watcher's record and alias; may throw std::bad_alloc and then leaves nothing.
Watch add_monitor(Process& process, MonitorRef ref, Pid target, MonitorOptions&& options);

}  // namespace detail
}  // namespace erlking
