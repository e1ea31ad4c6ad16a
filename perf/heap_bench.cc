// What does a 64-byte message cost the heap? On one thread, and allocated here but freed on another core; against
// malloc. And what does a stack cost, warm and fresh?
//   local pair     allocate + free, one thread, in bursts of 1 (the same block again) or of the size given
//   crossing       one producer and one consumer joined by a ring of 1,024, per block; `empty` is the ring alone
#include "gc/gc.h"
#include "sched/stack.h"

#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <sched.h>
#include <thread>
#include <vector>

namespace {

using erlking::gc::Local;

std::unique_ptr<erlking::gc::Collector> owned() { return erlking::gc::make_collector("owned").value(); }

struct Owned {
  explicit Owned(erlking::gc::Collector& heap) : local(heap) {}
  void* allocate() { return local.allocate(0); }
  void free(void* block) { local.free(block, 0); }
  Local local;
};
struct Malloc {
  explicit Malloc(erlking::gc::Collector&) {}
  void* allocate() { return std::malloc(64); }
  void free(void* block) { std::free(block); }
};
struct Empty {
  explicit Empty(erlking::gc::Collector&) {}
  void* allocate() { return block; }
  void free(void*) {}
  alignas(64) std::byte block[64] = {};
};

template <class Heap>
void local_pair(benchmark::State& state) {
  const auto heap = owned();
  Heap mine(*heap);
  const auto burst = static_cast<std::size_t>(state.range(0));
  std::vector<void*> blocks(burst);
  for (auto _ : state) {
    for (void*& block : blocks) {
      block = mine.allocate();
      benchmark::DoNotOptimize(block);
    }
    for (void* block : blocks) mine.free(block);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(burst) * static_cast<std::int64_t>(state.iterations()));
}

void pin(unsigned cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu % std::thread::hardware_concurrency(), &set);
  sched_setaffinity(0, sizeof(set), &set);  // refused, it runs where it may
}

template <class Heap>
void crossing(benchmark::State& state) {
  constexpr std::uint64_t kSlots = 1024;
  const auto heap = owned();
  std::vector<void*> ring(kSlots);
  alignas(64) std::atomic<std::uint64_t> sent{0};
  alignas(64) std::atomic<std::uint64_t> received{0};
  alignas(64) std::atomic<bool> stop{false};
  cpu_set_t before;
  sched_getaffinity(0, sizeof(before), &before);
  pin(0);
  std::thread consumer([&] {
    pin(1);
    Heap mine(*heap);
    for (std::uint64_t i = 0;;) {
      const std::uint64_t ready = sent.load(std::memory_order_acquire);
      if (i == ready) {
        if (stop.load(std::memory_order_relaxed)) return;
        __builtin_ia32_pause();
      }
      for (; i != ready; ++i) {
        benchmark::DoNotOptimize(*static_cast<std::uint64_t*>(ring[i % kSlots]));
        mine.free(ring[i % kSlots]);
      }
      received.store(i, std::memory_order_release);
    }
  });
  Heap mine(*heap);
  std::uint64_t i = 0;
  for (auto _ : state) {
    for (unsigned n = 0; n != 16; ++n, ++i) {
      while (i - received.load(std::memory_order_acquire) >= kSlots) __builtin_ia32_pause();
      void* const block = mine.allocate();
      *static_cast<std::uint64_t*>(block) = i;
      ring[i % kSlots] = block;
      if (n == 15) sent.store(i + 1, std::memory_order_release);
    }
  }
  while (received.load(std::memory_order_acquire) != i) __builtin_ia32_pause();
  stop.store(true);
  consumer.join();
  sched_setaffinity(0, sizeof(before), &before);
  state.SetItemsProcessed(static_cast<std::int64_t>(i));
}

void stack_pair(benchmark::State& state) {
  erlking::sched::StackPool pool;
  erlking::sched::StackCache cache(pool);
  for (auto _ : state) {
    erlking::sched::Stack stack = cache.take(64 * 1024);
    benchmark::DoNotOptimize(stack.low);
    state.range(0) != 0 ? cache.give_class(stack, 2) : cache.give(stack);
  }
}

// A fresh stack with its first page touched, per stack; thrown away with the pool in thousands.
void stack_fresh(benchmark::State& state) {
  std::vector<erlking::sched::Stack> stacks(4096);
  for (auto _ : state) {
    state.PauseTiming();
    auto pool = std::make_unique<erlking::sched::StackPool>();
    state.ResumeTiming();
    for (std::size_t i = 0; i != stacks.size(); i += 16) pool->take(2, {&stacks[i], 16});
    if (state.range(0) != 0) {
      for (const erlking::sched::Stack& stack : stacks) stack.top[-1] = std::byte{1};
    }
    state.PauseTiming();
    pool.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(stacks.size()) * static_cast<std::int64_t>(state.iterations()));
}

void ref_copy_drop(benchmark::State& state) {
  const auto ref = erlking::share(1);
  for (auto _ : state) {
    auto copy = ref;
    benchmark::DoNotOptimize(copy);
  }
}

BENCHMARK(local_pair<Owned>)->Arg(1)->Arg(16)->Arg(1000);
BENCHMARK(local_pair<Malloc>)->Arg(1)->Arg(16)->Arg(1000);
// Needs two idle cores: with one, these tell the kernel's time slices.
BENCHMARK(crossing<Owned>)->UseRealTime();
BENCHMARK(crossing<Malloc>)->UseRealTime();
BENCHMARK(crossing<Empty>)->UseRealTime();
BENCHMARK(stack_pair)->Arg(0)->Arg(1);
BENCHMARK(stack_fresh)->Arg(0)->Arg(1)->UseRealTime();
BENCHMARK(ref_copy_drop);

}  // namespace

BENCHMARK_MAIN();
