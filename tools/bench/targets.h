// What Erlking promises of each workload, against the peers and against the machine's floors, and whether a run kept
// it.
#pragma once

#include "tools/bench/report.h"

#include <string>

namespace erlking::bench {

/// "beam ≥ 9× met; ≤ 1.5 × sum (32.1 ns) missed: 36.0 ns"; only what this run can tell. Empty: nothing is promised.
std::string verdict(const Board& board, const Row& row);

}  // namespace erlking::bench
