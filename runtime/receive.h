// receive: takes the oldest message that some clause accepts, leaving the others in place and in order; waits for one
// at most `bound`. It reads top to bottom like a switch over types:
//
//   int n = receive(1s, [](Pong pong) { return pong.n; },
//                       when([](const Put& p) { return p.key == key; }, [](Put&& p) { … }),
//                       [](Request& r, From<Request> from) { from.reply(…); },      // a call (call.h)
//                       [](Timeout) { return -1; },
//                       [](Message any) { … });                                    // catch-all: last but for Timeout
//
// Matching is exact, by type. Clauses may return values of a common type. A bound that passes without a Timeout clause
// exits the process with reason `timeout`. Cost beside the clause: no allocation, one CAS to take or to park.
#pragma once

#include "runtime/bound.h"
#include "runtime/exit.h"
#include "runtime/message.h"
#include "runtime/process.h"

#include <concepts>
#include <optional>
#include <type_traits>
#include <utility>

namespace erlking {

/// What a clause takes when the bound has passed.
struct Timeout {};

template <class M>
class From;

namespace detail {

/// What a call delivers: the request and the right to answer it (call.h).
template <class M>
struct Called;

/// A request to the runtime's part of a behaviour names itself so.
template <class M>
concept ForTheSystem = requires {
  requires M::for_the_system;
};
template <class M>
inline constexpr MessageKind kind_of<Called<M>> = ForTheSystem<M> ? MessageKind::system : MessageKind::call;

template <class T>
struct signature : signature<decltype(&T::operator())> {};  // a clause names its message's type: it is no [](auto)
template <class R, class... A>
struct signature_of {
  using result = R;
  using args = std::tuple<A...>;
};
template <class R, class... A>
struct signature<R (*)(A...)> : signature_of<R, A...> {};
template <class R, class... A>
struct signature<R (*)(A...) noexcept> : signature_of<R, A...> {};
template <class R, class C, class... A>
struct signature<R (C::*)(A...)> : signature_of<R, A...> {};
template <class R, class C, class... A>
struct signature<R (C::*)(A...) const> : signature_of<R, A...> {};
template <class R, class C, class... A>
struct signature<R (C::*)(A...) noexcept> : signature_of<R, A...> {};
template <class R, class C, class... A>
struct signature<R (C::*)(A...) const noexcept> : signature_of<R, A...> {};

template <class Predicate, class F>
struct When {
  Predicate predicate;
  F body;
};

// What a clause's parameters say of it.
template <class Args>
struct clause_args {
  static_assert(std::is_void_v<Args>, "a clause is [](Msg m), or for a call [](Request& r, From<Request> from)");
  using item = void;
};
template <class A>
struct clause_args<std::tuple<A>> {  // a message
  using message = std::remove_cvref_t<A>;
  static_assert(Sendable<message> || std::is_same_v<message, Message>,
                "a clause for what cannot be sent can never run: see Sendable");
  using item = message;
  static constexpr bool is_call = false;
  template <class F>
  static decltype(auto) run(F& f, item& body) {
    if constexpr (std::is_lvalue_reference_v<A>) {
      return f(body);
    } else {
      return f(std::move(body));
    }
  }
  static message& view(item& body) noexcept { return body; }
};
template <class A, class M>
struct clause_args<std::tuple<A, From<M>>> {  // a call
  using message = std::remove_cvref_t<A>;
  static_assert(std::is_same_v<message, M>, "a call's clause is [](Request& r, From<Request> from): the types differ");
  using item = Called<M>;
  static constexpr bool is_call = true;
  template <class F>
  static decltype(auto) run(F& f, item& body) {
    if constexpr (std::is_lvalue_reference_v<A>) {
      return f(body.request, std::move(body.from));
    } else {
      return f(std::move(body.request), std::move(body.from));
    }
  }
  static message& view(item& body) noexcept { return body.request; }
};

template <class C>
struct clause {
  using sig = signature<C>;
  using args = clause_args<typename sig::args>;
  using item = typename args::item;
  using result = typename sig::result;
  static constexpr bool guarded = false;
  static bool accepts(C&, item&) noexcept { return true; }
  static decltype(auto) run(C& c, item& body) { return args::run(c, body); }
};
template <class P, class F>
struct clause<When<P, F>> {
  using sig = signature<F>;
  using args = clause_args<typename sig::args>;
  using item = typename args::item;
  using result = typename sig::result;
  static constexpr bool guarded = true;
  static_assert(std::predicate<P&, const typename args::message&>,
                "when(predicate, clause): the predicate must take the clause's message as const& and return bool");
  static bool accepts(When<P, F>& w, item& body) { return w.predicate(std::as_const(args::view(body))); }
  static decltype(auto) run(When<P, F>& w, item& body) { return args::run(w.body, body); }
};

template <class C>
concept Clause = requires {
  typename clause<std::remove_cvref_t<C>>::item;
};

template <class C>
inline constexpr bool is_timeout = std::is_same_v<typename clause<C>::item, Timeout>;
template <class C>
inline constexpr bool takes_any = std::is_same_v<typename clause<C>::item, Message>;
template <class C>
inline constexpr bool is_catch_all = takes_any<C> && !clause<C>::guarded;

// What a receive with these clauses returns.
template <class... Cs>
struct common_result {
  static_assert(sizeof...(Cs) > 0, "receive needs a clause");
  static_assert(
      requires { typename std::common_type_t<typename clause<Cs>::result...>; },
      "the clauses of a receive return values of a common type, or all return nothing");
  using type = std::common_type_t<typename clause<Cs>::result...>;
};

// Nothing but Timeout follows a catch-all; at most one Timeout.
template <class... Cs>
consteval bool well_ordered() {
  bool any = false, ok = true;
  int timeouts = 0;
  ((is_timeout<Cs> ? void(++timeouts) : void(any ? ok = false : any = is_catch_all<Cs>)), ...);
  return ok && timeouts <= 1;
}

// Destroys a message's body and frees its block when its clause is done, however it is left.
struct ItemOwner {
  Item* item;
  explicit ItemOwner(Item* taken) noexcept : item(taken) {}
  ItemOwner(const ItemOwner&) = delete;
  ItemOwner& operator=(const ItemOwner&) = delete;
  ~ItemOwner() { drop_item(item); }
};
template <class Body>
struct TypedItemOwner {  // the same with the type known: no call through the type's table
  Item* item;
  explicit TypedItemOwner(Item* taken) noexcept : item(taken) {}
  TypedItemOwner(const TypedItemOwner&) = delete;
  TypedItemOwner& operator=(const TypedItemOwner&) = delete;
  ~TypedItemOwner() {
    constexpr std::size_t bytes = Item::body_offset<Body> + sizeof(Body);
    constexpr unsigned cls = gc::size_class(bytes);
    std::destroy_at(item->body<Body>());
    if ((item->flags & Item::kKept) != 0) [[unlikely]]
      static_cast<void>(let_go(*item));  // its own
    const sched::Touch touch;
    if constexpr (cls == gc::kLarge) {
      heap().free_large(item, bytes);
    } else {
      static_assert(cls != gc::size_class(1) || bytes <= kSignalBytes);  // a Down or Exit lies in a signal's block
      heap().free(item, cls);
    }
  }
};

template <class R>
struct Result {
  std::optional<R> value;
  template <class F>
  void set(F&& f) {
    value.emplace(std::forward<F>(f)());
  }
  R get() { return std::move(*value); }
};
template <>
struct Result<void> {
  template <class F>
  void set(F&& f) {
    std::forward<F>(f)();
  }
  void get() {}
};

// Runs the clause on the message at `at` if it takes it.
template <class C, class Wait, class R>
[[gnu::always_inline]] inline bool try_clause(C& c, Process& process, Item** at, Wait& wait, Result<R>& result) {
  using K = clause<C>;
  if constexpr (is_timeout<C>) {
    return false;
  } else if constexpr (takes_any<C>) {
    if constexpr (K::guarded) {
      Message look(*at);
      struct Give {
        Message& message;
        ~Give() { message.release(); }  // it still lies in the list
      } give{look};
      if (!K::accepts(c, look)) return false;
    }
    Message message(process.take_out(at));
    wait.end();
    result.set([&]() -> decltype(auto) { return K::run(c, message); });
    return true;
  } else {
    auto* body = item_as<typename K::item>(*at);
    if (body == nullptr || !K::accepts(c, *body)) return false;
    TypedItemOwner<typename K::item> owner(process.take_out(at));
    wait.end();
    result.set([&]() -> decltype(auto) { return K::run(c, *body); });
    return true;
  }
}

template <class C, class R>
bool try_timeout(C& c, Result<R>& result) {
  if constexpr (is_timeout<C>) {
    Timeout timeout;
    result.set([&]() -> decltype(auto) { return clause<C>::run(c, timeout); });
    return true;
  }
  return false;
}

}  // namespace detail

/// Guards a clause: it takes a message only if predicate(const Message&) says so. The predicate must not wait.
template <class Predicate, class F>
detail::When<Predicate, F> when(Predicate predicate, F clause) {
  return {std::move(predicate), std::move(clause)};
}

/// Takes the oldest message that some clause accepts, and returns what the clause does. Exits the process (`timeout`)
/// if the bound passes and no clause takes Timeout.
template <detail::Clause... Cs>
auto receive(Bound bound, Cs... clauses) -> typename detail::common_result<Cs...>::type {
  static_assert(detail::well_ordered<Cs...>(),
                "a clause after the catch-all [](Message) can never run, or there are two Timeout clauses");
  using R = typename detail::common_result<Cs...>::type;
  Process& process = require_process("receive");
  process.checkpoint();
  detail::Result<R> result;
  detail::ReceiveWait wait(process, bound);
  Item** at = &process.inbox_head;
  for (;;) {
    for (; *at != nullptr; at = &(*at)->next) {
      if ((detail::try_clause(clauses, process, at, wait, result) || ...)) return result.get();
      sched::note_touch();  // for more(): a guard may have run, for any time
    }
    if (!wait.more(at)) [[unlikely]] {
      wait.end();
      if ((detail::try_timeout(clauses, result) || ...)) return result.get();
      exit(reason::timeout);
    }
  }
}
template <detail::NoBound B>
void receive(B&&, auto&&...) = delete;  // a bound comes first, and has a unit: receive(1s, …), receive(forever, …)

/// Runs the first clause that takes `message`, as receive() would, and says whether there was one; none: the message is
/// as it was. For who has a Message in hand, such as a handler (handler.h). No Timeout clause.
template <detail::Clause... Cs>
bool match(Message& message, Cs... clauses) {
  static_assert(sizeof...(Cs) > 0 && !(detail::is_timeout<Cs> || ...), "match needs a clause, and takes no Timeout");
  static_assert(detail::well_ordered<Cs...>(), "a clause after the catch-all [](Message) can never run");
  const auto take = [&message]<class C>(C& clause) {
    using K = detail::clause<C>;
    if constexpr (detail::takes_any<C>) {
      if (!K::accepts(clause, message)) return false;
      K::run(clause, message);
    } else {
      auto* const body = message.get<typename K::item>();
      if (body == nullptr || !K::accepts(clause, *body)) return false;
      Message owner = std::move(message);  // gone when the clause is done
      K::run(clause, *body);
    }
    return true;
  };
  return (take(clauses) || ...);
}

/// Throws away every message accepted so far; how many. A safe point.
std::size_t flush();

}  // namespace erlking
