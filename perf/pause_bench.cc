// How long does a collection of the heap `boehm` stop everybody, by what is alive and by how many processes wait? Each
// time is one pause, as the collector tells it: a list of nodes of 64 bytes that all hold a pointer, as many MiB of
// them as the first number says, and as many processes that wait with a stack as the second.
#include <erlking/erlking.h>

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <optional>

namespace erlking {
namespace {

struct Node {
  Gc<Node> next;
  std::uint64_t rest[7] = {};
};
static_assert(sizeof(Node) == 64);

void pause_of(benchmark::State& state, const char* scheduler) {
  Options options;
  options.scheduler = scheduler;
  options.heap = "boehm";
  options.workers = 2;
  std::optional<Runtime> runtime;
  try {
    runtime.emplace(options);
  } catch (const std::exception& why) {  // it was built without libgc
    return state.SkipWithError(why.what());
  }
  static_cast<void>(runtime->spawn_wait(forever, {}, [&] {
    Gc<Node> all;
    for (std::int64_t i = 0; i < state.range(0) * (1 << 20) / 64; ++i) all = gc_new<Node>(all);
    for (std::int64_t i = 0; i < state.range(1); ++i) {
      spawn_link([] { receive(forever, [](Node) {}); });
    }
    sleep(std::chrono::milliseconds(200));  // so that all of them wait
    gc_collect();
    for (auto _ : state) {
      gc_collect();
      state.SetIterationTime(static_cast<double>(runtime->stats().heap.pause_last) / 1e9);
    }
    benchmark::DoNotOptimize(all);
    exit(reason::shutdown);  // with whom it is linked
  }));
}
BENCHMARK_CAPTURE(pause_of, steal, "steal")
    ->ArgNames({"MiB", "processes"})
    ->ArgsProduct({{0, 32, 128, 512}, {10, 1'000, 100'000}})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
// A thread for each process, which sleeps.
BENCHMARK_CAPTURE(pause_of, threads, "threads")
    ->ArgNames({"MiB", "processes"})
    ->ArgsProduct({{0}, {10, 100, 1'000}})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace erlking

BENCHMARK_MAIN();
