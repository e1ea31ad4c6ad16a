// What do a worker's queues cost a task? The ring by its owner alone and beside a thief, and the inbox other threads
// use. Per task.
#include "base/atomic.h"
#include "perf/rival.h"
#include "sched/inbox.h"
#include "sched/run_queue.h"

#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdint>
#include <memory>

namespace erlking::sched {
namespace {

struct alignas(64) Job {
  Job* link = nullptr;
  std::atomic<bool> at_home{true};  // of the rival's: not in the inbox
  bool rivals = false;
};
using Ring = RunQueue<base::Real, Job, 256>;

void ring_push_grab(benchmark::State& state) {
  const auto ring = std::make_unique<Ring>();
  const auto n = static_cast<std::uint32_t>(state.range(0));
  const auto jobs = std::make_unique<Job[]>(n);
  Job* out[Ring::kGrab];
  for (auto _ : state) {
    for (std::uint32_t i = 0; i != n; ++i) ring->push(&jobs[i]);
    while (ring->grab(out, Ring::kGrab) != 0) benchmark::DoNotOptimize(out);
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(n) * static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(ring_push_grab)->Arg(1)->Arg(16)->Arg(200);

// The thief takes what it can get all the time, far more often than a policy would.
void ring_push_grab_beside_a_thief(benchmark::State& state) {
  const auto ring = std::make_unique<Ring>();
  constexpr std::uint32_t kJobs = 16;
  Job jobs[kJobs];
  Job* out[Ring::kGrab];
  std::int64_t mine = 0;
  {
    perf::Rival thief([&ring] {
      Job* stolen[Ring::kGrab];
      benchmark::DoNotOptimize(ring->grab(stolen, Ring::kGrab));
    });
    for (auto _ : state) {
      for (Job& job : jobs) ring->push(&job);
      while (const std::uint32_t n = ring->grab(out, Ring::kGrab)) mine += n;
    }
  }
  const std::int64_t all = kJobs * static_cast<std::int64_t>(state.iterations());
  state.SetItemsProcessed(all);
  state.counters["stolen"] = 1 - static_cast<double>(mine) / static_cast<double>(all);
}
BENCHMARK(ring_push_grab_beside_a_thief)->UseRealTime();

std::int64_t take_all(Inbox<base::Real, Job>& inbox) {
  std::int64_t n = 0;
  for (Job* job = inbox.take(); job != nullptr; ++n) {
    Job* const following = job->link;
    if (job->rivals) job->at_home.store(true, std::memory_order_release);
    job = following;
  }
  return n;
}

void inbox_push_take(benchmark::State& state) {
  Inbox<base::Real, Job> inbox;
  const auto n = static_cast<std::size_t>(state.range(0));
  const auto jobs = std::make_unique<Job[]>(n);
  std::int64_t taken = 0;
  for (auto _ : state) {
    for (std::size_t i = 0; i != n; ++i) benchmark::DoNotOptimize(inbox.push(jobs[i]));
    taken += take_all(inbox);
  }
  if (taken != static_cast<std::int64_t>(n) * static_cast<std::int64_t>(state.iterations())) {
    state.SkipWithError("lost a task");
  }
  state.SetItemsProcessed(taken);
}
BENCHMARK(inbox_push_take)->Arg(1)->Arg(16)->Arg(256);

// To an owner that has announced its sleep: the push that owes the wake, without the wake itself.
void inbox_push_to_a_sleeper(benchmark::State& state) {
  Inbox<base::Real, Job> inbox;
  Job job;
  for (auto _ : state) {
    if (!inbox.may_sleep() || !inbox.push(job)) {
      state.SkipWithError("nobody was to be woken");
      break;
    }
    benchmark::DoNotOptimize(inbox.take());
  }
}
BENCHMARK(inbox_push_to_a_sleeper);

// Another thread puts tasks in as fast as it gets them back.
void inbox_take_from_another(benchmark::State& state) {
  constexpr std::size_t kJobs = 1024;
  Inbox<base::Real, Job> inbox;
  const auto jobs = std::make_unique<Job[]>(kJobs);
  for (std::size_t i = 0; i != kJobs; ++i) jobs[i].rivals = true;
  std::int64_t taken = 0;
  {
    perf::Rival sender([&inbox, &jobs, at = std::size_t{0}]() mutable {
      Job& job = jobs[at % kJobs];
      if (!job.at_home.load(std::memory_order_acquire)) return;
      job.at_home.store(false, std::memory_order_relaxed);
      inbox.push(job);
      ++at;
    });
    for (auto _ : state) taken += take_all(inbox);
  }
  state.SetItemsProcessed(taken);
  take_all(inbox);
}
BENCHMARK(inbox_take_from_another)->UseRealTime();

}  // namespace
}  // namespace erlking::sched

BENCHMARK_MAIN();
