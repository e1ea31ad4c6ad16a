// Processes that compute on: the others of their worker go on beside them.
#include "tests/support/runtime_fixture.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <fcntl.h>
#include <mutex>
#include <numeric>
#include <thread>
#include <unistd.h>
#include <variant>

namespace erlking::testing {
namespace {

using namespace std::chrono_literals;

/// Computes without a safe point for so long, in code of its own.
[[gnu::noinline]] std::uint64_t hog(Duration length) {
  const base::Nanos until = base::monotonic_now() + length.count();
  std::uint64_t sum = 0;
  do {
    for (int i = 0; i < 100'000; ++i) {
      sum += static_cast<std::uint64_t>(i) * 7;
      asm volatile("" : "+r"(sum));
    }
  } while (base::monotonic_now() < until);
  return sum;
}

template <class F>
Pid start(Runtime& runtime, F&& f) {
  return runtime.spawn(std::forward<F>(f)).value();
}

bool hands_over() {
#if defined(__SANITIZE_THREAD__)
  return false;
#else
  const char* const scheduler = std::getenv("ERLKING_SCHEDULER");
  const char* const heap = std::getenv("ERLKING_HEAP");
  return (scheduler == nullptr || std::string_view(scheduler) == "steal") &&
         (heap == nullptr || std::string_view(heap) != "boehm");
#endif
}

/// It has ended as it should, or had so before.
void expect_end(Runtime& runtime, Pid pid) {
  const std::optional<Reason> why = runtime.wait(pid, 120s);
  ASSERT_TRUE(why) << to_string(pid);
  EXPECT_TRUE(*why == reason::normal || *why == reason::noproc) << why->to_string();
}

struct Ping {
  int n;
};
struct Pong {
  int n;
};
struct Done {};

class StallTest : public ::testing::Test {
 protected:
  static Options options(unsigned workers = 1) {
    Options made;
    if (const char* const scheduler = std::getenv("ERLKING_SCHEDULER")) made.scheduler = scheduler;
    if (const char* const heap = std::getenv("ERLKING_HEAP")) made.heap = heap;
    made.stall_report = 0ms;
    made.workers = made.scheduler == "steal" ? workers : 0;
    return made;
  }
};

TEST_F(StallTest, SleepersGoOnBesideAHog) {
  if (!hands_over()) GTEST_SKIP();
  Runtime runtime(options());
  std::atomic<int> rounds{0}, at_end{-1};
  std::atomic<bool> ends{false};
  start(runtime, [&] {
    while (!ends.load()) {
      sleep(5ms);
      rounds.fetch_add(1);
    }
  });
  const Pid hogs = start(runtime, [&] {
    sleep(20ms);
    const int before = rounds.load();
    hog(1s);
    at_end = rounds.load() - before;
  });
  expect_end(runtime, hogs);
  ends = true;
  EXPECT_GE(at_end.load(), 5);
  EXPECT_GE(runtime.stats().hand_overs, 1u);
  EXPECT_EQ(runtime.stats().workers, 1u);
}

#if !defined(__SANITIZE_ADDRESS__)
TEST_F(StallTest, AFaultOnASpareThreadIsContained) {
  if (!hands_over()) GTEST_SKIP();
  Runtime runtime(options());
  std::atomic<bool> ends{false};
  const Pid hogs = start(runtime, [&] {
    while (!ends.load()) hog(1ms);
  });
  while (runtime.stats().hand_overs == 0) std::this_thread::sleep_for(1ms);
  const Pid breaks = start(runtime, [] {  // the only worker's thread is a spare one by now
    volatile int* volatile nowhere = nullptr;
    *nowhere = 1;
  });
  const std::optional<Reason> why = runtime.wait(breaks, 120s);
  ends = true;
  ASSERT_TRUE(why);
  EXPECT_TRUE(why->to_string().starts_with("{segv")) << why->to_string();
  expect_end(runtime, hogs);
}
#endif

// The watcher, which begins spare threads, blocks all.
TEST_F(StallTest, ASpareThreadBlocksWhatTheProgramBlocks) {
  if (!hands_over()) GTEST_SKIP();
  sigset_t one, before;
  sigemptyset(&one);
  sigaddset(&one, SIGUSR1);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &one, &before), 0);
  std::atomic<bool> ends{false};
  std::atomic<int> blocked{0}, others{0};
  {
    Runtime runtime(options());
    ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
    const Pid hogs = start(runtime, [&] {
      while (!ends.load()) hog(1ms);
    });
    while (runtime.stats().hand_overs == 0) std::this_thread::sleep_for(1ms);
    expect_end(runtime, start(runtime, [&] {  // on a spare thread by now
                 sigset_t now;
                 if (pthread_sigmask(SIG_SETMASK, nullptr, &now) != 0) return;
                 blocked = sigismember(&now, SIGUSR1);
                 for (const int number : {SIGUSR2, SIGTERM, SIGHUP, SIGCHLD, SIGURG, SIGSEGV}) {
                   others += sigismember(&now, number);
                 }
               }));
    ends = true;
    expect_end(runtime, hogs);
  }
  EXPECT_EQ(blocked.load(), 1);
  EXPECT_EQ(others.load(), 0);
}

TEST_F(StallTest, ItGoesBackAndMayHogAgain) {
  if (!hands_over()) GTEST_SKIP();
  Runtime runtime(options());
  const Pid pid = start(runtime, [] {
    for (int i = 0; i < 10; ++i) {
      hog(30ms);
      sleep(1ms);
      receive(0ms, [](Timeout) {});
    }
  });
  expect_end(runtime, pid);
  EXPECT_GE(runtime.stats().hand_overs, 3u);
}

TEST_F(StallTest, WhatAHogSendsAndSpawnsRunsBesideIt) {
  if (!hands_over()) GTEST_SKIP();
  Runtime runtime(options());
  std::atomic<int> echoed{0}, born{0}, timed{0};
  std::atomic<int> seen{-1};
  const Pid echo = start(runtime, [&] {
    for (;;) receive(forever, [&](Ping) { ++echoed; });
  });
  const Pid pid = start(runtime, [&] {
    hog(100ms);
    const Pid me = self();
    for (int i = 0; i < 20; ++i) {
      send(echo, Ping{i});
      spawn([&] { ++born; });
      send_after(1ms, me, Pong{i});
      hog(20ms);
    }
    seen = echoed.load() + born.load();
    for (int i = 0; i < 20; ++i) receive(10s, [&](Pong) { ++timed; });
  });
  expect_end(runtime, pid);
  EXPECT_GE(seen.load(), 10);
  EXPECT_EQ(timed.load(), 20);
}

TEST_F(StallTest, MoreHogsThanSpares) {
  Options few = options(2);
  few.spare_workers = 1;
  Runtime runtime(few);
  std::vector<Pid> hogs;
  for (int i = 0; i < 6; ++i) {
    hogs.push_back(start(runtime, [] {
      for (int turn = 0; turn < 5; ++turn) {
        hog(15ms);
        sleep(1ms);
      }
    }));
  }
  for (const Pid pid : hogs) expect_end(runtime, pid);
}

TEST_F(StallTest, WithoutSparesNothingIsHandedOver) {
  Options none = options();
  none.spare_workers = 0;
  Runtime runtime(none);
  const Pid pid = start(runtime, [] { hog(50ms); });
  expect_end(runtime, pid);
  EXPECT_EQ(runtime.stats().hand_overs, 0u);
}

TEST_F(StallTest, AHogIsKilledAtItsNextSafePoint) {
  Runtime runtime(options());
  std::atomic<bool> begun{false}, beyond{false};
  const Pid pid = start(runtime, [&] {
    begun = true;
    hog(200ms);
    sleep(0ms);
    beyond = true;
  });
  while (!begun) std::this_thread::sleep_for(1ms);
  runtime.exit(pid, reason::kill);
  EXPECT_EQ(runtime.wait(pid, 60s), reason::killed);
  EXPECT_FALSE(beyond.load());
}

TEST_F(StallTest, StopWaitsForAHog) {
  std::atomic<bool> begun{false}, ended{false};
  {
    Runtime runtime(options());
    start(runtime, [&] {
      begun = true;
      hog(200ms);
      ended = true;
    });
    while (!begun) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(20ms);
    EXPECT_TRUE(runtime.stop());
  }
  EXPECT_TRUE(ended.load());
}

struct SlowToDie {
  Duration length;
  std::atomic<int>* died = nullptr;
  SlowToDie(Duration d, std::atomic<int>* counter) : length(d), died(counter) {}
  SlowToDie(SlowToDie&& other) noexcept : length(other.length), died(std::exchange(other.died, nullptr)) {}
  ~SlowToDie() {
    if (died == nullptr) return;
    hog(length);
    ++*died;
  }
};

struct HogsInHandle {
  std::atomic<int>* handled;
  Duration length = 10ms;
  void handle(Message message) {
    match(message, [&](Ping ping) {
      hog(length);
      if (++*handled == ping.n) exit(reason::normal);
    });
  }
};

TEST_F(StallTest, HogsInHandlersDestructorsClausesAndGuards) {
  Runtime runtime(options());
  std::atomic<int> handled{0}, died{0}, rounds{0};
  std::atomic<bool> ends{false};
  start(runtime, [&] {
    while (!ends.load()) {
      sleep(2ms);
      ++rounds;
    }
  });
  const Pid pid = start(runtime, [&] {
    const auto [handler, ref] = spawn_handler_monitor(HogsInHandle{&handled});
    for (int i = 0; i < 10; ++i) send(handler, Ping{10});
    const Pid other = spawn([&] {
      for (int i = 0; i < 5; ++i) {
        receive(10s, when([](const SlowToDie&) { return hog(10ms) != 0; }, [](SlowToDie) { hog(10ms); }));
      }
      receive(0ms, [](Timeout) {});
      sleep(30ms);  // what comes meanwhile is destroyed as it ends
    });
    const MonitorRef watch = monitor(other);
    for (int i = 0; i < 10; ++i) send(other, SlowToDie(10ms, &died));
    for (int i = 0; i < 2; ++i) receive(30s, [](Down) {});
    static_cast<void>(ref);
    static_cast<void>(watch);
  });
  expect_end(runtime, pid);
  ends = true;
  EXPECT_EQ(handled.load(), 10);
  EXPECT_EQ(died.load(), 10);
  EXPECT_TRUE(!hands_over() || runtime.stats().hand_overs > 0);
}

// Code of templates that the runtime has its own instances of, too, and calls from libc.
[[gnu::noinline]] std::uint64_t sorted(std::vector<std::uint64_t>& values, Duration length) {
  const base::Nanos until = base::monotonic_now() + length.count();
  std::uint64_t seed = 1;
  do {
    for (std::uint64_t& value : values) value = seed = seed * 6364136223846793005 + 1442695040888963407;
    std::sort(values.begin(), values.end());
    std::qsort(values.data(), values.size(), sizeof(values[0]), [](const void* a, const void* b) {
      const auto x = *static_cast<const std::uint64_t*>(a), y = *static_cast<const std::uint64_t*>(b);
      return x < y ? 1 : x > y ? -1 : 0;
    });
  } while (base::monotonic_now() < until);
  return std::accumulate(values.begin(), values.end(), std::uint64_t{0});
}

[[gnu::noinline]] std::uint64_t fibonacci(unsigned n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

TEST_F(StallTest, WhateverTheCode) {
  if (!hands_over()) GTEST_SKIP();
  Runtime runtime(options());
  for (int turn = 0; turn < 3; ++turn) {
    expect_end(runtime, start(runtime, [] {
                 std::vector<std::uint64_t> values(1000);
                 if (sorted(values, 300ms) == 1) exit(reason::shutdown);
               }));
  }
  EXPECT_GE(runtime.stats().hand_overs, 2u) << "of algorithms";
  const std::uint64_t before = runtime.stats().hand_overs;
  for (int turn = 0; turn < 3; ++turn) {
    expect_end(runtime, start(runtime, [] {
                 const base::Nanos until = base::monotonic_now() + 300'000'000;
                 while (base::monotonic_now() < until) {
                   if (fibonacci(24) == 1) exit(reason::shutdown);
                 }
               }));
  }
  EXPECT_GE(runtime.stats().hand_overs - before, 2u) << "of a recursion";
}

TEST_F(StallTest, OnePlaceAfterTheOther) {
  if (!hands_over()) GTEST_SKIP();
  Runtime runtime(options());
  const auto handed_over_in = [&](const char* what, auto&& body) {
    const std::uint64_t before = runtime.stats().hand_overs;
    for (int turn = 0; turn < 5 && runtime.stats().hand_overs == before; ++turn) {
      expect_end(runtime, start(runtime, body));
    }
    EXPECT_GT(runtime.stats().hand_overs, before) << what;
  };
  handed_over_in("a function", [] { hog(100ms); });
  handed_over_in("a clause", [] {
    send(self(), Ping{1});
    receive(10s, [](Ping) { hog(100ms); });
  });
  handed_over_in("a guard", [] {
    send(self(), Ping{1});
    receive(10s, when([](const Ping&) { return hog(100ms) != 0; }, [](Ping) {}));
  });
  handed_over_in("a timeout's clause", [] { receive(1ms, [](Timeout) { hog(100ms); }); });
  handed_over_in("a handler", [] {
    std::atomic<int> handled{0};
    const auto [handler, ref] = spawn_handler_monitor(HogsInHandle{&handled, 100ms});
    send(handler, Ping{1});
    receive(10s, [](Down) {});
    static_cast<void>(ref);
  });
  handed_over_in("a message's destructor, in a receive", [] {
    std::atomic<int> died{0};
    send(self(), SlowToDie(100ms, &died));
    receive(10s, [](const SlowToDie&) {});
  });
  handed_over_in("a message's destructor, at the end", [] {
    static std::atomic<int> died{0};
    send(self(), SlowToDie(100ms, &died));
    sleep(1ms);
  });
  handed_over_in("a destructor of a stack that is unwound", [] {
    std::atomic<int> died{0};
    const Pid other = spawn([&] {
      const SlowToDie slow(100ms, &died);
      receive(forever, [](Done) {});
    });
    const MonitorRef watch = monitor(other);
    sleep(1ms);
    exit(other, reason::shutdown);
    receive(10s, [](Down) {});
    static_cast<void>(watch);
  });
  handed_over_in("a closure's construction", [] {
    struct Slow {
      Slow() = default;
      Slow(const Slow&) { hog(50ms); }
      Slow(Slow&&) noexcept { hog(50ms); }
      void operator()() const {}
    };
    spawn(Slow{});
    hog(60ms);
  });
}

TEST_F(StallTest, OnASpareThreadNobodyIsHandedOver) {
  Runtime runtime(options());
  expect_end(runtime, start(runtime, [] { EXPECT_TRUE(blocking(60s, [] { return hog(100ms); })); }));
  EXPECT_EQ(runtime.stats().hand_overs, 0u);
}

TEST_F(StallTest, WhoIsPinnedStays) {
  Runtime runtime(options());
  const auto pinned = runtime.spawn({.worker = runtime.stats().workers == 0 ? -1 : 0}, [] { hog(100ms); });
  ASSERT_TRUE(pinned);
  expect_end(runtime, *pinned);
  EXPECT_EQ(runtime.stats().hand_overs, 0u);
}

TEST_F(StallTest, IsReportedAndOnceMoreWhenItIsOver) {
  if (!hands_over()) GTEST_SKIP();
  Options told = options();
  told.stall_report = 20ms;
  std::mutex mutex;
  std::vector<StallReport> reports;
  told.report_hook = [&](const erlking::Report& report) {
    const std::lock_guard lock(mutex);
    if (const auto* const stall = std::get_if<StallReport>(&report)) reports.push_back(*stall);
  };
  Runtime runtime(told);
  const auto begun = [&] {
    const std::lock_guard lock(mutex);
    return reports.size();
  };
  Pid hogs;
  std::atomic<bool> told_of{false};
  const Pid parent = start(runtime, [&] {
    const auto [pid, ref] = spawn_monitor({.name = "hog"}, [&] {
      // To the report, and beyond.
      while (!told_of) hog(5ms);
      hog(20ms);
    });
    hogs = pid;
    receive(60s, [](Down) {});
    static_cast<void>(ref);
  });
  for (int i = 0; i < 6000 && begun() == 0; ++i) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(begun(), 1u);
  told_of = true;
  expect_end(runtime, parent);
  runtime.stop();
  EXPECT_EQ(runtime.stats().stalls, 1u);
  const std::lock_guard lock(mutex);
  ASSERT_EQ(reports.size(), 2u);
  for (const StallReport& report : reports) {
    EXPECT_EQ(report.process.pid, hogs);
    EXPECT_NE(report.entry.find("lambda"), std::string::npos) << report.entry;
    EXPECT_GE(report.length, 20ms);
  }
  EXPECT_EQ(reports[0].process.name, "hog");
  EXPECT_FALSE(reports[0].is_over);
  EXPECT_TRUE(reports[1].is_over);
  EXPECT_GT(reports[1].length, reports[0].length);
  ASSERT_FALSE(reports[0].ancestors.empty());
  EXPECT_EQ(reports[0].ancestors[0].pid, parent);
  EXPECT_FALSE(reports[0].frames.empty());
  EXPECT_TRUE(reports[1].frames.empty());
}

std::atomic<int> urgent{0};
void on_urgent(int) { urgent.fetch_add(1); }

TEST_F(StallTest, AHandlerOfTheProgramIsCalledForWhatIsNotOurs) {
  struct sigaction theirs {};
  theirs.sa_handler = &on_urgent;
  struct sigaction before {};
  ASSERT_EQ(sigaction(SIGURG, &theirs, &before), 0);
  {
    Runtime runtime(options());
    expect_end(runtime, start(runtime, [] { hog(100ms); }));
    EXPECT_EQ(urgent.load(), 0);
    ASSERT_EQ(::kill(::getpid(), SIGURG), 0);
    for (int i = 0; i < 1000 && urgent.load() == 0; ++i) std::this_thread::sleep_for(10ms);
    EXPECT_EQ(urgent.load(), 1);
  }
  struct sigaction now {};
  ASSERT_EQ(sigaction(SIGURG, &before, &now), 0);
  EXPECT_EQ(now.sa_handler, &on_urgent) << "put back";
}

// Bytes go round beside a hog, on either driver, and what was begun before the hand-over comes to its end after it.
TEST_F(StallTest, InputAndOutputGoOnBesideAHog) {
  if (!hands_over()) GTEST_SKIP();
  for (const char* const io : {"uring", "epoll"}) {
    Options with = options();
    with.io = io;
    Runtime runtime(with);
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    std::atomic<int> read{0}, at_end{-1};
    const Pid reader = start(runtime, [&] {
      char byte = 0;
      bool got = true;
      while (got && read.load() != 1000) {
        io::Operation operation(io::Code::read, ends[0], &byte, 1);
        got = detail::perform(operation, 60s) == 1;
        if (got) ++read;
      }
    });
    const Pid hogs = start(runtime, [&] {
      sleep(10ms);  // it reads by now
      hog(500ms);
      at_end = read.load();
    });
    std::this_thread::sleep_for(5ms);
    for (int i = 0; i < 1000; ++i) {
      ASSERT_EQ(::write(ends[1], "x", 1), 1);
      if (i % 20 == 0) std::this_thread::sleep_for(1ms);
    }
    expect_end(runtime, hogs);
    expect_end(runtime, reader);
    EXPECT_EQ(read.load(), 1000) << io;
    EXPECT_GT(at_end.load(), 0) << io;
    ::close(ends[0]);
    ::close(ends[1]);
  }
}

// Processes that hog and exchange messages, with bounds, timers, calls, births and deaths: nothing is lost.
TEST_F(StallTest, NothingIsLost) {
  Runtime runtime(options(2));
  constexpr int kPairs = 12, kRounds = 60;
  std::atomic<int> sent{0}, received{0}, short_lived{0}, timers{0};
  std::vector<Pid> all;
  for (int pair = 0; pair < kPairs; ++pair) {
    all.push_back(start(runtime, [&, pair] {
      const Pid me = self();
      const Pid other = spawn_link([&, me, pair] {
        for (int i = 0; i < kRounds; ++i) {
          receive(30s, [&](Ping) { ++received; });
          if ((i + pair) % 7 == 0) hog(4ms);
          ++sent;  // before: it may be the last that `me` awaits
          send(me, Pong{i});
        }
      });
      for (int i = 0; i < kRounds; ++i) {
        if ((i * 3 + pair) % 5 == 0) hog(3ms);
        ++sent;
        send(other, Ping{i});
        if (i % 6 == 0) spawn([&] { ++short_lived; });
        if (i % 4 == 0) send_after(1ms, me, Done{});
        receive(30s, [&](Pong) { ++received; });
        if (i % 4 == 0) receive(30s, [&](Done) { ++timers; });
      }
    }));
  }
  for (const Pid pid : all) expect_end(runtime, pid);
  EXPECT_EQ(sent.load(), kPairs * kRounds * 2);
  EXPECT_EQ(received.load(), sent.load());
  EXPECT_EQ(timers.load(), kPairs * kRounds / 4);
  runtime.stop();
  EXPECT_EQ(short_lived.load(), kPairs * kRounds / 6);
  const RuntimeStats stats = runtime.stats();
  EXPECT_EQ(stats.spawned, stats.exited);
}

}  // namespace
}  // namespace erlking::testing
