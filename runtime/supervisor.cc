#include "runtime/supervisor.h"

#include "runtime/supervisor_process.h"

#include <fmt/format.h>

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

namespace detail {

namespace {

// Of an intensity: the name of what is out of its range; empty: nothing is.
std::string_view wrong_bound(const Intensity& intensity) noexcept {
  if (intensity.restarts < 0) return "invalid_intensity";
  return intensity.period <= Duration(0) ? "invalid_period" : "";
}
bool is_wrong(const Backoff& backoff) noexcept {
  const bool ordered = backoff.first >= Duration(0) && backoff.most >= backoff.first && backoff.forget >= Duration(0);
  return backoff.first != Duration(0) && !(ordered && backoff.jitter >= 0 && backoff.jitter <= 1);
}

}  // namespace

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
  if (options.intensity && !wrong_bound(*options.intensity).empty()) return wrong_bound(*options.intensity);
  return is_wrong(options.backoff) ? "invalid_backoff" : "";
}

Reason start_spec(std::string_view what, const ChildSpec& child) {
  return Reason("start_spec", child.id.empty() ? std::string(what) : fmt::format("{}: {}", what, child.id));
}

}  // namespace detail

std::optional<Reason> check(const SupervisorSpec& spec) {
  const auto wrong = [](std::string_view what) { return Reason("supervisor_data", what); };
  if (spec.strategy > simple_one_for_one) return wrong("invalid_strategy");
  if (const std::string_view what = detail::wrong_bound(spec.intensity); !what.empty()) return wrong(what);
  if (spec.auto_shutdown > AutoShutdown::all_significant) return wrong("invalid_auto_shutdown");
  if (spec.drain < Duration(0)) return wrong("invalid_drain");
  if (spec.concurrent_start && spec.strategy != one_for_one) return wrong("invalid_concurrent_start");
  if (spec.strategy == simple_one_for_one && spec.children.size() != 1) return Reason("bad_start_spec");
  std::unordered_map<std::string_view, int> ids;
  ids.reserve(spec.children.size());
  for (const ChildSpec& child : spec.children) {
    const std::string_view what = detail::wrong_in(child, spec.strategy, spec.auto_shutdown);
    if (!what.empty()) return detail::start_spec(what, child);
    if (!ids.emplace(child.id, 0).second) return detail::start_spec("duplicate_child_name", child);
  }
  if (spec.max_children != 0 && spec.children.size() > spec.max_children) return wrong("invalid_max_children");
  return std::nullopt;
}

// --- the caller's side -----------------------------------------------------------------------------------------------

namespace detail {

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
