// Server: a process that answers requests, as OTP's gen_server (SEMANTICS §10). A class with one list of the messages
// it takes, and a function on(…) for each.
//
//   struct Get { std::string key; using Reply = std::optional<std::string>; };      // a request names its reply
//   struct Put { std::string key, value; };                                         // anything else is cast: send() it
//   class Store : public Server {
//    public:
//     using Handles = Messages<Get, Put, Down>;     // checked when compiled, against the on() below: exact types
//     explicit Store(std::size_t shards);           // in the new process; a throw or exit here fails the start
//     std::optional<std::string> on(Get& get);      // a request: returns the reply; or answers later, from anywhere:
//     // void on(Get& get, From<Get> from);
//     void on(Put&& put);                           // a message: M, M&, const M& or M&&
//     void on(Down& down);
//     void on_other(Message message);               // optional: what Handles does not name
//     void terminate(const Reason& reason);         // optional: before it ends (below)
//   };
//   Started store = start_link<Store>(5s, {.name = "store"}, 16);
//   auto value = call(*store, Get{"k"}, 1s);
//
// At rest a server has no stack: its control block and one block of the heap hold all, 320 bytes if the object has no
// more than 40. A callback may do all a process may; while it waits, what comes stays in the mailbox. The protected
// functions say what is to happen when the callback returns.
//
// It ends by stop(); by sys::stop(); by an exit, exception or std::terminate in a callback; if it traps exits, when its
// parent (who called start_link) ends, whatever the reason; by signals. Before, terminate() runs, but for signals.
// Messages that Handles does not name: a request ends the server with `unknown_request`, anything else is logged.
#pragma once

#include "runtime/behaviour.h"

#include <concepts>
#include <expected>
#include <type_traits>
#include <utility>

namespace erlking {

namespace detail {
/// Queues what continue_with() was given; takes it over.
void add_continue(Item* item);
}  // namespace detail

/// The list of what a server takes.
template <class... Ms>
struct Messages {};

/// The base of a server's class; see the head of this file. Its functions are for callbacks (and the constructor).
class Server {
 protected:
  Server() = default;
  /// For sys::get_state() and sys::replace_state().
  Server(const Server&) = default;
  /// The same.
  Server& operator=(const Server&) = default;
  ~Server() = default;

  /// When the callback returns, the server ends for `why`. If the callback handles a request its reply is sent after
  /// terminate() (SEMANTICS 10.6).
  static void stop(Reason why = reason::normal);
  /// When the callback returns, `next` (of Handles, no request) is handled before any message, also one that is there
  /// (SEMANTICS 10.9); several in the order given. A request's reply goes out before. In the constructor: when the
  /// start has been answered.
  template <Sendable T>
  static void continue_with(T&& next) {
    detail::add_continue(detail::make_item<T>(self_process().pid().id, std::move(next)));
  }
  /// If no message has come `idle` after the callback has returned, Timeout is handled (name it in Handles). Any
  /// message ends it, until asked for again; 0: at once, unless one is there (SEMANTICS 10.8). Negative: none.
  static void timeout_after(Duration idle);
};

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
/// A callback has returned that owes a reply: if it said stop(), terminate() comes first (SEMANTICS 10.6).
void terminate_if_stopping(Process& process, Behaviour& behaviour) noexcept;

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
template <class S, class M>
bool try_on(S& server, Behaviour& behaviour, Message& message) {
  static_assert(!(Replies<S, M> && Defers<S, M>), "two handlers for one request: on(M&) and on(M&, From<M>)");
  if constexpr (Request<M>) {
    Called<M>* const called = message.get<Called<M>>();
    if (called == nullptr) return false;
    Process& self = self_process();
    CallScope scope(self, behaviour, called->from.until());
    if constexpr (Defers<S, M>) {
      server.on(AsLvalue<M>{called->request}, std::move(called->from));
    } else {
      typename M::Reply reply = server.on(AsLvalue<M>{called->request});
      if (behaviour.extras_if_any() != nullptr) [[unlikely]]
        terminate_if_stopping(self, behaviour);
      called->from.reply(std::move(reply));
    }
  } else {
    M* const body = message.get<M>();
    if (body == nullptr) return false;
    if constexpr (TakesLvalue<S, M>) {
      server.on(AsLvalue<M>{*body});
    } else {
      server.on(AsRvalue<M>{*body});
    }
  }
  return true;
}

template <class S, class List>
struct ServerCode;
template <class S, class... Ms>
struct ServerCode<S, Messages<Ms...>> {
  static_assert((Sendable<Ms> && ...), "Handles names what cannot be sent: see Sendable");
  static_assert((Takes<S, Ms> && ...),
                "a message in Handles has no matching public on(): a request: Reply on(M&) or void on(M&, From<M>); "
                "anything else: void on(M), on(M&), on(const M&) or on(M&&)");

  static void dispatch(Behaviour& behaviour, Message&& given) {
    S& server = *in_block<S>(behaviour);
    Message message = std::move(given);  // destroyed when the callback is done
    if ((try_on<S, Ms>(server, behaviour, message) || ...)) return;
    if constexpr (requires { server.on_other(std::move(message)); }) {
      server.on_other(std::move(message));
    } else {
      handle_unknown(std::move(message));
    }
  }
  static void terminate(Behaviour& behaviour, [[maybe_unused]] const Reason& reason) {
    if constexpr (terminates) in_block<S>(behaviour)->terminate(reason);
  }
  static void* object(Behaviour& behaviour) noexcept { return in_block<S>(behaviour); }
  static constexpr bool terminates = requires(S & server, const Reason& reason) { server.terminate(reason); };
  static constexpr BehaviourType type{&type_info_of<S>, &dispatch, terminates ? &terminate : nullptr, &object};
};

}  // namespace detail

/// A class derived from Server, with its list.
template <class S>
concept ServerClass = std::derived_from<S, Server> && requires {
  typename S::Handles;
};

namespace detail {
template <class S, class... A>
std::expected<Monitored, StartError> start_server(const char* what, Tie tie, const Bound& bound,
                                                  const SpawnOptions& options, A&&... arguments) {
  return start_behaviour<S, ServerCode<S, typename S::Handles>::type>(what, tie, bound, options,
                                                                      std::forward<A>(arguments)...);
}
inline Started pid_of(const std::expected<Monitored, StartError>& made) {
  return made ? Started(made->pid) : Started(std::unexpect, made.error());
}
}  // namespace detail

/// Starts a server and waits, at most `bound`, until its constructor is done; the arguments are moved to the new
/// process. It has no parent (SEMANTICS 9.5). A safe point, as the others here.
template <ServerClass S, class... A>
requires std::constructible_from<S, std::decay_t<A>...> Started start(Bound bound, const SpawnOptions& options,
                                                                      A&&... arguments) {
  return detail::pid_of(
      detail::start_server<S>("start", detail::Tie::none, bound, options, std::forward<A>(arguments)...));
}
/// The same, linked to the caller, its parent. If its constructor fails the caller gets its exit signal, as of any
/// linked process; `failed` is seen by a caller that traps exits (SEMANTICS 9.3).
template <ServerClass S, class... A>
requires std::constructible_from<S, std::decay_t<A>...> Started start_link(Bound bound, const SpawnOptions& options,
                                                                           A&&... arguments) {
  return detail::pid_of(
      detail::start_server<S>("start_link", detail::Tie::link, bound, options, std::forward<A>(arguments)...));
}
/// As start(), monitored by the caller; if there is no server there is no Down either (SEMANTICS 9.4).
template <ServerClass S, class... A>
requires std::constructible_from<S, std::decay_t<A>...> std::expected<Monitored, StartError> start_monitor(
    Bound bound, const SpawnOptions& options, A&&... arguments) {
  return detail::start_server<S>("start_monitor", detail::Tie::monitor, bound, options, std::forward<A>(arguments)...);
}

}  // namespace erlking
