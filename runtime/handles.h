// Handles: the list of what a class of the user's takes, and how a message finds its on(). Of servers (server.h) and
// state machines (state_machine.h), which are started alike.
//
//   using Handles = Messages<Get, Put, Down>;          // each M with one public function:
//   std::optional<std::string> on(Get& get);           // a request: returns the reply; or answers later:
//   void on(Get& get, From<Get> from);
//   void on(Put&& put);                                // anything else: M, M&, const M& or M&&
//
// The list is checked when compiled, against the functions: types match exactly, nothing is converted.
#pragma once

#include "runtime/behaviour.h"

#include <concepts>
#include <expected>
#include <string>
#include <type_traits>
#include <utility>

namespace erlking {

/// The list of what a class takes.
template <class... Ms>
struct Messages {};

namespace detail {

// Converts to M alone, so that no implicit conversion picks a handler.
template <class M>
struct AsLvalue {
  M& message;
  template <class T>
  requires std::same_as<std::remove_const_t<T>, M>
  operator T&() const noexcept { return message; }
};
template <class M>
struct AsRvalue {
  M& message;
  template <class T>
  requires std::same_as<T, M>
  operator T&&() const noexcept { return std::move(message); }
};

template <class S, class M>
concept Replies = Request<M> && requires(S& server, M& message) {
  { server.on(AsLvalue<M>{message}) } -> std::same_as<typename M::Reply>;
};
template <class S, class M>
concept Defers = Request<M> && requires(S& server, M& message, From<M> from) {
  { server.on(AsLvalue<M>{message}, std::move(from)) } -> std::same_as<void>;
};
template <class S, class M>
concept TakesLvalue = !Request<M> && requires(S & server, M& message) {
  { server.on(AsLvalue<M>{message}) } -> std::same_as<void>;
};
template <class S, class M>
concept TakesRvalue = !Request<M> && requires(S & server, M& message) {
  { server.on(AsRvalue<M>{message}) } -> std::same_as<void>;
};
template <class S, class M>
concept Takes = Replies<S, M> || Defers<S, M> || TakesLvalue<S, M> || TakesRvalue<S, M>;

/// What Handles does not name, in a class without on_other().
void handle_unknown(Message&& message);

/// While a call is handled (U5).
class CallScope {
 public:
  CallScope(Process& process, Behaviour& behaviour, base::Nanos until) noexcept : process_(process) {
    behaviour.set_deadline(until);
    process.in_call = until != base::kForever;
  }
  ~CallScope() { process_.in_call = false; }
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

 private:
  Process& process_;
};

// Handles `message` if it is an M.
template <class S, class M, class BeforeReply>
bool try_on(S& object, Behaviour& behaviour, Message& message, const BeforeReply& before_reply) {
  static_assert(!(Replies<S, M> && Defers<S, M>), "two handlers for one request: on(M&) and on(M&, From<M>)");
  if constexpr (Request<M>) {
    Called<M>* const called = message.get<Called<M>>();
    if (called == nullptr) return false;
    Process& self = self_process();
    CallScope scope(self, behaviour, called->from.until());
    if constexpr (Defers<S, M>) {
      object.on(AsLvalue<M>{called->request}, std::move(called->from));
    } else {
      typename M::Reply reply = object.on(AsLvalue<M>{called->request});
      before_reply(self, behaviour);
      called->from.reply(std::move(reply));
    }
  } else {
    M* const body = message.get<M>();
    if (body == nullptr) return false;
    if constexpr (TakesLvalue<S, M>) {
      object.on(AsLvalue<M>{*body});
    } else {
      object.on(AsRvalue<M>{*body});
    }
  }
  return true;
}

// What a report shows of `message`, if it is an M.
template <class M>
bool try_describe(Message& message, Described& made) {
  const M* body = nullptr;
  if constexpr (Request<M>) {
    if (const auto* const called = message.get<Called<M>>()) body = &called->request;
  } else {
    body = message.get<M>();
  }
  if (body != nullptr) made = described(type_name<M>(), *body);
  return body != nullptr;
}

template <class S, class List>
struct Handling;
template <class S, class... Ms>
struct Handling<S, Messages<Ms...>> {
  static_assert((Sendable<Ms> && ...), "Handles names what cannot be sent: see Sendable");
  static_assert((Takes<S, Ms> && ...),
                "a message in Handles has no matching public on(): a request: Reply on(M&) or void on(M&, From<M>); "
                "anything else: void on(M), on(M&), on(const M&) or on(M&&)");

  template <class BeforeReply>
  static void run(S& object, Behaviour& behaviour, Message& message, const BeforeReply& before_reply) {
    if ((try_on<S, Ms>(object, behaviour, message, before_reply) || ...)) return;
    if constexpr (requires { object.on_other(std::move(message)); }) {
      object.on_other(std::move(message));
    } else {
      handle_unknown(std::move(message));
    }
  }
  static Described describe(Message& message) {
    Described made{std::string(message.type_name()), {}};
    static_cast<void>((try_describe<Ms>(message, made) || ...));
    return made;
  }
};
/// Hands `message` to the on() for its type, else to on_other(). A reply that on() returns is sent after
/// before_reply(process, behaviour).
template <class S, class BeforeReply>
void on_message(S& object, Behaviour& behaviour, Message& message, const BeforeReply& before_reply) {
  Handling<S, typename S::Handles>::run(object, behaviour, message, before_reply);
}

template <class S>
void call_terminate_of(Behaviour& behaviour, const Reason& reason) {
  in_block<S>(behaviour)->terminate(reason);
}
/// For a BehaviourType: null if S has no terminate().
template <class S>
constexpr auto find_terminate() noexcept -> void (*)(Behaviour&, const Reason&) {
  if constexpr (requires(S & object, const Reason& reason) { object.terminate(reason); }) return &call_terminate_of<S>;
  return nullptr;
}
template <class S>
void* object_of(Behaviour& behaviour) noexcept {
  return in_block<S>(behaviour);
}

/// For reports: what S handles, and S itself.
template <class S>
Described describe_message_of(Message& message) {
  return Handling<S, typename S::Handles>::describe(message);
}
template <class S>
Described describe_state_of(Behaviour& behaviour) {
  return described(type_name<S>(), *in_block<S>(behaviour));
}

/// What the runtime knows of S, as its constant `type`: a specialisation for each kind of class.
template <class S>
struct CodeOf;

}  // namespace detail

/// A class with its list, derived from Server or StateMachine.
template <class S>
concept BehaviourClass = requires {
  typename S::Handles;
  detail::CodeOf<S>::type;
};

namespace detail {
template <class S, class... A>
std::expected<Monitored, StartError> start_class(const char* what, Tie tie, const Bound& bound,
                                                 const SpawnOptions& options, A&&... arguments) {
  return start_behaviour<S, CodeOf<S>::type>(what, tie, bound, options, std::forward<A>(arguments)...);
}
inline Started pid_of(const std::expected<Monitored, StartError>& made) {
  return made ? Started(made->pid) : Started(std::unexpect, made.error());
}
}  // namespace detail

/// Starts a server or state machine and waits, at most `bound`, until its constructor is done; the arguments are moved
/// to the new process. It has no parent (SEMANTICS 9.5). A safe point, as the others here.
template <BehaviourClass S, class... A>
requires std::constructible_from<S, std::decay_t<A>...> Started start(Bound bound, const SpawnOptions& options,
                                                                      A&&... arguments) {
  return detail::pid_of(
      detail::start_class<S>("start", detail::Tie::none, bound, options, std::forward<A>(arguments)...));
}
/// The same, linked to the caller, its parent. If its constructor fails the caller gets its exit signal, as of any
/// linked process; `failed` is seen by a caller that traps exits (SEMANTICS 9.3).
template <BehaviourClass S, class... A>
requires std::constructible_from<S, std::decay_t<A>...> Started start_link(Bound bound, const SpawnOptions& options,
                                                                           A&&... arguments) {
  return detail::pid_of(
      detail::start_class<S>("start_link", detail::Tie::link, bound, options, std::forward<A>(arguments)...));
}
/// As start(), monitored by the caller; if there is no process there is no Down either (SEMANTICS 9.4).
template <BehaviourClass S, class... A>
requires std::constructible_from<S, std::decay_t<A>...> std::expected<Monitored, StartError> start_monitor(
    Bound bound, const SpawnOptions& options, A&&... arguments) {
  return detail::start_class<S>("start_monitor", detail::Tie::monitor, bound, options, std::forward<A>(arguments)...);
}

}  // namespace erlking
