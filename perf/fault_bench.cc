// What does it take to let a process die of a fault and to have its successor run? A null dereference, an overflow of a
// stack of 64 KiB, and, to compare with, an exit; each from the spawn to the Down, with an empty body as the floor.
#include <erlking/erlking.h>

#include <benchmark/benchmark.h>

#include <cstdint>

namespace erlking {
namespace {

[[gnu::noinline]] void read_null() {
  std::uintptr_t at = 0;
  asm volatile("" : "+r"(at));
  static_cast<void>(*reinterpret_cast<volatile int*>(at));
}

[[gnu::noinline]] int descend(int depth) {
  volatile char frame[500];
  frame[depth % 500] = static_cast<char>(depth);
  return depth == 0 ? 0 : descend(depth - 1) + frame[depth % 500];
}

// One life after the other, on one worker; reports off, as they are limited anyway.
template <class Body>
void lives(benchmark::State& state, Body body) {
  Options options;
  options.workers = 1;
  options.report_hook = [](const erlking::Report&) {};
  Runtime runtime(options);
  static_cast<void>(runtime.spawn_wait(forever, {}, [&] {
    for (auto _ : state) {
      const Monitored made = spawn_monitor(body);
      receive(forever, [&](const Down& down) { benchmark::DoNotOptimize(down.ref == made.ref); });
    }
  }));
  state.counters["faults"] = static_cast<double>(runtime.stats().faults);
}

void ends(benchmark::State& state) {
  lives(state, [] {});
}
BENCHMARK(ends)->UseRealTime();

void exits(benchmark::State& state) {
  lives(state, [] { exit(Reason("broken")); });
}
BENCHMARK(exits)->UseRealTime();

void reads_null(benchmark::State& state) { lives(state, &read_null); }
BENCHMARK(reads_null)->UseRealTime();

void overflows(benchmark::State& state) {
  lives(state, [] { descend(1'000'000); });
}
BENCHMARK(overflows)->UseRealTime();

}  // namespace
}  // namespace erlking

BENCHMARK_MAIN();
