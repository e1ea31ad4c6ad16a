#include "runtime/async.h"

namespace erlking::detail {

Leash::Leash(Process& owner) : kill_(new_signal(SignalKind::exit_plain, owner.pid())) {
  signal_body(*kill_).reason = reason::kill;
}

void Leash::pull() noexcept {
  auto* const self = static_cast<Process*>(sched::current());
  if (self == nullptr) {  // no process, and perhaps no heap either: the block goes with the runtime's
    static_cast<void>(kill_.release());
    return;
  }
  const bool is_owner = self->pid() == signal_body(*kill_).from;
  if (linked_ && !is_owner) return;
  if (linked_ && self->relations != nullptr) self->relations->links.remove(process_.id);  // J2
  send_or_drop(*self->system, std::move(kill_), process_);
}

}  // namespace erlking::detail
