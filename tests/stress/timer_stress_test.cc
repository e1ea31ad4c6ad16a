// Timers cancelled while they fire, from everywhere, for processes that come and go: each is cancelled or delivered,
// never both, nothing is left over, and places and memory come back.
#include "tests/stress/stress.h"

#include <array>

namespace erlking::testing {
namespace {

class TimerStressTest : public StressTest, public ::testing::WithParamInterface<unsigned> {
 protected:
  void SetUp() override {
    options.workers = GetParam();
    StressTest::SetUp();
  }
};
std::string name_of_workers(const ::testing::TestParamInfo<unsigned>& info) {
  return "Workers" + std::to_string(info.param);
}
INSTANTIATE_TEST_SUITE_P(Every, TimerStressTest, ::testing::Values(1u, 2u, 4u), name_of_workers);

struct Shot {
  Tracked weight;
};
struct Over {};

constexpr std::size_t kPlaces = 64;

// Where the starters put their references, and the cancellers find them.
struct Field {
  std::array<std::atomic<std::uint64_t>, kPlaces> refs{};
  std::atomic<long> armed{0}, cancelled{0}, delivered{0}, refused{0};
  std::atomic<bool> over{false};
  std::shared_ptr<std::atomic<long>> weights = make_count();
};
using FieldPtr = std::shared_ptr<Field>;

TEST_P(TimerStressTest, EachIsDeliveredOrCancelledWhoeverIsQuicker) {
  const auto field = std::make_shared<Field>();
  constexpr int kActors = 8, kTargets = 4;
  const unsigned per_actor = scaled(20'000);
  run_to_the_end([&] {
    std::array<Monitored, kTargets> targets;
    std::array<Pid, kTargets> pids;
    for (int i = 0; i < kTargets; ++i) {
      targets[i] = spawn_monitor({.mailbox = 1, .stack = kStressStack, .timers = kMaxTimers}, [field] {
        for (bool over = false; !over;) {
          receive(
              forever, [&](Shot) { ++field->delivered; }, [&](Expired<Shot>) { ++field->delivered; },
              [&](Over) { over = true; });
        }
        while (receive(
            0s, [&](Shot) { return ++field->delivered > 0; }, [&](Expired<Shot>) { return ++field->delivered > 0; },
            [](Timeout) { return false; })) {
        }
      });
      pids[i] = targets[i].pid;
    }
    std::vector<Monitored> actors;
    for (unsigned a = 0; a < kActors; ++a) {
      actors.push_back(spawn_monitor({.stack = kStressStack}, [field, pids, a, per_actor] {
        base::Random random = random_of(a);
        for (unsigned i = 0; i < per_actor; ++i) {
          const Pid to = pids[random.below(pids.size())];
          const auto when = std::chrono::microseconds(random.below(60));
          const auto t = random.below(2) == 0 ? send_after(when, to, Shot{Tracked(field->weights)})
                                              : start_timer(when, to, Shot{Tracked(field->weights)});
          if (!t) {
            ++field->refused;
            continue;
          }
          ++field->armed;
          const TimerRef other{field->refs[random.below(kPlaces)].exchange(t->id)};
          if (random.below(4) != 0) {
            read_timer(other);
            if (cancel_timer(other)) ++field->cancelled;
          }
          if (random.below(8) == 0) sleep(std::chrono::microseconds(random.below(30)));
        }
      }));
    }
    for (auto& actor : actors) EXPECT_EQ(await_down(actor), reason::normal);
    for (auto& ref : field->refs) {
      if (cancel_timer(TimerRef{ref.load()})) ++field->cancelled;
    }
    while (field->armed > field->cancelled + field->delivered) sleep(1ms);  // hangs if one was lost
    for (auto& target : targets) {
      while (send(target.pid, Over{}) == Delivery::full) sleep(1ms);
      EXPECT_EQ(await_down(target), reason::normal);
    }
  });
  EXPECT_EQ(field->armed.load(), field->cancelled + field->delivered);
  EXPECT_EQ(field->refused.load(), 0);
  EXPECT_GT(field->cancelled.load(), 0);
  EXPECT_GT(field->delivered.load(), 0);
  EXPECT_EQ(field->weights->load(), 0);
}

TEST_P(TimerStressTest, ProcessesDieWithTimersAimedAtThem) {
  const auto field = std::make_shared<Field>();
  constexpr int kActors = 6;
  const unsigned rounds = scaled(3'000);
  run_to_the_end([&] {
    std::vector<Monitored> actors;
    for (unsigned a = 0; a < kActors; ++a) {
      actors.push_back(spawn_monitor({.stack = kStressStack}, [field, a, rounds] {
        base::Random random = random_of(100 + a);
        std::vector<TimerRef> intervals;
        for (unsigned i = 0; i < rounds; ++i) {
          const Pid target = spawn({.stack = kStressStack}, [field] {
            for (int n = 0; n < 3; ++n)
              receive(
                  1ms, [](Shot) {}, [](Expired<Shot>) {}, [](Over) {}, [](Timeout) {});
          });
          for (unsigned n = 0; n < 8; ++n) {
            const auto when = random.below(4) == 0 ? Duration(1h) : std::chrono::microseconds(random.below(100));
            const auto t = send_after(when, target, Shot{Tracked(field->weights)});
            if (!t) continue;
            const TimerRef other{field->refs[random.below(kPlaces)].exchange(t->id)};
            if (random.below(2) == 0) cancel_timer(other);
          }
          if (random.below(4) == 0) {
            if (const auto t = send_every(20us, target, Over{})) intervals.push_back(*t);
          }
          if (random.below(3) == 0) exit(target, reason::kill);
          if (intervals.size() > 8) {
            for (const TimerRef t : intervals) cancel_timer(t);
            intervals.clear();
          }
        }
        for (const TimerRef t : intervals) cancel_timer(t);
      }));
    }
    for (auto& actor : actors) EXPECT_EQ(await_down(actor), reason::normal);
  });
  // What is left is for the dead: an hour's timers, found when a place is wanted.
  EXPECT_LE(rt().stats().timer_places, 64u * 1024);
  EXPECT_TRUE(rt().stop());
  EXPECT_EQ(field->weights->load(), 0);
}

TEST_P(TimerStressTest, IntervalsAreCancelledFromElsewhereWhileTheyBeat) {
  const unsigned rounds = scaled(4'000);
  run_to_the_end([&] {
    const Monitored canceller = spawn_monitor({.stack = kStressStack}, [] {
      for (bool over = false; !over;) {
        receive(
            forever,
            [](std::pair<TimerRef, Pid> job) {
              EXPECT_TRUE(cancel_timer(job.first));
              EXPECT_FALSE(cancel_timer(job.first));
              EXPECT_EQ(send(job.second, Over{}), Delivery::queued);
            },
            [&](Over) { over = true; });
      }
    });
    const auto weights = make_count();
    for (unsigned i = 0; i < rounds; ++i) {
      const auto t = send_every(1us, self(), [weights] { return Shot{Tracked(weights)}; });
      ASSERT_TRUE(t);
      if (i % 4 == 0) receive(10s, [](Shot) {});
      ASSERT_EQ(send(canceller.pid, std::pair(*t, self())), Delivery::queued);
      receive(10s, [](Over) {});
      flush();  // all there is: nothing comes after the answer
      ASSERT_EQ(weights->load(), 0) << i;
      if (i % 16 == 0) {
        sleep(50us);
        ASSERT_TRUE(mailbox_empty()) << i;
      }
    }
    EXPECT_EQ(send(canceller.pid, Over{}), Delivery::queued);
    EXPECT_EQ(await_down(canceller), reason::normal);
  });
}

TEST_P(TimerStressTest, AMillionStartedAndCancelledGiveTheirMemoryBack) {
  const unsigned per_process = scaled(125'000);
  constexpr unsigned kProcesses = 8;
  const auto cancelled = make_count();
  run_to_the_end([&] {
    std::vector<Monitored> all;
    for (unsigned p = 0; p < kProcesses; ++p) {
      all.push_back(spawn_monitor({.stack = kStressStack, .timers = per_process}, [cancelled, p, per_process] {
        base::Random random = random_of(p);
        std::vector<TimerRef> refs(per_process);
        for (TimerRef& ref : refs) {
          const auto t = send_after(1h + std::chrono::microseconds(random.below(1'000'000)), self(), Over{});
          if (!t) FAIL() << to_string(t.error());
          ref = *t;
        }
        EXPECT_EQ(send_after(1h, self(), Over{}).error(), TimerError::system_limit);
        yield();
        for (const TimerRef ref : refs) *cancelled += cancel_timer(ref) ? 1 : 0;
      }));
    }
    for (auto& one : all) EXPECT_EQ(await_down(one), reason::normal);
  });
  EXPECT_EQ(cancelled->load(), static_cast<long>(per_process) * kProcesses);
  EXPECT_LE(rt().stats().heap.blocks_live, 16u);
}

}  // namespace
}  // namespace erlking::testing
