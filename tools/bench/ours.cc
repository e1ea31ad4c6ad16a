#include "tools/bench/ours.h"

#include "tools/bench/ours/program.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <utility>

namespace erlking::bench {

namespace {

Outcome run(const Case& which, std::uint64_t n) {
  const std::string_view name = which.workload->name;
  const bool apart = which.workload->two_workers;
  if (which.workload->is_latency()) return latency(which, n);
  if (name.starts_with("pingpong")) return pingpong(n, apart);
  if (name.starts_with("fanin")) return fanin(n, apart);
  if (name.starts_with("call")) return calling(n, apart);
  return spawning(n);
}

}  // namespace

Result run_ours(Runtime& runtime, const Case& which, std::uint64_t n, Duration limit) {
  struct Answer {
    Outcome outcome;
    std::atomic<bool> given{false};
  };
  const auto answer = std::make_shared<Answer>();  // a run given up on may still write it
  // Where it is timed: worker 0 for what is pinned.
  const auto root = runtime.spawn({.worker = which.workload->two_workers ? 0 : -1}, [answer, which, n] {
    answer->outcome = run(which, n);
    answer->given.store(true, std::memory_order_release);  // feeds the acquire below
  });
  if (!root) return std::unexpected(Failure{fmt::format("no process could be made: {}", to_string(root.error()))});
  const std::optional<Reason> why = runtime.wait(*root, limit);
  if (answer->given.load(std::memory_order_acquire)) return std::move(answer->outcome);
  if (why) return std::unexpected(Failure{"the measuring process ended: " + why->to_string()});
  runtime.exit(*root, reason::kill);
  return std::unexpected(
      Failure{fmt::format("not done within {} s", std::chrono::duration_cast<std::chrono::seconds>(limit).count())});
}

}  // namespace erlking::bench
