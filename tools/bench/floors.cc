#include "tools/bench/floors.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "gc/gc.h"
#include "sched/sched.h"
#include "tools/bench/samples.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <linux/futex.h>
#include <memory>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <thread>
#include <time.h>
#include <unistd.h>

namespace erlking::bench {

namespace {

using base::monotonic_now;
using base::Nanos;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

struct alignas(128) Line {
  std::atomic<std::uint32_t> word{0};
};

double per(Nanos spent, std::uint64_t n) { return static_cast<double>(spent) / static_cast<double>(n); }

std::uint64_t times(double n, double scale) { return static_cast<std::uint64_t>(std::max(16.0, n * scale)); }

// Runs `f` on a thread pinned to `cpu`.
template <class F>
std::jthread on(int cpu, F f) {
  return std::jthread([cpu, f = std::move(f)]() mutable {
    sched::pin_thread(cpu);
    f();
  });
}

// Two threads count one word up in turns.
double hand_over(int here, int there, std::uint64_t n) {
  Line line;
  Nanos spent = 0;
  const auto count = [&line, n](std::uint32_t parity) {
    for (std::uint32_t k = parity; k < 2 * n; k += 2) {
      while (line.word.load(std::memory_order_acquire) != k) {
      }
      line.word.store(k + 1, std::memory_order_release);
    }
  };
  {
    const auto other = on(there, [&] { count(1); });
    const auto mine = on(here, [&] {
      while (line.word.load(std::memory_order_relaxed) != 0) {
      }
      const Nanos t0 = monotonic_now();
      count(0);
      spent = monotonic_now() - t0;
    });
  }
  return per(spent, 2 * n);
}

double compare_exchange(std::uint64_t n) {
  Line line;
  const Nanos t0 = monotonic_now();
  for (std::uint64_t k = 0; k < n; ++k) {
    std::uint32_t seen = line.word.load(std::memory_order_relaxed);
    line.word.compare_exchange_strong(seen, seen + 1, std::memory_order_seq_cst);
  }
  return per(monotonic_now() - t0, n);
}

struct Stacks {
  std::atomic<void*> outer{nullptr}, inner{nullptr};
};

void bounce(void* argument) {
  auto& stacks = *static_cast<Stacks*>(argument);
  for (;;) sched::switch_stack(&stacks.inner, stacks.outer.load(std::memory_order_relaxed), nullptr);
}

double stack_switch(std::uint64_t n) {
  constexpr std::size_t kBytes = 64 * 1024;
  const auto memory = std::make_unique<std::byte[]>(kBytes);
  auto* const top =
      reinterpret_cast<std::byte*>((reinterpret_cast<std::uintptr_t>(memory.get()) + kBytes) & ~std::uintptr_t{63});
  Stacks stacks;
  stacks.inner.store(sched::prepare_stack(top, &bounce), std::memory_order_relaxed);
  const Nanos t0 = monotonic_now();
  for (std::uint64_t k = 0; k < n; ++k) {
    sched::switch_stack(&stacks.outer, stacks.inner.load(std::memory_order_relaxed), &stacks);
  }
  return per(monotonic_now() - t0, 2 * n);
}

double block_pair(std::uint64_t n) {
  const auto collector = gc::make_collector("owned");
  if (!collector) return kNone;
  gc::Local local(**collector);
  constexpr unsigned cls = gc::size_class(64);
  const Nanos t0 = monotonic_now();
  for (std::uint64_t k = 0; k < n; ++k) {
    void* const block = local.allocate(cls);
    if (block == nullptr) return kNone;
    *static_cast<volatile std::uint64_t*>(block) = k;
    local.free(block, cls);
  }
  return per(monotonic_now() - t0, n);
}

long futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value) {
  return ::syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0);
}

struct Late {
  double p50 = kNone, p99 = kNone;
};

Late late_by(std::vector<std::int64_t>& times) {
  std::sort(times.begin(), times.end());
  const auto at = [&](std::size_t per_mille) {
    return static_cast<double>(times[(times.size() * per_mille + 999) / 1000 - 1]);
  };
  return {at(500), at(990)};
}

// A few threads sleep 10 ms n times each, out of step, so that they seldom wake together.
Late clock_sleep(std::uint64_t n) {
  constexpr std::size_t kThreads = 16;
  constexpr Nanos kLong = 10'000'000;
  std::vector<std::int64_t> late(kThreads * n);
  {
    std::vector<std::jthread> sleepers;
    for (std::size_t i = 0; i < kThreads; ++i) {
      sleepers.emplace_back([&late, n, i] {
        const auto sleep_until = [](Nanos t) {
          const timespec at{t / 1'000'000'000, t % 1'000'000'000};
          ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
        };
        sleep_until(monotonic_now() + static_cast<Nanos>(i) * kLong / static_cast<Nanos>(kThreads));
        for (std::size_t k = 0; k < n; ++k) {
          const Nanos due = monotonic_now() + kLong;
          sleep_until(due);
          late[i * n + k] = monotonic_now() - due;
        }
      });
    }
  }
  return late_by(late);
}

struct Memory {
  double touch = kNone, miss = kNone;
};

// Fresh memory in pages of 4 KiB; then each of about `n` places in it names the next: read in an order that no
// prefetcher guesses, none before the one that names it: that of a generator of full period (Hull and Dobell).
Memory fresh_memory(std::uint64_t n) {
  constexpr std::size_t kApart = 256, kPage = 4096;
  const std::size_t places = std::bit_ceil(n), size = places * kApart;
  void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return {};
  static_cast<void>(::madvise(memory, size, MADV_NOHUGEPAGE));
  auto* const bytes = static_cast<std::byte*>(memory);
  const auto place = [bytes](std::size_t i) { return reinterpret_cast<volatile std::size_t*>(bytes + i * kApart); };
  Memory result;
  const Nanos t0 = monotonic_now();
  for (std::size_t at = 0; at < size; at += kPage) bytes[at] = std::byte{1};
  result.touch = per(monotonic_now() - t0, size / kPage);
  for (std::size_t i = 0; i < places; ++i) *place(i) = (i * 1'664'525 + 1'013'904'223) % places;
  std::size_t at = 0;
  const Nanos t1 = monotonic_now();
  for (std::size_t k = 0; k < places; ++k) at = *place(at);
  result.miss = per(monotonic_now() - t1, places);
  ::munmap(memory, size);
  return result;
}

// What it takes to have a store of this thread and a load of one that computes on `there` ordered.
double membarrier(int here, int there, std::uint64_t n) {
  if (!base::heavy_fence_is_asymmetric()) return kNone;
  std::vector<std::int64_t> times(n);
  std::atomic<bool> done{false};
  {
    const auto computing = on(there, [&] {
      while (!done.load(std::memory_order_relaxed)) {
      }
    });
    const auto mine = on(here, [&] {
      for (std::int64_t& time : times) {
        const Nanos t0 = monotonic_now();
        base::heavy_fence();
        time = monotonic_now() - t0;
      }
      done.store(true, std::memory_order_relaxed);
    });
  }
  return late_by(times).p50;
}

// As the latency workload does it: the waker keeps to a timetable, the sleeper notes how late it is.
Late futex_wake(int here, int there, Nanos gap, std::uint64_t n) {
  Line line;
  std::vector<std::int64_t> late(n);
  std::atomic<Nanos> due{0};
  {
    const auto sleeper = on(there, [&] {
      for (std::uint32_t k = 0; k < n; ++k) {
        while (line.word.load(std::memory_order_acquire) == k) futex(line.word, FUTEX_WAIT, k);
        late[k] = monotonic_now() - due.load(std::memory_order_relaxed);  // relaxed: the word publishes it
      }
    });
    const auto waker = on(here, [&] {
      const Nanos first = monotonic_now() + 2'000'000;
      for (std::uint32_t k = 0; k < n; ++k) {
        const Nanos at = first + gap * k;
        while (monotonic_now() < at) {
        }
        due.store(at, std::memory_order_relaxed);
        line.word.store(k + 1, std::memory_order_release);
        futex(line.word, FUTEX_WAKE, 1);
      }
    });
  }
  return late_by(late);
}

}  // namespace

std::string_view describe(Floor floor) noexcept {
  switch (floor) {
    case Floor::line:
      return "cache line handed over, one way";
    case Floor::cas:
      return "compare-exchange, uncontended";
    case Floor::change:
      return "stack switch";
    case Floor::block:
      return "64-byte block, allocated and freed";
    case Floor::sum:
      return "sum: switch + block + 2 compare-exchanges";
    case Floor::futex_1k:
      return "futex wake, 1k/s, p50";
    case Floor::futex_1k_p99:
      return "futex wake, 1k/s, p99";
    case Floor::futex_10k:
      return "futex wake, 10k/s, p50";
    case Floor::futex_10k_p99:
      return "futex wake, 10k/s, p99";
    case Floor::sleep:
      return "clock_nanosleep of 10 ms, late by, p50";
    case Floor::sleep_p99:
      return "clock_nanosleep of 10 ms, late by, p99";
    case Floor::echo_apart:
      return "bare epoll echo, a core each for server and load, a request";
    case Floor::echo_apart_p99:
      return "bare epoll echo, a core each, answered after, p99";
    case Floor::echo_together:
      return "bare epoll echo, on the load's cores, a request";
    case Floor::echo_together_p99:
      return "bare epoll echo, on the load's cores, answered after, p99";
    case Floor::fio_read:
      return "fio, io_uring, a random read of 4 KiB from memory, depth 128";
    case Floor::touch:
      return "first write to a page of 4 KiB";
    case Floor::miss:
      return "random read among 256 bytes per idle process, each after the last";
    case Floor::barrier:
      return "membarrier while another CPU computes, p50";
  }
  return "";
}

FloorFigures measure_floors(double scale, FloorsWanted wanted) {
  FloorFigures figures;
  figures.fill(kNone);
  const auto set = [&](Floor floor, double ns) { figures[static_cast<std::size_t>(floor)] = ns; };
  const std::vector<int> cpus = sched::allowed_cpus();
  const int here = cpus.empty() ? 0 : cpus[0];
  {
    const auto alone = on(here, [&] {
      const double cas = compare_exchange(times(2e6, scale));
      const double change = stack_switch(times(5e6, scale));
      const double block = block_pair(times(5e6, scale));
      set(Floor::cas, cas);
      set(Floor::change, change);
      set(Floor::block, block);
      set(Floor::sum, change + block + 2 * cas);
    });
  }
  if (wanted.sleep) {
    const Late late = clock_sleep(times(32, scale));
    set(Floor::sleep, late.p50);
    set(Floor::sleep_p99, late.p99);
  }
  if (wanted.memory) {
    const auto alone = on(here, [&] {
      const Memory memory = fresh_memory(times(1e6, scale));
      set(Floor::touch, memory.touch);
      set(Floor::miss, memory.miss);
    });
  }
  if (cpus.size() < 2 || sched::usable_cpus() < 2) return figures;
  if (wanted.barrier) set(Floor::barrier, membarrier(here, cpus[1], times(1'000, scale)));
  set(Floor::line, hand_over(here, cpus[1], times(150e3, scale)));
  if (!wanted.futex) return figures;
  const Late slow = futex_wake(here, cpus[1], 1'000'000, times(200, scale));
  const Late fast = futex_wake(here, cpus[1], 100'000, times(1'000, scale));
  set(Floor::futex_1k, slow.p50);
  set(Floor::futex_1k_p99, slow.p99);
  set(Floor::futex_10k, fast.p50);
  set(Floor::futex_10k_p99, fast.p99);
  return figures;
}

FloorFigures medians(const std::vector<FloorFigures>& rounds) {
  FloorFigures result;
  for (std::size_t i = 0; i < kFloors; ++i) {
    std::vector<double> values;
    for (const FloorFigures& round : rounds) {
      if (!std::isnan(round[i])) values.push_back(round[i]);
    }
    result[i] = values.empty() ? kNone : summarise(values).median;
  }
  return result;
}

}  // namespace erlking::bench
