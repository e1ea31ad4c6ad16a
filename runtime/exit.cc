#include "runtime/exit.h"

#include "runtime/process_wide.h"
#include "runtime/system.h"

#include <new>

namespace erlking {

using detail::become;
using detail::LinkRecord;
using detail::new_signal;
using detail::push_signal;
using detail::relations_of;
using detail::send_or_drop;
using detail::signal_body;
using detail::SignalKind;
using detail::SignalPtr;

namespace {

// Without memory for its signal or record an operation has done nothing, and ends the caller (SEMANTICS §2).
template <class F>
auto or_system_limit(Process& self, F&& operation) {
  try {
    return operation();
  } catch (const std::bad_alloc&) {
    detail::throw_exit(self, reason::system_limit);
  }
}

MonitorRef monitor_as(Process& self, Pid target, Ref<const std::string> name) {
  const MonitorRef ref{core_of(self).next_ref()};
  SignalPtr signal = new_signal(SignalKind::monitor, self.pid(), ref.id);
  relations_of(self).monitors.add(ref.id).target = target;
  signal_body(*signal).name = std::move(name);
  if (target && push_signal(*self.system, signal.get(), target)) {
    static_cast<void>(signal.release());
    return ref;
  }
  become(*signal, SignalKind::down, target);  // the answer of a process that is not there
  signal_body(*signal).reason = reason::noproc;
  send_or_drop(*self.system, std::move(signal), self.pid());
  return ref;
}

}  // namespace

void exit(Reason reason) {
  Process& self = require_process("exit");
  self.checkpoint();
  detail::throw_exit(self, std::move(reason));
}

void exit(Pid to, Reason reason) {
  Process& self = require_process("exit");
  self.checkpoint();
  SignalPtr signal = or_system_limit(self, [&] { return new_signal(SignalKind::exit_plain, self.pid()); });
  signal_body(*signal).reason = std::move(reason);
  send_or_drop(*self.system, std::move(signal), to);
  if (to == self.pid()) self.checkpoint();  // one's own exit acts before the call returns
}

void link(Pid to) {
  Process& self = require_process("link");
  self.checkpoint();
  if (to == self.pid()) return;  // SEMANTICS 3.2
  LinkRecord* const record = self.relations == nullptr ? nullptr : self.relations->links.find(to.id);
  if (record != nullptr && record->pending == 0) return;  // SEMANTICS 3.1
  SignalPtr signal = or_system_limit(self, [&] {
    SignalPtr made = new_signal(SignalKind::link, self.pid());
    if (record == nullptr) {
      SignalPtr owed = new_signal(SignalKind::exit_link, self.pid());
      relations_of(self).links.add(to.id).exit = std::move(owed);
    }
    return made;
  });
  if (record != nullptr) record->pending = 0;  // L1: a link again, the unlink's acknowledgement is void
  if (push_signal(*self.system, signal.get(), to)) {
    static_cast<void>(signal.release());
    return;
  }
  if (self.trapping) {  // L3: answers itself
    become(*signal, SignalKind::exit_link, to);
    signal_body(*signal).reason = reason::noproc;
    send_or_drop(*self.system, std::move(signal), self.pid());
    return;
  }
  self.relations->links.remove(to.id);
  exit(reason::noproc);
}

void unlink(Pid to) {
  Process& self = require_process("unlink");
  self.checkpoint();
  LinkRecord* record = self.relations == nullptr ? nullptr : self.relations->links.find(to.id);
  if (record == nullptr || record->pending != 0) return;
  SignalPtr signal =
      or_system_limit(self, [&] { return new_signal(SignalKind::unlink, self.pid(), self.relations->unlinks + 1); });
  record->pending = ++self.relations->unlinks;
  if (send_or_drop(*self.system, std::move(signal), to)) return;
  self.relations->links.remove(to.id);  // L3: gone counts as acknowledged
}

MonitorRef monitor(Pid target) {
  Process& self = require_process("monitor");
  self.checkpoint();
  return or_system_limit(self, [&] { return monitor_as(self, target, {}); });
}

MonitorRef monitor(Name target) {
  Process& self = require_process("monitor");
  self.checkpoint();
  const Pid pid = target.node.empty() ? self.system->registry.find(target.name) : Pid{};
  return or_system_limit(self, [&] { return monitor_as(self, pid, share(std::string(target.name))); });
}

bool demonitor(MonitorRef ref, Flush flush) {
  Process& self = require_process("demonitor");
  self.checkpoint();
  detail::MonitorRecord record;
  const bool active = self.relations != nullptr && self.relations->monitors.remove(ref.id, &record);
  if (active) {
    if (void* block =
            detail::heap().allocate(gc::size_class(detail::kSignalBytes))) {  // without: its record is advisory
      send_or_drop(*self.system, SignalPtr(detail::make_signal(block, SignalKind::demonitor, self.pid(), ref.id)),
                   record.target);
    }
    return true;
  }
  if (flush == Flush::yes) {
    self.deliver();
    for (Item** at = &self.inbox_head; *at != nullptr; at = &(*at)->next) {
      Down* const down = detail::item_as<Down>(*at);
      if (down == nullptr || down->ref != ref) continue;
      detail::drop_item(self.take_out(at));
      break;
    }
  }
  return false;
}

bool trap_exit(bool on) {
  Process& self = require_process("trap_exit");
  if (self.mailbox.has_signal()) self.deliver();  // SEMANTICS 2.1: it acts as before
  self.checkpoint();
  return std::exchange(self.trapping, on);
}

}  // namespace erlking
