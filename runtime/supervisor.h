// Supervisors: processes that start others, watch them, and start them anew when they end; OTP's supervisor, rule by
// rule (SEMANTICS §12). What is beyond OTP is off unless asked for.
//
//   Supervisor::Spec root = {
//     .strategy = one_for_one, .intensity = {3, 5s},
//     .children = {
//       child<Store>("store", {.restart = permanent, .shutdown = 5s}, 16),
//       child("listener", {.restart = permanent}, listen_on, 6379),
//       supervisor("connections", {.strategy = simple_one_for_one, .intensity = {100, 1s},
//                                  .children = {child("conn", {.restart = temporary}, serve)}}),
//     }};
//   Started sup = start_link(5s, root);                   // when all are up
//   terminate_child(*sup, "store", 10s);
//
// Children are started in the order listed, each waited for, and ended in the reverse order. A child that has ended by
// itself is restarted as its ChildOptions say (child.h), alone or with others as the strategy says. Too many restarts
// within a while, and the supervisor gives up: it ends its children and itself (`shutdown`), for its own supervisor to
// judge. It ends its children, too, when its parent ends, whatever the reason; and heeds no other exit signal but
// `kill`, by which its children, linked to it, get an exit signal of their own (SEMANTICS 12.15).
//
// The verbs below ask it, and are never refused by a full mailbox. While it starts or ends a child it serves nobody.
// Any process may use them; a safe point each.
#pragma once

#include "runtime/child.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace erlking {

/// Which children are ended and started anew when one has ended (SEMANTICS 12.7).
enum class Strategy : std::uint8_t {
  one_for_one,         ///< that one
  one_for_all,         ///< all
  rest_for_one,        ///< that one and those listed after it
  simple_one_for_one,  ///< that one; all are instances of one template, made by start_child() (SEMANTICS 12.16)
};
using enum Strategy;
/// Its name, as above.
std::string_view to_string(Strategy strategy) noexcept;

/// Whether a supervisor ends, with `shutdown`, when a significant child has ended by itself and is not started anew
/// (SEMANTICS 12.17).
enum class AutoShutdown : std::uint8_t {
  never,            ///< no child may be significant
  any_significant,  ///< when one has
  all_significant,  ///< when the last of them has
};

/// A supervisor and its first children. The defaults are OTP's.
struct SupervisorSpec {
  Strategy strategy = one_for_one;                   ///< who is started anew with whom
  Intensity intensity = {};                          ///< one restart more than this many ends it
  AutoShutdown auto_shutdown = AutoShutdown::never;  ///< whether the end of children ends it
  std::vector<ChildSpec> children = {};  ///< in the order they are started; simple_one_for_one: the template
  /// Beyond OTP: the children above are started at the same time, and start_link() returns when all are up: for such as
  /// do not need each other, so one_for_one alone. Functions and those that start themselves are started in turn.
  bool concurrent_start = false;
  /// Beyond OTP: the most children there may be, start_child() then says max_children; 0: no limit.
  std::size_t max_children = 0;
  /// Beyond OTP: before it ends its children each is sent Drain, and all have so long, together, to end by themselves
  /// (normally, say, when the request they are at is done). 0: no.
  Duration drain = {};
};

/// Supervisor::Spec, as it is mostly written.
struct Supervisor {
  using Spec = SupervisorSpec;  ///< the same
};

/// What SupervisorSpec::drain sends: finish what you are at, take nothing new, end.
struct Drain {};

/// A child that is a supervisor; its shutdown is forever unless said otherwise.
ChildSpec supervisor(std::string id, SupervisorSpec spec, ChildOptions options = {});

/// What is wrong with a spec, as start_link() would say it: supervisor_data(…), start_spec(…) or bad_start_spec
/// (SEMANTICS 12.2); nothing: it is well.
std::optional<Reason> check(const SupervisorSpec& spec);

/// Starts a supervisor, linked to the caller, and waits, at most `bound`, until its children are up. If one fails those
/// before it are ended, and the error is failed({shutdown, "failed_to_start_child: ID: WHY"}); a bad spec: failed with
/// what check() says. Then the caller, if it does not trap exits, ends as after any failed linked start.
Started start_link(Bound bound, const SpawnOptions& options, SupervisorSpec spec);
/// The same with the default options.
Started start_link(Bound bound, SupervisorSpec spec);

/// Why a supervisor did not do what it was asked.
enum class ChildFailure : std::uint8_t {
  not_found,           ///< it has no such child
  running,             ///< the child is running: end it first; `pid`
  restarting,          ///< it is about to be started anew
  already_started,     ///< a child of that id is running: `pid`
  already_present,     ///< there is one of that id, which is not running
  simple_one_for_one,  ///< not for supervisors of this strategy
  bad_spec,            ///< `why`, as check() says it; also if start_child() brought what the template does not take
  failed,              ///< the start failed: `why`
  max_children,        ///< SupervisorSpec::max_children are there
  stopping,            ///< it is coming to its end
  timeout,             ///< no answer within the bound; it may still be done
  noproc,              ///< nobody there
  died,                ///< it ended, or is no supervisor: `why`
  calling_self,        ///< a supervisor cannot wait for itself
  no_memory,           ///< no memory for the request
};
/// Its name, as above.
std::string_view to_string(ChildFailure failure) noexcept;

/// What these verbs return instead of what was asked for.
struct ChildError {
  ChildFailure kind = ChildFailure::not_found;  ///< which failure
  Reason why = {};                              ///< see there
  Pid pid = {};                                 ///< see there
  friend bool operator==(const ChildError&, const ChildError&) = default;
};

/// One child, as which_children() shows it.
struct ChildInfo {
  /// Whether it runs.
  enum class State : std::uint8_t {
    undefined,   ///< it has ended and is not started anew, or its start said ignore_start()
    running,     ///< `pid`
    restarting,  ///< its last start failed, or it waits for its back-off
  };
  std::string id;                        ///< its spec's; the template's for simple_one_for_one
  Pid pid;                               ///< null unless it runs
  State state = State::undefined;        ///< whether it runs
  ChildType type = ChildType::worker;    ///< its spec's
  Restart restart = Restart::permanent;  ///< its spec's
  std::uint64_t restarts = 0;            ///< times it has been started anew
};

/// How many children, by count_children().
struct ChildCounts {
  std::size_t specs = 0;        ///< children, running or not
  std::size_t active = 0;       ///< running
  std::size_t supervisors = 0;  ///< of type supervisor, running or not
  std::size_t workers = 0;      ///< the others
  friend bool operator==(const ChildCounts&, const ChildCounts&) = default;
};

/// Adds a child and starts it; its pid, null if its start said ignore_start(). Errors: already_started,
/// already_present, bad_spec, failed (the spec is not kept), max_children, simple_one_for_one.
std::expected<Pid, ChildError> start_child(const To& supervisor, ChildSpec spec, Bound bound);
/// Ends a child that runs, and waits until it has; its spec stays, unless it is temporary. One that is not running is
/// well, too. Errors: not_found, simple_one_for_one.
std::expected<void, ChildError> terminate_child(const To& supervisor, std::string id, Bound bound);
/// The same by pid, for simple_one_for_one alone; also one that has ended. Errors: not_found.
std::expected<void, ChildError> terminate_child(const To& supervisor, Pid child, Bound bound);
/// Starts a child that is not running. Errors: not_found, running, restarting, failed, simple_one_for_one.
std::expected<Pid, ChildError> restart_child(const To& supervisor, std::string id, Bound bound);
/// Forgets a child that is not running. Errors: not_found, running, restarting, simple_one_for_one.
std::expected<void, ChildError> delete_child(const To& supervisor, std::string id, Bound bound);
/// All children, the newest first.
std::expected<std::vector<ChildInfo>, ChildError> which_children(const To& supervisor, Bound bound);
/// One child. Errors: not_found, simple_one_for_one.
std::expected<ChildInfo, ChildError> which_child(const To& supervisor, std::string id, Bound bound);
/// How many there are; takes as long with a hundred thousand as with one.
std::expected<ChildCounts, ChildError> count_children(const To& supervisor, Bound bound);
/// A child's spec, with what was left to a default filled in. Errors: not_found.
std::expected<ChildSpec, ChildError> get_childspec(const To& supervisor, std::string id, Bound bound);

namespace detail {
std::expected<Pid, ChildError> start_instance(const To& supervisor, ChildArguments brought, const Bound& bound);
/// What supervision_tree() asks of a supervisor.
struct SupervisorSurvey {
  Strategy strategy;
  ChildCounts counts;
  std::vector<ChildInfo> children;  // the first ones, in the order of their starts
};
/// `most`: how many children are told in detail.
std::expected<SupervisorSurvey, ChildError> survey(const To& supervisor, std::size_t most, const Bound& bound);
/// start_link() of a runtime's root, which sets `gave_up` if it does.
Started start_root(Bound bound, const SpawnOptions& options, SupervisorSpec spec,
                   std::shared_ptr<std::atomic<bool>> gave_up);
}  // namespace detail

/// Makes an instance of a simple_one_for_one supervisor's template, with these arguments after its own; the types must
/// be exactly those the template takes. A restart brings the same again. Errors: bad_spec, failed, max_children.
template <class... A>
requires(std::move_constructible<std::decay_t<A>>&&...) std::expected<Pid, ChildError> start_child(Bound bound,
                                                                                                   const To& supervisor,
                                                                                                   A&&... arguments) {
  if constexpr (sizeof...(A) == 0) {
    return detail::start_instance(supervisor, {}, bound);
  } else {
    return detail::start_instance(supervisor,
                                  ChildArguments(std::tuple<std::decay_t<A>...>(std::forward<A>(arguments)...)), bound);
  }
}

}  // namespace erlking
