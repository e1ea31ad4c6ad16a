#include "runtime/supervisor_process.h"

#include <algorithm>

namespace erlking::detail {

using base::Nanos;

namespace {

// How long a process that has been killed may take to reach a safe point before that is reported.
constexpr Duration kLongDying = std::chrono::seconds(5);

Shutdown shutdown_of(const ChildSpec& spec) noexcept {
  if (spec.options.shutdown.how() != Shutdown::How::by_type) return spec.options.shutdown;
  return spec.type == ChildType::supervisor ? Shutdown(forever) : Shutdown(std::chrono::seconds(5));
}
Bound bound_of(const Shutdown& shutdown) noexcept {
  if (shutdown.how() == Shutdown::How::within) return shutdown.within();
  return forever;
}

// Whether who was told to end has ended as told (SEMANTICS 12.14).
bool ended_as_told(const ChildSpec& spec, bool killed, const Reason& why) noexcept {
  if (shutdown_of(spec).how() == Shutdown::How::brutal) return why == reason::killed;
  return !killed && (why.name() == "shutdown" || (why == reason::normal && spec.options.restart != permanent));
}

}  // namespace

Reason reason_of(const StartError& error) {
  return error.kind == StartFailure::failed ? error.why : Reason(to_string(error.kind));
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

bool note_restart(std::deque<Nanos>& recent, const Intensity& intensity, Nanos now) {
  while (!recent.empty() && now - recent.front() > intensity.period.count()) recent.pop_front();
  recent.push_back(now);
  return static_cast<std::int64_t>(recent.size()) <= intensity.restarts;
}

// --- starting, ending, restarting ------------------------------------------------------------------------------------

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
    item->set_flags(0);
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
  item->set_flags(0);
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

}  // namespace erlking::detail
