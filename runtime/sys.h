// sys: what can be asked of every behaviour, whatever its class, as OTP's sys and proc_lib:stop (SEMANTICS 9.6, 10.17):
// to end, to stand still for a while, to show or change its state. These requests are signals: a full mailbox does not
// refuse them, and they are handled after everything the caller sent before.
//
//   sys::stop(store, reason::normal, 5s);
//   sys::suspend(store, 1s);                                       // what comes waits in the mailbox
//   std::expected<Store, CallError> copy = sys::get_state<Store>(store, 1s);
//   sys::replace_state<Store>(store, [](Store& s) { s.clear(); }, 1s);
//   sys::resume(store, 1s);
//
// A process that is no behaviour never answers: `timeout`. Each is a safe point of the calling process.
#pragma once

#include "runtime/behaviour.h"

#include <concepts>
#include <exception>
#include <expected>
#include <type_traits>
#include <utility>

namespace erlking {
namespace detail {

/// The reply of what has none.
struct Done {};

struct StopRequest : SystemRequest {
  using Reply = Done;  // never sent: the end is the answer
  Reason why;
  explicit StopRequest(Reason reason) noexcept;
};
struct SuspendRequest : SystemRequest {
  using Reply = Done;
  SuspendRequest() noexcept;
};
struct ResumeRequest : SystemRequest {
  using Reply = Done;
  ResumeRequest() noexcept;
};

/// Why a behaviour will not show its state as a `wanted`: it is of another class.
Reason not_of_class(const Process& process, const TypeInfo& wanted);

template <class S, class F>
struct StateRequest : SystemRequest {
  using Reply = std::expected<S, Reason>;
  F change;
  explicit StateRequest(F f) : SystemRequest{&run}, change(std::move(f)) {}
  static void run(void* called, Process& process, Behaviour& behaviour) {
    auto& [request, from] = *static_cast<Called<StateRequest>*>(called);
    const BehaviourType& type = type_of(process);
    if (!same_type(type.type, &type_info_of<S>)) {
      from.reply(std::unexpected(not_of_class(process, type_info_of<S>)));
      return;
    }
    S& state = *static_cast<S*>(type.object(behaviour));
    try {
      from.reply(request.change(state));
    } catch (const std::exception& e) {
      from.reply(std::unexpected(Reason("exception", e.what())));
    }
  }
};

template <class S, class F>
std::expected<S, CallError> ask_state(const char* what, const To& to, F f, const Bound& bound) {
  auto answer = system_call(what, to, StateRequest<S, F>(std::move(f)), bound);
  if (!answer) return std::unexpected(answer.error());
  if (!*answer) return std::unexpected(CallError{CallFailure::refused, answer->error()});
  return *std::move(*answer);
}

}  // namespace detail

namespace sys {

/// Ends a behaviour: after what was sent before, terminate() runs and it exits with `why`. Returns when it has, at most
/// after `bound`: later it ends all the same. Errors: noproc; timeout; died with the reason, if that is another.
std::expected<void, CallError> stop(const To& to, Reason why, Bound bound);
/// From now on it handles nothing but what is in this file, and its parent's end. A suspended one: nothing.
std::expected<void, CallError> suspend(const To& to, Bound bound);
/// It goes on. One that is not suspended: nothing.
std::expected<void, CallError> resume(const To& to, Bound bound);

/// A copy of its object, made between two messages. Errors beside call()'s: refused, if it is not an S.
template <std::copy_constructible S>
std::expected<S, CallError> get_state(const To& to, Bound bound) {
  return detail::ask_state<S>(
      "sys::get_state", to, [](const S& state) { return std::expected<S, Reason>(state); }, bound);
}
/// Runs change(S&) on a copy, in the server's process, and makes the copy its state; a copy of the new one. If it
/// throws a std::exception the state is as it was: `refused`, with what(). Anything else it throws ends the server.
template <std::copyable S, class F>
requires std::invocable<F&, S&> && std::move_constructible<F> std::expected<S, CallError> replace_state(const To& to,
                                                                                                        F change,
                                                                                                        Bound bound) {
  return detail::ask_state<S>(
      "sys::replace_state", to,
      [change = std::move(change)](S& state) mutable {
        S next = state;
        change(next);
        state = next;
        return std::expected<S, Reason>(std::move(next));
      },
      bound);
}

}  // namespace sys
}  // namespace erlking
