// Erlking's side of the workloads: ordinary programs on the public interface, with bounds, timeouts and statistics on.
#pragma once

#include "tools/bench/workload.h"
#include <erlking/erlking.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <string>

namespace erlking::bench {

/// Runs the case once, `n` operations, in fresh processes of `runtime`, which has the case's number of workers. Blocks
/// the calling thread (no process), at most `limit`.
Result run_ours(Runtime& runtime, const Case& which, std::uint64_t n, Duration limit);

/// The workloads `idle`, `idle-handlers` and `idle-servers`: n processes in a runtime of their own, with room for them,
/// that wait for at least `rest`.
Result run_idle(const Case& which, Options options, std::uint64_t n, Duration rest, Duration limit);

/// The workloads `file-read` and `file-read-direct`, of the file at `path` of so many bytes.
Result run_file_read(Runtime& runtime, const Case& which, std::uint64_t n, const std::string& path, std::uint64_t bytes,
                     Duration limit);

/// An echo server in `runtime`, as long as it lives: a process that listens and one for each connection, which reads
/// and writes with limits. On no process.
class EchoServer {
 public:
  /// The error is for a user.
  static std::expected<std::unique_ptr<EchoServer>, std::string> start(Runtime& runtime);
  ~EchoServer();
  EchoServer(const EchoServer&) = delete;
  EchoServer& operator=(const EchoServer&) = delete;

  std::uint16_t port() const noexcept { return port_; }

 private:
  EchoServer(Runtime& runtime, Pid root) noexcept : runtime_(runtime), root_(root) {}

  Runtime& runtime_;
  Pid root_;
  std::uint16_t port_ = 0;
};

}  // namespace erlking::bench
