// Store: a server of Redis' protocol that redis-benchmark drives: examples/kv, and redis-server for comparison. Each is
// started for one run and ended after it.
#pragma once

#include "base/clock.h"
#include "tools/bench/workload.h"

#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace erlking::bench {

class Store {
 public:
  /// What is asked of it, one after the other, as redis-benchmark calls them.
  static constexpr std::array<std::string_view, 6> kCommands = {"set", "get", "incr", "lpush", "lpop", "hset"};

  /// examples/kv, built beside this executable, with those flags. With `always` it keeps a log, in a folder of its own,
  /// and syncs before it answers. Failure::unsupported: it is not there.
  static std::expected<std::unique_ptr<Store>, Failure> kv(const std::vector<std::string>& flags, bool always);
  /// redis-server, keeping nothing, or the same as above. Failure::unsupported: it is not installed.
  static std::expected<std::unique_ptr<Store>, Failure> redis(bool always);
  /// Ends it, by force if it does not end within two seconds, and removes its folder.
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// redis-benchmark with 50 connections, `pipeline` requests under way on each, `requests` in all: a figure for each
  /// of kCommands, "ns_per_set".
  Result run(std::uint64_t requests, unsigned pipeline, base::Nanos limit) const;

 private:
  Store() = default;
  static std::expected<std::unique_ptr<Store>, Failure> start(std::vector<std::string> command, std::string folder,
                                                              std::uint16_t port);
  bool answers() const;

  pid_t pid_ = -1;
  std::uint16_t port_ = 0;
  std::string folder_;  // of its log; empty: none
};

}  // namespace erlking::bench
