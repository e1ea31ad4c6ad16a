// Programs that measure how late something comes.
#include "tools/bench/ours/program.h"

#include <vector>

namespace erlking::bench {

namespace {

constexpr auto kLead = 2ms;    // latency: from set-up to the first message
constexpr auto kTimer = 10ms;  // timer-accuracy, sleepers, hogs

struct Tick {
  Clock::time_point due;
};
struct AllArrived {};

struct Handle {};
struct Computed {
  std::uint32_t hash;
};

std::int64_t ns_since(Clock::time_point t) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - t).count();
}

}  // namespace

// Open loop: a message carries the time it should have left at, so a late sender or a backlog is in the figures.
Outcome latency(const Case& which, std::uint64_t n) {
  std::vector<std::int64_t> times(n, -1);  // its pages are touched now
  const Pid generator = self();
  const auto receiver = [generator, &times, busy = which.busy] {
    std::int64_t* at = times.data();
    std::int64_t* const end = at + times.size();
    const auto note = [&at](Tick tick) { *at++ = ns_since(tick.due); };
    while (at != end) {
      if (busy) {
        receive(0s, note, [](Timeout) {});
      } else {
        receive(kLimit, note);
      }
    }
    send(generator, AllArrived{});
  };
  const Pid to = spawn_link({.worker = 1}, receiver);
  const Clock::time_point first = Clock::now() + kLead;
  for (std::uint64_t k = 0; k < n; ++k) {
    const Clock::time_point due = first + std::chrono::nanoseconds(k * 1'000'000'000 / which.rate);
    while (Clock::now() < due) {
    }
    Delivery delivery;
    do {
      delivery = send(to, Tick{due});
    } while (delivery == Delivery::full);
    if (delivery == Delivery::noproc) exit(Reason("receiver_gone"));
  }
  receive(kLimit, [](AllArrived) {});
  return {percentiles(which, times), "apart"};
}

// The hog sends just before it computes: the message is behind that, unless the other worker takes the prober.
Outcome behind(const Case& which, std::uint64_t n) {
  std::vector<std::int64_t> times(n, -1);
  const std::uint64_t iterations = iterations_in(100us);
  const Pid prober = spawn_link([root = self(), &times] {
    for (std::int64_t& time : times) {
      time = receive(kLimit, [](Tick tick) { return ns_since(tick.due); });
    }
    send(root, AllArrived{});
  });
  spawn_link([prober, n, iterations] {
    std::uint32_t hash = 1;
    send(self(), Handle{});
    for (std::uint64_t k = 0; k < n; ++k) {
      receive(kLimit, [&](Handle) {
        send(prober, Tick{Clock::now()}, kLimit);
        send(self(), Handle{});
        hash = spin(hash, iterations);
      });
    }
    send(prober, Computed{hash});
  });
  receive(kLimit, [](AllArrived) {});
  return {percentiles(which, times), "natural"};
}

// Each sleeper notes how late it wakes. The hogs compute on for a second without a safe point,
// over and over; when all sleepers are through they end at once.
Outcome sleeping(const Case& which, std::uint64_t n, unsigned hogs) {
  constexpr std::uint64_t kSleepers = 100;
  const std::uint64_t rounds = std::max<std::uint64_t>(n / kSleepers, 1);
  std::vector<std::int64_t> times(rounds * kSleepers, -1);
  std::atomic<bool> over{false};
  std::vector<MonitorRef> hogging;
  for (unsigned k = 0; k < hogs; ++k) {
    const auto [pid, ref] = spawn_monitor([&over] {
      const std::uint64_t iterations = iterations_in(100us);
      std::uint32_t hash = 1;
      while (!over.load(std::memory_order_relaxed)) {  // a flag alone
        const Clock::time_point until = Clock::now() + 1s;
        while (!over.load(std::memory_order_relaxed) && Clock::now() < until) hash = spin(hash, iterations);
        yield();
      }
      if (hash == 0) exit(Reason("unlikely"));
    });
    hogging.push_back(ref);
  }
  for (std::uint64_t k = 0; k < kSleepers; ++k) {
    spawn_link([root = self(), &times, rounds, k] {
      for (std::uint64_t round = 0; round < rounds; ++round) {
        const Clock::time_point due = Clock::now() + kTimer;
        sleep(kTimer);
        times[k * rounds + round] = ns_since(due);
      }
      send(root, AllArrived{}, kLimit);
    });
  }
  for (std::uint64_t k = 0; k < kSleepers; ++k) receive(kPatience, [](AllArrived) {});
  over.store(true, std::memory_order_relaxed);
  for (std::size_t k = 0; k < hogging.size(); ++k) receive(kPatience, [](const Down&) {});
  return {percentiles(which, times), "natural"};
}

Outcome timers(std::uint64_t n) {
  Watch watch;
  watch.start();
  for (std::uint64_t k = 0; k < n; ++k) {
    const auto timer = send_after(kLimit, self(), Handle{});
    if (!timer || !cancel_timer(*timer)) exit(Reason("no_timer"));
  }
  watch.stop();
  return {{{"ns_per_timer", watch.ns_per(n)}}, "natural"};
}

// Armed at once, or spread evenly over `spread`.
Outcome timer_accuracy(const Case& which, std::uint64_t n, Duration spread) {
  std::vector<std::int64_t> times;
  times.reserve(n);
  const auto note = [&times](Tick tick) { times.push_back(ns_since(tick.due)); };
  const Clock::time_point first = Clock::now();
  for (std::uint64_t k = 0; k < n; ++k) {
    while (Clock::now() - first < spread * k / n) receive(0s, note, [](Timeout) {});
    const Clock::time_point due = Clock::now() + kTimer;
    if (!send_after(due, self(), Tick{due})) exit(Reason("no_timer"));
  }
  while (times.size() < n) receive(kLimit, note);
  return {percentiles(which, times), "natural"};
}

}  // namespace erlking::bench
