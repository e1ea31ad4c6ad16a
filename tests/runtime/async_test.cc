// Computations that are awaited: their results, failures and ends; parallel_map.
#include "tests/support/runtime_fixture.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace erlking {
inline void PrintTo(const CallError& error, std::ostream* out) {
  *out << to_string(error.kind) << " " << error.why.to_string();
}

namespace testing {
namespace {

struct Note {
  int number;
};

std::unexpected<CallError> failed(CallFailure kind, Reason why = {}) {
  return std::unexpected(CallError{kind, std::move(why)});
}
int slow(int number) {
  sleep(1s);
  return number + 1;
}
int never() {
  wait_forever();
  return 0;
}
/// Counts those of it that live; to be made in a computation.
struct Counted {
  explicit Counted(std::atomic<int>& count) : living(count) { ++living; }
  ~Counted() { --living; }
  std::atomic<int>& living;
};

struct AsyncTest : RuntimeTest {
  std::atomic<int> living{0};
};

TEST_F(AsyncTest, TheResultIsAwaited) {
  run([] {
    EXPECT_EQ(await(async([] { return 7; }), 1s), 7);
    Async<int> one = async(slow, 1), other = async({.stack = 128 * 1024}, slow, 2);
    EXPECT_NE(one.pid(), other.pid());
    EXPECT_TRUE(one);
    EXPECT_EQ(await(std::move(other), 5s), 3);
    EXPECT_EQ(await(std::move(one), 5s), 2);
    EXPECT_FALSE(one);
    const auto moved = await(async([](std::unique_ptr<int> given) { return given; }, std::make_unique<int>(4)), 1s);
    EXPECT_EQ(**moved, 4);
    bool ran = false;
    EXPECT_TRUE(await(async([&ran] { ran = true; }), 1s));
    EXPECT_TRUE(ran);
    EXPECT_TRUE(mailbox_empty());
    EXPECT_TRUE(process_info(self(), 1s)->links.empty());
  });
}

TEST_F(AsyncTest, ItMayBeAskedAgain) {
  run([] {
    Async<int> computation = async(slow, 1);
    EXPECT_FALSE(wait_result(computation, 0s));
    EXPECT_FALSE(wait_result(computation, 300ms));
    EXPECT_EQ(wait_result(computation, forever).value(), 2);
    EXPECT_THROW(static_cast<void>(wait_result(computation, 1s)), std::logic_error);
    Async<void> nothing = async([] { sleep(1s); });
    EXPECT_FALSE(wait_result(nothing, 300ms));
    EXPECT_TRUE(wait_result(nothing, 3s)->has_value());
    EXPECT_THROW(static_cast<void>(await(Async<int>(), 1s)), std::logic_error);
  });
}

TEST_F(AsyncTest, ItsResultIsFoundAmongMessages) {
  run([] {
    Async<int> computation = async(slow, 1);
    send(self(), Note{1});
    std::string seen;
    while (computation) {
      Message message = receive(5s, [](Message any) { return any; });
      if (const auto result = check_result(message, computation)) {
        seen += "result " + std::to_string(result->value());
      } else {
        seen += message.get<Note>() != nullptr ? "note " : "else ";
      }
    }
    EXPECT_EQ(seen, "note result 2");
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(AsyncTest, ItsFailureEndsItsOwner) {
  EXPECT_EQ(outcome([] {
              Async<int> computation = async([]() -> int { throw std::runtime_error("out of sorts"); });
              static_cast<void>(await(std::move(computation), 5s));
            }).what(),
            "out of sorts");
  EXPECT_EQ(outcome([] { static_cast<void>(await(async([] { exit(Reason("enough")); }), 5s)); }), Reason("enough"));
  EXPECT_EQ(outcome([] {
              const Async<int> computation = async(never);
              exit(computation.pid(), reason::kill);
              sleep(1s);
            }),
            reason::killed);
}

TEST_F(AsyncTest, AnOwnerThatTrapsIsToldTheReason) {
  run([] {
    trap_exit(true);
    Async<int> computation = async([]() -> int { throw std::runtime_error("out of sorts"); });
    const Pid pid = computation.pid();
    const auto result = await(std::move(computation), 5s);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind, CallFailure::died);
    EXPECT_EQ(result.error().why.what(), "out of sorts");
    EXPECT_EQ(await_exit(pid), result.error().why);
    EXPECT_EQ(await(async([] { return 1; }), 1s), 1);
    sleep(1s);
    EXPECT_TRUE(mailbox_empty()) << "no Exit of one that went well";
    Async<int> killed = async(never);
    exit(killed.pid(), reason::kill);
    EXPECT_EQ(wait_result(killed, 1s).value(), failed(CallFailure::died, reason::killed));
    EXPECT_EQ(await_exit(killed.pid()), reason::killed);
  });
}

TEST_F(AsyncTest, OneThatExitsNormallyHasNoResult) {
  run([] {
    EXPECT_EQ(await(async([]() -> int { exit(reason::normal); }), 5s), failed(CallFailure::died));
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(AsyncTest, WhenTheBoundPassesItIsEnded) {
  run([this] {
    const auto wait = [this] {
      const Counted here(living);
      wait_forever();
    };
    Async<void> computation = async(wait);
    const Pid pid = computation.pid();
    const MonitorRef ref = monitor(pid);
    EXPECT_EQ(await(std::move(computation), 1s), failed(CallFailure::timeout));
    EXPECT_EQ(await_down(ref), reason::killed);
    EXPECT_EQ(living, 0);  // its stack was unwound
    EXPECT_EQ(await(async(never), 0s), failed(CallFailure::timeout));
    trap_exit(true);
    EXPECT_EQ(await(async([] {
                      trap_exit(true);
                      return never();
                    }),
                    1s),
              failed(CallFailure::timeout));
    sleep(1s);
    EXPECT_TRUE(mailbox_empty());
    EXPECT_TRUE(process_info(self(), 1s)->links.empty());
    EXPECT_EQ(process_info(self(), 1s)->aliases, 0u);
  });
}

TEST_F(AsyncTest, OneThatIsDestroyedIsEnded) {
  run([] {
    trap_exit(true);
    std::vector<MonitorRef> watched;
    {
      Async<int> running = async(never), ready = async([] { return 1; }),
                 crashed = async([]() -> int { exit(Reason("x")); });
      Async<int> replaced = async(never);
      watched = {monitor(running.pid()), monitor(replaced.pid())};
      const Pid failing = crashed.pid();
      EXPECT_EQ(await_exit(failing), Reason("x"));
      replaced = async([] { return 2; });
      Async<int> never_begun = async(never);
    }
    for (const MonitorRef ref : watched) EXPECT_EQ(await_down(ref), reason::killed);
    sleep(1s);
    EXPECT_TRUE(mailbox_empty());
    EXPECT_TRUE(process_info(self(), 1s)->links.empty());
  });
}

TEST_F(AsyncTest, ItEndsWithItsOwner) {
  for (const std::string_view how : {"returns", "throws", "is killed", "waits and is killed"}) {
    run([how, this] {
      const Monitored owner = spawn_monitor([how, this] {
        Async<void> computation = async([this] {
          const Counted here(living);
          wait_forever();
        });
        while (living == 0) yield();
        if (how == "throws") exit(Reason("enough"));
        if (how == "is killed") wait_forever();
        if (how == "waits and is killed") static_cast<void>(await(std::move(computation), forever));
      });
      sleep(1s);
      exit(owner.pid, reason::kill);
      await_down(owner);
      sleep(1s);
      EXPECT_EQ(living, 0) << how;
    });
  }
}

TEST_F(AsyncTest, ItMayUseItsMailbox) {
  run([] {
    Async<int> computation = async([] {
      flush();
      const int number = receive(5s, [](Message any) { return any.get<Note>()->number; });
      return number + await(async(slow, 10), 5s).value();
    });
    sleep(1s);
    send(computation.pid(), Note{100});
    EXPECT_EQ(await(std::move(computation), 5s), 111);
  });
}

TEST_F(AsyncTest, ItBelongsToItsOwner) {
  run([this] {
    Async<void> computation = async([this] {
      const Counted here(living);
      sleep(1s);
    });
    while (living == 0) yield();
    const Monitored other = spawn_monitor([computation = std::move(computation)]() mutable {
      EXPECT_THROW(static_cast<void>(wait_result(computation, 1s)), std::logic_error);
    });
    EXPECT_EQ(await_down(other), reason::normal);
    EXPECT_EQ(living, 1);  // it was not ended
    sleep(2s);
    EXPECT_EQ(living, 0);
    EXPECT_EQ(flush(), 1u);  // its result
  });
}

TEST_F(AsyncTest, WhatStopsItFromBeginningExitsTheCaller) {
  EXPECT_EQ(outcome([] { async({.name = "undefined"}, never); }), Reason("bad_options"));
  EXPECT_EQ(outcome([] {
              register_name("taken", self());
              async({.name = "taken"}, never);
            }),
            Reason("name_taken"));
}

// --- parallel_map ----------------------------------------------------------------------------------------------------

TEST_F(AsyncTest, AMapGivesItsResultsInOrder) {
  run([] {
    std::vector<int> numbers(50);
    for (int n = 0; n < 50; ++n) numbers[static_cast<std::size_t>(n)] = n;
    const auto squares = parallel_map(
        numbers,
        [](int n) {
          sleep(std::chrono::milliseconds((n * 37) % 50));
          return std::to_string(n * n);
        },
        {}, 1min);
    ASSERT_EQ(squares.size(), 50u);
    for (int n = 0; n < 50; ++n) EXPECT_EQ(squares[static_cast<std::size_t>(n)], std::to_string(n * n));
    EXPECT_TRUE(parallel_map(std::vector<int>(), slow, {}, 1s).empty());
    const auto nothing = parallel_map(
        std::array{1, 2}, [](int) {}, {.at_once = 100}, 1s);
    EXPECT_TRUE(nothing[0] && nothing[1]);
    EXPECT_TRUE(mailbox_empty());
    EXPECT_EQ(process_info(self(), 1s)->aliases, 0u);
  });
}

TEST_F(AsyncTest, AMapRunsNoMoreProcessesThanItIsTold) {
  std::atomic<int> most{0};
  run([this, &most] {
    const auto count = [this, &most](int) {
      const Counted here(living);
      int seen = most;
      while (living > seen && !most.compare_exchange_weak(seen, living)) {
      }
      sleep(1s);
    };
    const auto before = now();
    parallel_map(std::vector<int>(12), count, {.at_once = 3}, 1min);
    EXPECT_EQ(most, 3);
    EXPECT_GE(now() - before, 4s);
    most = 0;
    parallel_map(std::vector<int>(12), count, {}, 1min);
    EXPECT_EQ(most, 2);  // workers
  });
}

TEST_F(AsyncTest, AMapTellsWhichElementsFailed) {
  run([] {
    const auto results = parallel_map(
        std::vector{0, 1, 2, 3, 4},
        [](int n) -> int {
          if (n == 1) throw std::runtime_error("odd");
          if (n == 2) exit(Reason("no_two"));
          if (n == 3) exit(self(), reason::kill);
          return n;
        },
        {.at_once = 2}, 5s);
    EXPECT_EQ(results[0], 0);
    EXPECT_EQ(results[1].error().why.what(), "odd");
    EXPECT_EQ(results[2], failed(CallFailure::died, Reason("no_two")));
    EXPECT_EQ(results[3], failed(CallFailure::died, reason::killed));
    EXPECT_EQ(results[4], 4);
    EXPECT_EQ(parallel_map(std::vector{1}, slow, {.spawn = {.name = "undefined"}}, 5s).at(0),
              failed(CallFailure::refused, Reason("bad_options")));
  });
}

TEST_F(AsyncTest, AMapEndsWhatIsNotThereInTime) {
  run([this] {
    const auto wait = [this](int seconds) {
      const Counted here(living);
      sleep(std::chrono::seconds(seconds));
      return seconds;
    };
    const auto results = parallel_map(std::vector{1, 60, 2, 60, 60, 60}, wait, {.at_once = 2}, 10s);
    EXPECT_EQ(results, (std::vector<Computed<int>>{1, failed(CallFailure::timeout), 2, failed(CallFailure::timeout),
                                                   failed(CallFailure::timeout), failed(CallFailure::timeout)}));
    sleep(1s);
    EXPECT_EQ(living, 0);
    EXPECT_EQ(parallel_map(std::vector{1, 1}, wait, {}, 0s).at(1), failed(CallFailure::timeout));
    sleep(10s);
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(AsyncTest, AMapEndsWithItsCaller) {
  run([this] {
    const Monitored caller = spawn_monitor([this] {
      parallel_map(
          std::vector<int>(10),
          [this](int) {
            const Counted here(living);
            wait_forever();
          },
          {.at_once = 5}, forever);
    });
    while (living < 5) yield();
    exit(caller.pid, reason::kill);
    EXPECT_EQ(await_down(caller), reason::killed);
    sleep(1s);
    EXPECT_EQ(living, 0);
  });
}

// --- all at once -----------------------------------------------------------------------------------------------------

struct AsyncStressTest : RuntimeMatrixTest {
  std::atomic<int> living{0};
};
INSTANTIATE_TEST_SUITE_P(Every, AsyncStressTest, every_setting(), name_of_setting);

// Owners that await, give up, let go and are killed, of computations that return, throw, and begin others. Every result
// is the right one, and none is left.
TEST_P(AsyncStressTest, EveryComputationEndsAndNothingIsLeft) {
  run([this] {
    constexpr unsigned kOwners = 8;
    constexpr int kRounds = 25;
    const auto own = [this](unsigned seed) {
      trap_exit(true);
      std::minstd_rand random(seed);
      const auto compute = [this](int n, unsigned how) {
        const Counted here(living);
        if (how % 5 == 0) exit(Reason("failed"));
        if (how % 5 == 1) sleep(std::chrono::microseconds(how % 300));
        if (how % 5 == 2) return await(async([n] { return n * 3; }), 1s).value();
        return n * 3;
      };
      for (int n = 0; n < kRounds; ++n) {
        std::vector<Async<int>> begun;
        for (int i = 0; i < 4; ++i) begun.push_back(async(compute, n, static_cast<unsigned>(random())));
        for (Async<int>& one : begun) {
          const Duration bound = std::chrono::microseconds(random() % 300);
          if (random() % 3 == 0) continue;
          const auto result =
              random() % 2 == 0 ? await(std::move(one), bound) : wait_result(one, bound).value_or(n * 3);
          if (result ? *result != n * 3 : result.error().kind == CallFailure::noproc) exit(Reason("wrong"));
        }
        const auto all = parallel_map(
            std::vector{1, 2, 3, 4, 5}, [compute](int i) { return compute(i, static_cast<unsigned>(i) * 7); },
            {.at_once = 2}, std::chrono::microseconds(random() % 1'000));
        for (std::size_t i = 0; i < all.size(); ++i) {
          if (all[i] && *all[i] != 3 * (static_cast<int>(i) + 1)) exit(Reason("wrong"));
        }
      }
      while (!receive(
          1s, [](Exit&) { return false; }, [](Timeout) { return true; })) {
      }
      if (process_info(self(), 10s)->aliases != 0 || !mailbox_empty()) exit(Reason("left_over"));
    };
    std::vector<Monitored> owners;
    for (unsigned n = 0; n < kOwners; ++n) owners.push_back(spawn_monitor(own, n + 1));
    std::minstd_rand random(7);
    for (unsigned n = 0; n < kOwners / 4; ++n) {
      sleep(std::chrono::microseconds(random() % 2'000));
      exit(owners[random() % kOwners].pid, reason::kill);
    }
    for (const Monitored& owner : owners) {
      const Reason why = await_down(owner);
      EXPECT_TRUE(why == reason::normal || why == reason::killed) << why.report();
    }
    const auto give_up = now() + 10s;
    while (living != 0 && now() < give_up) sleep(1ms);
    EXPECT_EQ(living, 0);
  });
}

}  // namespace
}  // namespace testing
}  // namespace erlking
