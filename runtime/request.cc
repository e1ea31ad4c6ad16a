#include "runtime/request.h"

#include <string>

namespace erlking {

std::string_view to_string(NoResponse why) noexcept {
  switch (why) {
    case NoResponse::no_request:
      return "no_request";
    case NoResponse::no_reply:
      return "no_reply";
    case NoResponse::timeout:
      return "timeout";
  }
  return "unknown";
}

namespace detail {

namespace {
bool is_answer(const Item& item) noexcept { return (item.flags & Item::kAnswer) != 0; }
}  // namespace

Pending::Pending(Process& asker) : asker_(asker.pid()), ref_(next_alias_ref(asker)) {
  relations_of(asker).aliases.add(ref_) = AliasKind::reply;
}

void Pending::require(const Process& process, const char* what) const {
  if (ref_ != 0 && asker_ == process.pid()) return;
  throw std::logic_error(std::string("erlking: ") + what +
                         " called for what is no request of this process, or is over");
}

void Pending::abandon() noexcept {
  const std::uint64_t ref = std::exchange(ref_, 0);
  auto* const self = static_cast<Process*>(sched::current());
  if (self == nullptr || self->pid() != asker_ || self->relations == nullptr) return;
  if (self->relations->aliases.remove(ref) || self->exiting) return;
  for (Item** at = &self->inbox_head; *at != nullptr; at = &(*at)->next) {
    if (!is_answer(**at) || ref_of_answer(**at) != ref) continue;
    drop_item(self->take_out(at));
    return;
  }
}

ItemPtr take_answer(Process& self, Item** from, Bound bound, Wanted wanted) {
  if (self.in_call) bound = within_call(self, bound);
  ReceiveWait wait(self, bound);
  for (Item** at = from;;) {
    for (; *at != nullptr; at = &(*at)->next) {
      if (is_answer(**at) && wanted.has(wanted.who, ref_of_answer(**at))) return ItemPtr(self.take_out(at));
    }
    if (!wait.more(at)) return nullptr;
  }
}

ItemPtr take_answer(const char* what, const Pending& request, const Bound& bound) {
  Process& self = require_process(what);
  request.require(self, what);
  self.checkpoint();
  const bool is_there = self.relations == nullptr || self.relations->aliases.find(request.ref()) == nullptr;  // Q4
  return take_answer(self, is_there ? &self.inbox_head : self.inbox_tail, bound,
                     {&request, [](const void* who, std::uint64_t ref) noexcept {
                        return static_cast<const Pending*>(who)->ref() == ref;
                      }});
}

}  // namespace detail
}  // namespace erlking
