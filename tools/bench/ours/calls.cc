// Programs that call.
#include "tools/bench/ours/program.h"

namespace erlking::bench {

namespace {

struct Echo {
  std::uint64_t k;
  using Reply = std::uint64_t;
};

}  // namespace

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

}  // namespace erlking::bench
