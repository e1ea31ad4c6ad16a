// A supervisor's process. Its children lie in a list, in the order they are started; tables find one by id or pid, and
// counts are kept, so that asking after one child of a hundred thousand takes as long as after one of ten.
//
//   SV1  set() alone changes a child's state, its pid, and with them tables and counts.
//   SV2  A child whose start failed, or that waits for its back-off, is `restarting` and has one Retry under way, a
//        message of the supervisor to itself; whatever else becomes of the child makes that Retry nobody's
//        (12.11, 12.12).
//   SV3  Who is ended is monitored, stays linked until it is down, and its EXIT is taken out of the mailbox: so no
//        group restart is followed by another for a death it has seen to (12.10, 12.14).
#include "runtime/supervisor.h"

#include "base/log.h"
#include "base/random.h"
#include "runtime/process_wide.h"
#include "runtime/report.h"
#include "runtime/self.h"
#include "runtime/server.h"
#include "runtime/system.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <iterator>
#include <list>
#include <string_view>
#include <unordered_map>

namespace erlking {

std::string_view to_string(Restart restart) noexcept {
  switch (restart) {
    case permanent:
      return "permanent";
    case transient:
      return "transient";
    case temporary:
      return "temporary";
  }
  return "unknown";
}

std::string_view to_string(ChildType type) noexcept { return type == ChildType::worker ? "worker" : "supervisor"; }

std::string_view to_string(Strategy strategy) noexcept {
  switch (strategy) {
    case one_for_one:
      return "one_for_one";
    case one_for_all:
      return "one_for_all";
    case rest_for_one:
      return "rest_for_one";
    case simple_one_for_one:
      return "simple_one_for_one";
  }
  return "unknown";
}

std::string_view to_string(ChildFailure failure) noexcept {
  switch (failure) {
    case ChildFailure::not_found:
      return "not_found";
    case ChildFailure::running:
      return "running";
    case ChildFailure::restarting:
      return "restarting";
    case ChildFailure::already_started:
      return "already_started";
    case ChildFailure::already_present:
      return "already_present";
    case ChildFailure::simple_one_for_one:
      return "simple_one_for_one";
    case ChildFailure::bad_spec:
      return "bad_spec";
    case ChildFailure::failed:
      return "failed";
    case ChildFailure::max_children:
      return "max_children";
    case ChildFailure::stopping:
      return "stopping";
    case ChildFailure::timeout:
      return "timeout";
    case ChildFailure::noproc:
      return "noproc";
    case ChildFailure::died:
      return "died";
    case ChildFailure::calling_self:
      return "calling_self";
    case ChildFailure::no_memory:
      return "no_memory";
  }
  return "unknown";
}

// --- what is well-formed (SEMANTICS 12.2) ----------------------------------------------------------------------------

namespace {

// Of an intensity or a back-off: the name of what is out of its range; empty: nothing is.
std::string_view wrong_in(const Intensity& intensity) noexcept {
  if (intensity.restarts < 0) return "invalid_intensity";
  return intensity.period <= Duration(0) ? "invalid_period" : "";
}
bool is_wrong(const Backoff& backoff) noexcept {
  const bool ordered = backoff.first >= Duration(0) && backoff.most >= backoff.first && backoff.forget >= Duration(0);
  return backoff.first != Duration(0) && !(ordered && backoff.jitter >= 0 && backoff.jitter <= 1);
}

std::string_view wrong_in(const ChildSpec& child, Strategy strategy, AutoShutdown auto_shutdown) noexcept {
  const ChildOptions& options = child.options;
  if (child.id.empty()) return "missing_id";
  if (!child.start) return "missing_start";
  if (options.restart > temporary) return "invalid_restart_type";
  if (child.type > ChildType::supervisor) return "invalid_child_type";
  if (options.shutdown.how() == Shutdown::How::within && options.shutdown.within() < Duration(0)) {
    return "invalid_shutdown";
  }
  if (options.significant && (options.restart == permanent || auto_shutdown == AutoShutdown::never)) {
    return "bad_combination";
  }
  if (child.start.wanted() != nullptr && strategy != simple_one_for_one) return "missing_arguments";
  if (options.start_within && *options.start_within < Duration(0)) return "invalid_start_within";
  if (options.intensity && !wrong_in(*options.intensity).empty()) return wrong_in(*options.intensity);
  return is_wrong(options.backoff) ? "invalid_backoff" : "";
}

Reason start_spec(std::string_view what, const ChildSpec& child) {
  return Reason("start_spec", child.id.empty() ? std::string(what) : fmt::format("{}: {}", what, child.id));
}

}  // namespace

std::optional<Reason> check(const SupervisorSpec& spec) {
  const auto wrong = [](std::string_view what) { return Reason("supervisor_data", what); };
  if (spec.strategy > simple_one_for_one) return wrong("invalid_strategy");
  if (const std::string_view what = wrong_in(spec.intensity); !what.empty()) return wrong(what);
  if (spec.auto_shutdown > AutoShutdown::all_significant) return wrong("invalid_auto_shutdown");
  if (spec.drain < Duration(0)) return wrong("invalid_drain");
  if (spec.concurrent_start && spec.strategy != one_for_one) return wrong("invalid_concurrent_start");
  if (spec.strategy == simple_one_for_one && spec.children.size() != 1) return Reason("bad_start_spec");
  std::unordered_map<std::string_view, int> ids;
  ids.reserve(spec.children.size());
  for (const ChildSpec& child : spec.children) {
    const std::string_view what = wrong_in(child, spec.strategy, spec.auto_shutdown);
    if (!what.empty()) return start_spec(what, child);
    if (!ids.emplace(child.id, 0).second) return start_spec("duplicate_child_name", child);
  }
  if (spec.max_children != 0 && spec.children.size() > spec.max_children) return wrong("invalid_max_children");
  return std::nullopt;
}

namespace detail {

namespace {

using State = ChildInfo::State;
using base::Nanos;
using GaveUp = std::shared_ptr<std::atomic<bool>>;

// --- what it is asked ------------------------------------------------------------------------------------------------

struct StartSpec {
  using Reply = std::expected<Pid, ChildError>;
  ChildSpec spec;
};
struct StartInstance {
  using Reply = std::expected<Pid, ChildError>;
  ChildArguments brought;
};
struct TerminateById {
  using Reply = std::expected<void, ChildError>;
  std::string id;
};
struct TerminateByPid {
  using Reply = std::expected<void, ChildError>;
  Pid pid;
};
struct RestartChild {
  using Reply = std::expected<Pid, ChildError>;
  std::string id;
};
struct DeleteChild {
  using Reply = std::expected<void, ChildError>;
  std::string id;
};
struct WhichChildren {
  using Reply = std::expected<std::vector<ChildInfo>, ChildError>;
};
struct WhichChild {
  using Reply = std::expected<ChildInfo, ChildError>;
  std::string id;
};
struct CountChildren {
  using Reply = std::expected<ChildCounts, ChildError>;
};
struct Survey {
  using Reply = std::expected<SupervisorSurvey, ChildError>;
  std::size_t most;
};
struct GetChildspec {
  using Reply = std::expected<ChildSpec, ChildError>;
  std::string id;
};

// SV2. `counted`: the restart it is for has been.
struct Retry {
  std::uint64_t number;
  bool counted;
};

std::unexpected<ChildError> refuse(ChildFailure kind, Reason why = {}, Pid pid = {}) {
  return std::unexpected(ChildError{kind, std::move(why), pid});
}

Reason reason_of(const StartError& error) {
  return error.kind == StartFailure::failed ? error.why : Reason(to_string(error.kind));
}

// --- children --------------------------------------------------------------------------------------------------------

struct Child {
  std::shared_ptr<const ChildSpec> spec;  // an instance's: the template's
  ChildArguments brought = {};            // an instance's
  Pid pid = {};                           // the last one's, also while it is restarting; null: undefined
  State state = State::undefined;
  std::uint64_t retry = 0;  // number of the Retry it waits for
  std::uint64_t restarts = 0;
  std::uint32_t row = 0;  // restarts in a row, as its back-off counts them
  Nanos up_since = 0;  // if it has a back-off, or is started with others
  std::unique_ptr<std::deque<Nanos>> recent = {};  // restarts, if it has an intensity of its own

  Restart restart() const noexcept { return spec->options.restart; }
  bool is_running() const noexcept { return state == State::running; }
  bool is_significant() const noexcept { return spec->options.significant; }
  ChildInfo info() const { return {spec->id, is_running() ? pid : Pid{}, state, spec->type, restart(), restarts}; }
};

using Children = std::list<Child>;
using At = Children::iterator;

Shutdown shutdown_of(const ChildSpec& spec) noexcept {
  if (spec.options.shutdown.how() != Shutdown::How::by_type) return spec.options.shutdown;
  return spec.type == ChildType::supervisor ? Shutdown(forever) : Shutdown(std::chrono::seconds(5));
}
Bound bound_of(const Shutdown& shutdown) noexcept {
  if (shutdown.how() == Shutdown::How::within) return shutdown.within();
  return forever;
}

ReportedChild described_child(const Child& child) {
  const ChildSpec& spec = *child.spec;
  const Shutdown how = shutdown_of(spec);
  std::string shutdown = how.how() == Shutdown::How::brutal ? "brutal_kill" : "infinity";
  if (how.how() == Shutdown::How::within) {
    shutdown = std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(how.within()).count());
  }
  return {spec.id,
          child.pid,
          std::string(to_string(child.restart())),
          std::move(shutdown),
          std::string(to_string(spec.type)),
          child.restarts};
}

// Whether who was told to end has ended as told (SEMANTICS 12.14).
bool ended_as_told(const ChildSpec& spec, bool killed, const Reason& why) noexcept {
  if (shutdown_of(spec).how() == Shutdown::How::brutal) return why == reason::killed;
  return !killed && (why.name() == "shutdown" || (why == reason::normal && spec.options.restart != permanent));
}

// One more restart, now. False: too many within the period; an instant just that long ago counts (SEMANTICS 12.6).
bool note_restart(std::deque<Nanos>& recent, const Intensity& intensity, Nanos now) {
  while (!recent.empty() && now - recent.front() > intensity.period.count()) recent.pop_front();
  recent.push_back(now);
  return static_cast<std::int64_t>(recent.size()) <= intensity.restarts;
}

// How long a process that has been killed may take to reach a safe point before that is reported.
constexpr Duration kLongDying = std::chrono::seconds(5);

Nanos now_ns() { return base::to_nanos(now()); }

}  // namespace

// --- the process -----------------------------------------------------------------------------------------------------

class SupervisorProcess : public Server {
 public:
  using Handles = Messages<StartSpec, StartInstance, TerminateById, TerminateByPid, RestartChild, DeleteChild,
                           WhichChildren, WhichChild, CountChildren, Survey, GetChildspec, Exit, Retry, Drain>;
  static constexpr bool supervises = true;

  SupervisorProcess(SupervisorSpec spec, GaveUp gave_up)
      : spec_(std::move(spec)), gave_up_(std::move(gave_up)), random_(self().id) {
    trap_exit(true);
    if (const auto wrong = check(spec_)) erlking::exit(*wrong);
    if (is_simple()) {
      template_ = std::make_shared<const ChildSpec>(std::move(spec_.children.front()));
    } else {
      start_all(std::exchange(spec_.children, {}));
    }
    spec_.children.clear();
  }

  StartSpec::Reply on(StartSpec& asked);
  StartInstance::Reply on(StartInstance& asked);
  TerminateById::Reply on(TerminateById& asked);
  TerminateByPid::Reply on(TerminateByPid& asked);
  RestartChild::Reply on(RestartChild& asked);
  DeleteChild::Reply on(DeleteChild& asked);
  WhichChildren::Reply on(WhichChildren&);
  WhichChild::Reply on(WhichChild& asked);
  CountChildren::Reply on(CountChildren&) { return counts_; }
  Survey::Reply on(Survey& asked);
  GetChildspec::Reply on(GetChildspec& asked);

  void on(Exit& exit) {
    const auto found = by_pid_.find(exit.from.id);
    if (found == by_pid_.end() || !found->second->is_running())
      return;  // nobody's, or an exit(pid, reason): 12.5, 12.15
    child_ended(found->second, exit.reason);
  }
  void on(Retry& retry) {
    const auto found = retries_.find(retry.number);
    if (found != retries_.end()) restart(found->second, retry.counted);
  }
  void on(Drain&) {
    draining_ = true;
    tell_drain();
    if (counts_.active == 0) stop(reason::shutdown);
  }
  void on_other(Message message) {
    base::log(base::Level::warning, "supervisor",
              fmt::format("{}: a message it does not handle: {}", to_string(self()), message.type_name()));
  }

  void terminate(const Reason&) {
    if (spec_.drain > Duration(0) && !draining_) drain();
    if (is_simple()) {
      end_instances();
    } else {
      end_all();
    }
  }

 private:
  bool is_simple() const noexcept { return spec_.strategy == simple_one_for_one; }

  // --- SV1 ---
  void account(const Child& child, bool come) noexcept {
    const std::size_t one = come ? 1 : ~std::size_t{0};
    if (child.is_running()) counts_.active += one;
    if (child.is_significant() && child.state != State::undefined) significant_ += one;
  }
  void set(At child, State state, Pid pid = {}) {
    account(*child, false);
    if (child->state == State::restarting) retries_.erase(child->retry);
    if (state == State::restarting) pid = child->pid;
    if (pid != child->pid) {
      if (child->pid) by_pid_.erase(child->pid.id);
      if (pid) by_pid_.emplace(pid.id, child);
    }
    child->state = state;
    child->pid = pid;
    account(*child, true);
  }
  At add(std::shared_ptr<const ChildSpec> spec, ChildArguments brought = {}) {
    const At child = children_.insert(children_.end(), Child{.spec = std::move(spec), .brought = std::move(brought)});
    if (!is_simple()) by_id_.emplace(child->spec->id, child);
    ++counts_.specs;
    ++(child->spec->type == ChildType::supervisor ? counts_.supervisors : counts_.workers);
    return child;
  }
  At erase(At child) {
    set(child, State::undefined);
    if (!is_simple()) by_id_.erase(child->spec->id);
    --counts_.specs;
    --(child->spec->type == ChildType::supervisor ? counts_.supervisors : counts_.workers);
    return children_.erase(child);
  }

  // --- starting ---
  enum class Outcome : std::uint8_t { up, ignored, failed };
  // What the start function made of it (SEMANTICS 12.4).
  Started attempt(const Child& child, ChildStart::Mode mode = ChildStart::Mode::wait) {
    Process& self = self_process();
    try {
      Started made = child.spec->start(child.spec->options, child.brought, mode);
      if (made && !*made) return std::unexpected(StartError{StartFailure::failed, Reason("bad_return")});
      return made;
    } catch (const ProcessExit&) {
      if (self.doomed) throw;
      return std::unexpected(StartError{StartFailure::failed, self.reason});
    } catch (...) {
      return std::unexpected(StartError{StartFailure::failed, current_exception_reason()});
    }
  }
  Outcome start(At child) {
    const Started made = attempt(*child);
    if (made) {
      set(child, State::running, *made);
      if (child->spec->options.backoff.first != Duration(0)) child->up_since = now_ns();
      report_progress(*child);
      return Outcome::up;
    }
    if (made.error().kind == StartFailure::ignored) {
      set(child, State::undefined);
      return Outcome::ignored;
    }
    failure_ = reason_of(made.error());
    report(SupervisorContext::start_error, *child, failure_);
    return Outcome::failed;
  }
  // As start(); what is not kept of a first start is forgotten.
  std::expected<Pid, ChildError> start_first(At child) {
    switch (start(child)) {
      case Outcome::up:
        return child->pid;
      case Outcome::ignored:
        if (is_simple() || child->restart() == temporary) erase(child);
        return Pid{};
      case Outcome::failed:
        break;
    }
    erase(child);
    return refuse(ChildFailure::failed, failure_);
  }
  void start_all(std::vector<ChildSpec> specs) {
    by_id_.reserve(specs.size());
    by_pid_.reserve(specs.size());
    std::unordered_map<std::uint64_t, At> starting;
    for (ChildSpec& spec : specs) {
      const At child = add(std::make_shared<const ChildSpec>(std::move(spec)));
      if (spec_.concurrent_start && child->spec->start.can_go_on()) {
        begin(child, starting);
      } else if (const std::string id = child->spec->id; !start_first(child)) {
        not_started(id);
      }
    }
    await_starting(starting);
  }
  [[noreturn]] void not_started(const std::string& id) {
    const Reason why = failure_;
    end_all();
    erlking::exit(Reason::shutdown(fmt::format("failed_to_start_child: {}: {}", id, why.to_string())));
  }
  [[noreturn]] void not_started(At child, Reason why) {
    failure_ = std::move(why);
    report(SupervisorContext::start_error, *child, failure_);
    const std::string id = child->spec->id;
    if (child->is_running()) end(child);
    erase(child);
    not_started(id);
  }
  void begin(At child, std::unordered_map<std::uint64_t, At>& starting) {
    const Started made = attempt(*child, ChildStart::Mode::go_on);
    if (!made) not_started(child, reason_of(made.error()));
    set(child, State::running, *made);
    child->up_since = now_ns();
    starting.emplace(made->id, child);
  }
  void await_starting(std::unordered_map<std::uint64_t, At>& starting);

  // --- ending ---
  void end(At child);
  // The last first. What is known of them goes with the supervisor.
  void end_all() {
    for (At child = children_.end(); child != children_.begin();) {
      if ((--child)->is_running()) end(child);
    }
  }
  void end_instances();
  template <class Gone>
  void await_all(const Bound& bound, Gone&& gone);
  void tell_drain();
  void drain();

  // --- restarting ---
  void child_ended(At child, const Reason& why);
  void restart(At child, bool counted);
  bool may_restart(Child& child) {
    if (!child.spec->options.intensity) return note_restart(recent_, spec_.intensity, now_ns());
    if (child.recent == nullptr) child.recent = std::make_unique<std::deque<Nanos>>();
    return note_restart(*child.recent, *child.spec->options.intensity, now_ns());
  }
  Duration pause_before(Child& child);
  void try_later(At child, Duration pause, bool counted);
  // Who is restarted with `child`: [first_with, last_with).
  At first_with(At child) { return spec_.strategy == one_for_all ? children_.begin() : child; }
  At last_with(At child) {
    const bool alone = spec_.strategy == one_for_one || is_simple();
    return alone ? std::next(child) : children_.end();
  }
  void end_group(At child);
  void start_group(At child);
  void give_up(At child) {
    report(SupervisorContext::shutdown, *child, Reason("reached_max_restart_intensity"));
    set(child, State::undefined);
    if (gave_up_ != nullptr) gave_up_->store(true);
    stop(reason::shutdown);
  }

  // --- finding ---
  std::expected<At, ChildError> find(const std::string& id) {
    if (is_simple()) return refuse(ChildFailure::simple_one_for_one);
    const auto found = by_id_.find(id);
    if (found == by_id_.end()) return refuse(ChildFailure::not_found);
    return found->second;
  }
  // The same; it must not be running or restarting.
  std::expected<At, ChildError> find_undefined(const std::string& id) {
    const auto child = find(id);
    if (!child) return child;
    if ((*child)->is_running()) return refuse(ChildFailure::running, {}, (*child)->pid);
    if ((*child)->state == State::restarting) return refuse(ChildFailure::restarting);
    return child;
  }
  bool is_full() const noexcept { return spec_.max_children != 0 && counts_.specs >= spec_.max_children; }
  void end_for_good(At child) {
    if (child->is_running()) end(child);
    if (is_simple() || child->restart() == temporary) {
      erase(child);
    } else {
      set(child, State::undefined);
    }
  }

  // --- telling ---
  ReportedProcess who() const { return {self(), self_process().system->registry.name_of(self())}; }
  template <class Make>
  void report(ReportKind kind, Make&& make) noexcept {
    System& system = *self_process().system;
    system.reporter.report(kind, system.now(), std::forward<Make>(make));
  }
  void report(SupervisorContext context, const Child& child, const Reason& why) noexcept {
    report(ReportKind::supervisor, [&] { return SupervisorReport{who(), context, why, described_child(child)}; });
  }
  void report_progress(const Child& child) noexcept {
    report(ReportKind::progress, [&] {
      return ProgressReport{who(), child.spec->id, child.pid, std::string(child.spec->start.what())};
    });
  }

  SupervisorSpec spec_;
  GaveUp gave_up_;  // a root's
  std::shared_ptr<const ChildSpec> template_;
  Children children_;
  std::unordered_map<std::string_view, At> by_id_;  // by the spec's own string
  std::unordered_map<std::uint64_t, At> by_pid_;
  std::unordered_map<std::uint64_t, At> retries_;
  ChildCounts counts_;
  std::size_t significant_ = 0;  // significant children that are not undefined
  std::deque<Nanos> recent_;     // restarts
  std::uint64_t last_retry_ = 0;
  base::Random random_;
  Reason failure_;  // of the last start that failed
  bool draining_ = false;
};

// Those that are starting are counted as running: who fails is known by its Launched, not by its EXIT.
void SupervisorProcess::await_starting(std::unordered_map<std::uint64_t, At>& starting) {
  using Kind = Launch::Answer::Kind;
  while (!starting.empty()) {
    At first = children_.end();  // whose time is over first
    Nanos until = base::kForever;
    for (const auto& [pid, child] : starting) {
      const auto& within = child->spec->options.start_within;
      if (!within || base::after(child->up_since, within->count()) >= until) continue;
      until = base::after(child->up_since, within->count());
      first = child;
    }
    receive(until == base::kForever ? Bound(forever) : Bound(base::to_time_point(until)),
            when([&](const Launched& launched) { return starting.contains(launched.pid.id); },
                 [&](Launched& launched) {
                   const auto found = starting.find(launched.pid.id);
                   const At child = found->second;
                   starting.erase(found);
                   if (launched.answer.kind == Kind::ready) return report_progress(*child);
                   set(child, State::undefined);
                   if (launched.answer.kind == Kind::failed) not_started(child, std::move(launched.answer.why));
                   if (child->restart() == temporary) erase(child);
                 }),
            [&](Timeout) { not_started(first, Reason(to_string(StartFailure::timeout))); });
  }
}

// SV3 (SEMANTICS 12.14).
void SupervisorProcess::end(At child) {
  const Pid pid = child->pid;
  const Shutdown how = shutdown_of(*child->spec);
  bool killed = how.how() == Shutdown::How::brutal;
  const MonitorRef ref = monitor(pid);
  erlking::exit(pid, killed ? reason::kill : reason::shutdown);
  std::optional<Reason> why;
  Bound bound = killed ? Bound(kLongDying) : bound_of(how);
  while (!why) {
    receive(bound, when([&](const Down& down) { return down.ref == ref; }, [&](Down& down) { why = down.reason; }),
            [&](Timeout) {
              if (killed) {
                report(SupervisorContext::shutdown_error, *child,
                       Reason("killed", "it has not reached a safe point yet"));
                bound = forever;
              } else {
                killed = true;
                bound = kLongDying;
                erlking::exit(pid, reason::kill);
              }
            });
  }
  unlink(pid);
  receive(Duration(0),
          when([&](const Exit& exit) { return exit.from == pid; },
               [&](Exit& exit) {
                 if (*why == reason::noproc) why = exit.reason;
               }),
          [](Timeout) {});
  if (!ended_as_told(*child->spec, killed, *why)) report(SupervisorContext::shutdown_error, *child, *why);
  set(child, State::undefined);
}

// Waits until no child that runs is left, all of them being monitored; gone(child, why) for each that goes.
template <class Gone>
void SupervisorProcess::await_all(const Bound& bound, Gone&& gone) {
  const auto running = [&](Pid pid) {
    const auto found = by_pid_.find(pid.id);
    return found != by_pid_.end() && found->second->is_running();
  };
  std::unordered_map<std::uint64_t, Reason> exits;  // an EXIT before its DOWN, which may know less (SV3)
  for (bool over = false; counts_.active != 0 && !over;) {
    receive(bound,
            when([&](const Down& down) { return running(down.pid); },
                 [&](Down& down) {
                   const At child = by_pid_.find(down.pid.id)->second;
                   const auto exit = exits.extract(down.pid.id);
                   gone(child, down.reason == reason::noproc && exit ? exit.mapped() : down.reason);
                   set(child, State::undefined);
                 }),
            when([&](const Exit& exit) { return running(exit.from); },
                 [&](Exit& exit) { exits.insert_or_assign(exit.from.id, exit.reason); }),
            [&](Timeout) { over = true; });
  }
}

// All at once, in no order, within one time (SEMANTICS 12.16).
void SupervisorProcess::end_instances() {
  const Shutdown how = shutdown_of(*template_);
  bool killed = how.how() == Shutdown::How::brutal;
  const auto tell = [&](const Reason& reason) {
    for (const Child& child : children_) {
      if (child.is_running()) erlking::exit(child.pid, reason);
    }
  };
  const auto gone = [&](At child, const Reason& why) {
    if (!ended_as_told(*child->spec, killed, why)) report(SupervisorContext::shutdown_error, *child, why);
  };
  for (const Child& child : children_) {
    if (child.is_running()) monitor(child.pid);
  }
  if (!killed) {
    tell(reason::shutdown);
    Bound until = bound_of(how);
    if (!until.is_forever()) until = now() + how.within();
    await_all(until, gone);
    killed = true;
  }
  tell(reason::kill);
  await_all(forever, gone);
}

void SupervisorProcess::tell_drain() {
  for (const Child& child : children_) {
    if (!child.is_running()) continue;
    ItemPtr item(make_item<Drain>(child.pid.id));
    item->flags = 0;
    if (push_uncounted(*self_process().system, item.get(), child.pid) != Push::closed) {
      static_cast<void>(item.release());
    }
  }
}

void SupervisorProcess::drain() {
  std::vector<MonitorRef> watched;
  for (const Child& child : children_) {
    if (child.is_running()) watched.push_back(monitor(child.pid));
  }
  tell_drain();
  await_all(now() + spec_.drain, [](At, const Reason&) {});
  for (const MonitorRef ref : watched) demonitor(ref, Flush::yes);
}

// SEMANTICS 12.5, 12.9.
void SupervisorProcess::child_ended(At child, const Reason& why) {
  const bool again = child->restart() == permanent || (child->restart() == transient && why.is_abnormal());
  if (child->restart() == permanent || why.is_abnormal()) {
    report(SupervisorContext::child_terminated, *child, why);
  }
  if (draining_) {
    set(child, State::undefined);
    if (counts_.active == 0) stop(reason::shutdown);
    return;
  }
  if (again) return restart(child, false);
  const bool significant = child->is_significant();
  if (is_simple() || child->restart() == temporary) {
    erase(child);
  } else {
    set(child, State::undefined);
  }
  if (!significant) return;
  if (spec_.auto_shutdown == AutoShutdown::any_significant || significant_ == 0) stop(reason::shutdown);
}

// SEMANTICS 12.6, 12.7. Every attempt counts, but one that has waited for its back-off since it was counted.
void SupervisorProcess::restart(At child, bool counted) {
  if (!counted && !may_restart(*child)) return give_up(child);
  const Duration pause = counted ? Duration(0) : pause_before(*child);
  if (!is_simple()) set(child, State::undefined);  // an instance is known by its last pid meanwhile
  end_group(child);
  if (pause > Duration(0)) return try_later(child, pause, true);
  start_group(child);
}

Duration SupervisorProcess::pause_before(Child& child) {
  const Backoff& backoff = child.spec->options.backoff;
  if (backoff.first == Duration(0)) return Duration(0);
  if (child.is_running() && now_ns() - child.up_since >= backoff.forget.count()) child.row = 0;
  Duration pause = backoff.first;
  for (std::uint32_t i = 0; i < child.row && pause < backoff.most; ++i) pause = std::min(2 * pause, backoff.most);
  ++child.row;
  const double part = backoff.jitter * random_.unit();
  return pause - std::chrono::duration_cast<Duration>(pause * part);
}

// SV2.
void SupervisorProcess::try_later(At child, Duration pause, bool counted) {
  set(child, State::restarting);
  child->retry = ++last_retry_;
  retries_.emplace(child->retry, child);
  if (pause > Duration(0) && send_after(pause, self(), Retry{child->retry, counted})) return;
  ItemPtr item(make_item<Retry>(self().id, child->retry, counted));
  item->flags = 0;
  if (push_uncounted(*self_process().system, item.get(), self()) != Push::closed) static_cast<void>(item.release());
}

// The others of the group are ended, the last first; the temporary ones are dropped (SEMANTICS 12.7).
void SupervisorProcess::end_group(At child) {
  for (At at = last_with(child); at != first_with(child);) {
    --at;
    if (at == child) continue;
    if (at->is_running()) end(at);
    if (at->restart() == temporary) {
      at = erase(at);
    } else {
      set(at, State::undefined);
    }
  }
}

// The whole group, also those that were undefined (SEMANTICS 12.8).
void SupervisorProcess::start_group(At child) {
  const At end_of_group = last_with(child);
  for (At at = first_with(child); at != end_of_group; ++at) {
    ++at->restarts;
    const Outcome outcome = start(at);
    if (outcome == Outcome::failed) {
      if (spec_.strategy == one_for_all) end_group(at);
      return try_later(at, Duration(0), false);
    }
    if (outcome == Outcome::ignored && is_simple()) {
      erase(at);
      return;
    }
  }
}

// --- its verbs -------------------------------------------------------------------------------------------------------

StartSpec::Reply SupervisorProcess::on(StartSpec& asked) {
  if (is_simple()) return refuse(ChildFailure::simple_one_for_one);
  if (draining_) return refuse(ChildFailure::stopping);
  const std::string_view wrong = wrong_in(asked.spec, spec_.strategy, spec_.auto_shutdown);
  if (!wrong.empty()) return refuse(ChildFailure::bad_spec, start_spec(wrong, asked.spec));
  if (const auto found = by_id_.find(asked.spec.id); found != by_id_.end()) {
    const Child& there = *found->second;
    if (there.is_running()) return refuse(ChildFailure::already_started, {}, there.pid);
    return refuse(ChildFailure::already_present);
  }
  if (is_full()) return refuse(ChildFailure::max_children);
  return start_first(add(std::make_shared<const ChildSpec>(std::move(asked.spec))));
}

StartInstance::Reply SupervisorProcess::on(StartInstance& asked) {
  if (!is_simple()) return refuse(ChildFailure::bad_spec, Reason("start_spec", "missing_id"));
  if (draining_) return refuse(ChildFailure::stopping);
  const TypeInfo* const wanted = template_->start.wanted();
  const TypeInfo* const brought = asked.brought.type();
  const bool fits = wanted == nullptr || brought == nullptr ? wanted == brought : same_type(wanted, brought);
  if (!fits) {
    return refuse(ChildFailure::bad_spec,
                  Reason("start_spec", fmt::format("arguments: the template takes {}, brought: {}",
                                                   wanted == nullptr ? "nothing" : wanted->name,
                                                   brought == nullptr ? "nothing" : brought->name)));
  }
  if (is_full()) return refuse(ChildFailure::max_children);
  return start_first(add(template_, std::move(asked.brought)));
}

TerminateById::Reply SupervisorProcess::on(TerminateById& asked) {
  const auto child = find(asked.id);
  if (!child) return std::unexpected(child.error());
  end_for_good(*child);
  return {};
}

TerminateByPid::Reply SupervisorProcess::on(TerminateByPid& asked) {
  if (!is_simple()) return refuse(ChildFailure::not_found);
  const auto found = by_pid_.find(asked.pid.id);
  if (found != by_pid_.end()) {
    end_for_good(found->second);
    return {};
  }
  const System& system = *self_process().system;
  if (asked.pid && system.process(asked.pid).mailbox.is_open(asked.pid.id)) return refuse(ChildFailure::not_found);
  return {};
}

RestartChild::Reply SupervisorProcess::on(RestartChild& asked) {
  const auto child = find_undefined(asked.id);
  if (!child) return std::unexpected(child.error());
  switch (start(*child)) {
    case Outcome::up:
      return (*child)->pid;
    case Outcome::ignored:
      return Pid{};
    case Outcome::failed:
      break;
  }
  return refuse(ChildFailure::failed, failure_);
}

DeleteChild::Reply SupervisorProcess::on(DeleteChild& asked) {
  const auto child = find_undefined(asked.id);
  if (!child) return std::unexpected(child.error());
  erase(*child);
  return {};
}

WhichChildren::Reply SupervisorProcess::on(WhichChildren&) {
  std::vector<ChildInfo> all;
  all.reserve(children_.size());
  std::transform(children_.rbegin(), children_.rend(), std::back_inserter(all),
                 [](const Child& child) { return child.info(); });
  return all;
}

Survey::Reply SupervisorProcess::on(Survey& asked) {
  SupervisorSurvey survey{spec_.strategy, counts_, {}};
  survey.children.reserve(std::min(asked.most, children_.size()));
  for (At at = children_.begin(); at != children_.end() && survey.children.size() < asked.most; ++at) {
    survey.children.push_back(at->info());
  }
  return survey;
}

WhichChild::Reply SupervisorProcess::on(WhichChild& asked) {
  const auto child = find(asked.id);
  if (!child) return std::unexpected(child.error());
  return (*child)->info();
}

GetChildspec::Reply SupervisorProcess::on(GetChildspec& asked) {
  const ChildSpec* spec = template_.get();
  if (!is_simple()) {
    const auto child = find(asked.id);
    if (!child) return std::unexpected(child.error());
    spec = (*child)->spec.get();
  } else if (asked.id != spec->id) {
    return refuse(ChildFailure::not_found);
  }
  ChildSpec filled = *spec;
  filled.options.shutdown = shutdown_of(*spec);
  return filled;
}

// --- the caller's side -----------------------------------------------------------------------------------------------

namespace {

ChildFailure failure_of(CallFailure failure) noexcept {
  switch (failure) {
    case CallFailure::timeout:
    case CallFailure::full:
      return ChildFailure::timeout;
    case CallFailure::noproc:
    case CallFailure::noconnection:
      return ChildFailure::noproc;
    case CallFailure::calling_self:
      return ChildFailure::calling_self;
    case CallFailure::no_memory:
      return ChildFailure::no_memory;
    case CallFailure::died:
    case CallFailure::refused:
      break;
  }
  return ChildFailure::died;
}

template <class M>
typename M::Reply ask(const char* what, const To& supervisor, M request, const Bound& bound) {
  auto answer = system_call(what, supervisor, std::move(request), bound);
  if (!answer) return refuse(failure_of(answer.error().kind), answer.error().why);
  return *std::move(answer);
}

Started start_supervisor(const char* what, Bound bound, const SpawnOptions& options, SupervisorSpec spec,
                         GaveUp gave_up) {
  return pid_of(start_class<SupervisorProcess>(what, Tie::link, bound, options, std::move(spec), std::move(gave_up)));
}

}  // namespace

std::expected<Pid, ChildError> start_instance(const To& supervisor, ChildArguments brought, const Bound& bound) {
  return ask("start_child", supervisor, StartInstance{std::move(brought)}, bound);
}

std::expected<SupervisorSurvey, ChildError> survey(const To& supervisor, std::size_t most, const Bound& bound) {
  return ask("supervision_tree", supervisor, Survey{most}, bound);
}

Started start_root(Bound bound, const SpawnOptions& options, SupervisorSpec spec, GaveUp gave_up) {
  return start_supervisor("start_root", bound, options, std::move(spec), std::move(gave_up));
}

}  // namespace detail

ChildSpec supervisor(std::string id, SupervisorSpec spec, ChildOptions options) {
  struct Start {
    SupervisorSpec spec;
    Started operator()(const ChildOptions& with, const ChildArguments&, ChildStart::Mode mode) const {
      return detail::start_class_of<detail::SupervisorProcess>(with, mode, SupervisorSpec(spec), detail::GaveUp());
    }
  };
  return {std::move(id), std::move(options), ChildType::supervisor,
          ChildStart(Start{std::move(spec)}, nullptr, detail::type_name<detail::SupervisorProcess>(), true)};
}

Started start_link(Bound bound, const SpawnOptions& options, SupervisorSpec spec) {
  return detail::start_supervisor("start_link", bound, options, std::move(spec), nullptr);
}

Started start_link(Bound bound, SupervisorSpec spec) { return start_link(bound, SpawnOptions{}, std::move(spec)); }

std::expected<Pid, ChildError> start_child(const To& supervisor, ChildSpec spec, Bound bound) {
  return detail::ask("start_child", supervisor, detail::StartSpec{std::move(spec)}, bound);
}

std::expected<void, ChildError> terminate_child(const To& supervisor, std::string id, Bound bound) {
  return detail::ask("terminate_child", supervisor, detail::TerminateById{std::move(id)}, bound);
}

std::expected<void, ChildError> terminate_child(const To& supervisor, Pid child, Bound bound) {
  return detail::ask("terminate_child", supervisor, detail::TerminateByPid{child}, bound);
}

std::expected<Pid, ChildError> restart_child(const To& supervisor, std::string id, Bound bound) {
  return detail::ask("restart_child", supervisor, detail::RestartChild{std::move(id)}, bound);
}

std::expected<void, ChildError> delete_child(const To& supervisor, std::string id, Bound bound) {
  return detail::ask("delete_child", supervisor, detail::DeleteChild{std::move(id)}, bound);
}

std::expected<std::vector<ChildInfo>, ChildError> which_children(const To& supervisor, Bound bound) {
  return detail::ask("which_children", supervisor, detail::WhichChildren{}, bound);
}

std::expected<ChildInfo, ChildError> which_child(const To& supervisor, std::string id, Bound bound) {
  return detail::ask("which_child", supervisor, detail::WhichChild{std::move(id)}, bound);
}

std::expected<ChildCounts, ChildError> count_children(const To& supervisor, Bound bound) {
  return detail::ask("count_children", supervisor, detail::CountChildren{}, bound);
}

std::expected<ChildSpec, ChildError> get_childspec(const To& supervisor, std::string id, Bound bound) {
  return detail::ask("get_childspec", supervisor, detail::GetChildspec{std::move(id)}, bound);
}

}  // namespace erlking
