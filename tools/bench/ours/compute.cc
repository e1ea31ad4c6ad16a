// Programs that compute.
#include "tools/bench/ours/program.h"

#include <array>
#include <limits>

namespace erlking::bench {

namespace {

constexpr unsigned kWorkers = 16, kQueued = 8;  // requests in a worker's mailbox, at most

struct Work {
  Pid from;
  std::uint32_t seed;
};
struct Worked {
  Pid by;
  std::uint32_t hash;
};

}  // namespace

std::uint32_t spin(std::uint32_t hash, std::uint64_t iterations) noexcept {
  for (std::uint64_t k = iterations; k > 0; --k) {
    hash = ((hash ^ static_cast<std::uint32_t>(k & 255)) * 16777619u) & 0x7fffffff;
  }
  return hash;
}

std::uint64_t iterations_in(Duration time) noexcept {
  constexpr std::uint64_t kTrial = 20'000;
  auto best = Clock::duration::max();
  for (std::uint32_t k = 0; k < 40; ++k) {
    const auto before = Clock::now();
    volatile std::uint32_t hash = spin(k, kTrial);  // may not be left out
    (void)hash;
    best = std::min(best, Clock::now() - before);
  }
  const double iterations = static_cast<double>(time.count()) * kTrial / static_cast<double>(best.count());
  return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(iterations));
}

// Whoever answers gets the next request.
Outcome compute(std::uint64_t n, Duration time) {
  std::array<Pid, kWorkers> workers;
  for (Pid& worker : workers) {
    worker = spawn_link([iterations = iterations_in(time)] {
      for (bool on = true; on;) {
        receive(
            kLimit,
            [&](Work work) {
              send(work.from, Worked{self(), spin(work.seed, iterations)});
            },
            [&](Stop) { on = false; });
      }
    });
  }
  Watch watch;
  watch.start();
  std::uint64_t sent = 0;
  for (; sent < n && sent < kWorkers * kQueued; ++sent) send(workers[sent % kWorkers], Work{self(), 0});
  for (std::uint64_t k = 0; k < n; ++k) {
    const Worked answer = receive(kLimit, [](Worked worked) { return worked; });
    if (sent < n) {
      send(answer.by, Work{self(), answer.hash});
      ++sent;
    }
  }
  watch.stop();
  for (const Pid worker : workers) send(worker, Stop{});
  return {{{"ns_per_message", watch.ns_per(n)}}, "natural"};
}

}  // namespace erlking::bench
