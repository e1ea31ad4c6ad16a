// GroupTable: who is in which process group (groups.h), for anybody to read on any worker without asking a process.
// Scope and group lead to a Roster, the members of one group; it is its scope's, which alone changes it.
//   operation          who          cost
//   members            any thread   unchanged since the last read: a reader's lock and a count; else O(members), once
//   names              any thread   O(the scope's groups)
//   change, add, drop  the scope    a writer's lock, what is done under it, O(1)
//
//   G1  A Roster is found, read and changed under the lock of its shard. No lock is held at a safe point: whoever has
//       one is running, so who waits for it waits for the next few instructions of another thread.
//   G2  What readers get is a list that never changes. A change only lets go of it; who reads next makes a new one.
//       So a hundred thousand joins copy nothing, and a hundred thousand reads copy once.
//   G3  A Roster is in the table while it has a member. Its scope takes it out before it goes, a scope that is killed
//       in its destructor; another scope of that name may be there by then, and has its own.
// Why a lock and not a list swapped atomically: the group must be looked up by name, under a lock, in either case.
// One thread that reads: 33 ns with a shared_mutex, 39 with a mutex; four, the same name, on two CPUs: 307 and 450.
#pragma once

#include "base/atomic.h"
#include "gc/gc.h"
#include "runtime/pid.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace erlking::detail {

/// Members of a group, as often as each has joined; null: none.
using MemberList = Ref<const std::vector<Pid>>;

/// The members of one group. Changed under its shard's lock (G1), by GroupTable::change().
class Roster {
 public:
  /// Where a member stands; kept by the scope, written by the roster.
  using Place = std::size_t;

  Roster() = default;
  Roster(const Roster&) = delete;
  Roster& operator=(const Roster&) = delete;

  /// A member that is not in it yet. May throw std::bad_alloc.
  void add(Pid pid, Place& place) {
    entries_.push_back({pid, 1, &place});
    place = entries_.size() - 1;
    ++joins_;
  }
  /// The member joins again.
  void add_again(Place place) noexcept {
    ++entries_[place].joins;
    ++joins_;
  }
  /// One of its joins is over. True: it was the last.
  bool remove_one(Place place) noexcept {
    --joins_;
    if (--entries_[place].joins != 0) return false;
    take_out(place);
    return true;
  }
  /// All its joins are over; how many there were.
  std::size_t remove(Place place) noexcept {
    const std::size_t joins = entries_[place].joins;
    joins_ -= joins;
    take_out(place);
    return joins;
  }
  /// For its scope: whether nobody is in it.
  bool empty() const noexcept { return entries_.empty(); }

 private:
  friend class GroupTable;
  struct Entry {
    Pid pid;
    std::size_t joins;
    Place* place;
  };

  void take_out(Place place) noexcept {
    entries_[place] = entries_.back();
    *entries_[place].place = place;
    entries_.pop_back();
  }
  MemberList list() const {
    std::vector<Pid> pids;
    pids.reserve(joins_);
    for (const Entry& entry : entries_) pids.insert(pids.end(), entry.joins, entry.pid);
    return share(std::move(pids));
  }

  std::vector<Entry> entries_;
  std::size_t joins_ = 0;  // of all entries
  MemberList current_;     // of what is in it now; null: not made yet (G2)
};

class GroupTable {
 public:
  // --- readers: any thread ---

  /// The members; null: no such group, or nobody is in it. May throw std::bad_alloc.
  MemberList members(std::string_view scope, std::string_view group) {
    Shard& shard = shard_of(group);
    {
      std::shared_lock lock(shard.mutex);
      const Roster* const roster = shard.find(scope, group);
      if (roster == nullptr || roster->current_) return roster == nullptr ? MemberList() : roster->current_;
    }
    std::unique_lock lock(shard.mutex);
    Roster* const roster = shard.find(scope, group);
    if (roster == nullptr) return {};
    if (!roster->current_) roster->current_ = roster->list();
    return roster->current_;
  }

  /// The scope's groups that have members, in no order. May throw std::bad_alloc.
  std::vector<std::string> names(std::string_view scope) const {
    std::vector<std::string> names;
    for (const Shard& shard : shards_) {
      std::shared_lock lock(shard.mutex);
      const auto groups = shard.scopes.find(scope);
      if (groups == shard.scopes.end()) continue;
      for (const auto& [name, roster] : groups->second) names.push_back(name);
    }
    return names;
  }

  // --- the scope of the roster ---

  /// Runs `f` while nobody reads the roster. What f throws is passed on.
  template <class F>
  void change(std::string_view group, Roster& roster, F&& f) {
    MemberList outdated;  // destroyed after the lock is let go
    std::unique_lock lock(shard_of(group).mutex);
    outdated.swap(roster.current_);
    std::forward<F>(f)();
  }
  /// Shows the roster to readers, in the place of one that an earlier scope left behind (G3). May throw std::bad_alloc
  /// and then changes nothing readers see.
  void add(std::string_view scope, std::string_view group, Roster& roster) {
    Shard& shard = shard_of(group);
    std::unique_lock lock(shard.mutex);
    shard.scopes[std::string(scope)].insert_or_assign(std::string(group), &roster);
  }
  /// Hides it, if it is still the one shown.
  void drop(std::string_view scope, std::string_view group, const Roster& roster) noexcept {
    Shard& shard = shard_of(group);
    std::unique_lock lock(shard.mutex);
    const auto groups = shard.scopes.find(scope);
    if (groups == shard.scopes.end()) return;
    const auto found = groups->second.find(group);
    if (found == groups->second.end() || found->second != &roster) return;
    groups->second.erase(found);
    if (groups->second.empty()) shard.scopes.erase(groups);
  }

 private:
  static constexpr std::size_t kShards = 16;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const noexcept { return std::hash<std::string_view>{}(name); }
  };
  template <class T>
  using ByName = std::unordered_map<std::string, T, Hash, std::equal_to<>>;
  struct alignas(base::kCacheLine) Shard {
    mutable std::shared_mutex mutex;
    ByName<ByName<Roster*>> scopes;

    Roster* find(std::string_view scope, std::string_view group) const noexcept {
      const auto groups = scopes.find(scope);
      if (groups == scopes.end()) return nullptr;
      const auto found = groups->second.find(group);
      return found == groups->second.end() ? nullptr : found->second;
    }
  };
  Shard& shard_of(std::string_view group) noexcept { return shards_[Hash{}(group) % kShards]; }

  std::array<Shard, kShards> shards_;
};

}  // namespace erlking::detail
