#include "runtime/groups.h"

#include "base/assert.h"
#include "base/intrusive.h"
#include "runtime/alias.h"
#include "runtime/exit.h"
#include "runtime/group_table.h"
#include "runtime/self.h"
#include "runtime/send.h"
#include "runtime/server.h"
#include "runtime/system.h"

#include <functional>
#include <memory>
#include <new>
#include <optional>

namespace erlking::groups {

namespace {

using detail::MemberList;
using detail::Roster;

struct Join {
  std::string group;
  std::vector<Pid> pids;
  using Reply = bool;  // true
};
struct Leave {
  std::string group;
  std::vector<Pid> pids;
  using Reply = bool;  // whether any of them was a member
};
struct Subscribe {
  std::string group;
  Alias subscriber;
  using Reply = Members;
};
struct SubscribeToAll {
  Alias subscriber;
  using Reply = std::unordered_map<std::string, Members>;
};
struct Unsubscribe {
  Alias subscriber;
};

/// The server of a scope.
class Scope : public Server {
 public:
  using Handles = Messages<Join, Leave, Subscribe, SubscribeToAll, Unsubscribe, Down>;

  explicit Scope(std::string name) : name_(std::move(name)), table_(self_process().system->groups) {}
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope() {
    for (const auto& [name, group] : groups_) {
      if (!group.roster.empty()) table_.drop(name_, name, group.roster);
    }
  }

  bool on(Join& join);
  bool on(Leave& leave);
  Members on(Subscribe& subscribe);
  SubscribeToAll::Reply on(SubscribeToAll& subscribe);
  void on(const Unsubscribe& unsubscribe);
  void on(const Down& down);

 private:
  struct Peer;
  struct GroupState;
  struct Membership {
    GroupState* group = nullptr;
    Peer* peer = nullptr;
    Roster::Place place = 0;
    base::ListLink of_peer;
  };
  struct SubscriptionState {
    Alias subscriber;
    GroupState* group = nullptr;  // null: of the scope
    Peer* peer = nullptr;
    base::ListLink of_target, of_peer;
  };
  using Subscribers = base::List<SubscriptionState, &SubscriptionState::of_target>;
  /// A group that has members or subscribers.
  struct GroupState {
    Ref<const std::string> name;
    Roster roster;
    std::unordered_map<Pid, Membership> members;
    Subscribers subscribers;
  };
  /// A member or subscriber (G7).
  struct Peer {
    Pid pid;
    MonitorRef monitor;
    base::List<Membership, &Membership::of_peer> memberships;
    base::List<SubscriptionState, &SubscriptionState::of_peer> subscriptions;
  };

  GroupState& group_of(const std::string& name);
  Peer& peer_of(Pid pid);
  void forget_if_idle(GroupState& group) noexcept;
  void forget_if_idle(Peer& peer);
  void enter(Alias subscriber, GroupState* group);
  void end(SubscriptionState& subscription) noexcept;
  void tell(GroupState& group, Change::Kind kind, std::vector<Pid>&& pids);

  std::string name_;
  detail::GroupTable& table_;
  // In this order: what is in a list outlives the list.
  std::unordered_map<std::uint64_t, SubscriptionState> subscriptions_;
  std::unordered_map<std::string, GroupState> groups_;
  std::unordered_map<Pid, Peer> peers_;
  Subscribers subscribers_;  // of the scope
};

Scope::GroupState& Scope::group_of(const std::string& name) {
  const auto [it, fresh] = groups_.try_emplace(name);
  if (fresh) it->second.name = share(std::string(name));
  return it->second;
}

Scope::Peer& Scope::peer_of(Pid pid) {
  const auto [it, fresh] = peers_.try_emplace(pid);
  if (fresh) {
    it->second.pid = pid;
    it->second.monitor = erlking::monitor(pid);
  }
  return it->second;
}

void Scope::forget_if_idle(GroupState& group) noexcept {
  if (group.members.empty() && group.subscribers.empty()) groups_.erase(groups_.find(*group.name));
}

void Scope::forget_if_idle(Peer& peer) {
  if (!peer.memberships.empty() || !peer.subscriptions.empty()) return;
  erlking::demonitor(peer.monitor);  // a Down that has come finds nobody
  peers_.erase(peers_.find(peer.pid));
}

bool Scope::on(Join& join) {
  if (join.pids.empty()) return true;
  // What takes time or memory comes before the lock (G1).
  for (const Pid pid : join.pids) peer_of(pid);
  GroupState& group = group_of(join.group);
  const bool is_new = group.members.empty();
  struct Step {
    Membership* membership;
    bool is_first;
  };
  std::vector<Step> steps;
  steps.reserve(join.pids.size());
  for (const Pid pid : join.pids) {
    const auto [it, fresh] = group.members.try_emplace(pid);
    Membership& membership = it->second;
    if (fresh) {
      membership.group = &group;
      membership.peer = &peer_of(pid);
      membership.peer->memberships.push_back(membership);
    }
    steps.push_back({&membership, fresh});
  }
  table_.change(join.group, group.roster, [&] {
    for (const auto& [membership, is_first] : steps) {
      if (is_first) {
        group.roster.add(membership->peer->pid, membership->place);
      } else {
        group.roster.add_again(membership->place);
      }
    }
  });
  if (is_new) table_.add(name_, join.group, group.roster);
  tell(group, Change::Kind::joined, std::move(join.pids));
  return true;
}

bool Scope::on(Leave& leave) {
  const auto found = groups_.find(leave.group);
  if (found == groups_.end()) return false;
  GroupState& group = found->second;
  std::vector<Pid> left;
  left.reserve(leave.pids.size());
  std::vector<Membership*> over;
  over.reserve(leave.pids.size());
  table_.change(leave.group, group.roster, [&] {
    for (const Pid pid : leave.pids) {
      const auto it = group.members.find(pid);
      if (it == group.members.end() || !it->second.of_peer.is_linked()) continue;
      left.push_back(pid);
      if (!group.roster.remove_one(it->second.place)) continue;
      it->second.of_peer.unlink();
      over.push_back(&it->second);
    }
  });
  if (left.empty()) return false;
  if (group.roster.empty()) table_.drop(name_, leave.group, group.roster);
  for (Membership* const membership : over) {
    Peer& peer = *membership->peer;
    group.members.erase(peer.pid);
    forget_if_idle(peer);
  }
  tell(group, Change::Kind::left, std::move(left));
  forget_if_idle(group);
  return true;
}

void Scope::enter(Alias subscriber, GroupState* group) {
  const auto [it, fresh] = subscriptions_.try_emplace(subscriber.ref);
  EK_DCHECK(fresh);
  SubscriptionState& subscription = it->second;
  subscription.subscriber = subscriber;
  subscription.group = group;
  subscription.peer = &peer_of(subscriber.owner);
  (group == nullptr ? subscribers_ : group->subscribers).push_back(subscription);
  subscription.peer->subscriptions.push_back(subscription);
}

void Scope::end(SubscriptionState& subscription) noexcept {
  subscription.of_target.unlink();
  subscription.of_peer.unlink();
  if (subscription.group != nullptr) forget_if_idle(*subscription.group);
  subscriptions_.erase(subscriptions_.find(subscription.subscriber.ref));
}

Members Scope::on(Subscribe& subscribe) {
  enter(subscribe.subscriber, &group_of(subscribe.group));
  return Members(table_.members(name_, subscribe.group));
}

SubscribeToAll::Reply Scope::on(SubscribeToAll& subscribe) {
  enter(subscribe.subscriber, nullptr);
  SubscribeToAll::Reply all;
  for (const auto& [name, group] : groups_) {
    if (!group.members.empty()) all.emplace(name, Members(table_.members(name_, name)));
  }
  return all;
}

void Scope::on(const Unsubscribe& unsubscribe) {
  const auto it = subscriptions_.find(unsubscribe.subscriber.ref);
  if (it == subscriptions_.end() || it->second.subscriber != unsubscribe.subscriber) return;
  Peer& peer = *it->second.peer;
  end(it->second);
  forget_if_idle(peer);
}

void Scope::on(const Down& down) {
  const auto it = peers_.find(down.pid);
  if (it == peers_.end() || it->second.monitor != down.ref) return;
  Peer& peer = it->second;
  while (SubscriptionState* const subscription = peer.subscriptions.front()) end(*subscription);
  while (Membership* const membership = peer.memberships.pop_front()) {
    GroupState& group = *membership->group;
    std::size_t joins = 0;
    table_.change(*group.name, group.roster, [&] { joins = group.roster.remove(membership->place); });
    group.members.erase(down.pid);
    if (group.roster.empty()) table_.drop(name_, *group.name, group.roster);
    tell(group, Change::Kind::left, std::vector<Pid>(joins, down.pid));
    forget_if_idle(group);
  }
  peers_.erase(it);
}

void Scope::tell(GroupState& group, Change::Kind kind, std::vector<Pid>&& pids) {
  if (group.subscribers.empty() && subscribers_.empty()) return;
  System& system = *self_process().system;
  const Pid scope = self_process().pid();
  const Members who(share(std::move(pids)));
  const auto tell_all = [&](Subscribers& subscribers) {
    for (const SubscriptionState& subscription : subscribers) {
      const Alias to = subscription.subscriber;
      detail::ItemPtr item(detail::make_item<Change>(to.ref, SubscriptionRef{to.ref, scope}, kind, group.name, who));
      item->set_flags(0);  // G6
      if (detail::push_uncounted(system, item.get(), to.owner) != Push::closed) static_cast<void>(item.release());
    }
  };
  tell_all(group.subscribers);
  tell_all(subscribers_);
}

Started without_name() { return Started(std::unexpect, StartError{StartFailure::bad_options}); }

std::expected<void, CallError> done_or(const std::expected<bool, CallError>& answer, std::string_view refusal) {
  if (!answer) return std::unexpected(answer.error());
  if (!*answer) return std::unexpected(CallError{CallFailure::refused, Reason(refusal)});
  return {};
}

// Nothing of the subscription is received from now on (G4); the scope is told. False: it was none of the caller's.
bool end_subscription(Process& self, SubscriptionRef ref) {
  const Alias subscriber{self.pid(), ref.id};
  if (!unalias(subscriber)) return false;
  for (Item** at = &self.inbox_head; *at != nullptr;) {
    const Change* const change = detail::item_as<Change>(*at);
    if (change != nullptr && change->ref == ref) {
      detail::drop_item(self.take_out(at));
    } else {
      at = &(*at)->next;
    }
  }
  try {
    detail::ItemPtr item(detail::make_item<Unsubscribe>(ref.scope.id, subscriber));
    item->set_flags(0);
    if (detail::push_uncounted(*self.system, item.get(), ref.scope) != Push::closed) static_cast<void>(item.release());
  } catch (const std::bad_alloc&) {  // it stays in the scope's list, where it does no harm
  }
  return true;
}

// Asks a scope to enter a subscription. `request` makes the request of the alias.
template <class MakeRequest>
auto subscribe(const char* what, std::string_view scope, Bound bound, MakeRequest&& request) {
  using R = std::invoke_result_t<MakeRequest, Alias>;
  using Answer = std::expected<std::pair<SubscriptionRef, typename R::Reply>, CallError>;
  Process& self = require_process(what);
  const std::optional<Pid> server = self.system->whereis(scope);
  if (!server) return Answer(std::unexpect, CallError{CallFailure::noproc, {}});
  const Alias subscriber = alias();
  const SubscriptionRef ref{subscriber.ref, *server};
  auto answer = call(*server, request(subscriber), bound);
  if (answer) return Answer(std::in_place, ref, *std::move(answer));
  end_subscription(self, ref);  // it may have been entered all the same
  return Answer(std::unexpect, std::move(answer.error()));
}

}  // namespace

Started start(Bound bound, std::string_view scope) {
  if (scope.empty()) return without_name();
  return erlking::start<Scope>(bound, {.name = std::string(scope)}, std::string(scope));
}

Started start_link(Bound bound, std::string_view scope) {
  if (scope.empty()) return without_name();
  return erlking::start_link<Scope>(bound, {.name = std::string(scope)}, std::string(scope));
}

std::expected<void, CallError> join(const Group& group, Pid pid, Bound bound) {
  return join(group, std::vector<Pid>{pid}, bound);
}

std::expected<void, CallError> join(const Group& group, std::vector<Pid> pids, Bound bound) {
  return done_or(call(Name{group.scope()}, Join{std::string(group.name()), std::move(pids)}, bound), {});
}

std::expected<void, CallError> leave(const Group& group, Pid pid, Bound bound) {
  return leave(group, std::vector<Pid>{pid}, bound);
}

std::expected<void, CallError> leave(const Group& group, std::vector<Pid> pids, Bound bound) {
  return done_or(call(Name{group.scope()}, Leave{std::string(group.name()), std::move(pids)}, bound), "not_joined");
}

Members members(const Group& group) {
  return Members(require_process("groups::members").system->groups.members(group.scope(), group.name()));
}

Members local_members(const Group& group) { return members(group); }

std::vector<std::string> which_groups(std::string_view scope) {
  return require_process("groups::which_groups").system->groups.names(scope);
}

std::expected<Subscription, CallError> monitor(const Group& group, Bound bound) {
  auto made = subscribe("groups::monitor", group.scope(), bound, [&](Alias subscriber) {
    return Subscribe{std::string(group.name()), subscriber};
  });
  if (!made) return std::unexpected(std::move(made.error()));
  return Subscription{made->first, std::move(made->second)};
}

std::expected<ScopeSubscription, CallError> monitor_scope(Bound bound) { return monitor_scope(default_scope, bound); }

std::expected<ScopeSubscription, CallError> monitor_scope(std::string_view scope, Bound bound) {
  auto made =
      subscribe("groups::monitor_scope", scope, bound, [](Alias subscriber) { return SubscribeToAll{subscriber}; });
  if (!made) return std::unexpected(std::move(made.error()));
  return ScopeSubscription{made->first, std::move(made->second)};
}

bool demonitor(SubscriptionRef ref) { return end_subscription(require_process("groups::demonitor"), ref); }

}  // namespace erlking::groups
