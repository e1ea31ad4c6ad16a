// What Erlking's programs have in common. Each program is the work of one workload, run in a process of its own that
// times it; what it starts ends with it.
#pragma once

#include "tools/bench/workload.h"
#include <erlking/erlking.h>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace erlking::bench {

using namespace std::chrono_literals;

inline constexpr auto kLimit = 5s;      // armed on every wait, as a careful program would
inline constexpr auto kPatience = 60s;  // the same, where thousands must run first

// Sums up the time between start() and stop(), so that questions in between are not measured.
class Watch {
 public:
  void start() { since_ = Clock::now(); }
  void stop() { spent_ += Clock::now() - since_; }
  double ns_per(std::uint64_t n) const {
    return std::chrono::duration<double, std::nano>(spent_).count() / static_cast<double>(n);
  }

 private:
  Clock::time_point since_;
  Clock::duration spent_{};
};

// Which workers a natural run of few processes used: asked of them a few times, outside the measured time, while they
// are at it. (One that waits answers on the worker of who asks.)
class Seen {
 public:
  void look(std::initializer_list<Pid> processes) {
    for (const Pid pid : processes) {
      if (const auto info = process_info(pid, kLimit)) workers_ |= 1ull << std::min(info->worker, 63);
    }
  }
  std::string text() const {
    const int n = std::popcount(workers_);
    if (n == 0) return "natural";
    return n == 1 ? "natural: one worker" : n == 2 ? "natural: two workers" : fmt::format("natural: {} workers", n);
  }

 private:
  std::uint64_t workers_ = 0;
};

// Runs about a quarter of `n` at a time; `step(count)` is measured, the question after it is not.
template <class Step>
void in_quarters(std::uint64_t n, Watch& watch, Seen& seen, std::initializer_list<Pid> processes, Step step) {
  for (std::uint64_t done = 0; done < n;) {
    const std::uint64_t count = std::min(n / 4 + 1, n - done);
    watch.start();
    step(count);
    watch.stop();
    done += count;
    if (processes.size() != 0 && done < n) seen.look(processes);
  }
}

// Ends a process that takes it.
struct Stop {};

// The unit of computation all systems share: FNV-1 of the low bytes of a counter, kept to 31 bits.
std::uint32_t spin(std::uint32_t hash, std::uint64_t iterations) noexcept;
// How many iterations of it take that long here and now: by the quickest of some trials.
std::uint64_t iterations_in(Duration time) noexcept;

Outcome pingpong(std::uint64_t n, bool apart);
Outcome pingpong_plain(std::uint64_t n);
Outcome ring(std::uint64_t n, unsigned tokens);
Outcome fanin(std::uint64_t n, bool apart);
Outcome big(std::uint64_t n);
Outcome spawning(std::uint64_t n);
Outcome spawn_monitoring(std::uint64_t n);
Outcome fork_join(std::uint64_t n, unsigned depth);
Outcome fork_join_apart(std::uint64_t n, unsigned depth);
Outcome monitors(std::uint64_t n);
Outcome restarting(std::uint64_t n);
Outcome supervised_start(std::uint64_t n);
Outcome instances(std::uint64_t n);
Outcome group_joining(std::uint64_t n);
Outcome calling(std::uint64_t n, bool apart);
Outcome call_pairs(std::uint64_t n);
Outcome server_calling(std::uint64_t n);
Outcome selective(std::uint64_t n);
Outcome compute(std::uint64_t n, Duration time);
Outcome latency(const Case& which, std::uint64_t n);
Outcome behind(const Case& which, std::uint64_t n);
Outcome sleeping(const Case& which, std::uint64_t n, unsigned hogs);
Outcome timers(std::uint64_t n);
Outcome timer_accuracy(const Case& which, std::uint64_t n, Duration spread);

Outcome file_reading(std::uint64_t n, const std::string& path, std::uint64_t bytes, bool direct);

// Resident memory of this program, its page tables included.
double resident_bytes();
// What an idle run needs that outlives its runtime, and has its memory before that is measured.
struct IdleRun {
  explicit IdleRun(std::uint64_t n) : pids(n), bytes_before(resident_bytes()) {}
  std::vector<Pid> pids;
  std::atomic<std::uint64_t> left{0};
  double bytes_before;
};
// As many idle processes as `run` has room for, for `rest`.
Outcome idle(IdleRun& run, Duration rest);
// The same with handlers, which are then woken at random.
Outcome idle_handlers(IdleRun& run, Duration rest);
// The same with servers, each of whose starts is waited for.
Outcome idle_servers(IdleRun& run, Duration rest);

}  // namespace erlking::bench
