// Programs that send messages.
#include "tools/bench/ours/program.h"

#include <array>
#include <vector>

namespace erlking {

namespace bench {
namespace {
struct PlainPing {
  Pid from;
  std::uint64_t k;
};
struct PlainPong {
  std::uint64_t k;
};
}  // namespace
}  // namespace bench

template <>
inline constexpr bool gc_pointer_free<bench::PlainPing> = true;
template <>
inline constexpr bool gc_pointer_free<bench::PlainPong> = true;

namespace bench {

namespace {

constexpr unsigned kRing = 1'000, kSenders = 4, kBig = 120;

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

// A node of the ring.
struct Next {
  Pid pid;
};
struct Token {
  std::uint64_t left;  // hops
};
struct Home {};

void ring_node(Pid root) {
  const Pid next = receive(kLimit, [](Next of) { return of.pid; });
  for (bool on = true; on;) {
    receive(
        kLimit,
        [&](Token token) {
          if (token.left == 0) {
            send(root, Home{});
          } else {
            send(next, Token{token.left - 1});
          }
        },
        [&](Stop) { on = false; });
  }
}

struct Everyone {
  Ref<const std::vector<Pid>> pids;
};
struct BigPing {
  Pid from;
};
struct BigPong {};
struct Finished {};

// Answers pings, its own among them, until it is stopped.
void big_process(Pid root, std::uint32_t me, std::uint64_t pings) {
  const auto everyone = receive(kLimit, [](Everyone message) { return std::move(message.pids); });
  const auto answer = [](BigPing ping) { send(ping.from, BigPong{}); };
  std::uint32_t random = me + 1;
  for (std::uint64_t k = 0; k < pings; ++k) {
    random = (random * 69069 + 1) & 0x7fffffff;  // the peers'
    const std::uint32_t other = (random >> 8) % (kBig - 1);
    send((*everyone)[other >= me ? other + 1 : other], BigPing{self()});
    for (bool answered = false; !answered;) receive(kLimit, answer, [&](BigPong) { answered = true; });
  }
  send(root, Finished{});
  for (bool on = true; on;) receive(kLimit, answer, [&](Stop) { on = false; });
}

template <class Question, class Answer>
Outcome pingpong_of(std::uint64_t n, bool apart) {
  const Pid pong = spawn_link({.worker = apart ? 1 : -1}, [n] {
    for (std::uint64_t k = 0; k < n; ++k) receive(kLimit, [](Question ping) { send(ping.from, Answer{ping.k}); });
  });
  const Pid me = self();
  Watch watch;
  Seen seen;
  const auto hops = [&](std::uint64_t count) {
    for (std::uint64_t k = 0; k < count; ++k) {
      send(pong, Question{me, k});
      receive(kLimit, when([k](const Answer& answer) { return answer.k == k; }, [](Answer) {}));
    }
  };
  if (apart) {
    in_quarters(n, watch, seen, {}, hops);
  } else {
    in_quarters(n, watch, seen, {me, pong}, hops);
  }
  return {{{"ns_per_hop", watch.ns_per(2 * n)}}, apart ? "apart" : seen.text()};
}

}  // namespace

Outcome pingpong(std::uint64_t n, bool apart) { return pingpong_of<Ping, Pong>(n, apart); }

Outcome pingpong_plain(std::uint64_t n) { return pingpong_of<PlainPing, PlainPong>(n, false); }

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

// n hops in all, shared by the tokens, which start evenly spread.
Outcome ring(std::uint64_t n, unsigned tokens) {
  const std::uint64_t hops = std::max<std::uint64_t>(1, n / tokens);
  std::vector<Pid> nodes(kRing);
  for (Pid& node : nodes) node = spawn_link(ring_node, self());
  for (unsigned i = 0; i < kRing; ++i) send(nodes[i], Next{nodes[(i + 1) % kRing]});
  Watch watch;
  watch.start();
  for (unsigned i = 0; i < tokens; ++i) send(nodes[i * (kRing / tokens)], Token{hops});
  for (unsigned i = 0; i < tokens; ++i) receive(kLimit, [](Home) {});
  watch.stop();
  for (const Pid node : nodes) send(node, Stop{});
  return {{{"ns_per_hop", watch.ns_per(hops * tokens)}}, "natural"};
}

// Savina's big, from its description: n counts pings and pongs; the root collects who has finished.
Outcome big(std::uint64_t n) {
  const std::uint64_t pings = std::max<std::uint64_t>(1, n / (2 * kBig));
  std::vector<Pid> pids(kBig);
  for (std::uint32_t i = 0; i < kBig; ++i) pids[i] = spawn_link(big_process, self(), i, pings);
  const auto everyone = share(std::vector(pids));
  Watch watch;
  watch.start();
  for (const Pid pid : pids) send(pid, Everyone{everyone});
  for (unsigned i = 0; i < kBig; ++i) receive(forever, [](Finished) {});
  watch.stop();
  for (const Pid pid : pids) send(pid, Stop{});
  return {{{"ns_per_message", watch.ns_per(2 * kBig * pings)}}, "natural"};
}

}  // namespace bench
}  // namespace erlking
