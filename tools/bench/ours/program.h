// What Erlking's programs have in common. Each program is the work of one workload, run in a process of its own that
// times it; what it starts ends with it.
#pragma once

#include "tools/bench/workload.h"
#include <erlking/erlking.h>

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace erlking::bench {

using namespace std::chrono_literals;

inline constexpr auto kLimit = 5s;  // armed on every wait, as a careful program would

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

// Which workers a natural run used: asked of its processes a few times, outside the measured time.
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

Outcome pingpong(std::uint64_t n, bool apart);
Outcome fanin(std::uint64_t n, bool apart);
Outcome spawning(std::uint64_t n);
Outcome calling(std::uint64_t n, bool apart);
Outcome latency(const Case& which, std::uint64_t n);

}  // namespace erlking::bench
