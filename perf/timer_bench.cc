// What does a timer cost its process? Started and cancelled at once (nearly every request's), for itself and for
// another; started on one worker and fired; alone and beside a million others. Compare with a message (switch, mailbox)
// and with the bare wheel (wheel_bench).
#include <erlking/erlking.h>

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <vector>

namespace erlking {
namespace {

using namespace std::chrono_literals;

struct Tick {
  std::uint64_t n = 0;
};

constexpr std::uint32_t kMany = 4'000'000;

// Runs `body` as a process on the one worker, beside `state.range(0)` timers of an hour and more.
template <class Body>
void run(benchmark::State& state, Body body) {
  Options options;
  options.workers = 1;
  Runtime rt(options);
  const auto others = static_cast<std::uint64_t>(state.range(0));
  static_cast<void>(rt.spawn_wait(forever, {.stack = 512 * 1024, .timers = kMany}, [&] {
    for (std::uint64_t i = 0; i < others; ++i) {
      if (!send_after(1h + std::chrono::microseconds(i * 977 % 3'000'000'000), self(), Tick{i})) {
        state.SkipWithError("a timer was refused");
        return;
      }
    }
    yield();
    body();
  }));
}

void start_and_cancel(benchmark::State& state) {
  run(state, [&] {
    for (auto _ : state) benchmark::DoNotOptimize(cancel_timer(*send_after(5s, self(), Tick{})));
  });
}
BENCHMARK(start_and_cancel)->Arg(0)->Arg(1'000'000)->UseRealTime();

void start_and_cancel_for_another(benchmark::State& state) {
  run(state, [&] {
    const Pid other = spawn([] { receive(forever, [](Tick) {}); });
    yield();
    for (auto _ : state) benchmark::DoNotOptimize(cancel_timer(*send_after(5s, other, Tick{})));
    exit(other, reason::kill);
  });
}
BENCHMARK(start_and_cancel_for_another)->Arg(0)->UseRealTime();

// As requests under way have them: a thousand, cancelled in the order of their start, long after it.
void start_and_cancel_a_thousand(benchmark::State& state) {
  run(state, [&] {
    std::vector<TimerRef> refs(1000);
    for (auto _ : state) {
      for (TimerRef& ref : refs) ref = *start_timer(5s, self(), Tick{});
      yield();
      for (TimerRef ref : refs) benchmark::DoNotOptimize(cancel_timer(ref));
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(refs.size()));
  });
}
BENCHMARK(start_and_cancel_a_thousand)->Arg(0)->Arg(1'000'000)->UseRealTime();

// A thousand that fire at once, and are received.
void start_and_fire(benchmark::State& state) {
  run(state, [&] {
    constexpr int count = 1000;
    for (auto _ : state) {
      for (int i = 0; i < count; ++i) benchmark::DoNotOptimize(send_after(0s, self(), Tick{}));
      for (int i = 0; i < count; ++i) receive(forever, [](Tick) {});
    }
    state.SetItemsProcessed(state.iterations() * count);
  });
}
BENCHMARK(start_and_fire)->Arg(0)->Arg(1'000'000)->UseRealTime();

}  // namespace
}  // namespace erlking

BENCHMARK_MAIN();
