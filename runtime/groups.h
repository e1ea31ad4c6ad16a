// Process groups: named lists of processes that anybody can read and anybody can watch, as OTP's pg (SEMANTICS §13).
//
//   groups::start_link(5s);                             // once: a scope, the server of a name space of groups
//   groups::join("workers", self(), 1s);
//   for (Pid pid : groups::members("workers")) send(pid, Job{7});
//   auto watch = groups::monitor("workers", 1s);        // watch->members: who is in it; from then on every change:
//   receive(1s, when([&](const groups::Change& c) { return c.ref == watch->ref; }, [](groups::Change c) { … }));
//   groups::leave("workers", self(), 1s);
//
// A group is there while it has members. A process may join several, and one several times: it is then listed as often,
// and takes as many leaves. When it ends it has left all. To join and to leave are calls to the scope; reading is not:
// it waits for nobody, and costs the same however large the group, unless it has changed since the last read.
//
//   G4  A subscription is an alias of the subscriber (alias.h), and its changes come by it: when demonitor() has ended
//       it here, nothing on its way is received, whatever the scope knows by then.
//   G5  The scope takes the snapshot of a subscription in the callback that enters it, and sends each change in the
//       callback that makes it, in the order made: no change is missing from both, none is in both.
//   G6  Changes are pushed as a Down is: uncounted, never refused (SEMANTICS 14.1). A change has 128 bytes at most for
//       each subscriber, and the pids once for all. Only receiving them, or demonitor(), bounds how many wait.
//   G7  The scope watches each member and subscriber by one monitor, and is linked to none.
// Cost: a join or leave of one process is a call, a few steps in hash tables, and a push for each subscriber.
#pragma once

#include "gc/gc.h"
#include "runtime/behaviour.h"
#include "runtime/bound.h"
#include "runtime/call.h"
#include "runtime/pid.h"

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace erlking::groups {

/// The scope that is meant where none is named.
inline constexpr std::string_view default_scope = "groups";

/// A group as an address, as Name is: `"workers"`, or `{"workers", "jobs"}` in a scope of one's own. The characters
/// must live until the call returns.
class Group {
 public:
  /// That group.
  template <std::convertible_to<std::string_view> S>
  Group(const S& name, std::string_view scope = default_scope) noexcept : name_(name), scope_(scope) {}

  std::string_view name() const noexcept { return name_; }    ///< any characters, also none
  std::string_view scope() const noexcept { return scope_; }  ///< the name of its scope's server

 private:
  std::string_view name_, scope_;
};

/// Processes, in no order; one that has joined n times is in it n times. A picture: it never changes, and copying it
/// copies no pids. Any thread.
class Members {
 public:
  Members() noexcept = default;  ///< nobody
  /// What the runtime has made.
  explicit Members(Ref<const std::vector<Pid>> pids) noexcept : pids_(std::move(pids)) {}

  std::size_t size() const noexcept { return pids_ ? pids_->size() : 0; }        ///< how many
  bool empty() const noexcept { return size() == 0; }                            ///< whether there are none
  const Pid* begin() const noexcept { return pids_ ? pids_->data() : nullptr; }  ///< the first of them
  const Pid* end() const noexcept { return begin() + size(); }                   ///< behind the last
  Pid operator[](std::size_t i) const noexcept { return (*pids_)[i]; }           ///< i < size()

 private:
  Ref<const std::vector<Pid>> pids_;
};

/// Identifies one subscription of one process.
struct SubscriptionRef {
  std::uint64_t id = 0;  ///< 0: none
  Pid scope;             ///< who sends the changes; monitored, it tells that there will be no more
  friend constexpr auto operator<=>(SubscriptionRef, SubscriptionRef) = default;
};

/// What a subscriber receives of each change.
struct Change {
  /// What they did.
  enum class Kind : std::uint8_t { joined, left };
  SubscriptionRef ref;           ///< which subscription
  Kind kind = Kind::joined;      ///< also of who has ended: left
  Ref<const std::string> group;  ///< its name
  Members pids;                  ///< who: of a call in its order, each as often as it joined or left
};

/// What monitor() returns.
struct Subscription {
  SubscriptionRef ref;  ///< of the changes to come
  Members members;      ///< before the first of them
};
/// What monitor_scope() returns.
struct ScopeSubscription {
  SubscriptionRef ref;                              ///< of the changes to come
  std::unordered_map<std::string, Members> groups;  ///< all there are, before the first of them
};

/// Starts a scope, as start() starts a server: registered under its name, without a parent. Several may run, each a
/// name space of its own. Errors: as of any server; an empty name is bad_options. A safe point, as are all but the
/// readers.
Started start(Bound bound, std::string_view scope = default_scope);
/// The same, linked to the caller.
Started start_link(Bound bound, std::string_view scope = default_scope);

/// Puts a process into a group, once more if it is there; one that has ended leaves again at once. Errors: those of
/// call(): noproc if there is no such scope; after timeout it may have joined.
std::expected<void, CallError> join(const Group& group, Pid pid, Bound bound);
/// The same for several, which readers and subscribers see as one change.
std::expected<void, CallError> join(const Group& group, std::vector<Pid> pids, Bound bound);
/// Takes back one join of the process. Errors beside join()'s: refused, with the reason `not_joined`, if it is no
/// member.
std::expected<void, CallError> leave(const Group& group, Pid pid, Bound bound);
/// The same for several; who is no member is passed over. `not_joined` only if none of them is one.
std::expected<void, CallError> leave(const Group& group, std::vector<Pid> pids, Bound bound);

/// Who is in the group; nobody if there is no such group or scope. Waits for nobody, no safe point. Throws
/// std::bad_alloc. Who has called join() or leave() sees its effect.
Members members(const Group& group);
/// Those of them that are of this node: today all.
Members local_members(const Group& group);
/// The groups of a scope that have members, in no order; as members().
std::vector<std::string> which_groups(std::string_view scope = default_scope);

/// Subscribes the caller to a group, there or not: who is in it now, and from then on a Change for each change. It ends
/// with the caller, by demonitor(), or with the scope. Errors: those of call(); there is then no subscription.
std::expected<Subscription, CallError> monitor(const Group& group, Bound bound);
/// The same for all groups of a scope, those to come among them.
std::expected<ScopeSubscription, CallError> monitor_scope(Bound bound);
/// The same of the scope named.
std::expected<ScopeSubscription, CallError> monitor_scope(std::string_view scope, Bound bound);
/// Ends a subscription of the caller: no Change of it is received from now on, those in the mailbox are removed. False:
/// it is none of the caller's, or ended before. Without memory to tell the scope of it, that goes on sending what is
/// dropped here.
bool demonitor(SubscriptionRef ref);

}  // namespace erlking::groups
