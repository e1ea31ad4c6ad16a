#include "runtime/send.h"

#include "runtime/memory.h"

#include <stdexcept>

namespace erlking {

namespace detail {

Pid resolve(const System& system, Name name) { return name.node.empty() ? system.registry.find(name.name) : Pid{}; }

Push push_with_extras(Process& target, Item* item, Pid to, sched::Flight* flight) noexcept {
  if (target.is_recorded()) {
    item->flags |= Item::kRecorded;
    if (flight != nullptr) flight->record(flight_word(to, FlightWord::send), flight_word(item->type, FlightWord::type));
  }
  const Push push =
      target.is_metered() ? push_metered(*target.system, target, item, to) : target.mailbox.push_message(item, to.id);
  if (push >= Push::full && flight != nullptr) flight->record(flight_word(to, FlightWord::refused));
  return push;
}

Push push_from_outside(System& system, Process& target, Item* item, Pid to) noexcept {
  const Push push = target.extras.load(base::relaxed) == 0 ? target.mailbox.push_message(item, to.id)  // relaxed: MB2
                                                           : push_with_extras(target, item, to, nullptr);
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
  if ((message.item()->flags & Item::kKept) != 0 && !detail::let_go_on(*message.item())) [[unlikely]]
    throw std::logic_error("erlking: send of a Message that another process has received");
  Item* const item = message.release();
  item->stamp = stamp;
  item->set_flags(Item::kCounted);
  const Push push = detail::push_from(self, target, item, to);
  if (push >= Push::full) {
    item->stamp = self.pid().id;  // as of one it has received
    if (self.has_region) detail::hold(self, *item);
    Message(item).swap(message);
  }
  return detail::delivery_of(push, target);
}

}  // namespace erlking
