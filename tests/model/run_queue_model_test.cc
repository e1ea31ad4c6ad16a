// RunQueue under the model: capacity 4 (2 in the exhaustive one), so that it fills and its slots are used again.
// clang-format off
#include "tests/model/model_sync.h"

#include "sched/run_queue.h"
// clang-format on

namespace erlking::sched {
namespace {

using model::Candidate, model::Model, model::Op, model::require;

struct Task {
  Model::var<int> number;  // written before the push, read by whoever grabs
  int runs = 0;            // ghost
};

template <unsigned kThieves, std::uint32_t kCapacity, int kTasks, int kGrabs, std::uint32_t kLimit>
struct RunQueueWorld {
  static constexpr rl::thread_id_t kThreads = 1 + kThieves;

  RunQueue<Model, Task, kCapacity> queue;
  std::array<Task, kTasks> tasks;
  std::array<int, kThreads> last{};

  void thread(unsigned index) {
    if (index == 0)
      own();
    else
      for (int i = 0; i < kGrabs; ++i) grab(index, kLimit);
  }
  void own() {
    for (int i = 0; i < kTasks; ++i) {
      tasks[i].number.set(i + 1);
      while (!queue.push(&tasks[i])) grab(0, 1);
    }
    while (grab(0, kLimit) != 0) {
    }
    require(queue.size() == 0, "the owner's empty is final: nobody else pushes");
  }
  std::uint32_t grab(unsigned index, std::uint32_t limit) {
    Task* out[kCapacity];
    const std::uint32_t n = queue.grab(out, limit);
    require(n <= limit && n <= kCapacity, "a grab keeps to its limit");
    for (std::uint32_t i = 0; i < n; ++i) {
      require(out[i] != nullptr, "a grab gets tasks");
      const int number = out[i]->number.get();
      require(out[i]->runs++ == 0, "a task is grabbed once");
      require(number > last[index], "a grabber gets them oldest first");
      last[index] = number;
    }
    return n;
  }
  void after() {
    for (const Task& task : tasks) require(task.runs == 1, "every task is grabbed");
  }
};

using Tiny = RunQueueWorld<1, 2, 1, 1, 16>;
using Small = RunQueueWorld<1, 2, 3, 2, 16>;
using OneThief = RunQueueWorld<1, 4, 6, 2, 16>;
using TwoThieves = RunQueueWorld<2, 4, 6, 2, 16>;
using OneByOne = RunQueueWorld<2, 2, 5, 3, 1>;
constexpr Candidate kOneThief{"OneThief", model::explore<OneThief>},
    kTwoThieves{"TwoThieves", model::explore<TwoThieves>}, kOneByOne{"OneByOne", model::explore<OneByOne>};

TEST(ModelRunQueue, OneTaskGoesToOneOfTwoInAnySchedule) {
  EXPECT_TRUE(holds_throughout(model::exhaust<Tiny>(1'000'000)));
}
TEST(ModelRunQueue, KeepsEveryTaskWithFewSwitches) {
  EXPECT_TRUE(holds_throughout(model::exhaust<Small>(1'000'000, 4)));
}
TEST(ModelRunQueue, OneThiefGetsEachTaskOnceAndInOrder) { EXPECT_TRUE(holds(model::explore<OneThief>(50'000))); }
TEST(ModelRunQueue, TwoThievesGetEachTaskOnceAndInOrder) { EXPECT_TRUE(holds(model::explore<TwoThieves>(50'000))); }
TEST(ModelRunQueue, SlotsUsedAgainAtOnceGetEachTaskOnce) { EXPECT_TRUE(holds(model::explore<OneByOne>(50'000))); }

TEST(ModelRunQueueWeakened, Fails) {
  using base::acquire, base::relaxed, base::release;
  for (const model::Control& control : {
           model::Control{kOneThief, "push", Op::store, release, 1, relaxed, rl::test_result_data_race},  // [ring-tail]
           model::Control{kOneThief, "grab", Op::load, acquire, 2, relaxed, rl::test_result_data_race},   // [ring-tail]
       }) {
    EXPECT_TRUE(fails_as_expected(control, 20'000));
  }
}
TEST(ModelRunQueueWeakened, DISABLED_Sweep) { model::sweep({kOneThief, kTwoThieves, kOneByOne}, 20'000); }

}  // namespace
}  // namespace erlking::sched
