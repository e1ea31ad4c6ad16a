#include "tools/demo.h"

#include <erlking/erlking.h>

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <pthread.h>
#include <signal.h>
#include <stdexcept>
#include <string>
#include <time.h>

namespace erlking::tools {

using namespace std::chrono_literals;

struct Divide {
  int dividend, divisor;
  using Reply = int;
};

// Not in the anonymous namespace: the backtrace in the crash report can name it.
[[gnu::noinline]] int divide(const Divide& request) {
  if (request.divisor == 0) throw std::domain_error("division by zero");
  return request.dividend / request.divisor;
}

// The server. It does not defend itself against bad requests: it crashes, and somebody starts another.
void divider() {
  for (;;) {
    receive(forever, [](Divide request, From<Divide> from) { from.reply(divide(request)); });
  }
}

namespace {

constexpr std::string_view kName = "divider";
constexpr auto kPace = 400ms;

// A line on stdout, now, with the time since the start.
class Story {
 public:
  void tell(std::string_view who, std::string_view what) const {
    const std::chrono::duration<double> at = Clock::now() - began_;
    fmt::print("{:6.2f} s  {:<9} {}\n", at.count(), who, what);
    std::fflush(stdout);
  }

 private:
  Clock::time_point began_ = Clock::now();
};

// Asks every now and then; each fourth time what cannot be answered. `rounds` < 0: for ever.
void customer(const Story& story, int rounds) {
  for (int i = 0; i != rounds; ++i) {
    const Divide question{100 + i, i % 4 == 3 ? 0 : i % 4 + 2};
    const auto answer = call(Name{kName}, Divide{question}, 1s);
    if (answer) {
      story.tell("customer", fmt::format("{} / {} = {}", question.dividend, question.divisor, *answer));
    } else {
      story.tell("customer", fmt::format("{} / {}: no answer: {}", question.dividend, question.divisor,
                                         to_string(answer.error().kind)));
    }
    sleep(kPace);
  }
}

struct CustomerDone {};

// Keeps a divider running and tells of it.
void watcher(const Story& story, int rounds) {
  const auto start = [&](std::string_view verb) {
    const Monitored made = spawn_monitor({.name = std::string(kName)}, divider);
    story.tell("watcher", fmt::format("{} '{}' as {}", verb, kName, to_string(made.pid)));
    return made;
  };
  Monitored watched = start("started");
  const Pid me = self();
  spawn_link([&story, rounds, me] {
    customer(story, rounds);
    send(me, CustomerDone{});
  });
  for (bool open = true; open;) {
    receive(
        forever, [&](CustomerDone) { open = false; },
        [&](Down down) {
          if (down.ref != watched.ref) return;
          story.tell("watcher", fmt::format("{} went down: {}", to_string(down.pid), down.reason.to_string()));
          watched = start("restarted");
        });
  }
}

}  // namespace

int run_demo(const Options& options, bool once) {
  // The workers inherit the mask: these two are taken by sigtimedwait below.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  const Story story;
  std::atomic<bool> done{false};
  bool well = true;
  try {
    Runtime runtime(options);
    story.tell("demo", once ? "a process will crash, and be started again"
                            : "a process will crash, and be started again; Ctrl-C ends this");
    const auto root = runtime.spawn([&story, &done, once] {
      watcher(story, once ? 7 : -1);
      done.store(true, std::memory_order_release);  // feeds the acquire below
    });
    if (!root) throw std::runtime_error(std::string(to_string(root.error())));
    const timespec nap{0, 20'000'000};
    while (!done.load(std::memory_order_acquire) && ::sigtimedwait(&signals, nullptr, &nap) < 0) {
    }
    story.tell("demo", done.load(std::memory_order_acquire) ? "done: stopping" : "asked to stop");
    well = runtime.stop();
    story.tell("demo", well ? "all processes have ended" : "not all processes ended in time");
  } catch (const std::invalid_argument& e) {  // Runtime's options
    fmt::print(stderr, "{}\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    fmt::print(stderr, "erlking demo: {}\n", e.what());
    return 1;
  }
  return well ? 0 : 1;
}

}  // namespace erlking::tools
