// What every scheduler back end must do: run over all of policy_names(), with 1, 2 and 4 workers. Where tasks share
// workers, the tests of turns on one worker and of pins that the user chooses come in addition; where each has a worker
// of its own, those of policy_own_worker_conformance_test.cc. Beside one that does not switch:
// policy_hog_conformance_test.cc.
#include "base/atomic.h"
#include "tests/conformance/policy_fixture.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <sched.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

namespace erlking::testing {
namespace {

// --- tasks alone -----------------------------------------------------------------------------------------------------

INSTANTIATE_TEST_SUITE_P(Every, PolicyConformanceTest, with_workers(1u, 2u, 4u), name_of_seat);

TEST_P(PolicyConformanceTest, BearsItsName) {
  EXPECT_EQ(crew().policy().name(), policy());
  EXPECT_EQ(crew().scheduler().asked(), workers());
  EXPECT_EQ(crew().scheduler().size(), has_own_workers() ? 0 : workers());
  EXPECT_EQ(crew().scheduler().capacity(), max_workers({.policy = policy(), .workers = workers()}));
}

TEST_P(PolicyConformanceTest, ATaskRunsOnceForEachTimeItIsMadeReady) {
  constexpr unsigned kJobs = 64;
  constexpr std::uint64_t kRuns = scaled(2'000);
  std::array<Job*, kJobs> jobs{};
  for (unsigned i = 0; i < kJobs; ++i) {
    jobs[i] = &crew().add([&, i](Job& self) {
      base::Random random = random_of(i);
      while (self.runs() <= kRuns) {
        self.await();
        jobs[random.below(kJobs)]->make_ready();
      }
      for (Job* other : jobs) other->make_ready();  // whoever waited for this one's word
    });
  }
  for (Job* job : jobs) crew().start(*job);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      base::Random random = random_of(kJobs + i);
      while (crew().ended.count() < kJobs) {
        jobs[random.below(kJobs)]->make_ready();
        std::this_thread::yield();
      }
    });
  }
  expect_ended(kJobs);
  for (std::thread& thread : threads) thread.join();
  // One that came after its end is owed for ever.
  for (const Job* job : jobs) {
    EXPECT_LE(job->runs(), job->readied());
    EXPECT_GE(job->runs() + 1, job->readied());
  }
}

TEST_P(PolicyConformanceTest, WhatThreadsFromOutsideStartRuns) {
  constexpr unsigned kThreads = 3;
  const unsigned each = scaled(3'000);
  Crew& crew = this->crew();
  Tally started;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (unsigned i = 0; i < each; ++i) {
        crew.start([](Job&) {});
        started.add();
        if (has_own_workers()) {  // no more than it admits
          EXPECT_TRUE(crew.ended.reach(std::max<std::uint64_t>(started.count(), kMany) - kMany));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  expect_ended(std::uint64_t{kThreads} * each);
}

TEST_P(PolicyConformanceTest, NothingIsLostWhenAThousandAreReadyAtOnce) {
  constexpr unsigned kRounds = 3;
  std::vector<Job*> jobs(kMany);
  Tally waiting;
  for (Job*& job : jobs) {
    job = &crew().start([&](Job& self) {
      for (unsigned i = 0; i < kRounds; ++i) {
        waiting.add();
        self.await();
      }
    });
  }
  for (unsigned round = 1; round <= kRounds; ++round) {
    ASSERT_TRUE(waiting.reach(std::uint64_t{round} * kMany)) << waiting.count();
    crew().start([&](Job&) {
      for (Job* job : jobs) job->make_ready();
    });
  }
  expect_ended(kMany + kRounds);
  for (const Job* job : jobs) EXPECT_EQ(job->runs(), kRounds + 1);
}

TEST_P(PolicyConformanceTest, AThousandStartedByOneTaskAllRunOnce) {
  std::uint64_t ended = 0;
  for (const bool newborn : {false, true}) {
    std::vector<Job*> jobs(kMany);
    for (Job*& job : jobs) job = &crew().add([](Job& self) { self.yield(); });
    crew().start([&](Job&) {
      for (Job* job : jobs) newborn ? crew().bear(*job) : crew().enqueue(*job);
    });
    expect_ended(ended += kMany + 1);
    for (const Job* job : jobs) EXPECT_EQ(job->runs(), 2u);
  }
}

TEST_P(PolicyConformanceTest, ATreeOfTasksAllRunsOnce) {
  constexpr unsigned kDepth = 9;
  Tally born;
  std::function<void(unsigned)> grow = [&](unsigned depth) {
    born.add();
    for (int k = 0; k < 2 && depth > 1; ++k) crew().bear(crew().add([&, depth](Job&) { grow(depth - 1); }));
  };
  for (unsigned tree = 1; tree <= 5; ++tree) {
    crew().start([&](Job&) { grow(kDepth); });
    expect_ended(std::uint64_t{tree} * ((1u << kDepth) - 1));
    EXPECT_EQ(born.count(), std::uint64_t{tree} * ((1u << kDepth) - 1));
  }
}

TEST_P(PolicyConformanceTest, APinnedTaskRunsOnItsWorkerOnly) {
  constexpr unsigned kJobs = 40;
  const unsigned rounds = scaled(500);
  std::vector<Job*> jobs(kJobs);
  for (unsigned i = 0; i < kJobs; ++i) {
    jobs[i] = &crew().add(
        [&, i](Job& self) {
          base::Random random = random_of(i);
          const std::thread::id here = std::this_thread::get_id();
          for (unsigned round = 0; round < rounds; ++round) {
            jobs[random.below(kJobs)]->make_ready();
            if (round % 8 == 7) crew().start([](Job&) {});  // and something to take away
            self.yield();
            ASSERT_EQ(self.worker->index(), self.pin);
            ASSERT_EQ(std::this_thread::get_id(), here);
          }
        },
        worker_of(i));
  }
  for (Job* job : jobs) crew().start(*job);
  expect_ended(kJobs + std::uint64_t{kJobs} * (rounds / 8));
}

TEST_P(PolicyConformanceTest, AffinityBindsEachWorkerToOneCpu) {
  const std::vector<int> cpus = allowed_cpus();
  affinity = true;
  for (unsigned i = 0; i < workers(); ++i) {
    crew().start(
        [&](Job& self) {
          cpu_set_t mask;
          CPU_ZERO(&mask);
          ASSERT_EQ(::sched_getaffinity(0, sizeof mask, &mask), 0);
          EXPECT_EQ(CPU_COUNT(&mask), 1);
          EXPECT_TRUE(CPU_ISSET(static_cast<std::size_t>(cpus[self.worker->index() % cpus.size()]), &mask));
        },
        worker_of(i));
  }
  expect_ended(workers());
}

TEST_P(PolicyConformanceTest, WithoutAffinityAWorkerRunsWhereTheProgramMay) {
  const std::vector<int> cpus = allowed_cpus();
  for (unsigned i = 0; i < workers(); ++i) crew().start([&](Job&) { EXPECT_EQ(allowed_cpus(), cpus); }, worker_of(i));
  expect_ended(workers());
}

// --- fairness --------------------------------------------------------------------------------------------------------

// Everything on one worker. Those that keep it busy end when the third has run, or after so many turns: no back end may
// need as many.
class FairnessConformanceTest : public PolicyConformanceTest {
 protected:
  // Turns of compute(): of nothing; and so long that the worker looks at its clock after each.
  static constexpr unsigned kShortTurn = 0, kLongTurn = 1'000'000;

  /// Two that wake each other until `over`; counts their turns while `counting`.
  void start_pair(std::uint16_t pin) {
    for (unsigned i = 0; i < 2; ++i) {
      pair_[i] = &crew().add(
          [this, i](Job& self) {
            while (go_on(self)) {
              pair_[i ^ 1]->make_ready();
              self.await();
            }
            pair_[i ^ 1]->make_ready();
          },
          pin);
    }
    for (Job* job : pair_) crew().start(*job);
  }
  /// Some with `pin` keep the last worker busy with turns of `work`; does one with `third` get a turn there?
  void expect_not_starved(std::uint16_t pin, unsigned work, std::uint16_t third) {
    counting = false;
    limit = work == kShortTurn ? 10'000 : 1'000;
    crew().start(
        [&](Job&) {
          for (unsigned i = 0; i < 3; ++i) {
            crew().enqueue(crew().add(
                [&, i](Job& self) {
                  // A worker gets used to the length of a turn.
                  for (unsigned k = 0; go_on(self); ++k) {
                    compute(work);
                    if (i == 0 && k == 100) {
                      crew().enqueue(crew().add([&](Job&) { over = true; }, third));
                      counting = true;
                    }
                    self.yield();
                  }
                },
                pin));
          }
        },
        last_worker());
    expect_ended(5);
    EXPECT_LT(turns, limit);
  }
  /// Begins a task on the last worker that begins its successor as it ends, and so on until `over`. Not counted yet.
  void start_generations() {
    counting = false;
    crew().start([this](Job& self) { generation(self); }, last_worker());
    ASSERT_TRUE(born.reach(100));
  }
  void generation(const Job& self) {
    born.add();
    if (!go_on(self)) return last_born.add();
    crew().enqueue(crew().add([this](Job& next) { generation(next); }, last_worker()));
  }
  bool go_on(const Job& self) {
    // Turns elsewhere are nobody's loss here, and the machine may stop this worker's thread meanwhile.
    if (counting && self.worker->index() == last_worker()) ++turns;
    return !over && turns < limit;
  }

  std::atomic<bool> over{false}, counting{true};
  std::atomic<std::uint64_t> turns{0};
  std::uint64_t limit = 10'000;
  Tally born, last_born;

 private:
  std::array<Job*, 2> pair_{};
};
INSTANTIATE_TEST_SUITE_P(Every, FairnessConformanceTest, shared_workers(1u, 2u, 4u), name_of_seat);

TEST_P(FairnessConformanceTest, APairThatTalksDoesNotStarveAThird) {
  crew().start(
      [&](Job&) {
        start_pair(last_worker());
        crew().enqueue(crew().add([&](Job&) { over = true; }, last_worker()));
      },
      last_worker());
  expect_ended(4);
  EXPECT_LT(turns, limit);
}

TEST_P(FairnessConformanceTest, APairThatTalksDoesNotStarveWhatComesFromOutside) {
  counting = false;
  start_pair(last_worker());
  crew().start([&](Job&) { over = true; }, last_worker());
  counting = true;
  expect_ended(3);
  EXPECT_LT(turns, limit);
}

TEST_P(FairnessConformanceTest, APairThatTalksDoesNotHoldTimersUp) {
  clock = base::Clock::Kind::manual;
  counting = false;
  Tally armed;
  crew().start(
      [&](Job& self) {
        self.await_timer([&](TimerWheel& wheel, TimerNode& node) {
          wheel.arm_at(node, crew().clock.now() + 1'000'000'000);
          armed.add();
        });
        over = true;
      },
      last_worker());
  ASSERT_TRUE(armed.reach(1));
  start_pair(last_worker());
  crew().clock.advance(2'000'000'000);
  counting = true;
  expect_ended(3);
  EXPECT_LT(turns, limit);
}

TEST_P(FairnessConformanceTest, TasksThatYieldDoNotStarveAPinnedOne) {
  expect_not_starved(kNoWorker, kShortTurn, last_worker());
}

TEST_P(FairnessConformanceTest, TasksThatComputeDoNotStarveAPinnedOne) {
  expect_not_starved(kNoWorker, kLongTurn, last_worker());
}

TEST_P(FairnessConformanceTest, TasksThatBeginAndEndDoNotStarveWhatComesFromOutside) {
  start_generations();
  crew().start([&](Job&) { over = true; }, last_worker());
  counting = true;
  ASSERT_TRUE(last_born.reach(1));
  EXPECT_LT(turns, limit);
}

TEST_P(FairnessConformanceTest, TasksThatBeginAndEndDoNotHoldTimersUp) {
  clock = base::Clock::Kind::manual;
  Tally armed;
  crew().start(
      [&](Job& self) {
        self.await_timer([&](TimerWheel& wheel, TimerNode& node) {
          wheel.arm_at(node, crew().clock.now() + 1'000'000'000);
          armed.add();
        });
        over = true;
      },
      last_worker());
  ASSERT_TRUE(armed.reach(1));
  start_generations();
  crew().clock.advance(2'000'000'000);
  counting = true;
  ASSERT_TRUE(last_born.reach(1));
  EXPECT_LT(turns, limit);
}

// Those that are not pinned: elsewhere they could be taken away.
class LoneWorkerFairnessConformanceTest : public FairnessConformanceTest {};
INSTANTIATE_TEST_SUITE_P(Every, LoneWorkerFairnessConformanceTest, shared_workers(1u), name_of_seat);

TEST_P(LoneWorkerFairnessConformanceTest, APairThatTalksDoesNotStarveAThird) {
  crew().start([&](Job&) {
    start_pair(kNoWorker);
    crew().enqueue(crew().add([&](Job&) { over = true; }));
  });
  expect_ended(4);
  EXPECT_LT(turns, limit);
}

TEST_P(LoneWorkerFairnessConformanceTest, APairThatTalksDoesNotStarveANewborn) {
  crew().start([&](Job&) {
    start_pair(kNoWorker);
    crew().bear(crew().add([&](Job&) { over = true; }));
  });
  expect_ended(4);
  EXPECT_LT(turns, limit);
}

// The newest is always younger than the one that waits.
TEST_P(LoneWorkerFairnessConformanceTest, NewbornsStarveNeitherTheOldestOfThemNorTheLine) {
  for (const bool in_line : {false, true}) {
    std::function<void(Job&)> generation = [&](Job& self) {
      if (go_on(self)) crew().bear(crew().add(generation));
    };
    over = false;
    turns = 0;
    crew().start([&](Job&) {
      Job& third = crew().add([&](Job&) { over = true; });
      in_line ? crew().enqueue(third) : crew().bear(third);
      for (unsigned i = 0; i < 3; ++i) crew().bear(crew().add(generation));
    });
    EXPECT_TRUE(hog_until([&] { return over.load(); }));
    EXPECT_LT(turns, limit);
    EXPECT_TRUE(hog_until([&] { return crew().scheduler().idle(); }));
  }
}

TEST_P(LoneWorkerFairnessConformanceTest, PinnedTasksThatYieldDoNotStarveOthers) {
  expect_not_starved(last_worker(), kShortTurn, kNoWorker);
}

TEST_P(LoneWorkerFairnessConformanceTest, PinnedTasksThatComputeDoNotStarveOthers) {
  expect_not_starved(last_worker(), kLongTurn, kNoWorker);
}

// --- yield -----------------------------------------------------------------------------------------------------------

class YieldConformanceTest : public PolicyConformanceTest {};
INSTANTIATE_TEST_SUITE_P(Every, YieldConformanceTest, shared_workers(1u, 2u, 4u), name_of_seat);

TEST_P(YieldConformanceTest, AYieldLetsEveryOtherGoFirst) {
  for (const unsigned n : {1u, 2u, 20u, 300u, kMany}) {
    SCOPED_TRACE(n);
    const std::uint64_t before = crew().ended.count();
    // Pinned, as others could be taken away, and run later.
    crew().start(
        [&, n](Job& self) {
          unsigned ran = 0;
          for (unsigned i = 0; i < n; ++i) crew().enqueue(crew().add([&](Job&) { ++ran; }, last_worker()));
          self.yield();
          EXPECT_EQ(ran, n);
        },
        last_worker());
    expect_ended(before + n + 1);
  }
}

// Nobody takes anything away here, to run it later.
class LoneWorkerConformanceTest : public PolicyConformanceTest {};
INSTANTIATE_TEST_SUITE_P(Every, LoneWorkerConformanceTest, shared_workers(1u), name_of_seat);

TEST_P(LoneWorkerConformanceTest, AYieldLetsEveryOtherGoFirst) {
  for (const unsigned n : {1u, 2u, 20u, 300u, kMany}) {
    SCOPED_TRACE(n);
    const std::uint64_t before = crew().ended.count();
    crew().start([&, n](Job& self) {
      unsigned ran = 0;
      for (unsigned i = 0; i < n; ++i) {
        Job& job = crew().add([&](Job&) { ++ran; });
        i % 2 == 0 ? crew().enqueue(job) : crew().start(job);
      }
      self.yield();
      EXPECT_EQ(ran, n);
    });
    expect_ended(before + n + 1);
  }
}

TEST_P(LoneWorkerConformanceTest, AYieldLetsPinnedAndOthersGoFirst) {
  for (const std::uint16_t pin : {kNoWorker, last_worker()}) {
    const std::uint64_t before = crew().ended.count();
    crew().start(
        [&](Job& self) {
          unsigned ran = 0;
          for (unsigned i = 0; i < 20; ++i) {
            crew().enqueue(crew().add([&](Job&) { ++ran; }, i % 4 == 0 ? last_worker() : kNoWorker));
            crew().enqueue(crew().add([&](Job&) { ++ran; }, i % 4 == 0 ? kNoWorker : last_worker()));
          }
          self.yield();
          EXPECT_EQ(ran, 40u) << "yielded by one with pin " << pin;
        },
        pin);
    expect_ended(before + 41);
  }
}

// Else a thief takes it for stuck.
TEST_P(LoneWorkerConformanceTest, WhoLinesOthersUpMakesProgressWithoutASwitch) {
  crew().start([&](Job& self) {
    for (unsigned i = 0; i < 20; ++i) {
      const std::uint64_t before = self.worker->progress(), dispatches = self.worker->dispatches();
      crew().enqueue(crew().add([](Job&) {}));
      EXPECT_GT(self.worker->progress(), before);
      EXPECT_EQ(self.worker->dispatches(), dispatches);
    }
  });
  expect_ended(21);
}

// More than there are places: those that had to leave are in line, oldest first.
TEST_P(LoneWorkerConformanceTest, NewbornsBeginNewestFirst) {
  constexpr unsigned kJobs = 2 * Nursery::kPlaces;
  std::vector<unsigned> order, expected;
  crew().start([&](Job&) {
    for (unsigned i = 0; i < kJobs; ++i) crew().bear(crew().add([&, i](Job&) { order.push_back(i); }));
  });
  expect_ended(kJobs + 1);
  for (unsigned i = kJobs; i-- > kJobs - Nursery::kPlaces;) expected.push_back(i);
  for (unsigned i = 0; i < kJobs - Nursery::kPlaces; ++i) expected.push_back(i);
  EXPECT_EQ(order, expected);
}

// Else a thief takes it for stuck.
TEST_P(LoneWorkerConformanceTest, WhoBearsOthersMakesProgressWithoutASwitch) {
  crew().start([&](Job& self) {
    for (unsigned i = 0; i < 20; ++i) {
      const std::uint64_t before = self.worker->progress();
      crew().bear(crew().add([](Job&) {}));
      EXPECT_GT(self.worker->progress(), before);
      EXPECT_EQ(self.worker->newborns(), i + 1);
    }
  });
  expect_ended(21);
}

// One at a time, so that the next theft finds the largest part of what is left.
TEST_P(LoneWorkerConformanceTest, TheOldestNewbornIsExposedWhereNothingIs) {
  std::vector<unsigned> order;
  crew().start([&](Job& self) {
    for (unsigned i = 0; i < 3; ++i) crew().bear(crew().add([&, i](Job&) { order.push_back(i); }));
    for (int again = 0; again < 2; ++again) {
      self.worker->expose_oldest();
      EXPECT_EQ(self.worker->ring_size(), 1u);
      EXPECT_EQ(self.worker->newborns(), 2u);
      EXPECT_EQ(self.worker->load(), 3u);
    }
  });
  expect_ended(4);
  EXPECT_EQ(order, (std::vector<unsigned>{2, 1, 0}));
}

// After however many that each readied the next.
TEST_P(LoneWorkerConformanceTest, AYieldLetsTheOneJustReadiedGoFirst) {
  std::uint64_t started = 0;
  for (unsigned length = 1; length < 100; ++length) {
    std::function<void(Job&, unsigned)> begin = [&](Job& self, unsigned left) {
      bool ran = false;
      if (left != 0) {
        crew().start([&, left](Job& next) { begin(next, left - 1); });
      } else {
        crew().start([&](Job&) { ran = true; });
        self.yield();
        EXPECT_TRUE(ran) << "behind " << length;
      }
    };
    crew().start([&](Job& self) { begin(self, length); });
    expect_ended(started += length + 2);
  }
}

TEST_P(YieldConformanceTest, ThoseWhoYieldTakeTurns) {
  constexpr unsigned kJobs = 300;  // more than the ring holds
  const unsigned rounds = scaled(50);
  std::array<unsigned, kJobs> turns{};
  crew().start(
      [&](Job&) {
        for (unsigned i = 0; i < kJobs; ++i) {
          crew().enqueue(crew().add(
              [&, i](Job& self) {
                for (unsigned round = 0; round < rounds; ++round) {
                  ++turns[i];
                  self.yield();
                  // Since then each of the others had its turn, and nobody more than one ahead.
                  const auto [least, most] = std::ranges::minmax(turns);
                  EXPECT_GE(least, round + 1);
                  EXPECT_LE(most, round + 2);
                }
              },
              last_worker()));
        }
      },
      last_worker());
  expect_ended(kJobs + 1);
}

// --- sleep and wake --------------------------------------------------------------------------------------------------

// A wake that comes while the worker falls asleep: the delays reach from before its last look to after.
constexpr unsigned kDelay = 100'000;  // turns of compute()

/// Holds the test's thread on the last CPU while it lives.
class OnLastCpu {
 public:
  OnLastCpu() {
    ::sched_getaffinity(0, sizeof before_, &before_);
    if (const std::vector<int> cpus = allowed_cpus(); !cpus.empty()) pin_thread(cpus.back());
  }
  ~OnLastCpu() { ::sched_setaffinity(0, sizeof before_, &before_); }

 private:
  cpu_set_t before_;
};

TEST_P(PolicyConformanceTest, AWakeFromOutsideIsNeverLost) {
  const unsigned rounds = scaled(20'000);
  affinity = true;
  Job& sleeper = crew().start(
      [&](Job& self) {
        for (unsigned i = 0; i < rounds; ++i) self.await();
      },
      0);
  // With a second CPU: a worker woken on this one would have fallen asleep again before this thread could go on.
  const OnLastCpu away;
  base::Random random = random_of(0);
  for (unsigned i = 1; i <= rounds; ++i) {
    ASSERT_TRUE(sleeper.make_ready());
    // Not blocked, as coming back from there would take longer than falling asleep.
    for (unsigned spins = 0; spins < kDelay && sleeper.runs() < i + 1; ++spins) base::Real::pause();
    ASSERT_TRUE(hog_until([&] { return sleeper.runs() == i + 1; })) << "round " << i;
    compute(random.below(i % 2 == 0 ? kDelay : kDelay / 20));
  }
  expect_ended(1);
}

TEST_P(PolicyConformanceTest, AWakeFromAnotherWorkerIsNeverLost) {
  const unsigned rounds = scaled(5'000);
  const unsigned n = 2 * workers();
  std::vector<Job*> ring(n);
  for (unsigned i = 0; i < n; ++i) {
    ring[i] = &crew().add(
        [&, i](Job& self) {
          base::Random random = random_of(i);
          for (unsigned round = 0; round < rounds; ++round) {
            self.await();
            compute(random.below(round % 2 == 0 ? kDelay : kDelay / 20));
            ring[(i + 1) % n]->make_ready();
          }
        },
        worker_of(i));
  }
  for (Job* job : ring) crew().start(*job);
  ring[0]->make_ready();
  expect_ended(n);
}

TEST_P(PolicyConformanceTest, ATimerWakesASleepingWorker) {
  const unsigned rounds = scaled(200);
  for (unsigned i = 0; i < workers(); ++i) {
    crew().start(
        [&, i](Job& self) {
          base::Random random = random_of(i);
          for (unsigned round = 0; round < rounds; ++round) {
            self.await_timer([&](TimerWheel& wheel, TimerNode& node) {
              wheel.arm_after(node, static_cast<base::Nanos>(random.below(300'000)));
            });
          }
        },
        worker_of(i));
  }
  expect_ended(workers());
}

TEST_P(PolicyConformanceTest, WakeAllMakesSleepersLookAtAManualClock) {
  clock = base::Clock::Kind::manual;
  constexpr base::Nanos kSecond = 1'000'000'000;
  for (unsigned i = 0; i < workers(); ++i) {
    crew().start(
        [&, i](Job& self) {
          self.await_timer(
              [&](TimerWheel& wheel, TimerNode& node) { wheel.arm_at(node, crew().clock.now() + (i + 1) * kSecond); });
        },
        worker_of(i));
  }
  for (unsigned i = 0; i < workers(); ++i) {
    ASSERT_TRUE(hog_until([&] { return crew().scheduler().idle(); }));
    EXPECT_EQ(crew().ended.count(), i);
    EXPECT_LE(crew().scheduler().next_timer(), crew().clock.now() + kSecond + TimerWheel::kTick);
    crew().clock.advance(kSecond + TimerWheel::kTick);
    crew().policy().wake_all();
    expect_ended(i + 1);
  }
  ASSERT_TRUE(hog_until([&] { return crew().scheduler().idle(); }));
  EXPECT_EQ(crew().scheduler().next_timer(), base::kForever);
}

TEST_P(PolicyConformanceTest, IdleIsTrueOnlyWhenNothingCanRun) {
  clock = base::Clock::Kind::manual;
  const unsigned episodes = scaled(500);
  constexpr unsigned kHops = 20;
  const unsigned n = workers() + 1;
  std::atomic<bool> over{false};
  std::atomic<unsigned> hops{0};
  std::vector<Job*> ring(n);
  for (unsigned i = 0; i < n; ++i) {
    ring[i] = &crew().add(
        [&, i](Job& self) {
          for (;;) {
            self.await();
            if (over) break;
            if (++hops % kHops != 0) ring[(i + 1) % n]->make_ready();
          }
        },
        worker_of(i));
  }
  for (Job* job : ring) crew().start(*job);
  for (unsigned episode = 1; episode <= episodes; ++episode) {
    ASSERT_TRUE(hog_until([&] { return crew().scheduler().idle(); }));
    ASSERT_EQ(hops, (episode - 1) * kHops);
    ring[episode % n]->make_ready();
  }
  ASSERT_TRUE(hog_until([&] { return crew().scheduler().idle(); }));
  EXPECT_EQ(hops, episodes * kHops);
  over = true;
  for (Job* job : ring) job->make_ready();
  expect_ended(n);
}

// --- stop ------------------------------------------------------------------------------------------------------------

TEST_P(PolicyConformanceTest, StopReturnsAtOnceOrWhileAllSleep) {
  for (unsigned i = 0; i < scaled(100); ++i) {
    Crew crew({.scheduler = {.policy = policy(), .workers = workers()}});
    if (i % 2 == 0) {
      crew.start([](Job& self) { self.yield(); });
      ASSERT_TRUE(crew.ended.reach(1));
      ASSERT_TRUE(hog_until([&] { return crew.scheduler().idle(); }));
    }
    crew.scheduler().stop();
    EXPECT_TRUE(crew.scheduler().stopping());
  }
}

TEST_P(PolicyConformanceTest, StopReturnsWhileTasksWait) {
  for (unsigned i = 0; i < scaled(50); ++i) {
    Crew crew({.scheduler = {.policy = policy(), .workers = workers()}});
    for (unsigned n = 0; n < 2 * workers(); ++n) crew.start([](Job& self) { self.await(); }, worker_of(n));
    crew.scheduler().stop();
  }
}

TEST_P(PolicyConformanceTest, StopLetsWhatRunsComeToItsEnd) {
  for (unsigned round = 0; round < scaled(50); ++round) {
    Crew crew({.scheduler = {.policy = policy(), .workers = workers()}});
    const unsigned n = 4 * workers();
    Tally begun;
    for (unsigned i = 0; i < n; ++i) {
      crew.start([&](Job& self) {
        begun.add();
        for (unsigned k = 0; k < 500; ++k) self.yield();
      });
    }
    ASSERT_TRUE(begun.reach(n));
    crew.scheduler().stop();
    EXPECT_EQ(crew.ended.count(), n);
  }
}

// --- processes -------------------------------------------------------------------------------------------------------

class PolicyRuntimeConformanceTest : public StressTest, public ::testing::WithParamInterface<Seat> {
 protected:
  void SetUp() override {
    options.scheduler = std::get<0>(GetParam());
    options.workers = std::get<1>(GetParam());
    StressTest::SetUp();
  }
};
INSTANTIATE_TEST_SUITE_P(Every, PolicyRuntimeConformanceTest, with_workers(1u, 2u, 4u), name_of_seat);

struct Hold {};

TEST_P(PolicyRuntimeConformanceTest, AThousandProcessesReadyAtOnceAllRun) {
  run_to_the_end([] {
    std::vector<Monitored> all;
    for (unsigned i = 0; i < kMany; ++i) {
      all.push_back(spawn_monitor({.stack = kStressStack}, [] {
        for (unsigned k = 0; k < 3; ++k) receive(60s, [](Hold) {});
      }));
    }
    for (unsigned k = 0; k < 3; ++k) {
      for (const Monitored& each : all) EXPECT_EQ(send(each.pid, Hold{}), Delivery::queued);
      yield();
    }
    for (const Monitored& each : all) EXPECT_EQ(await_down(each), reason::normal);
  });
}

TEST_P(PolicyRuntimeConformanceTest, AProcessRunsOnTheWorkerItAskedFor) {
  const int workers = static_cast<int>(options.workers);
  const bool shared = max_tasks_of(options.scheduler) == 0;
  run([workers, shared] {
    for (int i = 0; i < workers; ++i) {
      const Monitored made = spawn_monitor({.stack = kStressStack, .worker = i}, [] { wait_forever(); });
      for (int k = 0; k < 5; ++k) {
        const auto info = process_info(made.pid, 60s);
        ASSERT_TRUE(info.has_value());
        EXPECT_EQ(info->worker, info->pinned_to);
        if (shared) {
          EXPECT_EQ(info->pinned_to, i);
        } else {
          EXPECT_NE(info->pinned_to, process_info(self(), 60s)->pinned_to);  // as any other: on one of its own
        }
      }
      exit(made.pid, reason::kill);
      EXPECT_EQ(await_down(made), reason::killed);
    }
  });
  EXPECT_EQ(rt().spawn({.worker = workers}, [] {}), std::unexpected(SpawnError::bad_options));
}

TEST_P(PolicyRuntimeConformanceTest, StopEndsProcessesWhateverTheyDo) {
  for (unsigned round = 0; round < scaled(20); ++round) {
    Runtime runtime(options);
    ASSERT_TRUE(runtime.spawn([] {
      for (;;) yield();
    }));
    ASSERT_TRUE(runtime.spawn([] { idle_forever(); }));
    ASSERT_TRUE(runtime.spawn([] {
      const Pid echo = spawn([] {
        for (;;) receive(forever, [](Pid from) { send(from, Hold{}); });
      });
      for (;;) {
        send(echo, self());
        receive(forever, [](Hold) {});
      }
    }));
    if (round % 2 == 0) {
      ASSERT_TRUE(runtime.spawn_wait(60s, {}, [] { yield(); }));
    }
    EXPECT_TRUE(runtime.stop());
    EXPECT_EQ(runtime.processes(), 0u);
  }
}

// --- names and numbers -----------------------------------------------------------------------------------------------

std::string error_of(const SchedulerOptions& options) {
  const auto made = Scheduler::make(options, [](Scheduler&, Policy&, std::uint16_t) -> std::unique_ptr<Worker> {
    ADD_FAILURE() << "a worker was made";
    return nullptr;
  });
  EXPECT_FALSE(made.has_value());
  return made.has_value() ? "" : made.error();
}
void expect_one_line(const std::string& text) {
  EXPECT_FALSE(text.empty());
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
}

TEST(PolicyNamesTest, AnUnknownOneIsAnsweredWithALineThatNamesTheKnown) {
  const std::string error = error_of({.policy = "nonsense", .workers = 1});
  expect_one_line(error);
  EXPECT_NE(error.find("nonsense"), std::string::npos) << error;
  for (const std::string_view name : policy_names()) EXPECT_NE(error.find(name), std::string::npos) << error;
}

TEST(PolicyNamesTest, TheFirstIsTheDefaultAndNoneComesTwice) {
  std::vector<std::string_view> names = policy_names();
  ASSERT_FALSE(names.empty());
  EXPECT_EQ(SchedulerOptions().policy, names.front());
  EXPECT_EQ(Options().scheduler, names.front());
  std::ranges::sort(names);
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end());
}

TEST(PolicyNamesTest, MoreWorkersThanAllowedIsAnsweredWithALineThatSaysHowManyAre) {
  for (const std::string_view name : policy_names()) {
    for (const unsigned workers : {1025u, ~0u}) {
      const std::string error = error_of({.policy = name, .workers = workers});
      expect_one_line(error);
      EXPECT_NE(error.find("1024"), std::string::npos) << error;
      EXPECT_NE(error.find(std::to_string(workers)), std::string::npos) << error;
    }
  }
}

TEST(PolicyNamesTest, ARuntimeRefusesThemWithTheSameLine) {
  for (const Options& options : {Options{.scheduler = "nonsense", .workers = 1}, Options{.workers = 1025}}) {
    try {
      Runtime runtime(options);
      ADD_FAILURE() << "it was built";
    } catch (const std::invalid_argument& e) {
      EXPECT_EQ(e.what(), "erlking: " + error_of({.policy = options.scheduler, .workers = options.workers}));
    }
  }
}

}  // namespace
}  // namespace erlking::testing
