// A runtime for a test, a way to run a body as one of its processes, and a check that nothing is left when it ends.
//
//   struct LinkTest : RuntimeTest {};
//   TEST_F(LinkTest, AnExitGoesAlong) {
//     run([] { …; EXPECT_EQ(…); });   // the body is a process; it must end normally
//   }
//   TEST_P(StressTest, …)             // RuntimeMatrixTest: on 1, 2 and 4 workers, on a manual and the real clock,
//                                     // and with a thread for each process
//
// ERLKING_SCHEDULER, where it is set, says on which scheduler RuntimeTests run; matrix tests, which say that
// themselves, then have that one setting. ERLKING_HEAP says on which heap both run.
//
// On the manual clock (the default) run() moves time on whenever every process waits: a wait of five seconds takes
// none.
// A test that wants to move time itself uses start() and rt().advance(). `options` may be changed before the first
// rt().
#pragma once

#include "base/log.h"
#include "gc/gc.h"
#include "runtime/all.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace erlking {

// How gtest shows them.
inline void PrintTo(const Reason& reason, std::ostream* out) { *out << reason.to_string(); }
inline void PrintTo(Pid pid, std::ostream* out) { *out << to_string(pid); }
inline void PrintTo(Delivery delivery, std::ostream* out) {
  *out << (delivery == Delivery::queued ? "queued" : delivery == Delivery::full ? "full" : "noproc");
}
inline void PrintTo(CallFailure failure, std::ostream* out) { *out << to_string(failure); }
inline void PrintTo(SpawnError error, std::ostream* out) { *out << to_string(error); }

namespace testing {

using namespace std::chrono_literals;

/// A line somebody logged.
struct Report {
  base::Level level;
  std::string component, text;
};

class RuntimeTest : public ::testing::Test {
 protected:
  Options options = [] {
    Options made;
    made.workers = 2;
    made.clock = ClockKind::manual;
    made.stall_report = 0ms;  // a machine that is busy makes them anywhere
    if (const char* const scheduler = std::getenv("ERLKING_SCHEDULER")) made.scheduler = scheduler;
    if (const char* const heap = std::getenv("ERLKING_HEAP")) made.heap = heap;
    return made;
  }();
  /// Whether each process has a worker of its own; of them there are 2,000 at most.
  bool has_own_workers() const { return options.scheduler == "threads"; }
  /// Set by tests that give stacks up in the middle (std::terminate): what those held is lost.
  bool may_leak = false;

  void SetUp() override {
    base::set_log_sink([this](base::Level level, std::string_view component, std::string_view text) {
      std::lock_guard lock(reports_mutex_);
      reports_.push_back({level, std::string(component), std::string(text)});
    });
  }

  void TearDown() override {
    if (rt_ != nullptr) {
      const bool clean = rt_->stop();
      EXPECT_TRUE(clean) << "a process never reached a safe point";
      if (clean) {
        EXPECT_EQ(rt_->processes(), 0u);
      }
      if (clean && !may_leak) {
        const gc::HeapStats heap = rt_->stats().heap;
        EXPECT_EQ(heap.blocks_live, 0u) << "messages or signals leaked";
        EXPECT_EQ(heap.large_blocks, 0u);
      }
      rt_.reset();
    }
    base::set_log_sink(nullptr);
  }

  /// Made at its first use, by whichever thread that is.
  Runtime& rt() {
    std::lock_guard lock(rt_mutex_);
    if (rt_ == nullptr) rt_ = std::make_unique<Runtime>(options);
    return *rt_;
  }

  /// Runs `body` as a process and says how it ended.
  template <class F>
  Reason outcome(F&& body) {
    auto ended = std::make_shared<std::atomic<bool>>(false);
    auto why = std::make_shared<Reason>("not_run");
    auto runner = rt().spawn([ended, why, body = std::forward<F>(body)]() mutable {
      struct AtEnd {
        std::atomic<bool>& ended;
        ~AtEnd() { ended.store(true); }
      } at_end{*ended};
      const Monitored child = spawn_monitor({.stack = 512 * 1024}, [&body] { body(); });
      receive(forever,
              when([&](const Down& down) { return down.ref == child.ref; }, [&](Down& down) { *why = down.reason; }));
    });
    EXPECT_TRUE(runner.has_value());
    if (!runner || !drive([&] { return ended->load(); })) {
      ADD_FAILURE() << "the process did not end";
      return Reason("not_ended");
    }
    return *why;
  }

  /// Runs `body` as a process, which must end normally.
  template <class F>
  void run(F&& body) {
    const Reason why = outcome(std::forward<F>(body));
    EXPECT_EQ(why, reason::normal) << why.report();
  }

  /// Starts `body` as a process and returns once nothing runs any more.
  template <class F>
  Pid start(F&& body) {
    auto made = rt().spawn({.stack = 512 * 1024}, std::forward<F>(body));
    EXPECT_TRUE(made.has_value());
    EXPECT_TRUE(rt().run_until_idle());
    return made.value_or(Pid{});
  }

  /// Lets everything run, and time pass where it passes by hand, until `done`. False: not within two minutes of real
  /// time, which a loaded machine with a sanitizer must be able to keep.
  template <class Done>
  bool drive(Done&& done) {
    const auto until = std::chrono::steady_clock::now() + 120s;
    const auto left = [&] { return until - std::chrono::steady_clock::now(); };
    const bool manual = options.clock == ClockKind::manual;
    Duration step = 20ms;
    for (int rounds = 0; !done(); ++rounds) {
      if (left() <= 0s) return false;
      if (!manual) {
        std::this_thread::sleep_for(100us);
        continue;
      }
      if (!rt().run_until_idle(left())) return false;
      if (done()) break;
      if (!rt().advance(step, left())) return false;
      if (rounds % 200 == 199) step = std::min<Duration>(step * 100, std::chrono::hours(1000));
    }
    return true;
  }

  std::vector<Report> reports() {
    std::lock_guard lock(reports_mutex_);
    return {reports_.begin(), reports_.end()};
  }

 private:
  std::mutex rt_mutex_;
  std::unique_ptr<Runtime> rt_;
  std::mutex reports_mutex_;
  std::deque<Report> reports_;
};

/// What a RuntimeMatrixTest runs on.
struct Setting {
  unsigned workers;
  ClockKind clock;
  const char* scheduler = "steal";
};
inline std::string name_of_setting(const ::testing::TestParamInfo<Setting>& info) {
  return (info.param.scheduler == std::string_view("threads") ? "Threads" : "") + std::string("Workers") +
         std::to_string(info.param.workers) + (info.param.clock == ClockKind::manual ? "ManualClock" : "RealClock");
}
inline auto every_setting() {
  std::vector<Setting> settings;
  if (const char* const scheduler = std::getenv("ERLKING_SCHEDULER")) {
    settings.push_back({1, ClockKind::manual, scheduler});
  } else {
    for (const ClockKind clock : {ClockKind::manual, ClockKind::real}) {
      for (const unsigned workers : {1u, 2u, 4u}) settings.push_back({workers, clock});
      settings.push_back({1, clock, "threads"});
    }
  }
  return ::testing::ValuesIn(settings);
}

class RuntimeMatrixTest : public RuntimeTest, public ::testing::WithParamInterface<Setting> {
 protected:
  void SetUp() override {
    options.workers = GetParam().workers;
    options.clock = GetParam().clock;
    options.scheduler = GetParam().scheduler;
    RuntimeTest::SetUp();
  }
};

// --- for bodies: called by a process ---

/// More than a loaded machine with a sanitizer needs.
inline constexpr Duration kLongEnough = std::chrono::seconds(100);

/// The reason in the Down for `ref`; fails the test if it does not come.
inline Reason await_down(MonitorRef ref) {
  return receive(kLongEnough,
                 when([&](const Down& down) { return down.ref == ref; }, [](Down& down) { return down.reason; }),
                 [&](Timeout) {
                   ADD_FAILURE() << "no Down";
                   return Reason("no_down");
                 });
}
inline Reason await_down(const Monitored& made) { return await_down(made.ref); }

/// The tag in the DownAs<T> of what was made with one and an alias that outlives it; ends the alias. Fails the test if
/// anything is not as it should be.
template <class T>
T await_down_and_unalias(const MonitoredAlias& made, const Reason& why) {
  T tag = receive(
      kLongEnough,
      [&](DownAs<T>& down) {
        EXPECT_EQ(down.ref, made.ref);
        EXPECT_EQ(down.pid, made.pid);
        EXPECT_EQ(down.reason, why);
        return std::move(down.tag);
      },
      [](Timeout) {
        ADD_FAILURE() << "no DownAs";
        return T{};
      });
  EXPECT_EQ(made.alias, (Alias{self(), made.ref.id}));
  EXPECT_TRUE(unalias(made.alias));
  return tag;
}

/// The reason in the Exit from `pid`; fails the test if it does not come.
inline Reason await_exit(Pid pid) {
  return receive(kLongEnough,
                 when([&](const Exit& exit) { return exit.from == pid; }, [](Exit& exit) { return exit.reason; }),
                 [&](Timeout) {
                   ADD_FAILURE() << "no Exit";
                   return Reason("no_exit");
                 });
}

/// Whether the mailbox is empty; takes nothing out of it.
inline bool mailbox_empty() {
  bool empty = true;
  receive(0s, when([&](const Message&) { return empty = false; }, [](Message) {}), [](Timeout) {});
  return empty;
}

/// Returns once `pid` has been seen waiting.
inline void until_waiting(Pid pid) {
  for (;;) {
    const auto info = process_info(pid, 10s);
    if (!info || info->status == Status::waiting) return;
    yield();
  }
}

/// Lets every other process run a while.
inline void let_others_run() {
  for (int i = 0; i < 20; ++i) yield();
}

/// Waits for ever; takes whatever comes.
inline void idle_forever() {
  for (;;) receive(forever, [](Message) {});
}

/// Waits for ever without touching its mailbox.
struct Never {};
inline void wait_forever() {
  receive(forever, [](Never) {});
}

}  // namespace testing
}  // namespace erlking
