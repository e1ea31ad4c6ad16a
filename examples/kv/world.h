// What the processes of a server share: its settings, and what they tell each other without a message.
#pragma once

#include "base/clock.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kv {

/// When what has been written to the log is forced to the disk.
enum class Sync : std::uint8_t {
  always,    ///< before a write is acknowledged
  everysec,  ///< each second
  no,        ///< when the system likes
};

/// What the command line says.
struct Settings {
  std::string address = "127.0.0.1";
  std::uint16_t port = 6379;  ///< 0: the system chooses
  std::string dir = {};       ///< of log and snapshots; empty: nothing is kept
  Sync sync = Sync::everysec;
  std::size_t parts = 1;                        ///< of the keys, each with a process
  std::uint64_t max_memory = 0;                 ///< bytes; 0: no limit
  std::uint32_t max_clients = 10'000;           ///< connections at once
  std::uint64_t subscriber_buffer = 32u << 20;  ///< bytes that may wait for one subscriber
  std::uint64_t rewrite_min = 64u << 20;        ///< bytes of log from which it is rewritten by itself
  std::uint32_t idle_seconds = 0;               ///< a silent connection is closed; 0: never
};

/// See above. Counters are read for INFO, and for limits that may be passed by a batch in flight.
struct World {
  explicit World(Settings given) : settings(std::move(given)), keys(settings.parts) {}

  const Settings settings;
  const erlking::base::Nanos started = erlking::base::monotonic_now();
  std::atomic<std::uint64_t> memory{0};          ///< bytes of all stores
  std::vector<std::atomic<std::uint64_t>> keys;  ///< of each part
  std::atomic<std::uint32_t> clients{0};         ///< connected
  std::atomic<std::uint64_t> connections{0};     ///< since the start
  std::atomic<std::uint64_t> commands{0};
  std::atomic<int> log_error{0};         ///< errno: the log takes nothing, so no write is run; 0: it does
  std::atomic<bool> sync_failed{false};  ///< log_error stays, also when the log's process is started anew
  std::atomic<bool> rewriting{false};
  std::atomic<std::uint64_t> log_bytes{0};
  std::atomic<std::uint16_t> port{0};  ///< where it listens
};

}  // namespace kv
