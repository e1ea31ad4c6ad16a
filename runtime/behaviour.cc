#include "runtime/behaviour.h"

#include "runtime/process_wide.h"
#include "runtime/self.h"
#include "runtime/system.h"

#include <stdexcept>
#include <string>

namespace erlking {

std::string_view to_string(StartFailure failure) noexcept {
  switch (failure) {
    case StartFailure::failed:
      return "failed";
    case StartFailure::ignored:
      return "ignored";
    case StartFailure::already_started:
      return "already_started";
    case StartFailure::timeout:
      return "timeout";
    case StartFailure::system_limit:
      return "system_limit";
    case StartFailure::bad_options:
      return "bad_options";
    case StartFailure::stopping:
      return "stopping";
  }
  return "unknown";
}

void ignore_start() {
  detail::Behaviour& behaviour = detail::require_behaviour("ignore_start");
  if (behaviour.has_object()) throw std::logic_error("erlking: ignore_start called after the start");
  behaviour.ignore();
  exit(reason::normal);
}

void detach_deadline() noexcept {
  if (auto* const self = static_cast<Process*>(sched::current())) self->in_call = false;
}

namespace detail {

namespace {
/// What timeout_after() has sent when the time has come.
struct IdleTick {};
}  // namespace

template <>
inline constexpr MessageKind kind_of<Expired<IdleTick>> = MessageKind::idle;

namespace {

using Phase = Behaviour::Phase;

void answer_starter(const ReplyTo& starter, Launch::Answer::Kind kind, const Reason& why) noexcept {
  if (Item* const item = starter.message()) {
    item->body<Launched>()->answer = {kind, why};
    if (push_uncounted(*starter.asker->system, item, Pid{item->stamp}) == Push::closed) drop_item(item);
    return;
  }
  answer_ticket(*starter.asker, starter.number, [&](void* cell) { *static_cast<Launch::Answer*>(cell) = {kind, why}; });
}

void disarm_idle(Process& process, Extras& extras) noexcept {
  if (extras.timer) cancel_timer(*process.system, &process, std::exchange(extras.timer, {}));
}

void call_terminate(void* process) {
  auto& self = *static_cast<Process*>(process);
  const Reason why = self.reason;  // its own copy: what terminate() exits with replaces it
  type_of(self).terminate(behaviour_of(self), why);
  if (!self.doomed) self.reason = why;
}

}  // namespace

bool go_on(Process& process, Behaviour& behaviour, Message&& message) {
  Extras& extras = *behaviour.extras_if_any();
  const BehaviourType& type = type_of(process);
  Message last = std::move(message);
  for (;;) {
    if (extras.stopping) {
      process.reason = extras.why;
      if (process.reason.is_abnormal()) note_last_message(process, behaviour, last);
      return false;
    }
    last = {};
    if (extras.next != nullptr) {
      Item* const item = extras.next;
      extras.next = item->next;
      if (extras.next == nullptr) extras.next_end = &extras.next;
      extras.idle = -1;
      last = Message(item);
      dispatch(type, behaviour, last);
      continue;
    }
    if (extras.idle != 0) break;
    process.settle();
    if (process.inbox_head != nullptr || process.mailbox.has_any()) break;  // SEMANTICS 10.8: a message there wins
    extras.idle = -1;
    last = Message(make_item<Timeout>(process.pid().id));
    dispatch(type, behaviour, last);
  }
  if (extras.idle >= 0) {
    const auto timer = start_timer(Duration(extras.idle), process.pid(), IdleTick{});
    if (!timer) exit(reason::system_limit);
    extras.timer = *timer;
  }
  return true;
}

void note_last_message(Process& process, Behaviour& behaviour, Message& message) noexcept {
  if (!message || process.doomed || (process.leaving && !process.reason.is_abnormal())) return;
  if (!wants_report(*process.system, ReportKind::crash)) return;
  try {
    const auto describe = type_of(process).describe_message;
    Described made = describe != nullptr ? describe(message) : Described{std::string(message.type_name()), {}};
    behaviour.extras().last_message = std::make_unique<Described>(std::move(made));
  } catch (...) {  // RP4: the report will do without
  }
}

Behaviour::~Behaviour() {
  if (extras_ == nullptr) return;
  while (extras_->next != nullptr) drop_item(std::exchange(extras_->next, extras_->next->next));
  delete extras_;
}

Behaviour& require_behaviour(const char* what) {
  Process& self = require_process(what);
  if (!self.start->behaves) {
    throw std::logic_error(std::string("erlking: ") + what + " called by a process that is no server or the like");
  }
  return behaviour_of(self);
}

void begin_behaviour(void* state) {
  auto& behaviour = *static_cast<Behaviour*>(state);
  Process& self = self_process();
  // Whoever waits is kept here while the object takes its place, and goes back there if it does not (U2).
  struct Starting {
    Behaviour& behaviour;
    ReplyTo starter;
    explicit Starting(Behaviour& b) noexcept : behaviour(b), starter(*b.starter()) {
      behaviour.set_phase(Phase::starting);
      behaviour.starter() = &starter;
    }
    ~Starting() {
      if (behaviour.has_object()) return;
      behaviour.starter() = new (in_block<ReplyTo>(behaviour)) ReplyTo(starter);
    }
  };
  {
    Starting starting{behaviour};
    static_cast<const BehaviourStart*>(self.start)->construct(behaviour);
    behaviour.set_phase(Phase::running);
    behaviour.set_deadline(base::kForever);
    answer_starter(starting.starter, Launch::Answer::Kind::ready, reason::normal);
  }
  if (const auto started = type_of(self).started; started != nullptr) started(behaviour);
  if (behaviour.extras_if_any() != nullptr && !go_on(self, behaviour, {})) throw_exit(self, self.reason);
}

bool handle_specially(Process& process, Behaviour& behaviour, Message&& message) {
  Extras* extras = behaviour.extras_if_any();
  if (const auto* const tick = message.get<Expired<IdleTick>>()) {
    if (extras == nullptr || tick->timer != extras->timer) return true;  // on its way when it was disarmed
    extras->timer = {};
    extras->idle = -1;
    message = Message(make_item<Timeout>(process.pid().id));
    dispatch(type_of(process), behaviour, message);
    return go_on(process, behaviour, std::move(message));
  }
  if (extras != nullptr) disarm_idle(process, *extras);
  if (message.kind() == MessageKind::system) {
    void* const called = message.body();
    static_cast<SystemRequest*>(called)->act(called, process, behaviour);
    return behaviour.extras_if_any() == nullptr || go_on(process, behaviour, {});
  }
  if (message.kind() == MessageKind::exit) {
    if (auto* const exit = message.get<Exit>(); is_from_parent(process, behaviour, *exit)) {
      process.reason = exit->reason;
      if (process.reason.is_abnormal()) note_last_message(process, behaviour, message);
      return false;
    }
  }
  if (extras != nullptr) extras->idle = -1;
  dispatch(type_of(process), behaviour, message);
  return behaviour.extras_if_any() == nullptr || go_on(process, behaviour, std::move(message));
}

bool is_from_parent(const Process& process, const Behaviour& behaviour, const Exit& exit) noexcept {
  if (!process.trapping) return false;
  if (!exit.from) return process.system->stopping.load(base::relaxed);  // relaxed: the signal came after it was set
  return behaviour.has_parent() && exit.from == process.parent;
}

Bound within_call(Process& self, const Bound& bound) noexcept {
  const base::Nanos until = behaviour_of(self).deadline();
  if (until == base::kForever) return bound;
  const base::Nanos own =
      bound.is_forever() || bound.is_absolute() ? bound.ns() : base::after(self.system->now(), bound.ns());
  return own <= until ? bound : Bound(base::to_time_point(until));
}

void put_away_behaviour(Process& process, const Starter& starter) noexcept {
  using Kind = Launch::Answer::Kind;
  put_away(process);
  if (starter.to.asker == nullptr) return;
  const bool ignored = starter.ignored && process.reason == reason::normal;
  answer_starter(starter.to, ignored ? Kind::ignored : Kind::failed, process.reason);
}

Starter take_starter(Process& process) noexcept {
  Behaviour& behaviour = behaviour_of(process);
  if (behaviour.has_object()) return {};
  return {std::exchange(*behaviour.starter(), {}), behaviour.is_ignored()};
}

void terminate_behaviour(Process& process) noexcept {
  Behaviour& behaviour = behaviour_of(process);
  if (behaviour.phase() != Phase::running || process.doomed) return;
  behaviour.set_phase(Phase::terminated);
  process.in_call = false;
  if (type_of(process).terminate == nullptr) return;
  try {
    run_recording_throws(&call_terminate, &process);
  } catch (const ProcessExit&) {
    // as in serve_handler(): the reason is set
  } catch (...) {
    if (!process.doomed) process.reason = current_exception_reason();
  }
}

Starter end_behaviour(Process& process) noexcept {
  terminate_behaviour(process);
  report_crash(process);
  process.unwinding = true;
  Starter starter = take_starter(process);
  drop_state(process);
  return starter;
}

// --- the starter's side ----------------------------------------------------------------------------------------------

StartError start_error(const System& system, SpawnError error, const SpawnOptions& options) {
  switch (error) {
    case SpawnError::name_taken:
      return {StartFailure::already_started, {}, system.whereis(options.name).value_or(Pid{})};
    case SpawnError::bad_options:
      return {StartFailure::bad_options};
    case SpawnError::stopping:
      return {StartFailure::stopping};
    case SpawnError::system_limit:
      break;
  }
  return {StartFailure::system_limit};
}

std::expected<Monitored, StartError> Launch::complete(Birth& birth, const SpawnOptions& options, const Start& start,
                                                      Tie tie) {
  const auto made = uncontained([&] { return complete_spawn(birth, options, start, {.parent = &self_, .tie = tie}); });
  if (!made) return std::unexpected(start_error(*self_.system, made.error(), options));
  while (wait_.wait() == TicketWait::Ended::opened) {
  }
  if (!wait_.revoke()) return give_up(*made, tie);
  if (answer_.kind == Answer::Kind::ready) return *made;
  if (tie == Tie::monitor) demonitor(made->ref, Flush::yes);  // SEMANTICS 9.4
  self_.checkpoint();                                         // its EXIT is there, and acts (SEMANTICS 9.3)
  if (answer_.kind == Answer::Kind::ignored) return std::unexpected(StartError{StartFailure::ignored});
  return std::unexpected(StartError{StartFailure::failed, std::move(answer_.why)});
}

Started complete_unawaited(Process& self, Birth& birth, ItemPtr answer, const SpawnOptions& options,
                           const Start& start) {
  if (birth.process == nullptr) return std::unexpected(start_error(*self.system, birth.error, options));
  answer->set_flags(0);
  const Pid pid = self.system->table.next_pid(*birth.process);
  answer->body<Launched>()->pid = pid;
  const auto made =
      uncontained([&] { return complete_spawn(birth, options, start, {.parent = &self, .tie = Tie::link}); });
  if (!made) return std::unexpected(start_error(*self.system, made.error(), options));
  static_cast<void>(answer.release());  // its answer by now, perhaps on its way
  return made->pid;
}

// SEMANTICS 9.2: it ends, and nothing of it reaches who gave it up.
std::unexpected<StartError> Launch::give_up(const Monitored& made, Tie tie) {
  if (tie == Tie::link) unlink(made.pid);
  if (tie == Tie::monitor) demonitor(made.ref, Flush::yes);
  exit(made.pid, reason::kill);
  if (tie == Tie::link && self_.trapping) {
    receive(Duration(0), when([&](const Exit& exit) { return exit.from == made.pid; }, [](Exit) {}), [](Timeout) {});
  }
  return std::unexpected(StartError{StartFailure::timeout});
}

}  // namespace detail
}  // namespace erlking
