#include "runtime/alias.h"

#include "runtime/exit.h"
#include "runtime/process_wide.h"
#include "runtime/system.h"

#include <new>

namespace erlking {

namespace detail {

std::uint64_t next_alias_ref(Process& process) noexcept {
  for (;;) {
    const std::uint64_t ref = core_of(process).next_ref();
    if (((ref ^ process.pid().id) & ProcessTable::kSlotMask) != 0) return ref;
  }
}

void end_with_monitor(Process& process, std::uint64_t ref) noexcept {
  auto& aliases = process.relations->aliases;
  if (aliases.empty()) return;
  const AliasKind* const kind = aliases.find(ref);
  if (kind != nullptr && (*kind == AliasKind::demonitor || *kind == AliasKind::reply_demonitor)) aliases.remove(ref);
}

bool admit_by_alias(Process& process, Item& item) noexcept {
  if (process.relations == nullptr) return false;
  auto& aliases = process.relations->aliases;
  const AliasKind* const found = aliases.find(item.stamp);
  if (found == nullptr) return false;
  const AliasKind kind = *found;
  const std::uint64_t ref = std::exchange(item.stamp, process.pid().id);
  if (kind == AliasKind::reply || kind == AliasKind::reply_demonitor) {
    aliases.remove(ref);
    MonitorRecord record;
    if (kind == AliasKind::reply_demonitor && end_monitor(process, ref, record) && record.tagged != nullptr) {
      process.drop_next_time(record.tagged.release());
    }
  }
  return true;
}

}  // namespace detail

Alias alias(AliasKind kind) {
  Process& self = require_process("alias");
  self.checkpoint();
  const Alias made{self.pid(), detail::next_alias_ref(self)};
  try {
    detail::relations_of(self).aliases.add(made.ref) = kind;
  } catch (const std::bad_alloc&) {
    detail::throw_exit(self, reason::system_limit);
  }
  return made;
}

bool unalias(Alias alias) {
  Process& self = require_process("unalias");
  self.checkpoint();
  return alias.owner == self.pid() && self.relations != nullptr && self.relations->aliases.remove(alias.ref);
}

}  // namespace erlking
