// Programs that measure how late something comes.
#include "tools/bench/ours/program.h"

#include <vector>

namespace erlking::bench {

namespace {

constexpr auto kLead = 2ms;  // latency: from set-up to the first message

struct Tick {
  Clock::time_point due;
};
struct AllArrived {};

}  // namespace

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

}  // namespace erlking::bench
