#include "tools/bench/workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace erlking::bench {

namespace {

constexpr unsigned kRates[] = {1'000, 10'000, 100'000, 1'000'000};
constexpr double kLatencySeconds = 0.3;

constexpr Workload kWorkloads[] = {
    {"latency",
     "",
     "messages leave on a timetable, 1k to 1M a second, whether or not earlier ones have arrived; one-way time to a "
     "receiver that sleeps (parked) or polls (busy) on another worker",
     true,
     {}},
    {"pingpong",
     "ns_per_hop",
     "two processes answer each other, wherever the scheduler puts them",
     false,
     {2'000'000, 200'000, 400'000}},
    {"pingpong-apart", "ns_per_hop", "the same, pinned on two workers", true, {250'000, 12'000, 3'000}},
    {"fanin",
     "ns_per_message",
     "four processes send to one, whose mailbox of 1,024 slows them down",
     false,
     {5'000'000, 600'000, 1'600'000}},
    {"fanin-apart",
     "ns_per_message",
     "the same, senders on one worker, the receiver on another",
     true,
     {2'000'000, 400'000, 0}},
    {"spawn",
     "ns_per_spawn",
     "processes that end at once, started by one parent in batches of 1,000",
     false,
     {2'000'000, 100'000, 400'000}},
    {"call", "ns_per_call", "request and reply, limited to 5 s", false, {1'500'000, 80'000, 120'000}},
    {"call-apart", "ns_per_call", "the same, caller and server pinned on two workers", true, {120'000, 8'000, 2'500}},
};

}  // namespace

std::string_view to_string(Contender contender) noexcept {
  constexpr std::string_view kNames[kContenders] = {"erlking", "beam", "go"};
  return kNames[static_cast<std::size_t>(contender)];
}

std::span<const Workload> workloads() noexcept { return kWorkloads; }

const Workload* find_workload(std::string_view name) noexcept {
  for (const Workload& workload : kWorkloads) {
    if (workload.name == name) return &workload;
  }
  return nullptr;
}

std::vector<Case> cases_of(const Workload& workload, unsigned workers) {
  if (!workload.is_latency()) return {Case{&workload, workers}};
  std::vector<Case> cases;
  for (const bool busy : {false, true}) {
    for (const unsigned rate : kRates) cases.push_back({&workload, workers, rate, busy});
  }
  return cases;
}

std::uint64_t operations(const Case& which, Contender contender, double scale) noexcept {
  const std::uint64_t count = which.workload->counts[static_cast<std::size_t>(contender)];
  if (!which.workload->is_latency() && count == 0) return 0;
  const double n = which.workload->is_latency() ? which.rate * kLatencySeconds : static_cast<double>(count);
  return static_cast<std::uint64_t>(std::max(1.0, std::round(n * scale)));
}

std::string rate_text(unsigned rate) {
  if (rate % 1'000'000 == 0) return fmt::format("{}M", rate / 1'000'000);
  if (rate % 1'000 == 0) return fmt::format("{}k", rate / 1'000);
  return fmt::format("{}", rate);
}

std::string metric_name(const Case& which, std::string_view percentile) {
  if (!which.workload->is_latency()) return std::string(percentile);
  return fmt::format("{}@{}/{}", percentile, rate_text(which.rate), which.busy ? "busy" : "parked");
}

std::string title(const Case& which) {
  if (!which.workload->is_latency()) return std::string(which.workload->name);
  return fmt::format("{} {}/s {}", which.workload->name, rate_text(which.rate), which.busy ? "busy" : "parked");
}

std::vector<Figure> percentiles(const Case& which, std::vector<std::int64_t>& times) {
  std::sort(times.begin(), times.end());
  const auto at = [&](std::size_t per_mille) {
    return static_cast<double>(times[(times.size() * per_mille + 999) / 1000 - 1]);  // the peers' rule
  };
  std::vector<double> curve;
  for (std::size_t beyond = times.size();; beyond /= 2) {
    curve.push_back(static_cast<double>(times[std::max<std::size_t>(1, times.size() - beyond) - 1]));
    if (beyond == 0) break;
  }
  return {{metric_name(which, "p50"), at(500), std::move(curve)},
          {metric_name(which, "p99"), at(990)},
          {metric_name(which, "p99.9"), at(999)},
          {metric_name(which, "max"), static_cast<double>(times.back())}};
}

}  // namespace erlking::bench
