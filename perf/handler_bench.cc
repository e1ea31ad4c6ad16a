// What do a million handlers cost: to make, to keep, to wake in order and at random?
#include <erlking/erlking.h>

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

namespace erlking {
namespace {

using namespace std::chrono_literals;

struct Poke {};
struct Count {
  std::uint64_t* pokes;
  void handle(Message message) {
    match(message, [&](Poke) { ++*pokes; });
  }
};

// Resident memory and page tables of the program, bytes.
double memory_held() {
  double bytes = 0;
  if (std::FILE* const file = std::fopen("/proc/self/status", "re")) {
    char line[256];
    while (std::fgets(line, sizeof line, file) != nullptr) {
      long kib = 0;
      if (std::sscanf(line, "VmRSS: %ld", &kib) == 1 || std::sscanf(line, "VmPTE: %ld", &kib) == 1) {
        bytes += 1024.0 * static_cast<double>(kib);
      }
    }
    std::fclose(file);
  }
  return bytes;
}

// Runs `body` as the one process of a runtime with one worker.
template <class Body>
void in_process(std::uint32_t processes, Body body) {
  Options options;
  options.workers = 1;
  options.max_processes = processes + 10;
  Runtime runtime(options);
  static_cast<void>(runtime.spawn_wait(forever, {.stack = 512 * 1024}, body));
}

constexpr std::uint32_t kMany = 1'000'000;

void handlers_made(benchmark::State& state) {
  double bytes = 0;
  for (auto _ : state) {
    in_process(kMany, [&] {
      std::uint64_t pokes = 0;
      const double before = memory_held();
      const auto began = std::chrono::steady_clock::now();
      for (std::uint32_t i = 0; i < kMany; ++i) spawn_handler(Count{&pokes});
      state.SetIterationTime(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
      bytes = (memory_held() - before) / kMany;
    });
  }
  state.counters["bytes"] = bytes;
}
BENCHMARK(handlers_made)->UseManualTime()->Iterations(3)->Unit(benchmark::kMillisecond);

void handlers_woken(benchmark::State& state) {
  const auto many = static_cast<std::uint32_t>(state.range(0));
  const bool at_random = state.range(1) != 0;
  in_process(many, [&] {
    std::uint64_t pokes = 0, sent = 0, seed = 1;
    std::vector<Pid> pids;
    pids.reserve(many);
    for (std::uint32_t i = 0; i < many; ++i) pids.push_back(spawn_handler(Count{&pokes}));
    for (auto _ : state) {
      for (int i = 0; i < 64; ++i) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const std::uint64_t which = at_random ? (seed >> 33) % many : sent % many;
        send(pids[which], Poke{});
        ++sent;
      }
      while (pokes != sent) yield();
    }
  });
  state.SetItemsProcessed(64 * static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(handlers_woken)->Args({1, 0})->Args({1'000, 0})->Args({1'000, 1})->Args({1'000'000, 0})->Args({1'000'000, 1});

}  // namespace
}  // namespace erlking

BENCHMARK_MAIN();
