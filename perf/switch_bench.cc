// What does it cost to leave one stack for another? Between two, around many (whose lines do not all stay near), and a
// stack's whole life: taken, prepared, entered, left, given back. Per switch, or per life.
#include "sched/context.h"
#include "sched/stack.h"

#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdint>
#include <vector>

namespace erlking::sched {
namespace {

constexpr std::size_t kBytes = 64 * 1024;

// Stacks in a ring: each goes on to the next, the last to the benchmark's own.
struct Ring {
  explicit Ring(std::size_t n) : places(n), home{.sp = {}, .next = places.data()} {
    for (std::size_t i = 0; i != n; ++i) {
      places[i].next = i + 1 == n ? &home : &places[i + 1];
      places[i].stack = cache.take(kBytes);
      places[i].sp.store(prepare_stack(places[i].stack.top, &go_round), std::memory_order_relaxed);
    }
  }
  ~Ring() {
    for (const Place& place : places) cache.give(place.stack);
  }

  struct Place {
    std::atomic<void*> sp{nullptr};
    Place* next = nullptr;
    Stack stack{};
  };
  static void leave(Place& place) {
    switch_stack(&place.sp, place.next->sp.load(std::memory_order_relaxed), place.next);
  }
  static void go_round(void* argument) {
    auto& self = *static_cast<Place*>(argument);
    for (;;) leave(self);
  }

  StackPool pool;
  StackCache cache{pool};
  std::vector<Place> places;
  Place home;
};

void switch_round(benchmark::State& state) {
  const auto n = static_cast<std::size_t>(state.range(0));
  Ring ring(n);
  for (auto _ : state) Ring::leave(ring.home);
  state.SetItemsProcessed(static_cast<std::int64_t>(n + 1) * static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(switch_round)->Arg(1)->Arg(2)->Arg(16)->Arg(1000);

// The stack's first switch goes through its entry and cannot be predicted by its place.
void stack_life(benchmark::State& state) {
  StackPool pool;
  StackCache cache(pool);
  struct Both {
    std::atomic<void*> home{nullptr}, away{nullptr};
  } both;
  const Entry entry = [](void* argument) {
    auto& stacks = *static_cast<Both*>(argument);
    for (;;) switch_stack(&stacks.away, stacks.home.load(std::memory_order_relaxed), nullptr);
  };
  for (auto _ : state) {
    const Stack stack = cache.take(kBytes);
    switch_stack(&both.home, prepare_stack(stack.top, entry), &both);
    cache.give(stack);
  }
}
BENCHMARK(stack_life);

void stack_take_give(benchmark::State& state) {
  StackPool pool;
  StackCache cache(pool);
  std::vector<Stack> stacks(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    for (Stack& stack : stacks) stack = cache.take(kBytes);
    benchmark::ClobberMemory();
    for (const Stack& stack : stacks) cache.give(stack);
  }
  state.SetItemsProcessed(state.range(0) * static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(stack_take_give)->Arg(1)->Arg(64)->Arg(1000);  // 1,000: beyond what a cache keeps

}  // namespace
}  // namespace erlking::sched

BENCHMARK_MAIN();
