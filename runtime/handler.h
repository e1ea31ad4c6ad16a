// Handlers: processes without a stack of their own. A handler is an object; handle() is called with each message, one
// after another. Between messages it is that object and a control block: 256 bytes if it fits into 24 bytes, else that
// and a block of the message heap. It is a process like any other: pid, mailbox, links, monitors, names, exits.
//
//   struct Counter {
//     long sum = 0;
//     void handle(Message message) {
//       match(message, [&](Add add) { sum += add.n; }, [&](Get&, From<Get> from) { from.reply(sum); });
//     }
//   };
//   Pid counter = spawn_handler(Counter{});
//   send(counter, Add{1});
//
// handle() runs from its first instruction on a pooled stack, and may do all a process may: call, receive (what comes
// meanwhile stays in the mailbox otherwise), sleep. While it waits it keeps that stack. What it does not take of a
// message is destroyed when it returns. An exit, an exception that leaves it, a signal end the process; the object is
// then destroyed, before its name is free and anybody is told. A handler has no end of its own: exit().
//
//   H1  At rest its sp is kStackless and the mailbox's waiting bit is set: a message makes it runnable as it would a
//       process that receives. It is born so, unless it has a started(), which runs first of all in the new process.
//   H2  It handles messages until none is left, or a budget of operations is used up; then others have their turn.
//   H3  The last thing its loop does with it is to store kStackless (X1, X5): the park before has made it others'.
// Cost of a message to a handler at rest: as to a process that waits, with a plain call instead of the switch if the
// worker ran another handler before.
#pragma once

#include "runtime/receive.h"
#include "runtime/spawn.h"

#include <concepts>
#include <expected>
#include <type_traits>
#include <utility>

namespace erlking {

/// What spawn_handler() takes: movable, with `void handle(Message)`, and perhaps `void started()`.
template <class H>
concept Handler = std::is_object_v<H> && std::move_constructible<H> && alignof(H) <= 64 &&
                  requires(H& handler, Message message) {
  handler.handle(std::move(message));
};

namespace detail {

template <class H>
inline constexpr bool is_small_state = sizeof(H) <= Process::kSmallState && alignof(H) <= alignof(void*);

template <class H>
struct HandlerStart {
  static void run(void* state) {
    if constexpr (requires(H & handler) { handler.started(); }) static_cast<H*>(state)->started();
  }
  static bool handle(void* state, Message&& message) {
    static_cast<H*>(state)->handle(std::move(message));
    return true;
  }
  static constexpr bool starts = requires(H & handler) { handler.started(); };
  static constexpr Start start{type_name<H>(), starts ? &run : nullptr, &destroy_body<H>, &handle,
                               is_small_state<H> ? 0 : sizeof(H)};
};

/// Where a handler's state lies.
inline void* state_of(Process& process) noexcept {
  return process.start->state_bytes == 0 ? static_cast<void*>(process.small_state) : process.closure;
}
/// Destroys it and frees its block; once.
void drop_state(Process& process) noexcept;
/// sched::Worker's hooks, for handlers.
sched::Worker& serve_handler(Process& process) noexcept;
void give_up_handler(Process& process) noexcept;

template <Handler H>
std::expected<Monitored, SpawnError> spawn_handler_in(System& system, const SpawnOptions& options, const Kin& kin,
                                                      H&& handler) {
  using State = std::decay_t<H>;
  constexpr const Start& start = HandlerStart<State>::start;
  const Uncontained half_born;  // F3
  Birth birth = begin_spawn_handler(system, options, start);
  if (birth.process == nullptr) return std::unexpected(birth.error);
  try {
    new (birth.closure) State(std::forward<H>(handler));
  } catch (...) {
    abandon_spawn(birth, start.state_bytes);
    throw;
  }
  return complete_spawn(birth, options, start, kin);
}

template <class H>
Monitored spawn_handler_or_exit(const SpawnOptions& options, Tie tie, const char* what, H&& handler,
                                MonitorOptions* monitor = nullptr) {
  Process& self = require_process(what);
  self.budget -= Process::kSpawnCost;
  self.checkpoint();
  auto made = spawn_handler_in(*self.system, options, {.parent = &self, .tie = tie, .monitor = monitor},
                               std::forward<H>(handler));
  if (!made) exit_for(made.error());
  return *made;
}

}  // namespace detail

/// Starts a process without a stack of its own; its pid. `handler` is moved into it; options and failures as spawn()'s,
/// where `stack` is the size of the pooled stacks it runs on.
template <class H>
requires Handler<std::decay_t<H>> Pid spawn_handler(const SpawnOptions& options, H&& handler) {
  return detail::spawn_handler_or_exit(options, detail::Tie::none, "spawn_handler", std::forward<H>(handler)).pid;
}
/// The same with the default options.
template <class H>
requires Handler<std::decay_t<H>> Pid spawn_handler(H&& handler) {
  return spawn_handler(SpawnOptions{}, std::forward<H>(handler));
}
/// The same, linked to the caller from the first moment.
template <class H>
requires Handler<std::decay_t<H>> Pid spawn_handler_link(const SpawnOptions& options, H&& handler) {
  return detail::spawn_handler_or_exit(options, detail::Tie::link, "spawn_handler_link", std::forward<H>(handler)).pid;
}
/// The same with the default options.
template <class H>
requires Handler<std::decay_t<H>> Pid spawn_handler_link(H&& handler) {
  return spawn_handler_link(SpawnOptions{}, std::forward<H>(handler));
}
/// The same, monitored by the caller.
template <class H>
requires Handler<std::decay_t<H>> Monitored spawn_handler_monitor(const SpawnOptions& options, H&& handler) {
  return detail::spawn_handler_or_exit(options, detail::Tie::monitor, "spawn_handler_monitor",
                                       std::forward<H>(handler));
}
/// With options for the monitor, as spawn_monitor(): spawn_handler_monitor({}, {.tag = Job{7}}, Counter{}).
template <class H>
requires Handler<std::decay_t<H>> MonitoredAlias spawn_handler_monitor(const SpawnOptions& options,
                                                                       MonitorOptions monitor, H&& handler) {
  const bool with_alias = monitor.alias.has_value();
  const Monitored made = detail::spawn_handler_or_exit(options, detail::Tie::monitor, "spawn_handler_monitor",
                                                       std::forward<H>(handler), &monitor);
  return {made.pid, made.ref, with_alias ? Alias{self_process().pid(), made.ref.id} : Alias{}};
}
/// The same with the default options.
template <class H>
requires Handler<std::decay_t<H>> Monitored spawn_handler_monitor(H&& handler) {
  return spawn_handler_monitor(SpawnOptions{}, std::forward<H>(handler));
}
/// The same as spawn_handler(), with a failure as a value.
template <class H>
requires Handler<std::decay_t<H>> std::expected<Pid, SpawnError> try_spawn_handler(const SpawnOptions& options,
                                                                                   H&& handler) {
  Process& self = require_process("try_spawn_handler");
  self.budget -= Process::kSpawnCost;
  self.checkpoint();
  auto made = detail::spawn_handler_in(*self.system, options, {.parent = &self}, std::forward<H>(handler));
  if (!made) return std::unexpected(made.error());
  return made->pid;
}
/// The same with the default options.
template <class H>
requires Handler<std::decay_t<H>> std::expected<Pid, SpawnError> try_spawn_handler(H&& handler) {
  return try_spawn_handler(SpawnOptions{}, std::forward<H>(handler));
}

}  // namespace erlking
