#include "runtime/send.h"

#include <stdexcept>

namespace erlking {

namespace detail {

Pid resolve(const System& system, Name name) { return name.node.empty() ? system.registry.find(name.name) : Pid{}; }

Push push_from_outside(System& system, Process& target, Item* item, Pid to) noexcept {
  const Push push = target.metered.load(base::relaxed) ? push_metered(system, target, item, to)  // relaxed: MB2
                                                       : target.mailbox.push_message(item, to.id);
  if (push == Push::woke) {
    target.note_ready();
    system.scheduler->policy().submit(target);
  }
  return push;
}

}  // namespace detail

Delivery send(const To& address, Message&& message) {
  Process& self = require_process("send");
  self.checkpoint();
  if (!message) return Delivery::noproc;
  const auto [to, stamp] = address.target(*self.system);
  Process& target = self.system->process(to);
  if ((message.item()->flags & Item::kHeld) != 0 && !detail::let_go_on(*message.item())) [[unlikely]]
    throw std::logic_error("erlking: send of a Message that another process has received");
  Item* const item = message.release();
  item->stamp = stamp;
  item->set_flags(Item::kCounted);
  const Push push = detail::push_from(self, target, item, to);
  if (push >= Push::full) {
    if (self.has_region) detail::hold(self, *item);
    Message(item).swap(message);
  }
  return detail::delivery_of(push, target);
}

}  // namespace erlking
