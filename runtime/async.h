// Computations in processes of their own, whose results are awaited, as Elixir's Task: one, or one for each element of
// a range.
//
//   Async<Index> index = async(build_index, std::move(files));        // moved there; begins at once
//   std::expected<Index, CallError> built = await(std::move(index), 5s);
//   auto sizes = parallel_map(files, [](const std::string& f) { return size_of(f); }, {.at_once = 8}, 1min);
//
// The computation's process and its owner, who called async(), are linked: an exception in one ends the other, too,
// unless that traps exits. So await() says `died` only to an owner that traps (which finds an Exit as well) and of a
// computation that has said exit(reason::normal). One that has its result unlinks itself and ends: of that no Exit
// comes. What is no longer wanted ends at once: an Async that is destroyed, or whose await() is `timeout`, has its
// process killed, which runs the destructors of its stack, and does not hurt the owner; nothing of it reaches the
// mailbox.
//
//   J1  The result is the answer to a request (request.h Q1) that the process owes from its first moment to its death:
//       it lies in its Relations, so that a death answers when its reason is known; at the end of f it is taken out.
//   J2  The signal that ends it is made beforehand. Its owner first forgets the link, alone: the other end is about to
//       die, and what it says of the link finds none (L2). So ending one needs no memory, and may be done by a
//       destructor.
#pragma once

#include "runtime/request.h"
#include "runtime/spawn.h"

#include <concepts>
#include <cstddef>
#include <expected>
#include <functional>
#include <new>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

namespace erlking {

/// What a computation comes to: its result, or why there is none: `timeout`, or `died` with the reason.
template <class T>
using Computed = std::expected<T, CallError>;

namespace detail {

/// A result of nothing.
struct NoResult {};

/// The request that a computation answers.
template <class T>
struct Computation {
  using Reply = std::conditional_t<std::is_void_v<T>, NoResult, T>;
};

template <class T>
Computed<T> computed_of(Outcome<Computation<T>>&& outcome) noexcept {
  if constexpr (std::is_void_v<T>) {
    if (!outcome) return std::unexpected(std::move(outcome).error());
    return {};
  } else {
    return std::move(outcome);
  }
}

/// Ends a process when it is destroyed: one that is linked to the process that made this by that one alone, which
/// forgets the link (J2).
class Leash {
 public:
  Leash() noexcept = default;
  /// Of the running process; throws std::bad_alloc.
  explicit Leash(Process& owner);
  Leash(Leash&& other) noexcept = default;
  Leash& operator=(Leash&& other) noexcept {
    Leash taken(std::move(other));
    std::swap(process_, taken.process_);
    std::swap(linked_, taken.linked_);
    kill_.swap(taken.kill_);
    return *this;
  }
  ~Leash() {
    if (kill_ != nullptr) pull();
  }
  void hold(Pid process, bool linked = true) noexcept {
    process_ = process;
    linked_ = linked;
  }
  Pid process() const noexcept { return process_; }
  /// It has ended by itself.
  void let_go() noexcept { kill_.reset(); }

 private:
  void pull() noexcept;

  Pid process_;
  bool linked_ = false;
  SignalPtr kill_;
};

/// What the process of a computation runs.
template <class T>
struct Compute {
  using Owed = From<Computation<T>>;
  ItemPtr owed;
  Pid owner;  // linked; null: not

  template <class F, class... Args>
  void operator()(F&& f, Args&&... args) {
    Process& self = self_process();
    relations_of(self).owed = std::move(owed);
    if constexpr (std::is_void_v<T>) {
      std::invoke(std::forward<F>(f), std::forward<Args>(args)...);
      answer(self, NoResult{});
    } else {
      answer(self, std::invoke(std::forward<F>(f), std::forward<Args>(args)...));
    }
  }

 private:
  void answer(Process& self, typename Computation<T>::Reply result) {
    if (owner) unlink(owner);
    const ItemPtr due = std::move(self.relations->owed);
    due->body<Owed>()->reply(std::move(result));
  }
};

/// A computation under way.
template <class T>
struct Begun {
  RequestId<Computation<T>> id;
  Leash leash;
};

/// Throws std::bad_alloc.
template <class T, class F, class... Args>
std::expected<Begun<T>, SpawnError> begin_computation(Process& self, Tie tie, const SpawnOptions& options, F&& f,
                                                      Args&&... args) {
  static_assert(std::is_void_v<T> || Sendable<T>,
                "the result of a computation is moved to its owner: no pointer, no reference, no string_view");
  self.budget -= Process::kSpawnCost;
  self.checkpoint();
  Leash leash(self);
  auto [id, from] = open_request<Computation<T>>(self, base::kForever);
  ItemPtr owed(make_item<typename Compute<T>::Owed>(0, std::move(from)));
  const auto made = spawn_in(*self.system, options, {.parent = &self, .tie = tie},
                             Compute<T>{std::move(owed), tie == Tie::link ? self.pid() : Pid{}}, std::forward<F>(f),
                             std::forward<Args>(args)...);
  if (!made) return std::unexpected(made.error());
  leash.hold(made->pid);
  return Begun<T>{std::move(id), std::move(leash)};
}

template <class F, class... Args>
using result_of = std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>;

}  // namespace detail

/// A computation whose result has not been taken; see the head of this file. Move-only. Of the process that began it:
/// destroyed by another one it ends nothing.
template <class T>
class Async {
 public:
  /// No computation.
  Async() noexcept = default;
  /// For async().
  explicit Async(detail::Begun<T> begun) noexcept : begun_(std::move(begun)) {}

  /// Whether its result can still be taken: it has been neither taken nor moved away.
  explicit operator bool() const noexcept { return static_cast<bool>(begun_.id); }
  /// The process that computes it.
  Pid pid() const noexcept { return begun_.leash.process(); }

  /// For the functions below.
  RequestId<detail::Computation<T>>& id() noexcept { return begun_.id; }
  /// The outcome has come.
  Computed<T> close(Outcome<detail::Computation<T>>&& outcome) noexcept {
    begun_.leash.let_go();
    return detail::computed_of<T>(std::move(outcome));
  }

 private:
  detail::Begun<T> begun_;
};

/// Runs f(args…), moved there, in a new process that is linked to the caller. At a limit the caller exits, as with
/// spawn(). A safe point, as the others here.
template <class F, class... Args>
requires Spawnable<F, Args...> Async<detail::result_of<F, Args...>> async(const SpawnOptions& options, F&& f,
                                                                          Args&&... args) {
  using T = detail::result_of<F, Args...>;
  Process& self = require_process("async");
  auto begun = [&] {
    try {
      return detail::begin_computation<T>(self, detail::Tie::link, options, std::forward<F>(f),
                                          std::forward<Args>(args)...);
    } catch (const std::bad_alloc&) {
      exit(reason::system_limit);
    }
  }();
  if (!begun) detail::exit_for(begun.error());
  return Async<T>(*std::move(begun));
}
/// The same with the default options.
template <class F, class... Args>
requires Spawnable<F, Args...> Async<detail::result_of<F, Args...>> async(F&& f, Args&&... args) {
  return async(SpawnOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
}

/// Waits for the result at most `bound`. Nothing: it is not there, and the computation goes on; it may be asked again
/// (Elixir's Task.yield). Throws std::logic_error if it is no computation of the caller.
template <class T>
std::optional<Computed<T>> wait_result(Async<T>& computation, Bound bound) {
  auto outcome = wait_response(computation.id(), bound);
  if (!outcome) return std::nullopt;
  return computation.close(*std::move(outcome));
}

/// The same, and then it is ended: `timeout`. Unlike Elixir's Task.await this does not exit the caller.
template <class T>
Computed<T> await(Async<T> computation, Bound bound) {
  auto result = wait_result(computation, bound);
  if (!result) return std::unexpected(CallError{CallFailure::timeout, {}});
  return *std::move(result);
}

/// What `message`, which the caller has received, says if it is the result; it is then used up. Nothing: it is not, and
/// is as it was.
template <class T>
std::optional<Computed<T>> check_result(Message& message, Async<T>& computation) noexcept {
  auto outcome = check_response(message, computation.id());
  if (!outcome) return std::nullopt;
  return computation.close(*std::move(outcome));
}

/// How parallel_map() goes about it.
struct ParallelOptions {
  std::size_t at_once = 0;  ///< the most processes at a time; 0: as many as there are workers
  SpawnOptions spawn = {};  ///< of each process
};

/// f(element) for each element of `elements`, each in a process of its own, which is given copies of both; what came of
/// them, in their order. One that fails is its own element's matter: `died` with the reason; the caller is not linked.
/// When `bound` has passed, what is not there is `timeout`, and its process is ended. No process left at a limit:
/// `refused` with system_limit. If the caller dies, the processes end with it.
template <std::ranges::input_range R, class F>
requires std::copy_constructible<F> && Spawnable<F, std::ranges::range_value_t<R>>
auto parallel_map(R&& elements, F f, ParallelOptions options, Bound bound)
    -> std::vector<Computed<std::invoke_result_t<F, std::ranges::range_value_t<R>>>> {
  using T = std::invoke_result_t<F, std::ranges::range_value_t<R>>;
  Process& self = require_process("parallel_map");
  const std::size_t most = options.at_once != 0 ? options.at_once : self.system->scheduler->asked();
  const Bound until = detail::bound_of_all(self, bound);
  const auto failed = [](CallFailure kind, Reason why = {}) {
    return Computed<T>(std::unexpect, CallError{kind, std::move(why)});
  };
  std::vector<Computed<T>> results;
  std::vector<detail::Leash> leashes;  // one for each result
  Requests<detail::Computation<T>, std::size_t> begun;
  auto next = std::ranges::begin(elements);
  const auto end = std::ranges::end(elements);
  for (;;) {
    for (; next != end && begun.size() < most; ++next) {
      Computed<T> result = failed(CallFailure::timeout);
      detail::Leash leash;
      try {
        auto made = detail::begin_computation<T>(self, detail::Tie::none, options.spawn, f, *next);
        if (made) {
          leash = std::move(made->leash);
          begun.add(std::move(made->id), results.size());
        } else if (made.error() == SpawnError::system_limit) {
          if (begun.size() != 0) break;  // again when one has ended
          result = failed(CallFailure::refused, reason::system_limit);
        } else {
          result = failed(CallFailure::refused, Reason(to_string(made.error())));
        }
      } catch (const std::bad_alloc&) {
        result = failed(CallFailure::no_memory);
      }
      results.push_back(std::move(result));
      leashes.push_back(std::move(leash));
    }
    auto response = receive_response(begun, until);
    if (!response) break;
    results[response->label] = detail::computed_of<T>(std::move(response->result));
    leashes[response->label].let_go();
  }
  for (; next != end; ++next) results.push_back(failed(CallFailure::timeout));
  return results;
}

}  // namespace erlking
