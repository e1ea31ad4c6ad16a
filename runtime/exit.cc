#include "runtime/exit.h"

#include "runtime/monitor.h"
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

Watch monitor_as(Process& self, Pid target, Ref<const std::string> name, MonitorOptions&& options) {
  const MonitorRef ref = detail::next_monitor_ref(self, options);
  SignalPtr signal = new_signal(SignalKind::monitor, self.pid(), ref.id);
  const Watch made = detail::add_monitor(self, ref, target, std::move(options));
  signal_body(*signal).name = std::move(name);
  if (target && push_signal(*self.system, signal.get(), target)) {
    static_cast<void>(signal.release());
    return made;
  }
  become(*signal, SignalKind::down, target);  // the answer of a process that is not there
  signal_body(*signal).reason = reason::noproc;
  send_or_drop(*self.system, std::move(signal), self.pid());
  return made;
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

Watch monitor(Pid target, MonitorOptions options) {
  Process& self = require_process("monitor");
  self.checkpoint();
  return or_system_limit(self, [&] { return monitor_as(self, target, {}, std::move(options)); });
}

Watch monitor(Name target, MonitorOptions options) {
  Process& self = require_process("monitor");
  self.checkpoint();
  const Pid pid = target.node.empty() ? self.system->registry.find(target.name) : Pid{};
  return or_system_limit(self,
                         [&] { return monitor_as(self, pid, share(std::string(target.name)), std::move(options)); });
}

MonitorRef monitor(Pid target) { return monitor(target, MonitorOptions{}); }

MonitorRef monitor(Name target) { return monitor(target, MonitorOptions{}); }

namespace detail {

MonitorRef next_monitor_ref(Process& process, const MonitorOptions& options) noexcept {
  return {options.alias ? next_alias_ref(process) : core_of(process).next_ref()};
}

Watch add_monitor(Process& process, MonitorRef ref, Pid target, MonitorOptions&& options) {
  Relations& relations = relations_of(process);
  if (options.alias) relations.aliases.add(ref.id) = *options.alias;
  try {
    MonitorRecord& record = relations.monitors.add(ref.id);
    record.target = target;
    record.tagged = std::move(options.tag).release();
  } catch (...) {
    relations.aliases.remove(ref.id);
    throw;
  }
  return {ref, options.alias ? Alias{process.pid(), ref.id} : Alias{}};
}

bool end_monitor(Process& process, std::uint64_t ref, MonitorRecord& record) noexcept {
  if (process.relations == nullptr || !process.relations->monitors.remove(ref, &record)) return false;
  end_with_monitor(process, ref);
  if (void* block = heap().allocate(gc::size_class(kSignalBytes))) {  // without: what the target has is advisory
    send_or_drop(*process.system, SignalPtr(make_signal(block, SignalKind::demonitor, process.pid(), ref)),
                 record.target);
  }
  return true;
}

}  // namespace detail

bool demonitor(MonitorRef ref, Flush flush) {
  Process& self = require_process("demonitor");
  self.checkpoint();
  detail::MonitorRecord record;  // with its tag, which is destroyed last
  if (detail::end_monitor(self, ref.id, record)) return true;
  if (flush == Flush::yes) {
    self.deliver();
    self.settle();
    for (Item** at = &self.inbox_head; *at != nullptr; at = &(*at)->next) {
      Down* const down =
          ((*at)->flags & Item::kDown) != 0 ? static_cast<Down*>((*at)->untyped_body()) : detail::item_as<Down>(*at);
      if (down == nullptr || down->ref != ref) continue;
      detail::drop_item(self.take_out(at));
      break;
    }
  }
  return false;
}

bool trap_exit(bool on) {
  Process& self = require_process("trap_exit");
  self.settle();
  self.checkpoint();  // SEMANTICS 2.1: what has come acts as before
  return std::exchange(self.trapping, on);
}

}  // namespace erlking
