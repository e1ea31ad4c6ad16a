// Programs that send messages.
#include "tools/bench/ours/program.h"

#include <array>

namespace erlking::bench {

namespace {

constexpr unsigned kSenders = 4;

struct Ping {
  Pid from;
  std::uint64_t k;
};
struct Pong {
  std::uint64_t k;
};

struct Go {
  Pid to;
};
struct Item {
  std::uint64_t k;
};

}  // namespace

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

}  // namespace erlking::bench
