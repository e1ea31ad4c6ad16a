// Two processes answer each other: messages, a monitor, an orderly end, and a bound on every wait.
#include <erlking/erlking.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <string_view>

using namespace erlking;
using namespace std::chrono_literals;

struct Ping {
  Pid from;
  int n;
};
struct Pong {
  int n;
};

void ponger() {
  for (;;) receive(10s, [](Ping ping) { send(ping.from, Pong{ping.n}); });  // nobody asks any more: ends with `timeout`
}

void ping(int rounds) {
  const Monitored other = spawn_monitor(ponger);
  const auto began = Clock::now();
  for (int n = 1; n <= rounds; ++n) {
    send(other.pid, Ping{self(), n});
    receive(5s, when([&](const Pong& pong) { return pong.n == n; }, [](Pong) {}),
            [](Down down) { exit(down.reason); });  // it is gone: no use in waiting
  }
  const std::chrono::duration<double, std::micro> took = Clock::now() - began;
  std::printf("%d round trips, %.3f µs each\n", rounds, took.count() / rounds);

  exit(other.pid, reason::shutdown);
  receive(5s, [](Down down) { std::printf("the other ended: %s\n", down.reason.to_string().c_str()); });
}

int main(int argc, char** argv) {
  const Options options = Options::from(argc, argv);  // takes its own flags, --ek-…, out of argv
  const std::string_view argument = argc > 1 ? argv[1] : "10000";
  int rounds = 0;
  const auto [end, error] = std::from_chars(argument.begin(), argument.end(), rounds);
  if (argc > 2 || error != std::errc() || end != argument.end() || rounds < 1) {
    const bool help = argument == "--help";
    std::fprintf(help ? stdout : stderr, "usage: ping_pong [ROUNDS]\nROUNDS: 1 or more; 10000 if left out\n%s",
                 Options::help().c_str());
    return help ? 0 : 2;
  }
  return Runtime(options).run(ping, rounds);
}
