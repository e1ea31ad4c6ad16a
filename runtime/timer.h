// Timers: messages that are sent later, and what a process does again and again (SEMANTICS §7).
//
//   send_after(5s, self(), Wake{});                       // the message, in five seconds
//   auto t = start_timer(5s, pid, Retry{3});              // as Expired<Retry>{timer, message}: says which it is
//   send_every(1s, Name{"meter"}, Beat{});                // until cancelled; a copy, or what a function makes
//   std::optional<Duration> left = cancel_timer(*t);      // nothing: it fired, was cancelled, or never was
//   repeat_every(100ms, 50, [&] { … });                   // here, in this process
//
// `when` is a duration, an instant (Clock::time_point; a past one: at once) or `forever`. A duration counts from when
// the worker next looks at the clock: within about 20 µs, unless the process computes on without waiting. Never early;
// no order among timers, nor with messages. A timer lives on when who started it has ended, and ends when the process
// it is for does; a name is looked up when the time has come, and if nobody has it nothing happens.
//
//   TM5  A process has places for timers (SpawnOptions::timers). One is taken by each timer for it and by each of their
//        messages it has not received; a timer without a place is refused as it is started. What is for a name takes a
//        place of who starts it, until it fires, and then one of the receiver, who may so have too many. The count is
//        the sum of two: the process's own, changed without a locked instruction, and the one others change; a count
//        meant for an earlier tenant of the slot can make it wrong by one, which is harmless.
//   TM6  A timer's message is never refused: it is pushed like a signal, takes no place in the mailbox's bound
//        (Item::kTimed), and sets the mailbox's signal bit, so that deliver() walks the list. It does not end waits
//        for anything else than messages.
//   TM7  A timer is in the wheel of the worker on which it was started, and its reference says which. Cancelled there
//        it is taken out at once; elsewhere it is only marked (TM2), and its worker takes it out as it comes by.
// Cost of starting and cancelling on one worker: a block of the heap, a place in a list, one locked instruction; three
// if the timer is for another process. 64 bytes a timer beside its message. The places: timer_table.h; the
// state of each: timer_word.h.
#pragma once

#include "runtime/bound.h"
#include "runtime/send.h"
#include "runtime/timer_table.h"

#include <algorithm>
#include <compare>
#include <concepts>
#include <cstdint>
#include <expected>
#include <functional>
#include <new>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

namespace erlking {

/// Identifies one timer of a runtime; never another one. Any process may cancel or read it.
struct TimerRef {
  std::uint64_t id = 0;  ///< [worker 12][place 24][generation 28]; 0 is none
  /// Whether it is any timer's; not whether that one still runs.
  constexpr explicit operator bool() const noexcept { return id != 0; }
  friend constexpr auto operator<=>(TimerRef, TimerRef) = default;
};

/// Why a timer could not be started; the message is still the caller's.
enum class TimerError : std::uint8_t {
  system_limit,  ///< who it is for has as many timers as it may (SpawnOptions::timers), received messages not counted
  no_memory,     ///< for the message or the timer
};
/// Its name, as above.
std::string_view to_string(TimerError error) noexcept;

/// What start_timer() delivers: a clause is `[](Expired<Tick> e) { … }`.
template <class T>
struct Expired {
  TimerRef timer;  ///< which
  T message;       ///< as it was given to start_timer()
};

namespace detail {

/// The head of what hangs on an interval: how to make its next message.
struct Beat {
  Item* (*make)(Beat&, std::uint64_t stamp);
  base::Nanos period;
};
template <class Source>
struct Interval {
  Beat beat;  // first
  Source source;
};

/// What an interval repeats: copies of a message, or what a function returns.
template <class S>
concept Makes = std::invocable<S&> && Sendable<std::remove_cvref_t<std::invoke_result_t<S&>>>;

template <class S>
Item* make_beat(Beat& beat, std::uint64_t stamp) {
  S& from = reinterpret_cast<Interval<S>&>(beat).source;
  if constexpr (Makes<S>) {
    return make_item<std::remove_cvref_t<std::invoke_result_t<S&>>>(stamp, from());
  } else {
    return make_item<S>(stamp, std::as_const(from));
  }
}

/// Starts a timer of the running process for `item`, which it takes over unless it returns an error. `ref`: where the
/// item wants the timer's reference, if it does. `interval`: the item is an Interval's.
std::expected<TimerRef, TimerError> arm_timer(Process& self, const To& to, Item* item, const Bound& when, TimerRef* ref,
                                              bool interval) noexcept;
/// `self`: the running process of this runtime, or null: another thread, which holds the outside heap. ns it had left;
/// kNoTimer: nothing. (A number, as who returns a std::optional in registers stores its flag as a byte and reads back a
/// word, which waits for the store: 8 % of what starting and cancelling a timer took.)
base::Nanos cancel_timer(System& system, Process* self, TimerRef ref) noexcept;
base::Nanos read_timer(System& system, TimerRef ref) noexcept;
inline constexpr base::Nanos kNoTimer = -1;
inline std::optional<Duration> time_left(base::Nanos left) noexcept {
  return left >= 0 ? std::optional(Duration(left)) : std::nullopt;
}

// For Core, on its thread.
void fire_timer(Core& core, UserTimer& timer) noexcept;
void put_away_timer(Core& core, UserTimer& timer) noexcept;
/// The worker stops: nothing fires any more.
void drop_timers(Core& core) noexcept;

/// Starts one for an Expired or an Interval, whose `place` is `message` and whose first member is `head`.
template <class Body, class T, class Head>
std::expected<TimerRef, TimerError> start_with(Process& self, const To& to, const Bound& when, const Head& head,
                                               T& message, T Body::*place) {
  constexpr bool interval = !std::is_same_v<Head, TimerRef>;
  Item* item;
  try {
    item = make_item<Body>(0, head, std::move(message));
  } catch (const std::bad_alloc&) {
    return std::unexpected(TimerError::no_memory);
  }
  TimerRef* ref = nullptr;
  if constexpr (!interval) ref = &item->body<Body>()->timer;
  auto started = arm_timer(self, to, item, when, ref, interval);
  if (!started) [[unlikely]] {
    struct Drop {
      Item* item;
      ~Drop() { drop_item(item); }
    } drop{item};
    put_back(message, item->body<Body>()->*place);
  }
  return started;
}

}  // namespace detail

/// Sends `message` to `to` when the time has come. Refused: it is moved back. A safe point, as all here.
template <Sendable T>
std::expected<TimerRef, TimerError> send_after(Bound when, const To& to, T&& message) {
  Process& self = require_process("send_after");
  self.checkpoint();
  Item* item;
  try {
    item = detail::make_item<T>(0, std::move(message));
  } catch (const std::bad_alloc&) {
    return std::unexpected(TimerError::no_memory);
  }
  auto started = detail::arm_timer(self, to, item, when, nullptr, false);
  if (!started) [[unlikely]]
    detail::take_back(item, message);
  return started;
}

/// The same; it arrives as Expired<T>, with the reference returned here.
template <Sendable T>
std::expected<TimerRef, TimerError> start_timer(Bound when, const To& to, T&& message) {
  Process& self = require_process("start_timer");
  self.checkpoint();
  return detail::start_with<Expired<T>>(self, to, when, TimerRef{}, message, &Expired<T>::message);
}

/// Sends to `to` every `period` (10 µs at least), first when one has passed, until it is cancelled or the process `to`
/// ends: copies of `source`, or what it returns if it can be called. It is copied or called by the worker, outside any
/// process, and must use nothing of the runtime but Refs. The beats keep their phase; one is left out if its time has
/// passed wholly before the worker came to it, if the receiver has no place for timers left, or without memory. A
/// function that throws ends the interval, with a line in the log.
template <class S>
requires(detail::Makes<S> ||
         (Sendable<S> && std::copy_constructible<S>)) std::expected<TimerRef, TimerError> send_every(Duration period,
                                                                                                     const To& to,
                                                                                                     S&& source) {
  static_assert(!std::is_lvalue_reference_v<S>);
  Process& self = require_process("send_every");
  self.checkpoint();
  const base::Nanos every = std::max<base::Nanos>(period.count(), 10'000);
  using Body = detail::Interval<S>;
  return detail::start_with<Body>(self, to, Duration(every), detail::Beat{&detail::make_beat<S>, every}, source,
                                  &Body::source);
}

template <class T>
requires(std::is_lvalue_reference_v<T>) std::expected<TimerRef, TimerError> send_after(Bound, const To&, T&&)
= delete;  // a timer takes the object over: send_after(when, to, std::move(x)), or send_after(when, to, T(x))
template <class T>
requires(std::is_lvalue_reference_v<T>) std::expected<TimerRef, TimerError> start_timer(Bound, const To&, T&&)
= delete;
template <class T>
requires(std::is_lvalue_reference_v<T>) std::expected<TimerRef, TimerError> send_every(Duration, const To&, T&&)
= delete;

/// Cancels a timer, whoever started it: how long it had left. It will not fire then. Nothing: it has fired (its message
/// may be in the mailbox, or about to be), was cancelled, never was, or is for a process that has ended.
inline std::optional<Duration> cancel_timer(TimerRef timer) {
  Process& self = require_process("cancel_timer");
  self.checkpoint();
  return detail::time_left(detail::cancel_timer(*self.system, &self, timer));
}
/// How long it has left (an interval: to its next beat); nothing: as above.
inline std::optional<Duration> read_timer(TimerRef timer) {
  Process& self = require_process("read_timer");
  self.checkpoint();
  return detail::time_left(detail::read_timer(*self.system, timer));
}

/// How repeat_every() keeps time.
enum class Pace : std::uint8_t {
  fixed_rate,   ///< at start + k periods
  fixed_pause,  ///< a period between the end of one turn and the begin of the next
};

namespace detail {
/// The turns of one repeat_every().
class Turns {
 public:
  Turns(Duration period, Pace pace);
  /// Waits for the next turn.
  void next();
  std::uint64_t missed() const noexcept { return missed_; }

 private:
  Process& self_;
  const base::Nanos period_;
  const Pace pace_;
  base::Nanos at_;
  std::uint64_t missed_ = 0;
};
}  // namespace detail

/// Calls f() `n` times from this process, first when one period has passed (at least 1 ns); an f that returns bool ends
/// it by false. At a fixed rate a turn whose time has passed while f was at work is left out, it does not count in `n`,
/// and the rest stay in phase: no bursts. Returns how many were left out. Each turn is a safe point.
template <std::invocable F>
std::uint64_t repeat_every(Duration period, std::uint64_t n, F f, Pace pace = Pace::fixed_rate) {
  for (detail::Turns turns(period, pace);; --n) {
    if (n == 0) return turns.missed();
    turns.next();
    if constexpr (std::same_as<std::invoke_result_t<F&>, bool>) {
      if (!f()) return turns.missed();
    } else {
      f();
    }
  }
}

}  // namespace erlking

template <>
struct std::hash<erlking::TimerRef> {
  std::size_t operator()(erlking::TimerRef ref) const noexcept { return std::hash<std::uint64_t>{}(ref.id); }
};
