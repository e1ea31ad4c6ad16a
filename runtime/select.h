// select: waits for whichever comes first, a message that some clause takes or a source that is ready.
//
//   select(5s, on_room(consumer, [&] { send(consumer, Batch{next()}); }),   // room in another's mailbox …
//              [&](Stop) { done = true; },                                   // … or a message
//              [](Timeout) { … });
//
// Sources and clauses are given in any order; the clauses are receive's, with receive's rules. A message that is there
// comes before any source, among messages the oldest, among sources the one given first: so whoever says Stop is heard
// however busy the sources are. One thing is done: the others are as if they had not been asked.
//
//   V1  A source that is not ready leaves a nudge, a signal paid for beforehand, with whoever can make it ready, and
//       that is pushed when it does. A signal ends a park and prevents the next, so no readiness is missed between the
//       look and the wait, and nothing is added to the way of a message.
//   V2  Only what comes after `nudge` was set to `armed` counts: then the sources are looked at, then it parks. One
//       that comes late, for a select that is over, is nobody's.
#pragma once

#include "runtime/receive.h"

#include <concepts>
#include <type_traits>
#include <utility>

namespace erlking {

/// What select can wait for beside messages: a type with
///   result           what run() returns
///   arm(process)     true: it is ready. Else whoever makes it ready will push a nudge to `process` (V1). Called again
///                    after each wake. Never waits. May throw, and then has armed nothing.
///   disarm()         nobody will touch it any more. Called once at the end, armed or not, before run().
///   run()            the user's: what to do
template <class S>
concept Source = requires(S& source, Process& process) {
  typename S::result;
  { source.arm(process) } -> std::same_as<bool>;
  { source.disarm() }
  noexcept;
  { source.run() } -> std::same_as<typename S::result>;
};

namespace detail {

/// A place among those who wait for room in the mailbox of `target`, without waiting itself.
class RoomWatch {
 public:
  explicit RoomWatch(Pid target) noexcept : target_(target) {}
  RoomWatch(RoomWatch&& other) noexcept : target_(other.target_) {}  // before the first arm()
  ~RoomWatch() { disarm(); }
  /// Whether there is room now, or nobody.
  bool arm(Process& process);
  void disarm() noexcept;

 private:
  Pid target_;
  Process* slot_ = nullptr;  // armed: whose list it is in
  Waiter waiter_{};
};

template <class F>
class OnRoom {
 public:
  using result = std::invoke_result_t<F&>;
  OnRoom(Pid target, F body) : watch_(target), body_(std::move(body)) {}
  bool arm(Process& process) { return watch_.arm(process); }
  void disarm() noexcept { watch_.disarm(); }
  result run() { return body_(); }

 private:
  RoomWatch watch_;
  F body_;
};

template <class P>
struct part_result : std::type_identity<typename clause<P>::result> {};
template <Source P>
struct part_result<P> : std::type_identity<typename P::result> {};

template <class... Ps>
struct common_part_result {
  static_assert(sizeof...(Ps) > 0, "select needs something to wait for: a clause or a source");
  static_assert(
      sizeof...(Ps) == 0 || requires { typename std::common_type_t<typename part_result<Ps>::type...>; },
      "the clauses and sources of one select return values without a common type");
  using type = std::common_type_t<typename part_result<Ps>::type...>;
};
// As well_ordered(), of the clauses among the parts.
template <class... Ps>
consteval bool well_ordered_parts() {
  bool any = false, ok = true;
  int timeouts = 0;
  const auto look = [&]<class P>(std::type_identity<P>) {
    if constexpr (!Source<P>) {
      if (is_timeout<P>) {
        ++timeouts;
      } else if (any) {
        ok = false;
      } else {
        any = is_catch_all<P>;
      }
    }
  };
  (look(std::type_identity<Ps>{}), ...);
  return ok && timeouts <= 1;
}

// The wait of a select: over before anything of the user's runs.
template <class... Ps>
class SelectWait {
 public:
  SelectWait(Process& process, const Bound& bound, Ps&... parts) noexcept
      : process_(process), wait_(process, bound), parts_(parts...) {}
  ~SelectWait() { end(); }
  SelectWait(const SelectWait&) = delete;
  SelectWait& operator=(const SelectWait&) = delete;

  void end() noexcept {
    if (std::exchange(over_, true)) return;
    wait_.end();
    process_.nudge = Nudge::none;
    std::apply([](auto&... part) { (disarm(part), ...); }, parts_);
  }
  bool more(Item** at) {
    sched::note_touch();
    return wait_.more(at);
  }

 private:
  template <class P>
  static void disarm([[maybe_unused]] P& part) noexcept {
    if constexpr (Source<P>) part.disarm();
  }
  Process& process_;
  ReceiveWait wait_;
  std::tuple<Ps&...> parts_;
  bool over_ = false;
};

template <class P, class Wait, class R>
bool try_message([[maybe_unused]] P& part, Process& process, Item** at, Wait& wait, Result<R>& result) {
  if constexpr (Source<P>) {
    return false;
  } else {
    return try_clause(part, process, at, wait, result);
  }
}

template <class P, class Wait, class R>
bool try_source([[maybe_unused]] P& part, Process& process, Wait& wait, Result<R>& result) {
  if constexpr (Source<P>) {
    if (!part.arm(process)) return false;
    wait.end();
    result.set([&]() -> decltype(auto) { return part.run(); });
    return true;
  } else {
    return false;
  }
}

template <class P, class R>
bool try_late([[maybe_unused]] P& part, Result<R>& result) {
  if constexpr (Source<P>) {
    return false;
  } else {
    return try_timeout(part, result);
  }
}

}  // namespace detail

/// A source for select: ready when a send to `target` would find room, or nobody; then runs body(). Somebody else may
/// be quicker: the send in it says. Without memory for its nudge select throws std::bad_alloc.
template <std::invocable<> F>
detail::OnRoom<F> on_room(Pid target, F body) {
  return {target, std::move(body)};
}

/// See the head of this file. `bound` as receive's: without a Timeout clause the process exits with `timeout`. A safe
/// point.
template <class... Ps>
requires((Source<Ps> || detail::Clause<Ps>)&&...) auto select(Bound bound, Ps... parts) ->
    typename detail::common_part_result<Ps...>::type {
  using R = typename detail::common_part_result<Ps...>::type;
  static_assert(detail::well_ordered_parts<Ps...>(),
                "a clause after the catch-all [](Message) can never run, or there are two Timeout clauses");
  Process& process = require_process("select");
  process.checkpoint();
  detail::Result<R> result;
  detail::SelectWait<Ps...> wait(process, bound, parts...);
  Item** at = &process.inbox_head;
  for (;;) {
    for (; *at != nullptr; at = &(*at)->next) {
      if ((detail::try_message(parts, process, at, wait, result) || ...)) return result.get();
    }
    if (process.mailbox.has_any()) {
      process.deliver();
      process.settle();
      process.act_on_doom();
      if (*at != nullptr) continue;
    }
    process.nudge = detail::Nudge::armed;  // V2
    if ((detail::try_source(parts, process, wait, result) || ...)) return result.get();
    if (process.nudge == detail::Nudge::come) continue;
    if (!wait.more(at)) {
      wait.end();
      if ((detail::try_late(parts, result) || ...)) return result.get();
      exit(reason::timeout);
    }
  }
}
template <class F>
requires(!std::convertible_to<F, Bound>) void select(F&&, auto&&...) =
    delete;  // the bound comes first: select(1s, …), select(forever, …)

}  // namespace erlking
