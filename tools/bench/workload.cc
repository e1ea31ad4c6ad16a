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
     Place::apart,
     {}},
    {"pingpong",
     "ns_per_hop",
     "two processes answer each other, wherever the scheduler puts them",
     Place::natural,
     {2'000'000, 200'000, 400'000}},
    {"pingpong-apart", "ns_per_hop", "the same, pinned on two workers", Place::apart, {250'000, 12'000, 3'000}},
    {"pingpong-plain",
     "ns_per_hop",
     "the same as pingpong, with messages that a collector is told it need not look at (gc_pointer_free)",
     Place::natural,
     {2'000'000, 0, 0}},
    {"ring-1", "ns_per_hop", "1,000 processes pass one token round", Place::natural, {2'000'000, 500'000, 800'000}},
    {"ring-100", "ns_per_hop", "the same, with 100 tokens", Place::natural, {10'000'000, 1'500'000, 4'000'000}},
    {"fanin",
     "ns_per_message",
     "four processes send to one, whose mailbox of 1,024 slows them down",
     Place::natural,
     {5'000'000, 600'000, 1'600'000}},
    {"fanin-apart",
     "ns_per_message",
     "the same, senders on one worker, the receiver on another",
     Place::apart,
     {2'000'000, 400'000, 0}},
    {"big",
     "ns_per_message",
     "120 processes ping one another at random and await each pong (Savina's big: 20,000 pings from each)",
     Place::natural,
     {4'800'000, 960'000, 1'200'000}},
    {"spawn",
     "ns_per_spawn",
     "processes that end at once, started by one parent in batches of 1,000",
     Place::natural,
     {2'000'000, 100'000, 400'000}},
    {"spawn-monitor",
     "ns_per_spawn",
     "the same, each watched, and its DOWN received",
     Place::natural,
     {1'000'000, 100'000, 300'000}},
    {"fork-join-1k",
     "ns_per_process",
     "trees of 1,023 processes: each starts two, awaits their results, reports to its parent",
     Place::natural,
     {511'500, 102'300, 409'200}},
    {"fork-join-64k", "ns_per_process", "the same, of 65,535", Place::natural, {327'675, 65'535, 196'605}},
    {"fork-join-apart",
     "ns_per_process",
     "such trees, of 511, on two workers at once, each held on its own: what one's births and deaths cost the other's",
     Place::apart,
     {1'022'000, 0, 0}},
    {"monitors",
     "ns_per_down",
     "a process with 100,000 monitors on it is stopped; their owner receives each DOWN",
     Place::natural,
     {500'000, 100'000, 0}},
    {"restart",
     "ns_per_restart",
     "a permanent child of a supervisor is killed, until its replacement is up",
     Place::natural,
     {50'000, 10'000, 0}},
    {"sup-start",
     "ns_per_child",
     "a supervisor is started with a list of 10,000 servers and ended, each child in turn",
     Place::natural,
     {100'000, 20'000, 0}},
    {"sup-simple-100k",
     "ns_per_child",
     "100,000 servers are started by start_child under simple_one_for_one, then their supervisor is ended",
     Place::natural,
     {100'000, 100'000, 0}},
    {"pg-join",
     "ns_per_join",
     "1,000 processes join a group, one call each, and leave it, the last first",
     Place::natural,
     {200'000, 40'000, 0}},
    {"call", "ns_per_call", "request and reply, limited to 5 s", Place::natural, {1'500'000, 80'000, 120'000}},
    {"call-apart",
     "ns_per_call",
     "the same, caller and server pinned on two workers",
     Place::apart,
     {120'000, 8'000, 2'500}},
    {"call-50", "ns_per_call", "50 callers at once, each with a server", Place::natural, {2'000'000, 100'000, 200'000}},
    {"server-call",
     "ns_per_call",
     "a call to a Server, a class with a list of what it takes; limited to 5 s",
     Place::natural,
     {1'000'000, 80'000, 120'000}},
    {"selective",
     "ns_per_call",
     "a call by a process with 10,000 messages in its mailbox that nobody takes",
     Place::natural,
     {1'500'000, 80'000, 0}},
    {"compute-1us",
     "ns_per_message",
     "16 workers handle requests of one dispatcher, each of which costs 1 µs of computation",
     Place::natural,
     {150'000, 100'000, 100'000}},
    {"compute-5us", "ns_per_message", "the same, 5 µs", Place::natural, {30'000, 30'000, 30'000}},
    {"compute-100us", "ns_per_message", "the same, 100 µs", Place::natural, {2'000, 2'000, 2'000}},
    {"behind",
     "",
     "a process handles messages of 100 µs without a pause, and sends to another before each: how late that comes",
     Place::two,
     {1'500, 1'500, 1'500}},
    {"sleepers",
     "",
     "100 processes sleep 10 ms again and again: how late each wakes",
     Place::two,
     {10'000, 10'000, 10'000}},
    {"hogs",
     "",
     "the same, beside two that compute on for a second without a safe point, again and again",
     Place::two,
     {10'000, 10'000, 10'000}},
    {"timers", "ns_per_timer", "a timer of 5 s started and cancelled", Place::natural, {4'000'000, 400'000, 1'000'000}},
    {"timer-accuracy",
     "",
     "10,000 timers of 10 ms armed at once: how late they fire",
     Place::natural,
     {10'000, 10'000, 10'000}},
    {"timer-accuracy-spread",
     "",
     "the same, armed one after the other over 10 ms",
     Place::natural,
     {10'000, 10'000, 10'000}},
    {"tcp-echo",
     "",
     "an echo server with 100 connections, each with a request of 64 bytes under way, made by a load that polls "
     "without "
     "a pause; with one worker the server has a core and the load another, with more they share both",
     Place::natural,
     {80'000, 80'000, 80'000}},
    {"file-read",
     "ns_per_read",
     "128 processes read 4 KiB at a time, at random, of a file of 64 MiB that the system has in memory",
     Place::natural,
     {400'000, 0, 0}},
    {"file-read-direct", "ns_per_read", "the same, past the system's memory", Place::natural, {10'000, 0, 0}},
    {"kv",
     "",
     "examples/kv, a store for Redis' clients, which redis-benchmark asks over 50 connections, with a request under "
     "way "
     "on each, beside redis-server",
     Place::natural,
     {60'000, 0, 0}},
    {"kv-16", "", "the same, with 16 requests under way on each", Place::natural, {600'000, 0, 0}},
    {"kv-always",
     "",
     "as kv, with a log in the folder for temporary files that is synced before a write is answered",
     Place::natural,
     {30'000, 0, 0}},
    {"idle",
     "",
     "1,000,000 processes that wait for ever: memory and time of each, and what CPU they use in 5 s; needs 5 GB",
     Place::natural,
     {1'000'000, 1'000'000, 1'000'000},
     true},
    {"idle-handlers",
     "",
     "1,000,000 handlers, processes without a stack of their own: the same, and what it takes to wake one at random",
     Place::natural,
     {1'000'000, 0, 0},
     true},
    {"idle-servers",
     "",
     "1,000,000 servers with a state of 40 bytes, each start waited for: memory, time and CPU as of idle",
     Place::natural,
     {1'000'000, 1'000'000, 0},
     true},
    {"idle-connections",
     "",
     "an echo server holds 10,000 connections, each after its first request: memory of each, less what the kernel "
     "keeps, "
     "and what CPU they use while they rest",
     Place::natural,
     {10'000, 10'000, 10'000},
     true},
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

std::chrono::nanoseconds rest_of(std::uint64_t n) noexcept {
  return std::chrono::milliseconds(std::clamp<std::uint64_t>(n / 200, 50, 5'000));
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

Unit unit_of(std::string_view metric) noexcept {
  if (metric.starts_with("bytes_")) return Unit::bytes;
  return metric.starts_with("percent_") ? Unit::percent : Unit::ns;
}

std::string_view to_string(Unit unit) noexcept {
  constexpr std::string_view kNames[] = {"ns", "bytes", "percent"};
  return kNames[static_cast<std::size_t>(unit)];
}

std::string title(const Case& which) {
  if (!which.workload->is_latency()) return std::string(which.workload->name);
  return fmt::format("{} {}/s {}", which.workload->name, rate_text(which.rate), which.busy ? "busy" : "parked");
}

double percentile(const std::vector<std::int64_t>& times, std::size_t per_mille) noexcept {
  return static_cast<double>(times[(times.size() * per_mille + 999) / 1000 - 1]);  // the peers' rule
}

std::vector<Figure> percentiles(const Case& which, std::vector<std::int64_t>& times) {
  std::sort(times.begin(), times.end());
  std::vector<double> curve;
  for (std::size_t beyond = times.size();; beyond /= 2) {
    curve.push_back(static_cast<double>(times[std::max<std::size_t>(1, times.size() - beyond) - 1]));
    if (beyond == 0) break;
  }
  return {{metric_name(which, "p50"), percentile(times, 500), std::move(curve)},
          {metric_name(which, "p99"), percentile(times, 990)},
          {metric_name(which, "p99.9"), percentile(times, 999)},
          {metric_name(which, "max"), static_cast<double>(times.back())}};
}

}  // namespace erlking::bench
