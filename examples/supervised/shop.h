// The application: requests come to a listener, which hands them to a pool of workers; these ask the writer and the
// cache. Its tree, 17 processes:
//
//   root ─┬─ storage ─┬─ writer               rest_for_one: the writer counts on a cache that has seen all it wrote
//         │           └─ cache
//         ├─ front ───┬─ pool ─── worker-1…6
//         │           └─ listener
//         ├─ upkeep ──┬─ meter                one_for_all: what the sampler remembers is about this meter
//         │           └─ sampler
//         └─ steward                          significant: when it ends, the tree does
//
// A write is acknowledged when it lies in the journal (journal.h) and the cache has seen it, or will read it there.
// Nobody defends against anything: who cannot go on ends, and whoever starts anew gets what it needs from the journal.
#pragma once

#include "examples/supervised/journal.h"
#include <erlking/erlking.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace supervised {

/// The roles in the tree but the root's, which only main could start anew.
enum class Role : std::uint8_t {
  storage,
  front,
  pool,
  upkeep,
  writer,
  cache,
  listener,
  worker,
  meter,
  sampler,
  steward
};
inline constexpr std::size_t kRoles = 11;
inline constexpr std::size_t kWorkers = 6;

/// What the tables and functions about roles go by.
constexpr std::size_t index(Role role) noexcept { return static_cast<std::size_t>(role); }
/// Its name, as above.
std::string_view to_string(Role role) noexcept;
/// How many processes have it.
constexpr std::size_t instances(Role role) noexcept { return role == Role::worker ? kWorkers : 1; }
/// Whether it is a supervisor's.
constexpr bool supervises(Role role) noexcept { return role <= Role::upkeep; }
/// The registered name of one of its processes, counted from 0.
std::string name_of(Role role, std::size_t instance);

// --- what is asked of the shop, all of it of Name{"listener"} ---

/// Acknowledged with true. Repeated, as by a client that got no answer, it is acknowledged again and written once.
struct Put {
  using Reply = bool;
  Record record;
};
/// The newest number of a key; 0: never written.
struct Get {
  using Reply = std::uint64_t;
  std::uint64_t key = 0;
};

// --- what is done to its processes ---

/// What any process of it that is no supervisor ends by: its own doing, an exception, or what the hardware refuses.
enum class Failing : std::uint8_t { exits, throws, null, overflow };
/// A message that makes it fail.
struct Fault {
  Failing how = Failing::exits;
};

/// Where a process can be made to fail in the middle of what it does, with somebody's request in hand.
enum class Point : std::uint8_t {
  writer_asked,     ///< nothing is written yet
  writer_wrote,     ///< and the cache does not know of it
  cache_put,        ///< not yet in its table
  cache_get,        ///< found, not yet answered
  listener,         ///< the next worker has not got it yet
  worker_asks,      ///< of whoever has the answer
  worker_answered,  ///< and the client has not
  worker_done,      ///< the client has its answer, the meter has not counted it
  meter,            ///< a request not yet counted
  sampler,          ///< between two looks at the meter
};

/// One process that is to fail the next time it passes a point. Any thread.
class Trap {
 public:
  /// From now on, instead of what was set before.
  void set(erlking::Pid victim, Point point, Failing how) noexcept;
  /// Fails if it is set for the caller, here; and is then no longer set.
  void pass(Point point);

 private:
  std::atomic<std::uint64_t> victim_{0};  // 0: not set; what follows is published by it
  std::atomic<Point> point_{};
  std::atomic<Failing> how_{};
};

/// What the tree's processes share with those who watch it.
struct World {
  explicit World(bool sync) : journal(sync) {}
  Journal journal;
  /// Processes that have been started, by role.
  std::array<std::atomic<std::uint64_t>, kRoles> starts{};
  Trap trap;
  /// The most requests between two looks of the sampler.
  std::atomic<std::uint64_t> busiest{0};
};

/// How many restarts within a second make one of the three supervisors give up that are below the root.
inline constexpr std::int64_t kIntensity = 30;

/// The tree. It ends when the process of this name has.
erlking::Supervisor::Spec shop(std::shared_ptr<World> world, std::string until);

}  // namespace supervised
