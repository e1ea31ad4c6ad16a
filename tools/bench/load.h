// Load: who makes the requests of tcp-echo, and holds the connections of idle-connections. A process of its own with
// one thread that polls without sleeping, the same for every server.
#pragma once

#include "base/clock.h"
#include "tools/bench/child.h"

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <vector>

namespace erlking::bench {

/// Of one request, and of its answer.
inline constexpr std::size_t kEchoBytes = 64;
/// Connections of tcp-echo; each has one request under way.
inline constexpr unsigned kEchoConnections = 100;

class Load {
 public:
  /// Forks: see Child.
  static std::expected<std::unique_ptr<Load>, std::string> start();
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  struct Echoed {
    double ns_per_request = 0;
    std::vector<std::int64_t> times;  ///< ns from a request to its answer, as the load saw it
  };
  /// `requests` of kEchoBytes to the server at 127.0.0.1:`port`, over kEchoConnections, each after the answer to the
  /// last; not counted: to connect, and a first request by each. At most kMostRequests. The error is for a user.
  std::expected<Echoed, std::string> echo(std::uint16_t port, std::uint64_t requests, base::Nanos limit);
  static constexpr std::uint64_t kMostRequests = 8'000'000;

  /// Connects `connections` times, has one request answered by each, and keeps them. The error is for a user.
  std::expected<void, std::string> open(std::uint16_t port, std::uint32_t connections, base::Nanos limit);
  /// Closes what open() has opened.
  void close();

  pid_t pid() const noexcept { return child_->pid(); }

 private:
  Load() = default;

  std::unique_ptr<Child> child_;
  std::int64_t* times_ = nullptr;  // shared with the child; kMostRequests
};

}  // namespace erlking::bench
