// What does a mailbox cost a message, without heap, matching and switch? In batches by one thread, handed over to a
// receiver that waits, as a signal, and with a second sender at the same word.
#include "base/atomic.h"
#include "perf/rival.h"
#include "runtime/mailbox.h"

#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdint>
#include <memory>

namespace erlking {
namespace {

struct alignas(64) Parcel {
  Parcel* next = nullptr;
  std::atomic<bool> at_home{true};  // of the rival's: not in the box
  bool rivals = false;
};
using Box = Mailbox<base::Real, Parcel>;
constexpr std::uint64_t kId = 7;

struct alignas(64) Open : Box {
  Open() {
    init_closed();
    reopen(kId, kMaxBound);
  }
};

// Takes all that is there, oldest first, as a receiver does; how many.
std::int64_t take_all(Box& box) {
  bool signals = false;
  Parcel* oldest = nullptr;
  for (Parcel* newest = box.take(&signals); newest != nullptr;) {
    Parcel* const following = newest->next;
    newest->next = oldest;
    oldest = newest;
    newest = following;
  }
  std::int64_t n = 0;
  for (Parcel* parcel = oldest; parcel != nullptr; ++n) {
    Parcel* const following = parcel->next;
    box.consume();
    if (parcel->rivals) parcel->at_home.store(true, std::memory_order_release);
    parcel = following;
  }
  return n;
}

void push_take(benchmark::State& state) {
  Open box;
  const auto n = static_cast<std::size_t>(state.range(0));
  const auto parcels = std::make_unique<Parcel[]>(n);
  std::int64_t taken = 0;
  for (auto _ : state) {
    for (std::size_t i = 0; i != n; ++i) benchmark::DoNotOptimize(box.push_message(&parcels[i], kId));
    taken += take_all(box);
  }
  if (taken != static_cast<std::int64_t>(n) * static_cast<std::int64_t>(state.iterations())) {
    state.SkipWithError("lost a message");
  }
  state.SetItemsProcessed(taken);
}
BENCHMARK(push_take)->Arg(1)->Arg(16)->Arg(256);

void hand_over(benchmark::State& state) {
  Open box;
  Parcel parcel;
  for (auto _ : state) {
    if (!box.park() || box.push_message(&parcel, kId) != Push::woke || box.take_direct() != &parcel) {
      state.SkipWithError("it was not handed over");
      break;
    }
    box.consume();
  }
}
BENCHMARK(hand_over);

void signal_push_take(benchmark::State& state) {
  Open box;
  Parcel parcel;
  for (auto _ : state) {
    benchmark::DoNotOptimize(box.push_signal(&parcel, kId));
    bool signals = false;
    benchmark::DoNotOptimize(box.take(&signals));
  }
}
BENCHMARK(signal_push_take);

// Refused: what a sender pays who finds it full.
void push_full(benchmark::State& state) {
  Open box;
  Parcel inside, outside;
  box.set_bound(1);
  box.push_message(&inside, kId);
  for (auto _ : state) benchmark::DoNotOptimize(box.push_message(&outside, kId));
  take_all(box);
}
BENCHMARK(push_full);

// Sixteen pushes and a take, while another thread pushes as fast as it gets its parcels back. Per message of both.
void push_take_beside_a_sender(benchmark::State& state) {
  constexpr std::size_t kMine = 16, kRivals = 1024;
  Open box;
  const auto mine = std::make_unique<Parcel[]>(kMine);
  const auto theirs = std::make_unique<Parcel[]>(kRivals);
  for (std::size_t i = 0; i != kRivals; ++i) theirs[i].rivals = true;
  std::int64_t taken = 0;
  {
    perf::Rival sender([&box, &theirs, at = std::size_t{0}]() mutable {
      Parcel& parcel = theirs[at % kRivals];
      if (!parcel.at_home.load(std::memory_order_acquire)) return;
      parcel.at_home.store(false, std::memory_order_relaxed);
      box.push_message(&parcel, kId);
      ++at;
    });
    for (auto _ : state) {
      for (std::size_t i = 0; i != kMine; ++i) box.push_message(&mine[i], kId);
      taken += take_all(box);
    }
  }
  state.SetItemsProcessed(taken);
  const double own = static_cast<double>(kMine) * static_cast<double>(state.iterations());
  state.counters["of_the_other"] = 1 - own / static_cast<double>(taken);
  take_all(box);
}
BENCHMARK(push_take_beside_a_sender)->UseRealTime();

}  // namespace
}  // namespace erlking

BENCHMARK_MAIN();
