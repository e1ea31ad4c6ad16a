// Child specs: what a supervisor (supervisor.h) needs to know of a child: its id, how it is started, when it is started
// anew, how it is ended. The fields and defaults are OTP's (SEMANTICS 12.1).
//
//   child<Store>("store", {.restart = permanent, .shutdown = 5s}, 16)      // a Server or StateMachine, of copies
//   child("listener", {.restart = transient}, listen_on, 6379)             // a function, run as a process
//   child("cache", {}, [] { return start_cache(); })                       // one that starts it, and returns Started
//   supervisor("connections", {.strategy = simple_one_for_one,
//                              .children = {child("conn", {.restart = temporary}, serve)}})    // void serve(Socket)
//
// The arguments are copied for each start, so that a restart begins as the first start did. A function whose
// parameters are not all given is a template for simple_one_for_one: start_child() brings the rest. Where its type does
// not tell them, and for classes, they are named: child<Conn>("conn", {}, shard, each<Socket>).
#pragma once

#include "runtime/handles.h"

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace erlking {

/// When a child that has ended by itself is started anew (SEMANTICS 12.5).
enum class Restart : std::uint8_t {
  permanent,  ///< always
  transient,  ///< if it ended abnormally: not normal, shutdown, {shutdown, _}
  temporary,  ///< never; its spec goes with it
};
using enum Restart;
/// Its name, as above.
std::string_view to_string(Restart restart) noexcept;

/// What kind of process a child is.
enum class ChildType : std::uint8_t {
  worker,      ///< any that is no supervisor
  supervisor,  ///< one with children of its own
};
/// Its name, as above.
std::string_view to_string(ChildType type) noexcept;

/// How a child is ended: told `shutdown` and given time; or killed at once (SEMANTICS 12.14).
class Shutdown {
 public:
  /// Which of the constructors below.
  enum class How : std::uint8_t { by_type, within, forever, brutal };

  /// As OTP has it: 5 s for a worker, forever for a supervisor.
  constexpr Shutdown() noexcept = default;
  /// It is killed when it has not ended by then; not negative.
  template <class Rep, class Period>
  constexpr Shutdown(std::chrono::duration<Rep, Period> within) noexcept
      : how_(How::within), within_(std::chrono::duration_cast<Duration>(within)) {}
  /// It is waited for however long it takes.
  constexpr Shutdown(Forever) noexcept : how_(How::forever) {}
  /// It is killed at once.
  static constexpr Shutdown brutal() noexcept { return Shutdown(How::brutal); }

  constexpr How how() const noexcept { return how_; }             ///< which of these
  constexpr Duration within() const noexcept { return within_; }  ///< of How::within
  friend bool operator==(const Shutdown&, const Shutdown&) = default;

 private:
  constexpr explicit Shutdown(How how) noexcept : how_(how) {}
  How how_ = How::by_type;
  Duration within_{};
};

/// How many restarts within how long are too many: one more than `restarts` (SEMANTICS 12.6).
struct Intensity {
  std::int64_t restarts = 1;                  ///< 0 or more
  Duration period = std::chrono::seconds(5);  ///< above 0
  friend bool operator==(const Intensity&, const Intensity&) = default;
};

/// How long a supervisor waits before it starts a child anew; beyond OTP, which does not wait.
struct Backoff {
  Duration first = {};                       ///< before the first of a row of restarts; 0: no waiting
  Duration most = std::chrono::seconds(30);  ///< it doubles from one to the next, up to this
  /// Each wait is shortened at random by up to this part of it, 0 to 1, so that many do not come back at once.
  double jitter = 0.2;
  /// The row ends when the child has lived this long.
  Duration forget = std::chrono::minutes(1);
};

/// What is said of a child beside what it runs.
struct ChildOptions {
  Restart restart = permanent;  ///< when it is started anew
  Shutdown shutdown = {};       ///< how it is ended
  bool significant = false;     ///< its end may end the supervisor: SupervisorSpec::auto_shutdown
  SpawnOptions spawn = {};      ///< of its process: name, mailbox, stack
  /// How long it may take to start, or its start fails with `timeout`; of a Server or a supervisor.
  std::optional<Duration> start_within = {};
  std::optional<Intensity> intensity = {};  ///< its restarts count for themselves, not among the supervisor's
  Backoff backoff = {};                     ///< before its restarts
};

/// The arguments that start_child() brings for a template: none, or a std::tuple.
class ChildArguments {
 public:
  /// None.
  ChildArguments() noexcept = default;
  /// Takes them over.
  template <class... A>
  explicit ChildArguments(std::tuple<A...> arguments)
      : type_(&type_info_of<std::tuple<A...>>), tuple_(std::make_shared<std::tuple<A...>>(std::move(arguments))) {}
  /// The type of the tuple; null: none.
  const TypeInfo* type() const noexcept { return type_; }
  /// The tuple, which must be of this type.
  template <class Tuple>
  const Tuple& as() const noexcept {
    return *static_cast<const Tuple*>(tuple_.get());
  }

 private:
  const TypeInfo* type_ = nullptr;
  std::shared_ptr<const void> tuple_;
};

/// Starts a child: runs in the supervisor, and must link what it starts to it (SEMANTICS 12.4). An exception or exit()
/// in it is a failed start. Copies share the function.
class ChildStart {
 public:
  /// Nothing: a spec with this is refused (missing_start).
  ChildStart() noexcept = default;
  /// Any function that starts a child.
  template <std::copy_constructible F>
  requires std::is_invocable_r_v<Started, F&> &&(!std::same_as<F, ChildStart>)ChildStart(F start)
      : run_([start = std::move(start)](const ChildOptions&, const ChildArguments&, Mode) mutable -> Started {
          return start();
        }),
        what_(detail::type_name<F>()) {}

  /// Whether a start waits until the child is ready.
  enum class Mode : std::uint8_t {
    wait,   ///< it does
    go_on,  ///< not if can_go_on(): the pid is of one that is starting, and a Launched will come (behaviour.h)
  };
  /// What starts a child that has these options, with what start_child() has brought.
  using Run = std::function<Started(const ChildOptions& options, const ChildArguments& brought, Mode mode)>;
  /// For child(): `wanted` is the type of the tuple that start_child() must bring; null: this is no template. `what`
  /// it runs is for reports: a literal.
  ChildStart(Run run, const TypeInfo* wanted, std::string_view what, bool can_go_on) noexcept
      : run_(std::move(run)), wanted_(wanted), what_(what), can_go_on_(can_go_on) {}

  /// Whether there is a function.
  explicit operator bool() const noexcept { return static_cast<bool>(run_); }
  /// The type of the tuple that start_child() must bring; null: it brings nothing.
  const TypeInfo* wanted() const noexcept { return wanted_; }
  /// The type of the class or function it runs.
  std::string_view what() const noexcept { return what_; }
  /// Whether Mode::go_on makes a difference.
  bool can_go_on() const noexcept { return can_go_on_; }
  /// Starts one; `brought` is of the wanted type.
  Started operator()(const ChildOptions& options, const ChildArguments& brought, Mode mode = Mode::wait) const {
    return run_(options, brought, mode);
  }

 private:
  Run run_;
  const TypeInfo* wanted_ = nullptr;
  std::string_view what_;
  bool can_go_on_ = false;
};

/// A child as its supervisor knows it.
struct ChildSpec {
  std::string id;                      ///< names it among its supervisor's children; not empty
  ChildOptions options = {};           ///< when it is started anew, how it ends
  ChildType type = ChildType::worker;  ///< which_children tells
  ChildStart start = {};               ///< starts it
};

/// The parameters of a template that start_child() brings, after those given here.
template <class... A>
struct Each {};
/// The same, as it is written: each<Socket>.
template <class... A>
inline constexpr Each<A...> each{};

namespace detail {

/// Runs a function as a process linked to the caller; what stands in the way is the error.
template <class F, class... A>
Started start_function(const SpawnOptions& options, F&& f, A&&... arguments) {
  Process& self = require_process("a child's start");
  const auto made = spawn_in(*self.system, options, {.parent = &self, .tie = Tie::link}, std::forward<F>(f),
                             std::forward<A>(arguments)...);
  if (!made) return std::unexpected(start_error(*self.system, made.error(), options));
  return made->pid;
}

// What a child is made of: a class, or a function; and its arguments, of which it gets copies.
template <class S, class... A>
Started start_class_of(const ChildOptions& options, ChildStart::Mode mode, A&&... arguments) {
  if (mode == ChildStart::Mode::go_on) {
    return begin_linked<S, CodeOf<S>::type>("a child's start", options.spawn, std::forward<A>(arguments)...);
  }
  Bound bound = forever;
  if (options.start_within) bound = *options.start_within;
  return erlking::start_link<S>(bound, options.spawn, std::forward<A>(arguments)...);
}
template <class S, class... A>
Started start_of(const ChildOptions& options, ChildStart::Mode mode, std::in_place_type_t<S>, const A&... arguments) {
  return start_class_of<S>(options, mode, A(arguments)...);
}
template <class F, class... A>
Started start_of(const ChildOptions& options, ChildStart::Mode, const F& f, const A&... arguments) {
  if constexpr (std::is_invocable_r_v<Started, F, A...>) {
    return std::invoke(F(f), A(arguments)...);
  } else {
    return start_function(options.spawn, F(f), A(arguments)...);
  }
}

template <class What, class... A>
inline constexpr bool can_start = std::invocable<What, A...>;
template <class S, class... A>
inline constexpr bool can_start<std::in_place_type_t<S>, A...> = std::constructible_from<S, A...>;
template <class What>
inline constexpr std::string_view name_of_start = type_name<What>();
template <class S>
inline constexpr std::string_view name_of_start<std::in_place_type_t<S>> = type_name<S>();
template <class What>
inline constexpr bool is_class = false;
template <class S>
inline constexpr bool is_class<std::in_place_type_t<S>> = true;

// Of a function's parameters those after the first n, as values; nothing if its type does not tell.
template <class F>
concept HasSignature = requires {
  typename signature<F>::args;
};
template <std::size_t n, class F>
struct ParametersAfter {
  using type = Each<>;
};
template <std::size_t n, HasSignature F>
requires(std::tuple_size_v<typename signature<F>::args> > n) struct ParametersAfter<n, F> {
  using Args = typename signature<F>::args;
  template <std::size_t... i>
  static Each<std::decay_t<std::tuple_element_t<n + i, Args>>...> pick(std::index_sequence<i...>);
  using type = decltype(pick(std::make_index_sequence<std::tuple_size_v<Args> - n>()));
};

template <class What, class Given, class Wanted>
struct ChildMaker;
template <class What, class... Given, class... Wanted>
struct ChildMaker<What, std::tuple<Given...>, Each<Wanted...>> {
  static_assert((std::copy_constructible<Given> && ...) && (std::copy_constructible<Wanted> && ...),
                "a child's arguments are copied for each start: pass what cannot be copied in a Ref or shared_ptr");
  static_assert(can_start<What, Given..., Wanted...>,
                "a child's function or constructor does not take these arguments (and what each<…> names after them)");
  using Brought = std::tuple<Wanted...>;
  static constexpr const TypeInfo* wanted = sizeof...(Wanted) == 0 ? nullptr : &type_info_of<Brought>;

  static ChildStart make(What what, std::tuple<Given...> given) {
    return ChildStart(
        [what = std::move(what), given = std::move(given)](const ChildOptions& options, const ChildArguments& brought,
                                                           ChildStart::Mode mode) {
          const auto start = [&](const auto&... a) { return start_of(options, mode, what, a...); };
          const auto refs = [](const auto&... a) { return std::tie(a...); };
          if constexpr (sizeof...(Wanted) == 0)
            return std::apply(start, given);
          else
            return std::apply(start, std::tuple_cat(std::apply(refs, given), std::apply(refs, brought.as<Brought>())));
        },
        wanted, name_of_start<What>, is_class<What>);
  }
};

template <class T>
inline constexpr bool is_each = false;
template <class... W>
inline constexpr bool is_each<Each<W...>> = true;

template <class... A>
inline constexpr bool ends_with_each = false;
template <class First, class... A>
inline constexpr bool ends_with_each<First, A...> =
    is_each<std::tuple_element_t<sizeof...(A), std::tuple<First, A...>>>;

template <class What, class... A>
ChildStart make_child_start(What what, std::tuple<A...> arguments) {
  constexpr std::size_t count = sizeof...(A);
  if constexpr (ends_with_each<A...>) {
    return [&]<std::size_t... i>(std::index_sequence<i...>) {
      using Given = std::tuple<std::tuple_element_t<i, std::tuple<A...>>...>;
      using Wanted = std::tuple_element_t<count - 1, std::tuple<A...>>;
      return ChildMaker<What, Given, Wanted>::make(std::move(what), Given(std::get<i>(std::move(arguments))...));
    }
    (std::make_index_sequence<count - 1>());
  } else if constexpr (can_start<What, A...>) {
    return ChildMaker<What, std::tuple<A...>, Each<>>::make(std::move(what), std::move(arguments));
  } else {
    using Wanted = typename ParametersAfter<count, What>::type;
    return ChildMaker<What, std::tuple<A...>, Wanted>::make(std::move(what), std::move(arguments));
  }
}

}  // namespace detail

/// A Server or StateMachine of class S, made of copies of the arguments.
template <BehaviourClass S, class... A>
ChildSpec child(std::string id, ChildOptions options, A... arguments) {
  return {std::move(id), std::move(options), ChildType::worker,
          detail::make_child_start(std::in_place_type<S>, std::tuple<A...>(std::move(arguments)...))};
}
/// A function and copies of the arguments: run as a process; or, if it returns Started, run in the supervisor to start
/// one. In a process every exit is the child's end, also a return (normal).
template <class F, class... A>
requires(!BehaviourClass<F>) ChildSpec child(std::string id, ChildOptions options, F f, A... arguments) {
  return {std::move(id), std::move(options), ChildType::worker,
          detail::make_child_start(std::move(f), std::tuple<A...>(std::move(arguments)...))};
}

}  // namespace erlking
