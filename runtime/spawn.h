// spawn: a new process running f(args…), on a stack of its own. f and the arguments are moved into it.
//
//   Pid a = spawn(ponger);
//   Pid b = spawn({.name = "cache", .mailbox = 16}, serve, 7);
//   Pid c = spawn_link(worker);                       // atomic: no window in which a death goes unseen (SEMANTICS 3.3)
//   auto [pid, ref] = spawn_monitor(worker);
//   std::expected<Pid, SpawnError> d = try_spawn(worker);
//
// At a limit spawn exits the caller with `system_limit` (a taken name: reason name_taken); try_spawn says so instead.
#pragma once

#include "runtime/exit.h"
#include "runtime/fault.h"
#include "runtime/message.h"
#include "runtime/monitor.h"
#include "runtime/options.h"
#include "runtime/pid.h"
#include "runtime/process.h"

#include <concepts>
#include <cstddef>
#include <expected>
#include <functional>
#include <string_view>
#include <tuple>
#include <utility>

namespace erlking {

/// Why a process could not be made; nothing is left of the attempt.
enum class SpawnError : std::uint8_t {
  system_limit,  ///< no process slot, stack, memory or (scheduler `threads`) thread left
  name_taken,    ///< somebody has that name
  bad_options,   ///< an option out of its range (options.h)
  stopping,      ///< the runtime is coming to its end
};
/// Its name, as above.
std::string_view to_string(SpawnError error) noexcept;

/// A new process and the monitor on it.
struct Monitored {
  Pid pid;         ///< the process
  MonitorRef ref;  ///< the caller's monitor on it
};
/// The same, and the alias made with the monitor, if one was.
struct MonitoredAlias {
  Pid pid;         ///< the process
  MonitorRef ref;  ///< the caller's monitor on it
  Alias alias;     ///< the caller's; null if none was asked for
};

namespace detail {

/// A process being made: its slot and stack are taken, its closure's place is on that stack.
struct Birth {
  Process* process = nullptr;
  void* closure = nullptr;
  SpawnError error = SpawnError::system_limit;  // if process is null
};
enum class Tie : std::uint8_t { none, link, monitor };
class Port;
/// Who is there as it is born, and ties it to itself from its first moment; nobody: it comes from outside.
struct Kin {
  Process* parent = nullptr;
  Tie tie = Tie::none;                // parent's
  Port* watch = nullptr;              // without a parent: awaits its DOWN
  MonitorOptions* monitor = nullptr;  // of Tie::monitor, used up; null: none
};

Birth begin_spawn(System& system, const SpawnOptions& options, std::size_t bytes, std::size_t alignment) noexcept;
/// The same for a handler, whose state's place it makes.
Birth begin_spawn_handler(System& system, const SpawnOptions& options, const Start& start) noexcept;
void abandon_spawn(Birth& birth, std::size_t state_bytes = 0) noexcept;
/// Makes it a process others can see, and runnable. On an error it is abandoned, the closure destroyed.
std::expected<Monitored, SpawnError> complete_spawn(Birth& birth, const SpawnOptions& options, const Start& start,
                                                    const Kin& kin) noexcept;

template <class F, class... Args>
struct Closure {
  F f;
  std::tuple<Args...> args;
  static void run(void* self) {
    auto& closure = *static_cast<Closure*>(self);
    std::apply([&](Args&... a) { std::invoke(std::move(closure.f), std::move(a)...); }, closure.args);
  }
};

template <class F, class... Args>
std::expected<Monitored, SpawnError> spawn_in(System& system, const SpawnOptions& options, const Kin& kin, F&& f,
                                              Args&&... args) {
  using C = Closure<std::decay_t<F>, std::decay_t<Args>...>;
  static_assert(sizeof(C) <= 2048,
                "the function and its arguments lie on the new process's stack: pass what is large in a "
                "std::unique_ptr, a container or a Ref");
  const Uncontained half_born;  // F3
  Birth birth = begin_spawn(system, options, sizeof(C), alignof(C));
  if (birth.process == nullptr) return std::unexpected(birth.error);
  try {
    new (birth.closure) C{std::forward<F>(f), std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...)};
  } catch (...) {
    abandon_spawn(birth);
    throw;
  }
  static constexpr Start start{type_name<std::decay_t<F>>(), &C::run, &destroy_body<C>};
  return complete_spawn(birth, options, start, kin);
}

[[noreturn]] void exit_for(SpawnError error);

template <class F, class... Args>
Monitored spawn_or_exit(const SpawnOptions& options, Tie tie, const char* what, F&& f, Args&&... args) {
  Process& self = require_process(what);
  self.budget -= Process::kSpawnCost;
  self.checkpoint();
  auto made =
      spawn_in(*self.system, options, {.parent = &self, .tie = tie}, std::forward<F>(f), std::forward<Args>(args)...);
  if (!made) exit_for(made.error());
  return *made;
}

}  // namespace detail

/// A function that can be called with these arguments, once moved.
template <class F, class... Args>
concept Spawnable = std::invocable<std::decay_t<F>, std::decay_t<Args>...>;

/// Starts a process; its pid. At a limit the caller exits. A safe point, as are the others here.
template <class F, class... Args>
requires Spawnable<F, Args...> Pid spawn(const SpawnOptions& options, F&& f, Args&&... args) {
  return detail::spawn_or_exit(options, detail::Tie::none, "spawn", std::forward<F>(f), std::forward<Args>(args)...)
      .pid;
}
/// The same with the default options.
template <class F, class... Args>
requires Spawnable<F, Args...> Pid spawn(F&& f, Args&&... args) {
  return spawn(SpawnOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
}

/// The same, linked to the caller from its first moment (SEMANTICS 3.3).
template <class F, class... Args>
requires Spawnable<F, Args...> Pid spawn_link(const SpawnOptions& options, F&& f, Args&&... args) {
  return detail::spawn_or_exit(options, detail::Tie::link, "spawn_link", std::forward<F>(f),
                               std::forward<Args>(args)...)
      .pid;
}
/// The same with the default options.
template <class F, class... Args>
requires Spawnable<F, Args...> Pid spawn_link(F&& f, Args&&... args) {
  return spawn_link(SpawnOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
}

/// The same, monitored by the caller from its first moment (SEMANTICS 4.5).
template <class F, class... Args>
requires Spawnable<F, Args...> Monitored spawn_monitor(const SpawnOptions& options, F&& f, Args&&... args) {
  return detail::spawn_or_exit(options, detail::Tie::monitor, "spawn_monitor", std::forward<F>(f),
                               std::forward<Args>(args)...);
}
/// With options for the monitor (monitor.h): spawn_monitor({.mailbox = 16}, {.tag = Job{7}}, serve).
template <class F, class... Args>
requires Spawnable<F, Args...> MonitoredAlias spawn_monitor(const SpawnOptions& options, MonitorOptions monitor, F&& f,
                                                            Args&&... args) {
  Process& self = require_process("spawn_monitor");
  self.budget -= Process::kSpawnCost;
  self.checkpoint();
  const bool with_alias = monitor.alias.has_value();
  auto made =
      detail::spawn_in(*self.system, options, {.parent = &self, .tie = detail::Tie::monitor, .monitor = &monitor},
                       std::forward<F>(f), std::forward<Args>(args)...);
  if (!made) detail::exit_for(made.error());
  return {made->pid, made->ref, with_alias ? Alias{self.pid(), made->ref.id} : Alias{}};
}
/// The same with the default options.
template <class F, class... Args>
requires Spawnable<F, Args...> Monitored spawn_monitor(F&& f, Args&&... args) {
  return spawn_monitor(SpawnOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
}

/// The same; what stands in the way is returned.
template <class F, class... Args>
requires Spawnable<F, Args...> std::expected<Pid, SpawnError> try_spawn(const SpawnOptions& options, F&& f,
                                                                        Args&&... args) {
  Process& self = require_process("try_spawn");
  self.budget -= Process::kSpawnCost;
  self.checkpoint();
  auto made =
      detail::spawn_in(*self.system, options, {.parent = &self}, std::forward<F>(f), std::forward<Args>(args)...);
  if (!made) return std::unexpected(made.error());
  return made->pid;
}
/// The same with the default options.
template <class F, class... Args>
requires Spawnable<F, Args...> std::expected<Pid, SpawnError> try_spawn(F&& f, Args&&... args) {
  return try_spawn(SpawnOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace erlking
