// StateMachine: a server whose answer to a message depends on a state, as OTP's gen_statem (SEMANTICS §11). The class
// says what it takes as a Server's does (handles.h); a message, and what it lets happen later, is an event.
//
//   enum class Lock { locked, open };
//   class Door : public StateMachine<Door, Lock> {
//    public:
//     using Handles = Messages<Code, Enter, Relock>;
//     Door() : StateMachine(Lock::locked) {}
//     void on(Code& code) { if (code.digits == "1234") next_state(Lock::open); }
//     void on(Enter&, From<Enter> from) {
//       if (state() == Lock::locked) return postpone(std::move(from));       // until the state changes
//       from.reply(++visitors_);
//     }
//     void on(Relock) { next_state(Lock::locked); }
//     void enter(const Lock& old) {                                          // optional: on each change of state
//       if (state() == Lock::open) state_timeout(5s, Relock{});
//     }
//     …
//   };
//   Started door = start_link<Door>(5s, {.name = "door"});
//
// One on() for each message and a state() to look at, not a function for each state: what a machine takes stays one
// list, checked as a server's is. The class is named to its base so that an event it makes itself is checked against
// Handles by the compiler, and not when, perhaps after days, its time has come. What a callback asks for (next_state,
// postpone, next_event, timeouts) happens when it has returned, in this order:
//
//   E1  The reply that on() returns goes out; then, if on() has said stop(), nothing more happens but its end.
//   E2  The state is changed; on a change or repeat_state(), enter() is called. It may set timeouts, answer, and stop.
//   E3  The event is postponed, if it said so. On a change all postponed events, oldest first, come to the front of
//       those that wait, and the state timeout is cancelled.
//   E4  What next_event() inserted comes before them, in its order; then timeouts are started, changed and cancelled in
//       theirs. A timeout of zero starts no timer: its event is due.
//   E5  The next event is the first that waits, else the first that is due, else a message. So nothing is received
//       while one waits, and what waits is bounded by kEventsMax; a kill acts between two events.
//   E6  Whatever event is handled cancels the event timeout first. A timer is known by its reference: the message of
//       one that was cancelled, or started anew, is no event.
//
// What is postponed has left the mailbox and its bound; the class has its own, kEventsMax. A request beyond it is
// answered `full`, as by a full mailbox, since its caller can be told. Any other message beyond it ends the machine,
// `too_many_postponed`: it was accepted, and must not vanish. When the machine ends, what is postponed is dropped; who
// called gets `died`.
// Cost beside a server's: no allocation for an event that only changes the state. At rest it has no stack, two pointers
// and the state; what waits, is postponed or timed lies in a block that is there while there is something in it.
#pragma once

#include "runtime/bound.h"
#include "runtime/handles.h"

#include <concepts>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <type_traits>
#include <utility>

namespace erlking {

namespace detail {

class Agenda;
class Machine;

/// The event at hand, and what its callbacks have asked for so far. On the stack of who handles it.
struct Step {
  Machine& machine;
  Message& event;
  bool entering = false;
  bool postponed = false;
  bool repeats = false;
  void (*refuse)(Message& event) noexcept = nullptr;  // postponed, but there is no room: what to tell its caller
  Step(Machine& m, Message& e) noexcept;
  ~Step();
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;
};
template <class State>
struct StateStep : Step {
  using Step::Step;
  std::optional<State> next;
};

enum class TimeoutKind : std::uint8_t { event, state, named };
enum class TimeoutVerb : std::uint8_t { start, update, cancel };

/// What is the same in every state machine. Copies begin with nothing that waits.
class Machine {
 protected:
  /// Handles one event, E1–E4.
  using Handle = void (*)(Machine& machine, Behaviour& behaviour, Message&& event);

  Machine() noexcept = default;
  Machine(const Machine&) noexcept {}
  Machine& operator=(const Machine&) noexcept { return *this; }
  ~Machine();

  /// The step, if the callback that runs is on(); in a constructor none, if it may say so, too. Else it throws
  /// std::logic_error.
  Step* require_on(const char* what, bool in_constructor = false) const;
  void postpone_this();
  void postpone_this(Message&& given_back);
  /// `item`, which is taken over, is inserted; the machine may have `most` such.
  void insert_event(Item* item, std::uint32_t most);
  /// `event` is taken over; null to cancel. One step may ask `most` times.
  void ask_timeout(TimeoutVerb verb, TimeoutKind kind, std::string_view name, const Bound& when, Item* event,
                   std::uint32_t most);

  /// A message has come, and then what it leads to (E5).
  void take_message(Behaviour& behaviour, Message&& message, Handle handle);
  /// Handles what waits or is due.
  void go_on(Behaviour& behaviour, Handle handle);
  /// E6, before an event.
  void cancel_event_timeout() noexcept {
    if (agenda_ != nullptr) [[unlikely]]
      cancel_event_timeout_slow();
  }
  /// E3 and E4.
  void carry_out(Step& step, bool changed, std::uint32_t most) {
    if (step.postponed || agenda_ != nullptr) [[unlikely]]
      carry_out_slow(step, changed, most);
  }
  static bool is_stopping(const Behaviour& behaviour) noexcept {
    return behaviour.extras_if_any() != nullptr && behaviour.extras_if_any()->stopping;
  }

 private:
  friend struct Step;
  Agenda& agenda();
  void cancel_event_timeout_slow() noexcept;
  void carry_out_slow(Step& step, bool changed, std::uint32_t most);

  Step* step_ = nullptr;      // while a callback runs
  Agenda* agenda_ = nullptr;  // what waits, is postponed or timed; null: nothing
};

template <class T, class List>
inline constexpr bool is_in = false;
template <class T, class... Ms>
inline constexpr bool is_in<T, Messages<Ms...>> = (std::is_same_v<T, Ms> || ...);

}  // namespace detail

/// What a state may be: an enum, a struct, a std::variant; equal states are the same state.
template <class State>
concept MachineState = std::copyable<State> && std::equality_comparable<State>;

/// The base of a state machine's class; see the head of this file. Its protected functions are for callbacks: any in
/// on(), but in enter() only timeouts and stop(), and in the constructor not repeat_state() and postpone(). Elsewhere,
/// and in terminate(), they throw std::logic_error.
template <class Class, MachineState State>
class StateMachine : public detail::Machine {
 public:
  /// The most events that may be postponed at once; also the most that next_event() inserted and that wait, and the
  /// most timeouts that have a name, or are set at once. Beyond them the machine ends with `too_many_postponed` (a
  /// request is refused instead), `too_many_events`, `too_many_timeouts`. A class may have its own constant of this
  /// name. Timers that run also take places of SpawnOptions::timers; without one it ends with `system_limit`.
  static constexpr std::uint32_t kEventsMax = 1'024;

  /// The state; in on() that in which the event is handled, also when next_state() has been said.
  const State& state() const noexcept { return state_; }
  /// To be replaced by the class, publicly, if it wants to know: state() has been entered from `old`. Before any event
  /// for the first state, with old the same; on each change; on repeat_state(), with old the same.
  void enter([[maybe_unused]] const State& old) {}

 protected:
  /// The state it begins in.
  explicit StateMachine(State initial) : state_(std::move(initial)) {}
  /// For sys::get_state() and sys::replace_state(): the state, and nothing that waits or is timed.
  StateMachine(const StateMachine&) = default;
  /// The same.
  StateMachine& operator=(const StateMachine&) = default;
  ~StateMachine() = default;

  /// When the callback returns the state is this one. If it equals the present one nothing has changed. In the
  /// constructor: the one it begins in.
  void next_state(State next) {
    detail::Step* const step = require_on("next_state", true);
    if (step == nullptr) {
      state_ = std::move(next);
      return;
    }
    step->repeats = false;
    static_cast<detail::StateStep<State>*>(step)->next = std::move(next);
  }
  /// The state stays, and enter() is called. Nothing postponed is tried again for that. What is said last, this or
  /// next_state(), counts.
  void repeat_state() {
    detail::Step* const step = require_on("repeat_state");
    static_cast<detail::StateStep<State>*>(step)->next.reset();
    step->repeats = true;
  }

  /// The event is handled again when the state has changed (SEMANTICS 11.3). What on() has moved out of it is gone
  /// then.
  void postpone() { postpone_this(); }
  /// The same for a request, with its From, which waits along.
  template <class M>
  void postpone(From<M>&& from) {
    detail::Step& step = *require_on("postpone");
    auto* const called = step.event.get<detail::Called<M>>();
    if (called == nullptr || !from) {
      throw std::logic_error("erlking: postpone called with a From that is not, or not any more, the event's");
    }
    called->from = std::move(from);
    step.postponed = true;
    step.refuse = [](Message& event) noexcept {
      event.get<detail::Called<M>>()->from.fail(CallError{CallFailure::full});
    };
  }
  /// The same for what on_other() was given.
  void postpone(Message&& message) { postpone_this(std::move(message)); }

  /// `event` is handled before anything else that waits (SEMANTICS 11.4); several in the order given.
  template <Sendable T>
  void next_event(T&& event) {
    insert_event(make_event(std::move(event)), Class::kEventsMax);
  }
  /// The same for a request, which is answered through its From.
  template <Request M>
  void next_event(M&& request, From<M>&& from) {
    static_assert(detail::is_in<M, typename Class::Handles>, "an event must be named in Handles");
    insert_event(detail::make_item<detail::Called<M>>(0, std::move(request), std::move(from)), Class::kEventsMax);
  }

  /// `event` is handled when the time has come, unless the state changes before (SEMANTICS 11.7). It replaces one that
  /// runs. `when` of zero: before any message is received; forever: none. The same holds of the other two.
  template <Sendable T>
  void state_timeout(Bound when, T&& event) {
    ask(Verb::start, Kind::state, {}, when, make_event(std::move(event)));
  }
  /// The same, unless any event is handled before (SEMANTICS 11.6).
  template <Sendable T>
  void event_timeout(Bound when, T&& event) {
    ask(Verb::start, Kind::event, {}, when, make_event(std::move(event)));
  }
  /// The same, whatever happens before; one for each name (SEMANTICS 11.8).
  template <Sendable T>
  void timeout(std::string_view name, Bound when, T&& event) {
    ask(Verb::start, Kind::named, name, when, make_event(std::move(event)));
  }
  /// Another event at the same time. If none runs: as with a time of zero.
  template <Sendable T>
  void update_timeout(std::string_view name, T&& event) {
    ask(Verb::update, Kind::named, name, Duration(0), make_event(std::move(event)));
  }
  /// The same for the state's.
  template <Sendable T>
  void update_state_timeout(T&& event) {
    ask(Verb::update, Kind::state, {}, Duration(0), make_event(std::move(event)));
  }
  /// Its event will not be handled, also if its time has come meanwhile (SEMANTICS 11.10). None runs: nothing.
  void cancel_timeout(std::string_view name) { ask(Verb::cancel, Kind::named, name, forever, nullptr); }
  /// The same for the state's.
  void cancel_state_timeout() { ask(Verb::cancel, Kind::state, {}, forever, nullptr); }

  /// When the callback has returned and its reply is sent, the machine ends for `why`; of all else that the callback
  /// asked for nothing happens.
  static void stop(Reason why = reason::normal) { detail::require_behaviour("stop").stop(std::move(why)); }

 private:
  friend struct detail::CodeOf<Class>;
  using Kind = detail::TimeoutKind;
  using Verb = detail::TimeoutVerb;

  void ask(Verb verb, Kind kind, std::string_view name, const Bound& when, Item* event) {
    ask_timeout(verb, kind, name, when, event, Class::kEventsMax);
  }
  template <class T>
  static Item* make_event(T&& event) {
    static_assert(detail::is_in<T, typename Class::Handles>, "an event must be named in Handles");
    static_assert(!Request<T>, "a request is inserted with its From: next_event(std::move(request), std::move(from))");
    return detail::make_item<T>(0, std::move(event));
  }

  void handle_event(detail::Behaviour& behaviour, Message&& given) {
    Message event = std::move(given);  // destroyed when the step is done
    cancel_event_timeout();
    detail::NoteIfThrown noting(behaviour, event);
    detail::StateStep<State> step(*this, event);
    detail::on_message(static_cast<Class&>(*this), behaviour, event, [](Process&, detail::Behaviour&) {});
    if (is_stopping(behaviour)) [[unlikely]] {
      if (!behaviour.extras_if_any()->why.is_abnormal()) noting.handled();
      return;
    }
    const bool changed = step.next && !(*step.next == state_);
    if (changed) {
      const State old = std::exchange(state_, *std::move(step.next));
      if (!enter_state(behaviour, step, old)) return;
    } else if (step.repeats) {
      if (!enter_state(behaviour, step, state_)) return;
    }
    carry_out(step, changed, Class::kEventsMax);
    noting.handled();
  }
  // False: it has said stop().
  bool enter_state(detail::Behaviour& behaviour, detail::Step& step, const State& old) {
    step.entering = true;
    static_cast<Class&>(*this).enter(old);
    return !is_stopping(behaviour);
  }

  State state_;
};

namespace detail {

template <class S>
requires std::derived_from<S, Machine>
struct CodeOf<S> {
  static void handle(Machine& machine, Behaviour& behaviour, Message&& event) {
    static_cast<S&>(machine).handle_event(behaviour, std::move(event));
  }
  static void dispatch(Behaviour& behaviour, Message&& message) {
    S& machine = *in_block<S>(behaviour);
    machine.take_message(behaviour, std::move(message), &handle);
  }
  static void started(Behaviour& behaviour) {
    S& machine = *in_block<S>(behaviour);
    if (Machine::is_stopping(behaviour)) return;
    {
      Message none;
      Step step(machine, none);
      if (!machine.enter_state(behaviour, step, machine.state())) return;
      machine.carry_out(step, false, S::kEventsMax);
    }
    machine.go_on(behaviour, &handle);
  }
  static constexpr BehaviourType type{&type_info_of<S>, &dispatch, find_terminate<S>(), &object_of<S>,
                                      &describe_message_of<S>, &describe_state_of<S>, &started};
};

}  // namespace detail
}  // namespace erlking
