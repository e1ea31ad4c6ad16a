// Behaviours: processes whose loop is the runtime's and whose content is a class of the user's — servers (server.h),
// state machines (state_machine.h), supervisors. This is what they share: OTP's proc_lib and the loop of its gen
// modules (SEMANTICS §9, §10). A behaviour is a handler (handler.h): at rest it is its control block and one block of
// the message heap.
//
//   U1  The block holds a Behaviour, then the user's object; until that is constructed, who waits for the start and the
//       arguments lie in its place. The object is constructed in the new process, by the first thing it does.
//   U2  Whoever started it is answered exactly once: when the object is there; or, if it never will be, last of all of
//       the process's death, when its name is free and its EXITs are on their way (9.1–9.3). Who waits does so on its
//       ticket; who goes on meanwhile gets a Launched, which it has made before.
//   U3  One message after another: what is the system's goes to the system's part, an Exit from the parent to a
//       behaviour that traps ends it (10.11), all else to the class. Then come what the class said to do next
//       (continue_with), its end, or its idle timeout.
//   U4  It ends by what the class says (stop), by the parent's exit, by an exit or exception that leaves a callback;
//       then terminate() runs, once, on the same stack, whose waits wait. Not if a signal ends it, nor if the object
//       never was (10.10). Then the object is destroyed and the process dies as others do (D1).
//   U5  While the class handles a call, its own calls end no later than the caller gives up.
// Cost of a message beside a handler's: one load of its kind, one of what the class said. A call to one reads the
// clock, to tell it when its caller gives up: about 20 ns.
#pragma once

#include "runtime/call.h"
#include "runtime/handler.h"
#include "runtime/report.h"
#include "runtime/timer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <new>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace erlking {

/// Why a start did not give a process.
enum class StartFailure : std::uint8_t {
  failed,           ///< its constructor threw or exited, or it was killed: `why`
  ignored,          ///< it said ignore_start()
  already_started,  ///< `pid` has its name
  timeout,          ///< not ready within the bound: it has been killed
  system_limit,     ///< no process slot or memory
  bad_options,      ///< an option out of its range (options.h)
  stopping,         ///< the runtime is coming to its end
};
/// Its name, as above.
std::string_view to_string(StartFailure failure) noexcept;

/// What a start returns instead of a pid.
struct StartError {
  StartFailure kind = StartFailure::failed;  ///< which failure
  Reason why = {};                           ///< of failed: the exit reason
  Pid pid = {};                              ///< of already_started: who has the name
  friend bool operator==(const StartError&, const StartError&) = default;
};
/// A new process that is ready, or why there is none.
using Started = std::expected<Pid, StartError>;

/// Says, in the constructor of a behaviour, that there is nothing to run after all: the start returns `ignored`, the
/// process ends normally (SEMANTICS 9.3).
[[noreturn]] void ignore_start();

/// In a behaviour that handles a call: from here on its own calls are bound by nothing but themselves.
void detach_deadline() noexcept;

namespace detail {

class Behaviour;

/// What the runtime knows of a user's class: one constant for each.
struct BehaviourType {
  const TypeInfo* type;                                           // of the class
  void (*dispatch)(Behaviour& behaviour, Message&& message);      // one message of the class's; what it takes of it
  void (*terminate)(Behaviour& behaviour, const Reason& reason);  // null: the class has none
  void* (*object)(Behaviour& behaviour) noexcept;
  Described (*describe_message)(Message& message) = nullptr;    // for reports; null: its type is all there is to say
  Described (*describe_state)(Behaviour& behaviour) = nullptr;  // the object; null: nothing is said
  void (*started)(Behaviour& behaviour) = nullptr;  // first of all, the start has been answered; null: nothing
};

/// A Start for each class and the types of its arguments.
struct BehaviourStart : Start {
  const BehaviourType* type;
  void (*construct)(Behaviour& behaviour);  // the object, of its arguments (U1)
};

/// Rare things a class can say, made at need.
struct Extras {
  Item* next = nullptr;  // continue_with()'s, in order
  Item** next_end = &next;
  base::Nanos idle = -1;  // timeout_after()'s duration, armed or about to be; -1: none
  TimerRef timer;         // armed for it
  bool stopping = false;
  Reason why;                               // of stopping
  std::unique_ptr<Described> last_message;  // handled by the callback that ends it, for the report
};

/// The head of a behaviour's block (U1). Of its process alone.
class Behaviour {
 public:
  enum class Phase : std::uint8_t {
    waiting,     // the starter and the arguments lie in the object's place
    starting,    // the object is being constructed, or could not be
    running,     // it is there
    terminated,  // and terminate() has run
  };

  Behaviour(ReplyTo* starter, bool has_parent) noexcept : starter_(starter), has_parent_(has_parent) {}
  Behaviour(const Behaviour&) = delete;
  Behaviour& operator=(const Behaviour&) = delete;
  ~Behaviour();

  /// Throws std::bad_alloc.
  Extras& extras() {
    if (extras_ == nullptr) extras_ = new Extras;
    return *extras_;
  }
  Extras* extras_if_any() const noexcept { return extras_; }
  /// When the callback returns it ends.
  void stop(Reason why) {
    extras().stopping = true;
    extras().why = std::move(why);
  }
  Phase phase() const noexcept { return phase_; }
  void set_phase(Phase phase) noexcept { phase_ = phase; }
  bool has_object() const noexcept { return phase_ >= Phase::running; }
  /// Whether it was started with a link, by its parent.
  bool has_parent() const noexcept { return has_parent_; }
  void ignore() noexcept { ignored_ = true; }
  bool is_ignored() const noexcept { return ignored_; }
  /// Until the object is there: in the block, or in the frame that constructs.
  ReplyTo*& starter() noexcept { return starter_; }
  /// Of the call it handles; once the object is there.
  base::Nanos deadline() const noexcept { return deadline_; }
  void set_deadline(base::Nanos deadline) noexcept { deadline_ = deadline; }

 private:
  Extras* extras_ = nullptr;
  union {
    ReplyTo* starter_;
    base::Nanos deadline_;
  };
  Phase phase_ = Phase::waiting;
  bool ignored_ = false;
  bool has_parent_;
};
static_assert(sizeof(Behaviour) == 24);  // so that 40 bytes of the user's make a block of 64

inline Behaviour& behaviour_of(Process& process) noexcept { return *static_cast<Behaviour*>(process.closure); }
inline const BehaviourType& type_of(const Process& process) noexcept {
  return *static_cast<const BehaviourStart*>(process.start)->type;
}
/// The running process's; throws std::logic_error if it is no behaviour.
Behaviour& require_behaviour(const char* what);

/// Whether `exit` ends the behaviour: its parent has ended (SEMANTICS 10.11), or the runtime is coming to its end, and
/// that is every behaviour's parent then. Only of one that traps exits.
bool is_from_parent(const Process& process, const Behaviour& behaviour, const Exit& exit) noexcept;

/// A request to the system's part of any behaviour (sys.h): `act` handles the Called<M> whose request begins with it.
struct SystemRequest {
  static constexpr bool for_the_system = true;
  void (*act)(void* called, Process& process, Behaviour& behaviour);
};

/// What lies in the object's place before it.
template <class... A>
struct Opening {
  ReplyTo starter;
  std::tuple<A...> arguments;
};

template <class T>
inline constexpr std::size_t place_in_block = (sizeof(Behaviour) + alignof(T) - 1) / alignof(T) * alignof(T);
template <class T>
T* in_block(Behaviour& behaviour) noexcept {
  return reinterpret_cast<T*>(reinterpret_cast<std::byte*>(&behaviour) + place_in_block<T>);
}

/// What every behaviour's process does first.
void begin_behaviour(void* state);
/// U3, where there is more to do than to dispatch: `message` is rare.
bool handle_specially(Process& process, Behaviour& behaviour, Message&& message);
/// U3: `message` has been handled and the class has said something. False: it is to end.
bool go_on(Process& process, Behaviour& behaviour, Message&& message);

/// Notes what the callback that ends the behaviour handles, if there will be a report of it (RP2).
void note_last_message(Process& process, Behaviour& behaviour, Message& message) noexcept;
/// While a message is handled: what makes the class throw is noted, while it is there. Else it costs nothing.
class NoteIfThrown {
 public:
  NoteIfThrown(Behaviour& behaviour, Message& message) noexcept : behaviour_(behaviour), message_(message) {}
  ~NoteIfThrown() {
    if (has_thrown_) note_last_message(self_process(), behaviour_, message_);
  }
  NoteIfThrown(const NoteIfThrown&) = delete;
  NoteIfThrown& operator=(const NoteIfThrown&) = delete;
  void handled() noexcept { has_thrown_ = false; }

 private:
  Behaviour& behaviour_;
  Message& message_;
  bool has_thrown_ = true;
};
/// Calls the class.
[[gnu::always_inline]] inline void dispatch(const BehaviourType& type, Behaviour& behaviour, Message& message) {
  NoteIfThrown noting(behaviour, message);
  type.dispatch(behaviour, std::move(message));
  noting.handled();
}

template <class S, const BehaviourType& type, class... A>
struct BehaviourCode {
  static void construct(Behaviour& behaviour) {
    auto* const opening = in_block<Opening<A...>>(behaviour);
    std::tuple<A...> arguments = std::move(opening->arguments);
    std::destroy_at(opening);
    std::apply([&](A&... a) { new (in_block<S>(behaviour)) S(std::move(a)...); }, arguments);
  }
  static void destroy(void* state) noexcept {
    auto& behaviour = *static_cast<Behaviour*>(state);
    if (behaviour.has_object()) {
      std::destroy_at(in_block<S>(behaviour));
    } else if (behaviour.phase() == Behaviour::Phase::waiting) {
      std::destroy_at(in_block<Opening<A...>>(behaviour));
    }
    std::destroy_at(&behaviour);
  }
  static bool handle(void* state, Message&& message) {
    auto& behaviour = *static_cast<Behaviour*>(state);
    if (behaviour.extras_if_any() != nullptr || message.kind() > MessageKind::call) [[unlikely]] {
      return handle_specially(self_process(), behaviour, std::move(message));
    }
    dispatch(type, behaviour, message);
    return behaviour.extras_if_any() == nullptr || go_on(self_process(), behaviour, std::move(message));
  }
  static constexpr std::size_t bytes =
      std::max(place_in_block<S> + sizeof(S), place_in_block<Opening<A...>> + sizeof(Opening<A...>));
  static constexpr bool supervises = requires { requires S::supervises; };
  static constexpr BehaviourStart start{
      {type_name<S>(), &begin_behaviour, &destroy, &handle, bytes, true, supervises}, &type, &construct};
};

/// What a process that could not be made is to who wanted to start it.
StartError start_error(const System& system, SpawnError error, const SpawnOptions& options);

/// One start, as its starter sees it: the wait, and the cell its answer is written to.
class Launch {
 public:
  /// `self`: the running process.
  Launch(Process& self, const Bound& bound) noexcept : self_(self), wait_(self, bound, &answer_) {}

  ReplyTo reply_to() const noexcept { return {&self_, wait_.number()}; }
  /// Makes the process and waits until it is ready or dead, or the bound has passed.
  std::expected<Monitored, StartError> complete(Birth& birth, const SpawnOptions& options, const Start& start, Tie tie);

  struct Answer {
    enum class Kind : std::uint8_t { none, ready, ignored, failed } kind = Kind::none;
    Reason why;
  };

 private:
  std::unexpected<StartError> give_up(const Monitored& made, Tie tie);

  Process& self_;
  Answer answer_;
  TicketWait wait_;
};

/// How a start that nobody waits for went.
struct Launched {
  Pid pid;
  Launch::Answer answer;
};

/// put_away(), and last of all who waits is told that it will never be ready (U2).
void put_away_behaviour(Process& process, const Starter& starter) noexcept;
/// Who waits, out of a behaviour that will never be ready; nobody if it was.
Starter take_starter(Process& process) noexcept;
/// U4: runs terminate(), if it is to be run and has not.
void terminate_behaviour(Process& process) noexcept;
/// U4: what is left to do on its stack; the object is destroyed.
Starter end_behaviour(Process& process) noexcept;

/// Makes the block of a behaviour of class S, whose start answers `starter`. Its process is null if there is none.
template <class S, const BehaviourType& type, class... A>
Birth begin_behaviour_of(Process& self, ReplyTo starter, Tie tie, const SpawnOptions& options, A&&... arguments) {
  using Code = BehaviourCode<S, type, std::decay_t<A>...>;
  using Begin = Opening<std::decay_t<A>...>;
  static_assert(alignof(S) <= 64 && alignof(Begin) <= 64,
                "a behaviour and its arguments are aligned to 64 bytes at most");
  const Uncontained half_born;  // F3
  Birth birth = begin_spawn_handler(*self.system, options, Code::start);
  if (birth.process == nullptr) return birth;
  auto* const behaviour = static_cast<Behaviour*>(birth.closure);
  Begin* const opening = in_block<Begin>(*behaviour);
  try {
    new (opening) Begin{starter, {std::forward<A>(arguments)...}};
  } catch (...) {
    abandon_spawn(birth, Code::bytes);
    throw;
  }
  new (behaviour) Behaviour(&opening->starter, tie == Tie::link);
  return birth;
}

/// Starts a behaviour of class S, tied to the running process, and waits until it is ready.
template <class S, const BehaviourType& type, class... A>
std::expected<Monitored, StartError> start_behaviour(const char* what, Tie tie, const Bound& bound,
                                                     const SpawnOptions& options, A&&... arguments) {
  Process& self = require_process(what);
  self.budget -= Process::kSpawnCost;
  self.checkpoint();
  Launch launch(self, bound);
  Birth birth = begin_behaviour_of<S, type>(self, launch.reply_to(), tie, options, std::forward<A>(arguments)...);
  if (birth.process == nullptr) return std::unexpected(start_error(*self.system, birth.error, options));
  return launch.complete(birth, options, BehaviourCode<S, type, std::decay_t<A>...>::start, tie);
}

/// Completes a start that nobody waits for: `answer` is its Launched, which is taken over.
Started complete_unawaited(Process& self, Birth& birth, ItemPtr answer, const SpawnOptions& options,
                           const Start& start);
/// The same, linked, and does not wait: a Launched with its pid will come.
template <class S, const BehaviourType& type, class... A>
Started begin_linked(const char* what, const SpawnOptions& options, A&&... arguments) {
  Process& self = require_process(what);
  ItemPtr answer(make_item<Launched>(self.pid().id));
  Birth birth = begin_behaviour_of<S, type>(self, {&self, ReplyTo::by_message(answer.get())}, Tie::link, options,
                                            std::forward<A>(arguments)...);
  return complete_unawaited(self, birth, std::move(answer), options, BehaviourCode<S, type, std::decay_t<A>...>::start);
}

}  // namespace detail
}  // namespace erlking
