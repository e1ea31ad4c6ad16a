// `erlking bench`: measures workloads on Erlking and on its peers in turns within one run, and prints table or CSV.
#pragma once

#include "runtime/options.h"
#include "tools/bench/workload.h"

#include <string>
#include <vector>

namespace erlking::bench {

struct BenchOptions {
  std::vector<const Workload*> workloads;
  std::vector<unsigned> workers;        ///< one runtime, and one of each peer, for each
  std::vector<std::string> schedulers;  ///< ours, side by side; the first is compared with the peers and judged
  std::vector<std::string> io;          ///< the same, drivers of input and output; for workloads that use one
  std::vector<std::string> heaps;       ///< the same, message heaps
  std::vector<Contender> peers;         ///< beside ourselves
  unsigned runs = 5;                    ///< that count; one more, shortened, warms up
  double scale = 1;                     ///< times the operations of a run
  bool csv = false;                     ///< CSV on stdout, all else on stderr
  std::string html;                     ///< a page is written there; empty: none
  std::string command;                  ///< that was given, for the page
  std::string peers_dir;                ///< where perf/peers lies
  Options runtime;                      ///< the rest; `scheduler`, `io`, `heap` and `workers` are set for each
};

/// Blocks until done; the program's exit status: 0, 1 (a run failed), 2 (a peer cannot be had). Installs signal
/// handlers.
int run_bench(const BenchOptions& options);

}  // namespace erlking::bench
