// Programs whose processes live and end.
#include "tools/bench/ours/program.h"

#include <atomic>

namespace erlking::bench {

namespace {

constexpr unsigned kSpawnBatch = 1'000;

struct BatchRan {};

}  // namespace

// As the peers do it: each child counts itself on one atomic, and who completes the batch sends the one message.
Outcome spawning(std::uint64_t n) {
  std::atomic<std::uint64_t> left{0};
  const Pid me = self();
  Watch watch;
  watch.start();
  for (std::uint64_t done = 0; done < n;) {
    const std::uint64_t batch = std::min<std::uint64_t>(kSpawnBatch, n - done);
    left.store(batch, std::memory_order_relaxed);
    for (std::uint64_t k = 0; k < batch; ++k) {
      spawn([me, left = &left] {
        if (left->fetch_sub(1, std::memory_order_acq_rel) == 1) send(me, BatchRan{});
      });
    }
    receive(kLimit, [](BatchRan) {});
    done += batch;
  }
  watch.stop();
  return {{{"ns_per_spawn", watch.ns_per(n)}}, "natural"};
}

}  // namespace erlking::bench
