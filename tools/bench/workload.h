// What `erlking bench` can measure: the workloads, and one case of one, to be run on one system with so many workers.
// Plain data; the work itself is in ours.cc and in perf/peers.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace erlking::bench {

/// Whose implementation runs; the order of the table's columns and of Workload::counts.
enum class Contender : std::uint8_t { erlking, beam, go };
inline constexpr std::size_t kContenders = 3;
std::string_view to_string(Contender contender) noexcept;

struct Workload {
  std::string_view name;
  std::string_view metric;                        ///< its one figure; empty: latency, which has percentiles
  std::string_view what;                          ///< one sentence, for --help
  bool two_workers;                               ///< its processes are pinned to workers 0 and 1
  std::array<std::uint64_t, kContenders> counts;  ///< operations of a run, about 0.15 s; 0: cannot; latency: unused

  bool is_latency() const noexcept { return metric.empty(); }
};

/// All of them, in the order of the table.
std::span<const Workload> workloads() noexcept;
/// Null: there is none of that name.
const Workload* find_workload(std::string_view name) noexcept;

/// One thing measured: a row of the table (for latency one row per percentile).
struct Case {
  const Workload* workload = nullptr;
  unsigned workers = 1;
  unsigned rate = 0;  ///< latency: messages a second
  bool busy = false;  ///< latency: the receiver polls instead of sleeping
};

/// The cases of `workload` with that many workers: one, or latency's rates and modes.
std::vector<Case> cases_of(const Workload& workload, unsigned workers);

/// Operations of a run; 0: it cannot do this one.
std::uint64_t operations(const Case& which, Contender contender, double scale) noexcept;

/// 100000 → "100k".
std::string rate_text(unsigned rate);
/// "p99" → "p99@100k/parked"; other metrics are called what they are.
std::string metric_name(const Case& which, std::string_view percentile);
/// "latency 100k/s parked", "pingpong".
std::string title(const Case& which);

/// What a run yielded: nanoseconds.
struct Figure {
  std::string metric;
  double ns = 0;
  /// Of latency's first figure, all the times in short: the k-th point is the one that no more than a share of 2^-k of
  /// the messages exceeded, from the best to the worst. Else empty.
  std::vector<double> curve = {};
};
struct Outcome {
  std::vector<Figure> figures;
  std::string placement;  ///< where the processes ran
};
struct Failure {
  std::string why;
  bool unsupported = false;  ///< this system cannot do it at all: no fault
};
using Result = std::expected<Outcome, Failure>;

/// Latency's four figures. Sorts `times` (nanoseconds, not empty).
std::vector<Figure> percentiles(const Case& which, std::vector<std::int64_t>& times);

}  // namespace erlking::bench
