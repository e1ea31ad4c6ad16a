#include "runtime/exit.h"

#include "runtime/process_wide.h"
#include "runtime/system.h"

#include <new>

namespace erlking {

using detail::LinkRecord;
using detail::Relations;
using detail::SignalKind;

namespace {

// A signal from the running process; throws std::bad_alloc.
Item* new_signal(SignalKind kind, Pid from, std::uint64_t ref = 0) {
  void* block = detail::heap().allocate(gc::size_class(detail::kSignalBytes));
  if (block == nullptr) throw std::bad_alloc();
  return detail::make_signal(block, kind, from, ref);
}

void free_signal(Item* item) noexcept {
  detail::destroy_signal(*item);
  detail::heap().free_bytes(item, item->bytes);
}

Relations& relations_of(Process& process) {
  if (process.relations == nullptr) process.relations = std::make_unique<Relations>();
  return *process.relations;
}

void send_or_free(Process& self, Item* item, Pid to) noexcept {
  if (!detail::push_signal(*self.system, item, to)) free_signal(item);
}

MonitorRef monitor_as(Process& self, Pid target, Ref<const std::string> name) {
  const MonitorRef ref{core_of(self).next_ref()};
  Item* const item = new_signal(SignalKind::monitor, self.pid(), ref.id);
  try {
    relations_of(self).monitors.add(ref.id, {target});
  } catch (...) {
    free_signal(item);
    throw;
  }
  detail::signal_body(*item).name = std::move(name);
  if (target && detail::push_signal(*self.system, item, target)) return ref;
  detail::become(*item, SignalKind::down, target);  // the answer of a process that is not there
  detail::signal_body(*item).reason = reason::noproc;
  send_or_free(self, item, self.pid());
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
  Item* const item = new_signal(SignalKind::exit_plain, self.pid());
  detail::signal_body(*item).reason = std::move(reason);
  send_or_free(self, item, to);
  if (to == self.pid()) self.checkpoint();  // one's own exit acts before the call returns
}

void link(Pid to) {
  Process& self = require_process("link");
  self.checkpoint();
  if (to == self.pid()) return;  // 3.2
  auto& links = relations_of(self).links;
  LinkRecord* record = links.find(to.id);
  if (record != nullptr && record->pending == 0) return;  // 3.1
  Item* const item = new_signal(SignalKind::link, self.pid());
  if (record != nullptr) {
    record->pending = 0;  // L1: a link again, the unlink's acknowledgement is void
  } else {
    try {
      links.add(to.id, {.exit = new_signal(SignalKind::exit_link, self.pid())});
    } catch (...) {
      free_signal(item);
      throw;
    }
  }
  if (detail::push_signal(*self.system, item, to)) return;
  if (self.trapping) {  // L3: answers itself
    detail::become(*item, SignalKind::exit_link, to);
    detail::signal_body(*item).reason = reason::noproc;
    return send_or_free(self, item, self.pid());
  }
  free_signal(item);
  LinkRecord removed;
  if (links.remove(to.id, &removed)) free_signal(removed.exit);
  exit(reason::noproc);
}

void unlink(Pid to) {
  Process& self = require_process("unlink");
  self.checkpoint();
  LinkRecord* record = self.relations == nullptr ? nullptr : self.relations->links.find(to.id);
  if (record == nullptr || record->pending != 0) return;
  Item* const item = new_signal(SignalKind::unlink, self.pid(), self.relations->unlinks + 1);
  record->pending = ++self.relations->unlinks;
  if (detail::push_signal(*self.system, item, to)) return;
  free_signal(item);  // L3: gone counts as acknowledged
  LinkRecord removed;
  if (self.relations->links.remove(to.id, &removed)) free_signal(removed.exit);
}

MonitorRef monitor(Pid target) {
  Process& self = require_process("monitor");
  self.checkpoint();
  return monitor_as(self, target, {});
}

MonitorRef monitor(Name target) {
  Process& self = require_process("monitor");
  self.checkpoint();
  return monitor_as(self, self.system->registry.find(target.name), share(std::string(target.name)));
}

bool demonitor(MonitorRef ref, Flush flush) {
  Process& self = require_process("demonitor");
  self.checkpoint();
  detail::MonitorRecord record;
  const bool active = self.relations != nullptr && self.relations->monitors.remove(ref.id, &record);
  if (active) {
    if (void* block =
            detail::heap().allocate(gc::size_class(detail::kSignalBytes))) {  // without: its record is advisory
      send_or_free(self, detail::make_signal(block, SignalKind::demonitor, self.pid(), ref.id), record.target);
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
  if (self.mailbox.has_signal()) self.deliver();  // 2.1: a signal received before trapping acts as before
  self.checkpoint();
  return std::exchange(self.trapping, on);
}

}  // namespace erlking
