// What every scheduler back end must do with stackless tasks: run over all of policy_names(), with 1, 2 and 4 workers.
#include "tests/stress/stress.h"
#include "tests/support/crew.h"

#include <array>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>

namespace erlking::testing {
namespace {

using namespace sched;

using Seat = std::tuple<std::string_view, unsigned>;  // a policy and a number of workers

class StacklessConformanceTest : public ::testing::TestWithParam<Seat> {
 protected:
  Crew crew{{.scheduler = {.policy = std::get<0>(GetParam()), .workers = std::get<1>(GetParam())}}};
  void expect_ended(std::uint64_t n) { EXPECT_TRUE(crew.ended.reach(n)) << crew.ended.count() << " have ended"; }
  void TearDown() override { say_seed_on_failure(); }
};
INSTANTIATE_TEST_SUITE_P(Every, StacklessConformanceTest,
                         ::testing::Combine(::testing::ValuesIn(policy_names()), ::testing::Values(1u, 2u, 4u)),
                         [](const ::testing::TestParamInfo<Seat>& info) {
                           return std::string(std::get<0>(info.param)) + "Workers" +
                                  std::to_string(std::get<1>(info.param));
                         });

TEST_P(StacklessConformanceTest, ATaskRunsOnceForEachTimeItIsMadeReady) {
  constexpr unsigned kJobs = 64;
  constexpr std::uint64_t kRuns = scaled(2'000);
  std::array<Job*, kJobs> jobs{};
  for (unsigned i = 0; i < kJobs; ++i) {
    jobs[i] = &crew.add_stackless([&, random = random_of(i)](Job& self) mutable {
      EXPECT_NE(self.stack_low, nullptr) << "it runs on a stack";
      if (self.runs() % 16 == 0) self.yield();  // and may wait on it, which makes it this task's for a while
      if (self.runs() > kRuns) {
        self.finish();
        for (Job* other : jobs) other->make_ready();  // whoever waited for this one's word
        return;
      }
      jobs[random.below(kJobs)]->make_ready();
    });
  }
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      base::Random random = random_of(kJobs + i);
      while (crew.ended.count() < kJobs) {
        jobs[random.below(kJobs)]->make_ready();
        std::this_thread::yield();
      }
    });
  }
  expect_ended(kJobs);
  for (std::thread& thread : threads) thread.join();
}

TEST_P(StacklessConformanceTest, ThoseThatWaitKeepTheirStacksAndOthersGoOn) {
  constexpr unsigned kJobs = 40;
  std::array<Job*, kJobs> jobs{};
  Tally waiting;
  for (unsigned i = 0; i < kJobs; ++i) {
    jobs[i] = &crew.add_stackless([&, i](Job& self) {
      std::array<unsigned, 256> mine;
      mine.fill(i);
      waiting.add();
      self.await();
      for (const unsigned found : mine) EXPECT_EQ(found, i) << "another ran on its stack";
      self.finish();
    });
  }
  for (Job* job : jobs) job->make_ready();
  EXPECT_TRUE(waiting.reach(kJobs));
  for (Job* job : jobs) job->make_ready();
  expect_ended(kJobs);
}

TEST_P(StacklessConformanceTest, TheyTakeTurnsWithTasksThatHaveStacks) {
  constexpr std::uint64_t kRounds = scaled(5'000);
  Job* fiber = nullptr;
  Job& echo = crew.add_stackless([&](Job& self) {
    if (self.runs() == kRounds) self.finish();
    fiber->make_ready();
  });
  fiber = &crew.add([&](Job& self) {
    for (std::uint64_t i = 0; i < kRounds; ++i) {
      echo.make_ready();
      self.await();
    }
  });
  crew.start(*fiber);
  expect_ended(2);
}

}  // namespace
}  // namespace erlking::testing
