// Erlking's side of the workloads: ordinary programs on the public interface, with bounds, timeouts and statistics on.
#pragma once

#include "tools/bench/workload.h"
#include <erlking/erlking.h>

#include <cstdint>

namespace erlking::bench {

/// Runs the case once, `n` operations, in fresh processes of `runtime`, which has the case's number of workers. Blocks
/// the calling thread (no process), at most `limit`.
Result run_ours(Runtime& runtime, const Case& which, std::uint64_t n, Duration limit);

/// The workloads `idle`, `idle-handlers` and `idle-servers`: n processes in a runtime of their own, with room for them,
/// that wait for at least `rest`.
Result run_idle(const Case& which, Options options, std::uint64_t n, Duration rest, Duration limit);

}  // namespace erlking::bench
