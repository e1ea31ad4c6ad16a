// Registry: names of processes. Local to a runtime; thread-safe; sharded, so that lookups from many workers do not
// meet. One name per process, one process per name (SEMANTICS §6).
//   N1  Whoever names a process sets its `named` (seq_cst), then, under the registry's locks, looks whether it is open
//       (seq_cst) and only then adds the name. A dying one closes (seq_cst), then looks at `named` and removes: either
//       the look finds it closed, or the removal finds the name. So no name outlives its process [named].
#pragma once

#include "base/atomic.h"
#include "runtime/pid.h"

#include <array>
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

class Registry {
 public:
  enum class Added : std::uint8_t { yes, taken, already_named, closed };

  /// Who has `name` now; nobody: a null pid.
  Pid find(std::string_view name) const {
    const NameShard& shard = names_[shard_of(name)];
    std::shared_lock lock(shard.mutex);
    const auto it = shard.pids.find(name);
    return it == shard.pids.end() ? Pid{} : it->second;
  }

  /// The name of `pid`; empty: none.
  std::string name_of(Pid pid) const {
    const PidShard& shard = pids_[shard_of(pid)];
    std::shared_lock lock(shard.mutex);
    const auto it = shard.names.find(pid);
    return it == shard.names.end() ? std::string() : it->second;
  }

  /// The same for a signal handler: waits for no lock, allocates nothing. Empty also if somebody is at work there. What
  /// it shows may change as soon as it has returned.
  std::string_view try_name_of(Pid pid) const noexcept {
    const PidShard& shard = pids_[shard_of(pid)];
    std::shared_lock lock(shard.mutex, std::try_to_lock);
    if (!lock) return {};
    const auto it = shard.names.find(pid);
    return it == shard.names.end() ? std::string_view() : std::string_view(it->second);
  }

  /// Gives `name` to `pid` if is_open() says, under the locks, that it may have one (N1); both or none of the two maps
  /// change. May throw std::bad_alloc.
  template <class IsOpen>
  Added add(std::string_view name, Pid pid, IsOpen&& is_open) {
    PidShard& pids = pids_[shard_of(pid)];
    NameShard& names = names_[shard_of(name)];
    std::unique_lock pid_lock(pids.mutex);  // a pid's shard before a name's, always
    std::unique_lock name_lock(names.mutex);
    if (!is_open()) return Added::closed;
    if (pids.names.contains(pid)) return Added::already_named;
    const auto [it, fresh] = names.pids.try_emplace(std::string(name), pid);
    if (!fresh) return Added::taken;
    try {
      pids.names.emplace(pid, std::string(name));
    } catch (...) {
      names.pids.erase(it);
      throw;
    }
    return Added::yes;
  }

  /// Frees the name `pid` has, if any.
  void remove(Pid pid) noexcept {
    PidShard& pids = pids_[shard_of(pid)];
    std::unique_lock pid_lock(pids.mutex);
    const auto it = pids.names.find(pid);
    if (it == pids.names.end()) return;
    NameShard& names = names_[shard_of(it->second)];
    std::unique_lock name_lock(names.mutex);
    names.pids.erase(it->second);
    pids.names.erase(it);
  }

  /// Frees `name`, whoever has it. False: free already.
  bool remove(std::string_view name) {
    const Pid pid = find(name);
    if (!pid) return false;
    PidShard& pids = pids_[shard_of(pid)];
    std::unique_lock pid_lock(pids.mutex);
    const auto it = pids.names.find(pid);
    if (it == pids.names.end() || it->second != name) return false;  // freed since
    NameShard& names = names_[shard_of(name)];
    std::unique_lock name_lock(names.mutex);
    names.pids.erase(it->second);
    pids.names.erase(it);
    return true;
  }

  /// A snapshot, in no order.
  std::vector<std::pair<std::string, Pid>> all() const {
    std::vector<std::pair<std::string, Pid>> names;
    for (const NameShard& shard : names_) {
      std::shared_lock lock(shard.mutex);
      names.insert(names.end(), shard.pids.begin(), shard.pids.end());
    }
    return names;
  }

 private:
  static constexpr std::size_t kShards = 16;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const noexcept { return std::hash<std::string_view>{}(name); }
  };
  struct alignas(base::kCacheLine) NameShard {
    mutable std::shared_mutex mutex;
    std::unordered_map<std::string, Pid, Hash, std::equal_to<>> pids;
  };
  struct alignas(base::kCacheLine) PidShard {
    mutable std::shared_mutex mutex;
    std::unordered_map<Pid, std::string> names;
  };
  static std::size_t shard_of(std::string_view name) noexcept { return Hash{}(name) % kShards; }
  static std::size_t shard_of(Pid pid) noexcept { return pid.id % kShards; }

  std::array<NameShard, kShards> names_;
  std::array<PidShard, kShards> pids_;
};

}  // namespace erlking::detail
