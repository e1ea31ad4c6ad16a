// What does a timeout cost? Arming and cancelling it at once (nearly every timed receive), the same beside a million
// others, an idle advance(), and one that expires. Divide by the time of a hop to see the share.
#include "base/clock.h"
#include "base/random.h"
#include "sched/timer_wheel.h"

#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace erlking::sched {
namespace {

constexpr Nanos kSecond = 1'000'000'000;
constexpr Nanos kStart = 1'000 * kSecond;

auto done = [](TimerNode&) { return Fired::done; };

// `receive` with a timeout and a message that comes in time.
void arm_after_cancel(benchmark::State& state) {
  TimerWheel wheel(kStart);
  TimerNode node;
  for (auto _ : state) {
    wheel.arm_after(node, 5 * kSecond);
    benchmark::DoNotOptimize(node);
    wheel.cancel(node);
  }
}
BENCHMARK(arm_after_cancel);

// Between two locked operations, as in a hop: without (0) and with (1) the timeout; the difference is its cost there,
// where it does not wait for itself.
void hop_without_and_with_timeout(benchmark::State& state) {
  TimerWheel wheel(kStart);
  TimerNode node;
  std::atomic<std::uint64_t> word{0};
  const bool timed = state.range(0) != 0;
  for (auto _ : state) {
    if (timed) wheel.arm_after(node, 5 * kSecond);
    word.fetch_add(1);
    benchmark::DoNotOptimize(node);
    if (timed) wheel.cancel(node);
    word.fetch_add(1);
  }
}
BENCHMARK(hop_without_and_with_timeout)->Arg(0)->Arg(1);

// As arm_after_cancel, with other processes' timeouts in the list, and an advance() every 61 dispatches as the worker
// does.
void arm_after_cancel_rotating(benchmark::State& state) {
  TimerWheel wheel(kStart);
  const auto nodes = std::make_unique<TimerNode[]>(64);
  Nanos now = kStart;
  unsigned at = 0;
  for (auto _ : state) {
    TimerNode& node = nodes[at++ % 64];
    wheel.cancel(node);
    wheel.arm_after(node, 5 * kSecond);
    if (at % 61 == 0) wheel.advance(now += 2'000, done);
  }
}
BENCHMARK(arm_after_cancel_rotating);

void arm_at_cancel(benchmark::State& state) {
  TimerWheel wheel(kStart);
  TimerNode node;
  Nanos instant = kStart + 5 * kSecond;
  for (auto _ : state) {
    wheel.arm_at(node, instant);
    benchmark::DoNotOptimize(node);
    wheel.cancel(node);
    instant += 10;
  }
}
BENCHMARK(arm_at_cancel);

// Starts a million timers of 1 ms … 1 h, then cancels all in another order: per timer, cache misses included.
void million_armed_and_cancelled(benchmark::State& state) {
  constexpr std::size_t count = 1'000'000;
  const auto nodes = std::make_unique<TimerNode[]>(count);
  std::vector<std::uint32_t> order(count);
  std::vector<Nanos> durations(count);
  base::Random random(1);
  for (std::size_t i = 0; i < count; ++i) {
    order[i] = static_cast<std::uint32_t>(i);
    durations[i] = 1'000'000 + static_cast<Nanos>(random.below(3600 * kSecond));
  }
  for (std::size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  Nanos now = kStart;
  TimerWheel wheel(now);
  base::Nanos started = 0, anchored = 0, cancelled = 0;
  for (auto _ : state) {
    const Nanos t0 = base::monotonic_now();
    for (std::size_t i = 0; i < count; ++i) wheel.arm_after(nodes[i], durations[i]);
    const Nanos t1 = base::monotonic_now();
    wheel.advance(now += 1'000, done);
    const Nanos t2 = base::monotonic_now();
    for (const std::uint32_t i : order) wheel.cancel(nodes[i]);
    const Nanos t3 = base::monotonic_now();
    started += t1 - t0, anchored += t2 - t1, cancelled += t3 - t2;
  }
  const double n = static_cast<double>(count) * static_cast<double>(state.iterations());
  state.SetItemsProcessed(static_cast<std::int64_t>(n));
  state.counters["start_ns"] = static_cast<double>(started) / n;
  state.counters["anchor_ns"] = static_cast<double>(anchored) / n;
  state.counters["cancel_ns"] = static_cast<double>(cancelled) / n;
}
BENCHMARK(million_armed_and_cancelled)->Unit(benchmark::kMillisecond);

// One timer started and cancelled while a million others are armed.
void arm_at_cancel_beside_a_million(benchmark::State& state) {
  constexpr std::size_t count = 1'000'000;
  const auto nodes = std::make_unique<TimerNode[]>(count);
  base::Random random(1);
  TimerWheel wheel(kStart);
  for (std::size_t i = 0; i < count; ++i) {
    wheel.arm_at(nodes[i], kStart + kSecond + static_cast<Nanos>(random.below(3600 * kSecond)));
  }
  TimerNode node;
  Nanos instant = kStart + 5 * kSecond;
  for (auto _ : state) {
    wheel.arm_at(node, instant);
    benchmark::DoNotOptimize(node);
    wheel.cancel(node);
    instant += 10;
  }
  wheel.clear();
}
BENCHMARK(arm_at_cancel_beside_a_million);

// Nothing due: what a worker pays per look.
void advance_idle(benchmark::State& state) {
  TimerWheel wheel(kStart);
  TimerNode node;
  wheel.arm_at(node, kForever);
  Nanos now = kStart;
  for (auto _ : state) {
    now += 10'000;
    benchmark::DoNotOptimize(wheel.advance(now, done));
  }
}
BENCHMARK(advance_idle);

// Arg timers within a second expire, looked at every 100 µs: per timer, arming (arm_at) and all cascades included.
void expire(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  const auto nodes = std::make_unique<TimerNode[]>(count);
  std::vector<Nanos> durations(count);
  base::Random random(2);
  for (Nanos& d : durations) d = static_cast<Nanos>(random.below(kSecond));
  Nanos now = kStart;
  TimerWheel wheel(now);
  std::size_t fired = 0;
  for (auto _ : state) {
    for (std::size_t i = 0; i < count; ++i) wheel.arm_at(nodes[i], now + durations[i]);
    const Nanos end = now + kSecond + TimerWheel::kTick;
    while (now < end) {
      now += 100'000;
      fired += wheel.advance(now, done);
    }
  }
  if (fired != count * static_cast<std::size_t>(state.iterations())) state.SkipWithError("lost a timer");
  state.counters["per_timer"] =
      benchmark::Counter(static_cast<double>(fired), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(expire)->Arg(1'000)->Arg(100'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace erlking::sched

BENCHMARK_MAIN();
