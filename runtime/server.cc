#include "runtime/server.h"

#include "runtime/system.h"

#include <utility>

namespace erlking {

void Server::stop(Reason why) { detail::require_behaviour("stop").stop(std::move(why)); }

void Server::timeout_after(Duration idle) {
  detail::require_behaviour("timeout_after").extras().idle = idle.count() < 0 ? -1 : idle.count();
}

namespace detail {

void add_continue(Item* item) {
  item->set_flags(0);
  item->next = nullptr;
  ItemPtr owned(item);
  Extras& extras = require_behaviour("continue_with").extras();
  *extras.next_end = owned.release();
  extras.next_end = &item->next;
}

void terminate_if_stopping(Process& process, Behaviour& behaviour) noexcept {
  Extras& extras = *behaviour.extras_if_any();
  if (!extras.stopping) return;
  process.reason = extras.why;
  terminate_behaviour(process);
  extras.why = process.reason;  // its own, or what ended terminate()
}

}  // namespace detail
}  // namespace erlking
