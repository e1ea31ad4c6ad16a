// A ring of processes hands tokens round: many processes, many messages on their way, mailboxes with a bound.
#include <erlking/erlking.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>

using namespace erlking;
using namespace std::chrono_literals;

constexpr auto kPatience = 30s;  // the longest a process of the ring has nothing to do

struct Token {
  std::uint64_t hops_left;
};

void pass(Pid next, Token token) {
  --token.hops_left;
  if (send(next, std::move(token)) != Delivery::queued) exit(Reason("token_lost"));
}

void member(Pid next) {
  for (;;) receive(kPatience, [&](Token token) { pass(next, token); });
}

// Runs in the first process of the ring, which starts the others. They are linked to it: one that fails ends them all
// with its reason. Tokens may gather anywhere: did a mailbox not hold them all, processes could wait for each other's
// room in a circle.
void ring(std::uint32_t processes, std::uint32_t tokens, std::uint32_t rounds) {
  set_mailbox_bound(tokens);
  Pid next = self();
  for (std::uint32_t i = 1; i < processes; ++i) next = spawn_link({.mailbox = tokens}, member, next);

  const std::uint64_t hops_each = std::uint64_t{processes} * rounds;
  const auto began = Clock::now();
  for (std::uint32_t i = 0; i < tokens; ++i) pass(next, Token{hops_each});
  for (std::uint32_t home = 0; home < tokens;) {
    receive(kPatience, [&](Token token) {
      if (token.hops_left == 0) {
        ++home;
      } else {
        pass(next, token);
      }
    });
  }
  const std::chrono::duration<double, std::milli> took = Clock::now() - began;
  const std::uint64_t hops = hops_each * tokens;
  std::printf("%" PRIu64 " hops in %.1f ms, %.0f ns each\n", hops, took.count(),
              took.count() * 1e6 / static_cast<double>(hops));
}

struct Argument {
  const char* name;
  std::uint32_t value, most;
};

int main(int argc, char** argv) {
  const Options options = Options::from(argc, argv);  // takes its own flags, --ek-…, out of argv
  std::array<Argument, 3> arguments = {
      {{"PROCESSES", 1000, 1'000'000}, {"TOKENS", 10, 500'000}, {"ROUNDS", 10, 1'000'000}}};
  bool good = argc <= 4;
  for (int i = 1; i < argc && good; ++i) {
    Argument& argument = arguments[static_cast<std::size_t>(i - 1)];
    const char* const last = argv[i] + std::strlen(argv[i]);
    const auto [end, error] = std::from_chars(argv[i], last, argument.value);
    good = error == std::errc() && end == last && argument.value >= 1 && argument.value <= argument.most;
  }
  if (!good) {
    const bool help = std::strcmp(argv[1], "--help") == 0;
    std::FILE* const out = help ? stdout : stderr;
    std::fprintf(out, "usage: ring [PROCESSES [TOKENS [ROUNDS]]]\n");
    for (const Argument& argument : arguments) std::fprintf(out, "%s: 1 to %u\n", argument.name, argument.most);
    std::fprintf(out, "left out: 1000 10 10\n%s", Options::help().c_str());
    return help ? 0 : 2;
  }
  return Runtime(options).run(ring, arguments[0].value, arguments[1].value, arguments[2].value);
}
