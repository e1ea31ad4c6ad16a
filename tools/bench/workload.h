// What `erlking bench` can measure: the workloads, and one case of one, to be run on one system with so many workers.
// Plain data; the work itself is in ours.cc and in perf/peers.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace erlking::bench {

/// Whose implementation runs; the order of the table's columns and of Workload::counts.
enum class Contender : std::uint8_t { erlking, beam, go };
inline constexpr std::size_t kContenders = 3;
std::string_view to_string(Contender contender) noexcept;

/// Where its processes run.
enum class Place : std::uint8_t {
  natural,  ///< where the scheduler puts them
  two,      ///< the same, but with one worker there is nothing to measure
  apart,    ///< pinned to workers 0 and 1
};

struct Workload {
  std::string_view name;
  std::string_view metric;  ///< its one figure; empty: several
  std::string_view what;    ///< one sentence, for --help
  Place place;
  std::array<std::uint64_t, kContenders> counts;  ///< operations of a run, about 0.15 s; 0: cannot; latency: unused
  bool once = false;  ///< large: run once and not warmed up, in a runtime or peer of its own, and only if named

  bool is_latency() const noexcept { return name == "latency"; }
  /// Ours does input and output, and depends on the driver.
  bool uses_io() const noexcept { return uses_sockets() || reads_files() || is_store(); }
  bool uses_sockets() const noexcept { return name == "tcp-echo" || name == "idle-connections"; }
  bool reads_files() const noexcept { return name.starts_with("file-read"); }
  /// examples/kv, a program of its own; with a log that is synced; so many requests under way on a connection.
  bool is_store() const noexcept { return name.starts_with("kv"); }
  bool syncs() const noexcept { return name == "kv-always"; }
  unsigned pipeline() const noexcept { return name == "kv-16" ? 16 : 1; }
  bool needs_two() const noexcept { return place != Place::natural; }
};

/// All of them, in the order of the table.
std::span<const Workload> workloads() noexcept;
/// Null: there is none of that name.
const Workload* find_workload(std::string_view name) noexcept;

/// One thing measured: a row of the table, or one for each of its figures.
struct Case {
  const Workload* workload = nullptr;
  unsigned workers = 1;
  unsigned rate = 0;  ///< latency: messages a second
  bool busy = false;  ///< latency: the receiver polls instead of sleeping
};

/// The cases of `workload` with that many workers: one, or latency's rates and modes.
std::vector<Case> cases_of(const Workload& workload, unsigned workers);

/// How long the idle processes of a run with `n` of them rest: 5 s, less if they are fewer than a million.
std::chrono::nanoseconds rest_of(std::uint64_t n) noexcept;

/// Operations of a run; 0: it cannot do this one.
std::uint64_t operations(const Case& which, Contender contender, double scale) noexcept;

/// 100000 → "100k".
std::string rate_text(unsigned rate);
/// "p99" → "p99@100k/parked"; other metrics are called what they are.
std::string metric_name(const Case& which, std::string_view percentile);
/// "latency 100k/s parked", "pingpong".
std::string title(const Case& which);

/// What a figure is measured in; the metric's name says it: bytes_…, percent_…, all else is time.
enum class Unit : std::uint8_t { ns, bytes, percent };
Unit unit_of(std::string_view metric) noexcept;
std::string_view to_string(Unit unit) noexcept;

/// What a run yielded.
struct Figure {
  std::string metric;
  double value = 0;  ///< in unit_of(metric)
  /// Of the first figure of what is late, all the times in short: the k-th point is the one that no more than a share
  /// of 2^-k of them exceeded, from the best to the worst. Else empty.
  std::vector<double> curve = {};
};
/// What a run has done to our message heap.
struct HeapUse {
  std::uint64_t collections = 0;  ///< by a heap that traces
  std::uint64_t pause_max = 0;    ///< the longest of them, ns
  std::size_t bytes = 0;          ///< that the heap has of the system, at the end
};
struct Outcome {
  std::vector<Figure> figures;
  std::string placement;             ///< where the processes ran
  std::optional<HeapUse> heap = {};  ///< of ours, unless it ran in a program or a runtime of its own
};
struct Failure {
  std::string why;
  bool unsupported = false;  ///< this system cannot do it at all: no fault
};
using Result = std::expected<Outcome, Failure>;

/// The time that so many in 1,000 of `times` (sorted, not empty) did not exceed.
double percentile(const std::vector<std::int64_t>& times, std::size_t per_mille) noexcept;
/// The four figures of what is late. Sorts `times` (nanoseconds, not empty).
std::vector<Figure> percentiles(const Case& which, std::vector<std::int64_t>& times);

}  // namespace erlking::bench
