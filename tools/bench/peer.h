// A peer: the same work done by another runtime, in a process of its own that is commanded over stdin and answers on
// stdout (perf/peers/README.md). Compiled on demand, started once, asleep between commands. One thread.
#pragma once

#include "base/clock.h"
#include "tools/bench/workload.h"

#include <cstdint>
#include <expected>
#include <filesystem>
#include <memory>
#include <string>
#include <sys/types.h>
#include <vector>

namespace erlking::bench {

/// Where compiled peers are kept: a folder `peers` beside the executable (not where it is installed, in a `bin`), or in
/// the user's cache, or temporary; the first that can be written.
std::expected<std::filesystem::path, std::string> peer_cache();

/// The kinds of echo server that a peer knows, for Peer::serve.
std::vector<std::string_view> echo_kinds(Contender which);

class Peer {
 public:
  /// Compiles it into `cache` unless that is newer than the sources in `sources`/erlang or /go, and starts it with
  /// `workers` schedulers; a BEAM with room for more than `processes`, unless that is 0. The error is one line for a
  /// user.
  static std::expected<std::unique_ptr<Peer>, std::string> start(Contender which, unsigned workers,
                                                                 const std::filesystem::path& sources,
                                                                 const std::filesystem::path& cache,
                                                                 std::uint64_t processes = 0);
  /// Ends it, by force if it does not end within half a second.
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  /// Runs the case once, `n` operations.
  Result run(const Case& which, std::uint64_t n, base::Nanos limit);

  /// Starts an echo server of that kind (perf/peers/README.md); where it listens.
  std::expected<std::uint16_t, Failure> serve(std::string_view kind, base::Nanos limit);
  /// Ends it.
  std::expected<void, Failure> stop_serving(base::Nanos limit);

  pid_t pid() const noexcept { return pid_; }
  /// "OTP-25/erts-13.1.5"
  const std::string& version() const noexcept { return version_; }
  bool has_jit() const noexcept { return jit_; }

 private:
  Peer() = default;
  std::expected<std::string, std::string> read_line(base::Nanos limit);
  // Sends a command of that name; the words of its result line.
  std::expected<std::vector<std::string>, Failure> ask(std::string_view name, std::string command, base::Nanos limit);

  pid_t pid_ = -1;
  int to_ = -1, from_ = -1;
  unsigned workers_ = 1;
  std::string pending_;  // read, not yet a line
  std::string version_;
  bool jit_ = false;
};

}  // namespace erlking::bench
