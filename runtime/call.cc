#include "runtime/call.h"

#include "runtime/system.h"

#include <exception>
#include <new>

namespace erlking {

std::string_view to_string(CallFailure failure) noexcept {
  switch (failure) {
    case CallFailure::timeout:
      return "timeout";
    case CallFailure::noproc:
      return "noproc";
    case CallFailure::full:
      return "full";
    case CallFailure::died:
      return "died";
    case CallFailure::calling_self:
      return "calling_self";
    case CallFailure::noconnection:
      return "noconnection";
    case CallFailure::no_memory:
      return "no_memory";
    case CallFailure::refused:
      return "refused";
  }
  return "unknown";
}

namespace detail {

base::Nanos exact_deadline(const Process& asker, const Bound& bound) noexcept {
  if (bound.is_forever() || bound.is_absolute()) return bound.ns();
  return base::after(asker.system->now(), bound.ns());
}

Reason reason_of_dropping() noexcept {
  const auto* const process = static_cast<const Process*>(sched::current());
  if (process == nullptr) return reason::normal;
  if (process->exiting || process->doomed) return process->reason;
  if (std::uncaught_exceptions() == 0) return process->unwinding ? process->reason : reason::normal;
  // Unwinding: by exit(), whose reason is known, or by an exception, whose reason the bottom catch will make.
  if (process->leaving) return process->reason;
  try {
    return Reason("exception");
  } catch (const std::bad_alloc&) {
    return reason::system_limit;
  }
}

bool push_answer(Process& asker, Item* item) noexcept {
  const Pid to{std::exchange(item->stamp, static_cast<AnswerHead*>(item->untyped_body())->ref)};  // A1
  if (push_uncounted(*asker.system, item, to) != Push::closed) return true;
  drop_item(item);
  return false;
}

}  // namespace detail
}  // namespace erlking
