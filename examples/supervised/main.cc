// An application that repairs itself, and a drill for it: while clients load it, process after process of its tree is
// killed, made to exit, to throw or to fault, supervisors and the writer included; every write it acknowledged must be
// there.
#include "examples/supervised/drill.h"
#include "examples/supervised/shop.h"
#include <erlking/erlking.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

using namespace erlking;
using namespace supervised;

namespace {

constexpr std::uint64_t kQuickFaults = 5 * kRoles;
constexpr std::uint64_t kMost = 1'000'000'000;

struct Arguments {
  Plan plan;
  bool sync = false, help = false, good = true;
};

Arguments parse(int argc, char** argv) {
  Arguments given;
  std::uint64_t seconds = 300;
  given.plan.seed = static_cast<std::uint64_t>(Clock::now().time_since_epoch().count()) % kMost;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    const auto number = [&](std::uint64_t& value, std::uint64_t least) {
      const char* const text = ++i < argc ? argv[i] : "";
      const char* const last = text + std::strlen(text);
      const auto [end, error] = std::from_chars(text, last, value);
      given.good = given.good && error == std::errc() && end == last && value >= least && value <= kMost;
    };
    if (flag == "--faults") {
      number(given.plan.faults, kRoles);
    } else if (flag == "--seed") {
      number(given.plan.seed, 0);
    } else if (flag == "--seconds") {
      number(seconds, 1);
    } else if (flag == "--quick") {
      given.plan.faults = kQuickFaults;
    } else if (flag == "--segv") {
      given.plan.memory = true;
    } else if (flag == "--sync") {
      given.sync = true;
    } else if (flag == "--help") {
      given.help = true;
    } else {
      given.good = false;
    }
  }
  given.plan.most = std::chrono::seconds(seconds);
  return given;
}

void print_usage(std::FILE* out) {
  std::fprintf(out,
               "usage: supervised [--quick] [--faults N] [--seed S] [--seconds S] [--segv] [--sync]\n"
               "Drills an application: faults at random while it is under load; are all acknowledged writes there?\n"
               "Ctrl-C stops it in order. The status is 0 if none was lost and every role came back.\n"
               "  --faults N    %zu to 1000000000; default 1000, which take about 11 s on two CPUs\n"
               "  --quick       %" PRIu64
               " faults: about a second\n"
               "  --seed S      0 to 1000000000; the same seed, the same faults; default: another each time\n"
               "  --seconds S   1 to 1000000000: ends then, whatever is left to do; default 300\n"
               "  --segv        also reads through null pointers and overflows of stacks, in the middle of requests\n"
               "  --sync        a write is on the medium before it is acknowledged\n"
               "What processes report when they end is not shown unless ERLKING_LOG=error or the like is set.\n%s",
               kRoles, kQuickFaults, Options::help().c_str());
}

// The tables and the verdict: whether all is well.
bool report(const World& world, Score& score, ExitStatus ended, double seconds) {
  std::printf("%-10s %9s %7s %9s\n", "role", "processes", "faults", "restarts");
  std::uint64_t faults = 0;
  bool all_back = true;
  for (std::size_t i = 0; i < kRoles; ++i) {
    const auto role = static_cast<Role>(i);
    const std::uint64_t starts = world.starts[i].load();
    const std::uint64_t restarts = starts - std::min<std::uint64_t>(starts, instances(role));
    faults += score.faults[i];
    all_back = all_back && restarts > 0;
    std::printf("%-10s %9zu %7" PRIu64 " %9" PRIu64 "\n", std::string(to_string(role)).c_str(), instances(role),
                score.faults[i], restarts);
  }
  const auto& strikes = score.strikes;
  std::printf("faults: %" PRIu64 " (%" PRIu64 " killed, %" PRIu64 " told to exit, %" PRIu64 " exited, %" PRIu64
              " threw, %" PRIu64 " read null, %" PRIu64 " overflowed, %" PRIu64 " supervisors gave up)\n",
              faults, strikes[0], strikes[1], strikes[2], strikes[3], strikes[4], strikes[5], strikes[6]);
  std::printf("requests: %" PRIu64 " served, %" PRIu64 " failed, %" PRIu64 " asked again\n", score.served.load(),
              score.failed.load(), score.retried.load());
  const std::uint64_t repeated = audit(world.journal, score.witness);
  std::size_t acknowledged = 0;
  for (const auto& numbers : score.witness.acknowledged()) acknowledged += numbers.size();
  std::printf("writes: %zu acknowledged, %zu lost, %" PRIu64 " written twice; audits: %" PRIu64 "\n", acknowledged,
              score.witness.missed(), repeated, score.audits);
  const bool in_order = ended == kInOrder;
  std::printf("%s after %.1f s%s\n",
              score.finished  ? "done"
              : score.trouble ? score.trouble->c_str()
                              : "interrupted",
              seconds, in_order ? ", stopped in order" : ", not stopped in order");
  if (score.finished && !all_back) std::printf("a role was never started anew\n");
  return score.witness.missed() == 0 && repeated == 0 && in_order && !score.trouble && (all_back || !score.finished);
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = Options::from(argc, argv);  // takes its own flags, --ek-…, out of argv
  const Arguments given = parse(argc, argv);
  if (given.help || !given.good) {
    print_usage(given.help ? stdout : stderr);
    return given.help ? 0 : 2;
  }
  ::setenv("ERLKING_LOG", "off", 0);
  try {
    const auto world = std::make_shared<World>(given.sync);
    const auto score = std::make_shared<Score>();
    std::printf("seed %" PRIu64 ", %" PRIu64 " faults\n", given.plan.seed, given.plan.faults);
    std::fflush(stdout);
    const auto began = Clock::now();
    Runtime runtime(options);
    if (!runtime.spawn({.name = "drill"}, drill, world, score, given.plan)) return 1;
    const ExitStatus ended = runtime.run(shop(world, "drill"));
    const std::chrono::duration<double> took = Clock::now() - began;
    return report(*world, *score, ended, took.count()) ? 0 : 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "supervised: %s\n", e.what());
    return 1;
  }
}
