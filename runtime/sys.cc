#include "runtime/sys.h"

#include "runtime/system.h"

#include <new>
#include <optional>
#include <string>

namespace erlking {

namespace detail {

namespace {

template <class M>
Called<M>& as_called(void* called) noexcept {
  return *static_cast<Called<M>*>(called);
}

// The next message that a suspended behaviour heeds; the others stay where they are.
Message next_for_the_system(Process& process, const Behaviour& behaviour) {
  const auto heeds = [&](Item* item) {
    if (item->type->kind == MessageKind::system) return true;
    const Exit* const exit = item_as<Exit>(item);
    return exit != nullptr && is_from_parent(process, behaviour, *exit);
  };
  process.settle();
  ReceiveWait wait(process, forever);
  Item** at = &process.inbox_head;
  for (;;) {
    for (; *at != nullptr; at = &(*at)->next) {
      if (heeds(*at)) return Message(process.take_out(at));
    }
    static_cast<void>(wait.more(at));
  }
}

void suspend(void* called, Process& process, Behaviour& behaviour) {
  as_called<SuspendRequest>(called).from.reply({});
  const auto is_over = [&] { return behaviour.extras_if_any() != nullptr && behaviour.extras_if_any()->stopping; };
  while (!is_over()) {
    Message message = next_for_the_system(process, behaviour);
    if (const Exit* const exit = message.get<Exit>()) {
      Extras& extras = behaviour.extras();
      extras.stopping = true;
      extras.why = exit->reason;
    } else if (auto* const again = message.get<Called<SuspendRequest>>()) {
      again->from.reply({});
    } else if (auto* const resume = message.get<Called<ResumeRequest>>()) {
      resume->from.reply({});
      return;
    } else if (message.kind() == MessageKind::system) {
      static_cast<SystemRequest*>(message.body())->act(message.body(), process, behaviour);
    }
  }
}

void resume(void* called, Process&, Behaviour&) { as_called<ResumeRequest>(called).from.reply({}); }

void stop(void* called, Process&, Behaviour& behaviour) {
  Extras& extras = behaviour.extras();
  extras.stopping = true;
  extras.why = std::move(as_called<StopRequest>(called).request.why);
}

std::expected<void, CallError> without_reply(const std::expected<Done, CallError>& answer) {
  if (!answer) return std::unexpected(answer.error());
  return {};
}

}  // namespace

StopRequest::StopRequest(Reason reason) noexcept : SystemRequest{&detail::stop}, why(std::move(reason)) {}
SuspendRequest::SuspendRequest() noexcept : SystemRequest{&detail::suspend} {}
ResumeRequest::ResumeRequest() noexcept : SystemRequest{&detail::resume} {}

Reason not_of_class(const Process& process, const TypeInfo& wanted) {
  return Reason("other_class", std::string(process.start->name) + " is no " + std::string(wanted.name));
}

}  // namespace detail

namespace sys {

std::expected<void, CallError> stop(const To& to, Reason why, Bound bound) {
  Process& self = require_process("sys::stop");
  self.checkpoint();
  const auto failed = [](CallFailure kind, Reason reason = {}) {
    return std::unexpected(CallError{kind, std::move(reason)});
  };
  const auto [pid, stamp] = to.target(*self.system);
  if (!pid) return failed(CallFailure::noproc);
  if (pid == self.pid()) return failed(CallFailure::calling_self);
  const MonitorRef ref = monitor(pid);
  try {
    using Body = detail::Called<detail::StopRequest>;
    detail::ItemPtr item(detail::make_item<Body>(stamp, detail::StopRequest(why), From<detail::StopRequest>{}));
    item->set_flags(0);
    if (detail::push_uncounted(*self.system, item.get(), pid) != Push::closed) static_cast<void>(item.release());
  } catch (const std::bad_alloc&) {
    demonitor(ref, Flush::yes);
    return failed(CallFailure::no_memory);
  }
  using Ended = std::optional<Reason>;
  const Ended ended = receive(
      bound, when([&](const Down& down) { return down.ref == ref; }, [](Down& down) { return Ended(down.reason); }),
      [](Timeout) { return Ended(); });
  if (!ended) {
    demonitor(ref, Flush::yes);
    return failed(CallFailure::timeout);
  }
  if (*ended == why) return {};
  return *ended == reason::noproc ? failed(CallFailure::noproc) : failed(CallFailure::died, *ended);
}

std::expected<void, CallError> suspend(const To& to, Bound bound) {
  return detail::without_reply(detail::system_call("sys::suspend", to, detail::SuspendRequest(), bound));
}

std::expected<void, CallError> resume(const To& to, Bound bound) {
  return detail::without_reply(detail::system_call("sys::resume", to, detail::ResumeRequest(), bound));
}

}  // namespace sys
}  // namespace erlking
