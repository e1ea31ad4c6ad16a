// What a scheduler back end must do that gives each task a worker of its own: those of policy_names() with
// Policy::max_tasks().
#include "tests/conformance/policy_fixture.h"

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace erlking::testing {
namespace {

std::size_t threads_of_program() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<std::size_t>(std::ranges::distance(begin(tasks), end(tasks)));
}

class OwnWorkerConformanceTest : public PolicyConformanceTest {
 protected:
  /// Starts `n` jobs that wait, and returns when all do.
  void start_waiting(unsigned n) {
    const std::uint64_t before = waiting.count();
    for (unsigned i = 0; i < n; ++i) {
      jobs.push_back(&crew().start([&](Job& self) {
        waiting.add();
        self.await();
      }));
    }
    ASSERT_TRUE(waiting.reach(before + n)) << waiting.count();
  }
  /// Lets all of them end, and waits for it.
  void end_all() {
    for (Job* job : jobs) job->make_ready();
    expect_ended(waiting.count());
    jobs.clear();
  }
  // A sanitizer's threads are dear, and ThreadSanitizer has no more than 8,128, fibers included.
  static constexpr unsigned kSome = static_cast<unsigned>(scaled(500)) + 100;

  Tally waiting;
  std::vector<Job*> jobs;
};
INSTANTIATE_TEST_SUITE_P(Every, OwnWorkerConformanceTest, ::testing::ValuesIn(seats(Kind::own, {1})), name_of_seat);

TEST_P(OwnWorkerConformanceTest, NoTwoThatLiveShareAThread) {
  std::mutex mutex;
  std::set<std::thread::id> threads;
  std::set<std::uint16_t> pins;
  for (unsigned i = 0; i < kSome; ++i) {
    jobs.push_back(&crew().start([&](Job& self) {
      {
        const std::lock_guard lock(mutex);
        threads.insert(std::this_thread::get_id());
        pins.insert(self.worker->index());
      }
      waiting.add();
      self.await();
    }));
  }
  ASSERT_TRUE(waiting.reach(kSome));
  EXPECT_EQ(threads.size(), kSome);
  EXPECT_EQ(pins.size(), kSome);
  EXPECT_EQ(crew().scheduler().size(), kSome);
  end_all();
}

TEST_P(OwnWorkerConformanceTest, OneThatBlocksItsThreadHoldsNobodyUp) {
  std::mutex mutex;
  std::condition_variable changed;
  unsigned blocked = 0;
  crew().start([&](Job&) {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, kPatience / 2, [&] { return blocked == 3; }));
  });
  for (unsigned i = 0; i < 3; ++i) {
    crew().start([&](Job&) {
      std::unique_lock lock(mutex);
      ++blocked;
      changed.notify_all();
      EXPECT_TRUE(changed.wait_for(lock, kPatience / 2, [&] { return blocked == 3; }));
    });
  }
  expect_ended(4);
}

TEST_P(OwnWorkerConformanceTest, WorkersAreUsedAgain) {
  const unsigned rounds = scaled(2'000);
  for (unsigned i = 0; i < rounds; ++i) {
    crew().start([](Job& self) { self.yield(); });
    expect_ended(i + 1);
  }
  // The last one may be clearing up still as the next is admitted.
  EXPECT_LE(crew().scheduler().size(), 2u);
}

// All but a few of the threads end, and are made anew.
TEST_P(OwnWorkerConformanceTest, ThreadsComeAndGoWithTheTasks) {
  const std::size_t before = threads_of_program();
  for (unsigned round = 0; round < 3; ++round) {
    start_waiting(kSome);
    EXPECT_GE(threads_of_program(), before + kSome);
    end_all();
    EXPECT_TRUE(hog_until([&] { return threads_of_program() < before + kSome; })) << threads_of_program();
    crew().policy().wake_all();  // those that have no thread, too
    EXPECT_TRUE(hog_until([&] { return crew().scheduler().idle(); }));
  }
  EXPECT_EQ(crew().scheduler().size(), kSome);
}

// A job's timer may outlive it: its worker stays until it has fired.
TEST_P(OwnWorkerConformanceTest, ATimerOfAFreeWorkerFires) {
  clock = base::Clock::Kind::manual;
  Job& sleeper = crew().start([](Job& self) { self.await(); });
  TimerNode node;
  start_waiting(kSome - 1);
  Job& leaver = crew().start([&](Job& self) {
    node.target = reinterpret_cast<std::uintptr_t>(&sleeper);
    self.worker->wheel().arm_at(node, crew().clock.now() + 1'000'000'000);
    waiting.add();
    self.await();
  });
  ASSERT_TRUE(waiting.reach(kSome));
  jobs.push_back(&leaver);
  end_all();
  ASSERT_TRUE(hog_until([&] { return crew().scheduler().idle(); }));
  EXPECT_EQ(crew().ended.count(), kSome);
  crew().clock.advance(1'000'000'000 + TimerWheel::kTick);
  crew().policy().wake_all();
  expect_ended(kSome + 1);
}

// The token goes through many workers, while the look at all of them takes long.
TEST_P(OwnWorkerConformanceTest, IdleIsTrueOnlyWhenNoneOfManyCanRun) {
  clock = base::Clock::Kind::manual;
  const unsigned episodes = scaled(100);
  const unsigned n = kSome;
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> hops{0};
  jobs.resize(n);
  for (unsigned i = 0; i < n; ++i) {
    jobs[i] = &crew().add([&, i](Job& self) {
      base::Random random = random_of(i);
      for (;;) {
        self.await();
        if (over) break;
        if (++hops % 100 != 0) jobs[(i + 1 + random.below(n - 1)) % n]->make_ready();
      }
    });
  }
  for (Job* job : jobs) crew().start(*job);
  for (unsigned episode = 1; episode <= episodes; ++episode) {
    ASSERT_TRUE(hog_until([&] { return crew().scheduler().idle(); }));
    ASSERT_EQ(hops, (episode - 1) * 100);
    jobs[episode % n]->make_ready();
  }
  ASSERT_TRUE(hog_until([&] { return crew().scheduler().idle(); }));
  over = true;
  for (Job* job : jobs) job->make_ready();
  expect_ended(n);
}

#if !defined(__SANITIZE_THREAD__)
TEST_P(OwnWorkerConformanceTest, AsManyAsItSaysAreAdmittedAndNoMore) {
  const unsigned most = crew().policy().max_tasks();
  for (unsigned round = 0; round < 2; ++round) {
    start_waiting(most);
    if (HasFatalFailure()) return;
    for (unsigned i = 0; i < 3; ++i) {
      Task refused;
      EXPECT_FALSE(crew().policy().admit(refused));
    }
    // One ends: there is room for one.
    jobs.back()->make_ready();
    jobs.pop_back();
    ASSERT_TRUE(crew().ended.reach(std::uint64_t{round} * (most + 1) + 1));
    start_waiting(1);
    Task refused;
    EXPECT_FALSE(crew().policy().admit(refused));
    end_all();
  }
}
#endif

TEST_P(OwnWorkerConformanceTest, WhoStopsAdmitsNobody) {
  Job& last = crew().start([&](Job& self) {
    self.await();
    EXPECT_TRUE(hog_until([&] { return crew().scheduler().stopping(); }));
    Task refused;
    EXPECT_FALSE(crew().policy().admit(refused));
  });
  last.make_ready();
  crew().scheduler().stop();
  EXPECT_EQ(crew().ended.count(), 1u);
}

}  // namespace
}  // namespace erlking::testing
