// Spare threads: each job once, oldest first; what is cancelled, abandoned, or more than there are threads for.
#include "io/io.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <deque>
#include <fcntl.h>
#include <memory>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace erlking::io {
namespace {

using namespace std::chrono_literals;

struct Waiter {
  std::atomic<unsigned> woken{0};
};
void count_wake(void* waiter) noexcept { static_cast<Waiter*>(waiter)->woken.fetch_add(1); }

// Waits for `open`, and says in what order it was run.
struct Door {
  std::atomic<bool> open{false};
  std::atomic<int> inside{0}, runs{0}, destroyed{0};
};
class Visit final : public Call {
 public:
  explicit Visit(Door& door) : door_(door) {
    operation.wake = &count_wake;
    operation.waiter = &waiter;
  }
  ~Visit() override { ++door_.destroyed; }
  void run() noexcept override {
    ++door_.inside;
    while (!door_.open) std::this_thread::sleep_for(100us);
    turn = ++door_.runs;
  }
  Waiter waiter;
  int turn = 0;

 private:
  Door& door_;
};

template <class Done>
bool in_time(Done&& done) {
  for (int i = 0; i < 200'000; ++i) {
    if (done()) return true;
    std::this_thread::sleep_for(100us);
  }
  return false;
}

TEST(SpareTest, RunsEachOnceOldestFirstAndTellsItsWaiter) {
  Door door;
  std::deque<Visit> visits;
  Spare spare(1);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(spare.post(visits.emplace_back(door).operation));
  door.open = true;
  ASSERT_TRUE(in_time([&] { return visits.back().operation.done.load(); }));
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(visits[static_cast<std::size_t>(i)].turn, i + 1);
    EXPECT_TRUE(in_time([&] { return visits[static_cast<std::size_t>(i)].waiter.woken == 1; }));
  }
  EXPECT_EQ(spare.threads(), 1u);
}

TEST(SpareTest, MakesAThreadWhenNoneIsFreeAndNoMoreThanAllowed) {
  Door door;
  std::deque<Visit> visits;
  Spare spare(3);
  EXPECT_EQ(spare.threads(), 0u) << "none before there is work";
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(spare.post(visits.emplace_back(door).operation));
  EXPECT_TRUE(in_time([&] { return door.inside == 3; }));
  EXPECT_EQ(spare.threads(), 3u);
  door.open = true;
  EXPECT_TRUE(in_time([&] { return door.runs == 10; }));
  EXPECT_TRUE(in_time([&] { return visits.back().operation.done.load(); }));
  for (Visit& visit : visits) EXPECT_TRUE(in_time([&] { return visit.waiter.woken == 1; }));
  EXPECT_EQ(spare.threads(), 3u);
}

TEST(SpareTest, WhatHasNotBegunCanBeCancelledWhatHasCannot) {
  Door door;
  Visit first(door), second(door), third(door);
  Spare spare(1);
  for (Visit* const visit : {&first, &second, &third}) ASSERT_TRUE(spare.post(visit->operation));
  ASSERT_TRUE(in_time([&] { return door.inside == 1; }));
  spare.cancel(second.operation);
  EXPECT_TRUE(second.operation.done && second.operation.cancel_seen);
  EXPECT_EQ(second.operation.result, -ECANCELED);
  spare.cancel(first.operation);
  EXPECT_TRUE(first.operation.cancel_seen);
  EXPECT_FALSE(first.operation.done) << "it runs: whoever leaves its memory must wait";
  door.open = true;
  EXPECT_TRUE(in_time([&] { return third.waiter.woken == 1; }));
  EXPECT_TRUE(first.operation.done);
  EXPECT_EQ(second.turn, 0);
  spare.cancel(third.operation);
  EXPECT_TRUE(third.operation.cancel_seen) << "also of what is over";
}

TEST(SpareTest, WhatIsAbandonedWhileItRunsIsDestroyedThere) {
  Door door;
  auto runs = std::make_unique<Visit>(door), waits = std::make_unique<Visit>(door);
  Spare spare(1);
  ASSERT_TRUE(spare.post(runs->operation));
  ASSERT_TRUE(in_time([&] { return door.inside == 1; }));
  ASSERT_TRUE(spare.post(waits->operation));
  EXPECT_FALSE(spare.abandon(*waits)) << "not begun: the caller's";
  EXPECT_TRUE(spare.abandon(*runs));
  static_cast<void>(runs.release());
  waits.reset();
  EXPECT_EQ(door.destroyed, 1);
  door.open = true;
  EXPECT_TRUE(in_time([&] { return door.destroyed == 2; }));
  EXPECT_EQ(door.runs, 1);
}

TEST(SpareTest, EndsWithoutWaitingForWhatIsAbandoned) {
  Door door;
  {
    Spare spare(2);
    auto* const visit = new Visit(door);
    ASSERT_TRUE(spare.post(visit->operation));
    ASSERT_TRUE(in_time([&] { return door.inside == 1; }));
    EXPECT_TRUE(spare.abandon(*visit));
  }
  EXPECT_EQ(door.runs, 0);
  door.open = true;
  EXPECT_TRUE(in_time([&] { return door.destroyed == 1; }));
}

TEST(SpareTest, MakesTheCallsOfFiles) {
  const int fd = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  Waiter waiter;
  Spare spare(2);
  const auto outcome = [&](Code code, char* data, std::size_t size, std::uint64_t offset) {
    Operation operation(code, fd, data, size);
    operation.offset = offset;
    operation.wake = &count_wake;
    operation.waiter = &waiter;
    EXPECT_TRUE(spare.post(operation));
    EXPECT_TRUE(in_time([&] { return operation.done.load(); }));
    return operation.result;
  };
  std::string text = "hello world";
  char got[64] = "";
  EXPECT_EQ(outcome(Code::write_at, text.data(), text.size(), 100), 11);
  EXPECT_EQ(outcome(Code::sync, nullptr, 0, 0), 0);
  EXPECT_EQ(outcome(Code::sync_data, nullptr, 0, 0), 0);
  EXPECT_EQ(outcome(Code::read_at, got, sizeof got, 106), 5);
  EXPECT_EQ(std::string_view(got, 5), "world");
  ::close(fd);
  EXPECT_EQ(outcome(Code::read_at, got, sizeof got, 0), -EBADF);
}

}  // namespace
}  // namespace erlking::io
