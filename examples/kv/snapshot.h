// Snapshots: files of all keys. One is written under another name and gets its own when it is complete (log.h L2). And
// Rewriter, the process that makes them while the server goes on.
#pragma once

#include "examples/kv/world.h"
#include "net/file.h"
#include <erlking/erlking.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <vector>

namespace kv {

inline constexpr const char* kRewriter = "rewriter";  ///< The process's name.

/// Where the snapshot of that number is; while it is written ".new" is behind it.
std::string snapshot_path(const std::string& folder, std::uint64_t number);

/// A snapshot being written.
class SnapshotWriter {
 public:
  /// Begins `folder`/snapshot.`number`, for so many parts.
  static std::expected<SnapshotWriter, erlking::IoError> begin(std::string folder, std::uint64_t number,
                                                               std::size_t parts);
  /// Adds commands that make some of a part's keys.
  std::expected<void, erlking::IoError> add(std::uint32_t part, std::string_view commands);
  /// It is complete: puts it on the disk and gives it its name. Its size.
  std::expected<std::uint64_t, erlking::IoError> finish();

 private:
  SnapshotWriter(erlking::File file, std::string folder, std::string name) noexcept
      : file_(std::move(file)), folder_(std::move(folder)), name_(std::move(name)) {}
  std::expected<void, erlking::IoError> write(std::string_view bytes);

  erlking::File file_;
  std::string folder_, name_;
  std::uint64_t size_ = 0;
};

/// Asks for a snapshot, after which the log begins anew. Whoever sends it has set World::rewriting.
struct Rewrite {};

/// See the head of this file.
class Rewriter : public erlking::Server {
 public:
  using Handles = erlking::Messages<Rewrite>;
  explicit Rewriter(std::shared_ptr<World> world) : world_(std::move(world)) { world_->rewriting = false; }
  void on(Rewrite& rewrite);

 private:
  std::expected<void, std::string> rewrite();
  std::expected<void, std::string> write_snapshot(std::uint64_t number, erlking::Pid log,
                                                  const std::vector<erlking::Pid>& parts);

  std::shared_ptr<World> world_;
};

}  // namespace kv
