// The append-only log: a process that writes down what the parts change, many changes with one write and one sync, and
// reads all of it at the start. Its files, in one folder, each a head and records (records.h):
//
//   snapshot.N  all keys, as they were when log.N was begun
//   log.N       what has been changed since
//
//   L1  A part's records are in the order of its changes, over all files: it says when it goes on to the next file.
//       Records of different parts concern different keys, so their order means nothing.
//   L2  Snapshot N is there, under its name, when it is complete and on the disk. What is older is then removed. So
//       the newest snapshot and the logs from its number on are all there is to know, whenever the process is killed.
//   L3  With Sync::always a part's replies go out when the sync has ended that came after their records were written.
//   L4  A write that fails is tried again each second, at the same place; meanwhile the parts run no writes. A sync
//       that fails is never tried again: what the system has thrown away it would not write.
//   L5  A sync costs the same for one reply as for a hundred. So a group waits until all whose replies went out with
//       the last sync, or waited then already, have written again; but no longer than a few syncs take, and less if
//       that was in vain the last time.
#pragma once

#include "examples/kv/pipeline.h"
#include "examples/kv/store.h"
#include "examples/kv/world.h"
#include <erlking/erlking.h>

#include <cstdint>
#include <memory>
#include <string>

namespace kv {

inline constexpr const char* kLog = "log";  ///< The process's name.

/// What a part has changed, for the log. With `from` its replies wait for the disk.
struct Append {
  std::uint32_t part = 0;
  std::string changes;
  erlking::From<Run> from;
  std::shared_ptr<Pipeline> pipeline;
};
/// A part's store, as it was when the server ended; once each.
struct TakeStore {
  using Reply = std::unique_ptr<Store>;
  std::uint32_t part = 0;
};
/// Begins the next log file; its number, 0: it cannot.
struct BeginNext {
  using Reply = std::uint64_t;
};
/// From a part: what it changes from now on goes to the newest file (L1).
struct PartMovesOn {
  std::uint32_t part = 0;
};
/// The snapshot of this number is complete: what is older is removed. False: it could not.
struct DropOlder {
  using Reply = bool;
  std::uint64_t number = 0;
  std::uint64_t snapshot_bytes = 0;
};

/// The process. Ends with the reason if the files cannot be read.
void run_log(const std::shared_ptr<World>& world);

}  // namespace kv
