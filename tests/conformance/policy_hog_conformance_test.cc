// What every scheduler back end must do while a task does not switch: it goes on until others have run, which they can
// only on another worker.
#include "tests/conformance/policy_fixture.h"

#include <array>
#include <atomic>
#include <vector>

namespace erlking::testing {
namespace {

class HogConformanceTest : public PolicyConformanceTest {};
INSTANTIATE_TEST_SUITE_P(Every, HogConformanceTest, with_workers(2u, 4u), name_of_seat);

TEST_P(HogConformanceTest, WhatItMadeReadyLastIsTaken) {
  for (unsigned round = 0; round < 20; ++round) {
    Tally ran;
    crew().start([&](Job&) {
      crew().start([&](Job&) { ran.add(); });
      EXPECT_TRUE(hog_until([&] { return ran.count() == 1; }));
    });
    expect_ended(2 * (round + 1));
  }
}

TEST_P(HogConformanceTest, WhatItBoreIsTaken) {
  std::uint64_t started = 0;
  for (const unsigned n : {1u, 2u, 20u, Nursery::kPlaces, kMany}) {
    SCOPED_TRACE(n);
    std::atomic<unsigned> ran{0};
    crew().start([&](Job&) {
      for (unsigned i = 0; i < n; ++i) crew().bear(crew().add([&](Job&) { ++ran; }));
      EXPECT_TRUE(hog_until([&] { return ran == n; }));
    });
    expect_ended(started += n + 1);
  }
}

// The first of `n` to run is the one that goes on. 2: one waits in the ring. 20: some are in a batch already. 1,000:
// most wait behind the ring.
TEST_P(HogConformanceTest, WhatWaitsBehindItIsTaken) {
  std::uint64_t started = 0;
  for (const unsigned n : {2u, 20u, 255u, kMany}) {
    SCOPED_TRACE(n);
    std::atomic<bool> hogged{false};
    std::atomic<unsigned> ran{0};
    crew().start([&](Job&) {
      for (unsigned i = 0; i < n; ++i) {
        crew().enqueue(crew().add([&](Job&) {
          if (hogged.exchange(true)) {
            ++ran;
          } else {
            EXPECT_TRUE(hog_until([&] { return ran == n - 1; }));
          }
        }));
      }
    });
    expect_ended(started += n + 1);
  }
}

// Pinned tasks wait among others behind one that does not switch: those that look for work there must leave them.
TEST_P(HogConformanceTest, PinnedTasksAreLeftToIt) {
  constexpr unsigned kPinned = 20, kOthers = 300;
  Tally others;
  crew().start(
      [&](Job&) {
        const auto pinned = [&] {
          return &crew().add([&](Job& me) { EXPECT_EQ(me.worker->index(), me.pin); }, last_worker());
        };
        for (unsigned i = 0; i < kOthers; ++i) {
          crew().enqueue(crew().add([&](Job&) { others.add(); }));
          if (i % (kOthers / kPinned) == 0) crew().enqueue(*pinned());
        }
        crew().start(*pinned());  // next in line
        EXPECT_TRUE(hog_until([&] { return others.count() == kOthers; }));
      },
      last_worker());
  expect_ended(1 + kOthers + kPinned + 1);
}

TEST_P(HogConformanceTest, OthersThatTalkGoOn) {
  constexpr unsigned kPairs = 8;
  const unsigned hops = scaled(2'000);
  std::atomic<unsigned> done{0};
  std::array<Job*, 2 * kPairs> jobs{};
  for (unsigned i = 0; i < jobs.size(); ++i) {
    jobs[i] = &crew().add([&, i](Job& self) {
      for (unsigned hop = 0; hop < hops; ++hop) {
        jobs[i ^ 1]->make_ready();
        self.await();
      }
      jobs[i ^ 1]->make_ready();
      ++done;
    });
  }
  crew().start([&](Job&) {
    for (Job* job : jobs) crew().enqueue(*job);
    EXPECT_TRUE(hog_until([&] { return done == jobs.size(); }));
  });
  expect_ended(jobs.size() + 1);
}

TEST_P(HogConformanceTest, WhatComesFromOutsideIsNotKeptWaiting) {
  constexpr unsigned kJobs = 32;
  Tally waiting, ran;
  std::vector<Job*> jobs(kJobs);
  for (Job*& job : jobs) {  // some of them have their home where the other will stay
    job = &crew().start([&](Job& self) {
      waiting.add();
      self.await();
      ran.add();
    });
  }
  ASSERT_TRUE(waiting.reach(kJobs));
  Tally hogging;
  crew().start(
      [&](Job&) {
        hogging.add();
        EXPECT_TRUE(hog_until([&] { return ran.count() == 2 * kJobs; }));
      },
      last_worker());
  ASSERT_TRUE(hogging.reach(1));
  for (Job* job : jobs) job->make_ready();
  for (unsigned i = 0; i < kJobs; ++i) crew().start([&](Job&) { ran.add(); });
  expect_ended(2 * kJobs + 1);
}

}  // namespace
}  // namespace erlking::testing
