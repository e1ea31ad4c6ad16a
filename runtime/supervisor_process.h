// A supervisor's process. Its children lie in a list, in the order they are started; tables find one by id or pid, and
// counts are kept, so that asking after one child of a hundred thousand takes as long as after one of ten.
//
//   SV1  set() alone changes a child's state, its pid, and with them tables and counts.
//   SV2  A child whose start failed, or that waits for its back-off, is `restarting` and has one Retry under way, a
//        message of the supervisor to itself; whatever else becomes of the child makes that Retry nobody's
//        (12.11, 12.12).
//   SV3  Who is ended is monitored, stays linked until it is down, and its EXIT is taken out of the mailbox: so no
//        group restart is followed by another for a death it has seen to (12.10, 12.14).
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "runtime/process_wide.h"
#include "runtime/report.h"
#include "runtime/self.h"
#include "runtime/server.h"
#include "runtime/supervisor.h"
#include "runtime/system.h"

#include <fmt/format.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <expected>
#include <iterator>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace erlking::detail {

/// Set when a root's intensity is reached.
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

// --- what is well-formed (SEMANTICS 12.2) ----------------------------------------------------------------------------

/// What is wrong with `child` under such a supervisor; empty: nothing.
std::string_view wrong_in(const ChildSpec& child, Strategy strategy, AutoShutdown auto_shutdown) noexcept;
/// The same as a reason.
Reason start_spec(std::string_view what, const ChildSpec& child);

inline std::unexpected<ChildError> refuse(ChildFailure kind, Reason why = {}, Pid pid = {}) {
  return std::unexpected(ChildError{kind, std::move(why), pid});
}

// --- children --------------------------------------------------------------------------------------------------------

/// One of its children.
struct Child {
  std::shared_ptr<const ChildSpec> spec;  // an instance's: the template's
  ChildArguments brought = {};            // an instance's
  Pid pid = {};                           // the last one's, also while it is restarting; null: undefined
  ChildInfo::State state = ChildInfo::State::undefined;
  std::uint64_t retry = 0;  // number of the Retry it waits for
  std::uint64_t restarts = 0;
  std::uint32_t row = 0;                                 // restarts in a row, as its back-off counts them
  base::Nanos up_since = 0;                              // if it has a back-off, or is started with others
  std::unique_ptr<std::deque<base::Nanos>> recent = {};  // restarts, if it has an intensity of its own

  Restart restart() const noexcept { return spec->options.restart; }
  bool is_running() const noexcept { return state == ChildInfo::State::running; }
  bool is_significant() const noexcept { return spec->options.significant; }
  ChildInfo info() const { return {spec->id, is_running() ? pid : Pid{}, state, spec->type, restart(), restarts}; }
};

ReportedChild described_child(const Child& child);
Reason reason_of(const StartError& error);
/// One more restart, now. False: too many within the period; an instant just that long ago counts (SEMANTICS 12.6).
bool note_restart(std::deque<base::Nanos>& recent, const Intensity& intensity, base::Nanos now);
inline base::Nanos now_ns() { return base::to_nanos(now()); }

// --- the process -----------------------------------------------------------------------------------------------------

/// What start_link() starts, and a supervisor's child spec.
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
  using State = ChildInfo::State;
  using Nanos = base::Nanos;
  using Children = std::list<Child>;
  using At = Children::iterator;

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

}  // namespace erlking::detail
