// The drill: what goes on outside the tree (shop.h) while it runs. Clients put a steady load on it and ask again when
// they get no answer; the drill strikes one role after another, waits until the tree is whole, and has the auditor look
// whether every write that was acknowledged is in the journal and can be read.
#pragma once

#include "examples/supervised/shop.h"
#include <erlking/erlking.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace supervised {

/// Processes that load the tree.
inline constexpr std::size_t kClients = 6;

/// What was acknowledged, and what of it was missed. Any thread; no member is a safe point.
class Witness {
 public:
  /// Of each client the numbers of its writes, rising.
  using Numbers = std::array<std::vector<std::uint64_t>, kClients>;

  /// A client has its acknowledgement.
  void acknowledge(std::size_t client, std::uint64_t number);
  /// All there are by now.
  Numbers acknowledged() const;
  /// It was not in the journal, or a reader got something older.
  void miss(const Record& record);
  /// How many were missed, each counted once.
  std::size_t missed() const;

 private:
  mutable std::mutex mutex_;
  Numbers acknowledged_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> missed_;  // key and number
};

/// Looks whether all that was acknowledged by now is in the journal; what is not is missed. Returns how many records of
/// the journal repeat an earlier one.
std::uint64_t audit(const Journal& journal, Witness& witness);

/// How a role is struck. Supervisors heed no exit but kill; but they give up when a child ends too often.
enum class Strike : std::uint8_t {
  kill,       ///< exit(pid, reason::kill)
  signal,     ///< exit(pid, another reason)
  exits,      ///< a message that makes it exit
  throws,     ///< a message that makes it throw
  null,       ///< it reads through a null pointer, for a message or in the middle of something
  stack,      ///< it overflows its stack, likewise
  overwhelm,  ///< a supervisor: its child is killed until it gives up
};
inline constexpr std::size_t kStrikes = 7;

/// What the drill is to do.
struct Plan {
  std::uint64_t faults = 1000;     ///< spread evenly over the roles
  std::uint64_t seed = 1;          ///< the same seed: the same roles are struck in the same ways in the same order
  bool memory = false;             ///< also Strike::null and Strike::stack
  std::chrono::seconds most{300};  ///< it ends then, whatever is left to do
};

/// How it went. Written by the drill's processes; but for the atomic members to be read when the runtime has stopped.
struct Score {
  Witness witness;
  std::array<std::uint64_t, kRoles> faults{};     ///< by role
  std::array<std::uint64_t, kStrikes> strikes{};  ///< the same by Strike
  std::uint64_t audits = 0;                       ///< times the auditor has looked
  std::atomic<std::uint64_t> served{0};           ///< requests that were answered
  std::atomic<std::uint64_t> failed{0};           ///< requests that were given up
  std::atomic<std::uint64_t> retried{0};          ///< times one was asked again
  std::optional<std::string> trouble;             ///< why it did not go on
  bool finished = false;                          ///< neither interrupted nor in trouble
};

/// The process that drills the shop; ends when it is done.
void drill(const std::shared_ptr<World>& world, const std::shared_ptr<Score>& score, const Plan& plan);

}  // namespace supervised
