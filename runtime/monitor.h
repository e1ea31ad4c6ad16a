// What a monitor can be made with beside its target: a tag, so that its DOWN is a message of a type of its own
// (SEMANTICS 4.9); an alias of the same ref, so that one reference watches a server and takes its answer (5.5).
//
//   struct Job { int number; };
//   monitor(worker, {.tag = Job{7}});
//   receive(1s, [](DownAs<Job> down) { restart(down.tag.number, down.reason); });
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
#include "runtime/send.h"

#include <concepts>
#include <new>
#include <optional>
#include <utility>

namespace erlking {

/// What a monitor with a tag sends in place of a Down: that, and the tag.
template <class T>
struct DownAs : Down {
  T tag;  ///< as given to the monitor
};

/// A tag of any type that can be sent; in the message it will travel in, so that no memory is needed when the time
/// comes. Of the process that made it, which ends with `system_limit` if there is no memory for it. Outside a process:
/// throws std::logic_error.
class DownTag {
 public:
  DownTag() noexcept = default;
  /// A tag; its type says which DownAs<T> will come.
  template <class T>
  requires(!std::same_as<T, DownTag> && Sendable<T>) DownTag(T&& tag) : item_(make(std::move(tag))) {}

  /// For add_monitor(): null if there is none.
  detail::ItemPtr release() && noexcept { return std::move(item_); }

 private:
  template <class T>
  static Item* make(T&& tag) {
    require_process("monitor");
    try {
      Item* const item = detail::make_item<DownAs<T>>(0, Down{}, std::move(tag));
      item->set_flags(Item::kDown);  // takes no place in the bound
      return item;
    } catch (const std::bad_alloc&) {
      exit(reason::system_limit);
    }
  }

  detail::ItemPtr item_;
};

/// How a monitor is made; used up by one.
struct MonitorOptions {
  std::optional<AliasKind> alias = {};  ///< makes an alias with the monitor's ref
  DownTag tag = {};                     ///< a T{…}: its DOWN is a DownAs<T> with it, no Down
};

/// A monitor, and the alias made with it, if one was: they have one ref.
struct Watch {
  MonitorRef ref;  ///< the monitor
  Alias alias;     ///< of the caller; null if none was asked for
  /// Its ref alone, as demonitor() takes it.
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
