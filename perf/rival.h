// A second thread that does one thing over and over while a benchmark measures the first, both held on CPUs of their
// own. With one CPU they share it, and the figures tell the kernel's time slices.
#pragma once

#include "sched/cpus.h"

#include <atomic>
#include <sched.h>
#include <thread>
#include <utility>

namespace erlking::perf {

class Rival {
 public:
  /// Calls `turn()` until the end of this object.
  template <class Turn>
  explicit Rival(Turn turn) {
    sched_getaffinity(0, sizeof before_, &before_);
    const auto cpus = sched::allowed_cpus();
    if (cpus.size() > 1) sched::pin_thread(cpus[0]);
    thread_ = std::thread([this, cpus, turn = std::move(turn)]() mutable {
      if (cpus.size() > 1) sched::pin_thread(cpus[1]);
      running_.store(true);
      while (!stop_.load(std::memory_order_relaxed)) turn();
    });
    while (!running_.load()) __builtin_ia32_pause();
  }
  ~Rival() {
    stop_.store(true);
    thread_.join();
    sched_setaffinity(0, sizeof before_, &before_);
  }
  Rival(const Rival&) = delete;
  Rival& operator=(const Rival&) = delete;

 private:
  alignas(64) std::atomic<bool> stop_{false};
  std::atomic<bool> running_{false};
  cpu_set_t before_;
  std::thread thread_;
};

}  // namespace erlking::perf
