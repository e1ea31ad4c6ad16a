#include "tools/bench/ours.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <utility>

namespace erlking::bench {

namespace {

using namespace std::chrono_literals;

constexpr auto kLimit = 5s;  // armed on every wait, as a careful program would
constexpr unsigned kSenders = 4, kSpawnBatch = 1'000;
constexpr auto kLead = 2ms;  // latency: from set-up to the first message

// Sums up the time between start() and stop(), so that questions in between are not measured.
class Watch {
 public:
  void start() { since_ = Clock::now(); }
  void stop() { spent_ += Clock::now() - since_; }
  double ns_per(std::uint64_t n) const {
    return std::chrono::duration<double, std::nano>(spent_).count() / static_cast<double>(n);
  }

 private:
  Clock::time_point since_;
  Clock::duration spent_{};
};

// Which workers a natural run used: asked of its processes a few times, outside the measured time.
class Seen {
 public:
  void look(std::initializer_list<Pid> processes) {
    for (const Pid pid : processes) {
      if (const auto info = process_info(pid, kLimit)) workers_ |= 1ull << std::min(info->worker, 63);
    }
  }
  std::string text() const {
    const int n = std::popcount(workers_);
    if (n == 0) return "natural";
    return n == 1 ? "natural: one worker" : n == 2 ? "natural: two workers" : fmt::format("natural: {} workers", n);
  }

 private:
  std::uint64_t workers_ = 0;
};

// Runs about a quarter of `n` at a time; `step(count)` is measured, the question after it is not.
template <class Step>
void in_quarters(std::uint64_t n, Watch& watch, Seen& seen, std::initializer_list<Pid> processes, Step step) {
  for (std::uint64_t done = 0; done < n;) {
    const std::uint64_t count = std::min(n / 4 + 1, n - done);
    watch.start();
    step(count);
    watch.stop();
    done += count;
    if (processes.size() != 0 && done < n) seen.look(processes);
  }
}

struct Ping {
  Pid from;
  std::uint64_t k;
};
struct Pong {
  std::uint64_t k;
};

Outcome pingpong(std::uint64_t n, bool apart) {
  const Pid pong = spawn_link({.worker = apart ? 1 : -1}, [n] {
    for (std::uint64_t k = 0; k < n; ++k) receive(kLimit, [](Ping ping) { send(ping.from, Pong{ping.k}); });
  });
  const Pid me = self();
  Watch watch;
  Seen seen;
  const auto hops = [&](std::uint64_t count) {
    for (std::uint64_t k = 0; k < count; ++k) {
      send(pong, Ping{me, k});
      receive(kLimit, when([k](const Pong& answer) { return answer.k == k; }, [](Pong) {}));
    }
  };
  if (apart) {
    in_quarters(n, watch, seen, {}, hops);
  } else {
    in_quarters(n, watch, seen, {me, pong}, hops);
  }
  return {{{"ns_per_hop", watch.ns_per(2 * n)}}, apart ? "apart" : seen.text()};
}

struct Go {
  Pid to;
};
struct Item {
  std::uint64_t k;
};

Outcome fanin(std::uint64_t n, bool apart) {
  std::array<Pid, kSenders> senders;
  for (unsigned i = 0; i < kSenders; ++i) {
    const std::uint64_t share = n / kSenders + (i < n % kSenders ? 1 : 0);
    senders[i] = spawn_link({.worker = apart ? 1 : -1}, [share] {
      const Pid to = receive(kLimit, [](Go go) { return go.to; });
      for (std::uint64_t k = 0; k < share; ++k) {
        if (send(to, Item{k}, kLimit) != Delivery::queued) exit(Reason("not_delivered"));
      }
    });
  }
  Watch watch;
  Seen seen;
  watch.start();
  for (const Pid sender : senders) send(sender, Go{self()});
  watch.stop();
  const auto consume = [](std::uint64_t count) {
    for (std::uint64_t k = 0; k < count; ++k) receive(kLimit, [](Item) {});
  };
  if (apart) {
    in_quarters(n, watch, seen, {}, consume);
  } else {
    in_quarters(n, watch, seen, {self(), senders[0], senders[1], senders[2], senders[3]}, consume);
  }
  return {{{"ns_per_message", watch.ns_per(n)}}, apart ? "apart" : seen.text()};
}

struct BatchRan {};

// As the peers do it: each child counts itself on one atomic, and who completes the batch sends the one message.
Outcome spawning(std::uint64_t n) {
  std::atomic<std::uint64_t> left{0};
  const Pid me = self();
  Watch watch;
  watch.start();
  for (std::uint64_t done = 0; done < n;) {
    const std::uint64_t batch = std::min<std::uint64_t>(kSpawnBatch, n - done);
    left.store(batch, std::memory_order_relaxed);
    for (std::uint64_t k = 0; k < batch; ++k) {
      spawn([me, left = &left] {
        if (left->fetch_sub(1, std::memory_order_acq_rel) == 1) send(me, BatchRan{});
      });
    }
    receive(kLimit, [](BatchRan) {});
    done += batch;
  }
  watch.stop();
  return {{{"ns_per_spawn", watch.ns_per(n)}}, "natural"};
}

struct Echo {
  std::uint64_t k;
  using Reply = std::uint64_t;
};

Outcome calling(std::uint64_t n, bool apart) {
  const Pid server = spawn_link({.worker = apart ? 1 : -1}, [n] {
    for (std::uint64_t k = 0; k < n; ++k) {
      receive(kLimit, [](Echo& echo, From<Echo> from) { from.reply(echo.k); });
    }
  });
  Watch watch;
  Seen seen;
  const auto calls = [&](std::uint64_t count) {
    for (std::uint64_t k = 0; k < count; ++k) {
      if (call(server, Echo{k}, kLimit) != k) exit(Reason("no_answer"));
    }
  };
  if (apart) {
    in_quarters(n, watch, seen, {}, calls);
  } else {
    in_quarters(n, watch, seen, {self(), server}, calls);
  }
  return {{{"ns_per_call", watch.ns_per(n)}}, apart ? "apart" : seen.text()};
}

struct Tick {
  Clock::time_point due;
};
struct AllArrived {};

// Open loop: a message carries the time it should have left at, so a late sender or a backlog is in the figures.
Outcome latency(const Case& which, std::uint64_t n) {
  std::vector<std::int64_t> times(n, -1);  // its pages are touched now
  const Pid generator = self();
  const auto receiver = [generator, &times, busy = which.busy] {
    std::int64_t* at = times.data();
    std::int64_t* const end = at + times.size();
    const auto note = [&at](Tick tick) {
      *at++ = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - tick.due).count();
    };
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

Outcome run(const Case& which, std::uint64_t n) {
  const std::string_view name = which.workload->name;
  const bool apart = which.workload->two_workers;
  if (which.workload->is_latency()) return latency(which, n);
  if (name.starts_with("pingpong")) return pingpong(n, apart);
  if (name.starts_with("fanin")) return fanin(n, apart);
  if (name.starts_with("call")) return calling(n, apart);
  return spawning(n);
}

}  // namespace

Result run_ours(Runtime& runtime, const Case& which, std::uint64_t n, Duration limit) {
  struct Answer {
    Outcome outcome;
    std::atomic<bool> given{false};
  };
  const auto answer = std::make_shared<Answer>();  // a run given up on may still write it
  // Where it is timed: worker 0 for what is pinned.
  const auto root = runtime.spawn({.worker = which.workload->two_workers ? 0 : -1}, [answer, which, n] {
    answer->outcome = run(which, n);
    answer->given.store(true, std::memory_order_release);  // feeds the acquire below
  });
  if (!root) return std::unexpected(Failure{fmt::format("no process could be made: {}", to_string(root.error()))});
  const std::optional<Reason> why = runtime.wait(*root, limit);
  if (answer->given.load(std::memory_order_acquire)) return std::move(answer->outcome);
  if (why) return std::unexpected(Failure{"the measuring process ended: " + why->to_string()});
  runtime.exit(*root, reason::kill);
  return std::unexpected(
      Failure{fmt::format("not done within {} s", std::chrono::duration_cast<std::chrono::seconds>(limit).count())});
}

}  // namespace erlking::bench
