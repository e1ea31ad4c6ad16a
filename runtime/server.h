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
// It ends by stop(); by sys::stop(); by an exit or exception in a callback; if it traps exits, when its parent (who
// called start_link) ends, whatever the reason, or the runtime: then terminate() runs first. It ends without by a
// signal, and by std::terminate in a callback, which gives the stack up.
// Messages that Handles does not name: a request ends the server with `unknown_request`, anything else is logged.
#pragma once

#include "runtime/handles.h"

#include <concepts>
#include <utility>

namespace erlking {

namespace detail {
/// Queues what continue_with() was given; takes it over.
void add_continue(Item* item);
}  // namespace detail

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
    detail::add_continue(detail::make_item<T>(require_process("continue_with").pid().id, std::move(next)));
  }
  /// If no message has come `idle` after the callback has returned, Timeout is handled (name it in Handles). Any
  /// message ends it, until asked for again; 0: at once, unless one is there (SEMANTICS 10.8). Negative: none.
  static void timeout_after(Duration idle);
};

namespace detail {

/// A callback has returned that owes a reply: if it said stop(), terminate() comes first (SEMANTICS 10.6).
void terminate_if_stopping(Process& process, Behaviour& behaviour) noexcept;

template <class S>
requires std::derived_from<S, Server>
struct CodeOf<S> {
  static void dispatch(Behaviour& behaviour, Message&& message) {
    on_message(*in_block<S>(behaviour), behaviour, message, [](Process& self, Behaviour& of) noexcept {
      if (of.extras_if_any() != nullptr) [[unlikely]]
        terminate_if_stopping(self, of);
    });
  }
  static constexpr BehaviourType type{&type_info_of<S>, &dispatch, find_terminate<S>(), &object_of<S>,
                                      &describe_message_of<S>, &describe_state_of<S>};
};

}  // namespace detail
}  // namespace erlking
