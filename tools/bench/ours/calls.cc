// Programs that call.
#include "tools/bench/ours/program.h"

#include <vector>

namespace erlking::bench {

namespace {

struct Echo {
  std::uint64_t k;
  using Reply = std::uint64_t;
};

constexpr unsigned kPairs = 50, kUnmatched = 10'000;

void serve(std::uint64_t n) {
  for (std::uint64_t k = 0; k < n; ++k) {
    receive(kLimit, [](Echo& echo, From<Echo> from) { from.reply(echo.k); });
  }
}

void ask(Pid server, std::uint64_t n) {
  for (std::uint64_t k = 0; k < n; ++k) {
    if (call(server, Echo{k}, kLimit) != k) exit(Reason("no_answer"));
  }
}

class EchoServer : public Server {
 public:
  using Handles = Messages<Echo>;
  std::uint64_t on(Echo& echo) { return echo.k; }
};

struct Begin {};
struct Done {};
struct Unmatched {
  std::uint64_t k;
};

}  // namespace

Outcome calling(std::uint64_t n, bool apart) {
  const Pid server = spawn_link({.worker = apart ? 1 : -1}, serve, n);
  Watch watch;
  Seen seen;
  const auto calls = [server](std::uint64_t count) { ask(server, count); };
  if (apart) {
    in_quarters(n, watch, seen, {}, calls);
  } else {
    in_quarters(n, watch, seen, {self(), server}, calls);
  }
  return {{{"ns_per_call", watch.ns_per(n)}}, apart ? "apart" : seen.text()};
}

Outcome call_pairs(std::uint64_t n) {
  const std::uint64_t share = std::max<std::uint64_t>(1, n / kPairs);
  std::vector<Pid> callers;
  for (unsigned i = 0; i < kPairs; ++i) {
    callers.push_back(spawn_link(
        [share, root = self()](Pid server) {
          receive(kLimit, [](Begin) {});
          ask(server, share);
          send(root, Done{});
          receive(kLimit, [](Stop) {});
        },
        spawn_link(serve, share)));
  }
  Watch watch;
  watch.start();
  for (const Pid caller : callers) send(caller, Begin{});
  for (unsigned i = 0; i < kPairs; ++i) receive(forever, [](Done) {});
  watch.stop();
  for (const Pid caller : callers) send(caller, Stop{});
  return {{{"ns_per_call", watch.ns_per(share * kPairs)}}, "natural"};
}

Outcome server_calling(std::uint64_t n) {
  const Started server = start_link<EchoServer>(kLimit, {});
  if (!server) exit(Reason("not_started"));
  Watch watch;
  Seen seen;
  in_quarters(n, watch, seen, {self(), *server}, [&](std::uint64_t count) { ask(*server, count); });
  return {{{"ns_per_call", watch.ns_per(n)}}, seen.text()};
}

Outcome selective(std::uint64_t n) {
  const Pid server = spawn_link(serve, n);
  if (!set_mailbox_bound(2 * kUnmatched)) exit(Reason("bound_refused"));
  for (std::uint64_t k = 0; k < kUnmatched; ++k) {
    if (send(self(), Unmatched{k}) != Delivery::queued) exit(Reason("not_delivered"));
  }
  Watch watch;
  Seen seen;
  in_quarters(n, watch, seen, {self(), server}, [server](std::uint64_t count) { ask(server, count); });
  return {{{"ns_per_call", watch.ns_per(n)}}, seen.text()};
}

}  // namespace erlking::bench
